//! The headers that the upstream is told with.

use super::shape::FieldChange;
use crate::explain::Judged;
use crate::filters;

pub fn compare(old: &Judged, new: &Judged) -> Vec<FieldChange> {
    FieldChange::between(&written(old), &written(new))
}

/// What each is called; none for what is not written.
fn written(judged: &Judged) -> Vec<(&'static str, Option<String>)> {
    let policy = &judged.rules.policy;
    let (headers, routing) = (&policy.headers, &policy.routing);
    let document = &judged.document;
    let pins = document.tenants.entries.values().any(|entry| entry.pool.is_some());
    let has_pools = pins || !document.routing.pools.is_empty() || !document.routing.dedicated.is_empty();
    let tag = |name| (filters::TRACING_TAGS, name);
    let place = |name| (filters::TENANT_ROUTING, name);
    let all = [
        ("tenant", tag(Some(&headers.tenant_id))),
        ("user", tag(Some(&headers.user_id))),
        ("user pseudonym", tag(headers.user_pseudonym.as_ref())),
        ("context", tag(Some(&headers.healthcare_context))),
        ("level", tag(Some(&headers.compliance_level))),
        ("flags", tag(Some(&headers.compliance_flags))),
        ("correlation id", tag(Some(&policy.identity.correlation_header))),
        ("pool", place(Some(&routing.pool_header).filter(|_| has_pools))),
        ("cohort", place(routing.cohort_header.as_ref())),
    ];
    let is_written = |filter, name: &&_| filters::includes(&judged.plugin, filter) && !headers.omitted.contains(name);
    all.map(|(field, (filter, name))| {
        (field, name.filter(|name| is_written(filter, name)).map(|name| name.to_string()))
    })
    .into()
}
