//! A request that came in: its headers, what follows from them, and what is to be written.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use careplane_policy::id::{CorrelationId, TenantId};
use careplane_policy::{Classification, Method, Placement, Policy, Source, UnknownTenant};

use crate::correlation::Correlation;
use crate::denial::{Denial, LocalReply};
use crate::grants::GrantVerdict;
use crate::handled::{Handled, Intent, ShadowDecision};
use crate::headers::{Grpc, HeaderMap};
use crate::host::{Host, MapType};
use crate::identity::{self, Identity, Question};
use crate::kind::RequestKind;
use crate::pseudonym::Pseudonyms;
use crate::rules::Rules;
use crate::trace::{FORCE_TRACE, REQUEST_ID, TraceDecision, TraceInput};
use crate::writes::Writes;

/// A request in its request phase.
///
/// Answers are computed on first use and cached, so the order of the filters costs nothing, and a filter that is
/// deployed alone computes what another filter would have computed. Writes are collected, and applied once, by
/// [`Self::conclude`].
///
/// What is left of a request afterwards is [`Handled`]: plain values, without the headers.
#[derive(Debug)]
pub struct Incoming {
    rules: Arc<Rules>,
    headers: HeaderMap,
    readable: bool,
    grpc: Option<Grpc>,
    kind: RequestKind,
    method: Method,
    about: Classification,
    trace: TraceInput,
    /// Whether grants count it as a use: not when it was answered before.
    counts: bool,
    identity: OnceCell<Identity>,
    placement: OnceCell<Result<Option<Placement>, UnknownTenant>>,
    user: OnceCell<Option<Arc<str>>>,
    correlation: OnceCell<Option<Correlation>>,
    denial: Cell<Option<Denial>>,
    intent: Cell<Option<Intent>>,
    header_writes: Writes<HeaderWrite>,
    span_writes: Writes<(&'static str, Arc<str>)>,
}

/// A header to be written.
#[derive(Debug)]
struct HeaderWrite {
    name: Arc<str>,
    /// None: the header is removed.
    value: Option<Arc<str>>,
    /// Whether several values are there. Setting would replace one of them, so they have to go first.
    repeated: bool,
}

// === impl Incoming ===

impl Incoming {
    /// Reads the request. Its header map crosses from the proxy this one time.
    ///
    /// Without a map, or with one that cannot be read, the request is in the default context ([`Self::is_readable`]).
    pub fn open(rules: Arc<Rules>, host: &dyn Host) -> Self {
        let map = host.header_map(MapType::RequestHeaders).and_then(HeaderMap::new);
        let readable = map.is_ok();
        let headers = map.unwrap_or_default();
        let method = method(headers.get(":method").unwrap_or_default());
        Self {
            about: rules.policy.classify(method, headers.get(":path").unwrap_or_default()),
            trace: TraceInput::read(&headers),
            grpc: headers.get("content-type").and_then(Grpc::of),
            kind: RequestKind::of(&headers, host),
            rules,
            headers,
            readable,
            method,
            counts: true,
            identity: OnceCell::new(),
            placement: OnceCell::new(),
            user: OnceCell::new(),
            correlation: OnceCell::new(),
            denial: Cell::new(None),
            intent: Cell::new(None),
            header_writes: Writes::default(),
            span_writes: Writes::default(),
        }
    }

    /// Whether the request could be read. If not, filters leave it alone: a failure of the proxy is not the caller's.
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// The policy that judges it.
    pub fn policy(&self) -> &Policy {
        &self.rules.policy
    }

    /// The pseudonyms.
    pub fn pseudonyms(&self) -> &Pseudonyms {
        &self.rules.pseudonyms
    }

    /// Whether it passes unchanged, whatever is decided: denials and writes are for its record alone.
    pub fn is_shadow(&self) -> bool {
        self.about.context.shadow
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// What it is about.
    pub fn about(&self) -> &Classification {
        &self.about
    }

    /// What tells it from an ordinary request.
    pub fn kind(&self) -> RequestKind {
        self.kind
    }

    /// Who it is from.
    pub fn identity(&self, host: &dyn Host) -> &Identity {
        self.identity.get_or_init(|| identity::resolve(&self.question(), host))
    }

    fn question(&self) -> Question<'_> {
        Question {
            rules: &self.rules,
            headers: &self.headers,
            about: &self.about,
            method: self.method,
            kind: self.kind,
            counts: self.counts,
        }
    }

