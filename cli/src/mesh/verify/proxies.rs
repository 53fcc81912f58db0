//! Which of our plugins each proxy was given, and whether as what they are. Where the module could not be fetched, a
//! filter that refuses everything stands in its place.

use serde_json::Value;

use super::{Checks, has_proxy, text, title};
use crate::manifest::ROOT_NAMESPACE;
use crate::mesh::difference::Presence;
use crate::mesh::failure::Failure;
use crate::mesh::manifests::{Document, Step};
use crate::mesh::plugins::{self, Plugin};

pub fn plugins(checks: &Checks<'_, '_>, pods: &[Value]) -> Result<(), Failure> {
    let context = checks.context;
    let plugins = plugins::read(context.cluster, &Presence::read(context.cluster)?)?;
    let keyed = context.manifests.mesh_namespaces();
    let meant = context.manifests.step(Step::Careplane);
    let (mut loaded, mut proxies, mut bad, mut ephemeral) = (0, 0, Vec::new(), Vec::new());
    let runs = |pod: &&Value| text(pod, "/status/phase") == "Running" && has_proxy(pod);
    for pod in pods.iter().filter(runs) {
        let meant: Vec<&Document> = meant.iter().copied().filter(|plugin| selects(&plugin.value, pod)).collect();
        if meant.is_empty() {
            continue;
        }
        proxies += 1;
        let waiting = context.printer.waiting(&format!("asking {}", title(pod)));
        let proxy = look(checks, pod, &meant, &plugins);
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

/// Whether istiod gives a plugin to the proxy of a pod.
fn selects(plugin: &Value, pod: &Value) -> bool {
    let (spec, namespace) = (&plugin["spec"], text(plugin, "/metadata/namespace"));
    if namespace != ROOT_NAMESPACE && namespace != text(pod, "/metadata/namespace") {
        return false;
    }
    let labels = &pod["metadata"]["labels"];
    if let Some(targets) = spec["targetRefs"].as_array() {
        let label = |kind: &Value| match kind.as_str() {
            Some("GatewayClass") => "gateway.networking.k8s.io/gateway-class-name",
            _ => "gateway.networking.k8s.io/gateway-name",
        };
        return targets.iter().any(|target| labels[label(&target["kind"])] == target["name"]);
    }
    let mut wanted = spec["selector"]["matchLabels"].as_object().into_iter().flatten();
    let modes = spec["match"].as_array();
    let matches = |role| match role {
        Role::Sidecar => true,
        // A client of what is behind it, and nothing else.
        Role::Gateway => modes.is_none_or(|modes| modes.is_empty() || modes.iter().any(|one| one["mode"] != "SERVER")),
        // It takes what targets it alone.
        Role::Waypoint => false,
    };
    wanted.all(|(label, value)| labels[label] == *value) && matches(role(pod))
}

#[derive(Clone, Copy)]
enum Role {
    Sidecar,
    Gateway,
    Waypoint,
}

/// What its agent was started as: `proxy router`. Labels do not tell: gateways have any.
fn role(pod: &Value) -> Role {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let proxies = containers.filter(|container| container["name"] == "istio-proxy");
    let mut words = proxies.filter_map(|proxy| proxy["args"].as_array()).flatten().filter_map(Value::as_str);
    match words.find(|word| matches!(*word, "sidecar" | "router" | "waypoint")) {
        Some("router") => Role::Gateway,
        Some("waypoint") => Role::Waypoint,
        _ => Role::Sidecar,
    }
}

struct Proxy {
    loaded: usize,
    is_ephemeral: bool,
}

/// Whether its proxy has the plugins that are meant for it, of those that the cluster has.
fn look(checks: &Checks<'_, '_>, pod: &Value, meant: &[&Document], plugins: &[Plugin]) -> Result<Proxy, String> {
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
    filters.retain(|filter| plugins.iter().any(|plugin| filter.is(&plugin.kind, &plugin.namespace, &plugin.name)));
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
    let is_absent = |plugin: &&&Document| {
        let namespace = plugin.namespace.as_deref().unwrap_or_default();
        !filters.iter().any(|filter| filter.is(&plugin.kind, namespace, &plugin.name))
    };
    // One for some ports is only where there are such.
    let absent: Vec<String> =
        meant.iter().filter(|plugin| !is_of_ports(&plugin.value)).filter(is_absent).map(|it| it.title()).collect();
    if !absent.is_empty() {
        return Err(format!("does not have {}", absent.join(", ")));
    }
    if !not_fetched.is_empty() {
        let names = not_fetched.join(" ");
        return Err(format!("the module of {names} could not be fetched; every request is refused"));
    }
    // istiod and the configuration dump know nothing of it: both have what was sent, not what became of it. A plugin
    // makes this gauge once its policy is accepted; that a VM runs may be due to a plugin of others.
    let is_accepted = stats.contains("careplane.pseudonym_key_ephemeral: ");
    if !is_accepted || !is_over_0("wasm.envoy.wasm.runtime.v8.active") {
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
    fn is(&self, kind: &str, namespace: &str, name: &str) -> bool {
        self.kind == kind && self.name == format!("{namespace}.{name}")
    }
}

fn is_of_ports(plugin: &Value) -> bool {
    plugin["spec"]["match"].as_array().into_iter().flatten().any(|one| !one["ports"].is_null())
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
