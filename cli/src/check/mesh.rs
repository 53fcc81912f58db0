//! The manifests as the rules look at them.

use std::collections::BTreeMap;

use careplane_policy::Problems;
use careplane_policy::document::{ClaimPath, Document as PolicyDocument, GrantedTenants, Source};
use serde_json::Value;

use crate::filters;
use crate::manifest::{Document, Manifest, policy_json};
use crate::yaml::{Location, Node};

pub const NETWORKING: &str = "networking.istio.io";
pub const SECURITY: &str = "security.istio.io";
pub const TELEMETRY: &str = "telemetry.istio.io";
pub const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// Everything that belongs together.
pub struct Mesh<'d> {
    pub manifests: Vec<&'d Manifest>,
    pub plugins: Vec<Plugin<'d>>,
    /// Each once, however many plugins have it.
    pub policies: Vec<Policy<'d>>,
}

/// A careplane plugin: a WasmPlugin or a TrafficExtension.
pub struct Plugin<'d> {
    pub manifest: &'d Manifest,
    /// The part that the two kinds have in common.
    pub wasm: &'d Node,
    /// Its policy among [`Mesh::policies`].
    pub policy: Option<usize>,
}

/// A policy.
pub struct Policy<'d> {
    pub node: &'d Node,
    pub json: Value,
    /// None when its shape is wrong.
    pub document: Option<PolicyDocument>,
    /// As a proxy would take it, or what a proxy would say to it.
    pub compiled: Result<careplane_policy::Policy, Problems>,
}

// === impl Mesh ===

impl<'d> Mesh<'d> {
    pub fn new(documents: impl IntoIterator<Item = &'d Document>) -> Self {
        let mut mesh = Self { manifests: Vec::new(), plugins: Vec::new(), policies: Vec::new() };
        // Policies on their own first: where a plugin repeats one, that is where it should be changed.
        let mut policies: Vec<&Node> = Vec::new();
        for document in documents {
            match document {
                Document::Policy(node) => policies.push(node),
                Document::Manifest(manifest) => {
                    if manifest.is_policy() {
                        policies.push(manifest.policy().unwrap_or(&manifest.node));
                    }
                    mesh.manifests.push(manifest);
                }
                Document::Protobuf(_) | Document::Other(_) => {}
            }
        }
        for node in policies {
            mesh.policy(node);
        }
        for manifest in mesh.manifests.clone() {
            let Some(wasm) = wasm(manifest) else { continue };
            let policy = manifest.policy().map(|policy| mesh.policy(policy));
            // The API server wants a url: without one it is a patch, with a policy for plugins.
            if wasm.get(&["url"]).is_none() {
                continue;
            }
            mesh.plugins.push(Plugin { manifest, wasm, policy });
        }
        mesh
    }

    fn policy(&mut self, node: &'d Node) -> usize {
        let json = node.to_json();
        self.policies.iter().position(|known| known.json == json).unwrap_or_else(|| {
            let document = serde_json::from_value(json.clone()).ok();
            let compiled = careplane_policy::Policy::from_json(policy_json(node).as_bytes());
            self.policies.push(Policy { node, json, document, compiled });
            self.policies.len() - 1
        })
    }

