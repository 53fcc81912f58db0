//! Which of our plugins each proxy was given, and whether as what they are. Where the module could not be fetched, a
//! filter that refuses everything stands in its place.

use serde_json::Value;

use super::{Checks, has_proxy, istio_label, text, title};
use crate::mesh::difference::Presence;
use crate::mesh::failure::Failure;
use crate::mesh::options::Overlay;
use crate::mesh::plugins::{self, Plugin};

pub fn plugins(checks: &Checks<'_, '_>, pods: &[Value]) -> Result<(), Failure> {
    let context = checks.context;
    let plugins = plugins::read(context.cluster, &Presence::read(context.cluster)?)?;
    let keyed = context.manifests.mesh_namespaces();
    let (mut loaded, mut proxies, mut bad, mut ephemeral) = (0, 0, Vec::new(), Vec::new());
    let runs = |pod: &&Value| text(pod, "/status/phase") == "Running" && has_proxy(pod);
    let is_ambient = context.settings.overlay == Overlay::Ambient;
    for pod in pods.iter().filter(runs).filter(|pod| has_plugins(pod, is_ambient)) {
        proxies += 1;
        let waiting = context.printer.waiting(&format!("asking {}", title(pod)));
        let proxy = look(checks, pod, &plugins);
        drop(waiting);
        match proxy {
            Ok(proxy) => {
                loaded += proxy.loaded;
                // Elsewhere a proxy makes no records.
                if proxy.is_ephemeral && keyed.contains(&text(pod, "/metadata/namespace")) {
                    ephemeral.push(title(pod));
                }
            }
            Err(why) => bad.push(format!("{}: {why}", title(pod))),
        }
    }
    if !bad.is_empty() {
        checks.fail("plugins", "not loaded everywhere");
        bad.iter().for_each(|line| checks.more(line));
        checks.more(&format!(
            "the log of the proxy says why: kubectl --context {} -n NAMESPACE logs POD -c istio-proxy | grep -i wasm",
            context.cluster.context
        ));
    } else if proxies == 0 {
        checks.fail("plugins", "no proxy runs");
    } else {
        checks.passed("plugins", &format!("{loaded} in {proxies} proxies"));
    }
    if !ephemeral.is_empty() {
        context.printer.warn(&format!(
            "no pseudonym key in {}: a person has another pseudonym in each; see docs/troubleshooting.md",
            ephemeral.join(" ")
        ));
    }
    Ok(())
}

/// Whether plugins of careplane are meant for its proxy. In an ambient mesh they are in waypoints, and a sidecar, such
/// as the one of Prometheus, has none.
fn has_plugins(pod: &Value, is_ambient: bool) -> bool {
    let class = text(pod, "/metadata/labels/gateway.networking.k8s.io~1gateway-class-name");
    match istio_label(pod) {
        "egressgateway" => false,
        "ingressgateway" => true,
        _ => !is_ambient || class == "istio-waypoint",
    }
}

struct Proxy {
    loaded: usize,
    is_ephemeral: bool,
}

fn look(checks: &Checks<'_, '_>, pod: &Value, plugins: &[Plugin]) -> Result<Proxy, String> {
    let ask = |path: &str| {
        let (namespace, name) = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
        let request = ["pilot-agent", "request", "GET", path];
        let exec = [&["-n", namespace, "exec", name, "-c", "istio-proxy", "--"][..], &request].concat();
        let ended = checks.context.cluster.kubectl(&exec).map_err(|failure| failure.message().to_owned())?;
        if ended.status.success() { Ok(ended.stdout) } else { Err(ended.last_line().to_owned()) }
    };
    let dump = ask("config_dump?resource=ecds_filters")?;
    let dump: Value = serde_json::from_str(&dump).map_err(|error| format!("its configuration is no JSON: {error}"))?;
    let stats = ask("stats?filter=careplane|wasm.envoy")?;
    let mut filters = Vec::new();
    find(&dump, &mut filters);
    // A proxy also shows those that it was given before, and uses no more.
    filters.retain(|filter| plugins.iter().any(|plugin| filter.is(plugin)));
    let not_fetched: Vec<&str> = filters
        .iter()
        .filter(|filter| !filter.type_url.ends_with(".Wasm"))
        .map(|filter| filter.name.as_str())
        .collect();
    let is_over_0 = |name: &str| {
        let values = stats.lines().filter_map(|line| line.split_once(": ")).filter(|(stat, _)| stat.contains(name));
        values.filter_map(|(_, value)| value.trim().parse::<u64>().ok()).any(|value| value > 0)
    };
    if filters.is_empty() {
        return Err("has no plugin of careplane".to_owned());
    }
    if !not_fetched.is_empty() {
        let names = not_fetched.join(" ");
        return Err(format!("the module of {names} could not be fetched; every request is refused"));
    }
    // istiod and the configuration dump know nothing of it: both have what was sent, not what became of it.
    if !is_over_0("wasm.envoy.wasm.runtime.v8.active") {
        return Err("refused the policy when it started; every request is a 500".to_owned());
    }
    Ok(Proxy { loaded: filters.len(), is_ephemeral: is_over_0("pseudonym_key_ephemeral") })
}

/// A filter that came by extension configuration discovery.
struct Filter {
    kind: &'static str,
    /// `namespace.name`
    name: String,
    type_url: String,
}

impl Filter {
    fn is(&self, plugin: &Plugin) -> bool {
        self.kind == plugin.kind && self.name == format!("{}.{}", plugin.namespace, plugin.name)
    }
}

fn find(value: &Value, filters: &mut Vec<Filter>) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| find(element, filters)),
        Value::Object(fields) => {
            let name =
                fields.get("name").and_then(Value::as_str).and_then(|name| name.strip_prefix("extensions.istio.io/"));
            if let (Some(name), Some(config)) = (name, fields.get("typed_config")) {
                let is_wasm_plugin = name.starts_with("wasmplugin/") || name.ends_with("~istio-translated-wasmplugin");
                let short = name.rsplit_once('/').map_or(name, |(_, short)| short);
                filters.push(Filter {
                    kind: if is_wasm_plugin { "WasmPlugin" } else { "TrafficExtension" },
                    name: short.split('~').next().unwrap_or(short).to_owned(),
                    type_url: text(config, "/@type").to_owned(),
                });
            }
            fields.values().for_each(|field| find(field, filters));
        }
        _ => {}
    }
}
