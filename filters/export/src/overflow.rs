//! The proxy's own log: where a record goes that no sink took.

use careplane_exchange::{Host, HostError};

use crate::{LOST, OVERFLOW};

/// What each record in the proxy's log follows, so that it can be found there.
pub const OVERFLOW_PREFIX: &str = "careplane-audit-record ";

/// Writes a record to the proxy's log, whole.
///
/// # Errors
/// When the log's level drops it.
pub fn write_to_log(record: &str, host: &dyn Host) -> Result<(), HostError> {
    host.log(&[OVERFLOW_PREFIX, record].concat())
}

/// Writes a record to the proxy's log and counts it: as overflow, or as lost when the log's level drops it.
pub fn overflow(record: &str, host: &dyn Host) {
    match write_to_log(record, host) {
        Ok(()) => host.count(OVERFLOW, 1),
        Err(_) => host.count(LOST, 1),
    }
}
