//! Fetching a directory of tenants from a web server, for all plugins of one VM.
//!
//! ```text
//! tick ─▶ GET index.json, if-none-match ─▶ 304: nothing new
//!    ▲                                   └▶ 200: GET parts/<name> of each that is not here, one at a time
//!    └─ the interval, or a pause ◀── all are here: taken as a whole ◀──┘
//! ```
//!
//! No callback does more than read one index or one part. Whatever is wrong with an answer, the directory that was
//! taken before stays.

#![forbid(unsafe_code)]

mod fetch;
mod fetches;
#[cfg(test)]
mod tests;

pub use fetch::Fetch;
pub use fetches::{Driver, Fetches};

/// Counts directories that were taken.
pub const UPDATES: &str = "careplane.directory.updates";
/// Begins the counters of attempts that failed, by kind: `unreachable`, `status`, `size`, `digest`, `format`, `shrink`.
pub const FAILURES: &str = "careplane.directory.failures.";
/// Gauge: seconds since the server last confirmed the directory of the worker that reported last.
pub const AGE: &str = "careplane.directory.age_seconds";
/// Gauge: the tenants of the directory of the worker that reported last.
pub const TENANTS: &str = "careplane.directory.tenants";
/// Gauge: VMs that have no directory yet: those of the workers, and of the main thread.
pub const MISSING: &str = "careplane.directory.missing";
