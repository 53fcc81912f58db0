//! What the proxy knows: what Envoy 1.40 would answer, from memory.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use careplane_exchange::{HeaderMap, MapType};

use crate::{Call, Out, Reply, Status};

/// `WasmHeaderMapType` of the answer to a call of the module's own.
const CALL_HEADERS: u32 = 6;
/// `WasmBufferType` of the answer to a call of the module's own.
const CALL_BODY: u32 = 4;
/// `WasmBufferType` of the policy.
const PLUGIN_CONFIGURATION: u32 = 7;
/// `LogLevel`.
const WARNING: u32 = 3;
/// 2026-01-02T03:04:05.678Z in nanoseconds.
const BEGINNING: u64 = 1_767_323_045_678_000_000;

const REQUEST_HEADERS: u32 = MapType::RequestHeaders as u32;
const RESPONSE_HEADERS: u32 = MapType::ResponseHeaders as u32;

/// Headers in the order in which they came; names in lower case.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// A request that the module sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The plugin that sent it, or whose stream did: it has the answer, and outlives the stream.
    pub root: u32,
    /// The number under which its answer comes.
    pub token: u32,
    /// `:path`
    pub path: String,
}

/// What a stream has been through so far: it decides which maps there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
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

/// What the proxy knows while the module runs.
#[derive(Debug, Default)]
pub struct World {
    /// The environment of the VM, `NAME=value`.
    pub environment: Vec<String>,
    pub configuration: Vec<u8>,
    /// The context whose callback runs.
    pub context: u32,
    /// Root contexts: their `root_id`, and how often they want to be called, in milliseconds.
    pub roots: BTreeMap<u32, (String, u32)>,
    /// Stream contexts, and their roots.
    pub streams: BTreeMap<u32, u32>,

    pub phase: Phase,
    pub request: Headers,
    pub response: Headers,
    /// By path, its parts separated by NUL.
    pub properties: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The status of the answer that the module sent in place of the upstream's, and its details.
    pub reply: Option<(u32, String)>,
    /// Whether the module let a paused request go on.
    pub resumed: bool,

    /// Requests of the module's own that have no answer yet.
    pub sent: Vec<Sent>,
    /// Headers of the answer to one of them.
    pub answer: Headers,
    /// Its body.
    pub answer_body: Vec<u8>,
    /// What was logged: the level, and the line.
    pub log: Vec<(u32, String)>,
    metrics: BTreeMap<String, u32>,
    values: Vec<u64>,
    tokens: u32,
    random: u64,
    milliseconds: u64,
    /// How far the wall clock has been set back, in milliseconds.
    set_back: u64,
}

// === impl World ===

impl World {
    /// That of a proxy whose plugins all have this policy.
    #[must_use]
    pub fn new(policy: &str) -> Self {
        Self { configuration: policy.into(), ..Self::default() }
    }

