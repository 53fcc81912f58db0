//! Telemetry: whether anything reads what careplane writes for spans and access logs, and the base rate that tiers
//! build on.

use careplane_policy::document::{Document as PolicyDocument, Enforcement};

use super::finding::{Findings, Related};
use super::mesh::{Mesh, NETWORKING, Policy, TELEMETRY, may_meet};
use super::rules;
use crate::filters;
use crate::manifest::Manifest;
use crate::yaml::{Location, Node};

/// The tags of every span.
const TAGS: [&str; 5] = ["tenant_id", "user_id", "correlation_id", "healthcare_context", "compliance_level"];
/// Filter state below `wasm.careplane.`, and the filters that write it.
const FILTER_STATE: [(&str, &[&str]); 15] = [
    ("tenant_id", &[filters::TRACING_TAGS]),
    ("user_id", &[filters::TRACING_TAGS]),
    ("correlation_id", &[filters::TRACING_TAGS]),
    ("healthcare_context", &[filters::TRACING_TAGS]),
    ("compliance_level", &[filters::TRACING_TAGS]),
    ("path_template", &[filters::TRACING_TAGS]),
    ("grant", &[filters::TRACING_TAGS]),
    ("purpose_of_use", &[filters::TRACING_TAGS]),
    ("sampling_tier", &[filters::SAMPLING]),
    ("sampling_rate", &[filters::SAMPLING]),
    ("sampling_reason", &[filters::SAMPLING]),
    ("denial_reason", &[filters::TRACING_TAGS, filters::TENANT_ROUTING]),
    ("shadow_denial_reason", &[filters::TRACING_TAGS, filters::TENANT_ROUTING, filters::AUDIT]),
    (AUDIT_RECORD, &[filters::AUDIT]),
    (SHADOW_RECORD, &[filters::AUDIT]),
];
const AUDIT_RECORD: &str = "audit";
/// The record of a policy that is in shadow.
const SHADOW_RECORD: &str = "shadow";
const PREFIX: &str = "wasm.careplane.";
const OPERATOR: &str = "FILTER_STATE(";
/// Istio's own base rate, in percent.
const DEFAULT_BASE_RATE: f64 = 1.0;

pub fn check(mesh: &Mesh<'_>, findings: &mut Findings) {
    let tracings: Vec<Tracing<'_>> = mesh.of(TELEMETRY, "Telemetry").flat_map(Tracing::of).collect();
    if mesh.runs(filters::TRACING_TAGS) {
        unread_tags(mesh, &tracings, findings);
    }
    unwritten_state(mesh, findings);
    base_rate(mesh, &tracings, findings);
    audit_log(mesh, findings);
}

/// One entry of `tracing` that has spans reported.
struct Tracing<'d> {
    manifest: &'d Manifest,
    node: &'d Node,
}

impl<'d> Tracing<'d> {
    fn of(manifest: &'d Manifest) -> impl Iterator<Item = Self> {
        let entries = manifest.spec_list(&["tracing"]).iter();
        let is_off = |node: &&Node| {
            matches!(node.get(&["disableSpanReporting"]).map(Node::to_json), Some(serde_json::Value::Bool(true)))
        };
        entries.filter(move |node| !is_off(node)).map(move |node| Self { manifest, node })
    }

    fn tags(&self) -> Option<&'d Node> {
        self.node.get(&["customTags"])
    }

    fn base_rate(&self) -> Option<&'d Node> {
        self.node.get(&["randomSamplingPercentage"])
    }
}

fn unread_tags(mesh: &Mesh<'_>, tracings: &[Tracing<'_>], findings: &mut Findings) {
    let headers: Vec<(&str, String)> =
        mesh.policies_for(filters::TRACING_TAGS).flat_map(|(_, document)| tag_headers(document)).collect();
    // Without a policy these are not the manifests of careplane.
    if headers.is_empty() {
        return;
    }
    let unread = |tags: &Node| -> Vec<&str> {
        let reads = |tag: &str| {
            tags.entries().iter().any(|entry| {
                let formatter =
                    entry.value.text(&["formatter", "value"]).is_some_and(|format| reads_state(format, tag));
                let header = entry.value.text(&["header", "name"]);
                formatter || headers.iter().any(|(known, name)| *known == tag && header == Some(name.as_str()))
            })
        };
        TAGS.into_iter().filter(|tag| !reads(tag)).collect()
    };
    let message = |tags: &[&str]| {
        let first = tags.first().unwrap_or(&TAGS[0]);
        format!(
            "nothing reads the tags {}: expected in customTags such as {first}: {{formatter: {{value: \
             \"%FILTER_STATE({PREFIX}{first}:PLAIN)%\"}}}}",
            tags.join(", "),
        )
    };
    let with_tags: Vec<_> = tracings.iter().filter_map(Tracing::tags).collect();
    if let (Some(tracing), []) = (tracings.first(), with_tags.as_slice()) {
        findings.add(&rules::SPAN_TAG_UNREAD, &tracing.node.place, message(&TAGS));
    }
    for tags in with_tags {
        let unread = unread(tags);
        if !unread.is_empty() {
            findings.add(&rules::SPAN_TAG_UNREAD, &tags.place, message(&unread));
        }
    }
}

