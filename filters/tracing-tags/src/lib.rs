//! `tracing-tags`: who a request is from and what it is about, told to the upstream and to the span.
//!
//! | tag | upstream request | span: filter state |
//! |---|---|---|
//! | `tenant_id` | `x-tenant-id` | `wasm.careplane.tenant_id`, or `unknown` |
//! | `user_id` | `x-user-id`, the real one | `wasm.careplane.user_id`, the pseudonym |
//! | `correlation_id` | `x-correlation-id` | `wasm.careplane.correlation_id` |
//! | `healthcare_context` | `x-healthcare-context` | `wasm.careplane.healthcare_context` |
//! | `compliance_level` | `x-compliance-level` | `wasm.careplane.compliance_level` |
//!
//! Names of headers are the policy's to change. Envoy before 1.37 cannot read filter state into a span: there, tags come from the
//! headers, and `headers.userPseudonym` names one that carries the pseudonym for the span's sake.

#![forbid(unsafe_code)]

use std::sync::Arc;

use careplane_exchange::{Filter, Host, Incoming, MapType, Rules};
use careplane_policy::Watched;
use careplane_policy::id::CorrelationId;

/// Counts identity headers that were taken from callers who are not trusted to send them, and other spellings of careplane's headers.
pub const FORGED: &str = "careplane.identity_headers_removed";
/// Counts headers that would change the method or the URL for the application, taken from callers who are not trusted.
pub const OVERRIDES: &str = "careplane.override_headers_removed";

/// The filter.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingTags;

impl Filter for TracingTags {
    fn on_request(&self, request: &Incoming, host: &dyn Host) {
        identify(request, host);
        describe(request, host);
        // While what the caller sent is still there, and can be told to the upstream.
        request.correlation(host);
        request.describe_on_span(host);
        if let Some(denial) = request.violation(host) {
            request.deny(denial);
        }
    }

    fn on_unwanted_trailers(&self, rules: &Rules, names: &[String], host: &dyn Host) {
        for name in names {
            let _ = host.remove_header(MapType::RequestTrailers, name);
        }
        let watched = &rules.policy.identity.watched_headers;
        for (counter, kind) in [(FORGED, Watched::Protected), (OVERRIDES, Watched::Override)] {
            let is_kind = |name: &&String| watched.find(name.as_bytes()).is_some_and(|(_, found)| found == kind);
            count(counter, names.iter().filter(is_kind).count(), host);
        }
    }

    fn on_response(&self, rules: &Rules, correlation: Option<&CorrelationId>, host: &dyn Host) {
        let identity = &rules.policy.identity;
        if let (true, Some(id)) = (identity.echo_correlation, correlation) {
            // A failure is counted by the host; the response is none the worse for it.
            let _ = host.set_header(MapType::ResponseHeaders, &identity.correlation_header, id.as_str());
        }
    }
}

/// Makes the identity headers say who the request is from, whatever they said before.
///
/// The outcome depends on the identity alone, so that several plugins in one chain can each see to it.
fn identify(request: &Incoming, host: &dyn Host) {
    let policy = request.policy();
    let identity = request.identity(host);
    let written = [&policy.headers.tenant_id, &policy.headers.user_id];
    for name in written {
        match identity.upstream_value(policy, name) {
            Some(value) => request.set_header(name, Arc::clone(value)),
            None => request.remove_header(name),
        }
    }
    if !identity.trusted {
        let sources = policy.identity.identity_headers.iter().filter(|name| !written.contains(name));
        sources.for_each(|name| request.remove_header(name));
    }
    request.remove_unwanted(host);
    for (counter, names) in [(FORGED, &identity.forged), (OVERRIDES, &identity.overrides)] {
        count(counter, names.len(), host);
    }
    if let Some(header) = &policy.headers.user_pseudonym {
        match request.user(host) {
            Some(user) => request.set_header(header, Arc::clone(user)),
            None => request.remove_header(header),
        }
    }
}

/// Counts headers, if there are any.
fn count(counter: &str, headers: usize, host: &dyn Host) {
    if headers > 0 {
        host.count(counter, u64::try_from(headers).unwrap_or(u64::MAX));
    }
}

/// Says what the request is about.
fn describe(request: &Incoming, host: &dyn Host) {
    let names = &request.policy().headers;
    let context = &request.about().context;
    request.set_header(&names.healthcare_context, Arc::clone(&context.name));
    request.set_header(&names.compliance_level, context.compliance_level.as_str());
    let more = request.identity(host).grant_flags();
    match &context.flags_header {
        _ if !more.is_empty() => {
            let flags: Vec<&str> = context.flags.iter().chain(more).map(|flag| &**flag).collect();
            request.set_header(&names.compliance_flags, flags.join(","));
        }
        Some(flags) => request.set_header(&names.compliance_flags, Arc::clone(flags)),
        None => request.remove_header(&names.compliance_flags),
    }
}

#[cfg(test)]
mod tests;
