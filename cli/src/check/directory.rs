//! Whether the mesh has the service that the directory of tenants comes from.

use super::finding::Findings;
use super::mesh::{Mesh, NETWORKING, Policy};
use super::rules;
use crate::manifest::Manifest;
use crate::yaml::Node;

pub fn check(mesh: &Mesh<'_>, findings: &mut Findings) {
    let mut services = mesh.of("", "Service").peekable();
    // A policy alone, or plugins alone, are judged alone.
    if services.peek().is_none() {
        return;
    }
    let services: Vec<&Manifest> = services.collect();
    for policy in &mesh.policies {
        let directory = policy.document.as_ref().and_then(|document| document.tenants.directory.as_ref());
        let Some(cluster) = directory.and_then(|directory| directory.cluster.as_deref()) else { continue };
        check_cluster(mesh, policy, cluster, &services, findings);
    }
}

/// Of `outbound|80||tenant-directory.operations.svc.cluster.local`; other names are of clusters that no Service makes.
fn check_cluster(mesh: &Mesh<'_>, policy: &Policy<'_>, cluster: &str, services: &[&Manifest], findings: &mut Findings) {
    let parts: Vec<&str> = cluster.split('|').collect();
    let &["outbound", port, _, host] = parts.as_slice() else { return };
    let hosts = |entry: &Manifest| entry.spec(&["hosts"]).map(Node::elements).unwrap_or_default().to_vec();
    let has = |entry: &Manifest| hosts(entry).iter().any(|known| known.as_text() == Some(host));
    if mesh.of(NETWORKING, "ServiceEntry").any(has) {
        return;
    }
    let mut labels = host.split('.');
    let (name, namespace) = (labels.next().unwrap_or_default(), labels.next());
    let found = services.iter().find(|service| {
        service.name == name && (service.namespace.is_none() || service.namespace.as_deref() == namespace)
    });
    let place = policy.place("tenants.directory.cluster");
    match found {
        None => findings.add(
            &rules::DIRECTORY_CLUSTER,
            place,
            format!(
                "{cluster:?}: there is no Service for {host}: expected the cluster of one that serves the directory"
            ),
        ),
        Some(service) => {
            let ports = service.spec(&["ports"]).map(Node::elements).unwrap_or_default();
            let is_port = |one: &Node| one.get(&["port"]).and_then(Node::as_number).map(|port| port.to_string());
            let known: Vec<String> = ports.iter().filter_map(is_port).collect();
            if !known.iter().any(|known| known == port) {
                findings.add(
                    &rules::DIRECTORY_CLUSTER,
                    place,
                    format!(
                        "{cluster:?}: {} has no port {port}: expected one of {}",
                        service.title(),
                        known.join(", ")
                    ),
                );
            }
        }
    }
}