    /// Answers a call as Envoy does.
    ///
    /// # Errors
    /// When no proxy would take it: the module ends itself, or what should be text is not UTF-8.
    pub fn answer(&mut self, call: &Call<'_>) -> Result<Reply> {
        let number = |number: u64| Reply::ok(Out::Number(number));
        Ok(match call.name {
            "proxy_log" => {
                self.log.push((call.number(0), text(call.bytes(0))?));
                Status::Ok.into()
            }
            "proxy_get_log_level" => number(WARNING.into()),
            "proxy_get_current_time_nanoseconds" => number(self.now() - self.set_back * 1_000_000),
            "clock_time_get" => number(self.now()),
            "proxy_get_buffer_bytes" => self.buffer(call.number(0), call.number(1), call.number(2)).into(),
            "proxy_get_header_map_pairs" => self.serialised(call.number(0)).ok_or(Status::BadArgument).into(),
            "proxy_get_header_map_value" => self.header(call.number(0), call.bytes(0)).into(),
            "proxy_replace_header_map_value" => self.set_header(call.number(0), call.bytes(0), call.bytes(1)).into(),
            "proxy_remove_header_map_value" => self.remove_header(call.number(0), call.bytes(0)).into(),
            "proxy_get_property" => self.property(call.bytes(0)).into(),
            "proxy_set_property" => {
                text(call.bytes(1))?;
                self.properties.insert([b"wasm.", call.bytes(0)].concat(), call.bytes(1).to_vec());
                Status::Ok.into()
            }
            "proxy_send_local_response" => {
                self.reply = Some((call.number(0), text(call.bytes(0))?));
                Status::Ok.into()
            }
            "proxy_continue_stream" => {
                self.resumed = true;
                Status::Ok.into()
            }
            "proxy_close_stream" => Status::Ok.into(),
            "proxy_set_effective_context" => {
                self.context = call.number(0);
                Status::Ok.into()
            }
            "proxy_set_tick_period_milliseconds" => {
                let root = self.root();
                if let Some((_, period)) = self.roots.get_mut(&root) {
                    *period = call.number(0);
                }
                Status::Ok.into()
            }
            "proxy_http_call" => number(self.send(call.bytes(1)).into()),
            "proxy_define_metric" => number(self.define_metric(text(call.bytes(0))?).into()),
            "proxy_increment_metric" => {
                let by = call.numbers.get(1).copied().unwrap_or_default().cast_signed();
                self.change_metric(call.number(0), |value| value.saturating_add_signed(by))
            }
            "proxy_record_metric" => {
                let to = call.numbers.get(1).copied().unwrap_or_default();
                self.change_metric(call.number(0), |_| to)
            }
            "random_get" => Reply::ok(Out::Bytes(self.random(call.number(0) as usize))),
            "fd_write" => bail!("the module wrote to standard output or error: a panic, most likely"),
            "proc_exit" => bail!("the module ended itself with code {}", call.number(0)),
            name => bail!("this proxy has no {name}"),
        })
    }

    /// What Envoy knows when a stream is over.
    pub fn end_stream(&mut self, status: u64, details: Vec<u8>) {
        let number = |number: u64| number.to_le_bytes().to_vec();
        let facts: [(&[u8], Vec<u8>); 7] = [
            (b"request\0time", number(self.now())),
            (b"request\0duration", number(12_345_678)),
            (b"response\0code", number(status)),
            (b"response\0code_details", details),
            (b"response\0flags", number(0)),
            (b"upstream\0request_attempt_count", number(self.reply.is_none().into())),
            (b"xds\0cluster_name", b"outbound|80||resident-service.core-healthcare.svc.cluster.local".to_vec()),
        ];
        self.properties.extend(facts.map(|(path, value)| (path.to_vec(), value)));
    }

    /// The root context of the context whose callback runs.
    fn root(&self) -> u32 {
        self.streams.get(&self.context).copied().unwrap_or(self.context)
    }

    fn buffer(&self, buffer: u32, start: u32, max: u32) -> std::result::Result<Vec<u8>, Status> {
        let bytes = match buffer {
            PLUGIN_CONFIGURATION => &self.configuration,
            CALL_BODY => &self.answer_body,
            _ => return Err(Status::NotFound),
        };
        Ok(bytes.iter().copied().skip(start as usize).take(max as usize).collect())
    }

    /// Headers, while the stream has them.
    fn map(&mut self, map: u32) -> Option<&mut Headers> {
        match (map, self.phase) {
            (REQUEST_HEADERS, Phase::Request | Phase::Log) => Some(&mut self.request),
            (RESPONSE_HEADERS, Phase::Response | Phase::Log) => Some(&mut self.response),
            (CALL_HEADERS, _) => Some(&mut self.answer),
            _ => None,
        }
    }

    /// Headers in the form in which they cross into the module.
    fn serialised(&mut self, map: u32) -> Option<Vec<u8>> {
        let headers = self.map(map)?;
        Some(headers.iter().map(|(name, value)| (name, value)).collect::<HeaderMap>().serialise())
    }

