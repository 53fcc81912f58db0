//! The keys that chains are made with: HMAC-SHA-256 (RFC 2104), as the proxies have them in their environment.

use std::collections::HashMap;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

use super::digest::{Digest, LEAF};

/// The shortest key, in bytes, that the proxies take.
pub const KEY_MIN: usize = 16;

/// A key, ready to be used.
#[derive(Clone)]
pub struct Key {
    keyed: Hmac<Sha256>,
    id: String,
}

/// The keys of all times, by id.
#[derive(Debug, Clone, Default)]
pub struct Keyring(HashMap<String, Key>);

/// How records are hashed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Method<'k> {
    Plain,
    Keyed(&'k Key),
}

/// What makes the hash of a record.
#[derive(Debug)]
pub(super) enum Hasher {
    Plain(Sha256),
    Keyed(Box<Hmac<Sha256>>),
}

// === impl Key ===

impl Key {
    /// The key of these bytes; `None` when they are fewer than [`KEY_MIN`].
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let keyed = Hmac::new_from_slice(bytes).ok().filter(|_| bytes.len() >= KEY_MIN)?;
        let id = id(&keyed);
        Some(Self { keyed, id })
    }

    /// What records call it in `chain.key`.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// The id of a key: the first four bytes of its MAC of `key`, NUL, in letters `a`…`p`, one for each four bits. The
/// proxies' pseudonyms have the same: so keys can be told apart by those who may not have them.
fn id(keyed: &Hmac<Sha256>) -> String {
    let mac = keyed.clone().chain_update(b"key\0").finalize().into_bytes();
    mac[..4].iter().flat_map(|byte| [byte >> 4, byte & 0x0f]).map(|nibble| char::from(b'a' + nibble)).collect()
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

// === impl Keyring ===

impl Keyring {
    /// Adds a key.
    pub fn add(&mut self, key: Key) {
        self.0.insert(key.id.clone(), key);
    }

    /// The ids of the keys, in order.
    pub fn ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = self.0.keys().map(String::as_str).collect();
        ids.sort_unstable();
        ids
    }

    /// The hash of a record whose bytes are `parts`, under the key that it names. `None` when that one is not here.
    pub(super) fn hash(&self, key: Option<&str>, parts: [&[u8]; 2]) -> Option<Digest> {
        let mut hasher = self.method(key)?.hasher();
        hasher.update(&LEAF);
        parts.into_iter().for_each(|part| hasher.update(part));
        Some(hasher.finish())
    }

    /// How a record is hashed that names this key, if any. `None` when that one is not here.
    pub(super) fn method(&self, key: Option<&str>) -> Option<Method<'_>> {
        Some(match key {
            None => Method::Plain,
            Some(id) => Method::Keyed(self.0.get(id)?),
        })
    }
}

// === impl Method ===

impl Method<'_> {
    pub(super) fn hasher(self) -> Hasher {
        match self {
            Self::Plain => Hasher::Plain(Sha256::new()),
            Self::Keyed(key) => Hasher::Keyed(Box::new(key.keyed.clone())),
        }
    }
}

// === impl Hasher ===

impl Hasher {
    pub(super) fn update(&mut self, part: &[u8]) {
        match self {
            Self::Plain(plain) => sha2::Digest::update(plain, part),
            Self::Keyed(keyed) => keyed.update(part),
        }
    }

    pub(super) fn finish(self) -> Digest {
        match self {
            Self::Plain(plain) => plain.finalize().into(),
            Self::Keyed(keyed) => keyed.finalize().into_bytes().into(),
        }
    }
}
