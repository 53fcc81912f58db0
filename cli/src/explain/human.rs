//! The explanation, as text for people.

use std::fmt;

use super::explanation::{Explanation, HeaderExplanation, IdentityExplanation, PolicyRule};
use crate::plain::plain;

/// An explanation, as text.
pub struct Human<'a>(pub &'a Explanation);

/// The width of the names of sections.
const NAME: usize = 11;

impl fmt::Display for Human<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let explanation = self.0;
        let changes = match explanation.path.changes.as_slice() {
            [] => String::new(),
            changes => format!("  ({})", changes.join(", ")),
        };
        line(f, "request", &format!("{} {}", explanation.request.method, explanation.request.path))?;
        line(f, "path", &format!("{}{changes}", explanation.path.normal))?;
        context(f, explanation)?;
        peer(f, explanation)?;
        identity(f, "tenant", &explanation.tenant)?;
        for (index, grant) in explanation.grants.iter().enumerate() {
            line(f, if index == 0 { "grants" } else { "" }, &format!("{}: {}", grant.name, grant.verdict))?;
            more(f, &format!("by {}", rule(&grant.rule)))?;
        }
        identity(f, "user", &explanation.user)?;
        placement(f, explanation)?;
        trace(f, explanation)?;
        if let Some(ahead) = &explanation.write_ahead {
            let answer = if ahead.acknowledged { "acknowledges" } else { "does not acknowledge" };
            line(f, "intent", &format!("the request waits; {} {answer} it", ahead.collector))?;
            more(f, &format!("by {}", rule(&ahead.rule)))?;
        }
        decision(f, explanation)?;
        match explanation.decision.code {
            None => headers(f, &explanation.headers)?,
            Some(_) => line(f, "headers", "nothing goes to the upstream")?,
        }
        let tags: Vec<String> = explanation.span.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        list(f, "span", "no tags", &tags)?;
        record(f, explanation)
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(f, "{name:NAME$} {}", plain(text))
}

fn more(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    line(f, "", &format!("  {text}"))
}

fn list(f: &mut fmt::Formatter<'_>, name: &str, none: &str, lines: &[String]) -> fmt::Result {
    line(f, name, lines.first().map_or(none, String::as_str))?;
    lines.iter().skip(1).try_for_each(|text| line(f, "", text))
}

/// `contexts[0].match[0] at policy.yaml:6:20`
fn rule(rule: &PolicyRule) -> String {
    match &rule.place {
        Some(place) => format!("{} at {place}", rule.path),
        None => format!("{}, by default", rule.path),
    }
}

fn context(f: &mut fmt::Formatter<'_>, explanation: &Explanation) -> fmt::Result {
    let context = &explanation.context;
    let template = context.template.as_deref().unwrap_or("nothing matches");
    line(f, "context", &format!("{}: {template}", context.name))?;
    more(f, &format!("by {}", rule(&context.rule)))?;
    let mut facts = vec![
        format!("compliance {}", context.compliance_level),
        format!("tier {}", context.tier),
        context.action.to_owned(),
    ];
    facts.extend(context.resource.clone());
    facts.extend((!context.flags.is_empty()).then(|| format!("flags {}", context.flags.join(","))));
    facts.extend(context.retention.as_ref().map(|retention| format!("kept {retention}")));
    facts.push(if context.recorded { "recorded" } else { "not recorded" }.into());
    facts.push(if context.tenant_required { "tenant required" } else { "tenant optional" }.into());
    more(f, &facts.join(", "))?;
    for (name, value) in &context.captures {
        more(f, &format!("{{{name}}} = {value}"))?;
    }
    for other in &context.others {
        more(f, &format!("not {}: {}, {} ({})", other.context, other.template, other.why, other.rule.path))?;
    }
    Ok(())
}

fn peer(f: &mut fmt::Formatter<'_>, explanation: &Explanation) -> fmt::Result {
    let peer = &explanation.peer;
    let id = peer.id.as_deref().unwrap_or("without a certificate");
    let trust = match &peer.pattern {
        Some(pattern) => format!("trusted: {pattern:?}, {}", rule(&peer.rule)),
        None => format!("not trusted: none of {}", rule(&peer.rule)),
    };
    line(f, "peer", &format!("{id}, {trust}"))
}

fn identity(f: &mut fmt::Formatter<'_>, name: &str, identity: &IdentityExplanation) -> fmt::Result {
    line(f, name, identity.value.as_deref().unwrap_or("–"))?;
    for source in &identity.sources {
        let said = source.said.as_deref().map(|said| format!(" = {said}")).unwrap_or_default();
        more(f, &format!("{}{said}: {}", source.source, source.verdict))?;
    }
    Ok(())
}

