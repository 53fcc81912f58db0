//! What is new in a file of records.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

/// Reads a growing file of records.
#[derive(Debug)]
pub struct FollowedRecords {
    path: PathBuf,
    /// Up to where it has been read: the end of a line.
    offset: u64,
}

impl FollowedRecords {
    /// From the beginning of `path`, which need not exist yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), offset: 0 }
    }

    /// The records of the lines that were completed since the last call.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a line is not JSON.
    pub fn records(&mut self) -> Result<Vec<Value>> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.with_context(|| format!("cannot read {}", self.path.display()))?,
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.offset += complete as u64;
        let lines = bytes[..complete].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let shown = || format!("{}: not JSON: {}", self.path.display(), line.escape_ascii());
                serde_json::from_slice(line).with_context(shown)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, io::Write};

    use serde_json::json;

    use super::*;

    #[test]
    fn each_record_comes_once_and_when_its_line_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records.jsonl");
        let mut tail = FollowedRecords::new(&path);
        assert_eq!(tail.records().unwrap(), [json!(null); 0]);
        let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        file.write_all(b"1\n2").unwrap();
        assert_eq!(tail.records().unwrap(), [json!(1)]);
        file.write_all(b"3\n").unwrap();
        assert_eq!(tail.records().unwrap(), [json!(23)]);
        assert_eq!(tail.records().unwrap(), [json!(null); 0]);
    }
}