    /// The manifests of a kind.
    pub fn of(&self, group: &str, kind: &str) -> impl Iterator<Item = &'d Manifest> {
        self.manifests.iter().copied().filter(move |manifest| manifest.is(group, kind))
    }

    pub fn virtual_services(&self) -> Vec<&'d Manifest> {
        self.of(NETWORKING, "VirtualService").collect()
    }

    /// The readable policies, each with whether a plugin with the filter uses it. One without any plugin is taken for
    /// all.
    pub fn policies_for(&self, filter: &str) -> impl Iterator<Item = (&Policy<'d>, &PolicyDocument)> {
        self.policies.iter().enumerate().filter_map(move |(index, policy)| {
            let mut users = self.plugins.iter().filter(|plugin| plugin.policy == Some(index)).peekable();
            let used = users.peek().is_none() || users.any(|plugin| plugin.has(filter));
            Some((policy, policy.document.as_ref().filter(|_| used)?))
        })
    }

    /// Whether a filter runs anywhere. Without any plugin among the inputs: yes.
    pub fn runs(&self, filter: &str) -> bool {
        self.plugins.is_empty() || self.plugins.iter().any(|plugin| plugin.has(filter))
    }

    /// The meshConfig: of an IstioOperator, of the Istio of the Sail operator, or of the ConfigMap that istiod reads.
    pub fn mesh_config(&self) -> Option<&'d Node> {
        let operators = self.of("install.istio.io", "IstioOperator").chain(self.of("sailoperator.io", "Istio"));
        let config = |it: &'d Manifest| it.spec(&["meshConfig"]).or_else(|| it.spec(&["values", "meshConfig"]));
        operators.filter_map(config).next().or_else(|| {
            let mut maps = self.of("", "ConfigMap").filter(|map| map.name == "istio" || map.name.starts_with("istio-"));
            maps.find_map(|map| map.node.get(&["data", "mesh"]).filter(|mesh| !mesh.entries().is_empty()))
        })
    }
}

/// Whether a policy leaves a header out of what careplane writes.
pub fn omits(document: &PolicyDocument, header: &str) -> bool {
    document.headers.omit.iter().any(|omitted| omitted.eq_ignore_ascii_case(header))
}

/// Whether it is a plugin of careplane, or a patch of one.
pub fn is_careplane(manifest: &Manifest) -> bool {
    wasm(manifest).is_some()
}

/// The wasm part of a careplane plugin; none for other manifests, and for other plugins.
fn wasm(manifest: &Manifest) -> Option<&Node> {
    let wasm = manifest.wasm()?;
    let versioned = wasm.text(&["pluginConfig", "version"]).is_some_and(|version| version.starts_with("careplane"));
    let named = wasm.text(&["pluginName"]) == Some(filters::ALL);
    (versioned || named || repository(wasm).starts_with("careplane")).then_some(wasm)
}

/// `careplane-audit` of `oci://registry.example/careplane/careplane-audit:0.1.0@sha256:…`
fn repository(wasm: &Node) -> &str {
    let url = wasm.text(&["url"]).unwrap_or_default();
    let last = url.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
    let last = last.split(['@', ':']).next().unwrap_or_default();
    last.strip_suffix(".wasm").unwrap_or(last)
}

// === impl Plugin ===

