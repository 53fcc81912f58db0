//! Routes that write or remove what careplane writes or reads: they do it after careplane, and before the next proxy.

use super::finding::{Findings, Related};
use super::mesh::{GATEWAY_API, Mesh, NETWORKING, omits};
use super::rules;
use super::writes::is_inside;
use crate::manifest::Manifest;
use crate::yaml::{Location, Node};

/// What a route does to a header.
pub struct Mutation<'d> {
    verb: &'static str,
    name: String,
    pub place: &'d Location,
}

/// A header of careplane, and what it is.
struct Known {
    name: String,
    meaning: &'static str,
    /// Where the policy names it; for headers of Envoy, nowhere.
    path: Option<String>,
}

pub fn check(mesh: &Mesh<'_>, findings: &mut Findings) {
    let routes = ["HTTPRoute", "GRPCRoute"].into_iter().flat_map(|kind| mesh.of(GATEWAY_API, kind));
    let routes = routes.chain(mesh.of(NETWORKING, "VirtualService")).filter(|route| is_inside(mesh, route));
    for manifest in routes.chain(mesh.of(NETWORKING, "EnvoyFilter")) {
        for mutation in mutations(manifest) {
            // Once is enough: plugins mostly have one policy, or nearly.
            let known = mesh.policies.iter().find_map(|policy| {
                let document = policy.document.as_ref()?;
                let known =
                    known(document).into_iter().find(|known| known.name.eq_ignore_ascii_case(&mutation.name))?;
                let place = known.path.as_deref().map(|path| policy.place(path));
                Some((known, place))
            });
            let Some((known, place)) = known else { continue };
            findings.add_related(
                &rules::HEADER_OVERWRITTEN,
                mutation.place,
                format!(
                    "{} {} {:?}, {}, after careplane has: expected the header left to careplane",
                    manifest.title(),
                    mutation.verb,
                    mutation.name,
                    known.meaning
                ),
                place.map(|place| Related::new(place, "the policy has it")).into_iter().collect(),
            );
        }
    }
}

fn known(document: &careplane_policy::document::Document) -> Vec<Known> {
    use careplane_policy::document::Source;
    let known = |name: &str, meaning, path: &str| Known {
        name: name.to_owned(),
        meaning,
        path: (!path.is_empty()).then(|| path.to_owned()),
    };
    let (headers, identity, routing) = (&document.headers, &document.identity, &document.routing);
    let mut all = vec![
        known(&headers.tenant_id, "which carries the tenant", "headers.tenantId"),
        known(&headers.user_id, "which carries the user", "headers.userId"),
        known(&headers.healthcare_context, "which carries the context", "headers.healthcareContext"),
        known(&headers.compliance_level, "which carries the compliance level", "headers.complianceLevel"),
        known(&headers.compliance_flags, "which carries the flags", "headers.complianceFlags"),
        known(&routing.pool_header, "which carries the pool", "routing.poolHeader"),
        known(&identity.correlation.header, "which carries the correlation id", "identity.correlation.header"),
        known("x-request-id", "whose digits decide which traces are kept", ""),
        known("traceparent", "which carries the trace", ""),
    ];
    if let Some(header) = routing.cohort_header(document.tenants.pins_a_cohort()) {
        all.push(known(header, "which carries the cohort", "routing.canary.header"));
    }
    all.retain(|known| !omits(document, &known.name));
    for (whose, sources) in [("tenant", &identity.tenant.sources), ("user", &identity.user.sources)] {
        for (index, source) in sources.iter().enumerate() {
            if let Source::Header(name) = source {
                all.push(known(name, "which says who is calling", &format!("identity.{whose}.sources[{index}]")));
            }
        }
    }
    all
}

fn mutations(manifest: &Manifest) -> Vec<Mutation<'_>> {
    if manifest.kind == "EnvoyFilter" {
        return in_envoy(&manifest.node);
    }
    if manifest.group == GATEWAY_API {
        let rules = manifest.spec_list(&["rules"]).iter();
        let filters = rules.flat_map(|rule| {
            let backends = rule.list(&["backendRefs"]).iter().flat_map(|backend| backend.list(&["filters"]));
            rule.list(&["filters"]).iter().chain(backends)
        });
        return filters.filter_map(|filter| filter.get(&["requestHeaderModifier"])).flat_map(in_modifier).collect();
    }
    let rules = manifest.spec_list(&["http"]).iter();
    let operations = rules.flat_map(|rule| {
        let destinations = rule.list(&["route"]).iter().filter_map(|one| one.get(&["headers", "request"]));
        rule.get(&["headers", "request"]).into_iter().chain(destinations)
    });
    operations.flat_map(in_operations).collect()
}

/// `{set: {name: value}, add: {name: value}, remove: [name]}`
fn in_operations(operations: &Node) -> Vec<Mutation<'_>> {
    let written = [("sets", "set"), ("adds to", "add")].into_iter().flat_map(|(verb, key)| {
        let entries = operations.get(&[key]).map(Node::entries).unwrap_or_default();
        entries.iter().map(move |entry| Mutation { verb, name: entry.key.clone(), place: &entry.key_place })
    });
    written.chain(operations.list(&["remove"]).iter().filter_map(removed)).collect()
}

/// `{set: [{name, value}], add: [{name, value}], remove: [name]}`
fn in_modifier(modifier: &Node) -> Vec<Mutation<'_>> {
    let written = [("sets", "set"), ("adds to", "add")].into_iter().flat_map(|(verb, key)| {
        modifier.list(&[key]).iter().filter_map(move |one| {
            let name = one.get(&["name"])?;
            Some(Mutation { verb, name: name.as_text()?.to_owned(), place: &name.place })
        })
    });
    written.chain(modifier.list(&["remove"]).iter().filter_map(removed)).collect()
}

fn removed(node: &Node) -> Option<Mutation<'_>> {
    Some(Mutation { verb: "removes", name: node.as_text()?.to_owned(), place: &node.place })
}

/// Of routes, virtual hosts and weighted clusters of Envoy.
pub fn in_envoy(filter: &Node) -> Vec<Mutation<'_>> {
    let mut mutations = Vec::new();
    for (_, entry) in filter.all_entries() {
        match entry.key.as_str() {
            "request_headers_to_remove" | "requestHeadersToRemove" => {
                mutations.extend(entry.value.elements().iter().filter_map(removed));
            }
            "request_headers_to_add" | "requestHeadersToAdd" => {
                let names = entry.value.elements().iter().filter_map(|one| one.get(&["header", "key"]));
                mutations.extend(names.filter_map(|name| {
                    Some(Mutation { verb: "sets", name: name.as_text()?.to_owned(), place: &name.place })
                }));
            }
            _ => {}
        }
    }
    mutations
}
