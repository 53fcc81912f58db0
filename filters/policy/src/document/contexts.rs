//! What requests are about, and what holds for them: `contexts`, `defaultContext`, `paths` and `enforcement`.

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

/// `enforcement`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// What is decided happens.
    #[default]
    Enforce,
    /// What is decided is recorded, counted and tagged. No request is refused or held, and no header changes.
    Shadow,
}

/// `paths`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Paths {
    /// What becomes of a request whose path an application may read as another one.
    pub ambiguous: AmbiguousPath,
}

/// `paths.ambiguous`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AmbiguousPath {
    /// The strictest reading decides.
    #[default]
    Accept,
    /// 400.
    Reject,
}

/// One entry of `contexts`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Context {
    /// Its name: the tag `healthcare_context`.
    #[cfg_attr(feature = "schema", schemars(required))]
    pub name: Option<String>,
    /// The tag `compliance_level`.
    #[cfg_attr(feature = "schema", schemars(required))]
    pub compliance_level: Option<ComplianceLevel>,
    /// The sampling tier; `default` when absent.
    pub tier: Option<String>,
    /// What the request does to the resource; from the method when absent.
    pub action: Option<Action>,
    /// The FHIR resource type that it is about.
    pub resource: Option<String>,
    /// The path parameter that names the subject of care; recorded as a pseudonym.
    pub subject: Option<String>,
    /// Words for regulatory tracking.
    pub flags: Vec<String>,
    /// How long the store has to keep the records: an ISO 8601 duration (`P8Y`).
    pub retention: Option<String>,
    /// Whether its requests are recorded.
    pub audit: AuditLevel,
    /// Overrides `identity.tenant.required`.
    pub tenant: Option<TenantRequirement>,
    /// Overrides `enforcement`.
    pub enforcement: Option<Enforcement>,
    /// Which requests it is about.
    #[serde(rename = "match")]
    #[cfg_attr(feature = "schema", schemars(required))]
    pub matches: Option<Vec<Match>>,
}

/// One entry of `contexts[].match`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Match {
    /// The methods; all when absent. `GET` covers `HEAD`.
    pub methods: Option<Vec<String>>,
    /// The path template: `/residents/{id}`, `/files/{*rest}`.
    #[cfg_attr(feature = "schema", schemars(required))]
    pub path: Option<String>,
}

/// `defaultContext`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DefaultContext {
    /// Its name.
    pub name: String,
    /// Its compliance level.
    pub compliance_level: ComplianceLevel,
    /// Its sampling tier.
    pub tier: String,
    /// Whether its requests are recorded.
    pub audit: AuditLevel,
    /// Overrides `identity.tenant.required`.
    pub tenant: Option<TenantRequirement>,
    /// Overrides `enforcement`.
    pub enforcement: Option<Enforcement>,
}

/// How much a mistake would matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ComplianceLevel {
    /// A person can come to harm.
    Critical,
    /// Clinical or special-category data.
    High,
    /// Personal data.
    Standard,
    /// None of these.
    Low,
}

/// What a request does to its resource (the letters C, R, U, D, E of a FHIR AuditEvent).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Makes a new one.
    Create,
    /// Looks at it.
    Read,
    /// Changes it.
    Update,
    /// Removes it.
    Delete,
    /// Does something with it.
    Execute,
}

/// Whether requests of a context are recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AuditLevel {
    /// One complete record each.
    #[default]
    Full,
    /// Not recorded; denials are.
    None,
}

/// Whether requests of a context need a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum TenantRequirement {
    /// No tenant → 403.
    Required,
    /// No tenant → tagged `unknown`.
    Optional,
}
