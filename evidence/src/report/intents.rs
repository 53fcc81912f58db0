//! Requests that were recorded before they could go on: which of them are over.

use std::io;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::counts::Merge;
use crate::sort::{Entry, Sorter, take};

/// Requests of which only the beginning is on record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unfinished {
    /// All of them.
    pub requests: u64,
    /// Those that are emergency access.
    pub emergencies: u64,
}

/// Something that is known of an intent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) chain: Uuid,
    /// The number of the intent.
    pub(super) seq: u64,
    pub(super) kind: MarkKind,
}

/// What is known. What comes first tells most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MarkKind {
    /// A request named it.
    Answered,
    /// It was read, and is emergency access.
    Emergency,
    /// It was read.
    Intent,
}

impl Unfinished {
    /// Of the intents of `marks`, those that no request names.
    pub(super) fn of(marks: Sorter<Mark>) -> io::Result<Self> {
        let mut unfinished = Self::default();
        let mut last = None;
        for mark in marks.sorted()? {
            let mark = mark?;
            if last.replace((mark.chain, mark.seq)) == Some((mark.chain, mark.seq)) {
                continue;
            }
            unfinished.requests += u64::from(mark.kind != MarkKind::Answered);
            unfinished.emergencies += u64::from(mark.kind == MarkKind::Emergency);
        }
        Ok(unfinished)
    }
}

impl Merge for Unfinished {
    fn absorb(&mut self, other: Self) {
        self.requests += other.requests;
        self.emergencies += other.emergencies;
    }
}

impl Entry for Mark {
    const SIZE: usize = 16 + 8 + 1;
    type Bucket = Uuid;
    type Order = (Uuid, u64, MarkKind);

    fn bucket(&self) -> Uuid {
        self.chain
    }

    fn order(&self) -> Self::Order {
        (self.chain, self.seq, self.kind)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.chain.as_bytes());
        out.extend(self.seq.to_le_bytes());
        out.push(self.kind as u8);
    }

    fn read(mut rest: &[u8]) -> Self {
        let chain = Uuid::from_bytes(take(&mut rest));
        let seq = u64::from_le_bytes(take(&mut rest));
        let [kind] = take(&mut rest);
        let kind = [MarkKind::Answered, MarkKind::Emergency, MarkKind::Intent][usize::from(kind) % 3];
        Self { chain, seq, kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_and_its_request_meet_in_any_order_and_number() {
        let mark = |(seq, kind)| Mark { chain: Uuid::from_u128(7), seq, kind };
        let marks = [
            (1, MarkKind::Intent),
            (1, MarkKind::Answered),
            (2, MarkKind::Answered),
            (2, MarkKind::Emergency),
            (3, MarkKind::Emergency),
            (4, MarkKind::Intent),
            (5, MarkKind::Answered),
            // Copies.
            (2, MarkKind::Emergency),
            (4, MarkKind::Intent),
        ];
        for capacity in [1, 2, 100] {
            let mut sorter = Sorter::new(capacity);
            marks.map(mark).into_iter().try_for_each(|mark| sorter.push(mark)).unwrap();
            assert_eq!(Unfinished::of(sorter).unwrap(), Unfinished { requests: 2, emergencies: 1 });
        }
    }
}
