//! The chains that the records came from: which of their records were read, and by which way they came.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rangemap::RangeInclusiveSet;
use serde::{Deserialize, Serialize};

pub use crate::source::Way;

/// What was read of one chain, of records that have their hash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
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
    /// Whether it is emergency access.
    #[serde(default)]
    pub emergency: bool,
}

// === impl Way ===

impl Way {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Collector, Self::AccessLog, Self::ProxyLog];
}

// === impl Seen ===

impl Seen {
    /// Notes a record. Whether it is the first time that it is seen, by whatever way.
    pub fn note(&mut self, number: u64, way: Way) -> bool {
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
        let mut note = |number, way| seen.note(number, way);
        assert!(note(1, Way::Collector));
        assert!(!note(1, Way::ProxyLog));
        assert!(!note(1, Way::Collector));
        assert!(note(2, Way::Collector));
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
