//! The plugins of careplane that a cluster has.

use super::Context;
use super::cluster::Cluster;
use super::difference::{Presence, is_ours, refused};
use super::failure::Failure;

const VERSIONS: [&str; 2] = ["extensions.istio.io/v1alpha1", "extensions.istio.io/v1"];
const KINDS: [&str; 2] = ["WasmPlugin", "TrafficExtension"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// Whether `apply` has made it.
    pub is_ours: bool,
}

impl Plugin {
    pub fn title(&self) -> String {
        format!("{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// All of them, by their label.
pub fn read(cluster: &Cluster, presence: &Presence) -> Result<Vec<Plugin>, Failure> {
    let mut plugins = Vec::new();
    for kind in KINDS {
        let mut is_served = false;
        for version in VERSIONS.into_iter().filter(|version| presence.has_version(version)) {
            is_served |= cluster.kinds(version)?.iter().any(|served| served.kind == kind);
        }
        if !is_served {
            continue; // Istio before 1.30 has no TrafficExtension
        }
        let resource = format!("{}s.extensions.istio.io", kind.to_lowercase());
        let label = "app.kubernetes.io/name=careplane";
        for item in cluster.items(&["get", &resource, "-A", "-l", label, "-o", "json", "--show-managed-fields"])? {
            let text = |field: &str| item["metadata"][field].as_str().unwrap_or_default().to_owned();
            let (namespace, name) = (text("namespace"), text("name"));
            plugins.push(Plugin { kind: kind.to_owned(), namespace, name, is_ours: is_ours(&item) });
        }
    }
    Ok(plugins)
}

/// Those that the chosen overlay does not have: of another one, chosen before, and of others. Left there, the former
/// would handle each request a second time.
pub fn stale(context: &Context<'_>, presence: &Presence) -> Result<(Vec<Plugin>, Vec<Plugin>), Failure> {
    let mut plugins = read(context.cluster, presence)?;
    plugins.retain(|plugin| !context.manifests.has(&plugin.kind, &plugin.namespace, &plugin.name));
    Ok(plugins.into_iter().partition(|plugin| plugin.is_ours))
}

pub fn remove(cluster: &Cluster, plugin: &Plugin) -> Result<(), Failure> {
    let resource = format!("{}s.extensions.istio.io", plugin.kind.to_lowercase());
    let arguments = ["-n", &plugin.namespace, "delete", &resource, &plugin.name, "--ignore-not-found"];
    let ended = cluster.kubectl(&arguments)?;
    if ended.status.success() { Ok(()) } else { Err(refused(cluster, "careplane", "removed", &ended)) }
}
