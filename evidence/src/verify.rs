//! Whether chains of records are whole and unchanged.
//!
//! ```text
//! line ─▶ record ─▶ Link (number, hash, is it its own?) ─▶ sorted on disk by chain and number ─▶ walked once ─▶
//! Verification
//! ```
//!
//! Records can come in any order, from several sources, and more than once. Memory does not grow with their number,
//! only with that of the chains.

mod check;
mod checked;
mod digest;
mod finding;
mod keys;
mod link;
mod live;
mod notes;
mod pairs;
mod reading;
mod report;
mod scan;
mod shard;
mod threads;
mod time;
mod walk;

use std::io;

use uuid::Uuid;

pub use checked::Found;
pub use finding::{Finding, Location, NextRecord, RecordLocation};
pub use keys::{KEY_MIN, Key, Keyring};
pub use link::State;
pub use live::{Live, Step};
pub use report::{
    ChainReport, Clock, ClockKind, Demands, Input, MergeError, Schema, SinkReport, Tail, Unreadable, Verdict,
    Verification,
};
pub use shard::Shard;
pub use time::Time;

pub(crate) use report::SILENT_AFTER;

use crate::sort::Sorter;
use crate::source::Source;
use check::{Checker, Wants};
use checked::Checked;
use link::{Link, Position};
use notes::Notes;
use report::Tally;

/// Links that are kept in memory before they are sorted into a file: 10 MB, and as much again while lists grow.
const LINKS_IN_MEMORY: usize = 1 << 16;
/// Into how many parts links are sorted at most.
const PARTS_MAX: usize = 8;

/// How to verify.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The keys of keyed chains.
    pub keys: Keyring,
    /// The part of the chains to verify; none for all.
    pub shard: Option<Shard>,
    /// The part of an archive that is partitioned by proxy: its files alone are read. None for all.
    pub part: Option<Shard>,
    /// When chains that have no end are judged.
    pub clock: Clock,
    /// Links to keep in memory; a default unless given.
    pub links_in_memory: Option<usize>,
    /// How many threads check records; all that the machine has unless given.
    pub threads: Option<usize>,
    /// Whether the JSON parser reads every record. It reads what is not plainly canonical in any case; to compare both.
    pub parser_alone: bool,
}

/// Takes records in, source by source, and says in the end what they prove.
#[derive(Debug)]
pub struct Verifier {
    settings: Settings,
    threads: usize,
    /// The links by their chains, so that each part can be sorted and walked on its own.
    sorters: Vec<Sorter<Link>>,
    sources: Vec<String>,
    lines: u64,
    skipped: u64,
    tally: Tally,
    notes: Notes,
}

// === impl Verifier ===

impl Verifier {
    /// A verifier that has seen nothing yet.
    pub fn new(settings: Settings) -> Self {
        let threads = threads::count(settings.threads);
        let parts = threads.min(PARTS_MAX);
        let capacity = settings.links_in_memory.unwrap_or(LINKS_IN_MEMORY) / parts;
        Self {
            settings,
            threads,
            sorters: (0..parts).map(|_| Sorter::new(capacity)).collect(),
            sources: Vec::new(),
            lines: 0,
            skipped: 0,
            tally: Tally::default(),
            notes: Notes::default(),
        }
    }

    /// Reads a source to its end.
    ///
    /// # Errors
    /// When it cannot be read, or the temporary file cannot be written.
    pub fn read(&mut self, source: &Source) -> io::Result<()> {
        self.read_with(source, &|_| false, |_| Ok(()))
    }

