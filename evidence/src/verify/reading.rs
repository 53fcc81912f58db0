//! A record as the JSON parser reads it: any record, however it is spelled.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::digest::digest;
use super::keys::Keyring;
use super::link::{Link, Position, Role, State};
use super::time::Time;
use crate::record::{Chain, Proxy};

/// The schema of the records that are verified here.
pub(super) const SCHEMA: &str = "careplane.audit/v1";
/// What comes before the value of the member that no hash covers: itself.
const HASH_MEMBER: &[u8] = br#","hash":"#;

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

#[cfg(test)]
mod tests;
