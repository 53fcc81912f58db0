//! The hashes of two records at a time. Each step of SHA-256 waits for the one before it; a processor that has
//! instructions for it does steps of another record meanwhile.

use super::checked::{Checked, Slots};
use super::digest::{Digest, LEAF};
use super::keys::{Hasher, Method};
use super::link::State;

/// What is hashed of one record before the other's turn, in bytes: what a processor looks ahead. Blocks of SHA-256 have
/// 64.
const TURN: usize = 128;

/// A record that waits for another one, to be hashed with it.
#[derive(Debug, Default)]
pub(super) struct Pairs<'k> {
    waiting: Option<Waiting<'k>>,
    /// Memory that is used again.
    spare: Vec<Vec<u8>>,
}

/// A record whose hash is to be computed.
#[derive(Debug)]
struct Waiting<'k> {
    text: Vec<u8>,
    hashing: Hashing<'k>,
    slots: Slots,
}

/// How to compute the hash of a record, and what it should be.
#[derive(Debug)]
pub(super) struct Hashing<'k> {
    pub(super) method: Method<'k>,
    pub(super) expected: Digest,
    /// Where the member `hash` begins and ends, with the comma before it.
    pub(super) covered: [usize; 2],
}

// === impl Pairs ===

impl<'k> Pairs<'k> {
    /// Takes a record in, and hashes it when there are two.
    pub(super) fn add(&mut self, record: &[u8], hashing: Hashing<'k>, slots: Slots, checked: &mut Checked) {
        let mut text = self.spare.pop().unwrap_or_default();
        text.clear();
        hashing.parts(record).into_iter().for_each(|part| text.extend_from_slice(part));
        let second = Waiting { text, hashing, slots };
        let Some(first) = self.waiting.take() else {
            self.waiting = Some(second);
            return;
        };
        let (mut one, mut other) = (first.hashing.method.hasher(), second.hashing.method.hasher());
        let common = first.text.len().min(second.text.len()) / TURN * TURN;
        let ((begin, rest), (other_begin, other_rest)) = (first.text.split_at(common), second.text.split_at(common));
        for (turn, other_turn) in begin.chunks_exact(TURN).zip(other_begin.chunks_exact(TURN)) {
            one.update(turn);
            other.update(other_turn);
        }
        one.update(rest);
        other.update(other_rest);
        checked.note_state(first.slots, state(one, first.hashing.expected));
        checked.note_state(second.slots, state(other, second.hashing.expected));
        self.spare.extend([first.text, second.text]);
    }

    /// Hashes the record that is left.
    pub(super) fn finish(self, checked: &mut Checked) {
        if let Some(Waiting { text, hashing: Hashing { method, expected, .. }, slots }) = self.waiting {
            let mut hasher = method.hasher();
            hasher.update(&text);
            checked.note_state(slots, state(hasher, expected));
        }
    }
}

// === impl Hashing ===

impl Hashing<'_> {
    /// Hashes the record on its own.
    pub(super) fn state(self, record: &[u8]) -> State {
        let parts = self.parts(record);
        let mut hasher = self.method.hasher();
        parts.into_iter().for_each(|part| hasher.update(part));
        state(hasher, self.expected)
    }

    /// What the hash is of.
    fn parts<'r>(&self, record: &'r [u8]) -> [&'r [u8]; 3] {
        let [before, after] = self.covered;
        [&LEAF, &record[..before], &record[after..]]
    }
}

fn state(hasher: Hasher, expected: Digest) -> State {
    if hasher.finish() == expected { State::Valid } else { State::Changed }
}
