//! Whether the trace of a request is kept, as far as it can be known before the request goes on.

use careplane_attributes::{TraceContext, is_traced};
use careplane_policy::{Policy, Random, Tier};

use crate::headers::HeaderMap;
use crate::tracer::Tracer;

/// The header that makes Envoy keep a trace ("x-envoy-force-trace"), once the route is chosen again.
pub const FORCE_TRACE: &str = "x-envoy-force-trace";
/// The header of Envoy's request id.
pub const REQUEST_ID: &str = "x-request-id";
/// The header of W3C Trace Context.
pub const TRACEPARENT: &str = "traceparent";

/// What is known of the trace when the request comes in.
#[derive(Debug, Clone, Default)]
pub struct TraceInput {
    /// The number behind the decision, if `x-request-id` is a UUID: any other request Envoy does not trace.
    random: Option<Random>,
    /// Whether Envoy traces it already.
    pub traced: bool,
    /// `traceparent` as the caller sent it. It is Envoy's own only when it is another one in the end.
    pub sent: Option<Vec<u8>>,
    /// Whether the caller sent B3. What Zipkin makes of that can look the same, and so does what no tracer has touched.
    pub sent_b3: bool,
    /// The span of the caller, by `traceparent` or B3.
    pub parent: Option<TraceContext>,
}

/// Whether a trace is kept, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceDecision {
    /// Whether it is.
    pub kept: bool,
    /// Why.
    pub reason: TraceReason,
}

/// Why a trace is kept or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceReason {
    /// The request was refused, and the policy keeps refusals.
    Denied,
    /// It is an emergency access.
    Emergency,
    /// The tier of its context, on Envoy's random number.
    Tier,
    /// Decided earlier: by Envoy's base rate, the previous hop, or the client.
    Inherited,
    /// Without a UUID in `x-request-id`, Envoy traces nothing.
    NoRequestId,
}

// === impl TraceInput ===

impl TraceInput {
    #[inline(never)]
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let id = headers.get(REQUEST_ID).unwrap_or_default();
        let random = Random::from_request_id(id);
        let sent = headers.get(TRACEPARENT);
        let parent = match sent {
            Some(sent) => TraceContext::read(sent),
            None => TraceContext::read_b3(&|name| headers.get(name).map(<[u8]>::to_vec)),
        };
        Self {
            traced: random.is_some() && is_traced(id),
            random,
            sent: sent.map(<[u8]>::to_vec),
            sent_b3: TraceContext::has_b3(&|name| headers.get(name).is_some()),
            parent,
        }
    }

    /// Whether `x-request-id` is a UUID.
    pub(crate) fn has_request_id(&self) -> bool {
        self.random.is_some()
    }

    /// The decision for a request of this tier, as far as filters decide it.
    pub(crate) fn decision(&self, policy: &Policy, tier: &Tier, denied: bool, emergency: bool) -> TraceDecision {
        let (kept, reason) = match self.random {
            None => (false, TraceReason::NoRequestId),
            Some(_) if denied && policy.late.denied => (true, TraceReason::Denied),
            Some(_) if emergency => (true, TraceReason::Emergency),
            Some(random) if tier.rate.keeps(random) => (true, TraceReason::Tier),
            Some(_) if self.traced => (true, TraceReason::Inherited),
            Some(_) => (false, TraceReason::Tier),
        };
        TraceDecision { kept, reason }
    }

    /// Whether Envoy has to be told so that it keeps what `decision` keeps. A tracer that has shown that it does not
    /// listen is not told, so that it stays known what it keeps.
    pub(crate) fn needs_force(&self, decision: TraceDecision, tracer: &Tracer) -> bool {
        decision.kept && !self.traced && (self.parent.is_some() || tracer.keeps(false, true).is_some())
    }
}

impl TraceReason {
    /// The word on spans and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Emergency => "emergency",
            Self::Tier => "tier",
            Self::Inherited => "inherited",
            Self::NoRequestId => "no-request-id",
        }
    }
}
