//! Sorts any number of links in bounded memory: sorted runs in a temporary file, merged at the end.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use itertools::{Either, Itertools};

use super::link::Link;

/// The buffers of all runs together while they are merged, in bytes.
const MERGE_BUFFERS: u64 = 16 << 20;
/// The smallest buffer of a run.
const BUFFER_MIN: u64 = 4 << 10;

/// Takes links in any order.
#[derive(Debug)]
pub(super) struct Sorter {
    links: Vec<Link>,
    capacity: usize,
    file: Option<File>,
    /// Where the runs end in the file.
    ends: Vec<u64>,
}

/// A sorted part of the file, read in pieces.
struct Run {
    file: Rc<RefCell<File>>,
    position: u64,
    end: u64,
}

// === impl Sorter ===

impl Sorter {
    /// A sorter that keeps `capacity` links in memory.
    pub(super) fn new(capacity: usize) -> Self {
        Self { links: Vec::new(), capacity: capacity.max(1), file: None, ends: Vec::new() }
    }

    pub(super) fn push(&mut self, link: Link) -> io::Result<()> {
        if self.links.len() == self.capacity {
            self.spill()?;
        }
        self.links.push(link);
        Ok(())
    }

    /// All links, sorted by [`Link::order`].
    pub(super) fn sorted(mut self) -> io::Result<impl Iterator<Item = io::Result<Link>>> {
        if self.file.is_none() {
            self.links.sort_unstable_by_key(Link::order);
            return Ok(Either::Left(self.links.into_iter().map(Ok)));
        }
        self.spill()?;
        let Self { file, ends, .. } = self;
        let file = Rc::new(RefCell::new(file.ok_or_else(|| io::Error::other("there is no temporary file"))?));
        let buffer = (MERGE_BUFFERS / ends.len() as u64).max(BUFFER_MIN) as usize;
        let runs = [0].iter().chain(&ends).zip(&ends).map(|(position, end)| {
            let run = Run { file: Rc::clone(&file), position: *position, end: *end };
            links(BufReader::with_capacity(buffer, run))
        });
        let comes_first = |a: &io::Result<Link>, b: &io::Result<Link>| match (a, b) {
            (Ok(a), Ok(b)) => a.order() < b.order(),
            (a, _) => a.is_err(),
        };
        Ok(Either::Right(runs.collect_vec().into_iter().kmerge_by(comes_first)))
    }

    /// Writes what is in memory as a run.
    fn spill(&mut self) -> io::Result<()> {
        let full = |error: io::Error| {
            let folder = std::env::temp_dir();
            io::Error::new(error.kind(), format!("{}: {error} (TMPDIR names another folder)", folder.display()))
        };
        self.links.sort_unstable_by_key(Link::order);
        let mut file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile().map_err(full)?,
        };
        let mut bytes = Vec::with_capacity(1 << 16);
        for links in self.links.chunks((1 << 16) / Link::SIZE) {
            bytes.clear();
            links.iter().for_each(|link| link.write(&mut bytes));
            file.write_all(&bytes).map_err(full)?;
        }
        self.ends.push(file.stream_position().map_err(full)?);
        self.file = Some(file);
        self.links.clear();
        Ok(())
    }
}

/// The links in `bytes`.
fn links(mut bytes: impl Read) -> impl Iterator<Item = io::Result<Link>> {
    let mut link = [0; Link::SIZE];
    std::iter::from_fn(move || match bytes.read_exact(&mut link) {
        Ok(()) => Some(Ok(Link::read(&link))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
        Err(error) => Some(Err(error)),
    })
}

impl Read for Run {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX).min(buffer.len());
        let mut file = self.file.borrow_mut();
        file.seek(SeekFrom::Start(self.position))?;
        let read = file.read(&mut buffer[..left])?;
        self.position += read as u64;
        Ok(read)
    }
}
