//! The chains that the records came from: which of their records were read, by which way they came, and what verification said.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rangemap::RangeInclusiveSet;
use serde::{Deserialize, Serialize};

use super::counts::Merge;
pub use crate::source::Way;
use crate::verify::{ChainReport, Tail, Verdict};

/// What was read of one chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// The proxy whose chain it is, where a record says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// The time of the earliest record.
    pub first: Timestamp,
    /// The time of the latest.
    pub last: Timestamp,
    /// Requests of it that the report is about.
    pub requests: u64,
    /// Lines that repeat a record which the same way had brought already.
    pub repeated: u64,
    /// The numbers of the records that each way brought.
    pub numbers: BTreeMap<Way, RangeInclusiveSet<u64>>,
    /// Intents whose request was not read yet.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub held: BTreeMap<u64, Intent>,
    /// Intents that a request named before they were read.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub answered: BTreeSet<u64>,
}

/// A request that was recorded before it could go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// When.
    pub time: Timestamp,
    /// Whether the report is about it.
    pub within: bool,
}

/// What verification found of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainLine {
    /// The chain.
    pub id: String,
    /// The proxy whose chain it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// What it came to.
    pub verdict: Verdict,
    /// How many records it has.
    pub records: u64,
    /// The time of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The time of the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Records that are missing.
    #[serde(default)]
    pub missing: u64,
    /// Records that were changed.
    #[serde(default)]
    pub edited: u64,
    /// Records without a key: whoever could write where they are kept could have made the chain anew.
    #[serde(default)]
    pub unkeyed: u64,
    /// What is known of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
}

// === impl ChainLine ===

impl From<ChainReport> for ChainLine {
    fn from(chain: ChainReport) -> Self {
        Self {
            id: chain.id,
            proxy: chain.proxy,
            verdict: chain.verdict,
            records: chain.records,
            from: chain.since.map(Timestamp::from),
            to: chain.until.map(Timestamp::from),
            missing: chain.missing,
            edited: chain.edited,
            unkeyed: chain.unkeyed,
            tail: Some(chain.tail),
        }
    }
}

// === impl Way ===

impl Way {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Collector, Self::AccessLog, Self::ProxyLog];
}

// === impl Seen ===

impl Seen {
    /// Nothing of it yet, but that there was a record at `time`.
    #[must_use]
    pub fn starting(time: Timestamp) -> Self {
        Self {
            proxy: None,
            first: time,
            last: time,
            requests: 0,
            repeated: 0,
            numbers: BTreeMap::new(),
            held: BTreeMap::new(),
            answered: BTreeSet::new(),
        }
    }

    /// Notes a record. Whether it is the first time that it is seen, by whatever way.
    pub fn note(&mut self, number: u64, time: Timestamp, way: Way) -> bool {
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        let is_new = !self.numbers.values().any(|numbers| numbers.contains(&number));
        let numbers = self.numbers.entry(way).or_default();
        if numbers.contains(&number) {
            self.repeated += 1;
        } else {
            numbers.insert(number..=number);
        }
        is_new
    }

    /// Notes an intent.
    pub fn hold(&mut self, number: u64, intent: Intent) {
        if !self.answered.remove(&number) {
            self.held.insert(number, intent);
        }
    }

    /// Notes that the request of an intent is over.
    pub fn answer(&mut self, number: u64) {
        if self.held.remove(&number).is_none() {
            self.answered.insert(number);
        }
    }

    /// The numbers of all records that were read.
    #[must_use]
    pub fn all(&self) -> RangeInclusiveSet<u64> {
        self.numbers.values().flat_map(RangeInclusiveSet::iter).cloned().collect()
    }

    /// A number that is in this and in `other`.
    #[must_use]
    pub fn shared(&self, other: &Self) -> Option<u64> {
        let all = other.all();
        self.all().iter().find_map(|range| all.overlapping(range).next().map(|it| *it.start().max(range.start())))
    }
}

/// How many numbers are in `numbers`.
pub(super) fn count(numbers: &RangeInclusiveSet<u64>) -> u64 {
    numbers.iter().map(|range| (range.end() - range.start()).saturating_add(1)).fold(0, u64::saturating_add)
}

impl Merge for Seen {
    fn absorb(&mut self, other: Self) {
        self.proxy = self.proxy.take().max(other.proxy);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.requests += other.requests;
        self.repeated += other.repeated;
        for (way, numbers) in other.numbers {
            self.numbers.entry(way).or_default().extend(numbers);
        }
        for (number, intent) in other.held {
            self.hold(number, intent);
        }
        for number in other.answered {
            self.answer(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_once_whatever_brought_it() {
        let mut seen = Seen::starting(Timestamp::UNIX_EPOCH);
        let mut note = |number, way| seen.note(number, Timestamp::UNIX_EPOCH, way);
        assert!(note(1, Way::Collector));
        assert!(!note(1, Way::ProxyLog));
        assert!(!note(1, Way::Collector));
        assert!(note(2, Way::Collector));
        assert_eq!((count(&seen.all()), seen.repeated), (2, 1));
    }

    #[test]
    fn an_intent_and_its_request_meet_in_either_order() {
        let intent = Intent { time: Timestamp::UNIX_EPOCH, within: true };
        let mut seen = Seen::starting(Timestamp::UNIX_EPOCH);
        seen.hold(1, intent);
        seen.answer(1);
        seen.answer(2);
        seen.hold(2, intent);
        seen.hold(3, intent);
        assert_eq!((seen.held.len(), seen.answered.len()), (1, 0));
    }
}
