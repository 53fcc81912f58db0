//! One VM with its plugins, and requests through it, in the order in which Envoy calls the module.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use wasmtime::{Config, Engine, Instance, Linker, Module, OptLevel, Store, Val};

use crate::host::{Headers, Phase, REQUEST_HEADERS, RESPONSE_HEADERS, State, Tally};
use crate::{imports, profile};

/// `WasmHeadersStatus`: the request waits.
const PAUSE: i32 = 4;
/// Where `jwt_authn` leaves the claims.
const CLAIMS: &[u8] = b"metadata\0filter_metadata\0envoy.filters.http.jwt_authn\0payload\0";
/// Where in `x-request-id` Envoy keeps why it traces.
const TRACE_REASON: usize = 14;

/// A module, compiled so that it counts its instructions.
pub struct Compiled {
    engine: Engine,
    module: Module,
    /// The functions of an instrumented module; see [`profile`].
    functions: Vec<profile::Function>,
}

/// A request as it comes out of the filters before careplane.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Names in lower case, pseudo-headers first; `x-request-id` is added.
    pub headers: Vec<(String, String)>,
    /// Claims of a verified token, as the proxy hands them over; the parts of a nested name have NUL between them.
    pub claims: Vec<(&'static str, Vec<u8>)>,
    /// Envoy's random number for sampling: 0 to 9,999.
    pub draw: u32,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The HTTP status that the caller got.
    pub status: u32,
    /// Whether its trace is kept.
    pub traced: bool,
    /// The audit record in the filter state.
    pub record: Option<String>,
}

/// What the answer to one call took.
#[derive(Clone, Debug)]
pub struct Callback {
    /// What was asked for.
    pub path: String,
    /// Instructions of the module.
    pub instructions: u64,
    /// How long it took here.
    pub time: Duration,
}

/// One worker's VM.
pub struct Proxy {
    store: Store<State>,
    instance: Instance,
    next_context: u32,
    requests: u64,
}

// === impl Compiled ===

impl Compiled {
    /// Compiles the module in `file`.
    ///
    /// # Errors
    /// When it cannot be read, or is no WebAssembly module.
    pub fn load(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::new(&bytes, Vec::new()).with_context(|| format!("{} cannot be compiled", file.display()))
    }

    /// The same, compiled to code that is fast: for times.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_fast(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut config = Config::new();
        config.consume_fuel(true).cranelift_opt_level(OptLevel::Speed);
        let engine = Engine::new(&config)?;
        Ok(Self { module: Module::new(&engine, &bytes)?, engine, functions: Vec::new() })
    }

    pub(crate) fn new(bytes: &[u8], functions: Vec<profile::Function>) -> Result<Self> {
        let mut config = Config::new();
        // What is counted are the instructions of the module; how fast they run here does not matter.
        config.consume_fuel(true).cranelift_opt_level(OptLevel::None);
        let engine = Engine::new(&config)?;
        Ok(Self { module: Module::new(&engine, bytes)?, engine, functions })
    }
}

// === impl Proxy ===

impl Proxy {
    /// Starts a VM as a worker does, and gives each of `plugins` (root ids, in the order of the chain) the policy.
    ///
    /// # Errors
    /// When the module is not one for proxies, refuses the policy, or warns.
    pub fn start(compiled: &Compiled, plugins: &[&str], policy: &str) -> Result<Self> {
        let mut linker = Linker::new(&compiled.engine);
        imports::link(&mut linker)?;
        profile::link(&mut linker)?;
        linker.define_unknown_imports_as_traps(&compiled.module)?;
        let mut state = State::default();
        state.environment.push("CAREPLANE_PSEUDONYM_KEY=a key of the benchmark, known to all".to_owned());
        state.configuration = policy.into();
        state.profiler = (!compiled.functions.is_empty()).then(|| profile::Profiler::new(&compiled.functions));
        let mut store = Store::new(&compiled.engine, state);
        store.set_fuel(u64::MAX)?;
        let instance = linker.instantiate(&mut store, &compiled.module)?;
        store.data_mut().memory = Some(instance.get_memory(&mut store, "memory").context("the module has no memory")?);
        store.data_mut().allocate = Some(instance.get_typed_func(&mut store, "proxy_on_memory_allocate")?);
        let mut proxy = Self { store, instance, next_context: 1, requests: 0 };
        proxy.call("_initialize", &[])?;
        for plugin in plugins {
            let root = proxy.new_context();
            proxy.state().roots.insert(root, ((*plugin).to_owned(), 0));
            proxy.state().context = root;
            proxy.call("proxy_on_context_create", &[root, 0])?;
            proxy.call("proxy_on_vm_start", &[root, 0])?;
            let taken = proxy.call("proxy_on_configure", &[root, policy.len() as u32])?;
            let log = proxy.state().log.join("\n");
            ensure!(taken != Some(0), "the module refuses the policy:\n{log}");
            ensure!(log.is_empty(), "the module warns of the policy:\n{log}");
        }
        Ok(proxy)
    }

