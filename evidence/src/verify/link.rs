//! What verification keeps of a record: a link of its chain, of one size whatever the record says.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::keys::Keyring;
use super::pairs::Hashing;
use super::scan::Scanned;
use super::time::Time;
use crate::record::{Chain, Proxy};
use crate::sort::{Entry, take};

/// SHA-256 or a MAC of it.
pub(super) type Digest = [u8; 32];

/// What the first record of a chain has for the hash of the one before.
pub(super) const GENESIS: Digest = [0; 32];
/// The schema of the records that are verified here.
pub(super) const SCHEMA: &str = "careplane.audit/v1";
/// What comes before the value of the member that no hash covers: itself.
const HASH_MEMBER: &[u8] = br#","hash":"#;

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

/// Where it was read. In the order of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// The number of the source, from 0.
    pub(super) source: u32,
    pub(super) line: u64,
    pub(super) record: u32,
}

/// Whether a record is what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
    Plain,
    /// `start` or `head`: this chain tells how far it has come.
    Checkpoint,
    End,
}

/// A record as far as its chain needs it.
#[derive(Debug)]
pub(super) struct Reading<'r> {
    pub(super) chain: Chain<'r>,
    pub(super) proxy: Option<Proxy<'r>>,
    kind: Option<Cow<'r, str>>,
    time: Option<Cow<'r, str>>,
    hash: &'r RawValue,
    /// Whether the members are in the order of their names, and none is there twice.
    is_ordered: bool,
}

// === impl Role ===

impl Role {
    fn of(kind: Option<&str>) -> Self {
        match kind {
            Some("start" | "head") => Self::Checkpoint,
            Some("end") => Self::End,
            _ => Self::Plain,
        }
    }
}

// === impl Scanned ===

impl Scanned<'_> {
    /// The chain that it says it is of; none for what is no UUID in lower case.
    pub(super) fn chain(&self) -> Option<Uuid> {
        let text: &[u8; 36] = self.id.as_bytes().try_into().ok()?;
        let mut digits = [0; 32];
        // Groups of digits, each but the first behind a dash.
        for (from, to, length) in [(0, 0, 8), (9, 8, 4), (14, 12, 4), (19, 16, 4), (24, 20, 12)] {
            digits[to..to + length].copy_from_slice(&text[from..from + length]);
        }
        let has_dashes = [8, 13, 18, 23].iter().all(|at| text[*at] == b'-');
        unhex::<32, 16>(&digits).filter(|_| has_dashes).map(Uuid::from_bytes)
    }

    /// The link that it is, and what remains to be done to know its state; until then, that is changed.
    pub(super) fn link<'k>(
        &self,
        chain: Uuid,
        position: Position,
        key: u32,
        keys: &'k Keyring,
    ) -> (Link, Option<Hashing<'k>>) {
        let hash = digest(self.hash);
        let (state, hashing) = match hash.map(|expected| (expected, keys.method(self.key))) {
            None => (State::Changed, None),
            Some((_, None)) => (State::Unverified, None),
            Some((expected, Some(method))) => {
                (State::Changed, Some(Hashing { method, expected, covered: self.covered }))
            }
        };
        let role = Role::of(Some(self.kind));
        let time = Time::parse(self.time);
        let link = Link { chain, seq: self.seq, position, prev: digest(self.prev), hash, state, role, key, time };
        (link, hashing)
    }
}

// === impl Reading ===

impl<'r> Reading<'r> {
    /// Reads the text of a record; says why when that is not possible.
    pub(super) fn parse(text: &'r [u8]) -> Result<Self, String> {
        let reading: Self = serde_json::from_slice(text).map_err(|error| format!("not a readable record: {error}"))?;
        if reading.chain.seq == 0 {
            return Err("not a readable record: `chain.seq` counts from 1".into());
        }
        Ok(reading)
    }

    /// The chain that it says it is of.
    pub(super) fn chain(&self) -> Result<Uuid, String> {
        let id = &self.chain.id;
        Uuid::try_parse(id).map_err(|_| format!("not a readable record: `chain.id` is {id:?}, and no UUID"))
    }

    /// The link that it is; `text` is what it was parsed from.
    pub(super) fn link(&self, text: &[u8], chain: Uuid, position: Position, key: u32, keys: &Keyring) -> Link {
        let hash = self.hash.get().strip_prefix('"').and_then(|value| value.strip_suffix('"')).and_then(digest);
        let state = match self.without_hash(text).filter(|_| self.is_ordered && hash.is_some()) {
            None => State::Changed,
            Some(parts) => match keys.hash(self.chain.key.as_deref(), parts) {
                None => State::Unverified,
                expected if expected == hash => State::Valid,
                Some(_) => State::Changed,
            },
        };
        let role = Role::of(self.kind.as_deref());
        let time = self.time.as_deref().and_then(Time::parse);
        Link { chain, seq: self.chain.seq, position, prev: digest(&self.chain.prev), hash, state, role, key, time }
    }

