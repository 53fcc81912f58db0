//! Reports policies and contexts that are in shadow, since they deny nothing.

use careplane_policy::document::{ComplianceLevel, Document, Enforcement};

use super::finding::Findings;
use super::mesh::{Mesh, Policy};
use super::rules;

pub fn check(mesh: &Mesh<'_>, findings: &mut Findings) {
    for policy in &mesh.policies {
        let Some(document) = &policy.document else { continue };
        if document.enforcement == Enforcement::Shadow {
            let message =
                "in shadow: every request passes unchanged. `careplane audit shadow` shows what would be refused";
            findings.add(&rules::SHADOW, policy.place("enforcement"), message);
        }
        contexts(policy, document, findings);
    }
}

/// Each context with what holds for it; `defaultContext` last.
fn contexts(policy: &Policy<'_>, document: &Document, findings: &mut Findings) {
    let default = &document.default_context;
    let listed = document.contexts.iter().enumerate().map(|(index, context)| {
        (format!("contexts[{index}]"), context.name.as_deref(), context.compliance_level, context.enforcement)
    });
    let all = listed.chain([(
        "defaultContext".to_owned(),
        Some(default.name.as_str()),
        Some(default.compliance_level),
        default.enforcement,
    )]);
    let waits = |level: Option<ComplianceLevel>| level.is_some_and(|level| document.audit.write_ahead.contains(&level));
    for (path, name, level, enforcement) in all {
        if enforcement.unwrap_or(document.enforcement) == Enforcement::Enforce {
            continue;
        }
        let name = name.unwrap_or_default();
        let own = enforcement.map(|_| policy.place(&format!("{path}.enforcement")));
        if let Some(place) = own.filter(|_| document.enforcement == Enforcement::Enforce) {
            findings.add(&rules::SHADOW, place, format!("context {name:?} is in shadow: its requests pass unchanged"));
        }
        if waits(level) {
            findings.add(
                &rules::SHADOW_WRITE_AHEAD,
                own.unwrap_or_else(|| policy.place("audit.writeAhead")),
                format!("context {name:?} is in shadow, so its requests do not wait for their intents"),
            );
        }
    }
}
