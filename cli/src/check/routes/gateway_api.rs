//! HTTPRoutes and GRPCRoutes, in the order that the Gateway API gives their rules.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::matching::{Conditions, HeaderMatch, PathMatch, TextMatch};
use super::{Route, Table};
use crate::check::mesh::{GATEWAY_API, Mesh};
use crate::manifest::Manifest;
use crate::yaml::Node;

/// One table for each parent and hostname: rules of several routes are one list there.
pub fn tables<'d>(mesh: &Mesh<'d>) -> Vec<Table<'d>> {
    let mut hosts: BTreeMap<[String; 3], Vec<&'d Manifest>> = BTreeMap::new();
    for manifest in mesh.of(GATEWAY_API, "HTTPRoute").chain(mesh.of(GATEWAY_API, "GRPCRoute")) {
        for key in keys(manifest) {
            hosts.entry(key).or_default().push(manifest);
        }
    }
    let mut tables: Vec<Table<'d>> = Vec::new();
    for manifests in hosts.into_values() {
        let Some(owner) = manifests.first().copied() else { continue };
        let mut routes: Vec<Route<'d>> = manifests.into_iter().flat_map(routes).collect();
        routes.sort_by_key(|route| precedence(&route.conditions));
        tables.push(Table { owner, routes });
    }
    tables
}

/// Kind and name of each parent, with each hostname.
fn keys(manifest: &Manifest) -> Vec<[String; 3]> {
    let hostnames: Vec<&str> = manifest.spec_list(&["hostnames"]).iter().filter_map(Node::as_text).collect();
    let parents = manifest.spec_list(&["parentRefs"]);
    let one = |parent: Option<&Node>| {
        let kind = parent.and_then(|parent| parent.text(&["kind"])).unwrap_or("Gateway").to_owned();
        let namespace = parent.and_then(|parent| parent.text(&["namespace"])).or(manifest.namespace.as_deref());
        let name = parent.and_then(|parent| parent.text(&["name"])).unwrap_or_default();
        let name = format!("{name}.{}", namespace.unwrap_or_default());
        // A Service is its own host.
        let hosts = match (kind.as_str(), hostnames.as_slice()) {
            ("Service", _) => vec![name.as_str()],
            (_, []) => vec!["*"],
            (_, some) => some.to_vec(),
        };
        hosts.into_iter().map(|host| [kind.clone(), name.clone(), host.to_owned()]).collect::<Vec<_>>()
    };
    if parents.is_empty() { one(None) } else { parents.iter().flat_map(|parent| one(Some(parent))).collect() }
}

fn routes(manifest: &Manifest) -> Vec<Route<'_>> {
    let is_grpc = manifest.kind == "GRPCRoute";
    let mut routes = Vec::new();
    for rule in manifest.spec_list(&["rules"]) {
        let route = |place, conditions| Route { owner: manifest, rule, place, conditions };
        match rule.list(&["matches"]) {
            // The API server puts a prefix there for an HTTPRoute, and nothing for a GRPCRoute.
            [] => routes.push(route(&rule.place, Conditions { path: any_path(is_grpc), ..Conditions::default() })),
            some => routes.extend(some.iter().map(|one| route(&one.place, conditions(one, is_grpc)))),
        }
    }
    routes
}

/// Exact paths first, then prefixes, then regular expressions, the longer ones first; then by method, headers,
/// parameters.
fn precedence(conditions: &Conditions<'_>) -> Reverse<(u8, usize, bool, usize, usize)> {
    let (rank, length) = match &conditions.path {
        PathMatch::Exact(path) => (3, path.len()),
        PathMatch::Segments(path) => (2, path.len()),
        PathMatch::Regex(TextMatch::Regex { text, .. }) => (1, text.len()),
        PathMatch::Regex(_) => (1, 0),
        PathMatch::Prefix(_) => (0, 0),
    };
    Reverse((rank, length, conditions.method.is_some(), conditions.headers.len(), conditions.query.len()))
}

fn conditions(one: &Node, is_grpc: bool) -> Conditions<'_> {
    let typed = |node: &Node, value: &str| match node.text(&["type"]) {
        Some("RegularExpression") => TextMatch::regex(value),
        _ => TextMatch::Exact(value.to_owned()),
    };
    let named = |node: &'_ Node| {
        let (name, value) = (node.text(&["name"])?, node.text(&["value"])?);
        Some((name.to_owned(), typed(node, value)))
    };
    let headers = one.list(&["headers"]).iter().filter_map(|node| {
        let (name, value) = named(node)?;
        let place = &node.get(&["value"])?.place;
        Some(HeaderMatch { name: name.to_ascii_lowercase(), value, inverted: false, place })
    });
    Conditions {
        path: if is_grpc { grpc_path(one.get(&["method"])) } else { path(one.get(&["path"])) },
        method: one.text(&["method"]).filter(|_| !is_grpc).map(|method| TextMatch::Exact(method.to_owned())),
        query: one.list(&["queryParams"]).iter().filter_map(named).collect(),
        headers: headers.collect(),
        ..Conditions::default()
    }
}

fn path(node: Option<&Node>) -> PathMatch {
    let value = node.and_then(|node| node.text(&["value"])).unwrap_or("/");
    match node.and_then(|node| node.text(&["type"])) {
        Some("Exact") => PathMatch::Exact(value.to_owned()),
        Some("RegularExpression") => PathMatch::Regex(TextMatch::regex(value)),
        _ if value == "/" => PathMatch::Segments(value.to_owned()),
        _ => PathMatch::Segments(value.strip_suffix('/').unwrap_or(value).to_owned()),
    }
}

/// What a rule without a path takes. The two differ in their precedence alone: Istio has the second after everything
/// else.
fn any_path(is_grpc: bool) -> PathMatch {
    if is_grpc { PathMatch::Prefix("/".into()) } else { PathMatch::Segments("/".into()) }
}

/// `/package.Service/Method`
fn grpc_path(node: Option<&Node>) -> PathMatch {
    let Some(node) = node else { return any_path(true) };
    let (service, method) = (node.text(&["service"]), node.text(&["method"]));
    let regex = |text: String| PathMatch::Regex(TextMatch::regex(&text));
    match (node.text(&["type"]), service, method) {
        (_, None, None) => any_path(true),
        (Some("RegularExpression"), Some(service), None) => regex(format!("/{service}/.+")),
        (Some("RegularExpression"), Some(service), Some(method)) => regex(format!("/{service}/{method}")),
        (_, None, Some(method)) => regex(format!("/[^/]+/{method}")),
        // Istio's prefix has a slash at its end, and then takes it off as it does for every prefix of the Gateway API.
        (_, Some(service), None) => PathMatch::Segments(format!("/{service}")),
        (_, Some(service), Some(method)) => PathMatch::Exact(format!("/{service}/{method}")),
    }
}
