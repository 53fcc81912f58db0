//! A proxy that lies: proxy-wasm ABI 0.2.1 around the real module, in wasmtime.
//!
//! What it cannot do is what no proxy can: hand over a block of another size than it asked the module for, or write outside it.
//! Everything else is for it to choose: statuses, bytes, numbers, which callback comes next, and for whom.

use anyhow::{Context as _, Result, bail};
use fastrand::Rng;
use wasmtime::{Caller, Engine, Extern, Instance, Linker, Memory, Module, Store, TypedFunc, Val};

/// A page of WebAssembly memory.
const PAGE: u64 = 65_536;

/// What the proxy is like.
#[derive(Debug, Clone)]
pub struct Manners {
    /// Percent of the calls that are not answered as a proxy should.
    pub lies: u8,
    /// `pluginName` of each root; `configuration` for all.
    pub plugins: Vec<&'static str>,
    /// The policy.
    pub configuration: Vec<u8>,
    /// The headers of requests, beside `:method` and `:path`.
    pub headers: Vec<(&'static [u8], Vec<u8>)>,
    /// The longest lie, in bytes.
    pub longest: usize,
}

/// What the proxy knows while the module runs.
pub struct State {
    pub rng: Rng,
    pub manners: Manners,
    /// The root of the present callback, as far as the module can tell.
    pub plugin: usize,
    /// Calls of the module to the outside, by the context that made them.
    pub calls: Vec<(u32, u32)>,
    pub context: u32,
    /// Lines of the proxy's log.
    pub log: Vec<String>,
    /// Records in filter state.
    pub records: Vec<String>,
    pub replies: usize,
    nanos: u64,
    next_call: u32,
}

/// A VM with the module in it.
pub struct Proxy {
    store: Store<State>,
    instance: Instance,
    memory: Memory,
}

impl Proxy {
    pub fn start(engine: &Engine, module: &Module, manners: Manners, seed: u64) -> Result<Self> {
        let state = State {
            rng: Rng::with_seed(seed),
            manners,
            plugin: 0,
            calls: Vec::new(),
            context: 0,
            log: Vec::new(),
            records: Vec::new(),
            replies: 0,
            nanos: 1_767_323_045_000_000_000,
            next_call: 0,
        };
        let mut store = Store::new(engine, state);
        let linker = linker(engine, module)?;
        let instance = linker.instantiate(&mut store, module)?;
        let memory = instance.get_memory(&mut store, "memory").context("the module exports no memory")?;
        let mut proxy = Self { store, instance, memory };
        proxy.call("_initialize", &[])?;
        Ok(proxy)
    }

    /// A callback. An error is a trap: the VM would be lost, and every request in it.
    pub fn call(&mut self, name: &str, arguments: &[u32]) -> Result<u32> {
        let function = self.instance.get_func(&mut self.store, name).with_context(|| format!("no export {name}"))?;
        let arguments: Vec<Val> = arguments.iter().map(|argument| Val::I32(argument.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        let outcome = function.call(&mut self.store, &arguments, &mut results);
        outcome.map_err(anyhow::Error::from).with_context(|| {
            format!("{name}{arguments:?} trapped; the log says: {:?}", self.store.data().log.last())
        })?;
        Ok(results.first().and_then(Val::i32).unwrap_or_default().cast_unsigned())
    }

    pub fn state(&mut self) -> &mut State {
        self.store.data_mut()
    }

    /// Bytes of linear memory, which never shrinks.
    pub fn memory(&self) -> u64 {
        self.memory.size(&self.store) * PAGE
    }
}

/// An import for each function that the module wants, whatever it is.
fn linker(engine: &Engine, module: &Module) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    for import in module.imports() {
        let Some(function) = import.ty().func().cloned() else { bail!("{} is no function", import.name()) };
        let name = import.name().to_owned();
        linker.func_new(import.module(), import.name(), function, move |caller, arguments, results| {
            let arguments: Vec<u32> = arguments.iter().filter_map(low).collect();
            let status = answer(caller, &name, &arguments).map_err(wasmtime::Error::from_anyhow)?;
            if let Some(result) = results.first_mut() {
                *result = Val::I32(status.cast_signed());
            }
            Ok(())
        })?;
    }
    Ok(linker)
}

/// The low half of an argument: sizes and addresses are 32 bits.
fn low(value: &Val) -> Option<u32> {
    match value {
        Val::I32(number) => Some(number.cast_unsigned()),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "only the low half is looked at")]
        Val::I64(number) => Some(*number as u32),
        _ => None,
    }
}

/// The address and the size where a call that hands over bytes wants them, by its arguments.
fn out(name: &str, arguments: &[u32]) -> Option<[u32; 2]> {
    let hands_over =
        ["proxy_get_buffer_bytes", "proxy_get_header_map_pairs", "proxy_get_header_map_value", "proxy_get_property"];
    hands_over.contains(&name).then(|| [arguments[arguments.len() - 2], arguments[arguments.len() - 1]])
}

