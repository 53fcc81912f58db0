//! What `explain` prints: the shape of its JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Which filters: `pluginName`.
    pub plugin: String,
    pub request: RequestLine,
    pub path: PathExplanation,
    pub context: ContextExplanation,
    pub peer: PeerExplanation,
    pub tenant: IdentityExplanation,
    /// What each grant says; empty where none is asked.
    pub grants: Vec<GrantExplanation>,
    pub user: IdentityExplanation,
    /// None without a tenant.
    pub placement: Option<PlacementExplanation>,
    pub trace: TraceExplanation,
    /// None where the policy does not want the intent acknowledged first.
    pub write_ahead: Option<WriteAheadExplanation>,
    pub decision: DecisionExplanation,
    /// What enforcement would do; none where the request is not in shadow. Which headers would change is in the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowExplanation>,
    /// What becomes of the request headers; empty when nothing goes upstream.
    pub headers: Vec<HeaderExplanation>,
    /// The tags of the span; empty when the trace is not kept.
    pub span: BTreeMap<&'static str, String>,
    pub record: Option<RecordExplanation>,
}

#[derive(Debug, Serialize)]
pub struct RequestLine {
    pub method: String,
    pub path: String,
}

#[derive(Debug, Serialize)]
pub struct PathExplanation {
    pub normal: String,
    /// What normalisation did.
    pub changes: Vec<&'static str>,
}

/// A rule of the policy: the path in the document, and where that is.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyRule {
    pub path: String,
    /// None where the policy says nothing, and the default holds.
    pub place: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContextExplanation {
    pub name: String,
    pub rule: PolicyRule,
    pub template: Option<String>,
    pub captures: BTreeMap<String, String>,
    pub compliance_level: &'static str,
    pub tier: String,
    pub action: &'static str,
    pub resource: Option<String>,
    pub flags: Vec<String>,
    pub retention: Option<String>,
    pub recorded: bool,
    pub tenant_required: bool,
    /// Templates that the path fits too.
    pub others: Vec<Other>,
}

#[derive(Debug, Serialize)]
pub struct Other {
    pub context: String,
    pub template: String,
    pub rule: PolicyRule,
    /// Why it was not that one.
    pub why: String,
}

#[derive(Debug, Serialize)]
pub struct PeerExplanation {
    pub id: Option<String>,
    pub trusted: bool,
    /// The pattern that it is trusted by.
    pub pattern: Option<String>,
    pub rule: PolicyRule,
}

#[derive(Debug, Serialize)]
pub struct IdentityExplanation {
    pub value: Option<String>,
    pub sources: Vec<SourceExplanation>,
}

#[derive(Debug, Serialize)]
pub struct GrantExplanation {
    pub name: String,
    /// Whether it is the one that lets the caller act.
    pub used: bool,
    /// What it says to the act, and what is missing.
    pub verdict: String,
    pub rule: PolicyRule,
}

#[derive(Debug, Serialize)]
pub struct SourceExplanation {
    /// `claim tenant_id`
    pub source: String,
    pub said: Option<String>,
    /// What was made of it.
    pub verdict: String,
    pub rule: PolicyRule,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacementExplanation {
    /// What the policy does with a tenant that it does not know, if that is what it is.
    pub refused: bool,
    pub pool: Option<String>,
    pub pool_rule: Option<PolicyRule>,
    /// How the pool came about.
    pub pool_why: String,
    pub cohort: Option<&'static str>,
    pub cohort_why: String,
    pub jurisdiction: Option<&'static str>,
    pub regulator: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub struct TraceExplanation {
    /// Whether this plugin sees to it.
    pub decided: bool,
    pub kept: bool,
    pub reason: &'static str,
    pub tier: String,
    pub rate: String,
    pub rule: PolicyRule,
    pub number: Option<u16>,
    /// Whether the number is the lowest one for want of another.
    pub assumed: bool,
}

#[derive(Debug, Serialize)]
pub struct WriteAheadExplanation {
    pub rule: PolicyRule,
    /// The cluster of the collector.
    pub collector: String,
    pub acknowledged: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionExplanation {
    /// `allowed` or `denied`
    pub result: &'static str,
    /// The filter that denied.
    pub by: Option<&'static str>,
    pub code: Option<&'static str>,
    pub status: Option<u16>,
    pub grpc_status: Option<i32>,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct ShadowExplanation {
    /// `allowed` or `denied`
    pub result: &'static str,
    /// The filter that would deny.
    pub by: Option<&'static str>,
    pub code: Option<&'static str>,
    pub status: Option<u16>,
}

#[derive(Debug, Serialize)]
pub struct HeaderExplanation {
    pub name: String,
    /// What the caller sent.
    pub before: Vec<String>,
    /// What the upstream gets; empty when the header is removed.
    pub after: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordExplanation {
    /// Where it goes.
    pub sinks: Vec<&'static str>,
    /// Whether its pseudonyms are those of the mesh: the key is in the environment.
    pub real_pseudonyms: bool,
    /// Time, chain and outcome are made up.
    pub record: Value,
}
