//! The module that proxies load, in a faulty proxy. Whatever the proxy returns, and in whatever order it calls, the
//! module does not trap and its memory stays bounded.
//!
//! Needs `dist/careplane.wasm` (`make build`). A failure names its seed; `CAREPLANE_SEEDS=17..18` runs that one alone,
//! and `CAREPLANE_SEEDS=0..10000` many.

mod faults;

use std::env;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use careplane_wasm_host::{Headers, Phase, World, world::claim};
use fastrand::Rng;
use wasmtime::{Engine, Module};

use faults::Faults;

type Proxy = careplane_wasm_host::Proxy<Faults>;

const POLICY: &str = r#"{
    "version": "careplane/v1",
    "identity": {"trustedPeers": "any", "tenant": {"required": true}},
    "contexts": [
        {
            "name": "critical", "complianceLevel": "critical", "tier": "always", "subject": "id",
            "match": [{"path": "/critical/{id}"}]
        },
        {"name": "rest", "complianceLevel": "low", "match": [{"path": "/a/{*rest}"}]},
        {
            "name": "health", "complianceLevel": "low", "audit": "none", "tenant": "optional",
            "match": [{"path": "/health"}]
        }
    ],
    "tenants": {"entries": {"care-home-0042": {"jurisdiction": "wales"}}},
    "routing": {"pools": ["a", "b"], "canary": {"percent": 50}},
    "audit": {"sinks": {"otlp": true, "proxyLog": "overflow"}, "writeAhead": ["critical"]},
    "export": {"cluster": "c", "authority": "a", "batch": {"records": 16, "interval": "1s"}, "queueBytes": 65536}
}"#;
const PLUGINS: [&str; 6] = ["careplane", "audit", "tracing-tags", "tenant-routing", "sampling", "none of them"];
/// What one VM may take: the queue of the policy, the largest faulty value a few times over, and what the module itself
/// needs.
const MEMORY_MAX: u64 = 16 * 1024 * 1024;
const EVENTS: usize = 2_000;
const SEEDS: Range<u64> = 0..60;

/// The module, compiled once; none when it has not been built, which is said.
fn module() -> Option<Module> {
    static MODULE: OnceLock<Module> = OnceLock::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/careplane.wasm");
    if !file.is_file() {
        let message = "SKIPPED: the module in a faulty proxy, because dist/careplane.wasm is not built (make build)";
        assert!(env::var("CI").as_deref() != Ok("true"), "{message}");
        let _ = writeln!(std::io::stderr(), "{message}");
        return None;
    }
    let compile = || Module::from_file(&Engine::default(), &file).expect("dist/careplane.wasm is a module");
    Some(MODULE.get_or_init(compile).clone())
}

/// A VM without plugins.
fn start(module: &Module, percent: u8, longest: usize, seed: u64) -> Result<Proxy> {
    Proxy::start(module, World::new(POLICY), Faults { rng: Rng::with_seed(seed), percent, longest })
}

/// What is true of a stream before a callback. Seldom the callback comes at a time when other things are.
fn prepare(proxy: &mut Proxy, phase: Phase) {
    let mut rng = proxy.hook().rng.fork();
    let phases = [Phase::Outside, Phase::Request, Phase::Response, Phase::Log];
    let paths: [&[u8]; 4] = [b"/critical/9434765919", b"/a/b", b"/health", b"/\xff%ff;/../critical/1"];
    let world = proxy.world();
    world.phase = if rng.u8(..20) == 0 { phases[rng.usize(..4)] } else { phase };
    world.pass(Duration::from_millis(if rng.u8(..100) == 0 { 15_000 } else { rng.u64(..20) }));
    let header = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
    world.request = Headers::from([
        header(b":method", b"POST"),
        header(b":path", paths[rng.usize(..4)]),
        header(b":authority", b"api.care.example"),
        header(b"x-request-id", b"00000000-0000-a000-8000-000000000000"),
        header(b"user-agent", &[b'x'; 200]),
    ]);
    let status = |rng: &mut Rng| header(b":status", [&b"200"[..], b"503", b"400", b"x"][rng.usize(..4)]);
    world.response = Headers::from([status(&mut rng)]);
    world.answer = Headers::from([status(&mut rng)]);
    world.properties = ["tenant_id", "sub"].map(|name| (claim(name), b"care-home-0042".to_vec())).into();
    world.end_stream([200, 403, 503][rng.usize(..3)], b"via_upstream".to_vec());
}