/// What the proxy does about a host call; returns its status.
fn answer(mut caller: Caller<'_, State>, name: &str, arguments: &[u32]) -> Result<u32> {
    let lies = caller.data_mut().lies();
    if let Some(out) = out(name, arguments) {
        let what = asked(&mut caller, name, arguments)?;
        let found = if lies { caller.data_mut().lie(&what) } else { caller.data_mut().truth(name, &what) };
        return match found {
            Ok(bytes) => hand_over(&mut caller, out, &bytes).map(|()| 0),
            Err(status) => {
                if caller.data_mut().rng.bool() {
                    // Nobody may look at this.
                    write(&mut caller, out[0], &[0xff; 4])?;
                    write(&mut caller, out[1], &[0xff; 4])?;
                }
                Ok(status)
            }
        };
    }
    match (name, arguments) {
        ("proc_exit", _) => bail!("the module ended itself"),
        ("environ_sizes_get", [count, size]) => {
            write(&mut caller, *count, &[0; 4])?;
            write(&mut caller, *size, &[0; 4])?;
            Ok(0)
        }
        ("environ_get", _) => Ok(0),
        ("fd_write", _) => Ok(8),
        ("random_get", [address, size]) => {
            if lies {
                return Ok(29);
            }
            let bytes: Vec<u8> = (0..*size).map(|_| caller.data_mut().rng.u8(..)).collect();
            write(&mut caller, *address, &bytes)?;
            Ok(0)
        }
        ("proxy_log", [_, address, size]) => {
            let line = String::from_utf8(read(&mut caller, *address, *size)?).context("a log line is not UTF-8")?;
            caller.data_mut().log.push(line);
            Ok(if lies { caller.data_mut().status() } else { 0 })
        }
        _ if lies => {
            let state = caller.data_mut();
            // It may also say that it did what it did not do.
            let status = if state.rng.bool() { 0 } else { state.status() };
            let number = state.rng.u64(..);
            match (name, arguments) {
                ("proxy_get_current_time_nanoseconds", [address]) => {
                    write(&mut caller, *address, &number.to_le_bytes())?
                }
                // The number of a call that was made before, or that never was.
                ("proxy_http_call", [.., address]) | ("proxy_define_metric", [.., address]) => {
                    write(&mut caller, *address, &(number % 64).to_le_bytes()[..4])?;
                }
                _ => {}
            }
            Ok(status)
        }
        ("proxy_get_current_time_nanoseconds", [address]) => {
            let state = caller.data_mut();
            state.nanos += 1_000_000;
            let nanos = state.nanos.to_le_bytes();
            write(&mut caller, *address, &nanos).map(|()| 0)
        }
        ("proxy_set_effective_context", [context]) => {
            caller.data_mut().context = *context;
            Ok(0)
        }
        ("proxy_http_call", [.., address]) => {
            let state = caller.data_mut();
            state.next_call += 1;
            let call = state.next_call;
            state.calls.push((state.context, call));
            write(&mut caller, *address, &call.to_le_bytes()).map(|()| 0)
        }
        ("proxy_define_metric", [.., address]) => write(&mut caller, *address, &7_u32.to_le_bytes()).map(|()| 0),
        ("proxy_set_property", [_, _, address, size]) => {
            let value = read(&mut caller, *address, *size)?;
            if value.starts_with(b"{") {
                let record = String::from_utf8(value).context("a record is not UTF-8")?;
                caller.data_mut().records.push(record);
            }
            Ok(0)
        }
        ("proxy_send_local_response", _) => {
            caller.data_mut().replies += 1;
            Ok(0)
        }
        _ => Ok(0),
    }
}

/// What the module asks for, as text: of a property its path, of a header its name.
fn asked(caller: &mut Caller<'_, State>, name: &str, arguments: &[u32]) -> Result<String> {
    let (address, size) = match (name, arguments) {
        ("proxy_get_header_map_value", [_, address, size, ..]) | ("proxy_get_property", [address, size, ..]) => {
            (*address, *size)
        }
        ("proxy_get_buffer_bytes", [kind, ..]) => return Ok(format!("buffer {kind}")),
        _ => return Ok(name.to_owned()),
    };
    Ok(String::from_utf8_lossy(&read(caller, address, size)?).into_owned())
}

/// Gives the module a block of its own memory, as Envoy does.
fn hand_over(caller: &mut Caller<'_, State>, [data, length]: [u32; 2], bytes: &[u8]) -> Result<()> {
    let size = u32::try_from(bytes.len())?;
    // For nothing there need not be a block.
    let address = if size == 0 && caller.data_mut().rng.bool() { 0 } else { allocate(caller, size)? };
    write(caller, address, bytes)?;
    write(caller, data, &address.to_le_bytes())?;
    write(caller, length, &size.to_le_bytes())
}

