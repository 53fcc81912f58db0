//! What the span of a request says, for the filters that have something to put there.
//!
//! Tags travel in filter state, not in headers: a request that is refused before careplane sees it then has none,
//! whatever its headers claim.

use std::sync::Arc;

use careplane_policy::id::CorrelationId;
use careplane_policy::{Context, Rate, Template};

use crate::handled::Handled;
use crate::host::Host;
use crate::identity::Identity;
use crate::incoming::Incoming;
use crate::trace::TraceReason;

/// Everything that a span can carry of careplane: filter state `wasm.careplane.<tag>`.
pub const SPAN_TAGS: [&str; 13] = [
    "tenant_id",
    "user_id",
    "correlation_id",
    "healthcare_context",
    "compliance_level",
    "path_template",
    "grant",
    "purpose_of_use",
    "sampling_tier",
    "sampling_rate",
    "sampling_reason",
    "denial_reason",
    "shadow_denial_reason",
];
/// The tag of a request without a tenant.
const UNKNOWN: &str = "unknown";

impl Incoming {
    /// Puts the tags on the span, if there is to be one: a refusal, which can change that, describes it again.
    pub fn describe_on_span(&self, host: &dyn Host) {
        if !self.trace_decision().kept {
            return;
        }
        let tags = Tags {
            user: self.user(host),
            correlation: self.correlation(host),
            context: &self.about().context,
            template: self.about().template.as_ref(),
            identity: self.identity(host),
        };
        for (name, value) in tags.iter() {
            self.tag_span(name, value);
        }
    }

    /// Sees to it that a trace which is to be kept is kept, and says on the span by which tier, at which rate and why.
    pub fn keep_trace(&self) {
        let decision = self.trace_decision();
        if !decision.kept {
            return;
        }
        self.force_trace(decision);
        let tier = &self.about().context.tier;
        self.tag_span("sampling_tier", Arc::clone(&tier.name));
        if self.is_shadow() {
            // Envoy is not asked for anything. So it exports what it keeps without careplane, at a rate that is not
            // known here.
            return self.tag_span("sampling_reason", TraceReason::Inherited.as_str());
        }
        self.tag_span("sampling_reason", decision.reason.as_str());
        // For a backend to extrapolate: a span at 10 % stands for ten. The rate at which another hop decided is not
        // known here.
        let rate = match decision.reason {
            TraceReason::Tier => Some(tier.rate),
            TraceReason::Denied | TraceReason::Emergency => Some(Rate::ALL),
            TraceReason::Inherited | TraceReason::NoRequestId => None,
        };
        if let Some(rate) = rate {
            self.tag_span("sampling_rate", rate.to_string());
        }
    }
}

impl Handled {
    /// What a span of it says: the five tags, and the path template in place of the path, which can name a person.
    pub fn span_tags(&self) -> impl Iterator<Item = (&'static str, Arc<str>)> {
        let tags = Tags {
            user: self.user.as_ref(),
            correlation: self.correlation.as_ref(),
            context: &self.context,
            template: self.template.as_ref(),
            identity: &self.identity,
        };
        tags.iter()
    }
}

/// What the tags of a span are made of.
struct Tags<'t> {
    user: Option<&'t Arc<str>>,
    correlation: Option<&'t CorrelationId>,
    context: &'t Context,
    template: Option<&'t Arc<Template>>,
    identity: &'t Identity,
}

impl Tags<'_> {
    fn iter(&self) -> impl Iterator<Item = (&'static str, Arc<str>)> + use<> {
        let Identity { tenant, grant, purpose, .. } = self.identity;
        let tenant = tenant.as_ref();
        let tags = [
            ("tenant_id", Some(tenant.map_or_else(|| UNKNOWN.into(), |tenant| Arc::clone(tenant.text())))),
            ("user_id", self.user.cloned()),
            ("correlation_id", self.correlation.map(|id| Arc::clone(id.text()))),
            ("healthcare_context", Some(Arc::clone(&self.context.name))),
            ("compliance_level", Some(self.context.compliance_level.as_str().into())),
            ("path_template", self.template.map(|template| Arc::clone(template.text()))),
            ("grant", grant.as_ref().map(|grant| Arc::clone(&grant.name))),
            ("purpose_of_use", purpose.map(|purpose| purpose.as_str().into())),
        ];
        tags.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}
