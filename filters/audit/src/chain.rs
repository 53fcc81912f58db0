//! The hash chain: each record carries a number and the hash of the one before, so a missing or changed one shows, and
//! where.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, UNIX_EPOCH};

use careplane_exchange::{Host, Key};
use careplane_sha256::Sha256;

use crate::record::{Draft, Link};
use crate::{CHAIN_EPOCH, CHAINS};

/// The hash before the first record.
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The prefix of a leaf in RFC 6962 §2.1: a record's hash can be a leaf of a Merkle tree as it is.
const LEAF: [u8; 1] = [0];

/// The chain of one VM: of one worker, for as long as its VM lives. A new VM begins a new one, and so does another key.
///
/// Begun by the first record, so that VMs that serve nothing (the main thread's, the one that only checks a
/// configuration) leave no trace.
#[derive(Default)]
pub struct Chain {
    /// The key of the hashes.
    key: Option<Key>,
    head: Cell<Option<Head>>,
    /// When the last checkpoint was recorded: [`Host::elapsed`].
    last_checkpoint: Cell<Duration>,
}

/// The chains of one VM: one for each key, and one whose hashes are not keyed; of records that a collector gets and of
/// others apart.
///
/// A chain that a collector gets has checkpoints. In one with both kinds of filters, its `start` would be missing where
/// the other kind began it, and its `end` where the other kind ended it.
#[derive(Debug, Default)]
pub struct Chains(RefCell<Vec<(bool, Weak<Chain>)>>);

/// How far the chain has come.
struct Head {
    id: Rc<str>,
    /// The number of the next record; the first is 1.
    next: u64,
    /// The hash of the last record.
    last: String,
}

/// A record in its chain.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) chain: Rc<str>,
    pub(crate) number: u64,
    /// The record, hash included.
    pub(crate) text: String,
}

// === impl Chains ===

impl Chains {
    /// The chain of this key, for filters that are delivered or not. It begins if there is none, and ends with the last
    /// filter that continues it.
    #[inline(never)]
    pub fn of(&self, key: Option<Key>, delivered: bool) -> Rc<Chain> {
        let id = key.as_ref().map(Key::id);
        let mut chains = self.0.take();
        chains.retain(|(_, chain)| chain.strong_count() > 0);
        let alike = chains.iter().filter(|(other, _)| *other == delivered);
        let known = alike.filter_map(|(_, chain)| chain.upgrade()).find(|chain| chain.key_id() == id);
        let chain = known.unwrap_or_else(|| {
            let chain = Rc::new(key.map_or_else(Chain::default, Chain::keyed));
            chains.push((delivered, Rc::downgrade(&chain)));
            chain
        });
        self.0.replace(chains);
        chain
    }
}

// === impl Chain ===

impl Chain {
    /// A chain whose hashes are made with `key`.
    pub fn keyed(key: Key) -> Self {
        Self { key: Some(key), ..Self::default() }
    }

    /// The id of its key.
    pub fn key_id(&self) -> Option<&str> {
        self.key.as_ref().map(Key::id)
    }

    /// Adds the record that `compose` makes of its link.
    pub(crate) fn append(&self, host: &dyn Host, compose: impl FnOnce(&Link<'_>) -> Draft) -> Entry {
        let mut head = self.head.take().unwrap_or_else(|| Head::begin(host));
        let number = head.next;
        let draft = compose(&Link { chain: &head.id, number, previous: &head.last, key: self.key_id() });
        let hash = hash(self.key.as_ref(), draft.text());
        let entry = Entry { chain: Rc::clone(&head.id), number, text: draft.seal(&hash) };
        head.next = head.next.saturating_add(1);
        head.last = hash;
        self.head.set(Some(head));
        entry
    }

    /// The number of the last record; 0 before the first.
    pub(crate) fn length(&self) -> u64 {
        let head = self.head.take();
        let length = head.as_ref().map_or(0, |head| head.next.saturating_sub(1));
        self.head.set(head);
        length
    }

    /// When the last checkpoint was recorded.
    pub(crate) fn last_checkpoint(&self) -> Duration {
        self.last_checkpoint.get()
    }

    /// Notes that a checkpoint was recorded.
    pub(crate) fn checkpointed(&self, now: Duration) {
        self.last_checkpoint.set(now);
    }
}

// === impl Entry ===

impl Entry {
    /// The identity of the record, by which a store drops duplicates: `<chain>/<number>`.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.chain, self.number)
    }
}

// === impl Head ===

impl Head {
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

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chain")
    }
}

/// `SHA-256(0x00 ‖ canonical bytes)`, or `HMAC-SHA-256(key, 0x00 ‖ canonical bytes)`, in lower-case hex.
fn hash(key: Option<&Key>, canonical: &str) -> String {
    let digest = match key {
        Some(key) => key.mac(&[&LEAF, canonical.as_bytes()]),
        None => {
            let mut hash = Sha256::new();
            hash.update(&LEAF);
            hash.update(canonical.as_bytes());
            hash.finish()
        }
    };
    careplane_sha256::hex(&digest)
}
