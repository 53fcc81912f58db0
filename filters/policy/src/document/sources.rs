//! Where a tenant, a user or a purpose is read from: claims, paths, headers, hosts.

use serde::Serialize;

/// One place where an identity is looked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A claim that Envoy's jwt_authn verified.
    Claim(Claim),
    /// A parameter of the path template that matched.
    Path(String),
    /// A request header, believed from trusted peers alone.
    Header(String),
    /// The host of the request: a pattern with one `{tenant}`.
    Host(String),
    /// A query parameter, believed from trusted peers alone.
    Query(String),
}

/// A claim, and who has to have issued it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its name, or the names on the way to a nested one.
    pub path: ClaimPath,
    /// The issuer (`iss`) that has to have made the token; any when absent.
    pub issuer: Option<String>,
}

/// The name of a claim, or the list of names that leads to a nested one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ClaimPath {
    /// A claim at the top of the token.
    Name(String),
    /// A nested claim: `[realm_access, tenant]`.
    Nested(Vec<String>),
}
