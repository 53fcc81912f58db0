//! Route tables as Envoy has them: what Istio makes of VirtualServices, HTTPRoutes and GRPCRoutes, and which route a
//! request takes. Envoy takes the first that matches.

mod gateway_api;
mod matching;
mod request;
mod requests;
#[cfg(test)]
mod tests;
mod virtual_service;

use crate::manifest::Manifest;
use crate::yaml::{Location, Node};

use super::mesh::{GATEWAY_API, Mesh};
#[cfg(test)]
use matching::TextMatch;
pub use matching::{Conditions, PathMatch};
pub use request::Request;
pub use requests::sample_path;

/// What one virtual host of a proxy chooses from, in the order in which Envoy tries it.
#[derive(Debug)]
pub struct Table<'d> {
    /// The manifest that has the hosts.
    pub owner: &'d Manifest,
    pub routes: Vec<Route<'d>>,
}

/// One Envoy route: one alternative of one rule.
#[derive(Debug, Clone)]
pub struct Route<'d> {
    /// The manifest that the rule is in: a delegate, where one has it.
    pub owner: &'d Manifest,
    /// The entry of `http`, or of `rules`.
    pub rule: &'d Node,
    /// Where what it asks for is written.
    pub place: &'d Location,
    pub conditions: Conditions<'d>,
}

/// Where a route leads.
#[derive(Debug)]
pub struct Destination<'d> {
    /// The host in one spelling: `service.namespace`.
    pub host: String,
    /// The subset of a VirtualService's destination.
    pub subset: Option<&'d Node>,
    /// What names it: the subset, else the host or the Service.
    pub node: &'d Node,
}

/// All tables of a mesh.
pub fn tables<'d>(mesh: &Mesh<'d>) -> Vec<Table<'d>> {
    let mut tables = virtual_service::tables(&mesh.virtual_services());
    tables.extend(gateway_api::tables(mesh));
    tables
}

// === impl Table ===

impl<'d> Table<'d> {
    /// Whether any route asks for a path. Where none does, all paths are one.
    pub fn has_paths(&self) -> bool {
        self.routes.iter().any(|route| !route.conditions.path.is_any())
    }

    /// The route that a request takes.
    pub fn decide(&self, request: &Request) -> Option<&Route<'d>> {
        self.routes.iter().find(|route| route.conditions.accept(request))
    }
}

// === impl Route ===

impl<'d> Route<'d> {
    /// How messages call it: by its name, else by where it stands in its manifest.
    pub fn title(&self) -> String {
        match self.rule.text(&["name"]) {
            Some(name) => format!("route {name:?} of {}", self.owner.title()),
            None => format!("the route at line {} of {}", self.rule.place.line, self.owner.title()),
        }
    }

    /// Where it leads, mirrors left out.
    pub fn destinations(&self) -> Vec<Destination<'d>> {
        let namespace = self.owner.namespace.as_deref();
        if self.owner.group == GATEWAY_API {
            let backends = self.rule.list(&["backendRefs"]).iter();
            let destination = |backend: &'d Node| {
                let node = backend.get(&["name"])?;
                let name = node.as_text()?;
                let host = match backend.text(&["namespace"]).or(namespace) {
                    Some(namespace) => format!("{name}.{namespace}"),
                    None => name.to_owned(),
                };
                Some(Destination { host, subset: None, node })
            };
            return backends.filter_map(destination).collect();
        }
        let destinations = self.rule.list(&["route"]).iter().filter_map(|one| one.get(&["destination"]));
        let destination = |destination: &'d Node| {
            let node = destination.get(&["host"])?;
            let subset = destination.get(&["subset"]);
            Some(Destination { host: host(node.as_text()?, namespace), subset, node: subset.unwrap_or(node) })
        };
        destinations.filter_map(destination).collect()
    }
}

/// One spelling of a host: short names are of the namespace, and the cluster's domain is cut.
pub fn host(written: &str, namespace: Option<&str>) -> String {
    let name = written.strip_suffix(".svc.cluster.local").or(written.strip_suffix(".svc")).unwrap_or(written);
    match namespace {
        Some(namespace) if !name.contains('.') => format!("{name}.{namespace}"),
        _ => name.to_owned(),
    }
}