    /// Instructions and calls since the last time, or since the start.
    ///
    /// # Errors
    /// When there is no counter.
    pub fn take(&mut self) -> Result<(u64, Tally)> {
        let used = u64::MAX - self.store.get_fuel()?;
        self.store.set_fuel(u64::MAX)?;
        Ok((used, std::mem::take(&mut self.state().tally)))
    }

    /// What was profiled since the last time, if the module is instrumented.
    pub fn take_profile(&mut self) -> Option<profile::Profile> {
        self.state().profiler.as_mut().map(profile::Profiler::take)
    }

    /// Bytes of the module's memory.
    pub fn memory(&mut self) -> u64 {
        self.state().memory.map_or(0, |memory| memory.data_size(&self.store) as u64)
    }

    /// The value of a metric.
    pub fn metric(&mut self, name: &str) -> u64 {
        self.state().metric(name)
    }

    /// Serves one request from the first header to the end of its stream, a millisecond after the one before, and then whatever
    /// the plugins want to do outside of streams.
    ///
    /// # Errors
    /// When the module traps, warns, or leaves the request waiting for nothing.
    pub fn serve(&mut self, request: &Request) -> Result<Served> {
        self.begin(request);
        let roots: Vec<u32> = self.state().roots.keys().copied().collect();
        let mut streams = Vec::new();
        for root in &roots {
            let stream = self.create_stream(*root)?;
            streams.push(stream);
            let headers = self.state().request.len() as u32;
            let action = self.call_in(stream, "proxy_on_request_headers", &[stream, headers, 1])?;
            if action == Some(PAUSE) && self.state().reply.is_none() {
                self.answer_calls()?;
                let state = self.state();
                ensure!(state.resumed || state.reply.is_some(), "the module let the request wait for nothing");
            }
            if self.state().reply.is_some() {
                break;
            }
        }
        self.respond();
        for stream in streams.iter().rev() {
            let headers = self.state().response.len() as u32;
            self.call_in(*stream, "proxy_on_response_headers", &[*stream, headers, 1])?;
        }
        self.finish();
        // A filter that never saw the request is told of its end all the same.
        for root in &roots[streams.len()..] {
            streams.push(self.create_stream(*root)?);
        }
        for stream in &streams {
            self.call_in(*stream, "proxy_on_log", &[*stream])?;
        }
        for stream in &streams {
            self.call_in(*stream, "proxy_on_done", &[*stream])?;
            self.call_in(*stream, "proxy_on_delete", &[*stream])?;
        }
        let served = self.served();
        self.state().streams.clear();
        self.state().phase = Phase::Outside;
        self.tick(&roots)?;
        let log = self.state().log.join("\n");
        ensure!(log.is_empty(), "the module warns:\n{log}");
        Ok(served)
    }

    fn begin(&mut self, request: &Request) {
        self.requests += 1;
        let id = format!("{:08x}-0000-4000-8000-{:012x}", request.draw, self.requests);
        let state = self.state();
        state.wait();
        let bytes = |(name, value): &(String, String)| (name.clone().into_bytes(), value.clone().into_bytes());
        state.request = request.headers.iter().map(bytes).collect();
        state.request.push((b"x-request-id".to_vec(), id.into_bytes()));
        state.properties =
            request.claims.iter().map(|(name, value)| ([CLAIMS, name.as_bytes()].concat(), value.clone())).collect();
        state.reply = None;
        state.resumed = false;
        state.phase = Phase::Request;
    }

    /// What Envoy does between the request and the response: it decides about the trace, and tells the upstream of it.
    fn respond(&mut self) {
        let state = self.state();
        let traced = state.header(REQUEST_HEADERS, b"x-envoy-force-trace").is_ok();
        if traced && let Ok(mut id) = state.header(REQUEST_HEADERS, b"x-request-id") {
            id[TRACE_REASON] = b'a';
            state.set_header(REQUEST_HEADERS, b"x-request-id", &id);
        }
        let status = match &state.reply {
            Some((status, _)) => status.to_string(),
            None => {
                let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0{}", u8::from(traced));
                state.set_header(REQUEST_HEADERS, b"traceparent", parent.as_bytes());
                "200".to_owned()
            }
        };
        let response: [(&[u8], &[u8]); 5] = [
            (b":status", status.as_bytes()),
            (b"content-type", b"application/json"),
            (b"content-length", b"512"),
            (b"date", b"Fri, 02 Jan 2026 03:04:05 GMT"),
            (b"server", b"envoy"),
        ];
        state.response = response.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        state.phase = Phase::Response;
    }

