//! The careplane policy document: parse, validate, compile, classify.
//!
//! ```text
//! bytes ── decode ──▶ Document ── compile ──▶ Policy ── classify(method, path) ──▶ Classification
//!              └── every problem of the document at once ──┘
//! ```
//!
//! Plain Rust without a proxy: the same code decides in Envoy, in the command line and in tests.
//!
//! ```
//! use careplane_policy::{Method, Policy};
//!
//! let policy = Policy::from_json(br#"{
//!     "version": "careplane/v1",
//!     "contexts": [{
//!         "name": "residents", "complianceLevel": "high", "tier": "clinical",
//!         "match": [{"path": "/api/v1/residents/{id}"}]
//!     }]
//! }"#)?;
//! let about = policy.classify(Method::Get, b"/api//v1/%72esidents/17?full=1");
//! assert_eq!(&*about.context.name, "residents");
//! assert_eq!(about.capture("id"), Some("17"));
//! # Ok::<(), careplane_policy::Problems>(())
//! ```

#![forbid(unsafe_code)]

mod compile;
mod decode;
pub mod directory;
pub mod document;
mod folded;
mod grants;
mod host_pattern;
pub mod id;
pub mod nhs;
pub mod path;
mod policy;
mod pools;
mod problem;
mod purpose;
mod rate;
mod router;
#[cfg(feature = "schema")]
pub mod schema;
mod slots;
mod source;
mod template;
mod tenants;

pub use compile::VERSION;
pub use folded::{Watched, WatchedHeaders};
pub use grants::{Condition, Grant, GrantLimit, GrantedTenants, Test};
pub use host_pattern::HostPattern;
pub use policy::{
    Audit, Classification, Context, DirectorySource, Export, Headers, Identity, Late, PeerPattern, Placement, Policy,
    Routing, Tier, TrustedPeers, UnknownTenant,
};
pub use problem::{Problem, Problems};
pub use purpose::Purpose;
pub use rate::{Random, Rate};
pub use router::Method;
pub use source::{Claim, Source};
pub use template::Template;
