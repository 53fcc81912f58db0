//! Takes out what `apply` put in. What holds data or serves others stays, and is named. Nothing is removed because a
//! read failed: then the run ends, or the namespace stays.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Context;
use super::difference::{MANAGER, Presence, refused};
use super::failure::{Code, Failure};
use super::keys::{self, Held, SECRET};
use super::left;
use super::manifests::{Document, Step, join};
use super::plugins;
use super::print::first_five;
use super::verify::{has_proxy, is_in_ambient, istio_label};
use crate::manifest::ROOT_NAMESPACE;

/// ConfigMaps in which istiod elects a leader. It leaves them behind.
const ELECTIONS: [&str; 8] = [
    "istio-analyze-leader",
    "istio-clustertrustbundle-controller-election",
    "istio-gateway-status-leader",
    "istio-ip-autoallocate",
    "istio-leader",
    "istio-namespace-controller-election",
    "istio-serviceexport-controller-election",
    "istio-status-leader",
];

/// What is to be removed of one step, and is there.
struct Removal<'d> {
    label: &'static str,
    documents: Vec<&'d Document>,
}

/// A PersistentVolumeClaim of the manifests, or one that Kubernetes made for their StatefulSets. It does not go with
/// them.
struct Claim<'d> {
    namespace: &'d str,
    name: String,
}

pub fn run(context: &Context<'_>) -> Result<(), Failure> {
    let Context { settings, cluster, manifests, printer } = context;
    printer.say("mode", "undo");
    let presence = Presence::read(cluster)?;
    let is_gateway = |document: &&Document| document.kind == "Gateway";
    let is_claim = |document: &&Document| document.kind == "PersistentVolumeClaim";
    let left = left::read(context, &presence)?;
    let of = |step| {
        let left = left.iter().filter(move |document| document.step() == step);
        manifests.step(step).into_iter().chain(left).collect::<Vec<_>>()
    };
    let traffic = of(Step::Traffic);
    // The way in goes before what guards it.
    let steps = [
        ("gateways", traffic.iter().copied().filter(is_gateway).collect::<Vec<_>>()),
        ("careplane", of(Step::Careplane)),
        ("admission", of(Step::Admission)),
        ("observability", of(Step::Observability).into_iter().filter(|it| !is_claim(it)).collect()),
        ("traffic", traffic.into_iter().filter(|it| !is_gateway(it)).collect()),
        ("security", of(Step::Security)),
    ];
    let mut removals = Vec::new();
    for (label, documents) in steps {
        let waiting = printer.waiting(&format!("looking for {label}"));
        let removal = Removal { label, documents: there(context, &presence, documents)? };
        drop(waiting);
        removal.print(context, "to be removed");
        removals.push(removal);
    }
    let (stale, others) = plugins::stale(context, &presence)?;
    for plugin in &stale {
        printer.more(&format!("to be removed: {}", plugin.title()));
    }
    for plugin in &others {
        printer.more(&format!("kept: {}, which apply has not made", plugin.title()));
    }
    let claims = claims(context, &presence)?;
    for claim in &claims {
        let title = claim.title();
        if settings.purge {
            printer.say("claims", &format!("to be removed: {title}, and what it holds"));
        } else {
            printer.say("claims", &format!("kept: {title}, it holds data (--purge removes it)"));
        }
    }
    let what = if settings.purge {
        "Remove this, the pseudonym keys, the stored traces and records, Istio, and the namespaces that are empty then"
    } else {
        "Remove this, Istio if it serves no proxy then, and the namespaces that are empty then"
    };
    context.confirm(what)?;

    for removal in &removals {
        removal.run(context)?;
        match removal.label {
            "careplane" => {
                for plugin in &stale {
                    plugins::remove(cluster, plugin)?;
                    printer.more(&format!("removed: {}", plugin.title()));
                }
            }
            "observability" if settings.purge => remove_claims(context, &claims)?,
            _ => {}
        }
    }
    remove_istio(context, &presence)?;
    remove_keys(context, &presence)?;
    let unread = remove_namespaces(context, &presence)?;
    if !unread.is_empty() {
        let message = format!("kept {}, because what they hold could not be read", unread.join(" "));
        return Err(Failure::new(Code::Unreachable, message).advise("then run undo again"));
    }
    printer.say("finished", "removed what could be");
    Ok(())
}

