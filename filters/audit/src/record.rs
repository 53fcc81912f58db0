//! The record: what an auditor reads. Its members are explained in `docs/audit-record.md`.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use careplane_exchange::{Decision, Denial, Ending, Handled, ShadowDecision, TraceReason};

use crate::canonical::{self, Object};
use crate::chain::Link;

/// The version of the record.
pub const SCHEMA: &str = "careplane.audit/v1";
/// Enough for nearly every record, so that it is allocated once.
const CAPACITY: usize = 1536;

/// A record without its hash.
pub(crate) struct Draft {
    text: String,
    /// Where the member `hash` goes: after the names that sort before it.
    hash_at: usize,
}

// === impl Draft ===

impl Draft {
    /// The canonical bytes that the hash is of.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The record with its hash, canonical again.
    pub(crate) fn seal(mut self, hash: &str) -> String {
        self.text.insert_str(self.hash_at, &[r#","hash":""#, hash, "\""].concat());
        self.text
    }
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request, when it was over.
    Request,
    /// A request that had to be recorded before it could go on.
    Intent,
    /// The chain began.
    Start,
    /// The chain had come so far, and somebody outside should know.
    Head,
    /// The chain ended in good order.
    End,
}

// === impl Kind ===

impl Kind {
    /// The word in the record.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Intent => "intent",
            Self::Start => "start",
            Self::Head => "head",
            Self::End => "end",
        }
    }
}

/// Writes the record of a request that is over.
pub(crate) fn request(ending: &Ending<'_>, link: &Link<'_>) -> Draft {
    let request = ending.request();
    draft(|record| {
        record.object("chain", |object| chain(object, link));
        record.object("context", |object| context(object, request));
        record.object("decision", |object| decision(object, ending));
        let hash_at = record.position();
        if let Some(intent) = request.intent {
            record.number("intent", intent.number);
        }
        record.text("kind", Kind::Request.as_str());
        record.object("outcome", |object| outcome(object, ending));
        proxy(record, request);
        record.object("request", |object| message(object, request, ending.trace().request_id.as_deref()));
        record.text("schema", SCHEMA);
        record.object("tenant", |object| tenant(object, request));
        record.unescaped("time", instant(ending.time()));
        record.object("trace", |object| trace(object, ending));
        record.object("who", |object| who(object, request));
        hash_at
    })
}

/// Writes the record of a request that has not gone on yet.
pub(crate) fn intent(request: &Handled, time: SystemTime, link: &Link<'_>) -> Draft {
    draft(|record| {
        record.object("chain", |object| chain(object, link));
        record.object("context", |object| context(object, request));
        // Nothing is decided yet but under what.
        if request.identity.grant.is_some() {
            record.object("decision", |object| grant(object, request));
        }
        let hash_at = record.position();
        record.text("kind", Kind::Intent.as_str());
        proxy(record, request);
        record.object("request", |object| message(object, request, request.request_id.as_deref()));
        record.text("schema", SCHEMA);
        record.object("tenant", |object| tenant(object, request));
        record.unescaped("time", instant(time));
        record.object("who", |object| who(object, request));
        hash_at
    })
}

/// Writes a record of the chain itself.
pub(crate) fn checkpoint(kind: Kind, proxy: &str, time: SystemTime, link: &Link<'_>) -> Draft {
    draft(|record| {
        record.object("chain", |object| chain(object, link));
        let hash_at = record.position();
        record.text("kind", kind.as_str());
        record.object("proxy", |object| {
            object.text("id", proxy);
            object.text("module", env!("CARGO_PKG_VERSION"));
        });
        record.text("schema", SCHEMA);
        record.unescaped("time", instant(time));
        hash_at
    })
}

