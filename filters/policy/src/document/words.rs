//! The words behind the enums: in the document, in headers, on tags and records.

use super::{Action, Cohort, ComplianceLevel, Jurisdiction, ProxyPlacement};

impl ComplianceLevel {
    /// The word in the document, on tags and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Standard => "standard",
            Self::Low => "low",
        }
    }
}

impl Action {
    /// The word in the document and on records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Execute => "execute",
        }
    }
}

impl Jurisdiction {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::England, Self::Scotland, Self::Wales, Self::NorthernIreland];

    /// The one that has this word.
    pub fn from_word(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str().as_bytes() == word)
    }

    /// The word in the document and on records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::England => "england",
            Self::Scotland => "scotland",
            Self::Wales => "wales",
            Self::NorthernIreland => "northern-ireland",
        }
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

    /// The word in the document, in the header and on records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Stable => "stable",
        }
    }
}

impl ProxyPlacement {
    /// The word in the document and on records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}
