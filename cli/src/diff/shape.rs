//! What `diff` finds: the shape of its JSON.

use schemars::JsonSchema;
use serde::Serialize;

/// What changes from one policy to another.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Diff {
    /// Whether access widens: a request that was refused is let through, or gets an identity that it had not.
    pub widens: bool,
    /// Routes whose context, level, tier, audit or other facts change.
    pub routes: Vec<RouteChange>,
    pub tenants: TenantChanges,
    /// Headers that the upstream is told with, by what they say: `tenant`, `context`, `pool` and so on.
    pub headers: Vec<FieldChange>,
    /// Requests, by caller, that are refused or let through otherwise, or get another identity.
    pub access: Vec<AccessChange>,
    /// Grants of both policies whose terms change: limits, waiting for evidence, flags.
    pub grants: Vec<GrantChange>,
    /// Cases that were left out of `access`, in words.
    pub not_compared: Vec<String>,
    /// How many traces the tiers keep; null without records and without a rate.
    pub traces: Option<Traces>,
    /// What becomes of recorded requests; null without records.
    pub records: Option<RecordChanges>,
}

/// Routes that change alike.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteChange {
    /// Methods and templates, such as `POST /api/v1/residents`; a template alone is all methods.
    pub routes: Vec<String>,
    pub changes: Vec<FieldChange>,
}

/// A value that changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// `context`, `level`, `tier`, `pool` and so on.
    pub field: String,
    /// Null for none.
    pub old: Option<String>,
    /// Null for none.
    pub new: Option<String>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantChanges {
    /// Tenants with an entry in one of the policies.
    pub pinned: Vec<TenantChange>,
    /// How many tenants without an entry were made up.
    pub sampled: usize,
    /// Where these move.
    pub moves: Vec<Move>,
    /// What part of them a pool or a cohort has, where that changes.
    pub shares: Vec<Share>,
}

/// A tenant, by name.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantChange {
    pub tenant: String,
    pub changes: Vec<FieldChange>,
}

/// Tenants that move alike.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// `pool` or `cohort`.
    pub field: String,
    /// Null for none.
    pub old: Option<String>,
    /// Null for none.
    pub new: Option<String>,
    pub tenants: usize,
}

/// A part of the tenants.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// `pool` or `cohort`.
    pub field: String,
    pub name: String,
    /// Percent.
    pub old: f64,
    /// Percent.
    pub new: f64,
}

/// A grant, by name.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantChange {
    pub grant: String,
    pub changes: Vec<FieldChange>,
}

/// What a change means for access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// Let through, or with an identity, where it was not.
    Gained,
    /// Refused, or without an identity, where it was not.
    Lost,
    /// Refused for another reason; of a record, also what is not access.
    Otherwise,
}

/// Requests that are decided otherwise, for callers and at routes that change alike.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessChange {
    pub kind: ChangeKind,
    /// The callers, and what they send.
    pub callers: Vec<String>,
    /// What becomes of it now.
    pub old: String,
    /// What would become of it.
    pub new: String,
    /// Methods and templates.
    pub routes: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Traces {
    pub requests_a_day: f64,
    /// Where the shares of the routes are from: `records`, or `routes`: each is asked as often as the others.
    pub shares: String,
    /// Traces a day that the tiers of the old policy keep.
    pub old: f64,
    /// And of the new one.
    pub new: f64,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordChanges {
    /// Records of requests that were decided again.
    pub compared: u64,
    /// Requests without a template: their path is in no record, so the new policy cannot be asked.
    pub without_template: u64,
    /// Requests that the old policy, asked again, decides otherwise than recorded: made under another policy, or by
    /// what a record does not hold.
    pub not_reproduced: u64,
    pub changes: Vec<RecordChange>,
}

/// Recorded requests that change alike.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordChange {
    pub kind: ChangeKind,
    /// Method and template.
    pub route: String,
    pub changes: Vec<FieldChange>,
    pub requests: u64,
    /// The request id of one of them.
    pub example: Option<String>,
}

// === impl FieldChange ===

impl FieldChange {
    /// The values that differ between two lists of the same fields.
    pub fn between(old: &[(&'static str, Option<String>)], new: &[(&'static str, Option<String>)]) -> Vec<Self> {
        let differ = old.iter().zip(new).filter(|(old, new)| old != new);
        differ
            .map(|((field, old), (_, new))| Self { field: (*field).into(), old: old.clone(), new: new.clone() })
            .collect()
    }
}
