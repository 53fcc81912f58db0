//! The same contexts behind the SDK's dispatcher.
//!
//! Not what is shipped: it exports every callback of the ABI, so the proxy calls each, and panics on callbacks that it does not
//! expect. It is what `make bench` measures `dispatch.rs` against.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::root::Root;
use crate::stream::{Next, Stream};

// The entry point of the module, which the macro makes public.
#[allow(missing_docs)]
mod entry {
    proxy_wasm::main! {{
        crate::log::install();
        proxy_wasm::set_root_context(|_| Box::new(crate::root::Root::default()));
    }}
}

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
        Some(Box::new(self.stream()))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, call: u32, headers: usize, body: usize, _trailers: usize) {
        self.answered(call, headers, body);
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.request_headers().into()
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.response_headers();
        Action::Continue
    }

    fn on_log(&mut self) {
        self.log();
    }
}

impl From<Next> for Action {
    fn from(next: Next) -> Self {
        match next {
            Next::Continue => Self::Continue,
            Next::Pause => Self::Pause,
        }
    }
}
