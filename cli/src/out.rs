//! The standard output.

use std::io::{ErrorKind, Write};

/// Prints a text. Colours appear on a terminal only: anstream removes them elsewhere.
///
/// # Errors
/// When it cannot be written; not when the reader has closed the pipe (`| head`).
pub fn print(text: &str) -> std::io::Result<()> {
    match write(text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// As [`print`], but a closed pipe is an error: a command that would run on has to end then.
///
/// # Errors
/// When it cannot be written, a pipe that the reader has closed included.
pub fn write(text: &str) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
