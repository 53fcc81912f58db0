//! Purposes of use: the codes of HL7 v3 `PurposeOfUse` with their words there.

/// The code system of HL7 that has these codes.
pub const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";

/// As in FHIR R4 (4.0.1), sorted.
const CODES: [(&str, &str); 59] = [
    ("BIORCH", "biomedical research"),
    ("BTG", "break the glass"),
    ("CAREMGT", "care management"),
    ("CLINTRCH", "clinical trial research"),
    ("CLINTRCHNPC", "clinical trial research without patient care"),
    ("CLINTRCHPC", "clinical trial research with patient care"),
    ("CLINTRL", "clinical trial"),
    ("CLMATTCH", "claim attachment"),
    ("COC", "coordination of care"),
    ("COVAUTH", "coverage authorization"),
    ("COVERAGE", "coverage under policy or program"),
    ("DISASTER", "disaster"),
    ("DONAT", "donation"),
    ("DSRCH", "disease specific healthcare research"),
    ("ELIGDTRM", "eligibility determination"),
    ("ELIGVER", "eligibility verification"),
    ("ENROLLM", "enrollment"),
    ("ERTREAT", "emergency room treatment"),
    ("ETREAT", "Emergency Treatment"),
    ("FAMRQT", "family requested"),
    ("FRAUD", "fraud"),
    ("GOV", "government"),
    ("HACCRED", "health accreditation"),
    ("HCOMPL", "health compliance"),
    ("HDECD", "decedent"),
    ("HDIRECT", "directory"),
    ("HDM", "healthcare delivery management"),
    ("HLEGAL", "legal"),
    ("HMARKT", "healthcare marketing"),
    ("HOPERAT", "healthcare operations"),
    ("HOUTCOMS", "health outcome measure"),
    ("HPAYMT", "healthcare payment"),
    ("HPRGRP", "health program reporting"),
    ("HQUALIMP", "health quality improvement"),
    ("HRESCH", "healthcare research"),
    ("HSYSADMIN", "health system administration"),
    ("HTEST", "test health data"),
    ("LABELING", "labeling"),
    ("MEMADMIN", "member administration"),
    ("METAMGT", "metadata management"),
    ("MILCDM", "military command"),
    ("MILDCRG", "military discharge"),
    ("PATADMIN", "patient administration"),
    ("PATRQT", "patient requested"),
    ("PATSFTY", "patient safety"),
    ("PERFMSR", "performance measure"),
    ("POARCH", "population origins or ancestry healthcare research"),
    ("POPHLTH", "population health"),
    ("PRECLINTRCH", "preclinical trial research"),
    ("PUBHLTH", "public health"),
    ("PWATRNY", "power of attorney"),
    ("RECORDMGT", "records management"),
    ("REMITADV", "remittance advice"),
    ("SUPNWK", "support network"),
    ("SYSDEV", "system development"),
    ("THREAT", "threat"),
    ("TRAIN", "training"),
    ("TRANSRCH", "translational healthcare research"),
    ("TREAT", "treatment"),
];

/// HL7's words for a code, in its spelling; none for a code that is not in the list.
#[must_use]
pub fn display(code: &str) -> Option<&'static str> {
    find(code).map(|(_, words)| words)
}

/// A code and its words.
pub(crate) fn find(code: &str) -> Option<(&'static str, &'static str)> {
    let index = CODES.binary_search_by_key(&code, |(code, _)| code).ok()?;
    CODES.get(index).copied()
}

/// All codes.
pub fn codes() -> impl Iterator<Item = &'static str> {
    CODES.iter().map(|(code, _)| *code)
}

/// Whether a purpose is that of emergency access.
#[must_use]
pub fn is_emergency(code: &str) -> bool {
    matches!(code, "BTG" | "ETREAT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_and_no_other() {
        assert!(CODES.is_sorted());
        assert!(CODES.iter().all(|(code, words)| display(code) == Some(words)));
        assert_eq!([display("btg"), display(""), display("PurposeOfUse")], [None; 3]);
        assert!(is_emergency("BTG") && is_emergency("ETREAT") && !is_emergency("TREAT"));
    }
}
