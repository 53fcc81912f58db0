//! One VM with its plugins, and requests through it, in the order in which Envoy calls the module.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use careplane_exchange::MapType;
use wasmtime::{Instance, Linker, Module, Store, Val};

use crate::imports::{self, State};
use crate::{Headers, Hook, Phase, Sent, World, world::claim};

/// `WasmHeadersStatus`: the request waits. Envoy takes `StopIteration` for `StopAllIterationAndWatermark` unless told
/// otherwise.
const PAUSES: [i32; 2] = [1, 4];
/// Where in `x-request-id` Envoy keeps why it traces.
const TRACE_REASON: usize = 14;

const REQUEST_HEADERS: u32 = MapType::RequestHeaders as u32;
const RESPONSE_HEADERS: u32 = MapType::ResponseHeaders as u32;

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

/// One worker's VM. What calls the module fails when it traps: the VM would be lost, and every request in it.
pub struct Proxy<H: 'static> {
    store: Store<State<H>>,
    instance: Instance,
    last_context: u32,
    requests: u64,
}

impl<H: Hook> Proxy<H> {
    /// Starts a VM; it has no plugin yet.
    ///
    /// # Errors
    /// When the module is not one for proxies, or traps.
    pub fn start(module: &Module, world: World, hook: H) -> Result<Self> {
        let mut linker = Linker::new(module.engine());
        H::link(&mut linker)?;
        imports::link(&mut linker, module)?;
        let mut store = Store::new(module.engine(), State { world, hook, memory: None });
        // Only an engine that counts instructions takes fuel.
        let _ = store.set_fuel(u64::MAX);
        let instance = linker.instantiate(&mut store, module)?;
        let memory = instance.get_memory(&mut store, "memory").context("the module has no memory")?;
        store.data_mut().memory = Some(memory);
        let mut proxy = Self { store, instance, last_context: 0, requests: 0 };
        proxy.call("_initialize", &[])?;
        Ok(proxy)
    }

    /// Starts a plugin with the policy of the [`World`]. Returns its root context, and whether it took the policy.
    pub fn create_root(&mut self, root_id: &str) -> Result<(u32, bool)> {
        let root = self.new_context();
        let world = self.world();
        world.roots.insert(root, (root_id.to_owned(), 0));
        let size = world.configuration.len() as u32;
        self.call_in(root, "proxy_on_context_create", &[root, 0])?;
        self.call_in(root, "proxy_on_vm_start", &[root, 0])?;
        let taken = self.call_in(root, "proxy_on_configure", &[root, size])?;
        Ok((root, taken != Some(0)))
    }

    /// Starts a stream of a plugin. Returns its context.
    pub fn create_stream(&mut self, root: u32) -> Result<u32> {
        let stream = self.new_context();
        self.world().streams.insert(stream, root);
        self.call_in(stream, "proxy_on_context_create", &[stream, root])?;
        Ok(stream)
    }

