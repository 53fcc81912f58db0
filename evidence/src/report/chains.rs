//! The chains that the records came from: which of their records were read, and from which sinks.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rangemap::RangeInclusiveSet;
use serde::{Deserialize, Serialize};

pub use crate::source::Sink;

/// What was read of one chain, of records that have their hash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Lines that repeat a record that was read from the same sink before.
    pub repeated: u64,
    /// The numbers of the records that were read from each sink.
    pub numbers: BTreeMap<Sink, RangeInclusiveSet<u64>>,
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
    /// Whether it is emergency access.
    #[serde(default)]
    pub emergency: bool,
}

// === impl Sink ===

impl Sink {
    /// Every sink.
    pub const ALL: [Self; 3] = [Self::Collector, Self::AccessLog, Self::ProxyLog];
}

// === impl Seen ===

impl Seen {
    /// Notes a record. Whether it is the first time that it is seen, in whatever sink.
    pub fn note(&mut self, number: u64, sink: Sink) -> bool {
        let is_new = !self.numbers.values().any(|numbers| numbers.contains(&number));
        let numbers = self.numbers.entry(sink).or_default();
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
}

/// How many numbers are in `numbers`.
pub(super) fn count(numbers: &RangeInclusiveSet<u64>) -> u64 {
    numbers.iter().map(|range| (range.end() - range.start()).saturating_add(1)).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_once_whatever_brought_it() {
        let mut seen = Seen::default();
        let mut note = |number, sink| seen.note(number, sink);
        assert!(note(1, Sink::Collector));
        assert!(!note(1, Sink::ProxyLog));
        assert!(!note(1, Sink::Collector));
        assert!(note(2, Sink::Collector));
        assert_eq!((count(&seen.all()), seen.repeated), (2, 1));
    }

    #[test]
    fn an_intent_and_its_request_meet_in_either_order() {
        let intent = Intent { time: Timestamp::UNIX_EPOCH, within: true, emergency: false };
        let mut seen = Seen::default();
        seen.hold(1, intent);
        seen.answer(1);
        seen.answer(2);
        seen.hold(2, intent);
        seen.hold(3, intent);
        assert_eq!((seen.held.len(), seen.answered.len()), (1, 0));
    }
}