/// Those of the documents that the cluster has.
fn there<'d>(
    context: &Context<'_>,
    presence: &Presence,
    documents: Vec<&'d Document>,
) -> Result<Vec<&'d Document>, Failure> {
    let mut known = presence.known(context.cluster, documents)?;
    if known.is_empty() {
        return Ok(known);
    }
    let live = context.cluster.live(&join(known.iter().copied()))?;
    let key = |kind: &Value, metadata: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(kind), text(&metadata["namespace"]), text(&metadata["name"]))
    };
    let live: BTreeSet<_> = live.iter().map(|it| key(&it["kind"], &it["metadata"])).collect();
    known.retain(|document| live.contains(&key(&document.value["kind"], &document.value["metadata"])));
    Ok(known)
}

impl Removal<'_> {
    fn print(&self, context: &Context<'_>, words: &str) {
        let printer = context.printer;
        match self.documents.len() {
            0 => printer.say(self.label, "nothing to remove"),
            count => {
                printer.say(self.label, &format!("{count} {words}"));
                for document in &self.documents {
                    printer.more(&format!("{words}: {}", document.title()));
                }
            }
        }
    }

    fn run(&self, context: &Context<'_>) -> Result<(), Failure> {
        let Context { settings, cluster, printer, .. } = context;
        if self.documents.is_empty() {
            return Ok(());
        }
        let timeout = format!("--timeout={}", settings.timeout);
        let arguments = ["delete", "--ignore-not-found", "--cascade=foreground", &timeout, "-f", "-"];
        let waiting = printer.waiting(&format!("removing {}", self.label));
        let ended = cluster.feed(&arguments, &join(self.documents.iter().copied()))?;
        drop(waiting);
        if !ended.status.success() {
            if !ended.timed_out() || ended.is_not_allowed() {
                return Err(refused(cluster, self.label, "removed", &ended));
            }
            for line in ended.stderr.lines() {
                eprintln!("    {line}");
            }
            let failure =
                Failure::new(Code::TimedOut, format!("{} cannot be removed: the reason is above", self.label));
            return Err(failure.advise("then run undo again"));
        }
        printer.say(self.label, &format!("{} removed", ended.stdout.lines().count()));
        Ok(())
    }
}

/// Those that the cluster has.
fn claims<'d>(context: &Context<'d>, presence: &Presence) -> Result<Vec<Claim<'d>>, Failure> {
    let manifests = context.manifests;
    let holders: Vec<&Document> =
        manifests.all().filter(|it| matches!(it.kind.as_str(), "PersistentVolumeClaim" | "StatefulSet")).collect();
    let namespaces: BTreeSet<&str> = holders.iter().filter_map(|holder| holder.namespace.as_deref()).collect();
    let mut claims = Vec::new();
    for namespace in namespaces.into_iter().filter(|namespace| presence.has_namespace(namespace)) {
        let found = context.cluster.read(&["-n", namespace, "get", "persistentvolumeclaims", "-o", "name"])?;
        let is_ours = |name: &&str| {
            holders.iter().any(|holder| holder.namespace.as_deref() == Some(namespace) && is_held_by(name, holder))
        };
        let names = found.lines().filter_map(|line| line.split_once('/')).map(|(_, name)| name).filter(is_ours);
        claims.extend(names.map(|name| Claim { namespace, name: name.to_owned() }));
    }
    Ok(claims)
}