/// Writes a record; `write` returns where its hash goes.
fn draft(write: impl FnOnce(&mut Object<'_>) -> usize) -> Draft {
    let mut text = String::with_capacity(CAPACITY);
    let mut hash_at = 0;
    canonical::object(&mut text, |record| hash_at = write(record));
    Draft { text, hash_at }
}

fn instant(time: SystemTime) -> impl Display {
    humantime::format_rfc3339_micros(time)
}

fn chain(object: &mut Object<'_>, link: &Link<'_>) {
    object.text("id", link.chain);
    object.optional_text("key", link.key);
    object.text("prev", link.previous);
    object.number("seq", link.number);
}

fn context(object: &mut Object<'_>, request: &Handled) {
    let context = &request.context;
    object.text("action", context.action(request.method).as_str());
    object.text("complianceLevel", context.compliance_level.as_str());
    object.texts("flags", context.flags.iter().chain(request.identity.grant_flags()).map(|flag| &**flag));
    object.text("name", &context.name);
    object.text("policy", &request.policy().digest);
    object.optional_text("resource", context.resource.as_deref());
    object.optional_text("retention", context.retention.as_deref());
    object.optional_text("subject", request.subject.as_deref());
}

fn decision(object: &mut Object<'_>, ending: &Ending<'_>) {
    let decision = ending.decision();
    let (by, reason) = match decision {
        Decision::Allowed | Decision::Undecided => (None, None),
        Decision::Denied(denial) => (Some("careplane"), Some(denial.code())),
        Decision::DeniedBy(filter) => (Some(filter), ending.details()),
    };
    object.optional_text("by", by);
    let request = ending.request();
    grant(object, request);
    object.optional_text("reason", reason);
    object.text("result", decision.as_str());
    if let Some(shadow) = &request.shadow {
        object.object("shadow", |object| self::shadow(object, shadow, request));
    }
}

fn grant(object: &mut Object<'_>, request: &Handled) {
    object.optional_text("grant", request.identity.grant.as_ref().map(|grant| &*grant.name));
}

/// What would have become of it.
fn shadow(object: &mut Object<'_>, decision: &ShadowDecision, request: &Handled) {
    let goes_on = decision.asked && decision.denial.is_none();
    let placement = request.placement.as_ref().filter(|_| goes_on);
    object.optional_text("cohort", placement.and_then(|placement| placement.cohort).map(|cohort| cohort.as_str()));
    object.texts("headersRemoved", decision.removed.iter().map(|name| &**name));
    object.texts("headersWritten", decision.written.iter().map(|name| &**name));
    object.optional_text("pool", placement.and_then(|placement| placement.pool.as_deref()));
    object.optional_text("reason", decision.denial.map(Denial::code));
    object.text("result", decision.as_str());
}

fn outcome(object: &mut Object<'_>, ending: &Ending<'_>) {
    object.optional_text("answeredBy", ending.answered_by().map(|answerer| answerer.as_str()));
    object.optional_number("attempts", ending.attempts());
    object.optional_text("cluster", ending.cluster().as_deref());
    object.optional_text("details", ending.details());
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    object.optional_number("durationMicros", ending.duration().map(micros));
    object.texts("flags", ending.flags().words().iter().copied());
    if let Some(forwarded) = ending.forwarded() {
        object.flag("forwarded", forwarded);
    }
    object.optional_number("grpcStatus", ending.grpc_status());
    object.optional_number("status", ending.status());
}

fn proxy(record: &mut Object<'_>, request: &Handled) {
    if let Some(placement) = request.policy().audit.placement {
        record.object("proxy", |object| object.text("placement", placement.as_str()));
    }
}

fn message(object: &mut Object<'_>, request: &Handled, id: Option<&str>) {
    object.optional_text("correlationId", request.correlation.as_ref().map(|id| id.as_str()));
    object.optional_text("id", id);
    object.text("method", request.method.as_str());
    object.optional_text("pathTemplate", request.path_template());
    if request.kind.preflight {
        object.flag("preflight", true);
    }
    if !request.readable {
        object.flag("readable", false);
    }
    if request.kind.redirects > 0 {
        object.number("redirects", request.kind.redirects.into());
    }
    if request.kind.shadow {
        object.flag("shadow", true);
    }
}

fn tenant(object: &mut Object<'_>, request: &Handled) {
    let (identity, placement) = (&request.identity, request.placement.as_ref());
    let jurisdiction = placement.and_then(|placement| placement.jurisdiction);
    // In shadow it is sent wherever its routes say.
    let placement = placement.filter(|_| request.shadow.is_none());
    object.optional_text("cohort", placement.and_then(|placement| placement.cohort).map(|cohort| cohort.as_str()));
    object.optional_text("id", identity.tenant.as_ref().map(|tenant| tenant.as_str()));
    object.optional_text("jurisdiction", jurisdiction.map(|jurisdiction| jurisdiction.as_str()));
    object.optional_number("membership", identity.membership.and_then(|count| u64::try_from(count).ok()));
    object.optional_text("other", identity.other_tenant.as_ref().map(|tenant| tenant.as_str()));
    object.optional_text("pool", placement.and_then(|placement| placement.pool.as_deref()));
    object.optional_text("regulator", jurisdiction.map(|jurisdiction| jurisdiction.regulator()));
    object.optional_text("selectedBy", identity.selected_by);
    object.optional_text("source", identity.tenant_source);
}

fn trace(object: &mut Object<'_>, ending: &Ending<'_>) {
    let (tier, trace) = (&ending.request().context.tier, ending.trace());
    let parent = ending.request().trace.parent.as_ref();
    object.optional_text("id", trace.own.as_ref().map(|own| own.trace_id.as_str()));
    object.optional_text("parentId", parent.map(|parent| parent.span_id.as_str()));
    object.unescaped("rate", tier.rate);
    object.text("reason", reason(ending));
    if let Some(sampled) = trace.sampled {
        object.flag("sampled", sampled);
    }
    object.optional_text("spanId", trace.own.as_ref().map(|own| own.span_id.as_str()));
    object.text("tier", &tier.name);
}

/// Why the trace is what it is, in the end.
fn reason(ending: &Ending<'_>) -> &'static str {
    let decision = ending.trace_decision();
    let trace = &ending.request().trace;
    let is_shadow = ending.request().shadow.is_some();
    match (decision.kept, ending.trace().sampled) {
        // Envoy's tracer follows a parent, whatever a filter asks.
        (true, Some(false)) if trace.parent.is_some() || trace.sent.is_some() => "parent",
        (true, Some(false)) if is_shadow => "shadow",
        (true, Some(true)) if is_shadow => TraceReason::Inherited.as_str(),
        // The request was answered before careplane could ask, or before Envoy decided again; or the tracer does not listen.
        (true, Some(false)) => "unseen",
        // Envoy's base rate can be above the tier.
        (false, Some(true)) => TraceReason::Inherited.as_str(),
        _ => decision.reason.as_str(),
    }
}

fn who(object: &mut Object<'_>, request: &Handled) {
    let identity = &request.identity;
    object.texts("forgedHeaders", identity.forged.iter().map(|name| &**name));
    object.texts("overrideHeaders", identity.overrides.iter().map(|name| &**name));
    let peer = identity.peer.as_deref().map(|peer| request.rules.pseudonyms.redact(peer));
    object.optional_text("peer", peer.as_deref());
    object.optional_text("purpose", identity.purpose.map(|purpose| purpose.as_str()));
    object.optional_text("user", request.user.as_deref());
}
