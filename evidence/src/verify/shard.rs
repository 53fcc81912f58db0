//! Which part of the chains is verified.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;
use xxhash_rust::xxh64::xxh64;

/// A part of the chains: those whose id hashes to `index` of `count`. Chains depend on nothing in each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    pub(super) index: u64,
    pub(super) count: u64,
}

/// The chain that a record begins with, without reading the rest of it: cheap, so that a shard has little to do with
/// the others'.
pub(super) fn claimed_chain(text: &[u8]) -> Option<Uuid> {
    let id = text.strip_prefix(br#"{"chain":{"id":""#)?.get(..uuid::fmt::Hyphenated::LENGTH)?;
    Uuid::try_parse_ascii(id).ok()
}

// === impl Shard ===

impl Shard {
    pub(super) fn holds_part(self, part: &str) -> bool {
        xxh64(part.as_bytes(), 0) % self.count == self.index
    }

    /// Whether the requests of this digest are counted in it.
    pub(crate) fn holds_request(self, digest: [u8; 16]) -> bool {
        xxh64(&digest, 0) % self.count == self.index
    }

    /// Whether the chain that the text of a record begins with is in it.
    pub(crate) fn holds_text(self, text: &[u8]) -> bool {
        claimed_chain(text).map_or(self.is_first(), |chain| self.holds(chain))
    }

    pub(super) fn holds(self, chain: Uuid) -> bool {
        xxh64(chain.as_bytes(), 0) % self.count == self.index
    }

    /// Whether it is the one for what does not say of which chain it is.
    #[must_use]
    pub(super) fn is_first(self) -> bool {
        self.index == 0
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match parts {
            Some((index, count)) if index < count => Ok(Self { index, count }),
            Some((_, 0)) => Err("0/1 is all; there are no 0 shards".into()),
            Some((_, count)) => Err(format!("the last of {count} shards is {}/{count}", count - 1)),
            None => Err("a shard is written INDEX/COUNT, from 0/COUNT on".into()),
        }
    }
}
