//! Pools and cohorts: what `tenant-routing` writes, and whether the mesh's routes do anything with it.

use careplane_policy::document::{Cohort, Document as PolicyDocument};

use super::finding::{Findings, Related};
use super::hosts::{self, Takes};
use super::mesh::{Mesh, NETWORKING, Policy, labels};
use super::rules::{self, Rule};
use crate::filters;
use crate::manifest::Manifest;
use crate::yaml::{Node, Place};

const CANARY: &str = "canary";
const STABLE: &str = "stable";

/// A value that `tenant-routing` writes into a header.
struct Written<'p> {
    value: &'p str,
    header: &'p str,
    /// Where the policy names the header.
    header_path: &'static str,
    /// `pool "pool-a"`
    title: String,
    /// Where it is in the policy.
    path: String,
    without_route: &'static Rule,
    without_subset: &'static Rule,
}

/// What routes and subsets there are.
struct Routes<'d> {
    services: Vec<&'d Manifest>,
    /// Each subset with its DestinationRule.
    subsets: Vec<(&'d Manifest, &'d Node)>,
}

pub fn check(mesh: &Mesh<'_>, findings: &mut Findings) {
    let services = mesh.virtual_services();
    let rules = mesh.of(NETWORKING, "DestinationRule");
    let subsets =
        rules.flat_map(|rule| rule.spec_list(&["subsets"]).iter().map(move |subset| (rule, subset))).collect();
    let routes = Routes { services, subsets };
    let mut seen: Vec<&PolicyDocument> = Vec::new();
    for (policy, document) in mesh.policies_for(filters::TENANT_ROUTING) {
        // Placements differ in whom they trust, and hardly in this.
        let says_the_same = |other: &&PolicyDocument| {
            other.routing == document.routing
                && other.tenants == document.tenants
                && other.contexts == document.contexts
        };
        if seen.iter().any(says_the_same) {
            continue;
        }
        seen.push(document);
        let written = written(document);
        unread_headers(policy, &written, &routes, findings);
        for one in &written {
            without_route(policy, one, &routes, findings);
        }
        misrouted(policy, &written, &routes, findings);
        unrouted_contexts(policy, document, &routes, findings);
    }
    undefined_subsets(mesh, &routes, findings);
}

/// The pools, and the cohort that is not the default one.
fn written(document: &PolicyDocument) -> Vec<Written<'_>> {
    let routing = &document.routing;
    let mut written: Vec<Written<'_>> = Vec::new();
    let hashed =
        routing.pools.iter().enumerate().map(|(index, pool)| (pool.name.as_str(), format!("routing.pools[{index}]")));
    let dedicated = routing
        .dedicated
        .iter()
        .enumerate()
        .map(|(index, name)| (name.as_str(), format!("routing.dedicated[{index}]")));
    let entries = &document.tenants.entries;
    let pinned =
        entries.iter().filter_map(|(id, entry)| Some((entry.pool.as_deref()?, format!("tenants.entries.{id}.pool"))));
    for (value, path) in hashed.chain(dedicated).chain(pinned) {
        if written.iter().all(|known| known.value != value) {
            written.push(Written {
                value,
                header: &routing.pool_header,
                header_path: "routing.poolHeader",
                title: format!("pool {value:?}"),
                path,
                without_route: &rules::POOL_WITHOUT_ROUTE,
                without_subset: &rules::POOL_WITHOUT_SUBSET,
            });
        }
    }
    let pinned = entries.iter().find(|(_, entry)| entry.cohort == Some(Cohort::Canary));
    let (header, path) = match (&routing.canary, pinned) {
        (Some(canary), _) => (canary.header.as_str(), "routing.canary".to_owned()),
        (None, Some((id, _))) => ("x-release-cohort", format!("tenants.entries.{id}.cohort")),
        (None, None) => return written,
    };
    written.push(Written {
        value: CANARY,
        header,
        header_path: "routing.canary.header",
        title: format!("cohort {CANARY:?}"),
        path,
        without_route: &rules::COHORT_WITHOUT_ROUTE,
        without_subset: &rules::COHORT_WITHOUT_SUBSET,
    });
    written
}

