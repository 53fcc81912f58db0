//! What commands that read records say about what they read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use careplane_evidence::verify::Verification;

use super::plain::plain;

/// The unreadable records that are listed one by one.
pub const LISTED_MAX: usize = 10;

/// Lists what could not be read on the standard error, each with its place.
pub fn report_unreadable(verification: &Verification) {
    for unreadable in verification.unreadable.iter().take(LISTED_MAX) {
        let place = unreadable.place.to_string();
        eprintln!("careplane: {}: not an audit record: {}", plain(&place), plain(&unreadable.why));
    }
    let more = verification.unreadable_count.saturating_sub(LISTED_MAX as u64);
    if more > 0 {
        eprintln!("careplane: and {more} more that are no audit records");
    }
}

/// Refuses an input in which there is nothing of a record.
pub fn ensure_records(verification: &Verification, paths: &[PathBuf]) -> anyhow::Result<()> {
    anyhow::ensure!(
        !verification.chains.is_empty() || verification.unreadable_count > 0,
        "no audit record in {}: expected lines of an access log, of a collector or of a proxy's log",
        paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

/// Refuses to write to what is read, also below a folder that is: the records would be gone.
pub fn ensure_apart<'p>(output: Option<&PathBuf>, inputs: impl IntoIterator<Item = &'p PathBuf>) -> anyhow::Result<()> {
    let Some(output) = output else { return Ok(()) };
    // What is not there yet is no input.
    let Ok(file) = fs::canonicalize(output) else { return Ok(()) };
    let is_read = inputs.into_iter().any(|input| fs::canonicalize(input).is_ok_and(|input| file.starts_with(input)));
    anyhow::ensure!(!is_read, "{}: it is read, so it cannot be the output", output.display());
    Ok(())
}

pub fn text(path: &Path) -> anyhow::Result<String> {
    let read =
        if path.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { fs::read_to_string(path) };
    Ok(without_mark(&read.with_context(|| path.display().to_string())?).to_owned())
}

/// A text without the mark that editors of Windows write before it.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}
