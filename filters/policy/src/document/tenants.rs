//! Tenants, and where they are served: `tenants` and `routing`.

use std::collections::BTreeMap;

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

/// `tenants`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Tenants {
    /// What becomes of a tenant that is neither in `entries` nor in the directory.
    pub unknown: UnknownTenant,
    /// Tenant id → what is known of it.
    pub entries: BTreeMap<String, TenantEntry>,
    /// A server of many more tenants, for which `entries` would be too large.
    pub directory: Option<Directory>,
}

/// `tenants.directory`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Directory {
    /// The Envoy cluster of the server.
    #[cfg_attr(feature = "schema", schemars(required))]
    pub cluster: Option<String>,
    /// The `:authority` of the requests; the cluster's name when absent.
    pub authority: Option<String>,
    /// The folder of `index.json` on the server: `/directory` when absent.
    pub path: Option<String>,
    /// How often each worker asks for a new one: `60s` when absent.
    pub interval: Option<String>,
    /// How long one request may take: `5s` when absent.
    pub timeout: Option<String>,
    /// What becomes of a directory with less than half of the tenants.
    pub shrink: Shrink,
}

/// `tenants.directory.shrink`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Shrink {
    /// The old one stays: a file that was cut off is likelier than a closure of half of the homes.
    #[default]
    Refuse,
    /// It is taken.
    Allow,
}

/// `tenants.unknown`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum UnknownTenant {
    /// Hashed into a pool.
    #[default]
    Route,
    /// 403.
    Deny,
}

/// One tenant of `tenants.entries`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TenantEntry {
    /// The pool it is pinned to: one of `routing.pools` or `routing.dedicated`.
    pub pool: Option<String>,
    /// The nation whose regulator inspects it.
    pub jurisdiction: Option<Jurisdiction>,
    /// The release cohort it is pinned to.
    pub cohort: Option<Cohort>,
    /// The group of homes that it belongs to, for grants.
    pub group: Option<String>,
}

/// A nation of the United Kingdom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Jurisdiction {
    /// Inspected by the CQC.
    England,
    /// Inspected by the Care Inspectorate.
    Scotland,
    /// Inspected by the CIW.
    Wales,
    /// Inspected by the RQIA.
    NorthernIreland,
}

/// Which release a tenant is served by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Cohort {
    /// The next one.
    Canary,
    /// The present one.
    Stable,
}

/// `routing`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Routing {
    /// The header that names the pool, for a VirtualService to match on.
    pub pool_header: String,
    /// The pools that tenants are hashed into.
    pub pools: Vec<Pool>,
    /// Pools that only pinned tenants are in.
    pub dedicated: Vec<String>,
    /// Release cohorts.
    pub canary: Option<Canary>,
}

/// One entry of `routing.pools`: a name, or a name with a weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its share of the tenants, beside the weights of the others: 1 to 100.
    pub weight: u64,
}

/// The header of the cohort, unless `routing.canary` names another.
pub const COHORT_HEADER: &str = "x-release-cohort";

/// `routing.canary`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Canary {
    /// Percent of the tenants that are in the canary cohort: 0 to 100 with at most two decimals.
    pub percent: f64,
    /// The header that names the cohort.
    pub header: String,
}

// === impl Tenants ===

impl Tenants {
    /// Whether an entry says the cohort of its tenant.
    pub fn pins_a_cohort(&self) -> bool {
        self.entries.values().any(|entry| entry.cohort.is_some())
    }
}

// === impl Routing ===

impl Routing {
    /// The header of the cohort, if tenants have one: by number, or because an entry says it (`is_pinned`).
    pub fn cohort_header(&self, is_pinned: bool) -> Option<&str> {
        self.canary.as_ref().map(|canary| &*canary.header).or_else(|| is_pinned.then_some(COHORT_HEADER))
    }
}
