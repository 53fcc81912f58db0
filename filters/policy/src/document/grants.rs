//! Who may act beyond their own tenants: `identity.grants`.

use serde::Serialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use super::{Action, Claim, ClaimPath};

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
