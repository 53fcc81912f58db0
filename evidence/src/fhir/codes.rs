//! The codes: what a request did, and the parts that BALP gives to those who took part.

use super::resource::Coding;

const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const ENTITY: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";

pub(super) const REST: Coding = Coding {
    system: "http://terminology.hl7.org/CodeSystem/audit-event-type",
    code: "rest",
    display: "RESTful Operation",
};
/// A proxy: of the kinds that DICOM has, the nearest.
pub(super) const WEB_SERVER: Coding =
    Coding { system: "http://terminology.hl7.org/CodeSystem/security-source-type", code: "3", display: "Web Server" };
pub(super) const PERSON: Coding = Coding { system: ENTITY, code: "1", display: "Person" };
pub(super) const SYSTEM_OBJECT: Coding = Coding { system: ENTITY, code: "2", display: "System Object" };
pub(super) const ORGANIZATION: Coding = Coding { system: ENTITY, code: "3", display: "Organization" };
pub(super) const PATIENT: Coding = Coding { system: ROLE, code: "1", display: "Patient" };
pub(super) const DOMAIN_RESOURCE: Coding = Coding { system: ROLE, code: "4", display: "Domain Resource" };
/// BALP's own.
pub(super) const REQUEST_ID: Coding = Coding {
    system: "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType",
    code: "XrequestId",
    display: "transport specific unique identifier where http X-Request-Id is used",
};

/// What DICOM calls it when a user is let in where they have no right to be.
pub(super) const EMERGENCY: Coding = Coding { system: DICOM, code: "110127", display: "Emergency Override Started" };

const APPLICATION: Coding = Coding { system: DICOM, code: "110150", display: "Application" };
const DESTINATION: Coding = Coding { system: DICOM, code: "110152", display: "Destination Role ID" };
const SOURCE: Coding = Coding { system: DICOM, code: "110153", display: "Source Role ID" };
const CUSTODIAN: Coding = Coding {
    system: "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
    code: "custodian",
    display: "Custodian",
};
const RECIPIENT: Coding = Coding { system: PARTICIPATION, code: "IRCP", display: "information recipient" };
const AUTHOR: Coding = Coding { system: PARTICIPATION, code: "AUT", display: "author (originator)" };

/// What a request did, as FHIR's RESTful API has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interaction {
    Read,
    Search,
    Create,
    Update,
    Patch,
    Delete,
    Operation,
}

// === impl Interaction ===

impl Interaction {
    /// By the action that the policy gives to the context. What is looked up under a template without a parameter is a
    /// collection: a search.
    pub(super) fn of(action: &str, method: &str, template: Option<&str>) -> Self {
        match (action, method) {
            ("create" | "C", _) => Self::Create,
            ("update" | "U", "PATCH") => Self::Patch,
            ("update" | "U", _) => Self::Update,
            ("delete" | "D", _) => Self::Delete,
            ("read" | "R", _) if template.is_some_and(|template| template.contains('{')) => Self::Read,
            ("read" | "R", _) => Self::Search,
            _ => Self::Operation,
        }
    }

    pub(super) fn coding(self) -> Coding {
        let (code, display) = match self {
            Self::Read => ("read", "read"),
            Self::Search => ("search", "search"),
            Self::Create => ("create", "create"),
            Self::Update => ("update", "update"),
            Self::Patch => ("patch", "patch"),
            Self::Delete => ("delete", "delete"),
            Self::Operation => ("operation", "operation"),
        };
        Coding { system: INTERACTION, code, display }
    }

    /// A search is executed: so in BALP, and in the definition of the code.
    pub(super) fn action(self) -> &'static str {
        match self {
            Self::Create => "C",
            Self::Read => "R",
            Self::Update | Self::Patch => "U",
            Self::Delete => "D",
            Self::Search | Self::Operation => "E",
        }
    }

    /// The parts of user, client and server. Data flow to the client in a read and from it in all else, says BALP; a
    /// search, too, where it is the parameters that count.
    pub(super) fn parts(self) -> [Coding; 3] {
        match self {
            Self::Read => [RECIPIENT, DESTINATION, SOURCE],
            Self::Search => [RECIPIENT, SOURCE, DESTINATION],
            Self::Create | Self::Update | Self::Patch | Self::Operation => [AUTHOR, SOURCE, DESTINATION],
            Self::Delete => [AUTHOR, APPLICATION, CUSTODIAN],
        }
    }
}
