//! The proxy that is not there: what Envoy 1.40 would answer, from memory, and a tally of what it was asked.

use std::collections::BTreeMap;

use careplane_exchange::HeaderMap;
use wasmtime::{Memory, TypedFunc};

/// `WasmHeaderMapType` of the request.
pub(crate) const REQUEST_HEADERS: u32 = 0;
/// `WasmHeaderMapType` of the response.
pub(crate) const RESPONSE_HEADERS: u32 = 2;
/// `WasmHeaderMapType` of the answer to a call of the module's own.
pub(crate) const CALL_HEADERS: u32 = 6;
/// `WasmBufferType` of the answer to a call of the module's own.
pub(crate) const CALL_BODY: u32 = 4;
/// `WasmBufferType` of the policy.
pub(crate) const PLUGIN_CONFIGURATION: u32 = 7;

/// `WasmResult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
}

/// 2026-01-02T03:04:05.678Z in nanoseconds.
const BEGINNING: u64 = 1_767_323_045_678_000_000;

/// Headers in the order in which they came; names in lower case.
pub(crate) type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// A request that the module sent.
#[derive(Debug)]
pub(crate) struct Sent {
    /// The context that sent it: of a stream, or of a plugin.
    pub(crate) context: u32,
    /// The number under which its answer comes.
    pub(crate) token: u32,
    /// `:path`
    pub(crate) path: String,
}

/// What a stream has been through so far: it decides which maps there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No stream: configuration, ticks, answers to calls.
    #[default]
    Outside,
    /// The request headers are being filtered.
    Request,
    /// The response headers are; the request's are gone.
    Response,
    /// It is over.
    Log,
}

/// What the module was asked for and asked for itself, since the tally was taken last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls from the module to the proxy, by name.
    pub calls: BTreeMap<&'static str, u64>,
    /// Calls from the proxy to the module, by name.
    pub callbacks: BTreeMap<String, u64>,
    /// Bytes that were copied between the two, in either direction.
    pub bytes: u64,
}

/// The proxy's side of one VM.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) memory: Option<Memory>,
    pub(crate) allocate: Option<TypedFunc<u32, u32>>,
    pub(crate) tally: Tally,
    /// Instructions that instrumentation added; see `profile`.
    pub(crate) profiler: Option<crate::profile::Profiler>,

    /// The environment of the VM, `NAME=value`.
    pub(crate) environment: Vec<String>,
    pub(crate) configuration: Vec<u8>,
    /// The context whose callback runs.
    pub(crate) context: u32,
    /// Root contexts: their `root_id`, and how often they want to be called, in milliseconds.
    pub(crate) roots: BTreeMap<u32, (String, u32)>,
    /// Stream contexts of the present request, and their roots.
    pub(crate) streams: BTreeMap<u32, u32>,

    pub(crate) phase: Phase,
    pub(crate) request: Headers,
    pub(crate) response: Headers,
    /// By path, its parts separated by NUL.
    pub(crate) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The status of the answer that the module sent in place of the upstream's, and its details.
    pub(crate) reply: Option<(u32, String)>,
    /// Whether the module let a paused request go on.
    pub(crate) resumed: bool,

    pub(crate) sent: Vec<Sent>,
    pub(crate) sent_bytes: u64,
    pub(crate) answer: Headers,
    /// The body of the answer to a call of the module's own.
    pub(crate) answer_body: Vec<u8>,
    /// What was logged at warning or above.
    pub(crate) log: Vec<String>,
    pub(crate) metrics: BTreeMap<String, u32>,
    pub(crate) values: Vec<u64>,
    tokens: u32,
    random: u64,
    milliseconds: u64,
}

// === impl State ===

impl State {
    /// The root context of the context whose callback runs.
    pub(crate) fn root(&self) -> u32 {
        self.streams.get(&self.context).copied().unwrap_or(self.context)
    }

    /// Headers, while the stream has them.
    pub(crate) fn map(&mut self, map: u32) -> Option<&mut Headers> {
        match (map, self.phase) {
            (REQUEST_HEADERS, Phase::Request | Phase::Log) => Some(&mut self.request),
            (RESPONSE_HEADERS, Phase::Response | Phase::Log) => Some(&mut self.response),
            (CALL_HEADERS, _) => Some(&mut self.answer),
            _ => None,
        }
    }

    /// Headers in the form in which they cross into the module.
    pub(crate) fn serialised(&mut self, map: u32) -> Option<Vec<u8>> {
        let headers = self.map(map)?;
        Some(headers.iter().map(|(name, value)| (name, value)).collect::<HeaderMap>().serialise())
    }

    /// The first value of a header.
    pub(crate) fn header(&mut self, map: u32, name: &[u8]) -> Result<Vec<u8>, Status> {
        let headers = self.map(map).ok_or(Status::BadArgument)?;
        headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).ok_or(Status::NotFound)
    }

    /// Replaces the first value of a header, or adds it.
    pub(crate) fn set_header(&mut self, map: u32, name: &[u8], value: &[u8]) -> Status {
        let Some(headers) = self.map(map) else { return Status::BadArgument };
        match headers.iter_mut().find(|(known, _)| known == name) {
            Some((_, present)) => *present = value.to_vec(),
            None => headers.push((name.to_vec(), value.to_vec())),
        }
        Status::Ok
    }

    /// Removes all values of a header.
    pub(crate) fn remove_header(&mut self, map: u32, name: &[u8]) -> Status {
        let Some(headers) = self.map(map) else { return Status::BadArgument };
        headers.retain(|(known, _)| known != name);
        Status::Ok
    }

    /// A property. `plugin_root_id` is the one that depends on who asks.
    pub(crate) fn property(&self, path: &[u8]) -> Result<Vec<u8>, Status> {
        if path == b"plugin_root_id" {
            return self.roots.get(&self.root()).map(|(name, _)| name.clone().into_bytes()).ok_or(Status::NotFound);
        }
        self.properties.get(path).cloned().ok_or(Status::NotFound)
    }

    /// Takes a request of the module's own.
    pub(crate) fn send(&mut self, body: usize, path: String) -> u32 {
        self.tokens += 1;
        self.sent_bytes += body as u64;
        self.sent.push(Sent { context: self.context, token: self.tokens, path });
        self.tokens
    }

    /// Nanoseconds since 1970. Time passes with requests, and not otherwise.
    pub(crate) fn now(&self) -> u64 {
        BEGINNING + self.milliseconds * 1_000_000
    }

    /// Milliseconds since the beginning.
    pub(crate) fn elapsed(&self) -> u64 {
        self.milliseconds
    }

    /// Lets a millisecond pass.
    pub(crate) fn wait(&mut self) {
        self.milliseconds += 1;
    }

    /// Lets more time pass.
    pub(crate) fn pass(&mut self, time: std::time::Duration) {
        self.milliseconds += time.as_millis() as u64;
    }

    /// The same numbers in each run: SplitMix64 (Steele, Lea, Flood 2014), from 0.
    pub(crate) fn random(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.random;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.extend((mixed ^ (mixed >> 31)).to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// The number of a metric.
    pub(crate) fn define_metric(&mut self, name: String) -> u32 {
        let next = self.values.len() as u32;
        let id = *self.metrics.entry(name).or_insert(next);
        if id == next {
            self.values.push(0);
        }
        id
    }

    /// The value of a metric, by name.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.metrics.get(name).and_then(|id| self.values.get(*id as usize)).copied().unwrap_or_default()
    }
}