/// The request headers that say the same as a tag: Envoy before 1.37 has only them.
fn tag_headers(document: &PolicyDocument) -> Vec<(&'static str, String)> {
    let headers = &document.headers;
    let mut names = vec![
        ("tenant_id", headers.tenant_id.clone()),
        ("correlation_id", document.identity.correlation.header.clone()),
        ("healthcare_context", headers.healthcare_context.clone()),
        ("compliance_level", headers.compliance_level.clone()),
    ];
    names.extend(headers.user_pseudonym.clone().map(|name| ("user_id", name)));
    names
}

/// The keys of filter state that a format string reads.
fn state_keys(format: &str) -> impl Iterator<Item = &str> {
    format.split(OPERATOR).skip(1).filter_map(|rest| rest.split([':', ')']).next())
}

fn reads_state(format: &str, name: &str) -> bool {
    state_keys(format).any(|key| key.strip_prefix(PREFIX) == Some(name))
}

fn unwritten_state(mesh: &Mesh<'_>, findings: &mut Findings) {
    let readers = mesh
        .of(TELEMETRY, "Telemetry")
        .chain(mesh.of("install.istio.io", "IstioOperator"))
        .chain(mesh.of(NETWORKING, "EnvoyFilter"));
    for manifest in readers {
        let mut absent: Vec<(&str, &Location)> = Vec::new();
        for text in manifest.node.texts() {
            for key in state_keys(text.as_text().unwrap_or_default()) {
                let Some(name) = key.strip_prefix("wasm.").unwrap_or(key).strip_prefix("careplane.") else { continue };
                let known = FILTER_STATE.iter().find(|(known, _)| *known == name);
                let problem = match known {
                    Some(_) if !key.starts_with(PREFIX) => {
                        format!("{PREFIX}{name}: Envoy puts what modules write below wasm.")
                    }
                    None => {
                        let names: Vec<_> = FILTER_STATE.iter().map(|(name, _)| *name).collect();
                        format!("{PREFIX} and one of {}", names.join(", "))
                    }
                    Some((_, writers)) => {
                        if !writers.iter().any(|writer| mesh.runs(writer)) {
                            absent.push((name, &text.place));
                        }
                        continue;
                    }
                };
                let message = format!("nothing writes {key:?}: expected {problem}");
                findings.add(&rules::FILTER_STATE_UNWRITTEN, &text.place, message);
            }
        }
        if let Some((_, place)) = absent.first() {
            let names: Vec<_> = absent.iter().map(|(name, _)| *name).collect();
            let message =
                format!("{} reads {}, which no filter of the plugins here writes", manifest.title(), names.join(", "));
            findings.add(&rules::FILTER_ABSENT, place, message);
        }
    }
}

/// The lowest tier that anything is in, with its place.
fn lowest_tier<'d>(policy: &Policy<'d>, document: &PolicyDocument) -> Option<(f64, String, &'d Location)> {
    let used = document.contexts.iter().map(|context| context.tier.as_deref().unwrap_or("default"));
    used.chain([document.default_context.tier.as_str()])
        .filter_map(|name| Some((document.sampling.tiers.get(name)?.as_f64()?, name)))
        .min_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(rate, name)| (rate, name.to_owned(), policy.place(&format!("sampling.tiers.{name}"))))
}

fn base_rate(mesh: &Mesh<'_>, tracings: &[Tracing<'_>], findings: &mut Findings) {
    let lowest = mesh
        .policies_for(filters::SAMPLING)
        .filter_map(|(policy, document)| lowest_tier(policy, document))
        .min_by(|(one, ..), (other, ..)| one.total_cmp(other));
    let Some((lowest, tier, place)) = lowest else { return };
    let is_for_all =
        |tracing: &&Tracing<'_>| tracing.manifest.is_root() && tracing.manifest.spec(&["selector"]).is_none();
    let inherited = tracings.iter().filter(is_for_all).find_map(|tracing| tracing.base_rate()?.as_number());
    for tracing in tracings {
        let (rate, why) = match tracing.base_rate() {
            Some(node) => match node.as_number() {
                Some(rate) => (rate, format!("{rate} % is")),
                None => continue, // the API server refuses it
            },
            None if inherited.is_none() => {
                (DEFAULT_BASE_RATE, format!("without randomSamplingPercentage, Istio samples {DEFAULT_BASE_RATE} %:"))
            }
            None => continue,
        };
        if rate > lowest {
            findings.add_related(
                &rules::BASE_RATE,
                tracing.base_rate().map_or(&tracing.node.place, |node| &node.place),
                format!(
                    "{why} above tier {tier:?}, which keeps {lowest} %: expected randomSamplingPercentage: {lowest}"
                ),
                vec![Related::new(place, format!("tier {tier:?}"))],
            );
        } else if let Some(node) = tracing.base_rate().filter(|_| rate > 0.0) {
            findings.add(
                &rules::BASE_RATE_CLOCK,
                &node.place,
                format!(
                    "{rate} % of what callers send with a UUIDv7 is a share of the minutes: expected 0, where \
                     there are such callers"
                ),
            );
        }
    }
}

