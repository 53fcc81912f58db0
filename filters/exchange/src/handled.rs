//! A request whose request phase is over: what was decided, as plain values.

use std::sync::Arc;

use careplane_policy::id::CorrelationId;
use careplane_policy::{Context, Method, Placement, Policy, Template};

use crate::denial::Denial;
use crate::headers::Grpc;
use crate::identity::Identity;
use crate::kind::RequestKind;
use crate::rules::Rules;
use crate::trace::{TraceDecision, TraceInput};

/// What a stream keeps of its request: no headers, no path, nothing that is still to be asked. Streams can live for
/// hours.
#[derive(Debug, Clone)]
pub struct Handled {
    /// What judged it.
    pub rules: Arc<Rules>,
    /// Whether the proxy could hand it over.
    pub readable: bool,
    /// The gRPC that the caller speaks, if it does.
    pub grpc: Option<Grpc>,
    /// What tells it from an ordinary request.
    pub kind: RequestKind,
    /// The method.
    pub method: Method,
    /// What it is about.
    pub context: Arc<Context>,
    /// The template that matched; none in the default context.
    pub template: Option<Arc<Template>>,
    /// The subject of care, as a pseudonym.
    pub subject: Option<Arc<str>>,
    /// Who it is from.
    pub identity: Identity,
    /// The user as tags, logs and records know them.
    pub user: Option<Arc<str>>,
    /// Where its tenant is sent; none without a tenant, or when the policy refuses the tenant.
    pub placement: Option<Placement>,
    /// The correlation id.
    pub correlation: Option<CorrelationId>,
    /// `x-request-id` as it came in, if it is a UUID.
    pub request_id: Option<String>,
    /// What was known of the trace when it came in.
    pub trace: TraceInput,
    /// Why this plugin refused it, if it did.
    pub denial: Option<Denial>,
    /// The intent record, written before the request was forwarded, where the policy wants one.
    pub intent: Option<Intent>,
    /// What this plugin would have done, where its policy is in shadow. [`Self::denial`] is none then.
    pub shadow: Option<Box<ShadowDecision>>,
}

/// What would have become of a request, had the policy been enforced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShadowDecision {
    /// Whether the filters were asked. They are not where the request cannot be read, or was answered before.
    pub asked: bool,
    /// Why it would have been refused.
    pub denial: Option<Denial>,
    /// The request headers that would have been given another value; none when it would have been refused.
    pub written: Vec<Arc<str>>,
    /// The request headers that would have been removed; none when it would have been refused.
    pub removed: Vec<Arc<str>>,
}

/// A record that was written before its request was forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// Its number in the chain.
    pub number: u64,
    /// The call that carries it.
    pub call: u32,
    /// Whether its answer has come.
    pub answered: bool,
}

// === impl ShadowDecision ===

impl ShadowDecision {
    /// The word on records.
    pub fn as_str(&self) -> &'static str {
        match (self.denial, self.asked) {
            (Some(_), _) => "denied",
            (None, true) => "allowed",
            (None, false) => "none",
        }
    }
}

// === impl Handled ===

impl Handled {
    /// The policy that judged it.
    pub fn policy(&self) -> &Policy {
        &self.rules.policy
    }

    /// Whether its trace is kept, as far as filters decide that.
    pub fn trace_decision(&self, denied: bool) -> TraceDecision {
        self.trace.decision(self.policy(), &self.context.tier, denied, self.identity.is_emergency())
    }

    /// Why it would have been refused, had the policy been enforced.
    pub fn shadow_denial(&self) -> Option<Denial> {
        self.shadow.as_ref()?.denial
    }

    /// The template that matched, as text; none in the default context.
    pub fn path_template(&self) -> Option<&str> {
        self.template.as_ref().map(|template| &**template.text())
    }
}
