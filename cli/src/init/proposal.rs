//! What a name suggests about a context. A policy must not look decided when it is not, so each proposal says why.

/// What is proposed for a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub level: &'static str,
    pub tier: &'static str,
    pub why: String,
    pub resource: Option<&'static str>,
    /// Whether the first parameter names a person who is cared for.
    pub is_person: bool,
    /// Whether it is operational: without a tenant, a trace or a record.
    pub is_operational: bool,
}

/// Words whose changes can harm a person at once.
const CRITICAL: [&str; 9] =
    ["administ", "dispens", "dose", "allerg", "insulin", "controlled-drug", "dnacpr", "resuscit", "safeguard"];
/// Words of care, with the FHIR resource where one word is usually that.
const CARE: [(&str, Option<&str>, bool); 40] = [
    ("patient", Some("Patient"), true),
    ("resident", Some("Patient"), true),
    ("medicationadministration", Some("MedicationAdministration"), false),
    ("medicationdispense", Some("MedicationDispense"), false),
    ("medicationstatement", Some("MedicationStatement"), false),
    ("medication", Some("MedicationRequest"), false),
    ("prescription", Some("MedicationRequest"), false),
    ("careplan", Some("CarePlan"), false),
    ("careteam", Some("CareTeam"), false),
    ("assessment", Some("QuestionnaireResponse"), false),
    ("questionnaire", Some("QuestionnaireResponse"), false),
    ("observation", Some("Observation"), false),
    ("vital", Some("Observation"), false),
    ("allerg", Some("AllergyIntolerance"), false),
    ("condition", Some("Condition"), false),
    ("diagnos", Some("Condition"), false),
    ("encounter", Some("Encounter"), false),
    ("immuni", Some("Immunization"), false),
    ("procedure", Some("Procedure"), false),
    ("consent", Some("Consent"), false),
    ("goal", Some("Goal"), false),
    ("appointment", Some("Appointment"), false),
    ("diagnosticreport", Some("DiagnosticReport"), false),
    ("documentreference", Some("DocumentReference"), false),
    ("composition", Some("Composition"), false),
    ("familymemberhistory", Some("FamilyMemberHistory"), false),
    ("nutrition", Some("NutritionOrder"), false),
    ("riskassessment", Some("RiskAssessment"), false),
    ("relatedperson", Some("RelatedPerson"), false),
    ("servicerequest", Some("ServiceRequest"), false),
    ("coverage", Some("Coverage"), false),
    ("healthrecord", None, false),
    ("clinical", None, false),
    ("incident", None, false),
    ("safeguard", None, false),
    ("wound", None, false),
    ("handover", None, false),
    ("dnacpr", None, false),
    ("dose", None, false),
    ("insulin", None, false),
];
/// Words of what runs the service, compared as a whole.
const OPERATIONAL: [&str; 20] = [
    "health",
    "healthz",
    "livez",
    "readyz",
    "ready",
    "readiness",
    "live",
    "liveness",
    "metrics",
    "ping",
    "version",
    "openapi",
    "openapi.json",
    "openapi.yaml",
    "swagger",
    "docs",
    "favicon.ico",
    "robots.txt",
    ".well-known",
    "metadata",
];

/// What the words of a path suggest.
pub fn of(words: &[&str]) -> Proposal {
    let folded: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase().replace(['-', '_'], "")).collect();
    let care = CARE.iter().find(|(stem, ..)| folded.iter().any(|word| word.starts_with(stem)));
    if let Some((stem, resource, is_person)) = care {
        return Proposal {
            level: "high",
            tier: "clinical",
            why: format!("{stem:?} is a word of care"),
            resource: *resource,
            is_person: *is_person,
            is_operational: false,
        };
    }
    let operational = words.iter().find(|word| OPERATIONAL.contains(&word.to_ascii_lowercase().as_str()));
    let (level, tier, why) = match operational {
        Some(word) => ("low", "never", format!("{word:?} is usually about the service itself")),
        None => ("standard", "default", "its name says nothing of care".to_owned()),
    };
    Proposal { level, tier, why, resource: None, is_person: false, is_operational: operational.is_some() }
}

/// Whether a word is of what can harm a person at once.
pub fn is_critical(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    CRITICAL.iter().any(|stem| word.contains(stem))
}

/// The same, for what changes it.
pub fn critical(word: &str, usual: &Proposal) -> Proposal {
    Proposal {
        level: "critical",
        tier: "always",
        why: format!("{word:?} can harm a person at once"),
        is_operational: false,
        ..usual.clone()
    }
}