/// Kubernetes names a claim after its template, its StatefulSet and its pod: `audit-otel-collector-0`. A claim that
/// only looks alike belongs to others.
fn is_held_by(claim: &str, holder: &Document) -> bool {
    if holder.kind == "PersistentVolumeClaim" {
        return holder.name == claim;
    }
    let templates = holder.value["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
    templates.filter_map(|template| template["metadata"]["name"].as_str()).any(|template| {
        let ordinal = claim
            .strip_prefix(template)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_prefix(holder.name.as_str()))
            .and_then(|rest| rest.strip_prefix('-'));
        ordinal.is_some_and(|ordinal| !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

fn remove_claims(context: &Context<'_>, claims: &[Claim<'_>]) -> Result<(), Failure> {
    let Context { settings, cluster, printer, .. } = context;
    let timeout = format!("--timeout={}", settings.timeout);
    for claim in claims {
        let arguments = ["-n", claim.namespace, "delete", "persistentvolumeclaim", &claim.name, &timeout];
        let ended = cluster.kubectl(&arguments)?;
        if !ended.status.success() {
            return Err(refused(cluster, "observability", "removed", &ended));
        }
        printer.more(&format!("removed: {}, and what it held", claim.title()));
    }
    Ok(())
}

impl Claim<'_> {
    fn title(&self) -> String {
        format!("PersistentVolumeClaim {}/{}", self.namespace, self.name)
    }
}

/// Istio goes only when no proxy needs it: a proxy without istiod works on, until its certificate ends.
fn remove_istio(context: &Context<'_>, presence: &Presence) -> Result<(), Failure> {
    let Context { settings, cluster, printer, .. } = context;
    // By its label: with a revision, its name has another end.
    let arguments = ["get", "deployments", "-l", "app=istiod", "-n", ROOT_NAMESPACE, "-o", "name"];
    let istiods =
        || Ok::<_, Failure>(cluster.read(&arguments)?.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let before = if presence.has_namespace(ROOT_NAMESPACE) { istiods()? } else { Vec::new() };
    if before.is_empty() {
        printer.say("istio", "nothing to remove");
        return Ok(());
    }
    let serves = |pod: &&Value| {
        pod["status"]["phase"] == "Running"
            && !matches!(istio_label(pod), "ingressgateway" | "egressgateway")
            && (has_proxy(pod) || is_in_ambient(pod))
    };
    let pods = cluster.items(&["get", "pods", "-A", "-o", "json"])?;
    let title = |pod: &Value| {
        let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
        format!("{}/{}", text("namespace"), text("name"))
    };
    let served: Vec<String> = pods.iter().filter(serves).map(title).collect();
    if !served.is_empty() && !settings.purge {
        printer.say("istio", &format!("kept: it serves the proxies of {}", first_five(&served)));
        printer.more("restart these, now that their namespace has lost its label, then run undo again; or --purge");
        return Ok(());
    }
    let options = settings.istio_options();
    let mut arguments = vec!["uninstall"];
    arguments.extend(options.iter().map(String::as_str));
    arguments.push("--skip-confirmation");
    let waiting = printer.waiting("istioctl uninstall");
    let ended = cluster.istioctl(&arguments)?;
    drop(waiting);
    if !ended.status.success() {
        eprintln!("    {}", ended.last_line());
        return Err(Failure::new(Code::Refused, "istioctl uninstall failed: the reason is above"));
    }
    let after = istiods()?;
    if after == before {
        printer.say("istio", "kept: not the installation that apply made (another name or revision)");
        printer.more(&format!("try: istioctl --context {} uninstall --help", cluster.context));
        return Ok(());
    }
    if !after.is_empty() {
        // Its pods cannot be told from those that end.
        printer.say("istio", &format!("removed; kept: {}, of another installation", after.join(" ")));
        return Ok(());
    }
    let (selector, timeout) =
        ("istio in (pilot, ingressgateway, egressgateway)", format!("--timeout={}", settings.timeout));
    let waiting = printer.waiting("waiting for its pods to end");
    // Without any such pod, it fails; pods that do not end keep their namespace below.
    let _ = cluster.kubectl(&["wait", "pods", "-A", "-l", selector, "--for=delete", &timeout])?;
    drop(waiting);
    printer.say("istio", "removed; its CRDs stay, because they hold the configuration of all that use Istio");
    Ok(())
}

fn remove_keys(context: &Context<'_>, presence: &Presence) -> Result<(), Failure> {
    let Context { settings, cluster, manifests, printer } = context;
    let mut holders = Vec::new();
    for namespace in manifests.mesh_namespaces() {
        if !presence.has_namespace(namespace) || keys::key_of(cluster, namespace)? == Held::Nothing {
            continue;
        }
        if settings.purge {
            let ended = cluster.kubectl(&["-n", namespace, "delete", "secret", SECRET])?;
            if !ended.status.success() {
                return Err(refused(cluster, "keys", "removed", &ended));
            }
        }
        holders.push(namespace);
    }
    let names = holders.join(" ");
    if holders.is_empty() {
        printer.say("keys", "nothing to remove");
    } else if settings.purge {
        printer.say("keys", &format!("removed: Secret {SECRET} in {names}"));
    } else {
        printer.say("keys", &format!("kept: Secret {SECRET} in {names}"));
        printer.more("without it, no pseudonym can be linked to its person (--purge removes it)");
    }
    Ok(())
}

/// Removes the namespaces that are empty, and takes our labels from the other ones. Returns those that could not be
/// looked into.
fn remove_namespaces(context: &Context<'_>, presence: &Presence) -> Result<Vec<String>, Failure> {
    let Context { settings, cluster, manifests, printer } = context;
    let namespaces: Vec<&str> =
        manifests.namespaces().into_iter().filter(|namespace| presence.has_namespace(namespace)).collect();
    if namespaces.is_empty() {
        printer.say("namespaces", "nothing to remove");
        return Ok(Vec::new());
    }
    let kinds = namespaced_kinds(context, presence);
    let mut unread = Vec::new();
    for namespace in namespaces {
        let contents = match &kinds {
            Ok(kinds) => contents(context, namespace, kinds),
            Err(failure) => Err(Failure::new(failure.code, failure.message())),
        };
        let contents = match contents {
            Ok(contents) => contents,
            Err(failure) => {
                printer.say("namespaces", &format!("kept: {namespace}, because {}", failure.message()));
                unread.push(namespace.to_owned());
                continue;
            }
        };
        if contents.is_empty() {
            let timeout = format!("--timeout={}", settings.timeout);
            let waiting = printer.waiting(&format!("removing namespace {namespace}"));
            let ended = cluster.kubectl(&["delete", "namespace", namespace, "--ignore-not-found", &timeout])?;
            drop(waiting);
            if !ended.status.success() {
                if !ended.timed_out() {
                    return Err(refused(cluster, &format!("namespace {namespace}"), "removed", &ended));
                }
                let why = ended.last_line();
                let message = format!("namespace {namespace} is not gone after {}: {why}", settings.timeout);
                return Err(Failure::new(Code::TimedOut, message).advise("then run undo again"));
            }
            printer.say("namespaces", &format!("removed: {namespace}"));
            continue;
        }
        // Applied with nothing but its name, a namespace loses the labels that apply gave it.
        let bare = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let manager = format!("--field-manager={MANAGER}");
        let ended = cluster.feed(&["apply", "--server-side", &manager, "-f", "-"], &bare.to_string())?;
        if !ended.status.success() {
            return Err(refused(cluster, "namespaces", "changed", &ended));
        }
        printer
            .say("namespaces", &format!("kept: {namespace}, without our labels; it holds {}", first_five(&contents)));
    }
    Ok(unread)
}

/// Every kind that a namespace can hold, but those that Kubernetes makes itself.
fn namespaced_kinds(context: &Context<'_>, presence: &Presence) -> Result<BTreeSet<String>, Failure> {
    const MADE_BY_KUBERNETES: [&str; 8] = [
        "events",
        "events.events.k8s.io",
        "endpoints",
        "endpointslices.discovery.k8s.io",
        "leases.coordination.k8s.io",
        "controllerrevisions.apps",
        "replicasets.apps",
        "pods.metrics.k8s.io",
    ];
    let mut kinds = BTreeSet::new();
    // Those of today: removing Istio leaves its CRDs.
    for version in presence.versions() {
        let here = context.cluster.kinds(version)?;
        let countable = here.iter().filter(|kind| kind.is_namespaced && kind.is_listable);
        kinds.extend(countable.map(|kind| kind.resource.clone()));
    }
    kinds.retain(|resource| !MADE_BY_KUBERNETES.contains(&resource.as_str()));
    Ok(kinds)
}

/// What makes a namespace not empty: everything but what Kubernetes and Istio put into each one, and our service
/// accounts.
fn contents(context: &Context<'_>, namespace: &str, kinds: &BTreeSet<String>) -> Result<Vec<String>, Failure> {
    let kinds = kinds.iter().map(String::as_str).collect::<Vec<_>>().join(",");
    let found = context.cluster.read(&["-n", namespace, "get", &kinds, "--ignore-not-found", "-o", "name"])?;
    let is_ours = |name: &str| context.manifests.has("ServiceAccount", namespace, name);
    let is_usual = |line: &&str| {
        line.is_empty() || is_usual(namespace, line) || { line.strip_prefix("serviceaccount/").is_some_and(is_ours) }
    };
    Ok(found.lines().filter(|line| !is_usual(line)).map(str::to_owned).collect())
}

/// Exact names: what only begins like Istio's may be anyone's.
fn is_usual(namespace: &str, line: &str) -> bool {
    match line.split_once('/') {
        Some(("configmap", "kube-root-ca.crt" | "istio-ca-root-cert")) => true,
        Some(("configmap", name)) => namespace == "istio-system" && ELECTIONS.contains(&name),
        Some(("secret", name)) => name == "istio-ca-secret",
        Some(("serviceaccount", name)) => matches!(
            name,
            "default"
                | "istiod"
                | "istio-reader-service-account"
                | "istio-ingressgateway-service-account"
                | "istio-egressgateway-service-account"
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stateful_set(name: &str, templates: &[&str]) -> Document {
        let templates: Vec<Value> = templates.iter().map(|name| json!({"metadata": {"name": name}})).collect();
        Document {
            text: String::new(),
            version: "apps/v1".into(),
            kind: "StatefulSet".into(),
            namespace: Some("monitoring".into()),
            name: name.into(),
            value: json!({"spec": {"volumeClaimTemplates": templates}}),
        }
    }

    #[test]
    fn a_claim_is_of_the_stateful_set_that_it_is_named_after() {
        let collector = stateful_set("otel-collector", &["queue", "audit"]);
        for (claim, expected) in [
            ("audit-otel-collector-0", true),
            ("queue-otel-collector-12", true),
            ("otel-collector-0", false),
            ("audit-otel-collector", false),
            ("audit-otel-collector-", false),
            ("data-otel-collector-0", false),
            ("audit-my-otel-collector-0", false),
            ("audit-otel-collector-old-0", false),
        ] {
            assert_eq!(is_held_by(claim, &collector), expected, "{claim}");
        }
        // The one that kube-prometheus-stack makes.
        let stack = "prometheus-kube-prometheus-stack-prometheus";
        assert!(!is_held_by(&format!("{stack}-db-{stack}-0"), &stateful_set("prometheus", &["data"])));
    }

    #[test]
    fn what_only_begins_like_istios_is_not_istios() {
        for (namespace, line, expected) in [
            ("operational", "configmap/istio-ca-root-cert", true),
            ("operational", "configmap/istio-custom-bootstrap", false),
            ("istio-system", "configmap/istio-leader", true),
            ("operational", "configmap/istio-leader", false),
            ("istio-system", "serviceaccount/istio-reader-service-account", true),
            ("operational", "serviceaccount/istio-deployer", false),
            ("operational", "secret/istio-ca-secret-old", false),
        ] {
            assert_eq!(is_usual(namespace, line), expected, "{namespace} {line}");
        }
    }
}