fn unread_headers(policy: &Policy<'_>, written: &[Written<'_>], routes: &Routes<'_>, findings: &mut Findings) {
    let mut headers: Vec<(&str, &str)> = written.iter().map(|one| (one.header, one.header_path)).collect();
    headers.dedup();
    for (header, path) in headers {
        if !routes.services.is_empty() && routes.readers(header).is_empty() {
            findings.add(
                &rules::ROUTING_HEADER_UNREAD,
                policy.place(path),
                format!("no VirtualService matches {header:?}: expected routes with `match: [{{headers: {{{header}: {{exact: …}}}}}}]`"),
            );
        }
    }
}

fn without_route(policy: &Policy<'_>, written: &Written<'_>, routes: &Routes<'_>, findings: &mut Findings) {
    let readers = routes.readers(written.header);
    let (with, without): (Vec<_>, Vec<_>) =
        readers.iter().partition(|(service, _)| hosts::takes_value_of(service, written.header, written.value));
    let place = policy.place(&written.path);
    if !without.is_empty() {
        let message = format!(
            "{} has no route in {}: expected a match on `{}: {{exact: {}}}`",
            written.title,
            names(without.iter().map(|(service, _)| *service)),
            written.header,
            written.value
        );
        let related =
            without.iter().map(|(_, condition)| Related::new(condition, format!("{} is matched here", written.header)));
        findings.add_related(written.without_route, place, message, related.collect());
    }
    // Where routes lead to, `undefined_subsets` tells; without any, subsets are all there is to go by.
    if !with.is_empty() || routes.subsets.is_empty() {
        return;
    }
    let serves = |subset: &Node| {
        subset.text(&["name"]) == Some(written.value)
            || labels(subset.get(&["labels"])).values().any(|value| *value == written.value)
    };
    if !routes.subsets.iter().any(|(_, subset)| serves(subset)) {
        let mut hosts: Vec<&Manifest> = routes.subsets.iter().map(|(rule, _)| *rule).collect();
        hosts.dedup_by_key(|rule| std::ptr::from_ref(*rule));
        let related = hosts
            .iter()
            .filter_map(|rule| rule.spec(&["subsets"]))
            .map(|node| Related::new(&node.place, "the subsets are here"));
        findings.add_related(
            written.without_subset,
            place,
            format!(
                "{} has no subset in {}: expected one named {:?}",
                written.title,
                names(hosts.iter().copied()),
                written.value
            ),
            related.collect(),
        );
    }
}

/// Routes that match one value and lead to the subset of another.
fn misrouted(policy: &Policy<'_>, written: &[Written<'_>], routes: &Routes<'_>, findings: &mut Findings) {
    for service in &routes.services {
        for route in hosts::routes(service) {
            for one in written {
                let others = |name: &str| {
                    name != one.value
                        && (written.iter().any(|other| other.header == one.header && other.value == name)
                            || (one.value == CANARY && name == STABLE))
                };
                let conditions = hosts::header_conditions(route, one.header);
                let Some(condition) = conditions.iter().find(|condition| condition.text(&["exact"]) == Some(one.value))
                else {
                    continue;
                };
                // Alternatives, or a share of the traffic, can be meant.
                if conditions.len() > 1 || route.list(&["match"]).len() > 1 || route.list(&["route"]).len() > 1 {
                    continue;
                }
                for destination in hosts::destinations(service, route) {
                    let Some(subset) = destination.subset.filter(|subset| subset.as_text().is_some_and(others)) else {
                        continue;
                    };
                    findings.add_related(
                        &rules::MISROUTED,
                        &subset.place,
                        format!(
                            "{} leads to subset {:?} in {}: expected {:?}",
                            one.title,
                            subset.as_text().unwrap_or_default(),
                            service.title(),
                            one.value
                        ),
                        vec![
                            Related::new(&condition.place, "matched here"),
                            Related::new(policy.place(&one.path), "from the policy"),
                        ],
                    );
                }
            }
        }
    }
}