/// The filter state of the records of a policy.
fn record_state(document: &PolicyDocument) -> &'static str {
    match document.enforcement {
        Enforcement::Enforce => AUDIT_RECORD,
        Enforcement::Shadow => SHADOW_RECORD,
    }
}

fn audit_log(mesh: &Mesh<'_>, findings: &mut Findings) {
    let logged = || mesh.policies_for(filters::AUDIT).filter(|(_, document)| document.audit.sinks.access_log);
    let Some((policy, document)) = logged().next() else { return };
    let state = record_state(document);
    let states: Vec<&str> = logged().map(|(_, document)| record_state(document)).collect();
    let telemetries: Vec<&Manifest> = mesh.of(TELEMETRY, "Telemetry").collect();
    let config = mesh.mesh_config();
    if !mesh.runs(filters::AUDIT) || (telemetries.is_empty() && config.is_none()) {
        return;
    }
    let reads = |node: &Node| {
        let texts = node.texts();
        let mut texts = texts.iter().filter_map(|text| text.as_text());
        texts.any(|text| states.iter().any(|state| reads_state(text, state)))
    };
    let providers: Vec<&Node> =
        config.map(|config| config.list(&["extensionProviders"])).unwrap_or_default().iter().collect();
    let readers: Vec<&str> =
        providers.iter().filter(|provider| reads(provider)).filter_map(|it| it.text(&["name"])).collect();
    let place = policy.place("audit.sinks.accessLog");
    let in_mesh_format = config.and_then(|config| config.get(&["accessLogFormat"])).is_some_and(&reads);
    if in_mesh_format {
        return;
    }
    if let Some(config) = config
        && readers.is_empty()
    {
        let providers = config.get(&["extensionProviders"]).map_or(&config.place, |providers| &providers.place);
        findings.add_related(
            &rules::AUDIT_UNREAD,
            place,
            format!(
                "no access log provider has %{OPERATOR}{PREFIX}{state}:PLAIN)% in its format: expected one in \
                 meshConfig.extensionProviders, or audit.sinks: {{accessLog: false}}"
            ),
            vec![Related::new(providers, "the providers")],
        );
        return;
    }
    let default = config.map(|config| config.list(&["defaultProviders", "accessLogging"])).unwrap_or_default();
    let is_reader = |name: &str| config.is_none() || readers.contains(&name);
    if default.iter().filter_map(Node::as_text).any(is_reader) || telemetries.is_empty() {
        return;
    }
    let loggers: Vec<&Manifest> = telemetries
        .iter()
        .copied()
        .filter(|telemetry| {
            let providers = telemetry.spec_list(&["accessLogging"]).iter().flat_map(|entry| entry.list(&["providers"]));
            providers.filter_map(|provider| provider.text(&["name"])).any(is_reader)
        })
        .collect();
    let expected =
        if readers.is_empty() { "the provider that carries the record".into() } else { readers.join(" or ") };
    let message = |who: &str| {
        format!(
            "no Telemetry has accessLogging {who}: expected `accessLogging: [{{providers: [{{name: …}}]}}]` with \
             {expected}"
        )
    };
    if mesh.plugins.is_empty() && loggers.is_empty() {
        findings.add(&rules::AUDIT_UNREAD, place, message("here"));
    }
    for plugin in mesh.plugins.iter().filter(|plugin| plugin.has(filters::AUDIT)) {
        let policy = plugin.policy.map(|index| &mesh.policies[index]);
        let writes = policy.and_then(|policy| policy.document.as_ref()).is_some_and(|it| it.audit.sinks.access_log);
        if let Some(policy) = policy
            && writes
            && !loggers.iter().any(|telemetry| may_meet(telemetry, plugin.manifest))
        {
            findings.add_related(
                &rules::AUDIT_UNREAD,
                policy.place("audit.sinks.accessLog"),
                message(&format!("for the proxies of {}", plugin.manifest.title())),
                vec![Related::new(plugin.manifest.place(), "the plugin")],
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use careplane_exchange::SPAN_TAGS;

    use super::*;

    const RECORDS: [&str; 2] = [AUDIT_RECORD, SHADOW_RECORD];

    #[test]
    fn every_span_tag_has_its_filters() {
        let known: Vec<&str> =
            FILTER_STATE.iter().map(|(name, _)| *name).filter(|name| !RECORDS.contains(name)).collect();
        assert_eq!(known, SPAN_TAGS);
        assert_eq!(
            RECORDS.map(|name| format!("careplane.{name}")),
            [careplane_audit::FILTER_STATE, careplane_audit::SHADOW_FILTER_STATE]
        );
    }
}
