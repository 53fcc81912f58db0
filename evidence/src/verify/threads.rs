//! Blocks to several threads, and what they came to back in order.
//!
//! ```text
//! worker: takes its turn, reads a block (one worker at a time), checks it (all at once)
//! collector: takes what a block came to from the worker whose turn it was
//! ```
//!
//! The worker that reads a block checks it, so that its bytes are still in the caches of that core.

use std::io;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::check::Checker;
use super::checked::Checked;
use crate::source::{Block, Blocks};

/// How many results wait for the collector, of all workers: memory is bounded, and the workers need not stop while the
/// collector writes what it has sorted.
const WAITING: usize = 64;

/// What is left of a source, and who took its turn.
struct Turns<'s> {
    blocks: Blocks<'s>,
    /// The workers that took a block, by their numbers.
    taken: Sender<usize>,
}

/// As many threads as were asked for, or as the machine runs at once.
pub(super) fn count(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// Checks the source of `checker` on `threads` threads, and hands out each result in order.
pub(super) fn run(
    checker: Checker<'_>,
    threads: usize,
    mut collect: impl FnMut(Checked) -> io::Result<()>,
) -> io::Result<()> {
    let mut blocks = checker.source.blocks()?;
    let mut next = |spare| blocks.next(spare).map_err(|error| checker.source.unreadable(&error));
    let Some(first) = next(None)? else { return Ok(()) };
    collect(checker.check(&first))?;
    let Some(mut block) = next(Some(first))? else { return Ok(()) };
    collect(checker.check(&block))?;
    if threads > 1 {
        return spread(checker, threads, blocks, collect);
    }
    while let Some(read) = next(Some(block))? {
        collect(checker.check(&read))?;
        block = read;
    }
    Ok(())
}

fn spread(
    checker: Checker<'_>,
    threads: usize,
    blocks: Blocks<'_>,
    mut collect: impl FnMut(Checked) -> io::Result<()>,
) -> io::Result<()> {
    let (taken, turns) = channel();
    // None at the end, or behind an error.
    let source = Mutex::new(Some(Turns { blocks, taken }));
    thread::scope(|scope| {
        let source = &source;
        let results: Vec<_> = (0..threads)
            .map(|worker| {
                let (done, result) = sync_channel::<io::Result<Checked>>((WAITING / threads).max(2));
                scope.spawn(move || {
                    let mut spare = None;
                    // Ends when there are no more blocks, or when the collector has given up.
                    while let Some(read) = take_turn(source, worker, spare.take()) {
                        let checked = match read {
                            Ok(block) => Ok(checker.check(spare.insert(block))),
                            Err(error) => Err(checker.source.unreadable(&error)),
                        };
                        if done.send(checked).is_err() {
                            return;
                        }
                    }
                });
                result
            })
            .collect();
        // A worker that took a turn sends its result, or has panicked, which the end of the scope says.
        let collected =
            turns.iter().map_while(|worker| results.get(worker)?.recv().ok()).try_for_each(|checked| collect(checked?));
        drop(results);
        collected
    })
}

/// The next block of `source` for `worker`; none at the end.
fn take_turn(source: &Mutex<Option<Turns<'_>>>, worker: usize, spare: Option<Block>) -> Option<io::Result<Block>> {
    let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
    let turns = source.as_mut()?;
    let read = turns.blocks.next(spare).transpose();
    if read.is_some() {
        // The collector may have given up.
        let _ = turns.taken.send(worker);
    }
    if !matches!(read, Some(Ok(_))) {
        *source = None;
    }
    read
}
