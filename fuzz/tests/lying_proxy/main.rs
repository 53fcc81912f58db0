//! The module that the proxies load, in a proxy that lies: whatever it says, in whatever order, no trap and no end of memory.
//!
//! Needs `dist/careplane.wasm` (`make build`). A failure names its seed; `CAREPLANE_SEEDS=17..18` runs that one alone, and
//! `CAREPLANE_SEEDS=0..10000` many.

mod proxy;

use std::env;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use wasmtime::{Engine, Module};

use proxy::{Manners, Proxy};

const POLICY: &str = r#"{
    "version": "careplane/v1",
    "identity": {"trustedPeers": "any", "tenant": {"required": true}},
    "contexts": [
        {"name": "critical", "complianceLevel": "critical", "tier": "always", "subject": "id", "match": [{"path": "/critical/{id}"}]},
        {"name": "rest", "complianceLevel": "low", "match": [{"path": "/a/{*rest}"}]},
        {"name": "health", "complianceLevel": "low", "audit": "none", "tenant": "optional", "match": [{"path": "/health"}]}
    ],
    "tenants": {"entries": {"care-home-0042": {"jurisdiction": "wales"}}},
    "routing": {"pools": ["a", "b"], "canary": {"percent": 50}},
    "audit": {"sinks": {"otlp": true, "proxyLog": "overflow"}, "writeAhead": ["critical"]},
    "export": {"cluster": "c", "authority": "a", "batch": {"records": 16, "interval": "1s"}, "queueBytes": 65536}
}"#;
const PLUGINS: [&str; 6] = ["careplane", "audit", "tracing-tags", "tenant-routing", "sampling", "none of them"];
/// What one VM may take: the queue of the policy, the largest lie a few times over, and what the module itself needs.
const MEMORY_MAX: u64 = 16 * 1024 * 1024;
const EVENTS: usize = 2_000;
const SEEDS: Range<u64> = 0..60;

/// The module, compiled once; none when it has not been built, which is said.
fn module() -> Option<(Engine, Module)> {
    static MODULE: OnceLock<(Engine, Module)> = OnceLock::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/careplane.wasm");
    if !file.is_file() {
        let message = "SKIPPED: the module in a lying proxy, because dist/careplane.wasm is not built (make build)";
        assert!(env::var("CI").as_deref() != Ok("true"), "{message}");
        let _ = writeln!(std::io::stderr(), "{message}");
        return None;
    }
    let compile = || {
        let engine = Engine::default();
        let module = Module::from_file(&engine, &file).expect("dist/careplane.wasm is a module");
        (engine, module)
    };
    Some(MODULE.get_or_init(compile).clone())
}

fn manners(lies: u8, longest: usize) -> Manners {
    Manners {
        lies,
        plugins: PLUGINS.to_vec(),
        configuration: POLICY.into(),
        headers: vec![
            (b":authority", b"api.care.example".to_vec()),
            (b"x-request-id", b"00000000-0000-a000-8000-000000000000".to_vec()),
            (b"user-agent", vec![b'x'; 200]),
        ],
        longest,
    }
}

/// Contexts that are there, and those that were.
#[derive(Default)]
struct Contexts {
    last: u32,
    roots: Vec<u32>,
    streams: Vec<u32>,
    gone: Vec<u32>,
}

impl Contexts {
    fn begin(&mut self, proxy: &mut Proxy, root: u32) -> Result<u32> {
        self.last += 1;
        proxy.state().context = self.last;
        proxy.call("proxy_on_context_create", &[self.last, root])?;
        Ok(self.last)
    }

    fn end(&mut self, proxy: &mut Proxy, context: u32) -> Result<()> {
        self.roots.retain(|root| *root != context);
        self.streams.retain(|stream| *stream != context);
        self.gone.push(context);
        self.gone.truncate(64);
        // The proxy gives up what a context asked for when it ends.
        proxy.state().calls.retain(|(caller, _)| *caller != context);
        proxy.call("proxy_on_delete", &[context]).map(drop)
    }
}

/// One thing that happens to the VM. Beyond what Envoy does: callbacks for contexts that are gone, or that never were.
fn event(proxy: &mut Proxy, contexts: &mut Contexts, rng: &mut Rng) -> Result<()> {
    let any = |rng: &mut Rng, some: &[u32]| rng.choice(some.iter().copied());
    let stray = |rng: &mut Rng, gone: &[u32]| if rng.bool() { any(rng, gone).unwrap_or(9) } else { rng.u32(..) };
    let size = [0, 1, 100, 4_096, u32::MAX][rng.usize(..5)];
    let stream = match rng.u8(..20) {
        0 => stray(rng, &contexts.gone),
        _ => any(rng, &contexts.streams).unwrap_or(0),
    };
    let root = any(rng, &contexts.roots).unwrap_or(0);
    proxy.state().context = stream;
    match rng.u8(..100) {
        0..=1 => {
            let plugin = rng.usize(..PLUGINS.len());
            let root = contexts.begin(proxy, 0)?;
            contexts.roots.push(root);
            proxy.state().plugin = plugin;
            proxy.call("proxy_on_configure", &[root, u32::try_from(POLICY.len())?])?;
        }
        2 => drop(proxy.call("proxy_on_configure", &[root, size])?),
        3 if contexts.roots.len() > 4 => contexts.end(proxy, root)?,
        4..=30 => {
            let stream = contexts.begin(proxy, root)?;
            contexts.streams.push(stream);
        }
        31..=55 => drop(proxy.call("proxy_on_request_headers", &[stream, size, 0])?),
        56..=65 => drop(proxy.call("proxy_on_response_headers", &[stream, size, 1])?),
        66..=74 => {
            proxy.state().context = root;
            proxy.call("proxy_on_tick", &[root])?;
        }
        75..=84 => {
            let calls = proxy.state().calls.clone();
            let (context, call) = rng.choice(calls).unwrap_or((stream, rng.u32(..)));
            // An answer is told to a root, whoever made the call.
            let told = if contexts.streams.contains(&context) { root } else { context };
            proxy.state().context = told;
            if rng.u8(..10) > 0 {
                // Else the same answer can come twice.
                proxy.state().calls.retain(|(_, made)| *made != call);
            }
            proxy.call("proxy_on_http_call_response", &[told, call, size, size, size])?;
        }
        85..=90 => drop(proxy.call("proxy_on_log", &[stream])?),
        _ => {
            if rng.u8(..4) > 0 {
                proxy.call("proxy_on_log", &[stream])?;
            }
            contexts.end(proxy, stream)?;
        }
    }
    Ok(())
}

