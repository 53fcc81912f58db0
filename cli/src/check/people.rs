//! Who acts for which homes: lists of them in claims, and grants.

use careplane_policy::document::{ClaimPath, Document, Grant, GrantedTenants, Source};

use super::finding::{Findings, Related};
use super::mesh::{Mesh, Policy};
use super::rules;
use crate::manifest::Manifest;
use crate::yaml::Node;

/// What counts emergency access, as Prometheus has it.
const EMERGENCIES: &str = "careplane_emergency_access";
/// The purposes of emergencies.
const EMERGENCY: [&str; 2] = ["BTG", "ETREAT"];

pub fn check(mesh: &Mesh<'_>, findings: &mut Findings) {
    for policy in &mesh.policies {
        let Some(document) = &policy.document else { continue };
        unselectable(policy, document, findings);
        for (index, grant) in document.identity.grants.iter().enumerate() {
            let path = format!("identity.grants[{index}]");
            unlimited(policy, &path, grant, findings);
            reaches_none(policy, &path, grant, document, findings);
            unalerted(mesh, policy, &path, grant, findings);
        }
    }
}

fn name(grant: &Grant) -> &str {
    grant.name.as_deref().unwrap_or_default()
}

/// The last name on the way to a claim.
fn last(claim: &ClaimPath) -> Option<&str> {
    match claim {
        ClaimPath::Name(name) => Some(name),
        ClaimPath::Nested(names) => names.last().map(String::as_str),
    }
}

/// A list names no tenant by itself, so that something has to select one.
fn unselectable(policy: &Policy<'_>, document: &Document, findings: &mut Findings) {
    let sources = &document.identity.tenant.sources;
    let is_claim = |source: &Source| matches!(source, Source::Claim(_));
    if !sources.iter().all(is_claim) {
        return;
    }
    for (index, source) in sources.iter().enumerate() {
        let Source::Claim(claim) = source else { continue };
        // What a token holds, no manifest says. Names of lists are plurals.
        let Some(name) = last(&claim.path).filter(|name| name.ends_with('s') && !name.ends_with("ss")) else {
            continue;
        };
        findings.add(
            &rules::LIST_UNSELECTED,
            policy.place(&format!("identity.tenant.sources[{index}]")),
            format!(
                "{name:?} looks like a list, and no source selects one of it: expected also {{path: tenant}}, {{host: \
                 …}} or {{header: x-tenant-id}}"
            ),
        );
    }
}

fn unlimited(policy: &Policy<'_>, path: &str, grant: &Grant, findings: &mut Findings) {
    let is_limited = grant.tenants != Some(GrantedTenants::Any)
        || !grant.actions.is_empty()
        || !grant.contexts.is_empty()
        || !grant.requires.purpose.is_empty();
    if !is_limited {
        findings.add(
            &rules::GRANT_UNLIMITED,
            policy.place(path),
            format!(
                "grant {:?} gives everything in every tenant: expected actions, contexts, requires: {{purpose: […]}}, \
                 or tenants by jurisdiction or group",
                name(grant)
            ),
        );
    }
}

fn reaches_none(policy: &Policy<'_>, path: &str, grant: &Grant, document: &Document, findings: &mut Findings) {
    let entries = || document.tenants.entries.values();
    let (kind, has_one) = match &grant.tenants {
        Some(GrantedTenants::Group(_)) => ("group", entries().any(|entry| entry.group.is_some())),
        Some(GrantedTenants::Jurisdiction(_)) => ("jurisdiction", entries().any(|entry| entry.jurisdiction.is_some())),
        Some(GrantedTenants::Any) | None => return,
    };
    if !has_one {
        findings.add_related(
            &rules::GRANT_REACHES_NONE,
            policy.place(&format!("{path}.tenants")),
            format!(
                "grant {:?} is for the tenants of a {kind}, and no tenant has one: expected entries such as \
                 care-home-0001: {{{kind}: …}}",
                name(grant)
            ),
            vec![Related::new(policy.place("tenants"), "the tenants")],
        );
    }
}

fn unalerted(mesh: &Mesh<'_>, policy: &Policy<'_>, path: &str, grant: &Grant, findings: &mut Findings) {
    let accepted = &grant.requires.purpose;
    if !accepted.iter().any(|code| EMERGENCY.contains(&code.as_str())) {
        return;
    }
    let rules: Vec<&Manifest> = mesh.manifests.iter().copied().filter(|it| has_alerts(it)).collect();
    let Some(first) = rules.first() else { return };
    let watches = |text: &&Node| text.as_text().is_some_and(|text| text.contains(EMERGENCIES));
    if !rules.iter().any(|manifest| manifest.node.texts().iter().any(watches)) {
        findings.add_related(
            &rules::EMERGENCY_UNALERTED,
            policy.place(&format!("{path}.requires.purpose")),
            format!(
                "grant {:?} lets in in an emergency, and no alert is on {EMERGENCIES}: expected a rule such as \
                 `increase({EMERGENCIES}[15m]) > 0`",
                name(grant)
            ),
            vec![Related::new(first.place(), "alerting rules")],
        );
    }
}

/// Whether it has alerting rules of Prometheus: of its operator, or as a file in a ConfigMap.
fn has_alerts(manifest: &Manifest) -> bool {
    match manifest.kind.as_str() {
        "PrometheusRule" => true,
        "ConfigMap" => {
            manifest.node.texts().iter().any(|text| text.as_text().is_some_and(|text| text.contains("- alert:")))
        }
        _ => false,
    }
}
