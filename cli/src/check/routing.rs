//! Pools and cohorts: what `tenant-routing` writes, and whether the mesh's routes do anything with it.

mod order;

use std::collections::BTreeMap;

use careplane_policy::document::{COHORT_HEADER, Cohort, Document as PolicyDocument};

use super::finding::{Findings, Related};
use super::mesh::{GATEWAY_API, Mesh, NETWORKING, Policy, labels, omits};
use super::routes::{self, Destination, Request, Route, Table, sample_path};
use super::rules::{self, Rule};
use crate::filters;
use crate::manifest::Manifest;
use crate::yaml::{Location, Node};

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

pub fn check(mesh: &Mesh<'_>, tables: &[Table<'_>], findings: &mut Findings) {
    let rules = mesh.of(NETWORKING, "DestinationRule");
    let subsets =
        rules.flat_map(|rule| rule.spec_list(&["subsets"]).iter().map(move |subset| (rule, subset))).collect();
    let services = mesh.of("", "Service").map(|service| (service, labels(service.spec(&["selector"])))).collect();
    let routes = Routes { tables, subsets, services };
    let mut seen: Vec<&PolicyDocument> = Vec::new();
    for (policy, document) in mesh.policies_for(filters::TENANT_ROUTING) {
        // Placements differ in their trusted peers, and hardly in this.
        let says_the_same = |other: &&PolicyDocument| {
            other.routing == document.routing
                && other.headers.omit == document.headers.omit
                && other.tenants == document.tenants
                && other.contexts == document.contexts
        };
        if seen.iter().any(says_the_same) {
            continue;
        }
        seen.push(document);
        let mut written = written(document);
        // Which routes want them all the same is another rule's.
        written.retain(|one| !omits(document, one.header));
        unread_headers(policy, &written, &routes, findings);
        for one in &written {
            without_route(policy, one, &routes, findings);
        }
        order::misrouted(policy, &written, &routes, findings);
        let samples = order::samples(document);
        for table in tables {
            // Where paths do not matter, what the policy knows of them does not either.
            let samples = if table.has_paths() { samples.as_slice() } else { &[] };
            order::shadowed(policy, &written, samples, table, &routes, findings);
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
        (None, Some((id, _))) => (COHORT_HEADER, format!("tenants.entries.{id}.cohort")),
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
                    "HTTPRoute matches {header:?}: expected rules with `matches: [{{headers: [{{name: {header}, \
                     value: …}}]}}]`"
                )
            } else {
                format!(
                    "VirtualService matches {header:?}: expected routes with `match: [{{headers: {{{header}: \
                     {{exact: …}}}}}}]`"
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
    // `undefined_subsets` checks where routes lead to. Without routes, only the subsets show the pools.
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

/// Whether a table that matches a header has a route for one of its values: for reads, if any value has one, and for
/// writes.
fn has_route(table: &Table<'_>, header: &str, value: &str) -> bool {
    ["GET", "POST"].into_iter().all(|method| {
        let takes = |route: &&Route<'_>| route.conditions.method.as_ref().is_none_or(|it| it.accepts(Some(method)));
        let mut readers =
            table.routes.iter().filter(takes).filter(|it| it.conditions.reads(header).next().is_some()).peekable();
        readers.peek().is_none() || readers.any(|route| route.conditions.wants(header, value))
    })
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
    place: &'t Location,
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
