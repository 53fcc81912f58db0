//! `tracing-tags`: writes identity and context of a request on the upstream request and on the span.
//!
//! | tag | upstream request | span: filter state |
//! |---|---|---|
//! | `tenant_id` | `x-tenant-id` | `wasm.careplane.tenant_id`, or `unknown` |
//! | `user_id` | `x-user-id`, the real one | `wasm.careplane.user_id`, the pseudonym |
//! | `correlation_id` | `x-correlation-id` | `wasm.careplane.correlation_id` |
//! | `healthcare_context` | `x-healthcare-context` | `wasm.careplane.healthcare_context` |
//! | `compliance_level` | `x-compliance-level` | `wasm.careplane.compliance_level` |
//!
//! Names of headers are the policy's to change. Envoy before 1.37 cannot read filter state into a span: there, tags
//! come from the headers, and `headers.userPseudonym` names one that carries the pseudonym for the span's sake.

#![forbid(unsafe_code)]

use careplane_exchange::{Filter, Host, Incoming, MapType, Rules};
use careplane_policy::Watched;
use careplane_policy::id::CorrelationId;

/// Counts identity headers that were taken from callers who are not trusted to send them, and other spellings of
/// careplane's headers.
pub const FORGED: &str = "careplane.identity_headers_removed";
/// Counts headers that would change the method or the URL for the application, taken from callers who are not trusted.
pub const OVERRIDES: &str = "careplane.override_headers_removed";

/// The filter.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingTags;

impl Filter for TracingTags {
    fn on_request(&self, request: &Incoming, host: &dyn Host) {
        request.write_identity(host);
        request.write_context(host);
        let identity = request.identity(host);
        for (counter, names) in [(FORGED, &identity.forged), (OVERRIDES, &identity.overrides)] {
            count(counter, names.len(), request.is_shadow(), host);
        }
        // While the caller's headers are still there, and can be changed for the upstream.
        request.correlation(host);
        request.describe_on_span(host);
        if let Some(denial) = request.violation(host) {
            request.deny(denial);
        }
    }

    fn on_unwanted_trailers(&self, rules: &Rules, names: &[String], is_shadow: bool, host: &dyn Host) {
        for name in names.iter().filter(|_| !is_shadow) {
            let _ = host.remove_header(MapType::RequestTrailers, name);
        }
        let watched = &rules.policy.identity.watched_headers;
        for (counter, kind) in [(FORGED, Watched::Protected), (OVERRIDES, Watched::Override)] {
            let is_kind = |name: &&String| watched.find(name.as_bytes()).is_some_and(|(_, found)| found == kind);
            count(counter, names.iter().filter(is_kind).count(), is_shadow, host);
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

/// Counts headers, if there are any. What would be removed is counted apart from what is removed.
fn count(counter: &str, headers: usize, is_shadow: bool, host: &dyn Host) {
    let by = u64::try_from(headers).unwrap_or(u64::MAX);
    match counter.strip_prefix("careplane.") {
        _ if by == 0 => {}
        Some(name) if is_shadow => host.count(&["careplane.shadow.", name].concat(), by),
        _ => host.count(counter, by),
    }
}

#[cfg(test)]
mod tests;