    /// The tenant that it reaches for, and what each grant of the policy says to that, limits apart: for explanations.
    /// Filters take [`Identity::grant`].
    pub fn grant_verdicts(&self, host: &dyn Host) -> Option<(TenantId, Vec<GrantVerdict>)> {
        identity::verdicts(&self.question(), self.identity(host), host)
    }

    /// The user as tags, logs and records know them: a pseudonym, unless the policy lets them know the user (and never
    /// an NHS number).
    pub fn user(&self, host: &dyn Host) -> Option<&Arc<str>> {
        let pseudonyms = &self.rules.pseudonyms;
        let known = || {
            self.identity(host).user.as_ref().map(|user| match self.policy().identity.pseudonymise_user {
                true => pseudonyms.of_user(user),
                false => pseudonyms.redact(user.as_str()).into(),
            })
        };
        self.user.get_or_init(known).as_ref()
    }

    /// Where its tenant is sent; `None` without a tenant.
    ///
    /// # Errors
    /// When the policy refuses the tenant.
    pub fn placement(&self, host: &dyn Host) -> Result<Option<&Placement>, UnknownTenant> {
        let place = || self.identity(host).tenant.as_ref().map(|tenant| self.rules.place(tenant)).transpose();
        self.placement.get_or_init(place).as_ref().map(Option::as_ref).map_err(|unknown| *unknown)
    }

    /// The correlation id: what the caller sent if it is valid, else a new UUIDv7; `None` when the proxy has no random
    /// numbers, and in shadow, where the upstream would not be told.
    pub fn correlation(&self, host: &dyn Host) -> Option<&CorrelationId> {
        let new = || if self.is_shadow() { None } else { Correlation::generate(host).ok() };
        let found = self.correlation.get_or_init(|| self.sent_correlation().or_else(new));
        found.as_ref().map(|correlation| &correlation.id)
    }

    /// The correlation id, if a filter or a refusal has asked for it.
    pub fn correlation_if_known(&self) -> Option<&CorrelationId> {
        self.correlation.get()?.as_ref().map(|correlation| &correlation.id)
    }

    fn sent_correlation(&self) -> Option<Correlation> {
        Correlation::sent(&self.headers, &self.policy().identity.correlation_header)
    }

    /// `x-request-id` as it came in, if it is a UUID.
    pub fn request_id(&self) -> Option<&str> {
        let id = self.headers.get(REQUEST_ID).filter(|_| self.trace.has_request_id())?;
        std::str::from_utf8(id).ok()
    }

    /// Whether its trace is kept, as far as it is known now.
    pub fn trace_decision(&self) -> TraceDecision {
        let is_emergency = self.identity.get().is_some_and(Identity::is_emergency);
        self.trace.decision(self.policy(), &self.about.context.tier, self.denial.get().is_some(), is_emergency)
    }

    /// What refuses it for a reason that every filter sees alike: its path, or who it is from.
    pub fn violation(&self, host: &dyn Host) -> Option<Denial> {
        if self.policy().reject_ambiguous_paths && self.about.ambiguous {
            return Some(Denial::PathAmbiguous);
        }
        self.identity(host).denial
    }

    /// Why it is refused, if it is.
    pub fn denial(&self) -> Option<Denial> {
        self.denial.get()
    }

    /// Refuses it. The first reason stands.
    pub fn deny(&self, denial: Denial) {
        self.denial.set(self.denial.get().or(Some(denial)));
    }

    /// Keeps it from going on until the call that carries `intent` is answered.
    pub fn hold(&self, intent: Intent) {
        self.intent.set(Some(intent));
    }

    /// The intent record, written before the request was forwarded, where the policy wants one.
    pub fn intent(&self) -> Option<Intent> {
        self.intent.get()
    }

    /// The call whose answer it waits for.
    pub fn awaited_call(&self) -> Option<u32> {
        self.intent.get().filter(|intent| !intent.answered).map(|intent| intent.call)
    }

    /// Notes that the answer has come.
    pub fn release(&self) {
        self.intent.set(self.intent.get().map(|intent| Intent { answered: true, ..intent }));
    }

