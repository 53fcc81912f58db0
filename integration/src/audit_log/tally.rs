//! Records as they leave a proxy: counted once each and verified, and not kept.

use std::{
    collections::{BTreeMap, HashSet},
    mem,
};

use anyhow::{Context, Result};
use careplane_evidence::{
    source::Source,
    verify::{ChainReport, Settings, Verifier},
};
use serde::Deserialize;

use super::chain::{ChainError, faults};

/// What a record in the proxy's log follows.
pub const OVERFLOW_PREFIX: &str = "careplane-audit-record ";

/// Takes in records of any length of time. In memory it keeps where each was in its chain.
#[derive(Debug)]
pub struct Tally {
    verifier: Verifier,
    seen: HashSet<(String, u64)>,
    kinds: BTreeMap<String, u64>,
    lines: String,
}

#[derive(Deserialize)]
struct Record<'r> {
    kind: &'r str,
    chain: Chain<'r>,
}

#[derive(Deserialize)]
struct Chain<'r> {
    id: &'r str,
    seq: u64,
}

// === impl Tally ===

impl Default for Tally {
    fn default() -> Self {
        Self {
            verifier: Verifier::new(Settings::default()),
            seen: HashSet::new(),
            kinds: BTreeMap::new(),
            lines: String::new(),
        }
    }
}

impl Tally {
    /// Takes `records` in, each the text of one. One that came before counts once: a batch whose answer was lost is
    /// sent again.
    ///
    /// # Errors
    ///
    /// When one is no record, or the verifier's temporary file cannot be written.
    pub fn add<'r>(&mut self, records: impl IntoIterator<Item = &'r str>) -> Result<()> {
        for text in records {
            let record: Record<'_> = serde_json::from_str(text).with_context(|| format!("not a record: {text}"))?;
            if self.seen.insert((record.chain.id.to_owned(), record.chain.seq)) {
                *self.kinds.entry(record.kind.to_owned()).or_default() += 1;
                self.lines.push_str(text);
                self.lines.push('\n');
            }
        }
        Ok(self.verifier.read(&Source::text("records", mem::take(&mut self.lines)))?)
    }

    /// Takes the records in that a proxy has written into its log.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_log(&mut self, log: &str) -> Result<()> {
        self.add(log.lines().filter_map(|line| Some(line.split_once(OVERFLOW_PREFIX)?.1)))
    }

    /// How many there are.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// How many there are of `kind`: `request`, `intent`, `start`, `head`, `end`.
    #[must_use]
    pub fn count(&self, kind: &str) -> u64 {
        self.kinds.get(kind).copied().unwrap_or_default()
    }

    /// The chains, each complete from 1, linked and unchanged.
    ///
    /// # Errors
    ///
    /// When one is not, with all that is wrong.
    pub fn chains(self) -> Result<Vec<ChainReport>> {
        let verification = self.verifier.finish()?;
        match faults(&verification) {
            wrong if wrong.is_empty() => Ok(verification.chains),
            wrong => Err(ChainError(wrong).into()),
        }
    }
}