fn undefined_subsets(mesh: &Mesh<'_>, routes: &Routes<'_>, findings: &mut Findings) {
    let rules: Vec<_> = mesh.of(NETWORKING, "DestinationRule").collect();
    let host = |rule: &Manifest| {
        let host = rule.spec(&["host"]).and_then(Node::as_text).unwrap_or_default();
        hosts::host(host, rule.namespace.as_deref())
    };
    if rules.is_empty() {
        return;
    }
    for service in &routes.services {
        for destination in hosts::routes(service).iter().flat_map(|route| hosts::destinations(service, route)) {
            let Some(subset) = destination.subset else { continue };
            let of_host: Vec<_> = rules.iter().filter(|rule| covers(&host(rule), &destination.host)).collect();
            let names: Vec<&str> = of_host
                .iter()
                .flat_map(|rule| rule.spec_list(&["subsets"]))
                .filter_map(|subset| subset.text(&["name"]))
                .collect();
            if subset.as_text().is_some_and(|name| !names.contains(&name)) {
                let related = of_host.iter().map(|rule| Related::new(rule.place(), "the DestinationRule of the host"));
                let known = if names.is_empty() {
                    "a DestinationRule with subsets".into()
                } else {
                    format!("one of {}", names.join(", "))
                };
                findings.add_related(
                    &rules::SUBSET_UNDEFINED,
                    &subset.place,
                    format!(
                        "{} routes to subset {:?} of {}, which is not defined: expected {known}",
                        service.title(),
                        subset.as_text().unwrap_or_default(),
                        destination.host
                    ),
                    related.collect(),
                );
            }
        }
    }
}

/// Whether the host of a DestinationRule is, or covers, that of a destination.
fn covers(rule: &str, host: &str) -> bool {
    rule == host || rule.strip_prefix('*').is_some_and(|suffix| host.ends_with(suffix) || suffix.is_empty())
}

fn unrouted_contexts(policy: &Policy<'_>, document: &PolicyDocument, routes: &Routes<'_>, findings: &mut Findings) {
    if routes.services.is_empty() {
        return;
    }
    for (index, context) in document.contexts.iter().enumerate() {
        let routed = context.matches.iter().flatten().any(|one| {
            let Some(template) = one.path.as_deref() else { return true };
            let method = one.methods.iter().flatten().next().map_or("GET", String::as_str);
            let mut all = routes.services.iter().flat_map(|service| hosts::routes(service));
            all.any(|route| hosts::takes(route, method, template) > Takes::No)
        });
        if !routed {
            let name = context.name.as_deref().unwrap_or_default();
            findings.add(
                &rules::CONTEXT_UNROUTED,
                policy.place(&format!("contexts[{index}].match")),
                format!("no VirtualService routes the paths of context {name:?}"),
            );
        }
    }
}

// === impl Routes ===

impl<'d> Routes<'d> {
    /// The VirtualServices that match a header, and where each does so first.
    fn readers(&self, header: &str) -> Vec<(&'d Manifest, &'d Place)> {
        let first = |service: &'d Manifest| {
            let mut conditions =
                hosts::routes(service).iter().flat_map(|route| hosts::header_conditions(route, header));
            Some((service, &conditions.next()?.place))
        };
        self.services.iter().copied().filter_map(first).collect()
    }
}

/// `VirtualService a`, or `VirtualServices a, b`
fn names<'d>(manifests: impl IntoIterator<Item = &'d Manifest>) -> String {
    let manifests: Vec<_> = manifests.into_iter().collect();
    let names: Vec<_> = manifests.iter().map(|manifest| manifest.name.as_str()).collect();
    let kind = manifests.first().map_or("", |manifest| manifest.kind.as_str());
    format!("{kind}{} {}", if names.len() > 1 { "s" } else { "" }, names.join(", "))
}
