//! What must not happen twice: writes that a route sends again, or sends to a second application.

use std::collections::{BTreeMap, BTreeSet};

use careplane_policy::document::{Action, Context, Document as PolicyDocument};
use careplane_policy::{Method, Policy as Compiled};

use super::finding::{Findings, Related};
use super::mesh::{GATEWAY_API, Mesh, NETWORKING, Policy};
use super::routes::{Request, Route, Table, sample_path};
use super::rules;
use crate::manifest::Manifest;
use crate::yaml::Node;

/// The methods that are not idempotent (RFC 9110 §9.2.2, RFC 5789 §2).
const NOT_IDEMPOTENT: [&str; 2] = ["POST", "PATCH"];
/// What Envoy retries on after the upstream may have seen the request (x-envoy-retry-on); numbers are status codes.
const SEEN: [&str; 4] = ["5xx", "gateway-error", "reset", "retriable-4xx"];

/// A kind of request that changes something.
#[derive(Clone)]
struct Write {
    context: String,
    method: &'static str,
    /// A template of the policy, or a path of the route.
    path: String,
    /// Where it is in the policy.
    place: Option<String>,
}

/// What a route does with a write besides sending it on.
struct Repeat<'d> {
    rule: &'static rules::Rule,
    node: &'d Node,
    /// `sends POST /administer again on 5xx`: what is before the request, and after it.
    before: &'static str,
    after: String,
    expected: &'static str,
}

pub fn check(mesh: &Mesh<'_>, tables: &[Table<'_>], findings: &mut Findings) {
    let policies: Vec<(&Policy<'_>, Vec<Write>)> =
        mesh.policies.iter().filter_map(|policy| Some((policy, writes(policy.document.as_ref()?)))).collect();
    for table in tables.iter().filter(|table| is_inside(mesh, table.owner)) {
        for route in &table.routes {
            for repeat in repeats(route) {
                // Once is enough: plugins mostly have one policy, or nearly.
                let _ =
                    policies.iter().any(|(policy, writes)| repeated(policy, writes, table, route, &repeat, findings));
            }
        }
    }
}

/// Whether writes of a policy take the route. They are reported then.
fn repeated(
    policy: &Policy<'_>,
    writes: &[Write],
    table: &Table<'_>,
    route: &Route<'_>,
    repeat: &Repeat<'_>,
    findings: &mut Findings,
) -> bool {
    // Where paths do not matter, one of each method stands for all.
    let first = |method| writes.iter().find(|write| write.method == method);
    let writes: Vec<&Write> = match table.has_paths() {
        true => writes.iter().collect(),
        false => NOT_IDEMPOTENT.into_iter().filter_map(first).collect(),
    };
    let is_reached = |write: &&Write| {
        let request = route.conditions.fit(Request::new(write.method, &sample_path(&write.path)));
        table.decide(&request).is_some_and(|taken| std::ptr::eq(taken, route))
    };
    let mut reached: Vec<Write> = writes.into_iter().filter(is_reached).cloned().collect();
    if let (true, Ok(policy)) = (reached.is_empty(), &policy.compiled) {
        reached = examples(policy, route).into_iter().filter(|write| is_reached(&write)).collect();
    }
    let Some(first) = reached.first() else { return false };
    let mut names: Vec<_> = reached.iter().map(|write| write.context.as_str()).collect();
    names.dedup();
    // Without paths in the way, a host of its own says what the requests are, and not the contexts.
    let by_path = !route.conditions.path.is_any();
    let what = if by_path { format!("{} {}", first.method, first.path) } else { first.method.to_owned() };
    let contexts = match names.as_slice() {
        _ if !by_path => String::new(),
        [one] => format!(" (context {one})"),
        [one, rest @ ..] => format!(" (context {one} and {} more)", rest.len()),
        [] => String::new(),
    };
    let related = first
        .place
        .as_ref()
        .filter(|_| by_path)
        .map(|place| Related::new(policy.place(place), format!("context {}", first.context)));
    let Repeat { rule, node, before, after, expected } = repeat;
    findings.add_related(
        rule,
        &node.place,
        format!("{} {before} {what} {after}{contexts}: expected {expected}", route.owner.title()),
        related.into_iter().collect(),
    );
    true
}

fn repeats<'d>(route: &Route<'d>) -> Vec<Repeat<'d>> {
    let mut repeats = Vec::new();
    if let Some((node, words)) = retries_the_seen(route) {
        repeats.push(Repeat {
            rule: &rules::WRITE_RETRIED,
            node,
            before: "sends",
            after: format!("again on {}, when the application may have done it already", words.join(", ")),
            expected: if route.owner.group == GATEWAY_API {
                "a rule of its own for writes, without `retry`"
            } else {
                "a route of its own for writes, with `retryOn: connect-failure,refused-stream` or `attempts: 0`"
            },
        });
    }
    for (node, target) in mirrors(route) {
        repeats.push(Repeat {
            rule: &rules::WRITE_MIRRORED,
            node,
            before: "sends a copy of",
            after: format!("to {target}"),
            expected: "a mirror of reads alone (a route of its own for GET and HEAD), or a copy that writes to \
                 nothing shared",
        });
    }
    repeats
}