    /// Serves one request from the first header to the end of its stream, a millisecond after the one before, and then
    /// whatever the plugins want to do outside of streams.
    ///
    /// # Errors
    /// When the module traps, warns, or leaves the request waiting for nothing.
    pub fn serve(&mut self, request: &Request) -> Result<Served> {
        self.begin(request);
        let roots: Vec<u32> = self.world().roots.keys().copied().collect();
        let mut streams = Vec::new();
        for root in &roots {
            let stream = self.create_stream(*root)?;
            streams.push(stream);
            let headers = self.world().request.len() as u32;
            let action = self.call_in(stream, "proxy_on_request_headers", &[stream, headers, 1])?;
            if action.is_some_and(|action| PAUSES.contains(&action)) && self.world().reply.is_none() {
                self.answer_calls()?;
                let world = self.world();
                ensure!(world.resumed || world.reply.is_some(), "the module let the request wait for nothing");
            }
            if self.world().reply.is_some() {
                break;
            }
        }
        self.respond();
        for stream in streams.iter().rev() {
            let headers = self.world().response.len() as u32;
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
        self.world().streams.clear();
        self.world().phase = Phase::Outside;
        self.tick(&roots)?;
        self.ensure_no_warnings()?;
        Ok(served)
    }

    /// Fails when the module has warned since the last time.
    pub fn ensure_no_warnings(&mut self) -> Result<()> {
        let warnings = self.world().warnings();
        ensure!(warnings.is_empty(), "the module warns:\n{warnings}");
        Ok(())
    }

    fn begin(&mut self, request: &Request) {
        self.requests += 1;
        let id = format!("{:08x}-0000-4000-8000-{:012x}", request.draw, self.requests);
        let world = self.world();
        world.pass(Duration::from_millis(1));
        let bytes = |(name, value): &(String, String)| (name.clone().into_bytes(), value.clone().into_bytes());
        world.request = request.headers.iter().map(bytes).collect();
        world.request.push((b"x-request-id".to_vec(), id.into_bytes()));
        world.properties = request.claims.iter().map(|(name, value)| (claim(name), value.clone())).collect();
        world.reply = None;
        world.resumed = false;
        world.phase = Phase::Request;
    }

    /// What Envoy does between the request and the response: it decides about the trace, and tells the upstream of it.
    fn respond(&mut self) {
        let world = self.world();
        let traced = world.header(REQUEST_HEADERS, b"x-envoy-force-trace").is_ok();
        if traced && let Ok(mut id) = world.header(REQUEST_HEADERS, b"x-request-id") {
            id[TRACE_REASON] = b'a';
            world.set_header(REQUEST_HEADERS, b"x-request-id", &id);
        }
        let status = match &world.reply {
            Some((status, _)) => status.to_string(),
            None => {
                let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0{}", u8::from(traced));
                world.set_header(REQUEST_HEADERS, b"traceparent", parent.as_bytes());
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
        world.response = response.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        world.phase = Phase::Response;
    }

    /// What Envoy knows when a stream is over.
    fn finish(&mut self) {
        let world = self.world();
        world.phase = Phase::Log;
        let (status, details) = world.reply.clone().unwrap_or((200, "via_upstream".to_owned()));
        world.end_stream(status.into(), details.into_bytes());
    }

    fn served(&mut self) -> Served {
        let world = self.world();
        let status = world.header(RESPONSE_HEADERS, b":status").ok();
        let status = status.and_then(|status| String::from_utf8(status).ok()?.parse().ok()).unwrap_or_default();
        let id = world.header(REQUEST_HEADERS, b"x-request-id").unwrap_or_default();
        let record = world.properties.get(&b"wasm.careplane.audit"[..]);
        Served {
            status,
            traced: id.get(TRACE_REASON) == Some(&b'a'),
            record: record.map(|record| String::from_utf8_lossy(record).into_owned()),
        }
    }

    /// Calls the plugins that want to be called: at once, or when their period is over.
    fn tick(&mut self, roots: &[u32]) -> Result<()> {
        for root in roots {
            let now = self.world().elapsed();
            let period = self.world().roots.get(root).map_or(0, |(_, period)| *period);
            if period > 0 && now.is_multiple_of(period.into()) {
                self.call_in(*root, "proxy_on_tick", &[*root])?;
            }
        }
        self.answer_calls()
    }

    /// Answers what the module has sent, as a collector that takes everything.
    fn answer_calls(&mut self) -> Result<()> {
        while let Some(sent) = self.world().sent.pop() {
            self.answer(&sent, Vec::new())?;
        }
        Ok(())
    }

    /// Answers a request of the module with status 200 and this body.
    pub fn answer(&mut self, sent: &Sent, body: Vec<u8>) -> Result<()> {
        let size = body.len() as u32;
        let world = self.world();
        world.answer = Headers::from([(b":status".to_vec(), b"200".to_vec())]);
        world.answer_body = body;
        let arguments = [sent.root, sent.token, 1, size, 0];
        self.call_in(sent.root, "proxy_on_http_call_response", &arguments)?;
        self.world().answer_body.clear();
        Ok(())
    }

    fn new_context(&mut self) -> u32 {
        self.last_context += 1;
        self.last_context
    }

    pub fn world(&mut self) -> &mut World {
        &mut self.store.data_mut().world
    }

    pub fn hook(&mut self) -> &mut H {
        &mut self.store.data_mut().hook
    }

    /// Bytes of linear memory, which never shrinks.
    pub fn memory(&self) -> u64 {
        self.store.data().memory.map_or(0, |memory| memory.data_size(&self.store) as u64)
    }

    /// Instructions of the module since the last time, or since the start.
    ///
    /// # Errors
    /// When the engine does not count them.
    pub fn take_instructions(&mut self) -> Result<u64> {
        let used = u64::MAX - self.store.get_fuel()?;
        self.store.set_fuel(u64::MAX)?;
        Ok(used)
    }

    /// Calls an export for a context: what the module calls meanwhile is about that one.
    pub fn call_in(&mut self, context: u32, name: &str, arguments: &[u32]) -> Result<Option<i32>> {
        self.world().context = context;
        self.call(name, arguments)
    }

    /// Calls an export of the module. One that is not there is not called, as in Envoy.
    pub fn call(&mut self, name: &str, arguments: &[u32]) -> Result<Option<i32>> {
        let Some(function) = self.instance.get_func(&mut self.store, name) else { return Ok(None) };
        self.hook().callback(name);
        let arguments: Vec<Val> = arguments.iter().map(|argument| Val::I32(argument.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        let called = function.call(&mut self.store, &arguments, &mut results);
        called.map_err(anyhow::Error::from).with_context(|| {
            format!("{name}{arguments:?} trapped; the log says: {:?}", self.store.data().world.log.last())
        })?;
        match results.first() {
            None => Ok(None),
            Some(Val::I32(result)) => Ok(Some(*result)),
            Some(other) => bail!("{name} returned {other:?}: expected an i32"),
        }
    }
}
