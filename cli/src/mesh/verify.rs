//! Whether the mesh does what was applied: each check is passed or failed, and a read that fails is a failed check.

mod proxies;
mod trace;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Context;
use super::failure::{Code, Failure};
use super::manifests::{is_ambient, is_injected};
use super::options::Overlay;

/// How many checks failed, and how they are printed.
pub struct Checks<'c, 'a> {
    context: &'c Context<'a>,
    failed: Cell<usize>,
}

pub fn run(context: &Context<'_>) -> Result<(), Failure> {
    let checks = Checks { context, failed: Cell::new(0) };
    let mut pods = context.cluster.items(&["get", "pods", "-A", "-o", "json"]);
    // One that a rollout replaces ends in the middle of a question.
    if let Ok(pods) = &mut pods {
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    }
    // Two checks need the pods; without them, each has failed for the same reason.
    let with_pods = |label: &str, check: &dyn Fn(&[Value]) -> Result<(), Failure>| match &pods {
        Ok(pods) => checks.take(label, check(pods)),
        Err(failure) => checks.fail(label, failure.message()),
    };
    with_pods("injection", &|pods| injection(&checks, pods));
    checks.take("mutual TLS", mutual_tls(&checks));
    checks.take("sync", sync(&checks));
    with_pods("plugins", &|pods| proxies::plugins(&checks, pods));
    if context.settings.overlay == Overlay::AuditOnly {
        context.printer.say("trace", "not looked for: audit-only keeps no trace");
    } else {
        checks.take("trace", trace::trace(&checks));
    }
    match checks.failed.get() {
        0 => {
            context.printer.say("verified", "all checks passed");
            Ok(())
        }
        failed => Err(Failure::new(Code::Unverified, format!("{failed} of the checks failed"))
            .advise("docs/troubleshooting.md says what to do; careplane mesh verify tries again")),
    }
}

impl Checks<'_, '_> {
    fn passed(&self, label: &str, text: &str) {
        self.context.printer.say(label, &format!("ok: {text}"));
    }

    fn fail(&self, label: &str, text: &str) {
        self.failed.set(self.failed.get() + 1);
        self.context.printer.say(label, &format!("FAILED: {text}"));
    }

    fn more(&self, text: &str) {
        self.context.printer.more(text);
    }

