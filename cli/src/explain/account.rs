//! What `explain` has to tell: the shape of its JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Which filters: `pluginName`.
    pub plugin: String,
    pub request: Asked,
    pub path: PathAccount,
    pub context: ContextAccount,
    pub peer: PeerAccount,
    pub tenant: IdentityAccount,
    /// What each grant says; empty where none is asked.
    pub grants: Vec<GrantAccount>,
    pub user: IdentityAccount,
    /// None without a tenant.
    pub placement: Option<PlacementAccount>,
    pub trace: TraceAccount,
    /// None where the policy does not want the intent acknowledged first.
    pub write_ahead: Option<WriteAheadAccount>,
    pub decision: DecisionAccount,
    /// What enforcement would do; none where the request is not in shadow. Which headers would change is in the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowAccount>,
    /// What becomes of the request headers; empty when nothing goes upstream.
    pub headers: Vec<HeaderAccount>,
    /// The tags of the span; empty when the trace is not kept.
    pub span: BTreeMap<&'static str, String>,
    pub record: Option<RecordAccount>,
}

#[derive(Debug, Serialize)]
pub struct Asked {
    pub method: String,
    pub path: String,
}

#[derive(Debug, Serialize)]
pub struct PathAccount {
    pub normal: String,
    /// What normalisation did.
    pub changes: Vec<&'static str>,
}

/// A rule of the policy: the path in the document, and where that is.
#[derive(Debug, Clone, Serialize)]
pub struct Rule {
    pub path: String,
    /// None where the policy says nothing, and the default holds.
    pub place: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContextAccount {
    pub name: String,
    pub rule: Rule,
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
    pub rule: Rule,
    /// Why it was not that one.
    pub why: String,
}

#[derive(Debug, Serialize)]
pub struct PeerAccount {
    pub id: Option<String>,
    pub trusted: bool,
    /// The pattern that it is trusted by.
    pub pattern: Option<String>,
    pub rule: Rule,
}

#[derive(Debug, Serialize)]
pub struct IdentityAccount {
    pub value: Option<String>,
    pub sources: Vec<SourceAccount>,
}

#[derive(Debug, Serialize)]
pub struct GrantAccount {
    pub name: String,
    /// Whether it is the one that lets the caller act.
    pub used: bool,
    /// What it says to the act, and what is missing.
    pub verdict: String,
    pub rule: Rule,
}

#[derive(Debug, Serialize)]
pub struct SourceAccount {
    /// `claim tenant_id`
    pub source: String,
    pub said: Option<String>,
    /// What was made of it.
    pub verdict: String,
    pub rule: Rule,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacementAccount {
    /// What the policy does with a tenant that it does not know, if that is what it is.
    pub refused: bool,
    pub pool: Option<String>,
    pub pool_rule: Option<Rule>,
    /// How the pool came about.
    pub pool_why: String,
    pub cohort: Option<&'static str>,
    pub cohort_why: String,
    pub jurisdiction: Option<&'static str>,
    pub regulator: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub struct TraceAccount {
    /// Whether this plugin sees to it.
    pub decided: bool,
    pub kept: bool,
    pub reason: &'static str,
    pub tier: String,
    pub rate: String,
    pub rule: Rule,
    pub number: Option<u16>,
    /// Whether the number is the lowest one for want of another.
    pub assumed: bool,
}

#[derive(Debug, Serialize)]
pub struct WriteAheadAccount {
    pub rule: Rule,
    /// The cluster of the collector.
    pub collector: String,
    pub acknowledged: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionAccount {
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
pub struct ShadowAccount {
    /// `allowed` or `denied`
    pub result: &'static str,
    /// The filter that would deny.
    pub by: Option<&'static str>,
    pub code: Option<&'static str>,
    pub status: Option<u16>,
}

#[derive(Debug, Serialize)]
pub struct HeaderAccount {
    pub name: String,
    /// What the caller sent.
    pub before: Vec<String>,
    /// What the upstream gets; empty when the header is removed.
    pub after: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordAccount {
    /// Where it goes.
    pub sinks: Vec<&'static str>,
    /// Whether its pseudonyms are those of the mesh: the key is in the environment.
    pub real_pseudonyms: bool,
    /// Time, chain and outcome are made up.
    pub record: Value,
}
