//! Blocks to several threads, and what they came to back in order.
//!
//! ```text
//! reader ─▶ worker 0, 1, … in turn ─▶ collected in the same turn, so in the order of the source
//! ```

use std::io;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use super::check::{Checked, Checker};
use crate::source::{Block, Blocks};

/// How many blocks wait for a thread, and how many results for the collector: memory is bounded.
const WAITING: usize = 2;

/// Checks the source of `checker` on `threads` threads, or as many as the machine runs at once, and hands out each result in order.
pub(super) fn run(
    checker: Checker<'_>,
    threads: Option<usize>,
    mut collect: impl FnMut(Checked) -> io::Result<()>,
) -> io::Result<()> {
    let mut blocks = checker.source.blocks()?;
    let mut next = || blocks.next().map_err(|error| checker.source.unreadable(&error));
    let Some(first) = next()? else { return Ok(()) };
    let Some(second) = next()? else { return collect(checker.check(&first)) };
    let threads = threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    if threads > 1 {
        return spread(checker, threads, [first, second], blocks, collect);
    }
    [first, second].iter().try_for_each(|block| collect(checker.check(block)))?;
    while let Some(block) = blocks.next().map_err(|error| checker.source.unreadable(&error))? {
        collect(checker.check(&block))?;
    }
    Ok(())
}

fn spread(
    checker: Checker<'_>,
    threads: usize,
    first: [Block; 2],
    mut blocks: Blocks<'_>,
    mut collect: impl FnMut(Checked) -> io::Result<()>,
) -> io::Result<()> {
    thread::scope(|scope| {
        let (mut jobs, mut results) = (Vec::new(), Vec::new());
        let (finished, spare) = channel::<Block>();
        for _ in 0..threads {
            let (job, to_do) = sync_channel::<Block>(WAITING);
            let (done, result) = sync_channel::<Checked>(WAITING);
            let finished = finished.clone();
            // Ends when there are no more blocks, or when the collector has given up.
            scope.spawn(move || {
                for block in to_do {
                    let checked = checker.check(&block);
                    // The reader may have come to the end.
                    let _ = finished.send(block);
                    if done.send(checked).is_err() {
                        return;
                    }
                }
            });
            jobs.push(job);
            results.push(result);
        }
        let reader = scope.spawn(move || -> io::Result<()> {
            let mut turns = jobs.iter().cycle();
            let mut give = |block| turns.next().is_some_and(|job| job.send(block).is_ok());
            for block in first {
                give(block);
            }
            loop {
                spare.try_iter().for_each(|block| blocks.recycle(block));
                let Some(block) = blocks.next()? else { return Ok(()) };
                if !give(block) {
                    return Ok(());
                }
            }
        });
        drop(finished);
        // The first that has nothing more is the one whose turn it would have been.
        let collected = results.iter().cycle().map_while(|result| result.recv().ok()).try_for_each(&mut collect);
        drop(results);
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.map_err(|error| checker.source.unreadable(&error)).and(collected)
    })
}
