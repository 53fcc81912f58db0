//! A source in blocks of whole lines, so that several threads can have one each.

use std::io::{self, Read};

use super::LINE_MAX;

/// What is read of a source at a time, in bytes: half of a core's second cache, beside what is made of it.
const BLOCK: usize = 512 << 10;

/// Whole lines, of which only the last of a source can be without its end.
#[derive(Debug)]
pub(crate) struct Block {
    /// Memory, which keeps its length when it is used again: it is written once.
    bytes: Vec<u8>,
    /// Where the lines end in it; none for one line that is longer than [`LINE_MAX`].
    end: Option<usize>,
}

/// The blocks of a source, in order.
pub(crate) struct Blocks<'s> {
    reader: Box<dyn Read + Send + 's>,
    /// The beginning of a line, which ends in the next block. Behind a line that is too long, whole lines before it.
    rest: Vec<u8>,
}

// === impl Blocks ===

impl<'s> Blocks<'s> {
    pub(super) fn new(reader: Box<dyn Read + Send + 's>) -> Self {
        Self { reader, rest: Vec::new() }
    }

    /// The next block, in the memory of one that is done with; none at the end.
    pub(crate) fn next(&mut self, spare: Option<Block>) -> io::Result<Option<Block>> {
        let mut bytes = spare.map(|block| block.bytes).unwrap_or_default();
        let mut end = self.rest.len();
        bytes.resize(bytes.len().max(end), 0);
        bytes[..end].copy_from_slice(&self.rest);
        self.rest.clear();
        let mut searched = 0;
        loop {
            let before = end;
            bytes.resize(bytes.len().max(end + BLOCK), 0);
            end += fill(&mut self.reader, &mut bytes[before..before + BLOCK])?;
            if end == before {
                return Ok((end > 0).then_some(Block { bytes, end: Some(end) }));
            }
            if let Some(last) = memchr::memrchr(b'\n', &bytes[searched..end]) {
                let last = searched + last + 1;
                self.rest.extend_from_slice(&bytes[last..end]);
                return Ok(Some(Block { bytes, end: Some(last) }));
            }
            searched = end;
            if end > LINE_MAX {
                drop(bytes);
                self.skip_line()?;
                return Ok(Some(Block { bytes: Vec::new(), end: None }));
            }
        }
    }

    /// Reads to the end of the line, and keeps none of it.
    fn skip_line(&mut self) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(BLOCK);
        loop {
            bytes.clear();
            if self.reader.by_ref().take(BLOCK as u64).read_to_end(&mut bytes)? == 0 {
                return Ok(());
            }
            if let Some(end) = memchr::memchr(b'\n', &bytes) {
                self.rest = bytes.split_off(end + 1);
                return Ok(());
            }
        }
    }
}

/// Reads until `buffer` is full, or there is no more; says how much.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

// === impl Block ===

impl Block {
    /// How many bytes it has.
    pub(crate) fn size(&self) -> usize {
        self.text().len()
    }

    /// Its lines; one that is too long has no text.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut rest = self.text();
        let lines = std::iter::from_fn(move || {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            rest.split_off(..end).filter(|line| !line.is_empty())
        });
        let texts = lines.map(|line| Some(line).filter(|line| line.len() <= LINE_MAX));
        let too_long = self.end.is_none().then_some(None);
        texts.chain(too_long)
    }

    fn text(&self) -> &[u8] {
        self.end.and_then(|end| self.bytes.get(..end)).unwrap_or_default()
    }
}