    /// The first value of a header in the map with this number.
    ///
    /// # Errors
    /// When the map or the header is not there.
    pub fn header(&mut self, map: u32, name: &[u8]) -> std::result::Result<Vec<u8>, Status> {
        let headers = self.map(map).ok_or(Status::BadArgument)?;
        headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).ok_or(Status::NotFound)
    }

    /// Replaces the first value of a header, or adds it.
    pub fn set_header(&mut self, map: u32, name: &[u8], value: &[u8]) -> Status {
        let Some(headers) = self.map(map) else { return Status::BadArgument };
        match headers.iter_mut().find(|(known, _)| known == name) {
            Some((_, present)) => *present = value.to_vec(),
            None => headers.push((name.to_vec(), value.to_vec())),
        }
        Status::Ok
    }

    /// Removes all values of a header.
    fn remove_header(&mut self, map: u32, name: &[u8]) -> Status {
        let Some(headers) = self.map(map) else { return Status::BadArgument };
        headers.retain(|(known, _)| known != name);
        Status::Ok
    }

    /// A property. `plugin_root_id` is the one that depends on who asks.
    fn property(&self, path: &[u8]) -> std::result::Result<Vec<u8>, Status> {
        if path == b"plugin_root_id" {
            return self.roots.get(&self.root()).map(|(name, _)| name.clone().into_bytes()).ok_or(Status::NotFound);
        }
        self.properties.get(path).cloned().ok_or(Status::NotFound)
    }

    /// Takes a request of the module's own.
    fn send(&mut self, headers: &[u8]) -> u32 {
        let headers = HeaderMap::new(headers.to_vec()).unwrap_or_default();
        let path = headers.iter().find(|(name, _)| *name == b":path").map(|(_, path)| path).unwrap_or_default();
        self.tokens += 1;
        let path = String::from_utf8_lossy(path).into_owned();
        self.sent.push(Sent { root: self.root(), token: self.tokens, path });
        self.tokens
    }

    /// Nanoseconds since 1970. Time passes by [`pass`](Self::pass) alone.
    fn now(&self) -> u64 {
        BEGINNING + self.milliseconds * 1_000_000
    }

    /// Milliseconds since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> u64 {
        self.milliseconds
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        self.milliseconds += time.as_millis() as u64;
    }

    /// Sets the wall clock back; the clock that only ever rises goes on.
    pub fn set_back(&mut self, by: Duration) {
        self.set_back += by.as_millis() as u64;
    }

    /// The same numbers in each run: SplitMix64 (Steele, Lea, Flood 2014), from 0.
    fn random(&mut self, length: usize) -> Vec<u8> {
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
    fn define_metric(&mut self, name: String) -> u32 {
        let next = self.values.len() as u32;
        let id = *self.metrics.entry(name).or_insert(next);
        if id == next {
            self.values.push(0);
        }
        id
    }

    fn change_metric(&mut self, id: u32, change: impl FnOnce(u64) -> u64) -> Reply {
        let Some(value) = self.values.get_mut(id as usize) else { return Status::NotFound.into() };
        *value = change(*value);
        Status::Ok.into()
    }

    /// The value of a metric, by name.
    #[must_use]
    pub fn metric(&self, name: &str) -> u64 {
        self.metrics.get(name).and_then(|id| self.values.get(*id as usize)).copied().unwrap_or_default()
    }

    /// What was logged at warning or above since the last time, without checkpoints of the chain; forgets the log.
    pub fn warnings(&mut self) -> String {
        let lines = self.log.drain(..).filter(|(level, line)| *level >= WARNING && !is_checkpoint(line));
        lines.map(|(_, line)| line).collect::<Vec<_>>().join("\n")
    }
}

/// Whether a line is no worry, but a checkpoint of the chain, which the proxy's log has in any case.
fn is_checkpoint(line: &str) -> bool {
    [r#""kind":"start""#, r#""kind":"head""#, r#""kind":"end""#].iter().any(|kind| line.contains(kind))
}

/// The path of a claim that `jwt_authn` has verified; the parts of a nested name have NUL between them.
#[must_use]
pub fn claim(name: &str) -> Vec<u8> {
    [b"metadata\0filter_metadata\0envoy.filters.http.jwt_authn\0payload\0", name.as_bytes()].concat()
}

fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).context("the module handed over text that is not UTF-8")
}
