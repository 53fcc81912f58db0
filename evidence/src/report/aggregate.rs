//! The figures of a report, as they are added up record by record: what reports of parts are merged from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::delivery_counters::DeliveryCounters;
use super::intents::Unfinished;
use super::scope::Scope;
use crate::acts::{Kinds, Placement};
use crate::counts::{Counts, Merge, Tally, rows};
use crate::purpose;
use crate::verify::{MergeError, Verification};

/// The version of the aggregate.
pub const SCHEMA: &str = "careplane.audit-report/v3";

/// All figures of a report, and what verification found of the records that they were counted from, in the same
/// reading. Those of all shards of one run merge into that of the whole.
///
/// It holds pseudonyms of users and subjects: it is to be kept like the records themselves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Aggregate {
    /// [`SCHEMA`].
    pub(super) schema: String,
    /// When it was made: what was known then.
    pub made: Timestamp,
    /// What it is about.
    pub scope: Scope,
    /// What the records prove.
    pub verification: Verification,
    /// All requests, each once.
    pub total: Counts,
    /// What the records of these requests are.
    pub kinds: Kinds,
    /// Attempts beyond the first.
    pub repeats: u64,
    /// The requests by the placement of the proxy that saw them first, and the records by that of their own proxy.
    #[serde(rename = "doors")]
    pub placements: BTreeMap<Placement, PlacementCounts>,
    /// Records that were read and are not in the figures.
    pub outside: Outside,
    /// Requests by the hour in which they came in.
    pub hours: BTreeMap<Timestamp, Counts>,
    /// Requests by context and compliance level.
    pub contexts: BTreeMap<String, BTreeMap<String, Counts>>,
    /// Requests by what was done.
    pub actions: BTreeMap<String, Counts>,
    /// Requests by flag; one request can have several.
    pub flags: BTreeMap<String, Counts>,
    /// Requests by tenant.
    pub tenants: BTreeMap<String, Counts>,
    /// Refusals.
    #[serde(with = "rows")]
    pub denials: BTreeMap<Denial, Tally>,
    /// Requests that named another tenant.
    #[serde(with = "rows")]
    pub attempts: BTreeMap<Attempt, Crossing>,
    /// Requests under a grant: beyond the tenants of their user.
    #[serde(with = "rows", default)]
    pub reaches: BTreeMap<Reach, Reached>,
    /// Requests that enforcement would have refused, where a policy is in shadow.
    #[serde(with = "rows", default)]
    pub would_refuse: BTreeMap<WouldRefuse, Tally>,
    /// Requests that failed.
    #[serde(with = "rows")]
    pub failures: BTreeMap<Failure, Tally>,
    /// Requests by user, and whom they were about.
    pub people: BTreeMap<String, Person>,
    /// Requests by identity header that was sent and not true.
    pub forged: BTreeMap<String, u64>,
    /// Requests that the proxy could not hand over to be read.
    pub unreadable: u64,
    /// Requests that name no user.
    pub without_user: u64,
    /// Requests by the digest of the policy in force.
    pub policies: BTreeMap<String, Tally>,
    /// Requests that were recorded before they could go on, and are not over.
    pub unfinished: Unfinished,
    /// The proxies that should have a chain.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub expected: Vec<String>,
    /// What the proxies counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<DeliveryCounters>,
    /// What was too much to be counted separately.
    pub beyond: Beyond,
    /// The users and their subjects, while records are added: what `people` holds.
    #[serde(skip)]
    pub(super) pairs: usize,
}

/// Records that were read and are not in the figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outside {
    /// Requests before or after the period.
    pub other_time: u64,
    /// Requests of other regulators or tenants.
    pub other: u64,
    /// Requests within the period that name no regulator or tenant.
    pub unattributed: u64,
}

/// What the proxies of a placement saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacementCounts {
    /// Requests that they saw first.
    pub acts: u64,
    /// Records that are theirs.
    pub records: u64,
}

/// What was counted in all and not in its table, because the table was full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beyond {
    /// Requests without a row in some table.
    pub rows: u64,
    /// Requests by which a user may have acted on a subject that is not counted.
    pub pairs: u64,
}

/// A kind of refusal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Denial {
    /// Who refused.
    pub by: String,
    /// Why, in their word.
    pub reason: String,
}

/// What enforcement would have refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WouldRefuse {
    /// careplane's reason.
    pub reason: String,
    /// The SPIFFE id of the peer; empty without a certificate.
    pub peer: String,
    /// The healthcare context.
    pub context: String,
    /// Method and template.
    pub message: String,
}

/// Somebody named another tenant than their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt {
    /// Whose user it was; empty when no tenant was believed.
    pub tenant: String,
    /// Which one was named.
    pub other: String,
    /// By whom, as a pseudonym; empty when nobody was named.
    pub user: String,
    /// The healthcare context.
    pub context: String,
}

/// What became of an [`Attempt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crossing {
    /// Requests that were refused.
    pub refused: u64,
    /// Requests that were let through.
    pub passed: u64,
    /// The earliest.
    pub first: Timestamp,
    /// The latest.
    pub last: Timestamp,
}

/// Somebody acted under a grant, beyond their own tenants: who, whom, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reach {
    /// The grant.
    pub grant: String,
    /// The purpose of use; empty when none was given.
    pub purpose: String,
    /// By whom, as a pseudonym; empty when the record names no user.
    pub user: String,
    /// The tenant that was reached; empty when none was named.
    pub tenant: String,
    /// Whose data it was, as a pseudonym; empty for requests that are about no single person.
    pub subject: String,
}

