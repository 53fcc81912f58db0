//! The manifests as kustomize renders them, taken apart by what they are for, so that every overlay is applied in the
//! same order. The text of a document stays as it was rendered: what is applied is what `kubectl apply -k` would apply.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::failure::{Code, Failure};
use super::options::Settings;
use super::programs::{self, Stderr};
use crate::image::{Address, addressed};
use crate::yaml;

/// An address that the manifests are shipped with: no registry answers there.
const PLACEHOLDER: &str = "oci://registry.example/";
/// The address of the registry that the network policies are shipped with: of documentation (RFC 5737).
pub const PLACEHOLDER_OF_REGISTRY: &str = "192.0.2.10/32";

/// Where the pods of the ingress gateway run.
pub const GATEWAY_NAMESPACE: &str = "core-healthcare";
/// The ingress Gateway.
const GATEWAY: &str = "writecarenotes";

/// The steps, in the order in which they are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Namespaces,
    Security,
    Traffic,
    Observability,
    Admission,
    Careplane,
}

/// One document.
#[derive(Debug, Clone)]
pub struct Document {
    pub text: String,
    /// `networking.istio.io/v1`
    pub version: String,
    pub kind: String,
    pub namespace: Option<String>,
    pub name: String,
    pub value: Value,
}

#[derive(Debug)]
pub struct Manifests {
    documents: Vec<Document>,
}

// === impl Manifests ===

impl Manifests {
    pub fn render(settings: &Settings) -> Result<Self, Failure> {
        let folder = settings.folder();
        let shown = folder.display().to_string();
        let ended = programs::run("kubectl", &["kustomize", &shown], None, Stderr::Kept)?;
        if !ended.status.success() {
            let failure = Failure::usage(format!("{shown} cannot be rendered: {}", ended.last_line()));
            return Err(failure.advise(format!("try: kubectl kustomize {shown}")));
        }
        let mut documents = documents(&shown, &ended.stdout)?;
        if let Some(image) = &settings.image {
            refuse_unpinning(&documents, image)?;
            for document in documents.iter_mut().filter(|document| document.step() == Step::Careplane) {
                document.set_image(image);
            }
        }
        Ok(Self { documents })
    }

    pub fn all(&self) -> impl Iterator<Item = &Document> {
        self.documents.iter()
    }

    pub fn step(&self, step: Step) -> Vec<&Document> {
        self.all().filter(|document| document.step() == step).collect()
    }

    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Document> {
        self.all().filter(move |document| document.kind == kind)
    }

    pub fn namespaces(&self) -> Vec<&str> {
        self.of_kind("Namespace").map(|document| document.name.as_str()).collect()
    }

    /// The namespaces whose pods get proxies.
    pub fn mesh_namespaces(&self) -> Vec<&str> {
        let is_mesh = |document: &&Document| is_injected(&document.value) || is_ambient(&document.value);
        self.of_kind("Namespace").filter(is_mesh).map(|document| document.name.as_str()).collect()
    }

    /// The servers of the ingress Gateway.
    pub fn servers(&self) -> impl Iterator<Item = &Value> {
        let gateways = self.of_kind("Gateway").filter(|gateway| gateway.name == GATEWAY);
        gateways.flat_map(|gateway| gateway.value["spec"]["servers"].as_array().into_iter().flatten())
    }

    /// The Secrets with its certificates, whatever they have been renamed to.
    pub fn certificates(&self) -> BTreeSet<&str> {
        self.servers().filter_map(|server| server["tls"]["credentialName"].as_str()).collect()
    }

    pub fn has(&self, kind: &str, namespace: &str, name: &str) -> bool {
        self.of_kind(kind).any(|document| document.name == name && document.namespace.as_deref() == Some(namespace))
    }

    pub fn has_placeholder(&self) -> bool {
        self.step(Step::Careplane).iter().any(|document| document.text.contains(PLACEHOLDER))
    }

    /// Whether network policies let proxies fetch the module from nowhere.
    pub fn has_placeholder_of_registry(&self) -> bool {
        self.of_kind("NetworkPolicy").any(|document| document.text.contains(PLACEHOLDER_OF_REGISTRY))
    }
}

/// Whether the pods of a namespace get sidecars: of the default revision, or, without the first label, of the one that
/// the second names.
pub fn is_injected(namespace: &Value) -> bool {
    let labels = &namespace["metadata"]["labels"];
    labels["istio-injection"] == "enabled" || labels["istio-injection"].is_null() && labels["istio.io/rev"].is_string()
}

/// Whether ztunnel takes the traffic of its pods.
pub fn is_ambient(namespace: &Value) -> bool {
    namespace["metadata"]["labels"]["istio.io/dataplane-mode"] == "ambient"
}

/// The address of a module with `--image`. Of several modules, each keeps its name: careplane-audit comes from beside
/// careplane. What is not of careplane stays.
pub fn in_place_of(found: Address, image: &Address) -> Address {
    match found.image() {
        "careplane" => image.clone(),
        name if name.starts_with("careplane") => image.beside(name),
        _ => found,
    }
}

