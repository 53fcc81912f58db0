//! What policies in shadow would have refused: who has to change before they are enforced.
//!
//! A survey reads records, verifies their chains in the same reading, and folds what would have been refused to rows by
//! reason, peer, context and template.

use std::collections::{BTreeMap, HashMap};
use std::io;

use jiff::Timestamp;
use rangemap::RangeInclusiveSet;
use serde::Serialize;
use uuid::Uuid;

use crate::Record;
use crate::counts::{Merge as _, Tally};
use crate::report::{Scope, Standing, chain_doubts, clock, read};
use crate::source::Source;
use crate::verify::{Found, Keyring, Settings, State, Unreadable, Verification, Verifier};

/// The rows that are kept. A caller that tries one identity after another could make any number.
const ROWS_MAX: usize = 10_000;

/// What a survey came to.
#[derive(Debug)]
pub struct Survey {
    /// Records of requests in shadow, each once.
    pub records: u64,
    /// Those that would have been refused.
    pub denied: u64,
    /// Those of which that is not known, because careplane was not asked: another filter had refused them, or they
    /// could not be read.
    pub unasked: u64,
    /// What would have been refused, the most frequent first.
    pub rows: Vec<Row>,
    /// Records without a row, because the table was full.
    pub beyond: u64,
    /// The chains that it read.
    pub verification: Verification,
    /// Why these are not shown to be complete, a sentence each; nothing when they are.
    pub doubts: Vec<String>,
}

/// Who would have been refused, and for what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// careplane's reason.
    pub reason: String,
    /// The SPIFFE id of the peer; none without a certificate.
    pub peer: Option<String>,
    /// The healthcare context.
    pub context: String,
    /// The method.
    pub method: String,
    /// The template of the path; none in the default context.
    pub path_template: Option<String>,
}

/// A row of a survey.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Who, and for what.
    #[serde(flatten)]
    pub refused: Refused,
    /// How often, and when.
    #[serde(flatten)]
    pub tally: Tally,
    /// `x-request-id` of the latest that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
    /// Requests among them with identity headers that the policy does not believe.
    pub unbelieved: u64,
    /// What to change, in the policy or at the caller.
    pub change: &'static str,
}

/// The records while they are read.
#[derive(Default)]
struct Gathering {
    seen: HashMap<Uuid, RangeInclusiveSet<u64>>,
    records: u64,
    denied: u64,
    unasked: u64,
    rows: BTreeMap<Refused, (Tally, Option<String>, u64)>,
    beyond: u64,
    /// Records that have their hash, and are none.
    unreadable: Vec<Unreadable>,
}

/// Reads `sources`.
///
/// # Errors
/// When a source cannot be read, or the temporary file cannot be written.
pub fn survey(scope: &Scope, keys: Keyring, made: Timestamp, sources: &[Source]) -> io::Result<Survey> {
    let mut verifier = Verifier::new(Settings { keys, clock: clock(scope, made), ..Settings::default() });
    let mut gathering = Gathering::default();
    for source in sources {
        verifier.read_with(source, &|_| true, |found| {
            gathering.take(scope, &found);
            Ok(())
        })?;
    }
    let Gathering { records, denied, unasked, rows, beyond, unreadable, .. } = gathering;
    let verification = verifier.finish()?.with_unreadable(unreadable);
    let doubts = chain_doubts(&verification, scope);
    let mut rows: Vec<Row> = rows.into_iter().map(|(refused, row)| Row::new(refused, row)).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.tally.count));
    Ok(Survey { records, denied, unasked, rows, beyond, verification, doubts })
}

// === impl Gathering ===

