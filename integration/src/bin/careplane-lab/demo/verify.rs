//! Whether what was seen is what should have been, and whether the witnesses agree.

use careplane_integration::audit_log::{ChainHead, verify_chains};
use serde_json::Value;

use super::{
    observation::Observation,
    step::{Check, End, Step},
};

/// What is wrong with one request; nothing, when nothing is.
pub fn verify(step: &Step, seen: &Observation, policy: &Value) -> Vec<String> {
    let mut problems = Problems::default();
    let expect = &step.expect;
    problems.differ("status", expect.status.to_string(), seen.response.status.to_string());
    problems.differ("context", Some(expect.context.to_owned()), seen.context());
    problems.differ("tenant", expect.tenant.map(str::to_owned), seen.tenant());
    problems.differ("compliance level", level_in(policy, expect.context), seen.level());
    problems.differ("trace kept (a span arrived)", expect.kept, seen.kept());
    problems.differ("recorded", step.is_recorded(), seen.record.is_some());
    end(step, seen, &mut problems);
    witnesses(seen, &mut problems);
    expect.checks.iter().for_each(|check| self::check(*check, step, seen, &mut problems));
    problems.0
}

/// What the chains of all records say, or the first thing that is wrong with them.
pub fn verify_records(records: &[Value]) -> Result<Vec<String>, String> {
    let heads = verify_chains(records).map_err(|error| error.to_string())?;
    let shown = |(id, head): (String, ChainHead)| {
        format!("{id} verified: records 1 to {}, none missing or changed", head.length)
    };
    Ok(heads.into_iter().map(shown).collect())
}

/// The compliance level that `policy` gives to the context `name`.
fn level_in(policy: &Value, name: &str) -> Option<String> {
    context_in(policy, name)["complianceLevel"].as_str().map(str::to_owned)
}

/// The context `name` of `policy`.
pub fn context_in<'a>(policy: &'a Value, name: &str) -> &'a Value {
    let contexts = policy["contexts"].as_array();
    let found = contexts.into_iter().flatten().find(|context| context["name"] == name);
    found.unwrap_or(&policy["defaultContext"])
}

fn end(step: &Step, seen: &Observation, problems: &mut Problems) {
    let refusal = seen.record().and_then(|record| record.refusal());
    match step.expect.end {
        End::Answered(cluster) => {
            problems.differ("answered by", Some(cluster), seen.upstream());
            problems.differ("refusal", None, refusal);
        }
        End::Refused { by, reason } => {
            problems.differ("reached the upstream", None, seen.upstream());
            problems.differ("refused by", Some(by), refusal.map(|(by, _)| by));
            let given = refusal.map(|(_, reason)| reason).unwrap_or_default();
            problems.ensure(given.starts_with(reason), || format!("refused for {given:?} instead of {reason:?}"));
        }
        End::Unanswered(flag) => {
            let flags = seen.record().map(|record| record.texts("/outcome/flags")).unwrap_or_default();
            problems.differ("response flags", vec![flag], flags);
            problems.differ("refusal", None, refusal);
        }
    }
}

/// The caller, the application, the span and the record must agree.
fn witnesses(seen: &Observation, problems: &mut Problems) {
    let Some(record) = seen.record() else { return };
    problems.differ("status in the record", Some(u64::from(seen.response.status)), record.status());
    problems.differ("trace kept in the record", Some(seen.kept()), record.kept());
    let correlation = record.text("/request/correlationId").map(str::to_owned);
    // A filter before careplane refused: careplane never answered with an id.
    if record.text("/decision/by") != Some("jwt_authn") {
        problems.differ("correlation id in the answer", correlation.clone(), seen.response.header("x-correlation-id"));
    }
    if let Some(received) = &seen.received {
        problems.differ("correlation id upstream", correlation.clone(), received.header("x-correlation-id"));
        problems.differ("context upstream", seen.context(), received.header("x-healthcare-context"));
        problems.differ("level upstream", seen.level(), received.header("x-compliance-level"));
        problems.differ("tenant upstream", seen.tenant(), received.header("x-tenant-id"));
        problems.differ("pool upstream", seen.pool(), received.header("x-tenant-pool"));
        problems.differ("cluster in the record", Some(received.pool.as_str()), record.text("/outcome/cluster"));
    }
    if let Some(span) = &seen.span {
        let tag = |name: &str| span.attributes.get(name).cloned();
        problems.differ("correlation id on the span", correlation, tag("correlation_id"));
        problems.differ("context on the span", seen.context(), tag("healthcare_context"));
        problems.differ("level on the span", seen.level(), tag("compliance_level"));
        problems.differ("tenant on the span", seen.tenant().or(Some("unknown".to_owned())), tag("tenant_id"));
        problems.differ("user on the span", record.text("/who/user").map(str::to_owned), tag("user_id"));
        problems.differ("reason on the span", record.text("/trace/reason").map(str::to_owned), tag("sampling_reason"));
        problems.differ(
            "path on the span",
            record.text("/request/pathTemplate").map(str::to_owned),
            tag("path_template"),
        );
    }
}

fn check(check: Check, step: &Step, seen: &Observation, problems: &mut Problems) {
    let text = |pointer| seen.record().and_then(|record| record.text(pointer));
    match check {
        Check::OnlyUpstream(text) => {
            let arrived = seen.received.as_ref().is_some_and(|received| received.path.contains(text));
            problems.ensure(arrived, || format!("{text} did not reach the upstream"));
            problems.ensure(!seen.is_in_record(text), || format!("{text} is in the record"));
            problems.ensure(!seen.is_in_span(text), || format!("{text} is on the span"));
        }
        Check::Forged(header) => {
            let forged = seen.record().map(|record| record.texts("/who/forgedHeaders")).unwrap_or_default();
            problems.ensure(forged.contains(&header), || format!("{header} is not called forged: {forged:?}"));
            let sent = step.headers.iter().find(|(name, _)| *name == header).map(|(_, value)| (*value).to_owned());
            problems.ensure(seen.upstream_header(header) != sent, || format!("the forged {header} went through"));
        }
        Check::TenantFrom(source) => problems.differ("source of the tenant", Some(source), text("/tenant/source")),
        Check::Granted(grant, purpose) => {
            problems.differ("grant", Some(grant), text("/decision/grant"));
            problems.differ("purpose of use", purpose, text("/who/purpose"));
            let tag = |name: &str| seen.span.as_ref().and_then(|span| span.attributes.get(name)).map(String::as_str);
            problems.differ("grant on the span", seen.span.as_ref().map(|_| grant), tag("grant"));
        }
        Check::Selected(membership, by) => {
            let count = seen.record().and_then(|record| record.0.pointer("/tenant/membership")).cloned();
            problems.differ("membership", Some(Value::from(membership)), count);
            problems.differ("selected by", Some(by), text("/tenant/selectedBy"));
        }
        Check::ReachedFor(tenant) => problems.differ("other tenant", Some(tenant), text("/tenant/other")),
        // Step::is_recorded
        Check::NoRecord => {}
    }
}

#[derive(Debug, Default)]
struct Problems(Vec<String>);

impl Problems {
    fn differ<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, expected: T, seen: T) {
        self.ensure(expected == seen, || format!("{what}: expected {expected:?}, saw {seen:?}"));
    }

    fn ensure(&mut self, so: bool, otherwise: impl FnOnce() -> String) {
        if !so {
            self.0.push(otherwise());
        }
    }
}
