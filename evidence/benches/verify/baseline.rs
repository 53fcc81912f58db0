//! Verification as a script does it: one thread, a tree of values for each line, in the order of writing. It finds that
//! chains are whole; what is missing, doubled or in another order it could not say.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Takes `hash` out of each record, writes the rest in canonical form, and hashes that.
pub fn tree(file: &str) {
    // The number of the last record of each chain, and its hash.
    let mut heads: HashMap<String, (u64, Value)> = HashMap::new();
    for line in BufReader::new(File::open(file).unwrap()).lines() {
        let mut record: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let hash = record.as_object_mut().unwrap().remove("hash").unwrap();
        let digest = Sha256::new().chain_update([0]).chain_update(serde_jcs::to_vec(&record).unwrap()).finalize();
        assert_eq!(hash, data_encoding::HEXLOWER.encode(&digest));
        let chain = &record["chain"];
        let id = chain["id"].as_str().unwrap().to_owned();
        let (seq, prev) = heads.entry(id).or_insert_with(|| (0, "0".repeat(64).into()));
        assert_eq!((chain["seq"].as_u64(), &chain["prev"]), (Some(*seq + 1), &*prev));
        (*seq, *prev) = (*seq + 1, hash);
    }
}
