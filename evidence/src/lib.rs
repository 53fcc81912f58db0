//! What audit records prove: reading them wherever they ended up, verifying their chains, reporting on them.
//!
//! Shares nothing with the filter that writes the records, so that a mistake of one is not repeated by the other.

mod acts;
mod counts;
pub mod fhir;
pub mod purpose;
mod record;
pub mod report;
pub mod search;
pub mod shadow;
mod sort;
pub mod source;
#[cfg(feature = "synthetic")]
pub mod synthetic;
pub mod verify;

pub use record::{Chain, Context, Decision, Kind, Outcome, Proxy, Record, Request, Tenant, Trace, Who};
