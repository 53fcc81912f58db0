//! The audit trail as Envoy's file access logger wrote it: one JSON record a line.

mod chain;
mod tally;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;

pub use self::{
    chain::{ChainError, ChainHead, verify_chains},
    tally::{OVERFLOW_PREFIX, Tally},
};
use crate::poll::until;

/// A file of audit records that is being written.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
}

impl AuditLog {
    /// The log in `path`, which need not exist yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The complete lines written so far. A last line without its newline is still being written, and left out.
    ///
    /// # Errors
    ///
    /// When the file cannot be read; a file that does not exist has no lines.
    pub fn lines(&self) -> Result<Vec<String>> {
        let mut text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.with_context(|| format!("cannot read {}", self.path.display()))?,
        };
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The records written so far, in the order of the file.
    ///
    /// # Errors
    ///
    /// When a line is not a JSON value; the error shows it.
    pub fn records(&self) -> Result<Vec<Value>> {
        self.lines()?
            .iter()
            .enumerate()
            .map(|(index, line)| {
                serde_json::from_str(line)
                    .with_context(|| format!("{}:{}: not JSON: {line}", self.path.display(), index + 1))
            })
            .collect()
    }

    /// Waits until there are at least `count` records, and returns all.
    ///
    /// # Errors
    ///
    /// When there are fewer after `deadline`, or a line is not JSON.
    pub async fn wait_for(&self, count: usize, deadline: Duration) -> Result<Vec<Value>> {
        let what = format!("{count} audit records in {}", self.path.display());
        until(&what, deadline, async || Ok(Some(self.records()?).filter(|records| records.len() >= count))).await
    }
}
