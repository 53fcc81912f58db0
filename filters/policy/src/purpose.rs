//! What data are used for: HL7 v3 PurposeOfUse.

/// The codes that are not abstract of the value set `http://terminology.hl7.org/ValueSet/v3-PurposeOfUse`, as FHIR R4
/// has it.
const CODES: [&str; 59] = [
    "BIORCH",
    "BTG",
    "CAREMGT",
    "CLINTRCH",
    "CLINTRCHNPC",
    "CLINTRCHPC",
    "CLINTRL",
    "CLMATTCH",
    "COC",
    "COVAUTH",
    "COVERAGE",
    "DISASTER",
    "DONAT",
    "DSRCH",
    "ELIGDTRM",
    "ELIGVER",
    "ENROLLM",
    "ERTREAT",
    "ETREAT",
    "FAMRQT",
    "FRAUD",
    "GOV",
    "HACCRED",
    "HCOMPL",
    "HDECD",
    "HDIRECT",
    "HDM",
    "HLEGAL",
    "HMARKT",
    "HOPERAT",
    "HOUTCOMS",
    "HPAYMT",
    "HPRGRP",
    "HQUALIMP",
    "HRESCH",
    "HSYSADMIN",
    "HTEST",
    "LABELING",
    "MEMADMIN",
    "METAMGT",
    "MILCDM",
    "MILDCRG",
    "PATADMIN",
    "PATRQT",
    "PATSFTY",
    "PERFMSR",
    "POARCH",
    "POPHLTH",
    "PRECLINTRCH",
    "PUBHLTH",
    "PWATRNY",
    "RECORDMGT",
    "REMITADV",
    "SUPNWK",
    "SYSDEV",
    "THREAT",
    "TRAIN",
    "TRANSRCH",
    "TREAT",
];
/// Those that break the glass: emergency treatment, and the override of what is denied.
const EMERGENCY: [&str; 2] = ["BTG", "ETREAT"];

/// A code of HL7 v3 PurposeOfUse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purpose(&'static str);

// === impl Purpose ===

impl Purpose {
    /// What a purpose looks like, for messages.
    pub const EXPECTED: &'static str = "a code of HL7 v3 PurposeOfUse, such as \"TREAT\", \"ETREAT\" or \"BTG\"";

    /// The code that `bytes` is, if it is one. Codes are compared with their case.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        CODES
            .binary_search_by(|code| code.as_bytes().cmp(bytes))
            .ok()
            .and_then(|index| CODES.get(index))
            .map(|code| Self(code))
    }

    /// The code.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// Whether it is an emergency that is claimed.
    pub fn is_emergency(self) -> bool {
        EMERGENCY.contains(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn codes_are_found_and_nothing_else() {
        assert!(CODES.is_sorted());
        for code in CODES {
            assert_eq!(Purpose::new(code.as_bytes()).map(Purpose::as_str), Some(code));
        }
        for other in ["", "btg", "BTG ", "PurposeOfUse", "EMERGENCY", "ZZZ", "A"] {
            assert_eq!(Purpose::new(other.as_bytes()), None, "{other}");
        }
        assert!(Purpose::new(b"BTG").is_some_and(Purpose::is_emergency));
        assert!(!Purpose::new(b"TREAT").is_some_and(Purpose::is_emergency));
    }
}
