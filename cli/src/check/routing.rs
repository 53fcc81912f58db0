//! Pools and cohorts: what `tenant-routing` writes, and whether the mesh's routes do anything with it.

use std::collections::BTreeMap;

use careplane_policy::document::{Cohort, Document as PolicyDocument};

use super::finding::{Findings, Related};
use super::mesh::{GATEWAY_API, Mesh, NETWORKING, Policy, labels};
use super::routes::{self, Destination, Request, Route, Table, sample_path};
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
struct Routes<'t, 'd> {
    tables: &'t [Table<'d>],
    /// Each subset with its DestinationRule.
    subsets: Vec<(&'d Manifest, &'d Node)>,
    /// Each Service with the labels of its pods.
    services: Vec<(&'d Manifest, BTreeMap<&'d str, &'d str>)>,
}

/// A route that takes the requests of some tenants before the route that is for them.
struct Shadow<'t, 'd> {
    taker: &'t Route<'d>,
    /// Of whom: `pool "pool-b"`
    tenants: Vec<String>,
    related: Vec<Related>,
}

pub fn check(mesh: &Mesh<'_>, tables: &[Table<'_>], findings: &mut Findings) {
    let rules = mesh.of(NETWORKING, "DestinationRule");
    let subsets =
        rules.flat_map(|rule| rule.spec_list(&["subsets"]).iter().map(move |subset| (rule, subset))).collect();
    let services = mesh.of("", "Service").map(|service| (service, labels(service.spec(&["selector"])))).collect();
    let routes = Routes { tables, subsets, services };
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
        let samples = samples(document);
        for table in tables {
            shadowed(policy, &written, &samples, table, &routes, findings);
        }
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

fn unread_headers(policy: &Policy<'_>, written: &[Written<'_>], routes: &Routes<'_, '_>, findings: &mut Findings) {
    let mut headers: Vec<(&str, &str)> = written.iter().map(|one| (one.header, one.header_path)).collect();
    headers.dedup();
    for (header, path) in headers {
        if !routes.tables.is_empty() && routes.readers(header).is_empty() {
            let expected = if routes.tables.iter().all(|table| table.owner.group == GATEWAY_API) {
                format!(
                    "HTTPRoute matches {header:?}: expected rules with `matches: [{{headers: [{{name: {header}, value: …}}]}}]`"
                )
            } else {
                format!(
                    "VirtualService matches {header:?}: expected routes with `match: [{{headers: {{{header}: {{exact: …}}}}}}]`"
                )
            };
            findings.add(&rules::ROUTING_HEADER_UNREAD, policy.place(path), format!("no {expected}"));
        }
    }
}

