//! What a block came to when it was checked.

use std::ops::Range;

use uuid::Uuid;

use super::link::{Link, State};
use crate::source::{self, Sink, Source};

/// A record, and what its hash says of it.
#[derive(Debug, Clone, Copy)]
pub struct Found<'f> {
    /// Its exact bytes.
    pub text: &'f [u8],
    /// Where it was read.
    pub location: source::Location<'f>,
    /// The sink that it was read from.
    pub sink: Sink,
    /// Whether it is what was written.
    pub state: State,
    /// Whether its chain is among those that are verified: false for some in a shard alone.
    pub in_shard: bool,
}

/// What a block came to. Lines are numbered from its beginning.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) lines: u64,
    pub(super) skipped: u64,
    /// Their keys are numbers of `keys`, from 1.
    pub(super) links: Vec<Link>,
    pub(super) keys: Vec<String>,
    /// The proxies that chains name.
    pub(super) proxies: Vec<(Uuid, String)>,
    /// Line, record of the line, and why.
    pub(super) unreadable: Vec<(u64, u32, String)>,
    pub(super) records: Vec<Kept>,
    /// The texts of `records`.
    pub(super) texts: Vec<u8>,
}

/// A record that is to be handed out.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) text: Range<usize>,
    pub(super) line: u64,
    pub(super) record: u32,
    pub(super) sink: Sink,
    pub(super) state: State,
    pub(super) in_shard: bool,
}

/// Where the state of a record is to be noted: in `links` and `records` of what a block came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slots {
    pub(super) link: Option<usize>,
    pub(super) record: Option<usize>,
}

// === impl Checked ===

impl Checked {
    /// Notes what the hash of a record says.
    pub(super) fn note_state(&mut self, slots: Slots, state: State) {
        if let Some(link) = slots.link.and_then(|at| self.links.get_mut(at)) {
            link.state = state;
        }
        if let Some(record) = slots.record.and_then(|at| self.records.get_mut(at)) {
            record.state = state;
        }
    }
}

// === impl Kept ===

impl Kept {
    /// The record; `before` is how many lines there are before its block.
    pub(super) fn found<'f>(&self, texts: &'f [u8], source: &'f Source, before: u64) -> Found<'f> {
        Found {
            text: &texts[self.text.clone()],
            location: source::Location { source: source.name(), line: before + self.line, record: self.record },
            sink: self.sink,
            state: self.state,
            in_shard: self.in_shard,
        }
    }
}
