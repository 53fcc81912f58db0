//! The two signals of OTLP that are sent, and what is counted of each.

use careplane_exchange::Host;

use crate::{ACKNOWLEDGED, QUEUED, REJECTED, SPANS_ACKNOWLEDGED, SPANS_DROPPED};

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Audit records.
    Logs,
    /// Late spans.
    Traces,
}

// === impl Signal ===

impl Signal {
    /// Where OTLP/HTTP takes it.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Logs => "/v1/logs",
            Self::Traces => "/v1/traces",
        }
    }

    /// The counter of what a collector has taken.
    pub(crate) fn acknowledged(self) -> &'static str {
        match self {
            Self::Logs => ACKNOWLEDGED,
            Self::Traces => SPANS_ACKNOWLEDGED,
        }
    }

    /// The counter of what a collector did not take of a batch that it took otherwise.
    pub(crate) fn rejected(self) -> &'static str {
        match self {
            Self::Logs => REJECTED,
            Self::Traces => SPANS_DROPPED,
        }
    }

    /// Counts what waits or is on its way: `by` more, or fewer.
    pub(crate) fn queued(self, by: i64, host: &dyn Host) {
        if self == Self::Logs {
            host.add_to_gauge(QUEUED, by);
        }
    }
}
