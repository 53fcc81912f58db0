//! The policy document as it is written: plain data, in the shape of the YAML, nothing checked beyond that shape.
//!
//! [`crate::Policy`] is what it becomes. Fields that a document must have are `Option` here, so that one that lacks
//! several is told so in one go.

mod defaults;
mod fields;
mod spelling;
mod words;

use std::collections::BTreeMap;

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

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

/// `enforcement`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// What is decided happens.
    #[default]
    Enforce,
    /// What is decided is recorded, counted and tagged. No request is refused or held, and no header changes.
    Shadow,
}

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

/// `paths`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Paths {
    /// What becomes of a request whose path an application may read as another one.
    pub ambiguous: AmbiguousPath,
}

/// `paths.ambiguous`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AmbiguousPath {
    /// The strictest reading decides.
    #[default]
    Accept,
    /// 400.
    Reject,
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

/// One entry of `identity.grants`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Grant {
    /// Its name: on records, spans and metrics.
    #[cfg_attr(feature = "schema", schemars(required))]
    pub name: Option<String>,
    /// Whose it is: what their claims say. All of several conditions have to hold.
    #[cfg_attr(feature = "schema", schemars(required))]
    pub when: Conditions,
    /// The tenants that it reaches.
    #[cfg_attr(feature = "schema", schemars(required))]
    pub tenants: Option<GrantedTenants>,
    /// The actions that it allows; all when empty.
    pub actions: Vec<Action>,
    /// The contexts that it allows, by their names; all when empty.
    pub contexts: Vec<String>,
    /// What a request has to say.
    pub requires: Requirements,
    /// Words for regulatory tracking, beside those of the context.
    pub flags: Vec<String>,
    /// How often one user may act under it, in each worker of a proxy.
    pub at_most: Option<GrantLimit>,
    /// Whether its requests wait until the intent is acknowledged.
    pub write_ahead: bool,
}

/// `identity.grants[].when`: one condition, or a list.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Conditions(pub Vec<Condition>);

/// What a claim has to say: just one of `equals`, `contains` and `anyOf`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Condition {
    /// The claim: its name, or the names on the way to a nested one.
    #[cfg_attr(feature = "schema", schemars(required))]
    pub claim: Option<ClaimPath>,
    /// The issuer that has to have made the token.
    pub issuer: Option<String>,
    /// The claim is this, and nothing else.
    pub equals: Option<String>,
    /// The claim is this, or a list that has it.
    pub contains: Option<String>,
    /// The claim is one of these, or a list that has one of them.
    pub any_of: Option<Vec<String>>,
}

/// `identity.grants[].tenants`.
#[derive(Debug, Clone, PartialEq)]
pub enum GrantedTenants {
    /// All.
    Any,
    /// Those whose `tenants.entries.*.jurisdiction` the claim names.
    Jurisdiction(Claim),
    /// Those whose `tenants.entries.*.group` the claim names.
    Group(Claim),
}

/// `identity.grants[].requires`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Requirements {
    /// The purposes that are accepted: codes of HL7 v3 PurposeOfUse. None is needed when empty.
    pub purpose: Vec<String>,
}

/// `identity.grants[].atMost`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GrantLimit {
    /// The requests of one user: 1 to 1000.
    #[cfg_attr(feature = "schema", schemars(required))]
    pub per_user: Option<u64>,
    /// In this time: `1h`.
    #[cfg_attr(feature = "schema", schemars(required))]
    pub within: Option<String>,
}

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

/// One entry of `contexts`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Context {
    /// Its name: the tag `healthcare_context`.
    #[cfg_attr(feature = "schema", schemars(required))]
    pub name: Option<String>,
    /// The tag `compliance_level`.
    #[cfg_attr(feature = "schema", schemars(required))]
    pub compliance_level: Option<ComplianceLevel>,
    /// The sampling tier; `default` when absent.
    pub tier: Option<String>,
    /// What the request does to the resource; from the method when absent.
    pub action: Option<Action>,
    /// The FHIR resource type that it is about.
    pub resource: Option<String>,
    /// The path parameter that names the subject of care; recorded as a pseudonym.
    pub subject: Option<String>,
    /// Words for regulatory tracking.
    pub flags: Vec<String>,
    /// How long the store has to keep the records: an ISO 8601 duration (`P8Y`).
    pub retention: Option<String>,
    /// Whether its requests are recorded.
    pub audit: AuditLevel,
    /// Overrides `identity.tenant.required`.
    pub tenant: Option<TenantRequirement>,
    /// Overrides `enforcement`.
    pub enforcement: Option<Enforcement>,
    /// Which requests it is about.
    #[serde(rename = "match")]
    #[cfg_attr(feature = "schema", schemars(required))]
    pub matches: Option<Vec<Match>>,
}

/// One entry of `contexts[].match`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Match {
    /// The methods; all when absent. `GET` covers `HEAD`.
    pub methods: Option<Vec<String>>,
    /// The path template: `/residents/{id}`, `/files/{*rest}`.
    #[cfg_attr(feature = "schema", schemars(required))]
    pub path: Option<String>,
}

/// `defaultContext`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DefaultContext {
    /// Its name.
    pub name: String,
    /// Its compliance level.
    pub compliance_level: ComplianceLevel,
    /// Its sampling tier.
    pub tier: String,
    /// Whether its requests are recorded.
    pub audit: AuditLevel,
    /// Overrides `identity.tenant.required`.
    pub tenant: Option<TenantRequirement>,
    /// Overrides `enforcement`.
    pub enforcement: Option<Enforcement>,
}

/// How much a mistake would matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ComplianceLevel {
    /// A person can come to harm.
    Critical,
    /// Clinical or special-category data.
    High,
    /// Personal data.
    Standard,
    /// None of these.
    Low,
}

/// What a request does to its resource (the letters C, R, U, D, E of a FHIR AuditEvent).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Makes a new one.
    Create,
    /// Looks at it.
    Read,
    /// Changes it.
    Update,
    /// Removes it.
    Delete,
    /// Does something with it.
    Execute,
}

/// Whether requests of a context are recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AuditLevel {
    /// One complete record each.
    #[default]
    Full,
    /// Not recorded; denials are.
    None,
}

/// Whether requests of a context need a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum TenantRequirement {
    /// No tenant → 403.
    Required,
    /// No tenant → tagged `unknown`.
    Optional,
}

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
