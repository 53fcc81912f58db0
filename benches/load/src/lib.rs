//! What careplane costs in a real Envoy, beside what else would do its work ([`comparison`]).
//!
//! Ratios within one run are what counts: the same figures on another machine, or in another hour, are others.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod breakdown;
pub mod calls;
pub mod comparison;
pub mod contender;
pub mod generator;
pub mod machine;
pub mod perf;
pub mod plot;
pub mod process;
pub mod report;
pub mod running;
pub mod stats;
pub mod without;