fn without_route(policy: &Policy<'_>, written: &Written<'_>, routes: &Routes<'_, '_>, findings: &mut Findings) {
    let readers = routes.readers(written.header);
    let (with, without): (Vec<_>, Vec<_>) =
        readers.iter().partition(|reader| has_route(reader.table, written.header, written.value));
    let place = policy.place(&written.path);
    if !without.is_empty() {
        let match_on = if without.iter().all(|reader| reader.owner.group == GATEWAY_API) {
            format!("{{name: {}, value: {}}}", written.header, written.value)
        } else {
            format!("{}: {{exact: {}}}", written.header, written.value)
        };
        let message = format!(
            "{} has no route in {}: expected a match on `{match_on}`",
            written.title,
            names(without.iter().map(|reader| reader.owner)),
        );
        let related = without.iter().map(|it| Related::new(it.place, format!("{} is matched here", written.header)));
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

/// Whether a table that matches a header has a route for one of its values: for reads, if any value has one, and for writes.
fn has_route(table: &Table<'_>, header: &str, value: &str) -> bool {
    ["GET", "POST"].into_iter().all(|method| {
        let takes = |route: &&Route<'_>| route.conditions.method.as_ref().is_none_or(|it| it.accepts(Some(method)));
        let mut readers =
            table.routes.iter().filter(takes).filter(|it| it.conditions.reads(header).next().is_some()).peekable();
        readers.peek().is_none() || readers.any(|route| route.conditions.wants(header, value))
    })
}

/// Routes that match one value and lead to the subset, or the Service, of another.
fn misrouted(policy: &Policy<'_>, written: &[Written<'_>], routes: &Routes<'_, '_>, findings: &mut Findings) {
    for route in routes.tables.iter().flat_map(|table| &table.routes) {
        for one in written {
            let conditions: Vec<_> = route.conditions.reads(one.header).collect();
            let Some(condition) = conditions.iter().find(|it| it.value.is_exactly(one.value)) else { continue };
            // Alternatives, or a share of the traffic, can be meant.
            let alternatives = route.rule.list(&["match"]).len().max(route.rule.list(&["matches"]).len());
            let destinations = route.destinations();
            if alternatives > 1 || destinations.len() > 1 {
                continue;
            }
            for destination in destinations {
                let named = destination.subset.unwrap_or(destination.node).as_text().unwrap_or_default();
                let is_other = |other: &str| match destination.subset {
                    Some(_) => named == other,
                    None => named.strip_suffix(other).is_some_and(|rest| rest.is_empty() || rest.ends_with('-')),
                };
                let others = written.iter().filter(|other| other.header == one.header).map(|other| other.value);
                let others = others.chain((one.value == CANARY).then_some(STABLE));
                if routes.serves(&destination, one.value)
                    || !others.into_iter().any(|it| it != one.value && is_other(it))
                {
                    continue;
                }
                let what = if destination.subset.is_some() { "subset" } else { "Service" };
                findings.add_related(
                    &rules::MISROUTED,
                    &destination.node.place,
                    format!(
                        "{} leads to {what} {named:?} in {}: expected {:?}",
                        one.title,
                        route.owner.title(),
                        if destination.subset.is_some() { one.value.to_owned() } else { format!("…-{}", one.value) },
                    ),
                    vec![
                        Related::new(condition.place, "matched here"),
                        Related::new(policy.place(&one.path), "from the policy"),
                    ],
                );
            }
        }
    }
}

/// A request of each kind that the policy knows.
fn samples(document: &PolicyDocument) -> Vec<Request> {
    let matches = document.contexts.iter().flat_map(|context| context.matches.iter().flatten());
    matches
        .filter_map(|one| {
            let method = one.methods.iter().flatten().next().map_or("GET", String::as_str);
            Some(Request::new(method, &sample_path(one.path.as_deref()?)))
        })
        .collect()
}

/// Routes for a pool or a cohort that others come before.
fn shadowed<'d>(
    policy: &Policy<'_>,
    written: &[Written<'_>],
    samples: &[Request],
    table: &Table<'d>,
    routes: &Routes<'_, 'd>,
    findings: &mut Findings,
) {
    let mut shadows: Vec<Shadow<'_, 'd>> = Vec::new();
    for route in &table.routes {
        for one in written.iter().filter(|one| route.conditions.wants(one.header, one.value)) {
            for (tenants, headers) in tenants(one, written) {
                let Some(taker) = taker(table, route, one, (&headers, samples), written, routes) else { continue };
                let at = route.conditions.reads(one.header).next().map_or(route.place, |condition| condition.place);
                let related = [
                    Related::new(at, format!("the route for {} comes after it", one.title)),
                    Related::new(policy.place(&one.path), "from the policy"),
                ];
                let position = shadows.iter().position(|known| std::ptr::eq(known.taker, taker)).unwrap_or_else(|| {
                    shadows.push(Shadow { taker, tenants: Vec::new(), related: Vec::new() });
                    shadows.len() - 1
                });
                let shadow = &mut shadows[position];
                if !shadow.tenants.contains(&tenants) {
                    shadow.tenants.push(tenants);
                }
                for related in related {
                    if !shadow.related.contains(&related) {
                        shadow.related.push(related);
                    }
                }
            }
        }
    }
    for Shadow { taker, tenants, related } in shadows {
        let expected = if taker.owner.group == GATEWAY_API {
            "expected a rule for them that comes first: the longer path does, then the one with a method, then the one with more headers"
        } else {
            "expected the route for them before it"
        };
        findings.add_related(
            &rules::MISROUTED,
            taker.place,
            format!("{} takes the requests of {} first: {expected}", taker.title(), tenants.join(", ")),
            related,
        );
    }
}

/// Whose requests have a value: what messages call them, and their headers. The cohort comes before the pool, so each pool
/// has to let its canary tenants go.
fn tenants<'p>(one: &Written<'p>, written: &[Written<'p>]) -> Vec<(String, Vec<(&'p str, &'p str)>)> {
    let cohort = written.iter().find(|other| other.value == CANARY);
    if one.value != CANARY {
        let stable = cohort.map(|cohort| (cohort.header, STABLE));
        return vec![(one.title.clone(), stable.into_iter().chain([(one.header, one.value)]).collect())];
    }
    let pools = written.iter().filter(|other| other.value != CANARY);
    let mut tenants: Vec<(String, Vec<(&str, &str)>)> = pools
        .map(|pool| {
            (format!("{} in {}", one.title, pool.title), vec![(one.header, one.value), (pool.header, pool.value)])
        })
        .collect();
    if tenants.is_empty() {
        tenants.push((one.title.clone(), vec![(one.header, one.value)]));
    }
    tenants
}

/// The route that takes the requests which `route` is for, if another does and is not for them. A route for some paths can be meant to
/// go before; one for other tenants cannot, nor one that takes everything that `route` is for, or all of it that the policy knows.
fn taker<'t, 'd>(
    table: &'t Table<'d>,
    route: &Route<'d>,
    one: &Written<'_>,
    (headers, samples): (&[(&str, &str)], &[Request]),
    written: &[Written<'_>],
    routes: &Routes<'_, 'd>,
) -> Option<&'t Route<'d>> {
    let is_wrong = |taker: &&Route<'d>| {
        let destinations = taker.destinations();
        let serves = !destinations.is_empty() && destinations.iter().all(|it| routes.serves(it, one.value));
        !taker.conditions.wants(one.header, one.value) && !serves
    };
    let is_for_tenants =
        |taker: &&Route<'d>| written.iter().any(|other| taker.conditions.reads(other.header).next().is_some());
    let takers = |requests: &mut dyn Iterator<Item = Request>| -> Vec<&'t Route<'d>> {
        requests
            .map(|request| headers.iter().fold(request, |request, (name, value)| request.with(name, value)))
            .filter(|request| route.conditions.accept(request))
            .filter_map(|request| table.decide(&request))
            .collect()
    };
    let wrong = |takers: &[&'t Route<'d>]| {
        let is_reached = takers.iter().any(|taker| std::ptr::eq(*taker, route));
        takers.iter().copied().find(|taker| is_wrong(taker) && (!is_reached || is_for_tenants(taker)))
    };
    wrong(&takers(&mut route.conditions.examples().into_iter()))
        .or_else(|| wrong(&takers(&mut samples.iter().map(|sample| route.conditions.fit(sample.clone())))))
}

fn undefined_subsets(mesh: &Mesh<'_>, routes: &Routes<'_, '_>, findings: &mut Findings) {
    let rules: Vec<_> = mesh.of(NETWORKING, "DestinationRule").collect();
    if rules.is_empty() {
        return;
    }
    for route in routes.tables.iter().flat_map(|table| &table.routes) {
        for destination in route.destinations() {
            let Some(subset) = destination.subset else { continue };
            let of_host: Vec<_> = rules.iter().filter(|rule| covers(&rule_host(rule), &destination.host)).collect();
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
                        route.owner.title(),
                        subset.as_text().unwrap_or_default(),
                        destination.host
                    ),
                    related.collect(),
                );
            }
        }
    }
}