    /// Gives a request header one value. Nothing is written when it has just that already.
    ///
    /// A header that the policy omits is removed instead: else a caller could forge it.
    pub fn set_header(&self, name: &Arc<str>, value: impl Into<Arc<str>>) {
        self.write_header(name, value.into());
    }

    #[inline(never)]
    fn write_header(&self, name: &Arc<str>, value: Arc<str>) {
        if self.policy().headers.omitted.contains(name) {
            return self.remove_header(name);
        }
        let mut present = self.headers.all(name);
        let first = present.next();
        let repeated = present.next().is_some();
        if repeated || first != Some(value.as_bytes()) {
            self.header_writes.push(HeaderWrite { name: Arc::clone(name), value: Some(value), repeated });
        }
    }

    /// Whether a request header came in.
    pub(crate) fn has_header(&self, name: &str) -> bool {
        self.headers.get(name).is_some()
    }

    /// Removes a request header, if it is there.
    pub fn remove_header(&self, name: &Arc<str>) {
        if self.has_header(name) {
            self.header_writes.push(HeaderWrite { name: Arc::clone(name), value: None, repeated: false });
        }
    }

    /// Removes what only pretends: other spellings of the headers that careplane writes, and override headers that the
    /// policy does not let pass.
    pub fn remove_unwanted(&self, host: &dyn Host) {
        for sent in &self.identity(host).unwanted {
            let removal = HeaderWrite { name: Arc::clone(sent), value: None, repeated: false };
            self.header_writes.push_unless(removal, |write| write.name == *sent);
        }
    }

    /// Puts a value on the span, as filter state `wasm.careplane.<name>`; the first value of a name stands. Only spans
    /// read it, so nothing is written for a trace that is not kept.
    pub(crate) fn tag_span(&self, name: &'static str, value: impl Into<Arc<str>>) {
        self.span_writes.push_unless((name, value.into()), |(known, _)| *known == name);
    }

    /// Asks Envoy to keep the trace, where it would not.
    pub(crate) fn force_trace(&self, decision: TraceDecision) {
        if self.trace.needs_force(decision, &self.rules.tracer) {
            self.set_header(&FORCE_TRACE.into(), "true");
        }
    }

    /// Ends the request phase: applies everything that was collected. The reply is the answer to send, when the request
    /// is refused. In shadow, only the span is told.
    ///
    /// A write that fails is counted by the host; the others are made all the same.
    pub fn conclude(&self, host: &dyn Host) -> Option<LocalReply> {
        if let Some(denial) = self.denial.get() {
            self.give_back_use();
            // Whichever filter refused, alone or in company: its trace is kept where the policy says so, and says what
            // was refused. What the span was to say before, such as the rate of the tier, no longer holds.
            self.span_writes.take();
            self.keep_trace();
            self.describe_on_span(host);
            self.tag_span(if self.is_shadow() { "shadow_denial_reason" } else { "denial_reason" }, denial.code());
            // The answer has it, and so has the request in Envoy's log.
            self.correlation(host);
        }
        if self.is_shadow() {
            self.tag_shadow_span(host);
            return None;
        }
        if let Some(Some(Correlation { id, generated: true })) = self.correlation.get() {
            self.set_header(&self.policy().identity.correlation_header, Arc::clone(id.text()));
        }
        for HeaderWrite { name, value, repeated } in self.header_writes.take() {
            if value.is_none() || repeated {
                let _ = host.remove_header(MapType::RequestHeaders, &name);
            }
            if let Some(value) = value {
                let _ = host.set_header(MapType::RequestHeaders, &name, &value);
            }
        }
        let spans = self.span_writes.take();
        if self.trace_decision().kept {
            for (name, value) in spans {
                let _ = host.set_property(&["careplane.", name].concat(), value.as_bytes());
            }
        }
        let denial = self.denial.get()?;
        let header = &*self.policy().identity.correlation_header;
        let correlation = self.correlation(host).map(|id| (header, id));
        let is_grpc = self.grpc == Some(Grpc::Native);
        match self.identity(host).grant.as_ref().filter(|_| denial == Denial::GrantPurpose) {
            Some(grant) => {
                let header = self.policy().identity.purpose_sources.iter().find_map(|source| match source {
                    Source::Header(name) => Some(&**name),
                    _ => None,
                });
                Some(denial.reply_with_purposes(correlation, is_grpc, &grant.purposes, header))
            }
            None => Some(denial.reply(correlation, is_grpc)),
        }
    }

