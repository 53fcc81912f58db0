//! What people did, put together from the records of all hops.
//!
//! One request can leave several records: at the gateway, at each sidecar, at each attempt, in a mirrored copy, after a
//! redirect that the proxy followed. An *act* is what came in at the outermost proxy. The others are counted beside it,
//! each as what it is.
//!
//! ```text
//! record ─▶ Fact (one size, names as numbers) ─▶ sorted on disk by request id ─▶ Act, one for each outermost record
//! ```
//!
//! A record is taken for a hop of another only on positive evidence. In doubt it is an act of its own: a caller that
//! gives one request id to everything hides nothing.

mod fact;
mod fold;
mod names;

pub use fact::Placement;
pub(crate) use fact::{
    ACTION, CONTEXT, DENIAL, FLAGS, Fact, LEVEL, OTHER, POLICY, REGULATOR, SUBJECT, TENANT, USER, request_key,
};
pub(crate) use fold::{Act, SKEW, fold};
pub use fold::{Kinds, Lineage};
pub(crate) use names::Names;
