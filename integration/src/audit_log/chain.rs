//! Whether chains of records are whole, as `careplane audit verify` finds it.

use std::{collections::BTreeMap, error, fmt};

use careplane_evidence::{
    source::Source,
    verify::{Settings, Verification, Verifier},
};
use serde_json::Value;

/// The end of a verified chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// Records in the chain, and the sequence number of the last.
    pub length: u64,
}

/// What is wrong with the chains, in the order in which it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainError(pub(super) Vec<String>);

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl error::Error for ChainError {}

/// Verifies that each chain in `records` is complete from 1, linked and unchanged, and that no record is there twice.
/// Records may come in any order. Returns the heads by chain id. Places in errors are positions in `records`, from 1.
///
/// # Errors
///
/// What is wrong.
pub fn verify_chains(records: &[Value]) -> Result<BTreeMap<String, ChainHead>, ChainError> {
    let mut lines = Vec::new();
    for record in records {
        // The canonical form is the one that the record was written in.
        lines.extend(serde_jcs::to_vec(record).expect("a JSON value has a canonical form"));
        lines.push(b'\n');
    }
    let mut verifier = Verifier::new(Settings::default());
    let read = verifier.read(&Source::text("records", lines)).and_then(|()| verifier.finish());
    let verification = read.map_err(|error| ChainError(vec![error.to_string()]))?;

    let wrong = faults(&verification);
    if !wrong.is_empty() {
        return Err(ChainError(wrong));
    }
    let heads = verification.chains.into_iter().map(|chain| (chain.id, ChainHead { length: chain.last }));
    Ok(heads.collect())
}

/// Everything that is wrong, in words.
pub(super) fn faults(verification: &Verification) -> Vec<String> {
    let mut wrong: Vec<String> = verification.unreadable.iter().map(|it| format!("{}: {}", it.place, it.why)).collect();
    if verification.input.skipped > 0 {
        wrong.push(format!("{} of {} are no records", verification.input.skipped, verification.input.lines));
    }
    for chain in &verification.chains {
        let faults = chain.findings.iter().filter(|finding| finding.is_fault());
        wrong.extend(faults.map(|finding| format!("{}: chain {}: {finding}", finding.location(), chain.id)));
        if chain.duplicates > 0 {
            wrong.push(format!("chain {}: {} records are there twice", chain.id, chain.duplicates));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn records() -> Vec<Value> {
        let samples = crate::workspace::root().join("evidence/tests/samples/access.jsonl");
        let checkpoints = crate::workspace::root().join("evidence/tests/samples/proxy-plain.log");
        let read = |path| std::fs::read_to_string(path).unwrap();
        let ours = |record: &Value| record["chain"]["id"] == "01a207ab-a1eb-7ad6-93c3-ad27209d2885";
        let log = read(checkpoints);
        let end = log.lines().filter_map(|line| line.split_once("careplane-audit-record ")).next_back().unwrap().1;
        read(samples).lines().chain([end]).map(|line| serde_json::from_str(line).unwrap()).filter(ours).collect()
    }

    #[test]
    fn what_is_missing_twice_or_no_record_is_an_error() {
        let records = records();
        assert_eq!(records.len(), 4);
        // The first went to the collector alone.
        let error = verify_chains(&records).unwrap_err().to_string();
        assert!(error.ends_with("record 1 is missing: the first that is there is 2, records:1"), "{error}");
        let error = verify_chains(&[&records[..], &records[..1]].concat()).unwrap_err().to_string();
        assert!(error.ends_with("1 records are there twice"), "{error}");
        assert!(verify_chains(&[json!({"n": 1})]).is_err());
        assert_eq!(verify_chains(&[]), Ok(BTreeMap::new()));
    }
}
