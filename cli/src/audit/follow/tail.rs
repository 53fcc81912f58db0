//! Files that grow, and are rotated under one's hands.

use std::fs::{self, File};
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

/// How often files are looked at.
const PAUSE: Duration = Duration::from_millis(200);
/// How much is read of a file at a time, in bytes.
const PIECE: u64 = 4 << 20;

/// Some files, or the standard input, or both.
pub struct FollowedFiles {
    files: Vec<Growing>,
    stdin: Option<Receiver<Vec<u8>>>,
    stdin_lines: u64,
}

struct Growing {
    path: PathBuf,
    file: Option<File>,
    /// Identifies this file after another one took its name.
    identity: Option<u64>,
    position: u64,
    line: u64,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
}

// === impl FollowedFiles ===

impl FollowedFiles {
    /// Opens the files: at their beginning, or at their end.
    pub fn open(paths: &[PathBuf], from_start: bool) -> anyhow::Result<Self> {
        let mut tail = Self { files: Vec::new(), stdin: None, stdin_lines: 0 };
        for path in paths {
            if path.as_os_str() == "-" {
                tail.stdin = Some(stdin());
                continue;
            }
            let mut growing = Growing::open(path).with_context(|| path.display().to_string())?;
            if !from_start {
                growing.skip_to_end().with_context(|| path.display().to_string())?;
            }
            tail.files.push(growing);
        }
        Ok(tail)
    }

    /// Whole lines that came since: the name of the source, the number of the line, and its text.
    pub fn lines(&mut self) -> anyhow::Result<Vec<(String, u64, Vec<u8>)>> {
        let mut lines = Vec::new();
        for file in &mut self.files {
            file.lines(&mut lines).with_context(|| file.path.display().to_string())?;
        }
        while let Some(received) = self.stdin.as_ref().map(Receiver::try_recv) {
            match received {
                Ok(line) => {
                    self.stdin_lines += 1;
                    lines.push(("-".to_owned(), self.stdin_lines, line));
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.stdin = None,
            }
        }
        Ok(lines)
    }

    /// The lines whose end is not there, each once.
    pub fn unended_lines(&mut self) -> Vec<(String, u64, Vec<u8>)> {
        let unended = self.files.iter_mut().filter(|file| !file.rest.is_empty());
        let line =
            |file: &mut Growing| (file.path.display().to_string(), file.line + 1, std::mem::take(&mut file.rest));
        unended.map(line).collect()
    }

    /// Whether nothing more can come; `once` is for files that are not waited for.
    pub fn is_over(&self, once: bool) -> bool {
        (once || self.files.is_empty()) && self.stdin.is_none()
    }

    pub fn wait(&self) {
        thread::sleep(PAUSE);
    }
}

/// The lines of the standard input, which is read while others are waited for.
fn stdin() -> Receiver<Vec<u8>> {
    let (lines, received) = sync_channel(1024);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            if input.read_until(b'\n', &mut line).unwrap_or(0) == 0 || lines.send(line).is_err() {
                return;
            }
        }
    });
    received
}

// === impl Growing ===

impl Growing {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let identity = identity(&file.metadata()?);
        Ok(Self { path: path.to_owned(), file: Some(file), identity, position: 0, line: 0, rest: Vec::new() })
    }

    /// Passes over what is there; lines are counted, so that places are right.
    fn skip_to_end(&mut self) -> io::Result<()> {
        while let Some(bytes) = self.piece()? {
            self.line += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            if let Some(end) = memchr::memrchr(b'\n', &bytes) {
                self.rest.clear();
                self.rest.extend_from_slice(&bytes[end + 1..]);
            } else {
                self.rest.extend_from_slice(&bytes);
            }
        }
        Ok(())
    }

    fn lines(&mut self, lines: &mut Vec<(String, u64, Vec<u8>)>) -> io::Result<()> {
        let mut has_read = false;
        // A line can be longer than a piece.
        while let Some(bytes) = self.piece()? {
            has_read = true;
            let is_ended = memchr::memchr(b'\n', &bytes).is_some();
            self.rest.extend(bytes);
            if !is_ended {
                continue;
            }
            let text = std::mem::take(&mut self.rest);
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                if line.ends_with(b"\n") {
                    self.line += 1;
                    lines.push((self.path.display().to_string(), self.line, line.to_vec()));
                } else {
                    self.rest = line.to_vec();
                }
            }
            break;
        }
        if !has_read && self.was_replaced() {
            // All of the old one has been read.
            *self = Self::open(&self.path)?;
        }
        Ok(())
    }

    /// What came since; none when nothing did.
    fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = &mut self.file else { return Ok(None) };
        if file.metadata()?.len() < self.position {
            // Written anew from its beginning.
            (self.position, self.line) = (0, 0);
            self.rest.clear();
        }
        file.seek(SeekFrom::Start(self.position))?;
        let mut bytes = Vec::new();
        file.by_ref().take(PIECE).read_to_end(&mut bytes)?;
        self.position += bytes.len() as u64;
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    fn was_replaced(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|metadata| identity(&metadata) != self.identity)
    }
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    Some(metadata.ino())
}

#[cfg(not(unix))]
fn identity(metadata: &fs::Metadata) -> Option<u64> {
    let created = metadata.created().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(created.as_nanos()).ok()
}
