//! The seam to the proxy: what a filter can ask of it and do through it.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::denial::LocalReply;

/// The proxy, as one request sees it.
///
/// Total: each call can fail and says so. The implementation counts and logs its failures itself, so a caller only has
/// to choose what to do without the answer. There are two: `plugin::EnvoyHost`, and [`crate::memory::MemoryHost`] for
/// everything native.
pub trait Host {
    /// All headers of a message in the proxy's serialised form, which [`crate::HeaderMap`] reads.
    ///
    /// # Errors
    /// When the proxy has no such map at this point of the stream.
    fn header_map(&self, map: MapType) -> Result<Vec<u8>, HostError>;

    /// The first value of one header; `None` when there is none.
    ///
    /// # Errors
    /// As [`Host::header_map`].
    fn header(&self, map: MapType, name: &str) -> Result<Option<Vec<u8>>, HostError>;

    /// Gives a header one value, whatever it had before. In a request map, this lets the proxy choose the route again.
    ///
    /// # Errors
    /// When the proxy refuses.
    fn set_header(&self, map: MapType, name: &str, value: &str) -> Result<(), HostError>;

    /// Removes all values of a header.
    ///
    /// # Errors
    /// When the proxy refuses.
    fn remove_header(&self, map: MapType, name: &str) -> Result<(), HostError>;

    /// An attribute of the stream (Envoy: "Attributes"); `None` when it is not there. NUL separates the parts of its
    /// path.
    ///
    /// # Errors
    /// When the proxy cannot say.
    fn property(&self, path: &str) -> Result<Option<Vec<u8>>, HostError>;

    /// Sets filter state that lives as long as the stream; Envoy shows `name` as `wasm.<name>`.
    ///
    /// # Errors
    /// When the proxy refuses.
    fn set_property(&self, name: &str, value: &[u8]) -> Result<(), HostError>;

    /// Answers in place of the upstream.
    ///
    /// # Errors
    /// When the proxy did not; the request must not go on then either.
    fn reply(&self, reply: &LocalReply) -> Result<(), HostError>;

    /// Lets a request go on that was held.
    ///
    /// # Errors
    /// When the proxy refuses; the request would hang for ever.
    fn resume(&self) -> Result<(), HostError>;

    /// Ends the stream without an answer.
    fn reset(&self);

    /// The wall clock: for what people read. It can jump.
    ///
    /// # Errors
    /// When the proxy has none.
    fn now(&self) -> Result<SystemTime, HostError>;

    /// Time since a fixed moment, which only ever rises: for pauses and timeouts.
    ///
    /// # Errors
    /// When the proxy has no such clock.
    fn elapsed(&self) -> Result<Duration, HostError>;

    /// Fills `bytes` from a cryptographically secure source.
    ///
    /// # Errors
    /// When there is none; `bytes` must not be used then.
    fn random(&self, bytes: &mut [u8]) -> Result<(), HostError>;

    /// Adds to a counter, making it on first use, also to add nothing. The host alone handles a counter that it cannot
    /// keep.
    fn count(&self, counter: &str, by: u64);

    /// Writes a line to the proxy's log, as a warning: the level that Istio's proxies log at unless told otherwise.
    ///
    /// # Errors
    /// When the log's level drops warnings.
    fn log(&self, line: &str) -> Result<(), HostError>;

    /// Sets a gauge, making it on first use.
    fn gauge(&self, gauge: &str, value: u64);

    /// Adds to a gauge that several workers share, or takes from it.
    fn add_to_gauge(&self, gauge: &str, by: i64);

    /// Sends a request of the proxy's own, and returns the number under which its answer will come.
    ///
    /// The call belongs to the plugin, also when a stream makes it: it outlives the stream, and the proxy gives it up
    /// when the plugin ends.
    ///
    /// # Errors
    /// When the proxy does not know the cluster, or cannot send.
    fn http_call(&self, call: &HttpCall<'_>) -> Result<u32, HostError>;
}

/// A request of the proxy's own.
#[derive(Debug, Clone, Copy)]
pub struct HttpCall<'c> {
    /// The Envoy cluster.
    pub cluster: &'c str,
    /// `:authority`
    pub authority: &'c str,
    /// `:method`
    pub method: &'c str,
    /// `:path`
    pub path: &'c str,
    /// Further headers.
    pub headers: &'c [(&'c str, &'c str)],
    /// The body.
    pub body: &'c [u8],
    /// After which the proxy gives up; whole milliseconds.
    pub timeout: Duration,
}

/// A map of headers or trailers: `proxy_header_map_type_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapType {
    /// The headers of the request.
    RequestHeaders = 0,
    /// The trailers of the request.
    RequestTrailers = 1,
    /// The headers of the response.
    ResponseHeaders = 2,
}

/// What came of an [`HttpCall`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The HTTP status; none when no answer came: the connection failed, or it took too long.
    pub status: Option<u16>,
    /// The header `retry-after`.
    pub retry_after: Option<Vec<u8>>,
    /// The header `etag`, where it was asked for.
    pub etag: Option<Vec<u8>>,
    /// How many bytes the body has.
    pub size: usize,
    /// The body, or as much of it as was asked for.
    pub body: Vec<u8>,
}

/// Why a host call failed: the status codes of the proxy-wasm ABI 0.2.1, and answers that make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostError {
    /// 1: there is no such thing.
    NotFound,
    /// 2: not at this point of the stream.
    BadArgument,
    /// 3: the value cannot be serialised.
    SerializationFailure,
    /// 4: the proxy could not read what it was given.
    ParseFailure,
    /// 5: an expression that the proxy does not understand.
    BadExpression,
    /// 6: an address outside the module's memory.
    InvalidMemoryAccess,
    /// 7: nothing there.
    Empty,
    /// 8: another writer was faster.
    CasMismatch,
    /// 9: not the kind of result that was asked for.
    ResultMismatch,
    /// 10: something broke inside the proxy.
    InternalFailure,
    /// 11: the connection is gone.
    BrokenConnection,
    /// 12: the proxy does not know the call.
    Unimplemented,
    /// Any other status.
    Status(u32),
    /// The status was good and the answer was not.
    Malformed,
}

// === impl HostError ===

impl HostError {
    /// The error behind a status of the ABI; `None` for 0, which is none.
    pub const fn from_status(status: u32) -> Option<Self> {
        Some(match status {
            0 => return None,
            1 => Self::NotFound,
            2 => Self::BadArgument,
            3 => Self::SerializationFailure,
            4 => Self::ParseFailure,
            5 => Self::BadExpression,
            6 => Self::InvalidMemoryAccess,
            7 => Self::Empty,
            8 => Self::CasMismatch,
            9 => Self::ResultMismatch,
            10 => Self::InternalFailure,
            11 => Self::BrokenConnection,
            12 => Self::Unimplemented,
            other => Self::Status(other),
        })
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Malformed => f.write_str("malformed answer"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl std::error::Error for HostError {}