    /// A request that is refused after all is no use of a grant: a collector that is away would lock a nurse out of an
    /// emergency.
    fn give_back_use(&self) {
        let Some(identity) = self.identity.get().filter(|identity| identity.is_granted()) else { return };
        if let Some(grant) = &identity.grant {
            self.rules.grant_uses.give_back(grant, identity.user.as_ref());
        }
    }

    /// Describes the span of a request that passes unchanged. What another plugin of careplane has written stands: that
    /// one may enforce its policy.
    fn tag_shadow_span(&self, host: &dyn Host) {
        let spans = self.span_writes.take();
        if !self.trace_decision().kept {
            return;
        }
        for (name, value) in spans {
            let state = ["careplane.", name].concat();
            if host.property(&state).is_ok_and(|written| written.is_none()) {
                let _ = host.set_property(&state, value.as_bytes());
            }
        }
    }

    /// What would have become of it. Headers matter only where it would have gone on.
    fn shadow_decision(&self) -> ShadowDecision {
        let mut decision = ShadowDecision { asked: self.readable, denial: self.denial.get(), ..Default::default() };
        let writes = self.header_writes.take();
        if decision.denial.is_some() {
            return decision;
        }
        if let Some(None) = self.correlation.get() {
            decision.written.push(Arc::clone(&self.policy().identity.correlation_header));
        }
        let watched = &self.policy().identity.watched_headers;
        for HeaderWrite { name, value, .. } in writes {
            // A caller can spell one name in a thousand ways.
            let name = watched.find(name.as_bytes()).map_or(name, |(known, _)| Arc::clone(known));
            let names = if value.is_some() { &mut decision.written } else { &mut decision.removed };
            // In order, each once. They are few, and std's sort is 3 kB.
            if let Err(place) = names.binary_search(&name) {
                names.insert(place, name);
            }
        }
        decision
    }

    /// What is left of it without its headers.
    pub fn handled(&self, host: &dyn Host) -> Handled {
        let subject = self.about.subject().filter(|_| !self.kind.preflight);
        Handled {
            rules: Arc::clone(&self.rules),
            readable: self.readable,
            grpc: self.grpc,
            kind: RequestKind { shadow: self.kind.shadow && self.identity(host).trusted, ..self.kind },
            method: self.method,
            context: Arc::clone(&self.about.context),
            template: self.about.template.clone(),
            subject: subject.map(|subject| self.pseudonyms().of_subject(subject, self.identity(host).user.as_ref())),
            identity: self.identity(host).clone(),
            user: self.user(host).cloned(),
            placement: self.placement(host).ok().flatten().cloned(),
            correlation: self.correlation(host).cloned(),
            request_id: self.request_id().map(Into::into),
            trace: self.trace.clone(),
            denial: self.denial.get().filter(|_| !self.is_shadow()),
            intent: self.intent.get(),
            shadow: self.is_shadow().then(|| Box::new(self.shadow_decision())),
        }
    }

    /// What is left of a request that this plugin sees for the first time when its stream is over: another filter, or
    /// the proxy, answered it before. The upstream was told nothing, so no correlation id is made up.
    pub fn never_seen(rules: Arc<Rules>, host: &dyn Host) -> Handled {
        let incoming = Self { counts: false, ..Self::open(rules, host) };
        let sent = incoming.sent_correlation();
        incoming.correlation.get_or_init(|| sent);
        let mut handled = incoming.handled(host);
        if let Some(shadow) = &mut handled.shadow {
            // What is left of its headers is not what the caller sent, so nothing is said of what would have been
            // decided.
            **shadow = ShadowDecision::default();
        }
        handled
    }
}

/// The method, whatever its case: Envoy passes `post` on over HTTP/2, and applications that fold it serve it as `POST`.
fn method(sent: &[u8]) -> Method {
    // No name is longer.
    let mut folded = [0; 7];
    match (Method::new(sent), folded.get_mut(..sent.len())) {
        (Method::Other, Some(folded)) => {
            for (folded, byte) in folded.iter_mut().zip(sent) {
                // Only letters matter: other bytes are in no name.
                *folded = byte & !0x20;
            }
            Method::new(folded)
        }
        (method, _) => method,
    }
}

#[cfg(test)]
mod tests;
