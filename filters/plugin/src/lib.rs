//! The module that Envoy loads: proxy-wasm contexts around the careplane filters.
//!
//! One VM per worker holds one [`root::Root`] for each plugin that uses this module; a root holds one policy and makes one
//! [`stream::Stream`] for each request. `pluginName` (Envoy's `root_id`) picks the filters: see [`filters`].

mod abi;
mod filters;
mod host;
mod key;
mod log;
mod outlet;
mod root;
mod stream;

// The entry point of the module, which the macro makes public.
#[allow(missing_docs)]
mod entry {
    use super::{log, root};

    proxy_wasm::main! {{
        log::install();
        proxy_wasm::set_root_context(|_| Box::new(root::Root::default()));
    }}
}
