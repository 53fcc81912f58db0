//! What leaves the proxy: `sampling`, `audit` and `export`.

use std::collections::BTreeMap;

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use super::ComplianceLevel;

/// `sampling`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Sampling {
    /// Percent of traces kept, by tier: 0 to 100 with at most two decimals.
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, f64>"))]
    pub tiers: BTreeMap<String, serde_json::Value>,
    /// What is kept although the tier said no.
    pub late: Late,
}

/// `sampling.late`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Late {
    /// Requests that were refused: by careplane, or by another filter of the proxy.
    pub denied: bool,
    /// Requests that ended with 5xx or a reset.
    pub server_errors: bool,
    /// Requests that took longer: `2s`, `750ms`.
    pub slower_than: Option<String>,
    /// Also requests whose caller has a trace that it does not keep: their spans stand alone.
    pub unsampled_parents: bool,
}

/// `audit`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Audit {
    /// Where records go.
    pub sinks: Sinks,
    /// The compliance levels whose requests wait until the intent is acknowledged.
    pub write_ahead: Vec<ComplianceLevel>,
    /// The environment variable of the proxy that holds the key of the chain; the hashes are not keyed when absent.
    pub chain_key_env: Option<String>,
    /// Where the proxies of this policy stand, for the record: one act passes several.
    pub placement: Option<ProxyPlacement>,
}

/// `audit.placement`: where a proxy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ProxyPlacement {
    /// At the edge of the mesh.
    Gateway,
    /// In front of a workload.
    Inbound,
    /// Behind a workload, for the requests that it sends.
    Outbound,
}

/// `audit.sinks`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Sinks {
    /// Filter state `wasm.careplane.audit`, for Envoy's own access loggers.
    pub access_log: bool,
    /// Batches to `export`.
    pub otlp: bool,
    /// Envoy's own log.
    pub proxy_log: ProxyLog,
}

/// `audit.sinks.proxyLog`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ProxyLog {
    /// What no other sink took.
    Overflow,
    /// Every record.
    All,
    /// Nothing.
    Off,
}

/// `export`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Export {
    /// The Envoy cluster of the collector.
    #[cfg_attr(feature = "schema", schemars(required))]
    pub cluster: Option<String>,
    /// The `:authority` of the export requests; the cluster's name when absent.
    pub authority: Option<String>,
    /// How long one request may take: `2s`.
    pub timeout: Option<String>,
    /// How records are put together.
    pub batch: Batch,
    /// Bytes of records that may wait, per worker.
    pub queue_bytes: Option<u64>,
}

/// `export.batch`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Batch {
    /// At most this many records.
    pub records: Option<u64>,
    /// At most this old: `1s`.
    pub interval: Option<String>,
}
