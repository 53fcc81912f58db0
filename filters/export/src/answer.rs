//! What a collector's answer means: OTLP/HTTP, <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>.

use std::time::Duration;

use careplane_exchange::HttpAnswer;

use crate::wire;

/// Longer than any collector needs, and no collector can silence a proxy for a day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// What is to be done about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ExportResult {
    /// It was taken, but for so many, which must not be sent again.
    Accepted { rejected: u64 },
    /// It can be sent again, not before so long.
    Retryable { not_before: Duration },
    /// It will never be taken.
    Rejected,
}

// === impl ExportResult ===

impl ExportResult {
    pub(crate) fn of(answer: &HttpAnswer) -> Self {
        match answer.status {
            // Of ExportLogsServiceResponse and ExportTraceServiceResponse alike: partial_success = 1 {rejected_… = 1}.
            Some(200..=299) => Self::Accepted {
                rejected: wire::bytes(&answer.body, 1)
                    .and_then(|partial| wire::number(partial, 1))
                    // The number can be in what was not read: then no record is known to be taken.
                    .unwrap_or(if answer.size > answer.body.len() { u64::MAX } else { 0 }),
            },
            None | Some(429 | 502 | 503 | 504) => {
                let asked = answer.retry_after.as_deref().and_then(retry_after).unwrap_or_default();
                Self::Retryable { not_before: asked.min(RETRY_AFTER_MAX) }
            }
            Some(_) => Self::Rejected,
        }
    }
}

/// `Retry-After` in seconds. A date is not read: then our own patience decides.
fn retry_after(value: &[u8]) -> Option<Duration> {
    std::str::from_utf8(value).ok()?.trim().parse().ok().map(Duration::from_secs)
}
