//! The module that Envoy loads: proxy-wasm contexts around the careplane filters.
//!
//! One VM per worker holds one [`root::Root`] for each plugin that uses this module; a root holds one policy and makes one
//! [`stream::Stream`] for each request. `pluginName` (Envoy's `root_id`) picks the filters: see [`filters`].

// The module of one filter does not need all that is here for four, nor the SDK what dispatch.rs needs.
#![cfg_attr(
    any(feature = "sdk", not(all(feature = "sampling", feature = "audit"))),
    allow(dead_code, unused_variables)
)]

mod abi;
#[cfg(not(feature = "sdk"))]
mod dispatch;
mod filters;
mod host;
mod key;
mod log;
mod outlet;
mod root;
#[cfg(feature = "sdk")]
mod sdk;
mod stream;
