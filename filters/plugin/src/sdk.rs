//! The same contexts behind the SDK's dispatcher, in place of `dispatch.rs`: `--features sdk`.
//!
//! Not what is shipped (ARCHITECTURE.md has the figures), but it works: `make test-sdk` runs it in a real Envoy.
//!
//! The SDK's dispatcher gives the answer to a call to the context that was active when it was made, and drops it when
//! that context has ended. Batches outlive the streams that fill them, so here a root sends them: [`calls`].

pub(crate) mod calls;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use careplane_exchange::HostError;
use careplane_pipeline::{Action, Stream};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{self, ContextType};

use crate::export::{self, TICK};
use crate::host::EnvoyHost;
use crate::root::Root;

/// How soon a root sends what a stream could not.
const SOON: Duration = Duration::from_millis(1);

// The entry point of the module, which the macro makes public.
#[allow(missing_docs)]
mod entry {
    proxy_wasm::main! {{
        crate::log::install();
        proxy_wasm::set_root_context(|_| Box::new(crate::sdk::PluginRoot::default()));
    }}
}

/// The plugin's root, and whether a stream has asked for its tick.
#[derive(Default)]
pub(crate) struct PluginRoot {
    root: Root,
    is_due: Rc<Cell<bool>>,
}

/// A stream, if its plugin has a configuration.
struct HttpStream {
    stream: Option<Stream>,
    is_due: Rc<Cell<bool>>,
}

// === impl PluginRoot ===

impl Context for PluginRoot {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _trailers: usize) {
        self.root.answered(calls::number(token), headers, body);
    }
}

impl RootContext for PluginRoot {
    fn on_configure(&mut self, size: usize) -> bool {
        self.root.configure(size)
    }

    fn on_tick(&mut self) {
        if self.is_due.take() {
            EnvoyHost.tick_every(TICK);
        }
        // As if it had been made and failed.
        calls::send_deferred(|number| self.root.answered(number, 0, 0));
        self.root.tick();
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(HttpStream { stream: self.root.stream(), is_due: Rc::clone(&self.is_due) }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

// === impl HttpStream ===

impl HttpStream {
    /// Runs what may make calls that outlive the stream.
    fn deferring(&mut self, act: impl FnOnce(&mut Stream)) {
        let Some(stream) = &mut self.stream else { return };
        if calls::deferring(|| act(stream)) && !self.is_due.replace(true) {
            EnvoyHost.tick_every(SOON);
        }
    }
}

impl Context for HttpStream {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _trailers: usize) {
        if self.stream.as_ref().is_some_and(|stream| stream.awaited_call() == Some(token)) {
            self.deferring(|stream| {
                stream.on_answer(token, &EnvoyHost.collector_answer(headers, body), &EnvoyHost);
            });
        } else {
            // A batch that was full before the intent: it was sent beside it.
            export::answered(token, headers, body);
        }
    }
}

impl HttpContext for HttpStream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> types::Action {
        // Not deferring: a request that is held waits for the answer to its own call, which so comes to its stream.
        match self.stream.as_mut().map_or(Action::Continue, |stream| stream.on_request_headers(&EnvoyHost)) {
            Action::Continue => types::Action::Continue,
            Action::Pause => types::Action::Pause,
        }
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> types::Action {
        self.deferring(|stream| stream.on_request_trailers(&EnvoyHost));
        types::Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> types::Action {
        self.deferring(|stream| stream.on_response_headers(&EnvoyHost));
        types::Action::Continue
    }

    fn on_log(&mut self) {
        self.deferring(|stream| stream.on_log(&EnvoyHost));
    }
}

impl Drop for HttpStream {
    fn drop(&mut self) {
        self.deferring(|stream| stream.on_delete(&EnvoyHost));
    }
}

/// The ABI's numbers, as `abi.rs`, `log.rs` and the other crates write them, are the SDK's.
const _: () = {
    use careplane_exchange::MapType;
    use log::Level;
    use proxy_wasm::types::{BufferType, LogLevel, MapType as Map, MetricType, Status, StreamType};

    use crate::abi::{self, MetricKind};
    use crate::log::{CRITICAL, number};

    assert!(number(Level::Trace) == LogLevel::Trace as u32);
    assert!(number(Level::Debug) == LogLevel::Debug as u32);
    assert!(number(Level::Info) == LogLevel::Info as u32);
    assert!(number(Level::Warn) == LogLevel::Warn as u32 && abi::WARNING == LogLevel::Warn as u32);
    assert!(number(Level::Error) == LogLevel::Error as u32);
    assert!(CRITICAL == LogLevel::Critical as u32);

    assert!(MapType::RequestHeaders as u32 == Map::HttpRequestHeaders as u32);
    assert!(MapType::RequestTrailers as u32 == Map::HttpRequestTrailers as u32);
    assert!(MapType::ResponseHeaders as u32 == Map::HttpResponseHeaders as u32);
    assert!(abi::HTTP_CALL_RESPONSE_HEADERS == Map::HttpCallResponseHeaders as u32);
    assert!(abi::HTTP_CALL_RESPONSE_BODY == BufferType::HttpCallResponseBody as u32);
    assert!(abi::PLUGIN_CONFIGURATION == BufferType::PluginConfiguration as u32);
    assert!(abi::REQUEST_STREAM == StreamType::HttpRequest as u32);

    assert!(MetricKind::Counter as u32 == MetricType::Counter as u32);
    assert!(MetricKind::Gauge as u32 == MetricType::Gauge as u32);

    assert!(Action::Continue as u32 == types::Action::Continue as u32);
    // The SDK has no `StopAllIterationAndWatermark`.
    assert!(Action::Pause as u32 != types::Action::Pause as u32);

    assert!(HostError::from_status(Status::Ok as u32).is_none());
    assert!(matches!(HostError::from_status(Status::NotFound as u32), Some(HostError::NotFound)));
    assert!(matches!(HostError::from_status(Status::BadArgument as u32), Some(HostError::BadArgument)));
    assert!(matches!(
        HostError::from_status(Status::SerializationFailure as u32),
        Some(HostError::SerializationFailure)
    ));
    assert!(matches!(HostError::from_status(Status::ParseFailure as u32), Some(HostError::ParseFailure)));
    assert!(matches!(HostError::from_status(Status::Empty as u32), Some(HostError::Empty)));
    assert!(matches!(HostError::from_status(Status::CasMismatch as u32), Some(HostError::CasMismatch)));
    assert!(matches!(HostError::from_status(Status::InternalFailure as u32), Some(HostError::InternalFailure)));
};
