//! Late spans: what the head of a trace could not know.
//!
//! Whether a trace is kept is decided when the request comes in. When it then fails, is refused or takes long, Envoy
//! has no span to export; but it has sent the upstream a trace id and a span id, and they are still there when the
//! stream is over. The span that is sent here has that identity, so what the upstream kept under it finds its parent.

use std::time::Duration;

use careplane_exchange::{Decision, Denial, Ending, Host};
use careplane_export::{Item, SpanData, SpanStatus};

/// Why there is a late span of a request in shadow: its tier, or that it would have been refused.
const SHADOW: &str = "shadow";

/// The identity of a late span.
struct SpanIdentity {
    trace_id: String,
    span_id: String,
    parent: Option<String>,
}

/// The late span of a request that is over, if it is to have one.
#[inline(never)]
pub(crate) fn span(ending: &Ending<'_>, host: &dyn Host) -> Option<Item> {
    let reason = reason(ending)?;
    let identity = SpanIdentity::of(ending, host)?;
    let request = ending.request();
    let failed = ending.is_server_error() || ending.is_reset();
    let status = ending.status().map(|status| status.to_string());
    let error = failed.then(|| status.as_deref().filter(|_| !ending.is_reset()).unwrap_or("reset"));
    let route = request.path_template();
    let method = request.method.as_str();
    let shadow_denial = request.shadow_denial().map(Denial::code);
    let rate = (reason == SHADOW && shadow_denial.is_none()).then(|| request.context.tier.rate.to_string());
    let denial = match ending.decision() {
        Decision::Allowed | Decision::Undecided => None,
        Decision::Denied(denial) => Some(denial.code()),
        Decision::DeniedBy(filter) => Some(filter),
    };
    let flags = ending.flags().words().join(",");
    let tags: Vec<_> = request.span_tags().collect();
    let mut attributes: Vec<_> = tags.iter().map(|(name, value)| (*name, &**value)).collect();
    attributes.extend([("late_reason", reason), ("http.request.method", method)]);
    attributes.extend(route.map(|route| ("http.route", route)));
    attributes.extend(error.map(|error| ("error.type", error)));
    attributes.extend(denial.map(|denial| ("denial_reason", denial)));
    attributes.extend(shadow_denial.map(|denial| ("shadow_denial_reason", denial)));
    attributes.extend(rate.as_deref().map(|rate| ("sampling_rate", rate)));
    attributes.extend(ending.trace().request_id.as_deref().map(|id| ("guid:x-request-id", id)));
    attributes.extend((!flags.is_empty()).then_some(("response_flags", &*flags)));
    Some(Item::span(&SpanData {
        trace_id: &identity.trace_id,
        span_id: &identity.span_id,
        parent_span_id: identity.parent.as_deref(),
        name: &route.map_or_else(|| method.into(), |route| format!("{method} {route}")),
        start: ending.time(),
        duration: ending.duration().unwrap_or_default(),
        status: if failed { SpanStatus::Error } else { SpanStatus::Unset },
        numbers: ending.status().map(|status| ("http.response.status_code", status)).into_iter().collect(),
        attributes,
    }))
}

/// Why the request is to have a span although the head said no; none when it is not to have one, or Envoy exports it.
fn reason(ending: &Ending<'_>) -> Option<&'static str> {
    let late = &ending.request().policy().late;
    let is_slow = |limit: Duration| ending.duration().is_some_and(|duration| duration > limit);
    let reason = if late.denied && ending.decision().is_denied() {
        "denied"
    } else if late.server_errors && ending.is_server_error() {
        "server-error"
    } else if late.server_errors && ending.is_reset() {
        "reset"
    } else if late.slower_than.is_some_and(is_slow) {
        "slow"
    } else if ending.request().identity.is_emergency() {
        // Where the tracer does not listen to filters.
        "emergency"
    } else if ending.request().kind.redirects > 0 && ending.trace_decision().kept {
        // The first pass of the request counts as the caller of this one, and Envoy follows that, whatever a filter
        // asks.
        "redirect"
    } else if ending.request().shadow.as_ref().is_some_and(|shadow| shadow.asked) && ending.trace_decision().kept {
        // Envoy was not asked, since the application would see the header that asks.
        SHADOW
    } else {
        return None;
    };
    // Asked last: most requests have no reason. Where it is not known whether Envoy exports the span, there is no
    // second one.
    (ending.trace().sampled == Some(false)).then_some(reason)
}

// === impl SpanIdentity ===

impl SpanIdentity {
    /// None when a caller has decided that the tree is not kept, or without random numbers.
    #[inline(never)]
    fn of(ending: &Ending<'_>, host: &dyn Host) -> Option<Self> {
        let (trace, request) = (ending.trace(), ending.request());
        let parent = request.trace.parent.as_ref();
        // After an internal redirect the parent is the pass before, which is of the same request.
        let may_be_alone = request.policy().late.unsampled_parents || request.kind.redirects > 0;
        if parent.is_some_and(|parent| !parent.sampled && !may_be_alone) {
            return None;
        }
        let parent_id =
            |trace_id: &str| parent.filter(|parent| parent.trace_id == trace_id).map(|parent| parent.span_id.clone());
        Some(match (&trace.own, parent) {
            // Envoy's tracer does not follow every parent: another trace id is the beginning of a trace.
            (Some(own), _) => {
                Self { parent: parent_id(&own.trace_id), trace_id: own.trace_id.clone(), span_id: own.span_id.clone() }
            }
            // Nothing went upstream, so this hop is not known anywhere yet.
            (None, Some(parent)) => Self {
                trace_id: parent.trace_id.clone(),
                span_id: random_id::<8>(host)?,
                parent: Some(parent.span_id.clone()),
            },
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
