//! The module that Envoy loads: proxy-wasm contexts around the careplane filters.
//!
//! One VM per worker holds one [`root::Root`] for each plugin that uses this module. A root holds one policy and makes
//! one [`careplane_pipeline::Stream`] for each request. `pluginName` (Envoy's `root_id`) picks the filters.

// The module of one filter does not need all that is here for four, nor the SDK what dispatch.rs needs.
#![cfg_attr(
    any(feature = "sdk", not(all(feature = "sampling", feature = "audit"))),
    allow(dead_code, unused_variables)
)]

mod abi;
mod directory;
#[cfg(not(feature = "sdk"))]
mod dispatch;
mod export;
mod host;
mod key;
mod log;
#[cfg(target_family = "wasm")]
mod memcmp;
mod root;
#[cfg(feature = "sdk")]
mod sdk;
mod state;