fn rule_host(rule: &Manifest) -> String {
    let host = rule.spec(&["host"]).and_then(Node::as_text).unwrap_or_default();
    routes::host(host, rule.namespace.as_deref())
}

/// Whether the host of a DestinationRule is, or covers, that of a destination.
fn covers(rule: &str, host: &str) -> bool {
    rule == host || rule.strip_prefix('*').is_some_and(|suffix| host.ends_with(suffix) || suffix.is_empty())
}

fn unrouted_contexts(policy: &Policy<'_>, document: &PolicyDocument, routes: &Routes<'_, '_>, findings: &mut Findings) {
    if routes.tables.is_empty() {
        return;
    }
    for (index, context) in document.contexts.iter().enumerate() {
        let routed = context.matches.iter().flatten().any(|one| {
            let Some(template) = one.path.as_deref() else { return true };
            let method = one.methods.iter().flatten().next().map_or("GET", String::as_str);
            let sample = Request::new(method, &sample_path(template));
            let mut all = routes.tables.iter().flat_map(|table| &table.routes);
            // As the sample is, or as some path of the route is that a parameter of the template can be.
            all.any(|route| {
                let takes = route.conditions.accept(&route.conditions.fit(sample.clone()));
                takes || route.conditions.path.may_be_in(template)
            })
        });
        if !routed {
            let name = context.name.as_deref().unwrap_or_default();
            findings.add(
                &rules::CONTEXT_UNROUTED,
                policy.place(&format!("contexts[{index}].match")),
                format!("no VirtualService or HTTPRoute routes the paths of context {name:?}"),
            );
        }
    }
}