fn placement(f: &mut fmt::Formatter<'_>, explanation: &Explanation) -> fmt::Result {
    let Some(placement) = &explanation.placement else { return line(f, "routing", "–, without a tenant") };
    let by = placement.pool_rule.as_ref().map(|it| format!(" by {}", rule(it))).unwrap_or_default();
    if placement.refused {
        return line(f, "routing", &format!("refused: {}{by}", placement.pool_why));
    }
    let pool = placement.pool.as_deref().map_or("no pool".into(), |pool| format!("pool {pool}"));
    line(f, "routing", &format!("{pool}: {}{by}", placement.pool_why))?;
    if let Some(cohort) = placement.cohort {
        more(f, &format!("cohort {cohort}: {}", placement.cohort_why))?;
    }
    if let (Some(jurisdiction), Some(regulator)) = (placement.jurisdiction, placement.regulator) {
        more(f, &format!("jurisdiction {jurisdiction}: {regulator}"))?;
    }
    Ok(())
}

fn trace(f: &mut fmt::Formatter<'_>, explanation: &Explanation) -> fmt::Result {
    let trace = &explanation.trace;
    let number = match trace.number {
        Some(number) if trace.assumed => format!("number {number}, for want of another: --sampling-number"),
        Some(number) => format!("number {number}"),
        None => "no UUID in x-request-id".into(),
    };
    let kept = match (trace.decided, trace.kept) {
        (true, true) if explanation.shadow.is_some() => "would be kept; in shadow Envoy is not asked",
        (true, true) => "kept",
        (true, false) => "not kept",
        (false, true) => "left to sampling, which would keep it",
        (false, false) => "left to sampling, which would not keep it",
    };
    let why = match trace.reason {
        "denied" => "refusals are kept".to_owned(),
        "emergency" => "an emergency access is kept, whatever its tier".to_owned(),
        "inherited" => format!("Envoy traces it already, above tier {} with {} %", trace.tier, trace.rate),
        _ => format!("tier {} keeps {} %: numbers of 0 to 9999 below {}", trace.tier, trace.rate, below(&trace.rate)),
    };
    line(f, "trace", &format!("{kept}: {why}"))?;
    more(f, &number)?;
    more(f, &format!("by {}", rule(&trace.rule)))
}

fn below(rate: &str) -> i64 {
    rate.parse::<f64>().map_or(0, |percent| (percent * 100.0).round() as i64)
}

fn decision(f: &mut fmt::Formatter<'_>, explanation: &Explanation) -> fmt::Result {
    let decision = &explanation.decision;
    if let Some(shadow) = &explanation.shadow {
        line(f, "decision", "allowed: the request is in shadow, so nothing of it changes")?;
        return match (shadow.code, shadow.status) {
            (Some(code), Some(status)) => {
                let by = shadow.by.unwrap_or_default();
                more(f, &format!("enforced: denied with {status}, {code}, by {by}"))
            }
            _ => more(f, "enforced: allowed"),
        };
    }
    let (Some(code), Some(status)) = (decision.code, decision.status) else {
        line(f, "decision", "allowed")?;
        return decision.headers.iter().try_for_each(|(name, value)| more(f, &format!("response: {name}: {value}")));
    };
    let by = decision.by.unwrap_or_default();
    line(f, "decision", &format!("denied with {status}, {code}, by {by}"))?;
    decision.headers.iter().try_for_each(|(name, value)| more(f, &format!("{name}: {value}")))?;
    decision.body.iter().try_for_each(|body| more(f, body))
}

fn headers(f: &mut fmt::Formatter<'_>, headers: &[HeaderExplanation]) -> fmt::Result {
    let lines: Vec<String> = headers
        .iter()
        .map(|header| match (header.before.as_slice(), header.after.as_slice()) {
            ([], after) => format!("+ {}: {}", header.name, after.join(", ")),
            (before, []) => format!("- {}: {}", header.name, before.join(", ")),
            (before, after) => format!("~ {}: {} (was {})", header.name, after.join(", "), before.join(", ")),
        })
        .collect();
    list(f, "headers", "as they were sent", &lines)
}

fn record(f: &mut fmt::Formatter<'_>, explanation: &Explanation) -> fmt::Result {
    let Some(record) = &explanation.record else { return line(f, "record", "none") };
    let sinks = if record.sinks.is_empty() { "nowhere".into() } else { record.sinks.join(", ") };
    let pseudonyms = if record.real_pseudonyms { "" } else { ", pseudonyms" };
    line(f, "record", &format!("to {sinks}; time, chain, outcome{pseudonyms} are made up here"))?;
    let members = record.record.as_object().into_iter().flatten();
    members.into_iter().try_for_each(|(name, value)| more(f, &format!("{name}: {value}")))
}
