//! EnvoyFilters that take a plugin out of its place behind Istio's back.

use super::finding::{Findings, Related};
use super::mesh::{Mesh, NETWORKING, Plugin, claims, may_meet};
use super::rules;
use crate::manifest::Manifest;
use crate::yaml::Node;

const JWT_AUTHN: &str = "envoy.filters.http.jwt_authn";
const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";
/// The filters that come before [`JWT_AUTHN`] in every chain of Istio's.
const FIRST: [&str; 2] = ["istio.metadata_exchange", JWT_AUTHN];

pub fn check(mesh: &Mesh<'_>, findings: &mut Findings) {
    for filter in mesh.of(NETWORKING, "EnvoyFilter") {
        for patch in filter.spec_list(&["configPatches"]) {
            let patch = Patch { filter, node: patch };
            disabled(mesh, &patch, findings);
            reordered(&patch, findings);
            without_claims(mesh, &patch, findings);
        }
        let per_route = ["typed_per_filter_config", "typedPerFilterConfig"];
        for (_, entry) in filter.node.all_entries().into_iter().filter(|(_, it)| per_route.contains(&it.key.as_str())) {
            for filter_config in entry.value.entries() {
                let Some(plugin) = named(mesh, filter, &filter_config.key) else { continue };
                if filter_config.value.bool(&["disabled"]) == Some(true) {
                    found(plugin, &filter_config.key_place, "turns off", "for a route", filter, findings);
                }
            }
        }
    }
}

/// An entry of `configPatches`.
struct Patch<'d> {
    filter: &'d Manifest,
    node: &'d Node,
}

// === impl Patch ===

impl<'d> Patch<'d> {
    fn applies_to(&self) -> &'d str {
        self.node.text(&["applyTo"]).unwrap_or_default()
    }

    fn operation(&self) -> &'d str {
        self.node.text(&["patch", "operation"]).unwrap_or_default()
    }

    /// The names that it asks for: of a filter, and of the configuration of an extension.
    fn targets(&self) -> Vec<&'d Node> {
        let filter = ["match", "listener", "filterChain", "filter"];
        let sub_filter = [&filter[..], &["subFilter", "name"]].concat();
        let name = [&filter[..], &["name"]].concat();
        let of_filter = match self.applies_to() {
            "HTTP_FILTER" => self.node.get(&sub_filter),
            "NETWORK_FILTER" => self.node.get(&name),
            _ => None,
        };
        let extension = self.node.get(&["patch", "value", "name"]).filter(|_| self.applies_to() == "EXTENSION_CONFIG");
        of_filter.into_iter().chain(extension).collect()
    }
}

/// The plugin that a filter of Envoy is, by its name: `extensions.istio.io/wasmplugin/istio-system.gateway`.
fn named<'m, 'd>(mesh: &'m Mesh<'d>, filter: &Manifest, name: &str) -> Option<&'m Plugin<'d>> {
    mesh.plugins.iter().filter(|plugin| may_meet(plugin.manifest, filter) || filter.namespace.is_none()).find(
        |plugin| {
            let namespace = plugin.manifest.namespace.as_deref().unwrap_or_default();
            let known = format!("{namespace}.{}", plugin.manifest.name);
            let last = name.rsplit('/').next().unwrap_or(name).split('~').next().unwrap_or(name);
            last == known || (namespace.is_empty() && last.ends_with(&known))
        },
    )
}

fn found(
    plugin: &Plugin<'_>,
    place: &crate::yaml::Location,
    verb: &str,
    tail: &str,
    filter: &Manifest,
    findings: &mut Findings,
) {
    let tail = if tail.is_empty() { String::new() } else { format!(" {tail}") };
    findings.add_related(
        &rules::FILTER_DISABLED,
        place,
        format!(
            "{} {verb} {}{tail}: expected the plugin changed, or its selector and `match`",
            filter.title(),
            plugin.manifest.title()
        ),
        vec![Related::new(plugin.manifest.place(), "the plugin")],
    );
}

fn disabled(mesh: &Mesh<'_>, patch: &Patch<'_>, findings: &mut Findings) {
    let verb = match patch.operation() {
        "REMOVE" => "removes",
        "REPLACE" => "replaces",
        "MERGE" => "changes",
        _ => return,
    };
    for target in patch.targets() {
        let name = target.as_text().unwrap_or_default();
        if let Some(plugin) = named(mesh, patch.filter, name) {
            found(plugin, &target.place, verb, "", patch.filter, findings);
        }
        // With the connection manager goes all that is in it.
        if name == CONNECTION_MANAGER && patch.applies_to() == "NETWORK_FILTER" && patch.operation() != "MERGE" {
            let meets = |plugin: &&Plugin<'_>| may_meet(plugin.manifest, patch.filter);
            if let Some(plugin) = mesh.plugins.iter().find(meets) {
                found(plugin, &target.place, verb, "with its connection manager", patch.filter, findings);
            }
        }
    }
}

/// The module itself, put before the filter whose claims it reads.
fn reordered(patch: &Patch<'_>, findings: &mut Findings) {
    let Some(value) = patch.node.get(&["patch", "value"]).filter(|_| patch.applies_to() == "HTTP_FILTER") else {
        return;
    };
    let has_module = value.texts().iter().filter_map(|text| text.as_text()).any(|text| text.contains("careplane"))
        && value.texts().iter().filter_map(|text| text.as_text()).any(|text| text.ends_with(".wasm.v3.Wasm"));
    let targets = patch.targets();
    let target = targets.first().and_then(|target| target.as_text());
    let is_early = match patch.operation() {
        "INSERT_FIRST" => true,
        "INSERT_BEFORE" => target.is_none_or(|target| FIRST.contains(&target)),
        _ => false,
    };
    if has_module && is_early {
        let operation = patch.node.get(&["patch", "operation"]).unwrap_or(patch.node);
        findings.add(
            &rules::FILTER_REORDERED,
            &operation.place,
            format!(
                "{} puts careplane before jwt_authn: expected a WasmPlugin with `phase: AUTHZ`, or INSERT_AFTER \
                 jwt_authn",
                patch.filter.title()
            ),
        );
    }
}

fn without_claims(mesh: &Mesh<'_>, patch: &Patch<'_>, findings: &mut Findings) {
    let target = patch.targets().into_iter().find(|target| target.as_text() == Some(JWT_AUTHN));
    let Some(target) = target.filter(|_| patch.operation() == "REMOVE") else { return };
    for plugin in mesh.plugins.iter().filter(|plugin| may_meet(plugin.manifest, patch.filter)) {
        let document = plugin.policy.and_then(|index| mesh.policies[index].document.as_ref());
        let claims = document.map(claims).unwrap_or_default();
        if !claims.is_empty() {
            findings.add_related(
                &rules::CLAIMS_UNVERIFIED,
                &target.place,
                format!(
                    "{} removes jwt_authn, and {} reads the claims {}: expected jwt_authn left in place",
                    patch.filter.title(),
                    plugin.manifest.title(),
                    claims.join(", ")
                ),
                vec![Related::new(plugin.manifest.place(), "the plugin")],
            );
            return;
        }
    }
}