fn live(engine: &Engine, module: &Module, seed: u64) -> Result<()> {
    let mut rng = Rng::with_seed(seed);
    let lies = [0, 2, 20, 60, 100][rng.usize(..5)];
    let longest = [100, 10_000, 1_000_000][rng.usize(..3)];
    let mut proxy = Proxy::start(engine, module, manners(lies, longest), seed)?;
    let mut contexts = Contexts::default();
    for number in 0..EVENTS {
        event(&mut proxy, &mut contexts, &mut rng).with_context(|| format!("event {number}"))?;
        ensure!(proxy.memory() <= MEMORY_MAX, "event {number}: {} bytes of memory", proxy.memory());
        // A proxy's log is not kept in memory.
        proxy.state().log.truncate(100);
        proxy.state().records.truncate(100);
    }
    Ok(())
}

#[test]
fn whatever_a_proxy_says_the_module_lives() {
    let Some((engine, module)) = module() else { return };
    for seed in seeds() {
        live(&engine, &module, seed).unwrap_or_else(|error| panic!("CAREPLANE_SEEDS={seed}..{}: {error:?}", seed + 1));
    }
}

fn seeds() -> Range<u64> {
    let Ok(asked) = env::var("CAREPLANE_SEEDS") else { return SEEDS };
    let range = asked.split_once("..").and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
    range.unwrap_or_else(|| panic!("CAREPLANE_SEEDS is {asked:?}: expected a range such as 0..100"))
}

/// As [`live`], for a stream of one kind, over and over: memory that is needed once is not needed again.
fn grows(name: &str, lies: u8, mut stream: impl FnMut(&mut Proxy, u32) -> Result<()>) {
    let Some((engine, module)) = module() else { return };
    let mut run = || -> Result<[u64; 2]> {
        let mut proxy = Proxy::start(&engine, &module, manners(0, 1_000), 1)?;
        proxy.call("proxy_on_context_create", &[1, 0])?;
        ensure!(proxy.call("proxy_on_configure", &[1, u32::try_from(POLICY.len())?])? == 1, "the policy is good");
        proxy.state().manners.lies = lies;
        let mut round = |count: u32| -> Result<u64> {
            for number in 0..count {
                let id = 2 + number;
                proxy.state().context = id;
                proxy.call("proxy_on_context_create", &[id, 1])?;
                stream(&mut proxy, id)?;
                proxy.call("proxy_on_delete", &[id])?;
                proxy.state().calls.clear();
                proxy.state().log.clear();
                proxy.state().records.clear();
            }
            Ok(proxy.memory())
        };
        Ok([round(2_000)?, round(10_000)?])
    };
    let [first, later] = run().unwrap_or_else(|error| panic!("{name}: {error:?}"));
    assert!(later <= first + 256 * 1024, "{name}: {first} bytes, then {later}");
}

#[test]
fn held_requests_whose_callers_go_away_cost_no_memory() {
    grows("logged", 0, |proxy, id| {
        proxy.call("proxy_on_request_headers", &[id, 5, 1])?;
        proxy.call("proxy_on_log", &[id]).map(drop)
    });
}

#[test]
fn streams_that_end_without_a_log_cost_no_memory() {
    grows("not logged", 0, |proxy, id| proxy.call("proxy_on_request_headers", &[id, 5, 1]).map(drop));
}

#[test]
fn streams_that_are_lied_to_cost_no_memory() {
    grows("lied to", 50, |proxy, id| {
        proxy.call("proxy_on_request_headers", &[id, 5, 1])?;
        proxy.call("proxy_on_response_headers", &[id, 5, 1])?;
        proxy.call("proxy_on_log", &[id])?;
        proxy.call("proxy_on_log", &[id]).map(drop)
    });
}

#[test]
fn an_intent_without_an_answer_is_written_down() {
    let Some((engine, module)) = module() else { return };
    let mut proxy = Proxy::start(&engine, &module, manners(0, 0), 1).unwrap();
    proxy.call("proxy_on_context_create", &[1, 0]).unwrap();
    assert_eq!(proxy.call("proxy_on_configure", &[1, 2_000]).unwrap(), 1);
    for id in 2..200 {
        proxy.state().context = id;
        proxy.call("proxy_on_context_create", &[id, 1]).unwrap();
        proxy.call("proxy_on_request_headers", &[id, 5, 1]).unwrap();
        proxy.call("proxy_on_delete", &[id]).unwrap();
    }
    proxy.call("proxy_on_delete", &[1]).unwrap();
    let log = &proxy.state().log;
    let written = |kind: &str| log.iter().filter(|line| line.contains(&format!(r#""kind":"{kind}""#))).count();
    assert!(written("intent") > 0, "no intent among {} lines", log.len());
    assert_eq!(written("intent"), written("request"), "each intent that was given up, and what became of its request");
}
