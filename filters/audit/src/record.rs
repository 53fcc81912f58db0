//! The record: what an auditor reads. Its members are explained in `docs/audit-record.md`.

use std::fmt::Display;
use std::time::SystemTime;

use careplane_exchange::{Exchange, Host, Outcome, Role, TraceReason, Verdict};

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
pub(crate) fn request(exchange: &Exchange, outcome: &Outcome, link: &Link<'_>, host: &dyn Host) -> Draft {
    draft(|record| {
        record.object("chain", |object| chain(object, link));
        record.object("context", |object| context(object, exchange));
        record.object("decision", |object| decision(object, exchange, outcome));
        let hash_at = record.position();
        if let Some(intent) = exchange.intent() {
            record.number("intent", intent.number);
        }
        record.text("kind", Kind::Request.as_str());
        record.object("outcome", |object| self::outcome(object, exchange, outcome));
        record.object("request", |object| message(object, exchange, outcome.request_id.as_deref(), host));
        record.text("schema", SCHEMA);
        record.object("tenant", |object| tenant(object, exchange, host));
        record.plain("time", instant(outcome.time));
        record.object("trace", |object| trace(object, exchange, outcome));
        record.object("who", |object| who(object, exchange, host));
        hash_at
    })
}

/// Writes the record of a request that has not gone on yet.
pub(crate) fn intent(exchange: &Exchange, time: SystemTime, link: &Link<'_>, host: &dyn Host) -> Draft {
    draft(|record| {
        record.object("chain", |object| chain(object, link));
        record.object("context", |object| context(object, exchange));
        let hash_at = record.position();
        record.text("kind", Kind::Intent.as_str());
        record.object("request", |object| message(object, exchange, exchange.request_id(), host));
        record.text("schema", SCHEMA);
        record.object("tenant", |object| tenant(object, exchange, host));
        record.plain("time", instant(time));
        record.object("who", |object| who(object, exchange, host));
        hash_at
    })
}

/// Writes a record of the chain itself.
pub(crate) fn milestone(kind: Kind, proxy: &str, time: SystemTime, link: &Link<'_>) -> Draft {
    draft(|record| {
        record.object("chain", |object| chain(object, link));
        let hash_at = record.position();
        record.text("kind", kind.as_str());
        record.object("proxy", |object| {
            object.text("id", proxy);
            object.text("module", env!("CARGO_PKG_VERSION"));
        });
        record.text("schema", SCHEMA);
        record.plain("time", instant(time));
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

fn context(object: &mut Object<'_>, exchange: &Exchange) {
    let about = exchange.about();
    let context = &about.context;
    object.text("action", context.action(exchange.method()).as_str());
    object.text("complianceLevel", context.compliance_level.as_str());
    object.texts("flags", context.flags.iter().map(|flag| &**flag));
    object.text("name", &context.name);
    object.text("policy", &exchange.policy().digest);
    object.optional_text("resource", context.resource.as_deref());
    object.optional_text("retention", context.retention.as_deref());
    let subject = about.subject().map(|subject| exchange.pseudonyms().of(Role::Subject, subject));
    object.optional_text("subject", subject.as_deref());
}

fn decision(object: &mut Object<'_>, exchange: &Exchange, outcome: &Outcome) {
    match &outcome.verdict {
        Verdict::Allowed => {}
        Verdict::Denied(denial) => {
            object.text("by", "careplane");
            object.text("reason", denial.code());
        }
        Verdict::DeniedBy(filter) => {
            object.text("by", filter);
            let reason = outcome.details.as_deref().unwrap_or_default();
            object.text("reason", &exchange.pseudonyms().redact(reason));
        }
    }
    object.text("result", outcome.verdict.as_str());
}

fn outcome(object: &mut Object<'_>, exchange: &Exchange, outcome: &Outcome) {
    object.optional_text("cluster", outcome.cluster.as_deref());
    let details = outcome.details.as_deref().map(|details| exchange.pseudonyms().redact(details));
    object.optional_text("details", details.as_deref());
    if let Some(duration) = outcome.duration {
        object.number("durationMicros", u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }
    object.texts("flags", outcome.flags.iter().copied());
    if let Some(status) = outcome.grpc_status {
        object.number("grpcStatus", status);
    }
    if let Some(status) = outcome.status {
        object.number("status", status);
    }
}

fn message(object: &mut Object<'_>, exchange: &Exchange, id: Option<&str>, host: &dyn Host) {
    object.optional_text("correlationId", exchange.correlation(host).map(|id| id.as_str()));
    object.optional_text("id", id);
    object.text("method", exchange.method().as_str());
    object.optional_text("pathTemplate", exchange.about().template.as_ref().map(|template| &**template.text()));
    if !exchange.is_readable() {
        object.flag("readable", false);
    }
}

fn tenant(object: &mut Object<'_>, exchange: &Exchange, host: &dyn Host) {
    let identity = exchange.identity(host);
    let placement = exchange.placement(host).ok().flatten();
    let jurisdiction = placement.and_then(|placement| placement.jurisdiction);
    object.optional_text("cohort", placement.and_then(|placement| placement.cohort).map(|cohort| cohort.as_str()));
    object.optional_text("id", identity.tenant.as_ref().map(|tenant| tenant.as_str()));
    object.optional_text("jurisdiction", jurisdiction.map(|jurisdiction| jurisdiction.as_str()));
    object.optional_text("other", identity.other_tenant.as_ref().map(|tenant| tenant.as_str()));
    object.optional_text("pool", placement.and_then(|placement| placement.pool.as_deref()));
    object.optional_text("regulator", jurisdiction.map(|jurisdiction| jurisdiction.regulator()));
    object.optional_text("source", identity.tenant_source);
}

fn trace(object: &mut Object<'_>, exchange: &Exchange, outcome: &Outcome) {
    let tier = &exchange.about().context.tier;
    object.optional_text("id", outcome.trace.as_ref().map(|trace| trace.trace_id.as_str()));
    object.plain("rate", tier.rate);
    object.text("reason", reason(exchange, outcome));
    object.flag("sampled", outcome.sampled);
    object.optional_text("spanId", outcome.trace.as_ref().map(|trace| trace.span_id.as_str()));
    object.text("tier", &tier.name);
}

/// Why the trace is what it is, in the end.
fn reason(exchange: &Exchange, outcome: &Outcome) -> &'static str {
    let decision = exchange.trace_decision();
    match (decision.kept, outcome.sampled) {
        // Envoy's tracer follows a parent, whatever a filter asks.
        (true, false) if exchange.parent().is_some() => "parent",
        // Another filter answered before careplane could ask, or before Envoy decided again.
        (true, false) => "unseen",
        // Envoy's base rate can be above the tier.
        (false, true) => TraceReason::Inherited.as_str(),
        _ => decision.reason.as_str(),
    }
}

fn who(object: &mut Object<'_>, exchange: &Exchange, host: &dyn Host) {
    let identity = exchange.identity(host);
    object.texts("forgedHeaders", identity.forged.iter().map(|name| &**name));
    let peer = identity.peer.as_deref().map(|peer| exchange.pseudonyms().redact(peer));
    object.optional_text("peer", peer.as_deref());
    object.optional_text("user", exchange.user(host).map(|user| &**user));
}