impl Gathering {
    fn take(&mut self, scope: &Scope, found: &Found<'_>) {
        // What does not have its hash, or cannot be held against it, is in the verification and in no figure.
        if found.state != State::Valid {
            return;
        }
        let (record, chain, time) = match read(found.text) {
            Ok(read) => read,
            Err(why) => return self.unreadable.push(Unreadable::at(found.location, why)),
        };
        let Some(shadow) = record.decision.as_ref().and_then(|decision| decision.shadow.as_ref()) else { return };
        if scope.standing(&record, time) != Standing::Within {
            return;
        }
        // Copies of one record, from whatever sinks.
        let (numbers, number) = (self.seen.entry(chain).or_default(), record.chain.seq);
        if numbers.contains(&number) {
            return;
        }
        numbers.insert(number..=number);
        self.records += 1;
        match (&*shadow.result, &shadow.reason) {
            ("denied", Some(reason)) => {
                self.denied += 1;
                self.refuse(&record, reason, time);
            }
            ("none", _) => self.unasked += 1,
            _ => {}
        }
    }

    fn refuse(&mut self, record: &Record<'_>, reason: &str, time: Timestamp) {
        let (request, who) = (record.request.as_ref(), record.who.as_ref());
        let refused = Refused {
            reason: reason.to_owned(),
            peer: who.and_then(|who| who.peer.as_deref()).map(Into::into),
            context: record.context.as_ref().map(|context| context.name.to_string()).unwrap_or_default(),
            method: request.map(|request| request.method.to_string()).unwrap_or_default(),
            path_template: request.and_then(|request| request.path_template.as_deref()).map(Into::into),
        };
        if self.rows.len() >= ROWS_MAX && !self.rows.contains_key(&refused) {
            self.beyond += 1;
            return;
        }
        let (tally, example, unbelieved) = self.rows.entry(refused).or_insert_with(|| (Tally::starting(time), None, 0));
        let id = request.and_then(|request| request.id.as_deref());
        if let Some(id) = id.filter(|_| example.is_none() || time >= tally.last) {
            *example = Some(id.to_owned());
        }
        tally.absorb(Tally { count: 1, first: time, last: time });
        *unbelieved += u64::from(who.is_some_and(|who| !who.forged_headers.is_empty()));
    }
}

// === impl Row ===

impl Row {
    fn new(refused: Refused, (tally, example, unbelieved): (Tally, Option<String>, u64)) -> Self {
        let change = change(&refused.reason, unbelieved > 0 && refused.peer.is_some());
        Self { refused, tally, example, unbelieved, change }
    }
}

/// What to change, so that a request that should pass is not refused for this reason.
fn change(reason: &str, has_unbelieved_peer: bool) -> &'static str {
    match reason {
        "tenant-missing" if has_unbelieved_peer => {
            "the peer sends identity headers and is not trusted: list it in identity.trustedPeers, if it may say who \
             calls"
        }
        "tenant-missing" => {
            "let the caller send a token with the tenant's claim, or set tenant: optional for a context that needs no \
             tenant"
        }
        "tenant-unknown" => "list the tenant in tenants.entries, or set tenants.unknown: route",
        "tenant-conflict" => {
            "two sources name different tenants: correct the caller, or the order and number of identity.tenant.sources"
        }
        "tenant-unselected" => {
            "the caller may act for several tenants: let it name one in the path or a header of identity.tenant.sources"
        }
        "grant-action" => {
            "the grant covers neither this action nor this context: widen its actions or contexts, or leave it"
        }
        "grant-purpose" => "the grant requires a purpose of use: let the caller say one of grants[].requires.purpose",
        "grant-limit" => "the user acts under the grant more often than grants[].atMost allows: raise it, or leave it",
        "user-conflict" => {
            "two sources name different users: correct the caller, or the sources of identity.user.sources"
        }
        "identity-repeated" => {
            "an identity header comes more than once: find the hop that adds one, and let it replace"
        }
        "path-ambiguous" => {
            "let the caller send the path without encoded separators, suffixes and parameters, or set \
             paths.ambiguous: accept"
        }
        "tenant-malformed" => {
            "a source of identity.tenant.sources does not hold a tenant id: correct the source or the caller"
        }
        "user-malformed" => {
            "a source of identity.user.sources does not hold a user id: correct the source or the caller"
        }
        _ => "see the reason in docs/policy.md",
    }
}