/// One digest pins one image. Where the rendering has others, they would lose theirs to a tag.
fn refuse_unpinning(documents: &[Document], image: &Address) -> Result<(), Failure> {
    let lines = documents.iter().filter(|document| document.step() == Step::Careplane).flat_map(|it| it.text.lines());
    let others: BTreeMap<String, bool> = lines
        .filter_map(addressed)
        .filter(|(found, _)| found.image().starts_with("careplane-"))
        .map(|(found, _)| (found.image().to_owned(), found.digest().is_some()))
        .collect();
    if others.is_empty() || image.digest().is_none() && !others.values().any(|is_pinned| *is_pinned) {
        return Ok(());
    }
    let names = others.into_keys().collect::<Vec<_>>().join(", ");
    let message = format!("--image pins one image, and these manifests have others, which it would unpin: {names}");
    Err(Failure::usage(message).advise("write the address of each into the manifests: careplane image pin"))
}

/// What `istioctl install` would apply, less what the installation itself changes in the cluster afterwards: labels
/// that name it, the injector's webhook (a revision tag takes its place), and the failure policy of the validating one
/// (istiod sets it once it runs).
pub fn istio(cluster: &Cluster, settings: &Settings) -> Result<Vec<Document>, Failure> {
    let options = settings.istio_options();
    let arguments: Vec<&str> = ["manifest", "generate"].into_iter().chain(options.iter().map(String::as_str)).collect();
    let ended = cluster.istioctl(&arguments)?;
    let shown = settings.istio_file().display().to_string();
    if !ended.status.success() {
        return Err(Failure::usage(format!("{shown} cannot be rendered: {}", ended.last_line())));
    }
    let is_changed_later = |line: &&str| {
        line.ends_with("install.operator.istio.io/owning-resource: unknown") || line.trim() == "failurePolicy: Ignore"
    };
    let text: String =
        ended.stdout.lines().filter(|line| !is_changed_later(line)).flat_map(|line| [line, "\n"]).collect();
    let mut documents = documents(&shown, &text)?;
    documents.retain(|document| document.kind != "MutatingWebhookConfiguration");
    Ok(documents)
}

/// The documents of a text.
fn documents(name: &str, text: &str) -> Result<Vec<Document>, Failure> {
    let mut parts = vec![String::new()];
    for line in text.lines() {
        match parts.last_mut() {
            Some(part) if !line.starts_with("---") => part.extend([line, "\n"]),
            _ => parts.push(String::new()),
        }
    }
    let file = Arc::from(name);
    let mut documents = Vec::new();
    for part in parts {
        let nodes = yaml::read(&file, &part).map_err(|broken| {
            Failure::new(Code::Usage, format!("{name} was rendered to what is no YAML: {}", broken.message))
        })?;
        let Some(value) = nodes.first().map(yaml::Node::to_json) else { continue };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (Some(version), Some(kind)) = (text(&value["apiVersion"]), text(&value["kind"])) else { continue };
        let metadata = &value["metadata"];
        let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]).unwrap_or_default());
        documents.push(Document { text: part, version, kind, namespace, name, value });
    }
    Ok(documents)
}

// === impl Document ===

impl Document {
    /// One that only names an object of the cluster.
    pub fn naming(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
        let metadata = json!({"namespace": namespace, "name": name});
        let value = json!({"apiVersion": version, "kind": kind, "metadata": metadata});
        let [version, kind, name] = [version, kind, name].map(Option::unwrap_or_default);
        Self { text: format!("{value}\n"), version, kind, namespace, name, value }
    }

    /// Whether both are of one object, in whichever version.
    pub fn is_same_as(&self, other: &Self) -> bool {
        (self.group(), &self.kind, &self.namespace, &self.name)
            == (other.group(), &other.kind, &other.namespace, &other.name)
    }

    pub fn group(&self) -> &str {
        self.version.split_once('/').map_or("", |(group, _)| group)
    }

    pub fn step(&self) -> Step {
        match (self.group(), self.kind.as_str()) {
            (_, "Namespace" | "ServiceAccount") => Step::Namespaces,
            ("security.istio.io" | "networking.k8s.io" | "rbac.authorization.k8s.io", _) => Step::Security,
            ("networking.istio.io" | "gateway.networking.k8s.io", _) => Step::Traffic,
            ("admissionregistration.k8s.io", _) => Step::Admission,
            ("extensions.istio.io", _) => Step::Careplane,
            _ => Step::Observability,
        }
    }

    /// `DestinationRule core-healthcare/medication-service`
    pub fn title(&self) -> String {
        let place = self.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        format!("{} {place}{}", self.kind, self.name)
    }

    /// Whether pods come from it that have to become ready.
    pub fn is_workload(&self) -> bool {
        matches!(self.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet")
    }

    fn set_image(&mut self, image: &Address) {
        let replaced = |line: &str| match addressed(line) {
            Some((found, place)) => {
                let (before, after) = (line.get(..place.start), line.get(place.end..));
                let address = in_place_of(found, image);
                format!("{}{address}{}\n", before.unwrap_or_default(), after.unwrap_or_default())
            }
            None => format!("{line}\n"),
        };
        self.text = self.text.lines().map(replaced).collect();
    }
}

/// The texts of some documents as one.
pub fn join<'d>(documents: impl IntoIterator<Item = &'d Document>) -> String {
    documents.into_iter().flat_map(|document| ["---\n", document.text.as_str()]).collect()
}

// === impl Step ===

impl Step {
    pub fn label(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Security => "security",
            Self::Traffic => "traffic",
            Self::Observability => "observability",
            Self::Admission => "admission",
            Self::Careplane => "careplane",
        }
    }
}

/// Where `careplane check` looks.
pub fn checked(settings: &Settings) -> [std::path::PathBuf; 2] {
    [settings.istio_file(), Path::new(&settings.folder()).to_owned()]
}
