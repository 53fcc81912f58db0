//! Late spans: what the head of a trace could not know.
//!
//! Whether a trace is kept is decided when the request comes in. When it then fails, is refused or takes long, Envoy has no span to
//! export; but it has told the upstream a trace id and a span id, and they are still there when the stream is over. The span that is
//! sent here has that identity, so what the upstream kept under it finds its parent.

use std::time::Duration;

use careplane_exchange::{Exchange, Host, Outcome, TraceParent, Verdict};
use careplane_export::{Item, SpanData, SpanStatus};

/// The identity of a late span.
struct Identity {
    trace_id: String,
    span_id: String,
    parent: Option<String>,
}

/// The late span of a request that is over, if it is to have one.
pub(crate) fn span(exchange: &Exchange, host: &dyn Host) -> Option<Item> {
    let outcome = exchange.outcome(host);
    let reason = reason(exchange, outcome)?;
    let identity = Identity::of(exchange, outcome, host)?;
    let failed = outcome.is_server_error() || outcome.is_reset();
    let status = outcome.status.map(|status| status.to_string());
    let error = failed.then(|| status.as_deref().filter(|_| !outcome.is_reset()).unwrap_or("reset"));
    let about = exchange.about();
    let route = about.template.as_ref().map(|template| &**template.text());
    let method = exchange.method().as_str();
    let denial = match &outcome.verdict {
        Verdict::Allowed => None,
        Verdict::Denied(denial) => Some(denial.code()),
        Verdict::DeniedBy(filter) => Some(*filter),
    };
    let flags = outcome.flags.join(",");
    let tags: Vec<_> = exchange.span_tags(host).collect();
    let mut attributes: Vec<_> = tags.iter().map(|(name, value)| (*name, &**value)).collect();
    attributes.extend([("late_reason", reason), ("http.request.method", method)]);
    attributes.extend(route.map(|route| ("http.route", route)));
    attributes.extend(error.map(|error| ("error.type", error)));
    attributes.extend(denial.map(|denial| ("denial_reason", denial)));
    attributes.extend(outcome.request_id.as_deref().map(|id| ("guid:x-request-id", id)));
    attributes.extend((!flags.is_empty()).then_some(("response_flags", &*flags)));
    Some(Item::span(&SpanData {
        trace_id: &identity.trace_id,
        span_id: &identity.span_id,
        parent_span_id: identity.parent.as_deref(),
        name: &route.map_or_else(|| method.into(), |route| format!("{method} {route}")),
        start: outcome.time,
        duration: outcome.duration.unwrap_or_default(),
        status: if failed { SpanStatus::Error } else { SpanStatus::Unset },
        numbers: outcome.status.map(|status| ("http.response.status_code", status)).into_iter().collect(),
        attributes,
    }))
}

/// Why the request is to have a span although the head said no; none when it is not to have one, or Envoy exports it.
fn reason(exchange: &Exchange, outcome: &Outcome) -> Option<&'static str> {
    let late = &exchange.policy().late;
    let is_slow = |limit: Duration| outcome.duration.is_some_and(|duration| duration > limit);
    if outcome.sampled {
        None
    } else if late.denied && outcome.verdict.is_denied() {
        Some("denied")
    } else if late.server_errors && outcome.is_server_error() {
        Some("server-error")
    } else if late.server_errors && outcome.is_reset() {
        Some("reset")
    } else if late.slower_than.is_some_and(is_slow) {
        Some("slow")
    } else {
        None
    }
}

impl Identity {
    /// None when a caller has decided that the tree is not kept, or without random numbers.
    fn of(exchange: &Exchange, outcome: &Outcome, host: &dyn Host) -> Option<Self> {
        let parent = exchange.parent().and_then(TraceParent::read);
        let is_unwanted = |parent: &TraceParent| !parent.sampled && !exchange.policy().late.unsampled_parents;
        if parent.as_ref().is_some_and(is_unwanted) {
            return None;
        }
        Some(match (&outcome.trace, parent) {
            // Envoy's tracer does not follow every parent: another trace id is the beginning of a trace.
            (Some(own), parent) => Self {
                trace_id: own.trace_id.clone(),
                span_id: own.span_id.clone(),
                parent: parent.filter(|parent| parent.trace_id == own.trace_id).map(|parent| parent.span_id),
            },
            // Nothing went upstream, so nobody knows this hop yet.
            (None, Some(parent)) => {
                Self { trace_id: parent.trace_id, span_id: random_id::<8>(host)?, parent: Some(parent.span_id) }
            }
            (None, None) => Self { trace_id: random_id::<16>(host)?, span_id: random_id::<8>(host)?, parent: None },
        })
    }
}

/// A random id of `BYTES` bytes, in hex.
fn random_id<const BYTES: usize>(host: &dyn Host) -> Option<String> {
    let mut bytes = [0; BYTES];
    host.random(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