/// What was done under a [`Reach`], and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The requests.
    pub counts: Counts,
    /// Their healthcare contexts.
    pub contexts: BTreeSet<String>,
    /// What was done, or tried.
    pub actions: BTreeSet<String>,
    /// The earliest.
    pub first: Timestamp,
    /// The latest.
    pub last: Timestamp,
}

/// A kind of failure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Failure {
    /// The healthcare context.
    pub context: String,
    /// What the caller got; nothing when the stream ended before.
    pub status: Option<u16>,
    /// Envoy's response flags, joined by commas.
    pub flags: String,
    /// Who answered; empty where the record does not say.
    pub by: String,
}

/// What one user did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The requests.
    pub counts: Counts,
    /// For which tenants.
    pub tenants: BTreeSet<String>,
    /// Whom they were about, as pseudonyms. Refused requests count for nobody: they reached no one's data.
    pub subjects: BTreeSet<String>,
}

/// Why a record, or another aggregate, cannot be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddError {
    /// The time of a record.
    Time(String),
    /// The aggregates are about different things.
    Scope(Box<(Scope, Scope)>),
    /// They are not all the shards of one run.
    Shards(MergeError),
    /// The text is no aggregate.
    Json(String),
    /// The schema of the aggregate is another.
    Schema(String),
}

// === impl Aggregate ===

impl Aggregate {
    /// Nothing, about `scope`, with what verification found.
    #[must_use]
    pub fn new(scope: Scope, made: Timestamp, verification: Verification) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            made,
            scope,
            verification,
            total: Counts::default(),
            kinds: Kinds::default(),
            repeats: 0,
            placements: BTreeMap::new(),
            outside: Outside::default(),
            hours: BTreeMap::new(),
            contexts: BTreeMap::new(),
            actions: BTreeMap::new(),
            flags: BTreeMap::new(),
            tenants: BTreeMap::new(),
            denials: BTreeMap::new(),
            attempts: BTreeMap::new(),
            reaches: BTreeMap::new(),
            would_refuse: BTreeMap::new(),
            failures: BTreeMap::new(),
            people: BTreeMap::new(),
            forged: BTreeMap::new(),
            unreadable: 0,
            without_user: 0,
            policies: BTreeMap::new(),
            unfinished: Unfinished::default(),
            expected: Vec::new(),
            ledger: None,
            beyond: Beyond::default(),
            pairs: 0,
        }
    }

    /// Reads one that was written as JSON.
    ///
    /// # Errors
    /// When the text is not of this schema; says where.
    pub fn from_json(text: &str) -> Result<Self, AddError> {
        #[derive(Deserialize)]
        struct Named {
            schema: Option<String>,
        }
        let wrong = |error: serde_json::Error| AddError::Json(error.to_string());
        let named: Named = serde_json::from_str(text).map_err(wrong)?;
        match named.schema.as_deref() {
            Some(SCHEMA) => serde_json::from_str(text).map_err(wrong),
            other => Err(AddError::Schema(other.unwrap_or_default().to_owned())),
        }
    }

    /// The figures of all shards of one run as those of one.
    ///
    /// # Errors
    /// When they are about different things, or are not all the shards of one run.
    pub fn merge(parts: Vec<Self>) -> Result<Self, AddError> {
        let verifications = parts.iter().map(|part| part.verification.clone());
        let verification = Verification::merge(verifications).map_err(AddError::Shards)?;
        let mut parts = parts.into_iter();
        let mut merged = parts.next().ok_or_else(|| AddError::Shards(MergeError::nothing()))?;
        for part in parts {
            merged.absorb(part)?;
        }
        merged.verification = verification;
        Ok(merged)
    }

    fn absorb(&mut self, other: Self) -> Result<(), AddError> {
        if self.scope != other.scope {
            return Err(AddError::Scope(Box::new((self.scope.clone(), other.scope))));
        }
        // What was known at the last of them.
        self.made = self.made.max(other.made);
        self.total.absorb(other.total);
        self.kinds.absorb(other.kinds);
        self.repeats += other.repeats;
        self.placements.absorb(other.placements);
        self.outside.absorb(other.outside);
        self.hours.absorb(other.hours);
        self.contexts.absorb(other.contexts);
        self.actions.absorb(other.actions);
        self.flags.absorb(other.flags);
        self.tenants.absorb(other.tenants);
        self.denials.absorb(other.denials);
        self.attempts.absorb(other.attempts);
        self.reaches.absorb(other.reaches);
        self.would_refuse.absorb(other.would_refuse);
        self.failures.absorb(other.failures);
        self.people.absorb(other.people);
        self.forged.absorb(other.forged);
        self.unreadable += other.unreadable;
        self.without_user += other.without_user;
        self.policies.absorb(other.policies);
        self.unfinished.absorb(other.unfinished);
        self.beyond.absorb(other.beyond);
        Ok(())
    }
}

// === impl Reach ===

impl Reach {
    /// Whether it is emergency access.
    #[must_use]
    pub fn is_emergency(&self) -> bool {
        purpose::is_emergency(&self.purpose)
    }
}

// === impl AddError ===

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "time {time:?} is not an RFC 3339 time such as 2026-10-31T06:00:00.000000Z"),
            Self::Json(error) => write!(f, "not a report in JSON: {error}"),
            Self::Scope(scopes) => write!(
                f,
                "it is about {}, the ones before about {}: make all with the same --from, --to, --regulator and \
                 --tenant",
                scopes.1, scopes.0
            ),
            Self::Shards(error) => error.fmt(f),
            Self::Schema(schema) => write!(f, "schema {schema:?}: expected {SCHEMA:?}, as --format json writes it"),
        }
    }
}

impl std::error::Error for AddError {}
