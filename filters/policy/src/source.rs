//! Where an identity is looked for.

use std::sync::Arc;

use crate::host_pattern::HostPattern;

/// One place where an identity is looked for.
#[derive(Debug, Clone)]
pub enum Source {
    /// A verified claim.
    Claim(Claim),
    /// A path parameter.
    Path(Arc<str>),
    /// A request header, lower case.
    Header(Arc<str>),
    /// A part of the host.
    Host(HostPattern),
    /// A query parameter.
    Query(Arc<str>),
}

/// A verified claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The names on the way to it.
    pub path: Vec<String>,
    /// The issuer that has to have made the token; any when absent.
    pub issuer: Option<String>,
}

// === impl Source ===

impl Source {
    /// The word on records.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Claim(_) => "claim",
            Self::Path(_) => "path",
            Self::Header(_) => "header",
            Self::Host(_) => "host",
            Self::Query(_) => "query",
        }
    }
}
