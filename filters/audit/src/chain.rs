//! The hash chain: each record carries a number and the hash of the one before, so a missing or changed one shows, and where.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use careplane_exchange::{Host, Key};
use sha2::{Digest, Sha256};

use crate::record::Draft;
use crate::{CHAIN_EPOCH, CHAINS};

/// The hash before the first record.
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The prefix of a leaf in RFC 6962 §2.1: a record's hash can be a leaf of a Merkle tree as it is.
const LEAF: [u8; 1] = [0];

/// The chain of one VM: of one worker, for as long as its VM lives. A new VM begins a new one.
///
/// Begun by the first record, so that VMs that serve nothing (the main thread's, the one that only checks a configuration)
/// leave no trace.
pub struct Ledger {
    chain: Cell<Option<Chain>>,
    /// When the last milestone was recorded.
    told: Cell<SystemTime>,
}

struct Chain {
    id: Rc<str>,
    /// The number of the next record; the first is 1.
    next: u64,
    /// The hash of the last record.
    last: String,
}

/// What ties a record to its chain.
#[derive(Debug)]
pub(crate) struct Link<'c> {
    pub(crate) chain: &'c str,
    pub(crate) number: u64,
    pub(crate) previous: &'c str,
    /// The id of the key that its hash is made with.
    pub(crate) key: Option<&'c str>,
}

/// A record in its chain.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) chain: Rc<str>,
    pub(crate) number: u64,
    /// The record, hash included.
    pub(crate) text: String,
}

// === impl Ledger ===

impl Ledger {
    /// Adds the record that `compose` makes of its link. The key can be another one from record to record: the chain goes on.
    pub(crate) fn append(&self, key: Option<&Key>, host: &dyn Host, compose: impl FnOnce(&Link<'_>) -> Draft) -> Entry {
        let mut chain = self.chain.take().unwrap_or_else(|| Chain::begin(host));
        let number = chain.next;
        let draft = compose(&Link { chain: &chain.id, number, previous: &chain.last, key: key.map(Key::id) });
        let hash = hash(key, draft.text());
        let entry = Entry { chain: Rc::clone(&chain.id), number, text: draft.seal(&hash) };
        chain.next = chain.next.saturating_add(1);
        chain.last = hash;
        self.chain.set(Some(chain));
        entry
    }

    /// The number of the last record; 0 before the first.
    pub(crate) fn length(&self) -> u64 {
        let chain = self.chain.take();
        let length = chain.as_ref().map_or(0, |chain| chain.next.saturating_sub(1));
        self.chain.set(chain);
        length
    }

    /// When the last milestone was recorded.
    pub(crate) fn told(&self) -> SystemTime {
        self.told.get()
    }

    /// A milestone has been recorded at this time.
    pub(crate) fn tell(&self, now: SystemTime) {
        self.told.set(now);
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self { chain: Cell::default(), told: Cell::new(UNIX_EPOCH) }
    }
}

impl Entry {
    /// `<chain>/<number>`: unlike any other record's.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.chain, self.number)
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ledger")
    }
}

impl Chain {
    fn begin(host: &dyn Host) -> Self {
        let since_epoch = host.now().ok().and_then(|now| now.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let millis = u64::try_from(since_epoch.as_millis()).unwrap_or_default();
        let mut random = [0; 10];
        // Without random numbers the time has to do: the host has counted the failure.
        let _ = host.random(&mut random);
        host.count(CHAINS, 1);
        host.gauge(CHAIN_EPOCH, since_epoch.as_secs());
        Self {
            id: uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string().into(),
            next: 1,
            last: GENESIS.into(),
        }
    }
}

/// `SHA-256(0x00 ‖ canonical bytes)`, or `HMAC-SHA-256(key, 0x00 ‖ canonical bytes)`, in lower-case hex.
fn hash(key: Option<&Key>, canonical: &str) -> String {
    let digest = match key {
        Some(key) => key.mac(&[&LEAF, canonical.as_bytes()]),
        None => Sha256::new().chain_update(LEAF).chain_update(canonical).finalize().into(),
    };
    let digit = |nibble: u8| nibble.wrapping_add(if nibble < 10 { b'0' } else { b'a'.wrapping_sub(10) });
    let mut hex = [0; GENESIS.len()];
    for (pair, byte) in hex.as_chunks_mut().0.iter_mut().zip(digest) {
        *pair = [digit(byte >> 4), digit(byte & 0x0f)];
    }
    String::from_utf8_lossy(&hex).into_owned()
}
