//! Where records ended up: JSON lines of Envoy's access log, OTLP JSON of a collector, the log of a proxy, what a log
//! store exports; plain, gzip or zstd, in UTF-8 or UTF-16.
//!
//! What a line holds is found out line by line, so sources can be mixed, and in one file.

mod blocks;
mod json;
mod line;
mod open;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use blocks::{Block, Blocks};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest line, in bytes. A collector writes a batch into one line; this is far more than any batch.
pub const LINE_MAX: usize = 64 << 20;
/// A place that lines come from.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    content: Content,
    /// What tells in which part of a partitioned archive it is.
    part: String,
    /// Counts the bytes that are read of it.
    counter: Option<Arc<AtomicU64>>,
}

#[derive(Debug, Clone)]
enum Content {
    File(PathBuf),
    Stdin,
    Text(Vec<u8>),
    Line(Vec<u8>),
}

/// Where something was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location<'s> {
    /// The name of the source.
    pub source: &'s str,
    /// From 1.
    pub line: u64,
    /// Which of the records in a line that can hold several, from 1; else 0.
    pub record: u32,
}

/// The sink that a record was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sink {
    /// A line of its own: Envoy's access log.
    AccessLog,
    /// What a collector wrote.
    Collector,
    /// A line of a proxy's log: an overflow, or a checkpoint.
    ProxyLog,
}

/// A record that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'i> {
    /// Its exact bytes. A damaged record is handed out as it is: parsing it says what is wrong.
    pub text: &'i [u8],
    /// Where.
    pub location: Location<'i>,
    /// Where it had been written.
    pub sink: Sink,
}

/// Something that has the marks of a record, of which no text could be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken<'i> {
    /// Where.
    pub location: Location<'i>,
    /// Why.
    pub why: String,
}

/// How much was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lines {
    /// All lines.
    pub read: u64,
    /// Those that had nothing of a record in them: a proxy's log says other things too.
    pub skipped: u64,
}

// === impl Sink ===

impl Sink {
    /// Every sink, at the index that it is as a number.
    pub const ALL: [Self; 3] = [Self::AccessLog, Self::Collector, Self::ProxyLog];
}

// === impl Source ===

