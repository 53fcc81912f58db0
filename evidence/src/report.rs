//! Reports: what the records of a period say, for a reader who is not an engineer.
//!
//! A [`Making`] reads records, verifies them, and counts in the same reading those that have their hash. What it makes
//! is an [`Aggregate`], which [`html`] shows. Aggregates of all shards of one run [merge](Aggregate::merge). Memory
//! grows with the hours, contexts, tenants and users of the period and with the pairs of a user and a subject, not with
//! the requests; where it could grow without end it is limited, and the report says so.

mod aggregate;
mod build;
mod completeness;
mod count;
mod delivery_counters;
mod intents;
mod page;
mod plot;
mod reach;
mod scope;
mod sections;
pub(crate) mod words;

pub use crate::acts::{Kinds, Lineage, Placement};
pub use crate::counts::{Counts, Ending, Merge, Tally};
pub use aggregate::{
    AddError, Aggregate, Attempt, Beyond, Crossing, Denial, Failure, Outside, Person, PlacementCounts, Reach, Reached,
    SCHEMA, WouldRefuse,
};
pub use build::Making;
pub(crate) use build::{clock, read};
pub(crate) use completeness::chain_doubts;
pub use completeness::{absent, absent_within, doubts};
pub use delivery_counters::{DeliveryCounters, MetricsError};
pub use intents::Unfinished;
pub use page::html;
pub use scope::{NotATime, Scope, Standing};
