//! What earlier runs of `apply` have made and these manifests do not have: of another overlay, or of a file that is
//! gone since.

use std::collections::BTreeSet;

use super::Context;
use super::difference::{Presence, is_ours};
use super::failure::Failure;
use super::manifests::Document;

/// What the overlays make in namespaces, less plugins, which have their own way, and service accounts, which go with
/// their namespace.
const RESOURCES: [&str; 15] = [
    "authorizationpolicies.security.istio.io",
    "configmaps",
    "deployments.apps",
    "destinationrules.networking.istio.io",
    "envoyfilters.networking.istio.io",
    "gateways.gateway.networking.k8s.io",
    "gateways.networking.istio.io",
    "networkpolicies.networking.k8s.io",
    "peerauthentications.security.istio.io",
    "requestauthentications.security.istio.io",
    "serviceentries.networking.istio.io",
    "services",
    "statefulsets.apps",
    "telemetries.telemetry.istio.io",
    "virtualservices.networking.istio.io",
];

/// By the field manager: what others have made is theirs.
pub fn read(context: &Context<'_>, presence: &Presence) -> Result<Vec<Document>, Failure> {
    let Context { cluster, manifests, .. } = context;
    let group = |resource: &str| resource.split_once('.').map(|(_, group)| group.to_owned()).unwrap_or_default();
    let groups: BTreeSet<String> = RESOURCES.into_iter().map(group).collect();
    let mut served = BTreeSet::new();
    for version in presence.versions() {
        let (group, _) = version.split_once('/').unwrap_or_default();
        if groups.contains(group) {
            served.extend(cluster.kinds(version)?.iter().map(|kind| kind.resource.clone()));
        }
    }
    let resources = RESOURCES.into_iter().filter(|resource| served.contains(*resource)).collect::<Vec<_>>().join(",");
    let mut left = Vec::new();
    for namespace in manifests.namespaces().into_iter().filter(|namespace| presence.has_namespace(namespace)) {
        let arguments = ["-n", namespace, "get", &resources, "-o", "json", "--show-managed-fields"];
        let items = cluster.items(&arguments)?;
        let documents = items.iter().filter(|item| is_ours(item)).map(Document::naming);
        left.extend(documents.filter(|document| !manifests.all().any(|one| document.is_same_as(one))));
    }
    Ok(left)
}
