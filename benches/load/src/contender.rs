//! The contenders: Envoy configurations that differ in their filters, and in the parts that read the filters' output.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use careplane_integration::{config::EnvoyConfig, workspace};
use serde_json::{Value, json};

/// What Envoy answers in place of an upstream, and what the upstream answers: 512 bytes, as a small JSON document has.
pub fn body() -> String {
    "x".repeat(512)
}

/// One way to do the work.
#[derive(Clone, Debug)]
pub struct Contender {
    /// Its name in tables.
    pub name: &'static str,
    /// What it is, and what it does not do.
    pub about: &'static str,
    /// Its file in `contenders/`.
    file: &'static str,
    /// Wasm filters in the order of the chain: module and root id.
    plugins: Vec<(PathBuf, &'static str)>,
    /// Its Lua: files in `contenders/`, one after the other.
    scripts: &'static [&'static str],
}

/// Where the parts of a configuration are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The upstream; none when Envoy answers itself.
    pub upstream: Option<SocketAddr>,
    /// The receiver of spans, by OTLP over HTTP.
    pub collector: SocketAddr,
    /// The server for external processing.
    pub ext_proc: SocketAddr,
    /// Where access logs go.
    pub log: PathBuf,
}

/// Modules that `make bench` builds for comparison only.
pub fn built() -> PathBuf {
    workspace::root().join("target/bench")
}

/// The folder of the configurations.
pub fn folder() -> PathBuf {
    workspace::root().join("benches/load")
}

/// The policy of `integration/envoy.yaml`, with the rate of traces that Envoy has here, and no collector: the
/// other contenders write to the access log alone.
///
/// # Errors
/// When there is none.
pub fn policy() -> Result<Value> {
    let mut policy = EnvoyConfig::load()?.policy_without_collector()?;
    policy["sampling"]["tiers"]["clinical"] = json!(10);
    Ok(policy)
}

/// All of them, the baseline first.
#[must_use]
pub fn all() -> Vec<Contender> {
    let dist = |module: &str| workspace::dist().join(module);
    let bundle = dist("careplane.wasm");
    let plain = |name, about, file| Contender { name, about, file, plugins: Vec::new(), scripts: &[] };
    let lua = |name, about, scripts| Contender { scripts, ..plain(name, about, "lua.yaml") };
    let wasm = |name, about, plugins| Contender { plugins, ..plain(name, about, "careplane.yaml") };
    let alone = |name, about| wasm(name, about, vec![(dist(&format!("careplane-{name}.wasm")), name)]);
    let four = ["audit", "tracing-tags", "tenant-routing", "sampling"].map(|filter| (bundle.clone(), filter)).to_vec();
    vec![
        plain(ROUTER, "Envoy alone", "router-only.yaml"),
        Contender::of_module(EMPTY, "a module that does nothing: what Wasm itself costs", built().join("empty.wasm")),
        plain(
            "native",
            "header_mutation, metadata tags, JSON access log; no decisions, one context for all",
            "native.yaml",
        ),
        lua(LUA, "the same decisions; no pseudonyms, no hash, no chain", &["lua.lua"]),
        lua(
            LUA_EVIDENCE,
            "that, with pseudonyms, and records that are hashed and chained; they know less of the answer",
            &["evidence.lua", "lua.lua"],
        ),
        plain(
            EXT_PROC,
            "the same decisions in a Rust server on loopback; no pseudonyms, no hash, no chain",
            "ext-proc.yaml",
        ),
        wasm(BUNDLE, "all four filters in one", vec![(bundle.clone(), "careplane")]),
        wasm(FOUR, "the four filters as plugins of their own, from one module", four),
        alone("tracing-tags", "that filter alone, in its own module"),
        alone("tenant-routing", "that filter alone, in its own module"),
        alone("sampling", "that filter alone, in its own module"),
        alone("audit", "that filter alone, in its own module"),
        wasm(
            "vanilla",
            "the bundle behind the dispatcher of the proxy-wasm SDK, with all its callbacks",
            vec![(built().join("vanilla.wasm"), "careplane")],
        ),
    ]
}

/// The baseline.
pub const ROUTER: &str = "router only";
/// The floor.
pub const EMPTY: &str = "empty module";
/// What a team would write first.
pub const LUA: &str = "lua";
/// The same with evidence that can be verified.
pub const LUA_EVIDENCE: &str = "lua, same evidence";
/// What a team would write in its own language.
pub const EXT_PROC: &str = "ext_proc";
/// The normal deployment.
pub const BUNDLE: &str = "careplane";
/// The filters apart.
pub const FOUR: &str = "four plugins";

