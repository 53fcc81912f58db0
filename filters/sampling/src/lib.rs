//! `sampling`: which traces are kept.
//!
//! Tiers nest on Envoy's own random number (`careplane_policy::Random`), so each hop and each filter decides alike
//! without talking. Envoy itself samples at its base rate; a filter can only add to that, by `x-envoy-force-trace`: set
//! the base to the lowest tier. A parent span that was not sampled stays unsampled, whatever is asked here.
//!
//! What the head of the trace could not know, a late span makes up for: see [`late`].
//!
//! The decision itself is in `careplane_exchange`, for a refusal is kept by the filter that refuses, and a record tells
//! it too.

#![forbid(unsafe_code)]

mod late;

use careplane_exchange::{Ending, Filter, Host, Incoming};
use careplane_export::{Exporter, Signal};

/// The filter.
#[derive(Debug, Clone, Default)]
pub struct Sampling {
    /// The way to the collector, for late spans; none when the policy has no collector.
    exporter: Option<Exporter>,
}

impl Sampling {
    /// A filter that sends late spans through `exporter`.
    pub fn new(exporter: Option<Exporter>) -> Self {
        Self { exporter }
    }
}

impl Filter for Sampling {
    fn on_request(&self, request: &Incoming, host: &dyn Host) {
        if !request.policy().identity.grants.is_empty() {
            // An emergency access is kept whatever its tier.
            request.identity(host);
        }
        request.keep_trace();
    }

    fn follows(&self) -> bool {
        self.exporter.is_some()
    }

    fn on_log(&self, ending: &Ending<'_>, host: &dyn Host) {
        if let Some(exporter) = &self.exporter
            && let Some(span) = late::span(ending, host)
        {
            exporter.send(Signal::Traces, span, host);
        }
    }
}

#[cfg(test)]
mod tests;
