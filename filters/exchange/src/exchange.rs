//! One request: what was read of it, what follows from that, and what is to be written.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use careplane_policy::id::{CorrelationId, is_uuid};
use careplane_policy::{Classification, Method, Placement, Policy, UnknownTenant};

use crate::denial::{Denial, LocalReply};
use crate::headers::{HeaderMap, is_grpc};
use crate::host::{Host, HostError, Map};
use crate::identity::{self, Identity};
use crate::outcome::{Outcome, Verdict};
use crate::pseudonym::{Pseudonyms, Role};
use crate::trace::{FORCE_TRACE, REQUEST_ID, TraceDecision, TraceInput};

/// What the requests of one plugin are judged by.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The policy.
    pub policy: Policy,
    /// The pseudonyms, under the key of this proxy.
    pub pseudonyms: Pseudonyms,
}

/// One request.
///
/// What follows from it is found out when it is first asked for, and then kept: filters in one context share the work, and a filter
/// alone in its plugin does only its own. What filters decide is collected and applied once, at the end.
#[derive(Debug)]
pub struct Exchange {
    rules: Arc<Rules>,
    headers: HeaderMap,
    readable: bool,
    is_grpc: bool,
    method: Method,
    about: Classification,
    trace: TraceInput,
    identity: OnceCell<Identity>,
    placement: OnceCell<Result<Option<Placement>, UnknownTenant>>,
    user: OnceCell<Option<Arc<str>>>,
    correlation: OnceCell<Option<Correlation>>,
    outcome: OnceCell<Outcome>,
    denial: Cell<Option<Denial>>,
    intent: Cell<Option<Intent>>,
    header_writes: Pending<(Arc<str>, Option<Arc<str>>)>,
    span_writes: Pending<(&'static str, Arc<str>)>,
}

/// What was said of a request before it went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// Its number in the chain.
    pub number: u64,
    /// The call that carries it.
    pub call: u32,
    /// Whether its answer has come.
    pub answered: bool,
}

/// Writes that wait for the end of the request phase. Filters share an exchange, so they collect through a shared reference;
/// taking the list out and putting it back cannot fail, as borrowing a `RefCell` can.
struct Pending<T>(Cell<Vec<T>>);

#[derive(Debug)]
struct Correlation {
    id: CorrelationId,
    /// Not what the caller sent, so upstream has to be told.
    generated: bool,
}

// === impl Exchange ===

impl Exchange {
    /// Reads the request: the one time that its header map crosses from the proxy.
    ///
    /// Without a map, or with one that cannot be read, it is an exchange about nothing in particular ([`Self::is_readable`]).
    pub fn open(rules: Arc<Rules>, host: &dyn Host) -> Self {
        let map = host.header_map(Map::Request).and_then(HeaderMap::new);
        let readable = map.is_ok();
        let headers = map.unwrap_or_default();
        let method = Method::new(headers.get(":method").unwrap_or_default());
        Self {
            about: rules.policy.classify(method, headers.get(":path").unwrap_or_default()),
            trace: TraceInput::read(&headers),
            is_grpc: headers.get("content-type").is_some_and(is_grpc),
            rules,
            headers,
            readable,
            method,
            identity: OnceCell::new(),
            placement: OnceCell::new(),
            user: OnceCell::new(),
            correlation: OnceCell::new(),
            outcome: OnceCell::new(),
            denial: Cell::new(None),
            intent: Cell::new(None),
            header_writes: Pending::default(),
            span_writes: Pending::default(),
        }
    }

    /// Reads a request whose stream is over already: another filter answered it before this one saw it.
    ///
    /// Nothing can be told to the upstream any more, so it has no correlation id but the one it was sent with.
    pub fn open_late(rules: Arc<Rules>, host: &dyn Host) -> Self {
        let exchange = Self::open(rules, host);
        let sent = exchange.sent_correlation();
        exchange.correlation.get_or_init(|| sent);
        exchange
    }

    /// Whether the request could be read. If not, nobody can say who or what it is about, and filters leave it alone: a failure
    /// of the proxy is not the caller's.
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