    /// What Envoy knows when a stream is over.
    fn finish(&mut self) {
        let state = self.state();
        state.phase = Phase::Log;
        let (status, details) = state.reply.clone().unwrap_or((200, "via_upstream".to_owned()));
        let number = |number: u64| number.to_le_bytes().to_vec();
        let now = state.now();
        let facts: [(&[u8], Vec<u8>); 7] = [
            (b"request\0time", number(now)),
            (b"request\0duration", number(12_345_678)),
            (b"response\0code", number(status.into())),
            (b"response\0code_details", details.into_bytes()),
            (b"response\0flags", number(0)),
            (b"upstream\0request_attempt_count", number(state.reply.is_none().into())),
            (b"xds\0cluster_name", b"outbound|80||resident-service.core-healthcare.svc.cluster.local".to_vec()),
        ];
        state.properties.extend(facts.map(|(path, value)| (path.to_vec(), value)));
    }

    fn served(&mut self) -> Served {
        let state = self.state();
        let status = state.header(RESPONSE_HEADERS, b":status").ok();
        let status = status.and_then(|status| String::from_utf8(status).ok()?.parse().ok()).unwrap_or_default();
        let id = state.header(REQUEST_HEADERS, b"x-request-id").unwrap_or_default();
        let record = state.properties.get(&b"wasm.careplane.audit"[..]);
        Served {
            status,
            traced: id.get(TRACE_REASON) == Some(&b'a'),
            record: record.map(|record| String::from_utf8_lossy(record).into_owned()),
        }
    }

    /// Calls the plugins that want to be called: at once, or when their period is over.
    fn tick(&mut self, roots: &[u32]) -> Result<()> {
        for root in roots {
            let now = self.state().elapsed();
            let period = self.state().roots.get(root).map_or(0, |(_, period)| *period);
            if period > 0 && now.is_multiple_of(period.into()) {
                self.call_in(*root, "proxy_on_tick", &[*root])?;
            }
        }
        self.answer_calls()
    }

    /// Lets time pass, and answers what the plugins ask of a web server that has these files, until they ask for nothing more.
    ///
    /// # Errors
    /// When the module traps, warns, or asks for a file that is not there.
    pub fn fetch(&mut self, files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<Callback>> {
        let mut callbacks = Vec::new();
        // Longer than the interval of any policy here.
        self.state().pass(Duration::from_secs(3_600));
        self.take()?;
        for root in self.state().roots.keys().copied().collect::<Vec<_>>() {
            self.call_in(root, "proxy_on_tick", &[root])?;
        }
        while let Some(sent) = self.state().sent.pop() {
            let body = files.get(&sent.path).with_context(|| format!("{} is asked for", sent.path))?.clone();
            let size = body.len() as u32;
            self.state().answer = Headers::from([(b":status".to_vec(), b"200".to_vec())]);
            self.state().answer_body = body;
            self.take()?;
            let began = Instant::now();
            let arguments = [sent.context, sent.token, 1, size, 0];
            self.call_in(sent.context, "proxy_on_http_call_response", &arguments)?;
            let time = began.elapsed();
            let (instructions, _) = self.take()?;
            callbacks.push(Callback { path: sent.path, instructions, time });
        }
        self.state().answer_body.clear();
        let log = self.state().log.join("\n");
        ensure!(log.is_empty(), "the module warns:\n{log}");
        Ok(callbacks)
    }

    /// Answers what the module has sent, as a collector that takes everything.
    fn answer_calls(&mut self) -> Result<()> {
        while let Some(sent) = self.state().sent.pop() {
            self.state().answer = Headers::from([(b":status".to_vec(), b"200".to_vec())]);
            let headers = self.state().answer.len() as u32;
            self.call_in(sent.context, "proxy_on_http_call_response", &[sent.context, sent.token, headers, 0, 0])?;
        }
        Ok(())
    }

    fn create_stream(&mut self, root: u32) -> Result<u32> {
        let stream = self.new_context();
        self.state().streams.insert(stream, root);
        self.call_in(stream, "proxy_on_context_create", &[stream, root])?;
        Ok(stream)
    }

    fn new_context(&mut self) -> u32 {
        let context = self.next_context;
        self.next_context += 1;
        context
    }

    fn state(&mut self) -> &mut State {
        self.store.data_mut()
    }

    fn call_in(&mut self, context: u32, name: &str, arguments: &[u32]) -> Result<Option<i32>> {
        self.state().context = context;
        self.call(name, arguments)
    }

    /// Calls an export of the module. One that is not there is not called, as in Envoy.
    fn call(&mut self, name: &str, arguments: &[u32]) -> Result<Option<i32>> {
        let Some(function) = self.instance.get_func(&mut self.store, name) else { return Ok(None) };
        *self.state().tally.callbacks.entry(name.to_owned()).or_default() += 1;
        let arguments: Vec<Val> = arguments.iter().map(|argument| Val::I32(*argument as i32)).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        let called = function.call(&mut self.store, &arguments, &mut results);
        called.map_err(anyhow::Error::from).with_context(|| format!("in {name}"))?;
        match results.first() {
            None => Ok(None),
            Some(Val::I32(result)) => Ok(Some(*result)),
            Some(other) => bail!("{name} returned {other:?}: expected an i32"),
        }
    }
}
