//! What a careplane filter sees of one request, and the host it acts through.
//!
//! - [`Exchange`]: one request. Read once, understood on demand, written once.
//! - [`Host`]: the proxy, as a trait; [`memory::MemoryHost`] is the one that needs no proxy.
//! - [`Filter`]: what the four filters are.
//!
//! The filters share this understanding rather than each other: alone in its plugin, one finds out with the same functions what
//! it would have been told in company, so that a chain of plugins decides as one plugin with all filters does.

#![forbid(unsafe_code)]

mod denial;
mod exchange;
mod filter;
mod headers;
mod host;
mod identity;
mod key;
pub mod memory;
mod outcome;
mod pseudonym;
mod span;
mod trace;

pub use denial::{Denial, LocalReply};
pub use exchange::{Exchange, Intent, Rules};
pub use filter::Filter;
pub use headers::HeaderMap;
pub use host::{Host, HostError, HttpAnswer, HttpCall, Map};
pub use identity::Identity;
pub use key::{KEY_MIN, Key};
pub use outcome::{Outcome, TraceParent, Verdict};
pub use pseudonym::{Pseudonyms, Role};
pub use span::SPAN_TAGS;
pub use trace::{FORCE_TRACE, REQUEST_ID, TRACEPARENT, TraceDecision, TraceReason, is_traced};
