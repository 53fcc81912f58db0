//! The words for jurisdictions and cohorts, which directories of tenants have as well; and regulators.

use super::{Cohort, Jurisdiction};

impl Jurisdiction {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::England, Self::Scotland, Self::Wales, Self::NorthernIreland];

    /// The one that has this word.
    pub fn from_word(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str().as_bytes() == word)
    }

    /// The body that inspects care homes there.
    pub fn regulator(self) -> &'static str {
        match self {
            Self::England => "CQC",
            Self::Scotland => "Care Inspectorate",
            Self::Wales => "CIW",
            Self::NorthernIreland => "RQIA",
        }
    }
}

impl Cohort {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Canary, Self::Stable];

    /// The one that has this word.
    pub fn from_word(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str().as_bytes() == word)
    }
}
