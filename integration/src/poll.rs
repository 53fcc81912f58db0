//! Waiting for something to become true, with a deadline and a name for what was awaited.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

/// The first pause between two probes; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// Long enough to leave the processor to the awaited program, too short to be noticed.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Calls `probe` until it yields a value.
///
/// # Errors
///
/// The probe's own error at once, or, `deadline` after the call, an error that names `what` was awaited. The probe
/// always runs at least once, and once more after the deadline has passed.
pub async fn until<T>(what: &str, deadline: Duration, mut probe: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + deadline;
    let mut pause = FIRST_PAUSE;
    loop {
        let last = Instant::now() >= end;
        if let Some(value) = probe().await.with_context(|| format!("while waiting for {what}"))? {
            return Ok(value);
        }
        if last {
            bail!("waited {deadline:?} in vain for {what}");
        }
        sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