    /// A check that could not be made has failed.
    fn take(&self, label: &str, done: Result<(), Failure>) {
        if let Err(failure) = done {
            self.fail(label, failure.message());
        }
    }
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// `namespace/name`
fn title(object: &Value) -> String {
    format!("{}/{}", text(object, "/metadata/namespace"), text(object, "/metadata/name"))
}

/// Whether it has a sidecar, or is a gateway. ztunnel is neither: only its container has the same name.
pub fn has_proxy(pod: &Value) -> bool {
    if text(pod, "/metadata/labels/app") == "ztunnel" {
        return false;
    }
    let containers = ["initContainers", "containers"].into_iter().filter_map(|list| pod["spec"][list].as_array());
    containers.flatten().any(|container| container["name"] == "istio-proxy")
}

pub fn is_in_ambient(pod: &Value) -> bool {
    text(pod, "/metadata/annotations/ambient.istio.io~1redirection") == "enabled"
}

/// Its label `istio`, which gateways have.
pub fn istio_label(pod: &Value) -> &str {
    text(pod, "/metadata/labels/istio")
}

fn injection(checks: &Checks<'_, '_>, pods: &[Value]) -> Result<(), Failure> {
    let cluster = checks.context.cluster;
    let namespaces = cluster.namespaces()?;
    let named = |is: fn(&Value) -> bool| -> BTreeSet<&str> {
        namespaces.iter().filter(|namespace| is(namespace)).map(|it| text(it, "/metadata/name")).collect()
    };
    let (injected, ambient) = (named(is_injected), named(is_ambient));
    if injected.is_empty() && ambient.is_empty() {
        checks.fail("injection", "no namespace is labelled for it: run apply");
        return Ok(());
    }
    let (mut with, mut without) = (0, Vec::new());
    for pod in pods {
        let is_over = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
        if is_over || is_left_out(pod) || pod["spec"]["hostNetwork"] == true {
            continue;
        }
        let namespace = text(pod, "/metadata/namespace");
        let is_with = if ambient.contains(namespace) {
            is_in_ambient(pod) || has_proxy(pod)
        } else if injected.contains(namespace) {
            has_proxy(pod)
        } else {
            continue;
        };
        if is_with { with += 1 } else { without.push(title(pod)) }
    }
    if without.is_empty() {
        checks.passed("injection", &format!("{with} pods, each with a proxy"));
    } else {
        checks.fail("injection", &format!("without a proxy: {}", without.join(" ")));
        let context = &cluster.context;
        checks.more(&format!(
            "they were there before the label: kubectl --context {context} -n NAMESPACE rollout restart deployment"
        ));
    }
    Ok(())
}

/// Whether it says itself that it is to have no proxy: by the label, or, where there is none, by the older annotation;
/// of ambient, by a label of its own.
fn is_left_out(pod: &Value) -> bool {
    let metadata = &pod["metadata"];
    let inject = "sidecar.istio.io/inject";
    let (label, annotation) = (&metadata["labels"][inject], &metadata["annotations"][inject]);
    let injection = if label.is_null() { annotation } else { label };
    injection == "false" || metadata["labels"]["istio.io/dataplane-mode"] == "none"
}

fn mutual_tls(checks: &Checks<'_, '_>) -> Result<(), Failure> {
    let cluster = checks.context.cluster;
    let rules = cluster.items(&["get", "peerauthentications.security.istio.io", "-A", "-o", "json"])?;
    let is_weak = |rule: &&Value| {
        let ports = rule.pointer("/spec/portLevelMtls").and_then(Value::as_object);
        let of_ports = ports.into_iter().flat_map(|ports| ports.values()).map(|port| text(port, "/mode"));
        of_ports.chain([text(rule, "/spec/mtls/mode")]).any(|mode| matches!(mode, "PERMISSIVE" | "DISABLE"))
    };
    let weak: Vec<String> = rules.iter().filter(is_weak).map(title).collect();
    let is_mesh_wide = |rule: &Value| {
        text(rule, "/metadata/namespace") == "istio-system"
            && rule.pointer("/spec/selector/matchLabels").is_none()
            && text(rule, "/spec/mtls/mode") == "STRICT"
    };
    if !rules.iter().any(is_mesh_wide) {
        let message = "no PeerAuthentication in istio-system makes it STRICT for the whole mesh: run apply";
        checks.fail("mutual TLS", message);
    } else if weak.is_empty() {
        checks.passed("mutual TLS", "STRICT for the whole mesh, and nothing weakens it");
    } else {
        checks.fail("mutual TLS", &format!("weakened by PeerAuthentication {}", weak.join(" ")));
        checks.more(&format!("try: kubectl --context {} get peerauthentications -A", cluster.context));
    }
    Ok(())
}

/// Proxies that have just got new configuration from istiod need a moment to answer.
fn sync(checks: &Checks<'_, '_>) -> Result<(), Failure> {
    let Context { settings, cluster, printer, .. } = checks.context;
    let deadline = Instant::now() + Duration::from_secs(settings.timeout.0);
    let waiting = printer.waiting("waiting for the proxies to have what istiod sent");
    let (proxies, behind) = loop {
        let ended = cluster.istioctl(&["proxy-status", "-v", "1"])?;
        if !ended.status.success() {
            drop(waiting);
            checks.fail("sync", &format!("istioctl proxy-status: {}", ended.last_line()));
            return Ok(());
        }
        let lines: Vec<String> = ended.stdout.lines().map(str::to_owned).collect();
        let is_behind = |line: &&String| line.contains("STALE") || line.contains("ERROR");
        let behind: Vec<String> = lines.iter().skip(1).filter(is_behind).cloned().collect();
        // What a proxy refuses, it refuses again.
        let is_final = behind.is_empty() || behind.iter().any(|line| line.contains("ERROR"));
        if is_final || Instant::now() >= deadline {
            break (lines.len().saturating_sub(1), behind);
        }
        thread::sleep(Duration::from_secs(2));
    };
    drop(waiting);
    if !behind.is_empty() {
        let names: Vec<&str> = behind.iter().filter_map(|line| line.split_whitespace().next()).collect();
        checks.fail("sync", &format!("not as istiod says: {}", names.join(" ")));
        behind.iter().for_each(|line| checks.more(line));
        checks.more("ERROR: the proxy refused it, its log says why. STALE: it has not answered");
    } else if proxies == 0 {
        checks.fail("sync", "no proxy is connected to istiod");
    } else {
        checks.passed("sync", &format!("{proxies} proxies have what istiod sent"));
    }
    Ok(())
}
