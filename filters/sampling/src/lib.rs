//! `sampling`: which traces are kept.
//!
//! Tiers nest on Envoy's own random number (`careplane_policy::Random`), so each hop and each filter decides alike without
//! talking. Envoy itself samples at its base rate; a filter can only add to that, by `x-envoy-force-trace`: set the base to the
//! lowest tier. A parent span that was not sampled stays unsampled, whatever is asked here.
//!
//! The decision itself is the exchange's, for a refusal is kept by the filter that refuses, and a record tells it too.

#![forbid(unsafe_code)]

use careplane_exchange::{Exchange, Filter, Host};

/// The filter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sampling;

impl Filter for Sampling {
    fn on_request(&self, exchange: &Exchange, _host: &dyn Host) {
        exchange.keep_trace();
    }
}

#[cfg(test)]
mod tests;
