//! Options of tracers that take the decision out of careplane's hands.

use careplane_policy::document::Document as PolicyDocument;

use super::finding::{Findings, Related};
use super::mesh::{Mesh, NETWORKING, Policy, TELEMETRY};
use super::rules::{self, Rule};
use crate::filters;
use crate::yaml::{Node, Value};

/// What an EnvoyFilter can say, in both spellings of JSON, and what it must not be.
const FALSE_IN_ENVOY: [(&[&str], &Rule, &str); 2] = [
    (&["use_request_id_for_trace_sampling", "useRequestIdForTraceSampling"], &rules::TRACE_REQUEST_ID, NO_TIERS),
    (&["pack_trace_reason", "packTraceReason"], &rules::TRACE_REASON, "the next hop does not see that a trace is kept"),
];
const NO_TIERS: &str = "every request is traced, whatever its tier";

pub fn check(mesh: &Mesh<'_>, findings: &mut Findings) {
    if !mesh.runs(filters::SAMPLING) || mesh.policies_for(filters::SAMPLING).next().is_none() {
        return;
    }
    let mut providers: Vec<&Node> = Vec::new();
    for tracing in mesh.of(TELEMETRY, "Telemetry").flat_map(|telemetry| telemetry.spec_list(&["tracing"])) {
        let key = "useRequestIdForTraceSampling";
        if let Some(node) = tracing.get(&[key]).filter(|node| node.as_bool() == Some(false)) {
            findings.add(
                &rules::TRACE_REQUEST_ID,
                &node.place,
                format!("{key} is false, so {NO_TIERS}: expected true"),
            );
        }
        providers.extend(tracing.list(&["providers"]).iter().filter_map(|provider| provider.get(&["name"])));
    }
    if let Some(config) = mesh.mesh_config() {
        providers.extend(config.list(&["defaultProviders", "tracing"]));
        for provider in config.list(&["extensionProviders"]) {
            let name = provider.text(&["name"]);
            let Some(user) = providers.iter().find(|user| user.as_text() == name) else { continue };
            if let Some(sampler) = provider.get(&["opentelemetry", "dynatraceSampler"]) {
                let related = vec![Related::new(&user.place, "the provider is named here")];
                sampler_found("dynatraceSampler", &sampler.place, related, findings);
            }
            if let Some(zipkin) = provider.get(&["zipkin"]) {
                zipkin_found(mesh, user, zipkin, findings);
            }
        }
        if let Some(zipkin) = config.get(&["defaultConfig", "tracing", "zipkin"]) {
            zipkin_found(mesh, zipkin, zipkin, findings);
        }
    }
    for filter in mesh.of(NETWORKING, "EnvoyFilter") {
        in_envoy(&filter.node, findings);
    }
}

fn in_envoy(filter: &Node, findings: &mut Findings) {
    for (map, entry) in filter.all_entries() {
        for (names, rule, consequence) in FALSE_IN_ENVOY {
            if names.contains(&entry.key.as_str()) && entry.value.as_bool() == Some(false) {
                let message = format!("{} is false, so {consequence}: expected true", entry.key);
                findings.add(rule, &entry.value.place, message);
            }
        }
        let is_tracer = map.text(&["@type"]).is_some_and(|kind| kind.ends_with(".OpenTelemetryConfig"));
        if entry.key == "sampler" && is_tracer && !matches!(entry.value.value, Value::Null) {
            let name = entry.value.text(&["name"]).unwrap_or("sampler");
            sampler_found(name, &entry.value.place, Vec::new(), findings);
        }
    }
}

fn sampler_found(name: &str, place: &crate::yaml::Location, related: Vec<Related>, findings: &mut Findings) {
    let message = format!(
        "the sampler {name} decides which spans are exported, and not the tiers: expected a tracer without a sampler"
    );
    findings.add_related(&rules::TRACE_SAMPLER, place, message, related);
}

fn zipkin_found(mesh: &Mesh<'_>, user: &Node, zipkin: &Node, findings: &mut Findings) {
    let has_late = |document: &PolicyDocument| {
        let late = &document.sampling.late;
        document.export.is_some() && (late.denied || late.server_errors || late.slower_than.is_some())
    };
    let policy = mesh.policies_for(filters::SAMPLING).find(|(_, document)| has_late(document));
    let Some((policy, _)): Option<(&Policy<'_>, _)> = policy else { return };
    let mut related = vec![Related::new(policy.place("sampling.late"), "late spans are asked for here")];
    if !std::ptr::eq(user, zipkin) {
        related.push(Related::new(&zipkin.place, "the provider is Zipkin's"));
    }
    findings.add_related(
        &rules::LATE_SPAN_ZIPKIN,
        &user.place,
        "spans go to Zipkin, late spans to the collector of `export`: expected an `opentelemetry` provider, or a \
         collector that \
         sends both to one store",
        related,
    );
}