    #[cfg(test)]
    pub(super) fn members(&self) -> (&str, Option<&str>, &str, u64, &str, &str, &str) {
        let Chain { id, key, prev, seq } = &self.chain;
        let text =
            |text: &'_ Option<Cow<'r, str>>| text.as_deref().map(str::to_owned).unwrap_or_default().leak() as &str;
        (id, key.as_deref(), prev, *seq, text(&self.kind), text(&self.time), self.hash.get().trim_matches('"'))
    }

    /// The bytes before and behind the member `hash`: what the hash is of. As they stand, so that no other spelling of
    /// the same JSON passes for what was written.
    pub(super) fn without_hash<'t>(&self, text: &'t [u8]) -> Option<[&'t [u8]; 2]> {
        // A raw value is a part of the text that it was parsed from.
        let value = (self.hash.get().as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
        let (before, after) = text.split_at_checked(value)?;
        Some([before.strip_suffix(HASH_MEMBER)?, after.get(self.hash.get().len()..)?])
    }
}

impl<'de: 'r, 'r> Deserialize<'de> for Reading<'r> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

/// The members of a record, which are looked at in their order.
struct Members;

#[derive(Deserialize)]
struct Text<'r>(#[serde(borrow)] Cow<'r, str>);

impl<'de> Visitor<'de> for Members {
    type Value = Reading<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Reading<'de>, A::Error> {
        let (mut chain, mut hash, mut kind, mut proxy, mut time) = (None, None, None, None, None);
        let mut schema = None;
        let mut is_ordered = true;
        let mut last = Cow::Borrowed("");
        while let Some(Text(name)) = members.next_key()? {
            is_ordered &= last < name;
            match &*name {
                "chain" => chain = Some(members.next_value()?),
                "hash" => hash = Some(members.next_value()?),
                "kind" => kind = Some(members.next_value::<Text<'_>>()?.0),
                "proxy" => proxy = Some(members.next_value()?),
                "schema" => schema = Some(members.next_value::<Text<'_>>()?.0),
                "time" => time = Some(members.next_value::<Text<'_>>()?.0),
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
            last = name;
        }
        let chain = chain.ok_or_else(|| A::Error::missing_field("chain"))?;
        let hash = hash.ok_or_else(|| A::Error::missing_field("hash"))?;
        let schema = schema.ok_or_else(|| A::Error::missing_field("schema"))?;
        if schema != SCHEMA {
            return Err(A::Error::custom(format_args!("`schema` is {schema:?}, which is not {SCHEMA}")));
        }
        Ok(Reading { chain, proxy, kind, time, hash, is_ordered })
    }
}

/// 64 lower-case hex digits. Not of upper case: there is one way to write a hash, and a changed letter is a change.
fn digest(text: &str) -> Option<Digest> {
    unhex::<64, 32>(text.as_bytes().try_into().ok()?)
}

/// The bytes that lower-case hex digits are; none where one of them is not. Without branches or tables, so that a
/// compiler makes vector instructions of it.
#[inline]
fn unhex<const DIGITS: usize, const BYTES: usize>(digits: &[u8; DIGITS]) -> Option<[u8; BYTES]> {
    const { assert!(DIGITS == 2 * BYTES) }
    let mut nibbles = [0; DIGITS];
    let mut is_wrong = 0;
    for (nibble, digit) in nibbles.iter_mut().zip(digits) {
        let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
        is_wrong |= u8::from((number > 9) & (letter > 5));
        *nibble = if number > 9 { letter.wrapping_add(10) } else { number };
    }
    let mut bytes = [0; BYTES];
    for (byte, [high, low]) in bytes.iter_mut().zip(nibbles.as_chunks::<2>().0) {
        *byte = high << 4 | low;
    }
    (is_wrong == 0).then_some(bytes)
}

// === impl Link: as bytes ===

impl Entry for Link {
    const SIZE: usize = 16 + 8 + (4 + 8 + 4) + 32 + 32 + 1 + 4 + 8;
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
        out.extend(self.prev.unwrap_or_default());
        out.extend(self.hash.unwrap_or_default());
        out.push(flags);
        out.extend(self.key.to_le_bytes());
        out.extend(self.time.unwrap_or_default().micros().to_le_bytes());
    }

    fn read(mut rest: &[u8]) -> Self {
        let flags = rest[104];
        let chain = Uuid::from_bytes(take(&mut rest));
        let seq = u64::from_le_bytes(take(&mut rest));
        let position = Position {
            source: u32::from_le_bytes(take(&mut rest)),
            line: u64::from_le_bytes(take(&mut rest)),
            record: u32::from_le_bytes(take(&mut rest)),
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
