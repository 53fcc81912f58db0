//! The record: what an auditor reads. Its members are explained in `docs/audit-record.md`.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use careplane_exchange::{Decision, Denial, Ending, Handled, ShadowDecision, TraceReason};

use crate::canonical::{self, Object, name};

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

/// What ties a record to its chain.
#[derive(Debug)]
pub(crate) struct Link<'c> {
    pub(crate) chain: &'c str,
    pub(crate) number: u64,
    pub(crate) previous: &'c str,
    /// The id of the key that its hash is made with.
    pub(crate) key: Option<&'c str>,
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
    /// How far the chain has come, for a store outside of the proxy.
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
        record.object(name!("chain"), |object| chain(object, link));
        record.object(name!("context"), |object| context(object, request));
        record.object(name!("decision"), |object| decision(object, ending));
        let hash_at = record.position();
        if let Some(intent) = request.intent {
            record.number(name!("intent"), intent.number);
        }
        record.unescaped(name!("kind"), Kind::Request.as_str());
        record.object(name!("outcome"), |object| outcome(object, ending));
        proxy(record, request);
        record.object(name!("request"), |object| message(object, request, ending.trace().request_id.as_deref()));
        record.unescaped(name!("schema"), SCHEMA);
        record.object(name!("tenant"), |object| tenant(object, request));
        record.displayed(name!("time"), instant(ending.time()));
        record.object(name!("trace"), |object| trace(object, ending));
        record.object(name!("who"), |object| who(object, request));
        hash_at
    })
}

/// Writes the record of a request that has not gone on yet.
pub(crate) fn intent(request: &Handled, time: SystemTime, link: &Link<'_>) -> Draft {
    draft(|record| {
        record.object(name!("chain"), |object| chain(object, link));
        record.object(name!("context"), |object| context(object, request));
        // Nothing is decided yet but under what.
        if request.identity.grant.is_some() {
            record.object(name!("decision"), |object| grant(object, request));
        }
        let hash_at = record.position();
        record.unescaped(name!("kind"), Kind::Intent.as_str());
        proxy(record, request);
        record.object(name!("request"), |object| message(object, request, request.request_id.as_deref()));
        record.unescaped(name!("schema"), SCHEMA);
        record.object(name!("tenant"), |object| tenant(object, request));
        record.displayed(name!("time"), instant(time));
        record.object(name!("who"), |object| who(object, request));
        hash_at
    })
}