/// A table that matches a header.
struct Reader<'t, 'd> {
    table: &'t Table<'d>,
    owner: &'d Manifest,
    /// Where it does so first.
    place: &'t Place,
}

// === impl Routes ===

impl<'t, 'd> Routes<'t, 'd> {
    /// The tables that match a header, each manifest once.
    fn readers(&self, header: &str) -> Vec<Reader<'t, 'd>> {
        let mut readers: Vec<Reader<'t, 'd>> = Vec::new();
        for table in self.tables {
            let first = table.routes.iter().find_map(|route| {
                let place = route.conditions.reads(header).next()?.place;
                Some(Reader { table, owner: route.owner, place })
            });
            readers.extend(first.filter(|one| readers.iter().all(|known| !std::ptr::eq(known.owner, one.owner))));
        }
        readers
    }

    /// Whether a destination is for a pool or a cohort: by its name, or by the labels of its pods.
    fn serves(&self, destination: &Destination<'_>, value: &str) -> bool {
        let is_named = |name: &str| name.strip_suffix(value).is_some_and(|rest| rest.is_empty() || rest.ends_with('-'));
        let has_label = |labels: &BTreeMap<&str, &str>| labels.values().any(|label| *label == value);
        match destination.subset.and_then(Node::as_text) {
            Some(subset) => {
                let same = |rule: &Manifest, it: &Node| {
                    it.text(&["name"]) == Some(subset) && covers(&rule_host(rule), &destination.host)
                };
                let labelled =
                    |(rule, it): &(&Manifest, &Node)| same(rule, it) && has_label(&labels(it.get(&["labels"])));
                is_named(subset) || self.subsets.iter().any(labelled)
            }
            None => {
                let name = destination.host.split('.').next().unwrap_or_default();
                is_named(name)
                    || self.services.iter().any(|(service, labels)| service.name == name && has_label(labels))
            }
        }
    }
}

/// `VirtualService a`, or `VirtualServices a, b`
fn names<'d>(manifests: impl IntoIterator<Item = &'d Manifest>) -> String {
    let manifests: Vec<_> = manifests.into_iter().collect();
    let names: Vec<_> = manifests.iter().map(|manifest| manifest.name.as_str()).collect();
    let kind = manifests.first().map_or("", |manifest| manifest.kind.as_str());
    format!("{kind}{} {}", if names.len() > 1 { "s" } else { "" }, names.join(", "))
}
