//! The policy document as it is written: plain data, in the shape of the YAML, nothing checked beyond that shape.
//!
//! [`crate::Policy`] is what it becomes. Fields that a document must have are `Option` here, so that one that lacks
//! several is told so in one go.

mod contexts;
mod defaults;
mod fields;
mod grants;
mod identity;
mod records;
mod sources;
mod spelling;
mod tenants;
mod words;

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

pub use contexts::{
    Action, AmbiguousPath, AuditLevel, ComplianceLevel, Context, DefaultContext, Enforcement, Match, Paths,
    TenantRequirement,
};
pub use grants::{Condition, Conditions, Grant, GrantLimit, GrantedTenants, Requirements};
pub use identity::{
    Correlation, Headers, Identity, Overrides, Pseudonyms, Purpose, TenantCase, TenantIdentity, TrustedPeers,
    UserIdentity,
};
pub use records::{Audit, Batch, Export, Late, ProxyLog, ProxyPlacement, Sampling, Sinks};
pub use sources::{Claim, ClaimPath, Source};
pub use tenants::{
    COHORT_HEADER, Canary, Cohort, Directory, Jurisdiction, Pool, Routing, Shrink, TenantEntry, Tenants, UnknownTenant,
};

/// The whole document: `pluginConfig` of a WasmPlugin.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Document {
    /// The version of this schema: `careplane/v1`.
    #[cfg_attr(feature = "schema", schemars(required))]
    pub version: Option<String>,
    /// Whether requests are changed and refused, or only recorded; a context may say otherwise.
    pub enforcement: Enforcement,
    /// Who is calling: which sources are believed, and from whom.
    pub identity: Identity,
    /// The names of the headers that careplane writes upstream.
    pub headers: Headers,
    /// How paths are read.
    pub paths: Paths,
    /// The key of the pseudonyms.
    pub pseudonyms: Pseudonyms,
    /// What requests are about, by method and path.
    pub contexts: Vec<Context>,
    /// What a request is about that no context matches.
    pub default_context: DefaultContext,
    /// Which traces are kept.
    pub sampling: Sampling,
    /// The tenants that are known by name.
    pub tenants: Tenants,
    /// Pools and release cohorts.
    pub routing: Routing,
    /// What is recorded, and where to.
    pub audit: Audit,
    /// The OTLP/HTTP collector that receives what leaves the proxy.
    pub export: Option<Export>,
}