/// Writes the module that does nothing.
///
/// # Errors
/// When it cannot be written.
pub fn build_empty() -> Result<()> {
    let bytes = wat::parse_file(folder().join("empty.wat"))?;
    fs::create_dir_all(built())?;
    fs::write(built().join("empty.wasm"), bytes).context("cannot write target/bench/empty.wasm")
}

// === impl Contender ===

impl Contender {
    /// A module that needs no policy.
    #[must_use]
    pub fn of_module(name: &'static str, about: &'static str, module: PathBuf) -> Self {
        Self { name, about, file: "empty.yaml", plugins: vec![(module, "empty")], scripts: &[] }
    }

    /// What it needs and is not there.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let absent = self.plugins.iter().map(|(module, _)| module).filter(|module| !module.is_file());
        absent.map(|module| format!("{} is not built (make bench builds it)", module.display())).collect()
    }

    /// Whether it has a server beside the proxy.
    #[must_use]
    pub fn has_server(&self) -> bool {
        self.name == EXT_PROC
    }

    /// The bootstrap of its Envoy.
    ///
    /// # Errors
    /// When a file of the benchmark cannot be read.
    pub fn bootstrap(&self, places: &Places) -> Result<Value> {
        self.bootstrap_with(places, None)
    }

    /// The same with another policy.
    ///
    /// # Errors
    /// As [`Self::bootstrap`].
    pub fn bootstrap_with(&self, places: &Places, policy: Option<&str>) -> Result<Value> {
        let policy = match policy {
            Some(document) => document.to_owned(),
            None => self::policy()?.to_string(),
        };
        let mut base = read(&folder().join("envoy.yaml"))?;
        let own = read(&folder().join("contenders").join(self.file))?;
        let manager = &mut base["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];

        let filters = own["http_filters"].as_array().cloned().unwrap_or_default();
        let filters: Vec<Value> = match self.plugins.is_empty() {
            true => filters,
            false => self.plugins.iter().flat_map(|plugin| filled(&filters, plugin)).collect(),
        };
        let chain = manager["http_filters"].as_array_mut().context("envoy.yaml has no http_filters")?;
        let router = chain.len().saturating_sub(1);
        chain.splice(router..router, filters);
        if let Some(tags) = own.get("custom_tags") {
            manager["tracing"]["custom_tags"] = tags.clone();
        }
        if let Some(log) = own.get("access_log") {
            manager["access_log"] = log.clone();
        }
        if places.upstream.is_none() {
            answer_directly(manager);
        }
        if let Some(clusters) = own["clusters"].as_array() {
            let all = base["static_resources"]["clusters"].as_array_mut().context("envoy.yaml has no clusters")?;
            all.extend(clusters.iter().cloned());
        }
        let scripts = self.scripts.iter().map(|script| {
            let file = folder().join("contenders").join(script);
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
        });
        let words = BTreeMap::from([
            ("@UPSTREAM@", json!(places.upstream.unwrap_or(places.collector).port())),
            ("@COLLECTOR@", json!(places.collector.port())),
            ("@EXT_PROC@", json!(places.ext_proc.port())),
            ("@LOG@", json!(places.log)),
            ("@LUA@", json!(scripts.collect::<Result<Vec<_>>>()?.concat())),
            ("@POLICY@", json!(policy)),
        ]);
        fill(&mut base, &words);
        Ok(base)
    }
}

/// The bootstrap of the Envoy that is upstream and collector.
///
/// # Errors
/// When `upstream.yaml` cannot be read.
pub fn upstream_bootstrap() -> Result<Value> {
    let mut bootstrap = read(&folder().join("upstream.yaml"))?;
    fill(&mut bootstrap, &BTreeMap::from([("@BODY@", json!(body()))]));
    Ok(bootstrap)
}

fn read(file: &Path) -> Result<Value> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} is not YAML", file.display()))
}

fn answer_directly(manager: &mut Value) {
    for host in manager["route_config"]["virtual_hosts"].as_array_mut().into_iter().flatten() {
        for route in host["routes"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            route.remove("route");
            route.insert("direct_response".to_owned(), json!({"status": 200, "body": {"inline_string": body()}}));
        }
    }
}

/// The filters of one plugin.
fn filled(filters: &[Value], (module, root_id): &(PathBuf, &'static str)) -> Vec<Value> {
    let mut filters = Value::Array(filters.to_vec());
    fill(&mut filters, &BTreeMap::from([("@MODULE@", json!(module)), ("@ROOT_ID@", json!(root_id))]));
    filters.as_array().cloned().unwrap_or_default()
}

/// Replaces strings that are a word by what the word stands for.
fn fill(value: &mut Value, words: &BTreeMap<&str, Value>) {
    match value {
        Value::String(text) => {
            if let Some(meaning) = words.get(text.as_str()) {
                *value = meaning.clone();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, words)),
        Value::Object(members) => members.values_mut().for_each(|member| fill(member, words)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
