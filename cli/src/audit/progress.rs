//! How far a long reading is: a bar on a terminal, nothing in a pipe.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use careplane_evidence::source::Source;
use indicatif::{ProgressBar, ProgressStyle};

const PAUSE: Duration = Duration::from_millis(100);

/// A bar, which is gone when this is dropped.
pub struct Bar {
    is_over: Arc<AtomicBool>,
    drawing: Option<JoinHandle<()>>,
}

/// A bar for the reading of `sources`; none without a terminal, or when it is not known how much there is.
pub fn bar(sources: &mut [Source]) -> Option<Bar> {
    let size = sources.iter().map(Source::size).sum::<Option<u64>>()?;
    if !io::stderr().is_terminal() {
        return None;
    }
    let read = Arc::new(AtomicU64::new(0));
    sources.iter_mut().for_each(|source| source.count_bytes(&read));
    let style =
        ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left").ok()?;
    let bar = ProgressBar::new(size).with_style(style);
    let is_over = Arc::new(AtomicBool::new(false));
    let drawing = thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            while !is_over.load(Ordering::Relaxed) {
                bar.set_position(read.load(Ordering::Relaxed));
                thread::park_timeout(PAUSE);
            }
            bar.finish_and_clear();
        }
    });
    Some(Bar { is_over, drawing: Some(drawing) })
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(drawing) = self.drawing.take() {
            drawing.thread().unpark();
            // A bar that failed is nothing to fail for.
            let _ = drawing.join();
        }
    }
}
