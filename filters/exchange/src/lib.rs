//! What a careplane filter sees of one request, and the host it acts through.
//!
//! ```text
//! Incoming ──filters──▶ conclude ──▶ Handled ──stream ends──▶ Ending
//! headers, questions     writes,      plain values             + what the proxy tells
//! answered on first use  a reply
//! ```
//!
//! - [`Incoming`]: a request that came in. Read once, understood on demand, written once.
//! - [`Handled`]: what is left of it when the request phase is over: plain values.
//! - [`Ending`]: that, and what became of it.
//! - [`Host`]: the proxy, as a trait; [`memory::MemoryHost`] is the one that needs no proxy.
//! - [`Filter`]: what the four filters are.

#![forbid(unsafe_code)]

mod claims;
mod correlation;
mod denial;
mod ending;
mod filter;
mod grants;
mod handled;
mod headers;
mod host;
mod identity;
mod incoming;
mod key;
mod kind;
pub mod memory;
mod pseudonym;
mod query;
mod recent;
mod rules;
mod span;
mod trace;
mod tracer;
mod upstream;
mod writes;

pub use careplane_attributes::{Answerer, Flags, TraceContext, is_traced};
pub use denial::{Denial, LocalReply};
pub use ending::{Decision, Ending, TraceOutcome};
pub use filter::Filter;
pub use grants::{GrantUses, GrantVerdict};
pub use handled::{Handled, Intent, ShadowDecision};
pub use headers::{Grpc, HeaderMap};
pub use host::{Host, HostError, HttpAnswer, HttpCall, MapType};
pub use identity::Identity;
pub use incoming::Incoming;
pub use key::{KEY_MIN, Key};
pub use kind::RequestKind;
pub use pseudonym::{Pseudonyms, Role};
pub use query::value as query_value;
pub use rules::Rules;
pub use span::SPAN_TAGS;
pub use trace::{FORCE_TRACE, REQUEST_ID, TRACEPARENT, TraceDecision, TraceInput, TraceReason};
pub use tracer::Tracer;