/// Hosts outside the mesh are not what contexts are about.
pub fn is_inside(mesh: &Mesh<'_>, service: &Manifest) -> bool {
    let outside: Vec<&str> = mesh
        .of(NETWORKING, "ServiceEntry")
        .filter(|entry| entry.spec(&["location"]).and_then(Node::as_text) != Some("MESH_INTERNAL"))
        .flat_map(|entry| entry.spec_list(&["hosts"]))
        .filter_map(Node::as_text)
        .collect();
    let hosts = service.spec_list(&["hosts"]).iter().chain(service.spec_list(&["hostnames"]));
    let mut hosts = hosts.filter_map(Node::as_text).peekable();
    hosts.peek().is_none() || hosts.any(|host| !outside.contains(&host))
}

/// The condition of a route's retries, when it covers failures after the upstream may have seen the request, and what
/// of it does.
fn retries_the_seen<'d>(route: &Route<'d>) -> Option<(&'d Node, Vec<String>)> {
    if let Some(retry) = route.rule.get(&["retry"]).filter(|_| route.owner.group == GATEWAY_API) {
        let attempts = retry.get(&["attempts"]).and_then(Node::as_number).unwrap_or(1.0);
        let codes: Vec<String> = retry.list(&["codes"]).iter().map(|code| code.to_json().to_string()).collect();
        return (attempts > 0.0 && !codes.is_empty()).then_some((retry, codes));
    }
    let attempts = route.rule.get(&["retries", "attempts"])?.as_number()?;
    // Istio's own condition, without `retryOn`, is `connect-failure,refused-stream` and two of gRPC.
    let retry_on = route.rule.get(&["retries", "retryOn"])?;
    let words = retry_on.as_text()?.split(',').map(str::trim);
    let seen: Vec<_> =
        words.filter(|word| SEEN.contains(word) || word.parse::<u16>().is_ok()).map(ToOwned::to_owned).collect();
    (attempts > 0.0 && !seen.is_empty()).then_some((retry_on, seen))
}

/// Where copies of a route's requests go, a share of nothing left out.
fn mirrors<'d>(route: &Route<'d>) -> Vec<(&'d Node, &'d str)> {
    let rule = route.rule;
    if route.owner.group == GATEWAY_API {
        let filters = rule.list(&["filters"]).iter().filter_map(|filter| filter.get(&["requestMirror"]));
        let is_none = |mirror: &Node| {
            let percent = mirror.get(&["percent"]).and_then(Node::as_number);
            percent.or(mirror.get(&["fraction", "numerator"]).and_then(Node::as_number)) == Some(0.0)
        };
        let target = |mirror: &'d Node| mirror.get(&["backendRef", "name"]);
        return filters
            .filter(|mirror| !is_none(mirror))
            .filter_map(|mirror| Some((target(mirror)?, target(mirror)?.as_text()?)))
            .collect();
    }
    let share = |node: &Node, key: &str| node.get(&[key, "value"]).and_then(Node::as_number);
    let old = rule.get(&["mirrorPercent"]).and_then(Node::as_number);
    let one = rule.get(&["mirror"]).filter(|_| share(rule, "mirrorPercentage").or(old) != Some(0.0));
    let several = rule.list(&["mirrors"]).iter().filter(|mirror| share(mirror, "percentage") != Some(0.0));
    let hosts = one.into_iter().chain(several.filter_map(|mirror| mirror.get(&["destination"])));
    hosts.filter_map(|destination| Some((destination, destination.text(&["host"])?))).collect()
}

/// Writes that a route is for by itself, which no template of the policy could show.
fn examples(policy: &Compiled, route: &Route<'_>) -> Vec<Write> {
    let default = policy.contexts().last().map(|context| context.name.clone());
    let examples = route.conditions.examples();
    let write = |method: &'static str, example: &Request| {
        let known = Method::new(method.as_bytes());
        let found = policy.classify(known, example.path.as_bytes());
        let is_write = Some(&found.context.name) != default.as_ref() && found.context.action(known) != Action::Read;
        is_write.then(|| Write {
            context: found.context.name.to_string(),
            method,
            path: example.path.clone(),
            place: None,
        })
    };
    NOT_IDEMPOTENT
        .iter()
        .flat_map(|method| examples.iter().filter(|it| it.method == *method).filter_map(|it| write(method, it)))
        .collect()
}

fn writes(document: &PolicyDocument) -> Vec<Write> {
    // What a context names the method for, it takes from the contexts that have the template for all methods.
    let matches = |context: &'_ Context| context.matches.clone().unwrap_or_default();
    let mut named: BTreeMap<(String, String), BTreeSet<Option<String>>> = BTreeMap::new();
    for context in &document.contexts {
        for one in matches(context) {
            let (Some(template), Some(methods)) = (one.path, one.methods) else { continue };
            for method in methods {
                named.entry((template.clone(), method)).or_default().insert(context.name.clone());
            }
        }
    }
    let is_taken = |context: &Context, template: &str, method: &str| {
        let contexts = named.get(&(template.to_owned(), method.to_owned()));
        contexts.is_some_and(|names| names.iter().any(|name| *name != context.name))
    };
    let mut writes = Vec::new();
    for (index, context) in document.contexts.iter().enumerate() {
        // `POST …/_search` reads.
        if context.action == Some(Action::Read) {
            continue;
        }
        for (number, one) in context.matches.iter().flatten().enumerate() {
            let Some(template) = one.path.as_deref() else { continue };
            for method in NOT_IDEMPOTENT {
                let takes = one.methods.as_ref().is_none_or(|methods| methods.iter().any(|name| name == method));
                if takes && !is_taken(context, template, method) {
                    writes.push(Write {
                        context: context.name.clone().unwrap_or_default(),
                        method,
                        path: template.to_owned(),
                        place: Some(format!("contexts[{index}].match[{number}].path")),
                    });
                }
            }
        }
    }
    writes
}
