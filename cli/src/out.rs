//! The standard output.

use std::io::{ErrorKind, Write};

/// Prints a text. Colours appear on a terminal only: anstream removes them elsewhere.
///
/// # Errors
/// When it cannot be written; not when the reader has closed the pipe (`| head`).
pub fn print(text: &str) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}
