//! What verification keeps of a record: a link of its chain, of one size whatever the record says.

use serde::Serialize;
use uuid::Uuid;

use super::digest::Digest;
use super::time::Time;
use crate::sort::{Entry, take};
use crate::source::Sink;

/// One record in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) chain: Uuid,
    pub(super) seq: u64,
    pub(super) position: Position,
    /// `None` when it is not 64 lower-case hex digits: then it was changed.
    pub(super) prev: Option<Digest>,
    /// The hash that it carries, `None` as above.
    pub(super) hash: Option<Digest>,
    pub(super) state: State,
    pub(super) role: Role,
    /// The number of its key among those that were met, from 1; 0 without.
    pub(super) key: u32,
    pub(super) time: Option<Time>,
}

/// Where it was read, and what had written it there. In the order of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// The number of the source, from 0.
    pub(super) source: u32,
    pub(super) line: u64,
    pub(super) record: u32,
    pub(super) sink: Sink,
}

/// Whether a record is what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// It has its hash.
    Valid,
    /// It does not.
    Changed,
    /// Its key is not here, so that a change would not show.
    Unverified,
}

/// What a record means for its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A request or an intent.
    Plain,
    /// A checkpoint, `start` or `head`: this chain tells how far it has come.
    Checkpoint,
    /// The last checkpoint, `end`.
    End,
}

// === impl Link ===

impl Link {
    /// Whether both are one record. A record whose key is not here can carry the hash of any other.
    pub(super) fn is_copy_of(&self, other: &Self) -> bool {
        (self.hash, self.state, self.key) == (other.hash, other.state, other.key)
    }
}

// === impl Role ===

impl Role {
    pub(super) fn of(kind: Option<&str>) -> Self {
        match kind {
            Some("start" | "head") => Self::Checkpoint,
            Some("end") => Self::End,
            _ => Self::Plain,
        }
    }
}

// === impl Link: as bytes ===

impl Entry for Link {
    const SIZE: usize = 16 + 8 + (4 + 8 + 4 + 1) + 32 + 32 + 1 + 4 + 8;
    type Bucket = Uuid;
    /// The last part makes the order total.
    type Order = (Uuid, u64, Position);

    fn bucket(&self) -> Uuid {
        self.chain
    }

    fn order(&self) -> Self::Order {
        (self.chain, self.seq, self.position)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let flags = self.state as u8
            | (self.role as u8) << 2
            | u8::from(self.prev.is_some()) << 4
            | u8::from(self.hash.is_some()) << 5
            | u8::from(self.time.is_some()) << 6;
        out.extend(self.chain.as_bytes());
        out.extend(self.seq.to_le_bytes());
        out.extend(self.position.source.to_le_bytes());
        out.extend(self.position.line.to_le_bytes());
        out.extend(self.position.record.to_le_bytes());
        out.push(self.position.sink as u8);
        out.extend(self.prev.unwrap_or_default());
        out.extend(self.hash.unwrap_or_default());
        out.push(flags);
        out.extend(self.key.to_le_bytes());
        out.extend(self.time.unwrap_or_default().micros().to_le_bytes());
    }

    fn read(mut rest: &[u8]) -> Self {
        let flags = rest[105];
        let chain = Uuid::from_bytes(take(&mut rest));
        let seq = u64::from_le_bytes(take(&mut rest));
        let position = Position {
            source: u32::from_le_bytes(take(&mut rest)),
            line: u64::from_le_bytes(take(&mut rest)),
            record: u32::from_le_bytes(take(&mut rest)),
            sink: Sink::ALL[usize::from(u8::from_le_bytes(take(&mut rest))) % Sink::ALL.len()],
        };
        let is = |bit: u8| flags >> bit & 1 == 1;
        let prev = Some(take(&mut rest)).filter(|_| is(4));
        let hash = Some(take(&mut rest)).filter(|_| is(5));
        let [_] = take(&mut rest);
        let state = [State::Valid, State::Changed, State::Unverified][usize::from(flags & 3) % 3];
        let role = [Role::Plain, Role::Checkpoint, Role::End][usize::from(flags >> 2 & 3) % 3];
        let key = u32::from_le_bytes(take(&mut rest));
        let time = Some(Time::from_micros(u64::from_le_bytes(take(&mut rest)))).filter(|_| is(6));
        Self { chain, seq, position, prev, hash, state, role, key, time }
    }
}

#[cfg(test)]
mod tests;
