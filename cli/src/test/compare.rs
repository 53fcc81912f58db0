//! Where what the filters did differs from what a case expects.

use serde_json::{Value as Json, json};

use super::case::Case;
use super::expect::{Expected, Key};
use crate::explain::explanation::{Explanation, IdentityExplanation, PolicyRule};
use crate::explain::request::header_name;
use crate::yaml::Location;

/// Where something is otherwise.
pub struct Mismatch {
    pub key: String,
    pub expected: Json,
    pub found: Json,
    pub place: Location,
    /// The rule that made it so.
    pub why: Option<String>,
}

/// Compares what is expected with what the filters did.
pub fn compare(expected: &[Expected], explanation: &Explanation, case: &Case) -> Vec<Mismatch> {
    let differs = |expected: &Expected| {
        let found = found(&expected.key, &expected.value, explanation, case);
        (found != expected.value).then(|| Mismatch {
            key: expected.key.name(),
            expected: expected.value.clone(),
            found,
            place: expected.place.clone(),
            why: why(&expected.key, explanation),
        })
    };
    expected.iter().filter_map(differs).collect()
}

fn found(key: &Key, expected: &Json, explanation: &Explanation, case: &Case) -> Json {
    let placement = explanation.placement.as_ref();
    match key {
        Key::Context => json!(explanation.context.name),
        Key::Level => json!(explanation.context.compliance_level),
        Key::Tier => json!(explanation.context.tier),
        Key::Recorded => json!(explanation.record.is_some()),
        Key::Tenant => json!(explanation.tenant.value),
        Key::User => json!(explanation.user.value),
        Key::Grant => {
            let record = explanation.record.as_ref();
            record.and_then(|record| record.record["decision"].get("grant")).cloned().unwrap_or_default()
        }
        Key::Decision => match explanation.decision.code {
            Some(code) if expected != "denied" => json!(code),
            _ => json!(explanation.decision.result),
        },
        Key::Status => json!(explanation.decision.status),
        Key::Pool => json!(placement.and_then(|placement| placement.pool.as_ref())),
        Key::Cohort => json!(placement.and_then(|placement| placement.cohort)),
        Key::Trace => json!(if explanation.trace.kept { "kept" } else { "dropped" }),
        Key::Header(name) => json!(upstream(name, explanation, case)),
        Key::Tag(name) => json!(explanation.span.get(name.as_str())),
    }
}

/// A header as the upstream gets it; nothing of a request that is denied.
fn upstream(name: &str, explanation: &Explanation, case: &Case) -> Vec<String> {
    if explanation.decision.code.is_some() {
        return Vec::new();
    }
    let name = header_name(name);
    let changed = explanation.headers.iter().find(|header| header.name == name);
    changed.map_or_else(|| case.header(&name), |header| header.after.clone())
}

/// The rule behind what was found.
fn why(key: &Key, explanation: &Explanation) -> Option<String> {
    match key {
        Key::Context | Key::Level | Key::Tier => Some(by(&explanation.context.rule)),
        Key::Tenant => sources(&explanation.tenant),
        Key::User => sources(&explanation.user),
        Key::Decision | Key::Status => match explanation.decision.code? {
            code if code.starts_with("tenant") => Some(format!("{code}: {}", sources(&explanation.tenant)?)),
            code if code.starts_with("user") => Some(format!("{code}: {}", sources(&explanation.user)?)),
            code => Some(code.to_owned()),
        },
        Key::Pool => {
            let placement = explanation.placement.as_ref()?;
            let rule = placement.pool_rule.as_ref().map(|rule| format!(", {}", by(rule))).unwrap_or_default();
            Some(format!("{}{rule}", placement.pool_why))
        }
        Key::Cohort => Some(explanation.placement.as_ref()?.cohort_why.clone()).filter(|why| !why.is_empty()),
        Key::Trace => {
            let (trace, number) = (&explanation.trace, explanation.trace.number?);
            Some(format!("number {number}, tier {} keeps {} %, {}", trace.tier, trace.rate, by(&trace.rule)))
        }
        Key::Header(_) | Key::Tag(_) => explanation.decision.code.map(|code| format!("denied, {code}")),
        Key::Grant | Key::Recorded => None,
    }
}

fn by(rule: &PolicyRule) -> String {
    match &rule.place {
        Some(place) => format!("by {} at {place}", rule.path),
        None => format!("by default of {}", rule.path),
    }
}

fn sources(identity: &IdentityExplanation) -> Option<String> {
    let parts = identity.sources.iter().map(|source| match &source.said {
        Some(said) => format!("{} = {said}: {}", source.source, source.verdict),
        None => format!("{}: {}", source.source, source.verdict),
    });
    Some(parts.collect::<Vec<_>>().join("; ")).filter(|text| !text.is_empty())
}