fn allocate(caller: &mut Caller<'_, State>, size: u32) -> Result<u32> {
    let function = caller.get_export("proxy_on_memory_allocate").and_then(Extern::into_func).context("no allocator")?;
    let function: TypedFunc<u32, u32> = function.typed(&*caller)?;
    Ok(function.call(caller, size)?)
}

fn memory(caller: &mut Caller<'_, State>) -> Result<Memory> {
    caller.get_export("memory").and_then(Extern::into_memory).context("no memory")
}

fn read(caller: &mut Caller<'_, State>, address: u32, size: u32) -> Result<Vec<u8>> {
    let mut bytes = vec![0; size as usize];
    memory(caller)?
        .read(caller, address as usize, &mut bytes)
        .context("the module names bytes that it does not have")?;
    Ok(bytes)
}

fn write(caller: &mut Caller<'_, State>, address: u32, bytes: &[u8]) -> Result<()> {
    memory(caller)?.write(caller, address as usize, bytes).context("the module names a place that it does not have")
}

impl State {
    fn lies(&mut self) -> bool {
        self.rng.u8(..100) < self.manners.lies
    }

    /// Any status, those that the ABI does not know among them; never 0.
    fn status(&mut self) -> u32 {
        match self.rng.u8(..4) {
            0 => self.rng.u32(1..),
            _ => self.rng.u32(1..=13),
        }
    }

    /// What a proxy should say.
    fn truth(&mut self, name: &str, what: &str) -> Result<Vec<u8>, u32> {
        let number = |number: u64| Ok(number.to_le_bytes().to_vec());
        match what {
            "buffer 7" => Ok(self.manners.configuration.clone()),
            "buffer 4" => Ok(Vec::new()),
            "plugin_root_id" => Ok(self.manners.plugins.get(self.plugin).copied().unwrap_or_default().into()),
            "proxy_get_header_map_pairs" => {
                let paths: [&[u8]; 4] = [b"/critical/9434765919", b"/a/b", b"/health", b"/\xff%ff;/../critical/1"];
                let mut headers: Vec<(&[u8], &[u8])> =
                    vec![(b":method", b"POST"), (b":path", paths[self.rng.usize(..4)])];
                headers.extend(self.manners.headers.iter().map(|(name, value)| (*name, &**value)));
                Ok(map(&headers))
            }
            "request\0time" => number(self.nanos),
            "request\0duration" => number(5_000_000),
            "response\0code" => number([200, 403, 503][self.rng.usize(..3)]),
            "response\0flags" => number(0),
            "response\0code_details" => Ok(b"via_upstream".to_vec()),
            ":status" => Ok([&b"200"[..], b"503", b"400", b"x"][self.rng.usize(..4)].to_vec()),
            _ if name == "proxy_get_property" && what.contains("jwt_authn") => Ok(b"care-home-0042".to_vec()),
            _ => Err(1),
        }
    }

    /// Anything: a status; bytes that mean nothing; a header map that is cut, counts wrong, or is full of what no header is.
    fn lie(&mut self, what: &str) -> Result<Vec<u8>, u32> {
        let bytes = |rng: &mut Rng, length: usize| (0..length).map(|_| rng.u8(..)).collect::<Vec<u8>>();
        match self.rng.u8(..8) {
            0..=2 => Err(self.status()),
            3 => Ok(Vec::new()),
            4 => {
                let length = self.rng.usize(..=16);
                Ok(bytes(&mut self.rng, length))
            }
            5 => {
                let length = self.rng.usize(..=self.manners.longest);
                Ok(vec![self.rng.u8(..); length])
            }
            6 => {
                let headers: Vec<(Vec<u8>, Vec<u8>)> = (0..self.rng.usize(..200))
                    .map(|_| {
                        let (name, value) = (self.rng.usize(..20), self.rng.usize(..60));
                        (bytes(&mut self.rng, name), bytes(&mut self.rng, value))
                    })
                    .collect();
                let headers: Vec<(&[u8], &[u8])> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
                Ok(map(&headers))
            }
            _ => {
                let mut truth = self.truth("", what).unwrap_or_default();
                let changed = self.rng.usize(..=truth.len());
                match (self.rng.bool(), truth.get_mut(changed)) {
                    (true, Some(byte)) => *byte = self.rng.u8(..),
                    _ => truth.truncate(changed),
                }
                Ok(truth)
            }
        }
    }
}

/// A serialised header map.
fn map(headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).expect("short").to_le_bytes();
    let mut bytes = number(headers.len()).to_vec();
    for (name, value) in headers {
        bytes.extend([number(name.len()), number(value.len())].concat());
    }
    for (name, value) in headers {
        bytes.extend([name, &[0][..], value, &[0]].concat());
    }
    bytes
}