impl Source {
    /// A file. Its first bytes say whether it is packed, not its name.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let part = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name: path.display().to_string(), content: Content::File(path), part, counter: None }
    }

    /// The standard input, `-`.
    pub fn stdin() -> Self {
        Self { name: "-".into(), content: Content::Stdin, part: "-".into(), counter: None }
    }

    /// Lines in memory.
    pub fn text(name: impl Into<String>, text: impl Into<Vec<u8>>) -> Self {
        let name = name.into();
        Self { part: name.clone(), name, content: Content::Text(text.into()), counter: None }
    }

    /// A line of a source that is read by another: text whatever it begins with.
    pub fn line(name: impl Into<String>, line: impl Into<Vec<u8>>) -> Self {
        let name = name.into();
        Self { part: name.clone(), name, content: Content::Line(line.into()), counter: None }
    }

    /// The sources that `paths` name: files, `-`, and folders with everything below them, in the order of names.
    /// Hidden files, the `lost+found` of a volume, and what keeps nothing (pipes, sockets, devices) are left out.
    ///
    /// # Errors
    /// When there is no such file, a folder cannot be read, or has no file in it.
    pub fn expand(paths: &[PathBuf]) -> io::Result<Vec<Self>> {
        let mut sources = Vec::new();
        for path in paths {
            if path.as_os_str() == "-" {
                sources.push(Self::stdin());
                continue;
            }
            let metadata = fs::metadata(path).map_err(|error| within(&path.display(), &error))?;
            if !metadata.is_dir() {
                sources.push(Self::file(path));
                continue;
            }
            let before = sources.len();
            below(path, &mut sources)?;
            for source in sources.iter_mut().skip(before) {
                source.part = source.folder_below(path).unwrap_or_else(|| source.part.clone());
            }
            if sources.len() == before {
                return Err(io::Error::other(format!("{}: there is no file in this folder", path.display())));
            }
        }
        Ok(sources)
    }

    /// The folder that it is in, of those right below `folder`.
    fn folder_below(&self, folder: &Path) -> Option<String> {
        let Content::File(path) = &self.content else { return None };
        let first = path.strip_prefix(folder).ok()?.components().next()?;
        Some(first.as_os_str().to_string_lossy().into_owned())
    }

    /// What tells in which part of a partitioned archive it is: the folder right below the one that was given, which
    /// is that of its proxy; else its own name.
    #[must_use]
    pub fn part(&self) -> &str {
        &self.part
    }

    /// Counts the bytes that are read of it, packed as they are, in `counter`.
    pub fn count_bytes(&mut self, counter: &Arc<AtomicU64>) {
        self.counter = Some(Arc::clone(counter));
    }

    /// How many bytes there are to read; none when that is not known.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        match &self.content {
            Content::File(path) => fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len()),
            Content::Text(text) | Content::Line(text) => Some(text.len() as u64),
            Content::Stdin => None,
        }
    }

    /// As it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads it to its end, and hands out what was found, in order.
    ///
    /// # Errors
    /// When it cannot be read, with its name; and the errors of `found`.
    pub fn read(&self, mut found: impl FnMut(Result<Item<'_>, Broken<'_>>) -> io::Result<()>) -> io::Result<Lines> {
        let mut blocks = self.blocks()?;
        let mut lines = Lines::default();
        let mut spare = None;
        while let Some(block) = blocks.next(spare.take()).map_err(|error| self.unreadable(&error))? {
            let read = self.items(&block, lines.read, &mut found)?;
            spare = Some(block);
            lines.read += read.read;
            lines.skipped += read.skipped;
        }
        Ok(lines)
    }

    /// Its lines, in blocks.
    pub(crate) fn blocks(&self) -> io::Result<Blocks<'_>> {
        Ok(Blocks::new(self.open().map_err(|error| self.unreadable(&error))?))
    }

    /// An error of reading it, with its name.
    pub(crate) fn unreadable(&self, error: &io::Error) -> io::Error {
        within(&self.name, error)
    }

    /// Hands out what is in a block of it, behind so many lines.
    pub(crate) fn items(
        &self,
        block: &Block,
        before: u64,
        mut found: impl FnMut(Result<Item<'_>, Broken<'_>>) -> io::Result<()>,
    ) -> io::Result<Lines> {
        let mut lines = Lines::default();
        for (number, text) in (before + 1..).zip(block.lines()) {
            lines.read += 1;
            let location = |record| Location { source: &self.name, line: number, record };
            let Some(text) = text else {
                found(Err(Broken {
                    location: location(0),
                    why: format!("the line is longer than {} MiB", LINE_MAX >> 20),
                }))?;
                continue;
            };
            let mut any = false;
            line::read(text, |record, sink, text| {
                any = true;
                found(match text {
                    Ok(text) => Ok(Item { text, location: location(record), sink }),
                    Err(why) => Err(Broken { location: location(record), why }),
                })
            })?;
            lines.skipped += u64::from(!any);
        }
        Ok(lines)
    }

    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        let reader: Box<dyn Read + Send> = match &self.content {
            Content::Line(line) => return Ok(Box::new(line.as_slice())),
            Content::Text(text) => Box::new(text.as_slice()),
            Content::Stdin => Box::new(io::stdin()),
            Content::File(path) => Box::new(File::open(path)?),
        };
        open::text(match &self.counter {
            Some(counter) => Box::new(Counted { reader, counter }),
            None => reader,
        })
    }
}

/// Counts what is read.
struct Counted<'s> {
    reader: Box<dyn Read + Send + 's>,
    counter: &'s AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.counter.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The files below `folder`, in the order of their names.
fn below(folder: &Path, sources: &mut Vec<Source>) -> io::Result<()> {
    let unreadable = |error: io::Error| within(&folder.display(), &error);
    let mut entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (name, path) = (entry.file_name(), entry.path());
        if name.as_encoded_bytes().starts_with(b".") || name == "lost+found" {
            continue;
        }
        // Follows links: mounted ConfigMaps and Secrets consist of them.
        let metadata = fs::metadata(&path).map_err(|error| within(&path.display(), &error))?;
        if metadata.is_dir() {
            below(&path, sources)?;
        } else if metadata.is_file() {
            sources.push(Source::file(path));
        }
    }
    Ok(())
}

fn within(name: &dyn fmt::Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}

// === impl Location ===

impl fmt::Display for Location<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.line)?;
        if self.record > 0 { write!(f, " (record {} of the line)", self.record) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
