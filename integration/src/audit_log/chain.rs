//! Hash chains of audit records, verified by code that shares nothing with the filter that makes them.
//!
//! A record names its chain in `chain: {id, seq, prev}` and carries `hash`: lower-case hex of
//! SHA-256(0x00 ‖ RFC 8785 canonical JSON of the record without `hash`), the leaf hash of RFC 6962.

use std::{collections::BTreeMap, error, fmt};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// What the first record of a chain has as its `prev`.
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The end of a verified chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// Records in the chain, and the sequence number of the last.
    pub length: u64,
    /// The hash of the last record.
    pub hash: String,
}

/// Why a chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainError {
    /// A record lacks `what`, or it has another type. `index` counts records from 0.
    Malformed {
        /// Position in the list that was verified.
        index: usize,
        /// The missing member.
        what: &'static str,
    },
    /// Chain `id` has `found` where `expected` should be: a gap, or a duplicate.
    Sequence {
        /// The chain.
        id: String,
        /// The sequence number that should come.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// Record `seq` of chain `id` does not name the hash of the record before it.
    Link {
        /// The chain.
        id: String,
        /// The record.
        seq: u64,
    },
    /// Record `seq` of chain `id` was changed after it was hashed.
    Hash {
        /// The chain.
        id: String,
        /// The record.
        seq: u64,
    },
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { index, what } => write!(f, "record {index} has no usable `{what}`"),
            Self::Sequence { id, expected, found } if found < expected => {
                write!(f, "chain {id}: record {found} occurs twice")
            }
            Self::Sequence { id, expected, found } => {
                write!(f, "chain {id}: record {found} comes where {expected} is missing")
            }
            Self::Link { id, seq } => write!(f, "chain {id}: `prev` of record {seq} is not the hash of the one before"),
            Self::Hash { id, seq } => write!(f, "chain {id}: record {seq} does not have the hash it carries"),
        }
    }
}

impl error::Error for ChainError {}

/// The hash that `record` should carry: its own `hash`, if any, is left out.
#[must_use]
pub fn record_hash(record: &Value) -> String {
    let mut record = record.clone();
    if let Some(members) = record.as_object_mut() {
        members.remove("hash");
    }
    let mut hash = Sha256::new();
    hash.update([0]);
    hash.update(serde_jcs::to_vec(&record).expect("a JSON value has a canonical form"));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Verifies that each chain in `records` is complete from 1, linked and unchanged. Records may come in any order.
/// Returns the heads by chain id.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn verify_chains(records: &[Value]) -> Result<BTreeMap<String, ChainHead>, ChainError> {
    let mut chains: BTreeMap<&str, Vec<Link<'_>>> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        let link = Link::of(record).map_err(|what| ChainError::Malformed { index, what })?;
        chains.entry(link.id).or_default().push(link);
    }

    let mut heads = BTreeMap::new();
    for (id, mut links) in chains {
        links.sort_by_key(|link| link.seq);
        let mut head = ChainHead { length: 0, hash: GENESIS.to_owned() };
        for link in links {
            let (id, seq) = (id.to_owned(), link.seq);
            if seq != head.length + 1 {
                return Err(ChainError::Sequence { id, expected: head.length + 1, found: seq });
            }
            if link.prev != head.hash {
                return Err(ChainError::Link { id, seq });
            }
            if link.hash != record_hash(link.record) {
                return Err(ChainError::Hash { id, seq });
            }
            head = ChainHead { length: seq, hash: link.hash.to_owned() };
        }
        heads.insert(id.to_owned(), head);
    }
    Ok(heads)
}

struct Link<'a> {
    id: &'a str,
    seq: u64,
    prev: &'a str,
    hash: &'a str,
    record: &'a Value,
}

impl<'a> Link<'a> {
    fn of(record: &'a Value) -> Result<Self, &'static str> {
        let chain = &record["chain"];
        Ok(Self {
            id: chain["id"].as_str().ok_or("chain.id")?,
            seq: chain["seq"].as_u64().ok_or("chain.seq")?,
            prev: chain["prev"].as_str().ok_or("chain.prev")?,
            hash: record["hash"].as_str().ok_or("hash")?,
            record,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chain(id: &str, length: u64) -> Vec<Value> {
        let mut prev = GENESIS.to_owned();
        (1..=length)
            .map(|seq| {
                let mut record = json!({"what": "x", "chain": {"id": id, "seq": seq, "prev": prev}});
                prev = record_hash(&record);
                record["hash"] = json!(prev);
                record
            })
            .collect()
    }

    #[test]
    fn the_hash_is_that_of_the_canonical_form_behind_a_zero_byte() {
        // printf '\0{"a":1,"b":[]}' | sha256sum
        let expected = "ed4d66d9b13fb59bd10dcb670f074107d70f8337ee5a0ffec7743787b9a9d09d";
        let record = json!({"b": [], "a": 1, "hash": "left out"});
        assert_eq!(record_hash(&record), expected);
    }

    #[test]
    fn interleaved_chains_verify() {
        let (a, b) = (chain("a", 3), chain("b", 2));
        let records: Vec<Value> = [&b[1], &a[0], &a[2], &b[0], &a[1]].into_iter().cloned().collect();
        let heads = verify_chains(&records).unwrap();
        assert_eq!(heads["a"].length, 3);
        assert_eq!(heads["b"].hash, b[1]["hash"].as_str().unwrap());
    }

    #[test]
    fn a_gap_a_duplicate_an_edit_and_a_relink_show_where() {
        let id = || "a".to_owned();
        let intact = chain("a", 3);

        let mut gap = intact.clone();
        gap.remove(1);
        assert_eq!(verify_chains(&gap), Err(ChainError::Sequence { id: id(), expected: 2, found: 3 }));

        let mut twice = intact.clone();
        twice.push(intact[1].clone());
        assert_eq!(verify_chains(&twice), Err(ChainError::Sequence { id: id(), expected: 3, found: 2 }));

        let mut edited = intact.clone();
        edited[1]["what"] = json!("y");
        assert_eq!(verify_chains(&edited), Err(ChainError::Hash { id: id(), seq: 2 }));

        edited[1]["hash"] = json!(record_hash(&edited[1]));
        assert_eq!(verify_chains(&edited), Err(ChainError::Link { id: id(), seq: 3 }));
    }
}
