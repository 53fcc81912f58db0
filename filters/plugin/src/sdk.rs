//! The same contexts behind the SDK's dispatcher.
//!
//! Not what is shipped: it exports every callback of the ABI, so the proxy calls each, and panics on callbacks that it does not
//! expect. It is what `make bench` measures `dispatch.rs` against.

use careplane_pipeline::{Action, Stream};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{self, ContextType};

use crate::host::EnvoyHost;
use crate::root::Root;

// The entry point of the module, which the macro makes public.
#[allow(missing_docs)]
mod entry {
    proxy_wasm::main! {{
        crate::log::install();
        proxy_wasm::set_root_context(|_| Box::new(crate::root::Root::default()));
    }}
}

/// A stream, if its plugin has a configuration.
struct HttpStream(Option<Stream>);

impl Context for Root {
    fn on_http_call_response(&mut self, call: u32, headers: usize, body: usize, _trailers: usize) {
        self.answered(call, headers, body);
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        self.configure(size)
    }

    fn on_tick(&mut self) {
        self.tick();
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(HttpStream(self.stream())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for HttpStream {
    fn on_http_call_response(&mut self, call: u32, headers: usize, body: usize, _trailers: usize) {
        if let Some(stream) = &mut self.0 {
            stream.on_answer(call, &EnvoyHost.collector_answer(headers, body), &EnvoyHost);
        }
    }
}

impl HttpContext for HttpStream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> types::Action {
        match self.0.as_mut().map_or(Action::Continue, |stream| stream.on_request_headers(&EnvoyHost)) {
            Action::Continue => types::Action::Continue,
            Action::Pause => types::Action::Pause,
        }
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> types::Action {
        if let Some(stream) = &mut self.0 {
            stream.on_request_trailers(&EnvoyHost);
        }
        types::Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> types::Action {
        if let Some(stream) = &self.0 {
            stream.on_response_headers(&EnvoyHost);
        }
        types::Action::Continue
    }

    fn on_log(&mut self) {
        if let Some(stream) = &mut self.0 {
            stream.on_log(&EnvoyHost);
        }
    }
}

impl Drop for HttpStream {
    fn drop(&mut self) {
        if let Some(stream) = &mut self.0 {
            stream.on_delete(&EnvoyHost);
        }
    }
}