/// A callback for a stream that is so far.
fn call(proxy: &mut Proxy, phase: Phase, name: &str, arguments: &[u32]) -> Result<()> {
    prepare(proxy, phase);
    proxy.call(name, arguments).map(drop)
}

/// Contexts that are there, and those that were.
#[derive(Default)]
struct Contexts {
    roots: Vec<u32>,
    streams: Vec<u32>,
    gone: Vec<u32>,
}

impl Contexts {
    fn end(&mut self, proxy: &mut Proxy, context: u32) -> Result<()> {
        self.roots.retain(|root| *root != context);
        self.streams.retain(|stream| *stream != context);
        self.gone.push(context);
        self.gone.truncate(64);
        // The proxy gives up what a plugin asked for when it ends.
        proxy.world().sent.retain(|sent| sent.root != context);
        call(proxy, Phase::Outside, "proxy_on_delete", &[context])?;
        proxy.world().streams.remove(&context);
        proxy.world().roots.remove(&context);
        Ok(())
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
    proxy.world().context = stream;
    match rng.u8(..100) {
        0..=1 => {
            prepare(proxy, Phase::Outside);
            let (root, _) = proxy.create_root(PLUGINS[rng.usize(..PLUGINS.len())])?;
            contexts.roots.push(root);
        }
        2 => call(proxy, Phase::Outside, "proxy_on_configure", &[root, size])?,
        3 if contexts.roots.len() > 4 => contexts.end(proxy, root)?,
        4..=30 => {
            prepare(proxy, Phase::Outside);
            contexts.streams.push(proxy.create_stream(root)?);
        }
        31..=55 => call(proxy, Phase::Request, "proxy_on_request_headers", &[stream, size, 0])?,
        56..=65 => call(proxy, Phase::Response, "proxy_on_response_headers", &[stream, size, 1])?,
        66..=74 => {
            proxy.world().context = root;
            call(proxy, Phase::Outside, "proxy_on_tick", &[root])?;
        }
        75..=84 => {
            let sent = proxy.world().sent.iter().map(|sent| (sent.root, sent.token)).collect::<Vec<_>>();
            let (root, token) = rng.choice(sent).unwrap_or((root, rng.u32(..)));
            // Seldom it comes to another plugin, or to what is none.
            let told = if rng.u8(..10) > 0 { root } else { rng.choice([stream, root + 1]).unwrap_or(root) };
            proxy.world().context = told;
            if rng.u8(..10) > 0 {
                // Else the same answer can come twice.
                proxy.world().sent.retain(|sent| sent.token != token);
            }
            call(proxy, Phase::Request, "proxy_on_http_call_response", &[told, token, size, size, size])?;
        }
        85..=90 => call(proxy, Phase::Log, "proxy_on_log", &[stream])?,
        _ => {
            if rng.u8(..4) > 0 {
                call(proxy, Phase::Log, "proxy_on_log", &[stream])?;
            }
            contexts.end(proxy, stream)?;
        }
    }
    Ok(())
}

fn live(module: &Module, seed: u64) -> Result<()> {
    let mut rng = Rng::with_seed(seed);
    let percent = [0, 2, 20, 60, 100][rng.usize(..5)];
    let longest = [100, 10_000, 1_000_000][rng.usize(..3)];
    let mut proxy = start(module, percent, longest, seed)?;
    let mut contexts = Contexts::default();
    for number in 0..EVENTS {
        event(&mut proxy, &mut contexts, &mut rng).with_context(|| format!("event {number}"))?;
        ensure!(proxy.memory() <= MEMORY_MAX, "event {number}: {} bytes of memory", proxy.memory());
        // A proxy's log is not kept in memory.
        proxy.world().log.truncate(100);
    }
    Ok(())
}

#[test]
fn whatever_a_proxy_says_the_module_lives() {
    let Some(module) = module() else { return };
    for seed in seeds() {
        live(&module, seed).unwrap_or_else(|error| panic!("CAREPLANE_SEEDS={seed}..{}: {error:?}", seed + 1));
    }
}

fn seeds() -> Range<u64> {
    let Ok(asked) = env::var("CAREPLANE_SEEDS") else { return SEEDS };
    let range = asked.split_once("..").and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
    range.unwrap_or_else(|| panic!("CAREPLANE_SEEDS is {asked:?}: expected a range such as 0..100"))
}

/// As [`live`], for a stream of one kind, over and over: memory that is needed once is not needed again.
fn grows(name: &str, percent: u8, mut stream: impl FnMut(&mut Proxy, u32) -> Result<()>) {
    let Some(module) = module() else { return };
    let mut run = || -> Result<[u64; 2]> {
        let mut proxy = start(&module, 0, 1_000, 1)?;
        let (root, taken) = proxy.create_root("careplane")?;
        ensure!(taken, "the policy is good");
        proxy.hook().percent = percent;
        let mut round = |count: u32| -> Result<u64> {
            for _ in 0..count {
                let id = proxy.create_stream(root)?;
                stream(&mut proxy, id)?;
                proxy.call("proxy_on_delete", &[id])?;
                proxy.world().streams.clear();
                proxy.world().sent.clear();
                proxy.world().log.clear();
            }
            Ok(proxy.memory())
        };
        Ok([round(2_000)?, round(10_000)?])
    };
    let [first, later] = run().unwrap_or_else(|error| panic!("{name}: {error:?}"));
    assert!(later <= first + 256 * 1024, "{name}: {first} bytes, then {later}");
}

fn request(proxy: &mut Proxy, id: u32) -> Result<()> {
    call(proxy, Phase::Request, "proxy_on_request_headers", &[id, 5, 1])
}

fn log(proxy: &mut Proxy, id: u32) -> Result<()> {
    call(proxy, Phase::Log, "proxy_on_log", &[id])
}

#[test]
fn held_requests_whose_callers_go_away_cost_no_memory() {
    grows("logged", 0, |proxy, id| {
        request(proxy, id)?;
        log(proxy, id)
    });
}

#[test]
fn streams_that_end_without_a_log_cost_no_memory() {
    grows("not logged", 0, request);
}

#[test]
fn streams_in_a_faulty_proxy_cost_no_memory() {
    grows("faulty", 50, |proxy, id| {
        request(proxy, id)?;
        call(proxy, Phase::Response, "proxy_on_response_headers", &[id, 5, 1])?;
        log(proxy, id)?;
        log(proxy, id)
    });
}

#[test]
fn an_intent_without_an_answer_is_written_down() {
    let Some(module) = module() else { return };
    let mut proxy = start(&module, 0, 0, 1).unwrap();
    let (root, taken) = proxy.create_root("careplane").unwrap();
    assert!(taken);
    for _ in 2..200 {
        let id = proxy.create_stream(root).unwrap();
        request(&mut proxy, id).unwrap();
        proxy.call("proxy_on_delete", &[id]).unwrap();
    }
    proxy.call("proxy_on_delete", &[root]).unwrap();
    let log = &proxy.world().log;
    let kind = |kind: &str| format!(r#""kind":"{kind}""#);
    let written = |of: &str| log.iter().filter(|(_, line)| line.contains(&kind(of))).count();
    assert!(written("intent") > 0, "no intent among {} lines", log.len());
    assert_eq!(written("intent"), written("request"), "each intent that was given up, and what became of its request");
}

#[test]
fn a_failure_is_logged_each_minute_though_the_clock_is_set_back() {
    let Some(module) = module() else { return };
    let mut proxy = start(&module, 0, 0, 1).unwrap();
    let (root, taken) = proxy.create_root("careplane").unwrap();
    assert!(taken);
    let mut fail_after = |seconds: u64| {
        let world = proxy.world();
        world.pass(Duration::from_secs(seconds));
        // There are no headers then.
        world.phase = Phase::Outside;
        let id = proxy.create_stream(root).unwrap();
        proxy.call("proxy_on_request_headers", &[id, 5, 1]).unwrap();
        proxy.world().set_back(Duration::from_secs(600));
        proxy.world().warnings().matches("proxy_get_header_map_pairs failed").count()
    };
    assert_eq!([0, 59, 2, 59, 2].map(&mut fail_after), [1, 0, 1, 0, 1]);
}
