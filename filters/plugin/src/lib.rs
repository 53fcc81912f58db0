//! The module that Envoy loads: proxy-wasm contexts around the careplane filters.
//!
//! One VM per worker holds one [`root::Root`] for each plugin that uses this module; a root holds one policy and makes one
//! [`stream::Stream`] for each request. `pluginName` (Envoy's `root_id`) picks the filters: see [`filters`].

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
