//! Sorts any number of entries in bounded memory: sorted runs in a temporary file, merged at the end.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::hash::Hash;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use itertools::{Either, Itertools};

/// What can be sorted: of one size in a file, whatever it says.
pub(crate) trait Entry: Sized {
    /// Bytes of an entry in a file.
    const SIZE: usize;
    /// What entries are sorted by first. Those of one bucket mostly come in their order, so that there is little to
    /// sort.
    type Bucket: Ord + Hash + Copy;
    /// What entries are sorted by, buckets included.
    type Order: Ord;

    fn bucket(&self) -> Self::Bucket;

    fn order(&self) -> Self::Order;
    /// Appends [`Self::SIZE`] bytes.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads what `write` wrote.
    fn read(bytes: &[u8]) -> Self;
}

/// The buffers of all runs together while they are merged, in bytes.
const MERGE_BUFFERS: u64 = 16 << 20;
/// The smallest buffer of a run.
const BUFFER_MIN: u64 = 4 << 10;

/// Takes entries in any order.
#[derive(Debug)]
pub(crate) struct Sorter<E: Entry> {
    buckets: HashMap<E::Bucket, Vec<E>>,
    count: usize,
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

impl<E: Entry> Sorter<E> {
    /// A sorter that keeps `capacity` entries in memory.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { buckets: HashMap::new(), count: 0, capacity: capacity.max(1), file: None, ends: Vec::new() }
    }

    pub(crate) fn push(&mut self, entry: E) -> io::Result<()> {
        if self.count == self.capacity {
            self.spill()?;
        }
        self.count += 1;
        self.buckets.entry(entry.bucket()).or_default().push(entry);
        Ok(())
    }

    /// All entries, sorted by [`Entry::order`].
    pub(crate) fn sorted(mut self) -> io::Result<impl Iterator<Item = io::Result<E>>> {
        if self.file.is_none() {
            self.order();
            let mut buckets: Vec<_> = std::mem::take(&mut self.buckets).into_iter().collect();
            buckets.sort_unstable_by_key(|(bucket, _)| *bucket);
            return Ok(Either::Left(buckets.into_iter().flat_map(|(_, entries)| entries).map(Ok)));
        }
        self.spill()?;
        let Self { file, ends, .. } = self;
        let file = Rc::new(RefCell::new(file.ok_or_else(|| io::Error::other("there is no temporary file"))?));
        let buffer = (MERGE_BUFFERS / ends.len() as u64).max(BUFFER_MIN) as usize;
        let runs = [0].iter().chain(&ends).zip(&ends).map(|(position, end)| {
            let run = Run { file: Rc::clone(&file), position: *position, end: *end };
            entries(BufReader::with_capacity(buffer, run))
        });
        let comes_first = |a: &io::Result<E>, b: &io::Result<E>| match (a, b) {
            (Ok(a), Ok(b)) => a.order() < b.order(),
            (a, _) => a.is_err(),
        };
        Ok(Either::Right(runs.collect_vec().into_iter().kmerge_by(comes_first)))
    }

    /// Sorts each bucket that is in memory.
    fn order(&mut self) {
        self.buckets.values_mut().for_each(|entries| entries.sort_by_key(E::order));
    }

    /// Writes what is in memory as a run.
    fn spill(&mut self) -> io::Result<()> {
        let full = |error: io::Error| {
            let folder = std::env::temp_dir();
            io::Error::new(error.kind(), format!("{}: {error} (TMPDIR names another folder)", folder.display()))
        };
        let mut file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile().map_err(full)?,
        };
        // Buckets that nothing came into since the last time: of chains that are over.
        self.buckets.retain(|_, entries| !entries.is_empty());
        self.order();
        let mut buckets: Vec<_> = self.buckets.iter_mut().collect();
        buckets.sort_unstable_by_key(|(bucket, _)| **bucket);
        let mut bytes = Vec::with_capacity(1 << 16);
        for (_, bucket) in buckets {
            for entries in bucket.chunks(((1 << 16) / E::SIZE).max(1)) {
                bytes.clear();
                entries.iter().for_each(|entry| entry.write(&mut bytes));
                file.write_all(&bytes).map_err(full)?;
            }
            // Its memory is used again.
            bucket.clear();
        }
        self.count = 0;
        self.ends.push(file.stream_position().map_err(full)?);
        self.file = Some(file);
        Ok(())
    }
}

/// The entries in `bytes`.
fn entries<E: Entry>(mut bytes: impl Read) -> impl Iterator<Item = io::Result<E>> {
    let mut entry = vec![0; E::SIZE];
    std::iter::from_fn(move || match bytes.read_exact(&mut entry) {
        Ok(()) => Some(Ok(E::read(&entry))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
        Err(error) => Some(Err(error)),
    })
}

/// The next bytes; zeros where there are no more, which [`Entry::SIZE`] rules out.
pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    bytes.split_off(..N).and_then(|taken| taken.try_into().ok()).unwrap_or([0; N])
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