    /// Whether the caller speaks gRPC, as Envoy sees it.
    pub fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// What it is about.
    pub fn about(&self) -> &Classification {
        &self.about
    }

    /// Who it is from.
    pub fn identity(&self, host: &dyn Host) -> &Identity {
        self.identity.get_or_init(|| identity::resolve(&self.rules.policy, &self.headers, &self.about, host))
    }

    /// The user as tags, logs and records know them: a pseudonym, unless the policy lets them know the user (and never an NHS
    /// number).
    pub fn user(&self, host: &dyn Host) -> Option<&Arc<str>> {
        let pseudonyms = &self.rules.pseudonyms;
        let known = || {
            self.identity(host).user.as_ref().map(|user| match self.policy().identity.pseudonymise_user {
                true => pseudonyms.of(Role::User, user.as_str()).into(),
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
        let place =
            || self.identity(host).tenant.as_ref().map(|tenant| self.policy().routing.place(tenant)).transpose();
        self.placement.get_or_init(place).as_ref().map(Option::as_ref).map_err(|unknown| *unknown)
    }

    /// The correlation id: what the caller sent if it can be one, else a new UUIDv7; `None` when the proxy has no random numbers.
    pub fn correlation(&self, host: &dyn Host) -> Option<&CorrelationId> {
        let found = self.correlation.get_or_init(|| {
            self.sent_correlation()
                .or_else(|| new_correlation_id(host).ok().map(|id| Correlation { id, generated: true }))
        });
        found.as_ref().map(|correlation| &correlation.id)
    }

    /// What the caller sent, if it is one id and can be one.
    fn sent_correlation(&self) -> Option<Correlation> {
        let mut sent = self.headers.all(&self.policy().identity.correlation_header);
        let id = sent.next().filter(|_| sent.next().is_none()).and_then(CorrelationId::new)?;
        Some(Correlation { id, generated: false })
    }

    /// `traceparent` as the caller sent it. It is Envoy's own only when it is another one in the end.
    pub fn parent(&self) -> Option<&[u8]> {
        self.trace.parent.as_deref()
    }

    /// `x-request-id` as it was in the beginning, if it is a UUID.
    pub fn request_id(&self) -> Option<&str> {
        let id = self.headers.get(REQUEST_ID).filter(|id| is_uuid(id))?;
        std::str::from_utf8(id).ok()
    }

    /// Whether Envoy traced it before anybody asked.
    pub fn was_traced(&self) -> bool {
        self.trace.traced
    }

    /// Whether its trace is kept, as far as it is known now.
    pub fn trace_decision(&self) -> TraceDecision {
        let tier = &self.about.context.tier;
        match self.denial.get() {
            Some(_) => self.trace.decide_denied(self.policy(), tier),
            None => self.trace.decide(tier),
        }
    }

    /// Why it is refused, if it is.
    pub fn denial(&self) -> Option<Denial> {
        self.denial.get()
    }

    /// Refuses it, or notes that another plugin of the chain has. The first reason stands.
    pub fn deny(&self, denial: Denial) {
        self.denial.set(self.denial.get().or(Some(denial)));
    }

    /// Keeps it from going on until the call that carries `intent` is answered.
    pub fn hold(&self, intent: Intent) {
        self.intent.set(Some(intent));
    }

    /// What was said of it before it went on, if it had to be.
    pub fn intent(&self) -> Option<Intent> {
        self.intent.get()
    }

    /// Whether it waits for an answer.
    pub fn is_held(&self) -> bool {
        self.intent.get().is_some_and(|intent| !intent.answered)
    }

    /// Notes that the answer has come.
    pub fn release(&self) {
        self.intent.set(self.intent.get().map(|intent| Intent { answered: true, ..intent }));
    }

    /// What became of it. To be asked when its stream is over.
    pub fn outcome(&self, host: &dyn Host) -> &Outcome {
        self.outcome.get_or_init(|| {
            let outcome = Outcome::read(self, host);
            if let Verdict::Denied(denial) = outcome.verdict {
                // Another plugin of the chain may have refused: this one learns it here.
                self.deny(denial);
            }
            outcome
        })
    }

    /// Gives a request header one value. Nothing is written when it has just that already.
    pub fn set_header(&self, name: &Arc<str>, value: impl Into<Arc<str>>) {
        let value = value.into();
        let mut present = self.headers.all(name);
        let unchanged = present.next() == Some(value.as_bytes()) && present.next().is_none();
        if !unchanged {
            self.header_writes.push((Arc::clone(name), Some(value)));
        }
    }

    /// Removes a request header, if it is there.
    pub fn remove_header(&self, name: &Arc<str>) {
        if self.headers.get(name).is_some() {
            self.header_writes.push((Arc::clone(name), None));
        }
    }

    /// Puts a value on the span, as filter state `wasm.careplane.<name>`; the first value of a name stands. Only spans read it, so
    /// nothing is written for a trace that is not kept.
    pub(crate) fn tag_span(&self, name: &'static str, value: impl Into<Arc<str>>) {
        self.span_writes.push_unless((name, value.into()), |(known, _)| *known == name);
    }

    /// Asks Envoy to keep the trace, where it would not.
    pub(crate) fn force_trace(&self, decision: TraceDecision) {
        if self.trace.needs_force(decision) {
            self.header_writes.push((FORCE_TRACE.into(), Some("true".into())));
        }
    }

    /// Applies everything that was collected: the end of the request phase. The reply is the answer to send, when the request is
    /// refused.
    ///
    /// A write that fails is the host's to count; the others are made all the same.
    pub fn apply(&self, host: &dyn Host) -> Option<LocalReply> {
        if let Some(denial) = self.denial.get() {
            // Whichever filter refused, alone or in company: its trace is kept where the policy says so, and says what was refused.
            self.keep_trace();
            self.describe_on_span(host);
            self.tag_span("denial_reason", denial.code());
            // The answer has it, and so has the request in Envoy's log.
            self.correlation(host);
        }
        if let Some(Some(Correlation { id, generated: true })) = self.correlation.get() {
            let name = Arc::clone(&self.policy().identity.correlation_header);
            self.header_writes.push((name, Some(Arc::clone(id.text()))));
        }
        for (name, value) in self.header_writes.take() {
            let repeated = self.headers.all(&name).nth(1).is_some();
            if value.is_none() || repeated {
                // Setting replaces one of several values: they have to go first.
                let _ = host.remove_header(Map::Request, &name);
            }
            if let Some(value) = value {
                let _ = host.set_header(Map::Request, &name, &value);
            }
        }
        let spans = self.span_writes.take();
        if self.trace_decision().kept {
            for (name, value) in spans {
                let _ = host.set_property(&["careplane.", name].concat(), value.as_bytes());
            }
        }
        let header = &*self.policy().identity.correlation_header;
        self.denial.get().map(|denial| denial.reply(self.correlation(host).map(|id| (header, id)), self.is_grpc))
    }

    /// Drops what only the request phase needs: streams can live for hours.
    pub fn forget_headers(&mut self) {
        self.headers = HeaderMap::default();
    }
}

impl<T> Pending<T> {
    fn push(&self, write: T) {
        self.push_unless(write, |_| false);
    }

    /// Adds a write, unless there is one already that will do.
    fn push_unless(&self, write: T, will_do: impl Fn(&T) -> bool) {
        let mut writes = self.0.take();
        if !writes.iter().any(will_do) {
            writes.push(write);
        }
        self.0.set(writes);
    }

    fn take(&self) -> Vec<T> {
        self.0.take()
    }
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self(Cell::default())
    }
}

impl<T> std::fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

/// A UUIDv7 (RFC 9562): sorts by time, and tells nothing else.
fn new_correlation_id(host: &dyn Host) -> Result<CorrelationId, HostError> {
    let mut random = [0; 10];
    host.random(&mut random)?;
    let since_epoch = host.now()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since_epoch.as_millis()).unwrap_or_default();
    let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    CorrelationId::new(uuid.as_hyphenated().encode_lower(&mut [0; 36]).as_bytes()).ok_or(HostError::Malformed)
}

#[cfg(test)]
mod tests;
