//! The same contexts behind the SDK's dispatcher, in place of `dispatch.rs`: `--features sdk`.
//!
//! Not what is shipped (ARCHITECTURE.md has the figures), but it works: `make test-sdk` runs it in a real Envoy.
//!
//! The SDK's dispatcher knows a call by its token if the SDK made it. It gives the answer to the context that was
//! active then, and drops it when that context has ended. Batches outlive the streams that fill them, so here a root
//! sends them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use careplane_exchange::{HostError, HttpCall};
use careplane_pipeline::{Action, Stream};
use proxy_wasm::hostcalls;
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

/// A call that a root is to make for a stream. The stream took `number` for its token.
struct Deferred {
    number: u32,
    cluster: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    timeout: Duration,
}

thread_local! {
    /// Whether the callback that runs is one whose calls a root has to make.
    static DEFERS: Cell<bool> = const { Cell::new(false) };
    static DEFERRED: Cell<Vec<Deferred>> = const { Cell::new(Vec::new()) };
    /// Calls that were deferred and made: the token, and the number in its place.
    static MADE: Cell<Vec<(u32, u32)>> = const { Cell::new(Vec::new()) };
    /// The next number: from the top, for Envoy's tokens begin at the bottom.
    static NUMBER: Cell<u32> = const { Cell::new(u32::MAX) };
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

/// Makes a call by the SDK, or leaves it to a root.
pub(crate) fn http_call(call: &HttpCall<'_>) -> Result<u32, HostError> {
    let headers = [(":method", call.method), (":path", call.path), (":authority", call.authority)];
    let headers = headers.into_iter().chain(call.headers.iter().copied());
    if !DEFERS.get() {
        return dispatch(call.cluster, headers.collect(), call.body, call.timeout);
    }
    let number = NUMBER.get();
    NUMBER.set(number.wrapping_sub(1));
    let mut deferred = DEFERRED.take();
    deferred.push(Deferred {
        number,
        cluster: call.cluster.into(),
        headers: headers.map(|(name, value)| (name.into(), value.into())).collect(),
        body: call.body.into(),
        timeout: call.timeout,
    });
    DEFERRED.set(deferred);
    Ok(number)
}

fn dispatch(cluster: &str, headers: Vec<(&str, &str)>, body: &[u8], timeout: Duration) -> Result<u32, HostError> {
    hostcalls::dispatch_http_call(cluster, headers, Some(body), Vec::new(), timeout)
        .map_err(|status| HostError::from_status(status as u32).unwrap_or(HostError::InternalFailure))
}

// === impl PluginRoot ===

impl PluginRoot {
    fn send_deferred(&self) {
        for call in DEFERRED.take() {
            let headers = call.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
            match dispatch(&call.cluster, headers, &call.body, call.timeout) {
                Ok(token) => {
                    let mut made = MADE.take();
                    made.push((token, call.number));
                    MADE.set(made);
                }
                // As if it had been made and failed.
                Err(_) => self.root.answered(call.number, 0, 0),
            }
        }
    }
}

impl Context for PluginRoot {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _trailers: usize) {
        let mut made = MADE.take();
        let place = made.iter().position(|(known, _)| *known == token);
        let number = place.map_or(token, |place| made.swap_remove(place).1);
        MADE.set(made);
        self.root.answered(number, headers, body);
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
        self.send_deferred();
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
        DEFERS.set(true);
        act(stream);
        DEFERS.set(false);
        let deferred = DEFERRED.take();
        if !deferred.is_empty() && !self.is_due.replace(true) {
            EnvoyHost.tick_every(SOON);
        }
        DEFERRED.set(deferred);
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