/// Writes a record of the chain itself.
pub(crate) fn checkpoint(kind: Kind, proxy: &str, time: SystemTime, link: &Link<'_>) -> Draft {
    draft(|record| {
        record.object(name!("chain"), |object| chain(object, link));
        let hash_at = record.position();
        record.unescaped(name!("kind"), kind.as_str());
        record.object(name!("proxy"), |object| {
            object.text(name!("id"), proxy);
            object.unescaped(name!("module"), env!("CARGO_PKG_VERSION"));
        });
        record.unescaped(name!("schema"), SCHEMA);
        record.displayed(name!("time"), instant(time));
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
    object.unescaped(name!("id"), link.chain);
    object.optional_unescaped(name!("key"), link.key);
    object.unescaped(name!("prev"), link.previous);
    object.number(name!("seq"), link.number);
}

#[inline(never)]
fn context(object: &mut Object<'_>, request: &Handled) {
    let context = &request.context;
    object.unescaped(name!("action"), context.action(request.method).as_str());
    object.unescaped(name!("complianceLevel"), context.compliance_level.as_str());
    object.texts(name!("flags"), context.flags.iter().chain(request.identity.grant_flags()).map(|flag| &**flag));
    object.text(name!("name"), &context.name);
    object.unescaped(name!("policy"), &request.policy().digest);
    object.optional_text(name!("resource"), context.resource.as_deref());
    object.optional_text(name!("retention"), context.retention.as_deref());
    object.optional_unescaped(name!("subject"), request.subject.as_deref());
}

#[inline(never)]
fn decision(object: &mut Object<'_>, ending: &Ending<'_>) {
    let decision = ending.decision();
    let (by, reason) = match decision {
        Decision::Allowed | Decision::Undecided => (None, None),
        Decision::Denied(denial) => (Some("careplane"), Some(denial.code())),
        Decision::DeniedBy(filter) => (Some(filter), ending.details()),
    };
    object.optional_unescaped(name!("by"), by);
    let request = ending.request();
    grant(object, request);
    object.optional_text(name!("reason"), reason);
    object.unescaped(name!("result"), decision.as_str());
    if let Some(shadow) = &request.shadow {
        object.object(name!("shadow"), |object| self::shadow(object, shadow, request));
    }
}

fn grant(object: &mut Object<'_>, request: &Handled) {
    object.optional_text(name!("grant"), request.identity.grant.as_ref().map(|grant| &*grant.name));
}

/// What would have become of it.
fn shadow(object: &mut Object<'_>, decision: &ShadowDecision, request: &Handled) {
    let goes_on = decision.asked && decision.denial.is_none();
    let placement = request.placement.as_ref().filter(|_| goes_on);
    object.optional_unescaped(
        name!("cohort"),
        placement.and_then(|placement| placement.cohort).map(|cohort| cohort.as_str()),
    );
    object.texts(name!("headersRemoved"), decision.removed.iter().map(|name| &**name));
    object.texts(name!("headersWritten"), decision.written.iter().map(|name| &**name));
    object.optional_text(name!("pool"), placement.and_then(|placement| placement.pool.as_deref()));
    object.optional_text(name!("reason"), decision.denial.map(Denial::code));
    object.unescaped(name!("result"), decision.as_str());
}

#[inline(never)]
fn outcome(object: &mut Object<'_>, ending: &Ending<'_>) {
    object.optional_unescaped(name!("answeredBy"), ending.answered_by().map(|answerer| answerer.as_str()));
    object.optional_number(name!("attempts"), ending.attempts());
    object.optional_text(name!("cluster"), ending.cluster().as_deref());
    object.optional_text(name!("details"), ending.details());
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    object.optional_number(name!("durationMicros"), ending.duration().map(micros));
    object.texts(name!("flags"), ending.flags().words().iter().copied());
    if let Some(forwarded) = ending.forwarded() {
        object.flag(name!("forwarded"), forwarded);
    }
    object.optional_number(name!("grpcStatus"), ending.grpc_status());
    object.optional_number(name!("status"), ending.status());
}

fn proxy(record: &mut Object<'_>, request: &Handled) {
    if let Some(placement) = request.policy().audit.placement {
        record.object(name!("proxy"), |object| object.unescaped(name!("placement"), placement.as_str()));
    }
}

#[inline(never)]
fn message(object: &mut Object<'_>, request: &Handled, id: Option<&str>) {
    object.optional_unescaped(name!("correlationId"), request.correlation.as_ref().map(|id| id.as_str()));
    object.optional_unescaped(name!("id"), id);
    object.unescaped(name!("method"), request.method.as_str());
    object.optional_text(name!("pathTemplate"), request.path_template());
    if request.kind.preflight {
        object.flag(name!("preflight"), true);
    }
    if !request.readable {
        object.flag(name!("readable"), false);
    }
    if request.kind.redirects > 0 {
        object.number(name!("redirects"), request.kind.redirects.into());
    }
    if request.kind.shadow {
        object.flag(name!("shadow"), true);
    }
}

#[inline(never)]
fn tenant(object: &mut Object<'_>, request: &Handled) {
    let (identity, placement) = (&request.identity, request.placement.as_ref());
    let jurisdiction = placement.and_then(|placement| placement.jurisdiction);
    // In shadow it is sent wherever its routes say.
    let placement = placement.filter(|_| request.shadow.is_none());
    object.optional_unescaped(
        name!("cohort"),
        placement.and_then(|placement| placement.cohort).map(|cohort| cohort.as_str()),
    );
    object.optional_unescaped(name!("id"), identity.tenant.as_ref().map(|tenant| tenant.as_str()));
    object.optional_unescaped(name!("jurisdiction"), jurisdiction.map(|jurisdiction| jurisdiction.as_str()));
    object.optional_number(name!("membership"), identity.membership.and_then(|count| u64::try_from(count).ok()));
    object.optional_text(name!("other"), identity.other_tenant.as_ref().map(|tenant| tenant.as_str()));
    object.optional_text(name!("pool"), placement.and_then(|placement| placement.pool.as_deref()));
    object.optional_unescaped(name!("regulator"), jurisdiction.map(|jurisdiction| jurisdiction.regulator()));
    object.optional_unescaped(name!("selectedBy"), identity.selected_by);
    object.optional_unescaped(name!("source"), identity.tenant_source);
}

#[inline(never)]
fn trace(object: &mut Object<'_>, ending: &Ending<'_>) {
    let (tier, trace) = (&ending.request().context.tier, ending.trace());
    let parent = ending.request().trace.parent.as_ref();
    object.optional_unescaped(name!("id"), trace.own.as_ref().map(|own| own.trace_id.as_str()));
    object.optional_unescaped(name!("parentId"), parent.map(|parent| parent.span_id.as_str()));
    object.displayed(name!("rate"), tier.rate);
    object.unescaped(name!("reason"), reason(ending));
    if let Some(sampled) = trace.sampled {
        object.flag(name!("sampled"), sampled);
    }
    object.optional_unescaped(name!("spanId"), trace.own.as_ref().map(|own| own.span_id.as_str()));
    object.text(name!("tier"), &tier.name);
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
        // The request was answered before careplane could ask, or before Envoy decided again; or the tracer does not
        // listen.
        (true, Some(false)) => "unseen",
        // Envoy's base rate can be above the tier.
        (false, Some(true)) => TraceReason::Inherited.as_str(),
        _ => decision.reason.as_str(),
    }
}

#[inline(never)]
fn who(object: &mut Object<'_>, request: &Handled) {
    let identity = &request.identity;
    object.texts(name!("forgedHeaders"), identity.forged.iter().map(|name| &**name));
    object.texts(name!("overrideHeaders"), identity.overrides.iter().map(|name| &**name));
    let peer = identity.peer.as_deref().map(|peer| request.rules.pseudonyms.redact(peer));
    object.optional_text(name!("peer"), peer.as_deref());
    object.optional_unescaped(name!("purpose"), identity.purpose.map(|purpose| purpose.as_str()));
    object.optional_text(name!("user"), request.user.as_deref());
}
