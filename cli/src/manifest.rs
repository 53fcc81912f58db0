//! Documents of a text: policies, and Kubernetes manifests that can have one inside.

use serde::de::IgnoredAny;

use crate::yaml::{self, Entry, Location, Node};

/// The `kind` of a policy that is a manifest for kustomize's sake: the document is its `spec`.
pub const POLICY: &str = "Policy";
/// What is wrong with a [`Document::Protobuf`].
pub const PROTOBUF: &str = "the policy is a map, which Envoy hands over as protobuf, and the module reads JSON: \
                            expected `\"@type\": type.googleapis.com/google.protobuf.StringValue`, with the policy as \
                            a text";
/// The root namespace: what is configured there without a selector is for all of the mesh.
pub const ROOT_NAMESPACE: &str = "istio-system";

const EXTENSIONS: &str = "extensions.istio.io";

/// One document.
#[derive(Debug, Clone)]
pub enum Document {
    /// A policy on its own.
    Policy(Node),
    /// A manifest.
    Manifest(Manifest),
    /// A policy that no proxy can read, for Envoy hands it over as protobuf: a `Struct` in the configuration of an
    /// Envoy.
    Protobuf(Node),
    /// Neither.
    Other(Node),
}

/// A Kubernetes manifest.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The API without its version: `networking.istio.io`; empty for the core.
    pub group: String,
    pub kind: String,
    pub name: String,
    /// None where the command that applies the manifest chooses it.
    pub namespace: Option<String>,
    pub node: Node,
}

/// The documents in what a file holds. The items of a `List` are documents of their own.
pub fn documents(nodes: Vec<Node>) -> Vec<Document> {
    nodes.into_iter().flat_map(document).collect()
}

fn document(node: Node) -> Vec<Document> {
    let (version, kind) = (node.text(&["apiVersion"]), node.text(&["kind"]));
    let (Some(version), Some(kind)) = (version, kind) else {
        if node.get(&["static_resources"]).is_some() {
            return in_envoy(&node);
        }
        return vec![if is_policy(&node) { Document::Policy(node) } else { Document::Other(node) }];
    };
    if kind.ends_with("List") && node.get(&["items"]).is_some() {
        return documents(node.list(&["items"]).to_vec());
    }
    let (version, kind) = (version.to_owned(), kind.to_owned());
    let mut node = node;
    if kind == "ConfigMap" {
        read_mesh_config(&mut node);
    }
    let manifest = Manifest {
        group: version.rsplit_once('/').map_or("", |(group, _)| group).to_owned(),
        kind,
        name: node.text(&["metadata", "name"]).unwrap_or_default().to_owned(),
        namespace: node.text(&["metadata", "namespace"]).map(Into::into),
        node,
    };
    vec![Document::Manifest(manifest)]
}

/// Whether a document says that it is a policy.
pub fn is_policy(node: &Node) -> bool {
    node.text(&["version"]).is_some_and(|version| version.starts_with("careplane/"))
}

/// The JSON of a policy as a proxy gets it. A text is that of an Envoy's configuration, which is no JSON.
pub fn policy_json(node: &Node) -> String {
    node.as_text().map_or_else(|| node.to_json().to_string(), Into::into)
}

/// The policies in the `configuration` of the Wasm filters of an Envoy. Listeners that share their filters by an alias
/// share the policy.
fn in_envoy(node: &Node) -> Vec<Document> {
    let mut places: Vec<&Location> = Vec::new();
    let mut policies = Vec::new();
    for (_, entry) in node.all_entries().into_iter().filter(|(_, entry)| entry.key == "configuration") {
        let value = entry.value.entries().iter().find(|entry| entry.key == "value");
        let Some(value) = value.filter(|value| !places.contains(&&value.key_place)) else { continue };
        let Some(policy) = in_configuration(value) else { continue };
        places.push(&value.key_place);
        policies.push(policy);
    }
    policies
}

/// The policy that a filter of an Envoy is given, if it is one. The module reads JSON alone: another text is kept as it
/// is, for the module to refuse it.
fn in_configuration(value: &Entry) -> Option<Document> {
    let Some(text) = value.value.as_text() else {
        return is_policy(&value.value).then(|| Document::Protobuf(value.value.clone()));
    };
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    let read = || yaml::read(&value.key_place.file, text).ok()?.into_iter().next();
    match read().filter(|_| is_json) {
        Some(mut policy) => is_policy(&policy).then(|| {
            policy.place_within(value);
            Document::Policy(policy)
        }),
        None => text.contains("careplane/v").then(|| Document::Policy(value.value.clone())),
    }
}

/// The ConfigMap `istio` has the meshConfig as a text in YAML: what it says takes the place of the text.
fn read_mesh_config(node: &mut Node) {
    let data = node.get(&["data"]).map(Node::entries).unwrap_or_default();
    let Some(mesh) = data.iter().find(|entry| entry.key == "mesh").cloned() else { return };
    let Some(written) = mesh.value.as_text() else { return };
    let read = yaml::read(&mesh.key_place.file, written).ok().and_then(|documents| documents.into_iter().next());
    if let (Some(mut config), Some(text)) = (read, node.get_mut(&["data", "mesh"])) {
        config.place_within(&mesh);
        *text = config;
    }
}

// === impl Manifest ===

impl Manifest {
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    /// Whether it is a policy for kustomize's sake.
    pub fn is_policy(&self) -> bool {
        self.is("careplane", POLICY)
    }

    /// What is at the end of a way in `spec`.
    pub fn spec(&self, way: &[&str]) -> Option<&Node> {
        self.node.get(&["spec"])?.get(way)
    }

    pub fn spec_list(&self, way: &[&str]) -> &[Node] {
        self.spec(way).map(Node::elements).unwrap_or_default()
    }

    /// The wasm part of a WasmPlugin or a TrafficExtension.
    pub fn wasm(&self) -> Option<&Node> {
        match self.kind.as_str() {
            "WasmPlugin" if self.group == EXTENSIONS => self.spec(&[]),
            "TrafficExtension" if self.group == EXTENSIONS => self.spec(&["wasm"]),
            _ => None,
        }
    }

    /// The policy in it: a plugin's, when it has anything in it, or the one that it is.
    pub fn policy(&self) -> Option<&Node> {
        let of_plugin = || self.wasm()?.get(&["pluginConfig"]).filter(|config| !config.entries().is_empty());
        if self.is_policy() { self.spec(&[]) } else { of_plugin() }
    }

    pub fn plugin_name(&self) -> Option<&str> {
        self.wasm()?.text(&["pluginName"])
    }

    /// Where it is named.
    pub fn place(&self) -> &Location {
        self.node.get(&["metadata", "name"]).map_or(&self.node.place, |name| &name.place)
    }

    /// `WasmPlugin careplane-gateway`
    pub fn title(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    /// Whether it is in the root namespace.
    pub fn is_root(&self) -> bool {
        self.namespace.as_deref() == Some(ROOT_NAMESPACE)
    }
}
