//! What Envoy's attributes of a request say, from their bytes to words of a list.
//!
//! `docs/envoy-tells.md` has the table, and the tests in a real Envoy that hold it.

#![forbid(unsafe_code)]

mod details;
mod flags;
mod trace_context;

pub use details::{Answerer, Details};
pub use flags::Flags;
pub use trace_context::{TraceContext, is_traced};
