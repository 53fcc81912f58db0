//! Hostile input: what a caller, a peer, a collector or an operator can send.
//!
//! Each target is a plain function over bytes. It panics when careplane breaks a promise. The code under test is the
//! code that Envoy runs, compiled natively. Some rules are written here a second time, as a slow and obvious model, and
//! both have to agree.
//!
//! | target | who sends it | what has to hold |
//! |---|---|---|
//! | `policy` | an operator | every document is taken or refused with reasons; one that is taken classifies anything |
//! | `path` | a client | normal form and classification are the model's |
//! | `headers` | a client, through the proxy | the map is what the model reads, or malformed; no filter panics |
//! | `traceparent` | a client, a peer | W3C Trace Context, as the model reads it |
//! | `claims` | an identity provider, a client | identity and refusal are the model's; no NHS number in the record |
//! | `grants` | an operator, an identity provider | tenant, grant and refusal are the model's; no claim is read twice |
//! | `directory` | a web server of the operator's | index, part and tenants are what the model reads, or refused |
//! | `collector` | a collector | each record is acknowledged, rejected, overflow or queued: never lost, never twice |
//! | `record` | all of them | records are RFC 8785, and their hashes are of what they say |
//!
//! `fuzz/tests/corpus.rs` replays the corpus in `make test`. `make fuzz TARGET=… SECONDS=…` searches for more inputs.

#![forbid(unsafe_code)]

mod claims;
mod collector;
mod directory;
mod grants;
mod headers;
mod input;
mod nhs;
mod path;
pub mod plugin;
mod policy;
mod record;
mod traceparent;

/// A target: its name, which is also the folder of its corpus, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("policy", policy::run),
    ("path", path::run),
    ("headers", headers::run),
    ("traceparent", traceparent::run),
    ("claims", claims::run),
    ("grants", grants::run),
    ("directory", directory::run),
    ("collector", collector::run),
    ("record", record::run),
];

/// The target of this name.
///
/// # Errors
/// The known names, when `name` is none of them.
pub fn target(name: &str) -> Result<&'static Target, String> {
    TARGETS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
        let known: Vec<&str> = TARGETS.iter().map(|(known, _)| *known).collect();
        format!("{name:?} is not a fuzz target: expected one of {}", known.join(", "))
    })
}
