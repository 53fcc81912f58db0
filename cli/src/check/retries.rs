//! Retries of what must not happen twice.

use careplane_policy::document::{Action, Context, Document as PolicyDocument};

use super::finding::{Findings, Related};
use super::hosts::{self, Takes};
use super::mesh::{Mesh, NETWORKING};
use super::rules;
use crate::manifest::Manifest;
use crate::yaml::Node;

/// The methods that are not idempotent (RFC 9110 §9.2.2, RFC 5789 §2).
const NOT_IDEMPOTENT: [&str; 2] = ["POST", "PATCH"];
/// What Envoy retries on after the upstream may have seen the request (x-envoy-retry-on); numbers are status codes.
const SEEN: [&str; 4] = ["5xx", "gateway-error", "reset", "retriable-4xx"];

/// A kind of request that changes something.
struct Write<'p> {
    context: &'p str,
    method: &'static str,
    template: &'p str,
    /// Where it is in the policy.
    place: String,
}

pub fn check(mesh: &Mesh<'_>, findings: &mut Findings) {
    for service in mesh.virtual_services().into_iter().filter(|service| is_inside(mesh, service)) {
        let parents = parents(mesh, service);
        for (index, route) in hosts::routes(service).iter().enumerate() {
            let Some((retry_on, words)) = retries_the_seen(route) else { continue };
            for policy in &mesh.policies {
                let Some(document) = &policy.document else { continue };
                let reached: Vec<Write<'_>> = writes(document)
                    .into_iter()
                    .filter(|write| parents.is_empty() || parents.iter().any(|parent| takes(parent, write) > Takes::No))
                    .filter(|write| takes(route, write) > Takes::No)
                    .filter(|write| {
                        !hosts::routes(service).iter().take(index).any(|earlier| takes(earlier, write) == Takes::All)
                    })
                    .collect();
                let Some(first) = reached.first() else { continue };
                let mut names: Vec<_> = reached.iter().map(|write| write.context).collect();
                names.dedup();
                // Without paths in the way, a host of its own says what the requests are, and not the contexts.
                let by_path = parents.iter().copied().chain([route]).any(has_paths);
                let what =
                    if by_path { format!("{} {}", first.method, first.template) } else { first.method.to_owned() };
                let contexts = match names.as_slice() {
                    _ if !by_path => String::new(),
                    [one] => format!(" (context {one})"),
                    [one, rest @ ..] => format!(" (context {one} and {} more)", rest.len()),
                    [] => String::new(),
                };
                let related =
                    by_path.then(|| Related::new(policy.place(&first.place), format!("context {}", first.context)));
                findings.add_related(
                    &rules::WRITE_RETRIED,
                    &retry_on.place,
                    format!(
                        "{} sends {what} again on {}, when the application may have done it already{contexts}: expected a route \
                         of its own for writes, with `retryOn: connect-failure,refused-stream` or `attempts: 0`",
                        service.title(),
                        words.join(", "),
                    ),
                    related.into_iter().collect(),
                );
                // Once is enough: plugins mostly have one policy, or nearly.
                break;
            }
        }
    }
}

fn takes(route: &Node, write: &Write<'_>) -> Takes {
    hosts::takes(route, write.method, write.template)
}

fn has_paths(route: &Node) -> bool {
    route.list(&["match"]).iter().any(|one| one.get(&["uri"]).is_some())
}

/// The routes that delegate to a VirtualService.
fn parents<'d>(mesh: &Mesh<'d>, service: &Manifest) -> Vec<&'d Node> {
    let delegates = |parent: &'d Manifest| {
        hosts::routes(parent).iter().filter(move |route| {
            let namespace = route.text(&["delegate", "namespace"]).or(parent.namespace.as_deref());
            route.text(&["delegate", "name"]) == Some(&service.name) && namespace == service.namespace.as_deref()
        })
    };
    mesh.virtual_services().into_iter().flat_map(delegates).collect()
}

/// Hosts outside the mesh are not what contexts are about.
fn is_inside(mesh: &Mesh<'_>, service: &Manifest) -> bool {
    let outside: Vec<&str> = mesh
        .of(NETWORKING, "ServiceEntry")
        .flat_map(|entry| entry.spec_list(&["hosts"]))
        .filter_map(Node::as_text)
        .collect();
    let mut hosts = service.spec_list(&["hosts"]).iter().filter_map(Node::as_text).peekable();
    hosts.peek().is_none() || hosts.any(|host| !outside.contains(&host))
}

/// The condition of a route's retries, when it covers failures after the upstream may have seen the request, and what of it does.
fn retries_the_seen(route: &Node) -> Option<(&Node, Vec<&str>)> {
    let attempts = route.get(&["retries", "attempts"])?.as_number()?;
    // Istio's own condition, without `retryOn`, is `connect-failure,refused-stream` and two of gRPC.
    let retry_on = route.get(&["retries", "retryOn"])?;
    let words = retry_on.as_text()?.split(',').map(str::trim);
    let seen: Vec<_> = words.filter(|word| SEEN.contains(word) || word.parse::<u16>().is_ok()).collect();
    (attempts > 0.0 && !seen.is_empty()).then_some((retry_on, seen))
}

fn writes(document: &PolicyDocument) -> Vec<Write<'_>> {
    let mut writes = Vec::new();
    for (index, context) in document.contexts.iter().enumerate() {
        let matches = context.matches.iter().flatten().enumerate();
        for (number, one) in matches {
            let Some(template) = one.path.as_deref() else { continue };
            for method in NOT_IDEMPOTENT {
                let named = one.methods.as_ref().is_none_or(|methods| methods.iter().any(|name| name == method));
                // `POST …/_search` reads.
                if named && !is_taken(document, context, method, template) && context.action != Some(Action::Read) {
                    writes.push(Write {
                        context: context.name.as_deref().unwrap_or_default(),
                        method,
                        template,
                        place: format!("contexts[{index}].match[{number}].path"),
                    });
                }
            }
        }
    }
    writes
}

/// Whether another context names the method for the same template, and so takes it from one that is for all methods.
fn is_taken(document: &PolicyDocument, own: &Context, method: &str, template: &str) -> bool {
    document.contexts.iter().filter(|context| context.name != own.name).any(|context| {
        context.matches.iter().flatten().any(|one| {
            let names = one.methods.as_ref().is_some_and(|methods| methods.iter().any(|name| name == method));
            names && one.path.as_deref() == Some(template)
        })
    })
}
