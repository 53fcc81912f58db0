//! Delivery to a collector: OTLP over HTTP in protobuf, batched, bounded, retried, and counted.
//!
//! ```text
//! record, span ─▶ Item (encoded once) ─▶ ExportQueue: a BatchQueue for each policy and signal ─▶ one request at a time
//! ─▶ collector
//!                                          │ too much, or refused
//!                                          └─▶ overflow: the proxy's log, whole
//! ```
//!
//! Protobuf, because a record is JSON already: inside JSON each of its quotes would have to be escaped, and unescaped
//! again.

#![forbid(unsafe_code)]

mod answer;
mod batch_queue;
mod encode;
mod exporter;
mod overflow;
mod queue;
mod signal;
mod target;
mod wire;

pub use encode::{Item, Resource, SpanData, SpanStatus};
pub use exporter::Exporter;
pub use overflow::{OVERFLOW_PREFIX, overflow, write_to_log};
pub use queue::ExportQueue;
pub use signal::Signal;
pub use target::ExportTarget;

/// Counts records that the collector has taken.
pub const ACKNOWLEDGED: &str = "careplane.audit.acknowledged";
/// Counts records that the collector said it did not take, of a batch that it took otherwise.
pub const REJECTED: &str = "careplane.audit.rejected";
/// Counts records that went to the proxy's log instead.
pub const OVERFLOW: &str = "careplane.audit.overflow";
/// Counts records that nothing took: the policy or the level of the proxy's log dropped them.
pub const LOST: &str = "careplane.audit.lost";
/// Gauge: records that wait, or are on their way.
pub const QUEUED: &str = "careplane.audit.queued";
/// Counts export requests that were sent again.
pub const RETRIED: &str = "careplane.export.retries";
/// Counts export requests that failed, whatever became of their records.
pub const FAILED: &str = "careplane.export.failures";
/// Counts late spans that the collector has taken.
pub const SPANS_ACKNOWLEDGED: &str = "careplane.late_spans.acknowledged";
/// Counts late spans that were given up.
pub const SPANS_DROPPED: &str = "careplane.late_spans.dropped";
#[cfg(test)]
mod tests;
