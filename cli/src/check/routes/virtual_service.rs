//! VirtualServices, with their delegates.

use super::matching::{Conditions, HeaderMatch, LABEL, NAMESPACE, PathMatch, TextMatch};
use super::{Route, Table};
use crate::manifest::Manifest;
use crate::yaml::{Node, Value};

/// Where a VirtualService without `gateways` is.
const MESH: &str = "mesh";
/// Istio stops there too: a delegate has no delegates.
const CALLER: [(&str, &str); 1] = [("sourceNamespace", NAMESPACE)];

/// One table for each place that a VirtualService is at. Delegates are part of the tables of their parents.
pub fn tables<'d>(services: &[&'d Manifest]) -> Vec<Table<'d>> {
    // Few have delegates, and each service is compared with those that do.
    let has_delegates = |it: &&&Manifest| it.spec_list(&["http"]).iter().any(|rule| rule.get(&["delegate"]).is_some());
    let parents: Vec<_> = services.iter().filter(has_delegates).collect();
    let is_delegate = |service: &Manifest| parents.iter().any(|parent| delegates_to(parent, service));
    services.iter().filter(|service| !is_delegate(service)).flat_map(|service| of(service, services)).collect()
}

fn of<'d>(service: &'d Manifest, services: &[&'d Manifest]) -> Vec<Table<'d>> {
    let mut gateways: Vec<&str> = service.spec_list(&["gateways"]).iter().filter_map(Node::as_text).collect();
    if gateways.is_empty() {
        gateways.push(MESH);
    }
    let table = |gateway: &str| Table { owner: service, routes: routes(service, gateway, services) };
    let mut tables: Vec<Table<'d>> = gateways.into_iter().map(table).collect();
    // Nearly always the same everywhere.
    let rules = |table: &Table<'_>| table.routes.iter().map(|route| route.place.clone()).collect::<Vec<_>>();
    tables.dedup_by_key(|table| rules(table));
    tables
}

fn delegates_to(parent: &Manifest, service: &Manifest) -> bool {
    parent.spec_list(&["http"]).iter().any(|rule| is_delegate_of(rule, parent, service))
}

fn is_delegate_of(rule: &Node, parent: &Manifest, service: &Manifest) -> bool {
    let namespace = rule.text(&["delegate", "namespace"]).or(parent.namespace.as_deref());
    rule.text(&["delegate", "name"]) == Some(&service.name) && namespace == service.namespace.as_deref()
}

fn routes<'d>(service: &'d Manifest, gateway: &str, services: &[&'d Manifest]) -> Vec<Route<'d>> {
    let mut routes = Vec::new();
    for rule in service.spec_list(&["http"]) {
        if rule.get(&["delegate"]).is_some() {
            let Some(delegate) = services.iter().find(|other| is_delegate_of(rule, service, other)) else { continue };
            for inner in delegate.spec_list(&["http"]) {
                routes.extend(delegated(rule, delegate, inner, gateway));
            }
        } else {
            let alternatives = rule.list(&["match"]);
            let of = |one: &'d Node| is_at(one, gateway).then(|| route(service, rule, one));
            match alternatives {
                [] => {
                    routes.push(Route { owner: service, rule, place: &rule.place, conditions: Conditions::default() })
                }
                some => routes.extend(some.iter().filter_map(of)),
            }
        }
    }
    routes
}

/// The routes of a delegate's rule: what parent and delegate ask for, together. One that contradicts its parent, Istio
/// drops.
fn delegated<'d>(parent: &'d Node, owner: &'d Manifest, rule: &'d Node, gateway: &str) -> Vec<Route<'d>> {
    let (roots, leaves) = (parent.list(&["match"]), rule.list(&["match"]));
    let at = |one: &&Node| is_at(one, gateway);
    if roots.is_empty() && leaves.is_empty() {
        return vec![Route { owner, rule, place: &rule.place, conditions: Conditions::default() }];
    }
    if roots.is_empty() || leaves.is_empty() {
        return roots.iter().chain(leaves).filter(at).map(|one| route(owner, rule, one)).collect();
    }
    let mut routes = Vec::new();
    for leaf in leaves {
        let agreeing: Vec<&Node> = roots.iter().filter(|root| agrees(root, leaf)).collect();
        // One alternative that contradicts every one of the parent's, and the whole rule is lost.
        if agreeing.is_empty() {
            return Vec::new();
        }
        for root in agreeing {
            // The delegate's word on gateways counts, where it has one.
            let gateways = if leaf.list(&["gateways"]).is_empty() { root } else { leaf };
            if is_at(gateways, gateway) {
                let conditions = merged(&conditions(root), conditions(leaf));
                routes.push(Route { owner, rule, place: &leaf.place, conditions });
            }
        }
    }
    routes
}

fn route<'d>(owner: &'d Manifest, rule: &'d Node, alternative: &'d Node) -> Route<'d> {
    Route { owner, rule, place: &alternative.place, conditions: conditions(alternative) }
}

fn is_at(alternative: &Node, gateway: &str) -> bool {
    let gateways = alternative.list(&["gateways"]);
    gateways.is_empty() || gateways.iter().any(|one| one.as_text() == Some(gateway))
}

