//! VirtualServices: which requests a route takes, and where it leads.

use crate::manifest::Manifest;
use crate::yaml::Node;

/// Whether a route takes a kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Takes {
    No,
    /// Some of them, or: it cannot be told from here.
    Some,
    All,
}

/// Where a route leads.
pub struct Destination<'d> {
    pub host: String,
    pub subset: Option<&'d Node>,
}

/// The http routes in the order in which they are tried.
pub fn routes(service: &Manifest) -> &[Node] {
    service.spec_list(&["http"])
}

/// Where a route leads, mirrors left out.
pub fn destinations<'d>(service: &Manifest, route: &'d Node) -> Vec<Destination<'d>> {
    let destinations = route.list(&["route"]).iter().filter_map(|one| one.get(&["destination"]));
    destinations
        .filter_map(|destination| {
            let host = host(destination.text(&["host"])?, service.namespace.as_deref());
            Some(Destination { host, subset: destination.get(&["subset"]) })
        })
        .collect()
}

/// One spelling of a host: short names are of the namespace, and the cluster's domain is cut.
pub fn host(written: &str, namespace: Option<&str>) -> String {
    let name = written.strip_suffix(".svc.cluster.local").or(written.strip_suffix(".svc")).unwrap_or(written);
    match namespace {
        Some(namespace) if !name.contains('.') => format!("{name}.{namespace}"),
        _ => name.to_owned(),
    }
}

/// What a route asks of a header: the condition, once for each alternative that has one.
pub fn header_conditions<'d>(route: &'d Node, header: &str) -> Vec<&'d Node> {
    route.list(&["match"]).iter().filter_map(|one| one.get(&["headers", header])).collect()
}

/// Whether a StringMatch takes a value.
pub fn takes_value(condition: &Node, value: &str) -> Takes {
    if let Some(exact) = condition.text(&["exact"]) {
        return if exact == value { Takes::All } else { Takes::No };
    }
    if let Some(prefix) = condition.text(&["prefix"]) {
        return if value.starts_with(prefix) { Takes::All } else { Takes::No };
    }
    match condition.text(&["regex"]).map(words) {
        Some(Some(words)) => {
            if words.contains(&value) {
                Takes::All
            } else {
                Takes::No
            }
        }
        Some(None) => Takes::Some,
        None => Takes::All, // `{}` is presence
    }
}

/// Whether a service that matches a header has a route for one of its values: for reads if any value has one, and for writes.
pub fn takes_value_of(service: &Manifest, header: &str, value: &str) -> bool {
    ["GET", "POST"].into_iter().all(|method| {
        let mut has_any = false;
        for route in routes(service) {
            let alternatives = route.list(&["match"]);
            for one in alternatives {
                let takes_method = one.get(&["method"]).map_or(Takes::All, |condition| takes_value(condition, method));
                match one.get(&["headers", header]) {
                    _ if takes_method == Takes::No => {}
                    Some(condition) if takes_value(condition, value) > Takes::No => return true,
                    Some(_) => has_any = true,
                    // What comes after a route for everything is never reached.
                    None if takes_method == Takes::All && is_for_all(one) => return !has_any,
                    None => {}
                }
            }
            if alternatives.is_empty() {
                return !has_any;
            }
        }
        !has_any
    })
}

/// Whether nothing but the method is asked for.
fn is_for_all(alternative: &Node) -> bool {
    alternative.entries().iter().all(|entry| ["name", "method"].contains(&entry.key.as_str()))
}

/// The words of a regular expression that is nothing but alternatives.
fn words(regex: &str) -> Option<Vec<&str>> {
    let plain = regex.trim_start_matches('^').trim_end_matches('$');
    let plain = plain.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(plain);
    let plain = plain.strip_prefix("?:").unwrap_or(plain);
    let words: Vec<_> = plain.split('|').collect();
    let is_word = |word: &&str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    words.iter().all(is_word).then_some(words)
}

/// Whether a route takes requests with a method to a path template.
pub fn takes(route: &Node, method: &str, template: &str) -> Takes {
    let alternatives = route.list(&["match"]);
    if alternatives.is_empty() {
        return Takes::All;
    }
    let one = |alternative: &Node| {
        let mut takes = Takes::All;
        for entry in alternative.entries() {
            takes = takes.min(match entry.key.as_str() {
                "uri" => takes_path(&entry.value, template),
                "method" => takes_value(&entry.value, method),
                "name" | "ignoreUriCase" => Takes::All,
                _ => Takes::Some,
            });
        }
        takes
    };
    alternatives.iter().map(one).max().unwrap_or(Takes::All)
}

/// Whether a uri condition takes the paths of a template.
fn takes_path(condition: &Node, template: &str) -> Takes {
    let literal = template.split('{').next().unwrap_or_default();
    let has_parameters = literal.len() < template.len();
    if let Some(exact) = condition.text(&["exact"]) {
        return match (has_parameters, exact.starts_with(literal)) {
            (false, _) if exact == template => Takes::All,
            (true, true) => Takes::Some,
            _ => Takes::No,
        };
    }
    match condition.text(&["prefix"]) {
        Some(prefix) if literal.starts_with(prefix) => Takes::All,
        Some(prefix) if has_parameters && prefix.starts_with(literal) => Takes::Some,
        Some(_) => Takes::No,
        None => Takes::Some,
    }
}
