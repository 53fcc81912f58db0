//! One request through the filters. The module, the command line, the fuzz targets and the benchmarks share this code,
//! so they decide alike.
//!
//! ```text
//! headers ──▶ Incoming ──▶ filters until a denial ──▶ held? ──▶ conclude ──▶ upstream, or a reply
//!                                                     │ answer ──▶ filters
//! stream over ──▶ Handled ──▶ Ending ──▶ filters
//! ```

#![forbid(unsafe_code)]

mod filters;
mod stream;

pub use filters::{Filters, Parts, Plugin};
pub use stream::{Action, Decided, Stream};

#[cfg(test)]
mod tests;