/// What an HTTPMatchRequest asks for.
fn conditions(alternative: &Node) -> Conditions<'_> {
    let text = |key: &str| alternative.get(&[key]).map(TextMatch::of);
    let entries = |key: &str| alternative.get(&[key]).map(Node::entries).unwrap_or_default();
    let header = |key: &str, inverted: bool| {
        entries(key).iter().map(move |entry| HeaderMatch {
            name: entry.key.to_ascii_lowercase(),
            value: TextMatch::of(&entry.value),
            inverted,
            place: &entry.value.place,
        })
    };
    let mut headers: Vec<_> = header("headers", false).chain(header("withoutHeaders", true)).collect();
    // With gateways, Istio looks at nothing else of the caller.
    if alternative.list(&["gateways"]).is_empty() {
        let labels = entries("sourceLabels").iter().map(|entry| (format!("{LABEL}{}", entry.key), &entry.value));
        let others = CALLER.iter().filter_map(|(key, name)| Some(((*name).to_owned(), alternative.get(&[key])?)));
        headers.extend(labels.chain(others).map(|(name, node)| HeaderMatch {
            name: name.to_ascii_lowercase(),
            value: TextMatch::Exact(node.as_text().unwrap_or_default().to_owned()),
            inverted: false,
            place: &node.place,
        }));
    }
    Conditions {
        path: match text("uri") {
            Some(TextMatch::Exact(exact)) => PathMatch::Exact(exact),
            Some(TextMatch::Prefix(prefix)) => PathMatch::Prefix(prefix),
            Some(regex @ TextMatch::Regex { .. }) => PathMatch::Regex(regex),
            Some(TextMatch::Present) | None => PathMatch::default(),
        },
        ignore_case: matches!(alternative.get(&["ignoreUriCase"]).map(|node| &node.value), Some(Value::Bool(true))),
        method: text("method"),
        authority: text("authority"),
        scheme: text("scheme"),
        port: alternative.get(&["port"]).and_then(Node::as_number).map(|port| port as u64).filter(|port| *port != 0),
        query: entries("queryParams").iter().map(|entry| (entry.key.clone(), TextMatch::of(&entry.value))).collect(),
        headers,
    }
}

/// The delegate's word, and the parent's where the delegate has none.
fn merged<'d>(root: &Conditions<'d>, leaf: Conditions<'d>) -> Conditions<'d> {
    let has_path = !matches!(&leaf.path, PathMatch::Prefix(path) if path == "/");
    let mut merged = Conditions {
        path: if has_path { leaf.path } else { root.path.clone() },
        ignore_case: leaf.ignore_case,
        method: leaf.method.or(root.method.clone()),
        authority: leaf.authority.or(root.authority.clone()),
        scheme: leaf.scheme.or(root.scheme.clone()),
        port: leaf.port.or(root.port),
        query: leaf.query,
        headers: leaf.headers,
    };
    for (name, value) in &root.query {
        if !merged.query.iter().any(|(known, _)| known == name) {
            merged.query.push((name.clone(), value.clone()));
        }
    }
    for header in &root.headers {
        if !merged.headers.iter().any(|known| known.name == header.name && known.inverted == header.inverted) {
            merged.headers.push(header.clone());
        }
    }
    merged
}

/// Whether what a delegate asks for is part of what its parent asks for, as Istio sees it.
fn agrees(root: &Node, leaf: &Node) -> bool {
    let texts = ["uri", "scheme", "method", "authority"].into_iter().map(|key| vec![key]);
    let maps = ["headers", "withoutHeaders", "queryParams"].into_iter().flat_map(|map| {
        let keys = leaf.get(&[map]).map(Node::entries).unwrap_or_default();
        keys.iter().map(move |entry| vec![map, entry.key.as_str()])
    });
    let contradicts = |way: Vec<&str>| match (root.get(&way), leaf.get(&way)) {
        (Some(root), Some(leaf)) => contradict(root, leaf),
        _ => false,
    };
    if texts.chain(maps).any(contradicts) {
        return false;
    }
    let json = |node: &Node, key: &str| node.get(&[key]).map(Node::to_json);
    let truth = |node: &Node| json(node, "ignoreUriCase") == Some(serde_json::Value::Bool(true));
    let number = |node: &Node| node.get(&["port"]).and_then(Node::as_number).filter(|port| *port > 0.0);
    let same_port = number(root).is_none() || number(leaf).is_none() || number(root) == number(leaf);
    let namespace = root.text(&["sourceNamespace"]).filter(|name| !name.is_empty());
    let same_namespace = namespace.is_none() || namespace == leaf.text(&["sourceNamespace"]);
    let labels = leaf.get(&["sourceLabels"]).map(Node::entries).unwrap_or_default();
    let same_labels = labels
        .iter()
        .all(|entry| root.text(&["sourceLabels", &entry.key]).is_none_or(|value| Some(value) == entry.value.as_text()));
    let names = |node: &'_ Node| -> Vec<String> {
        node.list(&["gateways"]).iter().filter_map(Node::as_text).map(ToOwned::to_owned).collect()
    };
    let (outer, inner) = (names(root), names(leaf));
    let same_gateways = outer.is_empty() || inner.iter().all(|name| outer.contains(name));
    truth(root) == truth(leaf) && same_port && same_namespace && same_labels && same_gateways
}

/// Whether two StringMatches contradict each other: Istio merges a delegate's only into an equal exact match or a
/// wider prefix.
fn contradict(root: &Node, leaf: &Node) -> bool {
    let get = |node: &Node, key: &str| node.text(&[key]).filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let has_any = |node: &Node| ["exact", "prefix", "regex"].iter().any(|key| get(node, key).is_some());
    if (get(root, "regex").is_some() && has_any(leaf)) || (get(leaf, "regex").is_some() && has_any(root)) {
        return true;
    }
    if let Some(exact) = get(root, "exact") {
        return get(leaf, "exact") != Some(exact);
    }
    match (get(root, "prefix"), get(leaf, "prefix").or(get(leaf, "exact"))) {
        (Some(prefix), Some(inner)) => !inner.starts_with(&prefix),
        _ => true,
    }
}
