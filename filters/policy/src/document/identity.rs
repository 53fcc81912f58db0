//! Who is calling: `identity`, `headers` and `pseudonyms`.

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use super::{Grant, Source};

/// `identity`: who is calling.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Identity {
    /// Whose identity headers are believed: SPIFFE ids, `*` as a suffix; or the word `any`.
    pub trusted_peers: TrustedPeers,
    /// The tenant (care home) of a request.
    pub tenant: TenantIdentity,
    /// The user of a request.
    pub user: UserIdentity,
    /// What a request is for: a code of HL7 v3 PurposeOfUse.
    pub purpose: Purpose,
    /// Who may act beyond their own tenants, and on what terms. The first that allows an act is used.
    pub grants: Vec<Grant>,
    /// The correlation id of a request.
    pub correlation: Correlation,
    /// Headers of untrusted peers that change method or URL for the application, such as `x-http-method-override`.
    pub overrides: Overrides,
}

/// `identity.overrides`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Overrides {
    /// They are removed: they would carry a request out of its context.
    #[default]
    Remove,
    /// They pass.
    Pass,
}

/// `identity.tenant`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TenantIdentity {
    /// Whether a request without a tenant is refused (403); a context may say otherwise.
    pub required: bool,
    /// Where the tenant is looked for, most authoritative first; all that yield must agree, else 403.
    pub sources: Vec<Source>,
    /// Whether ids that differ in case alone are one tenant.
    pub case: TenantCase,
}

/// `identity.tenant.case`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum TenantCase {
    /// They are two.
    #[default]
    Exact,
    /// They are one: the upstream, the records and the entries have it in lower case.
    Lower,
}

/// `identity.user`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UserIdentity {
    /// Where the user is looked for, most authoritative first; all that yield must agree, else 403.
    pub sources: Vec<Source>,
    /// Whether tags, logs and records carry a keyed pseudonym; upstream always receives the real id.
    pub pseudonymise: bool,
}

/// `identity.correlation`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Correlation {
    /// The header that carries it, in requests and responses.
    pub header: String,
    /// Whether responses carry it too (denials always do).
    pub echo: bool,
}

/// `identity.purpose`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Purpose {
    /// Where it is looked for: claims, and headers of any caller. The first that yields counts.
    pub sources: Vec<Source>,
}

/// Whose identity headers are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustedPeers {
    /// Everyone: the caller is the workload itself (sidecar outbound).
    Any,
    /// Peers whose TLS certificate carries one of these SPIFFE ids; a trailing `*` matches any rest.
    Listed(Vec<String>),
}

/// `headers`: the names of what is written upstream.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Headers {
    /// The tenant.
    pub tenant_id: String,
    /// The user, as the application knows them.
    pub user_id: String,
    /// The name of the context.
    pub healthcare_context: String,
    /// The compliance level.
    pub compliance_level: String,
    /// The flags of the context, separated by commas.
    pub compliance_flags: String,
    /// The user as spans and records know them. Not written unless named: it is for Envoy before 1.37, whose span tags
    /// cannot read filter state.
    pub user_pseudonym: Option<String>,
    /// Of these headers and those of `routing`, the ones that are not written: nothing reads them. What a caller sends
    /// under their names is removed all the same.
    pub omit: Vec<String>,
}

/// `pseudonyms`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Pseudonyms {
    /// The environment variable (`vmConfig.env`) that holds the HMAC-SHA-256 key, at least 16 bytes.
    pub key_env: String,
}
