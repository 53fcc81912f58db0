//! What Envoy has to say.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Levels that say nothing about why something failed.
const QUIET: [&str; 3] = ["][trace][", "][debug][", "][info]["];

/// The file into which an Envoy logs.
#[derive(Clone, Debug)]
pub struct Log {
    path: PathBuf,
}

impl Log {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All of it; what is not UTF-8 is replaced.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn text(&self) -> Result<String> {
        let bytes = fs::read(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The messages of level `warning` and above after the first `skip` characters, as [`text`](Self::text) counts
    /// them. A message may have several lines.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn warnings(&self, skip: usize) -> Result<String> {
        let text = self.text()?;
        let mut kept = String::new();
        let mut keeping = false;
        for line in text.get(skip..).unwrap_or_default().lines() {
            if starts_message(line) {
                keeping = !QUIET.iter().any(|level| line.contains(level));
            }
            if keeping {
                kept.push_str(line);
                kept.push('\n');
            }
        }
        Ok(kept)
    }
}

/// Whether `line` begins like `[2026-01-31 …`.
fn starts_message(line: &str) -> bool {
    line.strip_prefix('[').is_some_and(|rest| rest.starts_with("20"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_comes_with_all_its_lines_and_without_the_information_around_it() {
        let directory = tempfile::tempdir().unwrap();
        let log = Log::new(directory.path().join("envoy.log"));
        let before = "[2026-01-01 00:00:00.000][1][warning][x] old\n";
        let after = "[2026-01-01 00:00:00.000][1][info][x] quiet\n  quiet\n\
                     [2026-01-01 00:00:00.000][1][critical][x] loud\n  loud\n";
        fs::write(&log.path, format!("{before}{after}")).unwrap();
        assert_eq!(log.warnings(before.len()).unwrap(), "[2026-01-01 00:00:00.000][1][critical][x] loud\n  loud\n");
        assert!(log.warnings(0).unwrap().starts_with(before));
    }
}
