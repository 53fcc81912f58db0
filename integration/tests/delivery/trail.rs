//! Where records are.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use careplane_integration::{
    audit_log::{OVERFLOW_PREFIX, verify_chains},
    otlp::LogRecord,
};
use serde_json::Value;

use crate::support::without_reason;

/// Every record that is anywhere, once: at a collector and in the logs of proxies.
#[derive(Debug)]
pub struct Trail {
    /// By chain, and in it by number.
    chains: BTreeMap<String, BTreeMap<u64, Value>>,
}

impl Trail {
    /// Reads what a collector has, and what proxies have logged, and verifies that no chain has a gap before its last
    /// record.
    pub fn read(arrived: &[LogRecord], logs: &[&str]) -> Result<Self> {
        let trail = Self::gather(arrived, logs)?;
        let records: Vec<Value> = trail.records().cloned().collect();
        verify_chains(&records)?;
        Ok(trail)
    }

    /// As [`read`](Self::read), of what is not all there yet.
    pub fn gather(arrived: &[LogRecord], logs: &[&str]) -> Result<Self> {
        let overflow =
            logs.iter().flat_map(|log| log.lines()).filter_map(|line| Some(line.split_once(OVERFLOW_PREFIX)?.1));
        let mut chains: BTreeMap<String, BTreeMap<u64, Value>> = BTreeMap::new();
        for text in arrived.iter().map(|record| record.body.as_str()).chain(overflow) {
            let record: Value = serde_json::from_str(text).with_context(|| format!("not a record: {text}"))?;
            let id = record["chain"]["id"].as_str().with_context(|| format!("no chain: {text}"))?.to_owned();
            let number = record["chain"]["seq"].as_u64().with_context(|| format!("no number: {text}"))?;
            chains.entry(id).or_default().insert(number, record);
        }
        Ok(Self { chains })
    }

    pub fn records(&self) -> impl Iterator<Item = &Value> {
        self.chains.values().flat_map(BTreeMap::values)
    }

    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.records().filter(move |record| record["kind"] == kind)
    }

    pub fn count(&self, kind: &str) -> usize {
        self.of_kind(kind).count()
    }

    /// The ids of the requests that have a record of their outcome, each of which has one.
    pub fn requests(&self) -> BTreeSet<String> {
        ids(self.of_kind("request"))
    }

    /// The ids of the requests that have an intent.
    pub fn intents(&self) -> BTreeSet<String> {
        ids(self.of_kind("intent"))
    }

    pub fn chains(&self) -> usize {
        self.chains.len()
    }

    /// Chains that end in good order.
    pub fn ended(&self) -> usize {
        let last = self.chains.values().filter_map(BTreeMap::last_key_value);
        last.filter(|(_, record)| record["kind"] == "end").count()
    }
}

/// Request ids, without the digit that Envoy changes on the way.
fn ids<'r>(records: impl Iterator<Item = &'r Value>) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for record in records {
        let id = without_reason(record["request"]["id"].as_str().expect("Envoy gives every request an id"));
        assert!(ids.insert(id), "two records of one request: {record}");
    }
    ids
}

/// How many different records there are: one that was sent twice counts once.
pub fn distinct(arrived: &[LogRecord]) -> u64 {
    arrived.iter().map(|record| &record.attributes["log.record.uid"]).collect::<BTreeSet<_>>().len() as u64
}
