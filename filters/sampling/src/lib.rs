//! `sampling`: which traces are kept.
//!
//! Tiers nest on Envoy's own random number (`careplane_policy::Random`), so each hop and each filter decides alike without
//! talking. Envoy itself samples at its base rate; a filter can only add to that, by `x-envoy-force-trace`: set the base to the
//! lowest tier. What a parent span decided stands.

#![forbid(unsafe_code)]

use std::sync::Arc;

use careplane_exchange::{Exchange, Filter, Host, SAMPLING_REASON};

/// The filter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sampling;

impl Filter for Sampling {
    fn on_request(&self, exchange: &Exchange, _host: &dyn Host) {
        let decision = exchange.trace_decision();
        exchange.keep_trace();
        if decision.kept {
            let tier = &exchange.about().context.tier;
            exchange.tag_span("sampling_tier", Arc::clone(&tier.name));
            // With it, a backend can extrapolate: a span at 10 % stands for ten.
            exchange.tag_span("sampling_rate", tier.rate.to_string());
            exchange.tag_span(SAMPLING_REASON, decision.reason.as_str());
        }
    }
}

#[cfg(test)]
mod tests;