impl<'d> Plugin<'d> {
    pub fn name(&self) -> &'d str {
        self.wasm.text(&["pluginName"]).unwrap_or_default()
    }

    /// The names that its module knows.
    pub fn known_names(&self) -> Vec<&'static str> {
        let alone = repository(self.wasm).strip_prefix("careplane-");
        let alone: Vec<_> = filters::NAMES.into_iter().filter(|name| Some(*name) == alone).collect();
        if alone.is_empty() { filters::NAMES.to_vec() } else { alone }
    }

    pub fn has(&self, filter: &str) -> bool {
        filters::includes(self.name(), filter)
    }

    pub fn url(&self) -> &'d str {
        self.wasm.text(&["url"]).unwrap_or_default()
    }

    /// What both kinds have directly under `spec`.
    pub fn spec(&self, key: &str) -> Option<&'d Node> {
        self.manifest.spec(&[key])
    }

    /// Where a field is, or, without it, the plugin itself.
    pub fn place(&self, field: Option<&'d Node>) -> &'d Location {
        field.map_or(self.manifest.place(), |field| &field.place)
    }

    /// The environment of its VM: the name of each variable, and where it comes from.
    pub fn env(&self) -> &'d [Node] {
        self.wasm.list(&["vmConfig", "env"])
    }

    /// Whether both can be in one proxy.
    pub fn meets(&self, other: &Self) -> bool {
        may_meet(self.manifest, other.manifest)
    }

    /// Whether it is at waypoints.
    pub fn is_at_waypoints(&self, mesh: &Mesh<'_>) -> bool {
        const CLASS: &str = "istio-waypoint";
        let of_class = |name: Option<&str>| {
            let mut gateways = mesh.of(GATEWAY_API, "Gateway");
            gateways.any(|it| {
                it.spec(&["gatewayClassName"]).and_then(Node::as_text) == Some(CLASS) && Some(it.name.as_str()) == name
            })
        };
        self.targets().iter().any(|target| match (target.text(&["kind"]), target.text(&["name"])) {
            (Some("Service" | "ServiceEntry"), _) => true,
            (Some("GatewayClass"), name) => name == Some(CLASS),
            (_, name) => of_class(name),
        })
    }

    fn targets(&self) -> &'d [Node] {
        self.spec("targetRefs").map(Node::elements).unwrap_or_default()
    }

    /// Whether it sees requests that the workload beside it did not make: at a gateway, a waypoint, or on the way in.
    pub fn serves_others(&self, mesh: &Mesh<'_>) -> bool {
        let matches = self.spec("match").map(Node::elements).unwrap_or_default();
        let only_out = !matches.is_empty() && matches.iter().all(|one| one.text(&["mode"]) == Some("CLIENT"));
        if !self.targets().is_empty() || !only_out {
            return true;
        }
        // On the way out: of a workload, or of a gateway, where it is the way in for all.
        let selector = selector(self.manifest);
        let gateway =
            |labels: &BTreeMap<&str, &str>| labels.iter().any(|(key, value)| selector.get(key) == Some(value));
        let looks_so = selector.iter().any(|(key, value)| key.contains("gateway") || value.contains("gateway"));
        let gateways = mesh.of(NETWORKING, "Gateway").map(|gateway| labels(gateway.spec(&["selector"])));
        selector.is_empty() || looks_so || gateways.into_iter().any(|labels| gateway(&labels))
    }
}

/// Whether two manifests can be about one proxy: by namespaces and selectors.
pub fn may_meet(one: &Manifest, other: &Manifest) -> bool {
    let near = one.namespace.is_none() || other.namespace.is_none() || one.namespace == other.namespace;
    let (labels, others) = (selector(one), selector(other));
    let contradiction = labels.iter().any(|(key, value)| others.get(key).is_some_and(|other| other != value));
    (near || one.is_root() || other.is_root()) && !contradiction
}

fn selector(manifest: &Manifest) -> BTreeMap<&str, &str> {
    labels(manifest.spec(&["selector", "matchLabels"]))
}

pub fn labels(node: Option<&Node>) -> BTreeMap<&str, &str> {
    let entries = node.map(Node::entries).unwrap_or_default();
    entries.iter().filter_map(|entry| Some((entry.key.as_str(), entry.value.as_text()?))).collect()
}

// === impl Policy ===

impl<'d> Policy<'d> {
    /// Where a value of the document is, or as much of the way there as is written.
    pub fn place(&self, path: &str) -> &'d Location {
        &self.node.follow(path).node.place
    }
}

/// The claims that a policy reads.
pub fn claims(document: &PolicyDocument) -> Vec<String> {
    let identity = &document.identity;
    let sources = identity.tenant.sources.iter().chain(&identity.user.sources).chain(&identity.purpose.sources);
    let in_sources = sources.filter_map(|source| match source {
        Source::Claim(claim) => Some(&claim.path),
        _ => None,
    });
    let in_grants = identity.grants.iter().flat_map(|grant| {
        let tenants = match &grant.tenants {
            Some(GrantedTenants::Jurisdiction(claim) | GrantedTenants::Group(claim)) => Some(&claim.path),
            Some(GrantedTenants::Any) | None => None,
        };
        grant.when.0.iter().filter_map(|condition| condition.claim.as_ref()).chain(tenants)
    });
    in_sources
        .chain(in_grants)
        .map(|path| match path {
            ClaimPath::Name(name) => name.clone(),
            ClaimPath::Nested(names) => names.join("."),
        })
        .collect()
}
