//! The decisions on a request as short texts, for a table and for a comparison of two policies.
//!
//! Rules and their places are left out: they move with every line that is written above them.

use careplane_cli::explain::explanation::Explanation;
use serde::Serialize;

/// One decision.
#[derive(Debug, PartialEq, Serialize)]
pub struct Fact {
    /// What was decided: `pool`.
    pub name: String,
    /// How; none when it is decided only in the other version.
    pub now: Option<String>,
    /// How the version before decided; none when it did not.
    pub before: Option<String>,
    /// Whether the two differ. Never without a version before.
    pub changed: bool,
}

/// The decisions on a request, each beside what it was before.
pub fn compare(now: &Explanation, before: Option<&Explanation>) -> Vec<Fact> {
    let (now, is_compared) = (facts(now), before.is_some());
    let mut before = before.map(facts).unwrap_or_default();
    let mut compared = Vec::with_capacity(now.len());
    for (name, value) in now {
        let position = before.iter().position(|(other, _)| *other == name);
        let other = position.map(|position| before.remove(position).1);
        let changed = is_compared && other.as_ref() != Some(&value);
        compared.push(Fact { name, now: Some(value), before: other, changed });
    }
    compared.extend(before.into_iter().map(|(name, value)| Fact {
        name,
        now: None,
        before: Some(value),
        changed: true,
    }));
    compared
}

/// `allowed`, or `denied with 403, tenant-conflict, by tracing-tags`.
pub fn decision(explanation: &Explanation) -> String {
    let decision = &explanation.decision;
    verdict(decision.result, decision.code, decision.status, decision.by)
}

fn verdict(result: &str, code: Option<&str>, status: Option<u16>, by: Option<&str>) -> String {
    match (code, status, by) {
        (Some(code), Some(status), Some(by)) => format!("denied with {status}, {code}, by {by}"),
        _ => result.to_owned(),
    }
}

/// In the order of the page.
fn facts(explanation: &Explanation) -> Vec<(String, String)> {
    let context = &explanation.context;
    let yes = |it: bool| if it { "yes" } else { "no" }.to_owned();
    let some = |text: Option<&str>| text.unwrap_or("–").to_owned();
    let mut facts = vec![
        ("decision", decision(explanation)),
        ("path", explanation.path.normal.clone()),
        ("context", context.name.clone()),
        ("template", some(context.template.as_deref())),
        ("compliance level", context.compliance_level.to_owned()),
        ("action", context.action.to_owned()),
        ("resource", some(context.resource.as_deref())),
        ("flags", if context.flags.is_empty() { some(None) } else { context.flags.join(", ") }),
        ("retention", some(context.retention.as_deref())),
        ("peer trusted", yes(explanation.peer.trusted)),
        ("tenant", some(explanation.tenant.value.as_deref())),
        ("user", some(explanation.user.value.as_deref())),
    ];
    if let Some(shadow) = &explanation.shadow {
        facts.insert(1, ("enforced", verdict(shadow.result, shadow.code, shadow.status, shadow.by)));
    }
    if let Some(grant) = explanation.grants.iter().find(|grant| grant.used) {
        facts.push(("grant", grant.name.clone()));
    }
    if let Some(placement) = &explanation.placement {
        facts.push(("pool", some(placement.pool.as_deref())));
        facts.push(("cohort", some(placement.cohort)));
        facts.push(("regulator", some(placement.regulator)));
    }
    let trace = &explanation.trace;
    let kept = if trace.kept { "kept" } else { "not kept" };
    facts.push(("trace", format!("{kept}: tier {}, {} %", trace.tier, trace.rate)));
    if let Some(ahead) = &explanation.write_ahead {
        let answer = if ahead.acknowledged { "acknowledged" } else { "not acknowledged" };
        facts.push(("intent", format!("{answer} by {}", ahead.collector)));
    }
    let record = explanation.record.as_ref().map(|record| match record.sinks.as_slice() {
        [] => "to nowhere".to_owned(),
        sinks => format!("to {}", sinks.join(", ")),
    });
    facts.push(("record", record.unwrap_or_else(|| "none".into())));
    let facts = facts.into_iter().map(|(name, value)| (name.to_owned(), value));
    let headers = explanation.headers.iter().map(|header| {
        let value = if header.after.is_empty() { "removed".into() } else { header.after.join(", ") };
        (format!("header {}", header.name), value)
    });
    let span = explanation.span.iter().map(|(tag, value)| (format!("span tag {tag}"), value.clone()));
    facts.chain(headers).chain(span).collect()
}
