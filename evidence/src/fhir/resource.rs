//! The elements of `AuditEvent` (FHIR R4, 4.0.1) that are written. What they mean is said there; here, what is put into
//! them.

use serde::Serialize;

use crate::purpose;

/// `AuditEvent`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// `AuditEvent`.
    pub resource_type: &'static str,
    /// The chain and the number in it.
    pub id: String,
    /// A RESTful operation.
    pub r#type: Coding,
    /// Which.
    pub subtype: Vec<Coding>,
    /// `C`, `R`, `U`, `D` or `E`.
    pub action: &'static str,
    /// From the first byte of the request to the last of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// The time of the record.
    pub recorded: String,
    /// `0`, `4` or `8`.
    pub outcome: &'static str,
    /// Why it is not `0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome_desc: Option<String>,
    /// What the user wanted it for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub purpose_of_event: Vec<Purpose>,
    /// The user, the client, the server.
    pub agent: Vec<Agent>,
    /// The proxy.
    pub source: Source,
    /// The request, the patient, what it was about, the tenants.
    pub entity: Vec<Entity>,
}

/// `Coding`; as `CodeableConcept` where the element is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Coding {
    /// The code system.
    pub system: &'static str,
    /// The code.
    pub code: &'static str,
    /// Its words in that system.
    pub display: &'static str,
}

/// `Period`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Period {
    /// The first instant.
    pub start: String,
    /// The last.
    pub end: String,
}

/// `Reference`: logical, by an identifier or in words. Where the resources are is not careplane's to know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// The type of the resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// Its identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<Identifier>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
}

/// `Identifier`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identifier {
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The value.
    pub value: String,
}

/// A purpose of use: a `CodeableConcept`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// A code of HL7 v3 PurposeOfUse.
    Coding([Coding; 1]),
    /// A code that is not in the list, as a text.
    Text(String),
}

/// `AuditEvent.agent`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// The part that it had.
    pub r#type: Concept,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<Reference>,
    /// Whether it began the request.
    pub requestor: bool,
    /// What decided, for the one who began it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy: Vec<String>,
    /// Where it is in the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// What for, of the user.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub purpose_of_use: Vec<Purpose>,
}

/// `CodeableConcept` of one coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Concept {
    /// The coding.
    pub coding: [Coding; 1],
}

/// `AuditEvent.agent.network`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// The address.
    pub address: String,
    /// `1` for a name, `2` for an IP address, `5` for a URI.
    pub r#type: &'static str,
}

/// `AuditEvent.source`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The proxy.
    pub observer: Reference,
    /// What it is.
    pub r#type: [Coding; 1],
}

/// `AuditEvent.entity`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entity {
    /// What it is.
    pub what: Reference,
    /// Its kind.
    pub r#type: Coding,
    /// The part that it had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Coding>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What FHIR has no element for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<Detail>,
}

/// `AuditEvent.entity.detail`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// The name.
    pub r#type: &'static str,
    /// The value.
    pub value_string: String,
}

// === impl Concept ===

impl From<Coding> for Concept {
    fn from(coding: Coding) -> Self {
        Self { coding: [coding] }
    }
}

// === impl Purpose ===

impl Purpose {
    /// By the code of a record.
    pub(super) fn of(code: &str) -> Self {
        match purpose::find(code) {
            Some((code, display)) => Self::Coding([Coding { system: purpose::SYSTEM, code, display }]),
            None => Self::Text(code.to_owned()),
        }
    }
}

// === impl Reference ===

impl Reference {
    /// To what `system` calls `value`.
    pub(super) fn identified(system: impl Into<String>, value: &str) -> Self {
        Self {
            identifier: Some(Identifier { system: Some(system.into()), value: value.to_owned() }),
            ..Self::default()
        }
    }

    /// Of a resource type.
    pub(super) fn typed(self, r#type: &str) -> Self {
        Self { r#type: Some(r#type.to_owned()), ..self }
    }
}