    /// Reads a source to its end, and hands out the records of it that `wants` wants to have, in order, each with what
    /// its hash says.
    /// `wants` sees the text of a record before anything is known of it, on several threads.
    ///
    /// # Errors
    /// As [`Self::read`], and the errors of `found`.
    pub fn read_with(
        &mut self,
        source: &Source,
        wants: Wants<'_>,
        mut found: impl FnMut(Found<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let number = u32::try_from(self.sources.len()).map_err(io::Error::other)?;
        self.sources.push(source.name().to_owned());
        if self.settings.part.is_some_and(|part| !part.holds_part(source.part())) {
            return Ok(());
        }
        let Settings { keys, shard, parser_alone, .. } = &self.settings;
        let checker = Checker { source, number, keys, shard: *shard, wants, parser_alone: *parser_alone };
        let (sorters, notes, tally) = (&mut self.sorters, &mut self.notes, &mut self.tally);
        let (lines, skipped) = (&mut self.lines, &mut self.skipped);
        let mut before = 0;
        threads::run(checker, self.threads, |checked| {
            *lines += checked.lines;
            *skipped += checked.skipped;
            absorb(&checked, source, before, sorters, notes, tally)?;
            let mut records = checked.records.iter();
            records.try_for_each(|record| found(record.found(&checked.texts, source, before)))?;
            before += checked.lines;
            Ok(())
        })
    }

    /// What the records prove.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub fn finish(self) -> io::Result<Verification> {
        let Self { settings, sorters, sources, lines, skipped, tally, notes, .. } = self;
        let chains = walk_all(sorters, &sources, &notes)?;
        let input = Input { sources, lines, skipped, partitioned: settings.part.is_some() };
        let shard = settings.part.or(settings.shard);
        let given = settings.keys.ids().into_iter().map(str::to_owned).collect();
        Ok(Verification::new(input, tally, chains, given, shard.map(|it| it.to_string()), settings.clock))
    }
}

/// Takes in what a block came to, behind so many lines of its source: the numbers of its keys become those of all.
fn absorb(
    checked: &Checked,
    source: &Source,
    before: u64,
    sorters: &mut [Sorter<Link>],
    notes: &mut Notes,
    tally: &mut Tally,
) -> io::Result<()> {
    let keys: Vec<u32> = checked.keys.iter().map(|key| notes.key(key)).collect();
    for (chain, proxy) in &checked.proxies {
        notes.proxy(*chain, proxy);
    }
    for (line, record, why) in &checked.unreadable {
        tally.unreadable(Location::new(source.name(), before + *line, *record), why);
    }
    checked.links.iter().try_for_each(|link| {
        let key = (link.key as usize).checked_sub(1).and_then(|index| keys.get(index)).copied().unwrap_or(0);
        let part = part_of(link.chain, sorters.len());
        let position = Position { line: before + link.position.line, ..link.position };
        sorters.get_mut(part).map_or(Ok(()), |sorter| sorter.push(Link { key, position, ..*link }))
    })
}

/// Which of `parts` a chain is in.
fn part_of(chain: Uuid, parts: usize) -> usize {
    // The last bytes of a UUIDv7 are random; what is not one need not be spread well.
    let (_, low) = chain.as_u64_pair();
    usize::try_from(low % parts as u64).unwrap_or(0)
}

/// A report of each chain, in the order of ids: each part on a thread of its own.
fn walk_all(sorters: Vec<Sorter<Link>>, sources: &[String], notes: &Notes) -> io::Result<Vec<ChainReport>> {
    let walk = |sorter: Sorter<Link>| walk::chains(sorter.sorted()?, sources, notes);
    let parts: Vec<io::Result<Vec<ChainReport>>> = std::thread::scope(|scope| {
        let parts: Vec<_> = sorters.into_iter().map(|sorter| scope.spawn(move || walk(sorter))).collect();
        parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let mut chains = Vec::new();
    for part in parts {
        chains.extend(part?);
    }
    chains.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(chains)
}

/// The JSON Schema (2020-12) of [`Verification`], with a line end.
///
/// # Errors
/// When it cannot be written as JSON, which does not happen.
pub fn json_schema() -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(&schemars::schema_for!(Verification))? + "\n")
}
