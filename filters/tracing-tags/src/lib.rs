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

use careplane_exchange::{Exchange, Filter, Host, Map};

/// Counts identity headers that were taken from callers who are not trusted to send them.
pub const FORGED: &str = "careplane.identity_headers_removed";

/// The filter.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingTags;

impl Filter for TracingTags {
    fn on_request(&self, exchange: &Exchange, host: &dyn Host) {
        identify(exchange, host);
        describe(exchange);
        // While what the caller sent is still there, and can be told to the upstream.
        exchange.correlation(host);
        exchange.describe_on_span(host);
        if let Some(denial) = exchange.identity(host).denial {
            exchange.deny(denial);
        }
    }

    fn on_response(&self, exchange: &Exchange, host: &dyn Host) {
        let rules = &exchange.policy().identity;
        if let (true, Some(id)) = (rules.echo_correlation, exchange.correlation(host)) {
            // A failure is counted by the host; the response is none the worse for it.
            let _ = host.set_header(Map::Response, &rules.correlation_header, id.as_str());
        }
    }
}

/// Makes the identity headers say who the request is from, whatever they said before.
///
/// The outcome depends on the identity alone, so that several plugins in one chain can each see to it.
fn identify(exchange: &Exchange, host: &dyn Host) {
    let policy = exchange.policy();
    let identity = exchange.identity(host);
    let written = [&policy.headers.tenant_id, &policy.headers.user_id];
    for name in written {
        match identity.upstream_value(policy, name) {
            Some(value) => exchange.set_header(name, Arc::clone(value)),
            None => exchange.remove_header(name),
        }
    }
    if !identity.trusted {
        let sources = policy.identity.identity_headers.iter().filter(|name| !written.contains(name));
        sources.for_each(|name| exchange.remove_header(name));
    }
    if !identity.forged.is_empty() {
        host.count(FORGED, u64::try_from(identity.forged.len()).unwrap_or(u64::MAX));
    }
    if let Some(header) = &policy.headers.user_pseudonym {
        match exchange.user(host) {
            Some(user) => exchange.set_header(header, Arc::clone(user)),
            None => exchange.remove_header(header),
        }
    }
}

/// Says what the request is about.
fn describe(exchange: &Exchange) {
    let names = &exchange.policy().headers;
    let context = &exchange.about().context;
    exchange.set_header(&names.healthcare_context, Arc::clone(&context.name));
    exchange.set_header(&names.compliance_level, context.compliance_level.as_str());
    match &context.flags_header {
        Some(flags) => exchange.set_header(&names.compliance_flags, Arc::clone(flags)),
        None => exchange.remove_header(&names.compliance_flags),
    }
}

#[cfg(test)]
mod tests;
