//! Reports: what the records of a period say, for somebody who is not an engineer.
//!
//! An [`Aggregate`] takes records one by one, from wherever they were read, and is what [`html`] shows. Aggregates of parts that share
//! no record [merge](Aggregate::merge) into that of the whole. Memory grows with the hours, contexts, tenants and users of the period and
//! with the pairs of a user and a subject, not with the requests; where it could grow without end it is limited, and the report says so.

mod aggregate;
mod chains;
mod completeness;
mod count;
mod counts;
mod ledger;
mod page;
mod plot;
mod scope;
mod sections;
mod words;

pub use aggregate::{AddError, Aggregate, Attempt, Beyond, Crossing, Denial, Failure, Outside, Person, SCHEMA};
pub use chains::{ChainLine, Intent, Seen, Way};
pub use counts::{Counts, Ending, Merge, Tally};
pub use ledger::{Ledger, MetricsError};
pub use page::html;
pub use scope::{NotATime, Scope, Standing};
