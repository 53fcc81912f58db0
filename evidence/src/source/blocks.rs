//! A source in blocks of whole lines, so that several threads can have one each.

use std::io::{self, Read};

use super::LINE_MAX;

/// What is read of a source at a time, in bytes: what the second cache of a core has room for, beside what is made of
/// it.
const BLOCK: usize = 256 << 10;

/// Whole lines, of which only the last of a source can be without its end.
#[derive(Debug)]
pub(crate) struct Block {
    /// The number of the first line, from 1.
    pub(crate) first: u64,
    /// The lines; none for one line that is longer than [`LINE_MAX`].
    pub(crate) bytes: Option<Vec<u8>>,
}

/// The blocks of a source, in order.
pub(crate) struct Blocks<'s> {
    reader: Box<dyn Read + Send + 's>,
    /// The beginning of a line, which ends in the next block.
    rest: Vec<u8>,
    line: u64,
}

// === impl Blocks ===

impl<'s> Blocks<'s> {
    pub(super) fn new(reader: Box<dyn Read + Send + 's>) -> Self {
        Self { reader, rest: Vec::new(), line: 1 }
    }

    /// The next block, in the memory of one that is done with; none at the end.
    pub(crate) fn next(&mut self, spare: Option<Block>) -> io::Result<Option<Block>> {
        let mut bytes = spare.and_then(|block| block.bytes).unwrap_or_default();
        bytes.clear();
        bytes.append(&mut self.rest);
        loop {
            let before = bytes.len();
            let read = self.reader.by_ref().take(BLOCK as u64).read_to_end(&mut bytes)?;
            if read == 0 {
                return Ok((!bytes.is_empty()).then(|| self.block(Some(bytes))));
            }
            if let Some(end) = memchr::memrchr(b'\n', &bytes[before..]) {
                let end = before + end + 1;
                self.rest.extend_from_slice(&bytes[end..]);
                bytes.truncate(end);
                return Ok(Some(self.block(Some(bytes))));
            }
            if bytes.len() > LINE_MAX {
                drop(bytes);
                self.skip_line()?;
                return Ok(Some(self.block(None)));
            }
        }
    }

    fn block(&mut self, bytes: Option<Vec<u8>>) -> Block {
        let first = self.line;
        self.line += bytes.as_ref().map_or(1, |bytes| memchr::memchr_iter(b'\n', bytes).count() as u64);
        Block { first, bytes }
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

// === impl Block ===

impl Block {
    /// How many bytes it has.
    pub(crate) fn size(&self) -> usize {
        self.bytes.as_ref().map_or(0, Vec::len)
    }

    /// Its lines with their numbers; a line that is too long has no text.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (u64, Option<&[u8]>)> {
        let mut rest = self.bytes.as_deref().unwrap_or_default();
        let lines = std::iter::from_fn(move || {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            rest.split_off(..end).filter(|line| !line.is_empty())
        });
        let texts = lines.map(|line| Some(line).filter(|line| line.len() <= LINE_MAX));
        let too_long = self.bytes.is_none().then_some(None);
        (self.first..).zip(texts.chain(too_long))
    }
}
