//! What became of a request, as the proxy tells it when the stream is over.

use std::cell::OnceCell;
use std::string::FromUtf8Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use careplane_attributes::{Answerer, Details, Flags, TraceContext, is_traced};
use careplane_policy::Method;
use careplane_policy::id::is_uuid;

use crate::denial::Denial;
use crate::handled::Handled;
use crate::headers::Grpc;
use crate::host::{Host, MapType};
use crate::trace::{REQUEST_ID, TRACEPARENT, TraceDecision, TraceInput};

/// The gRPC statuses that OpenTelemetry counts as the server's errors: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED,
/// INTERNAL, UNAVAILABLE, DATA_LOSS.
const GRPC_ERRORS: &[u64] = &[2, 4, 12, 13, 14, 15];
/// The details of a pass whose redirect Envoy follows by itself.
const INTERNAL_REDIRECT: &str = "internal_redirect";
/// How the content type of a response begins that the filter grpc_web has changed.
const GRPC_WEB: &str = "application/grpc-web";
/// The filters that answer with what they have kept: `envoy.filters.http.cache` and `cache_v2`.
const CACHE: &str = "cache";
/// The filters whose words do not say whether they refused; `filter` is one that is not known.
const ANSWERING_FILTERS: &[&str] = &["filter", "lua", "cors", "health_check"];
/// How long an upstream took, as routers tell it.
const UPSTREAM_TIME: &str = "response\0headers\0x-envoy-upstream-service-time";
/// How much of Envoy's response code details is read, in bytes: more than the longest word and its reason.
const DETAILS_MAX: usize = 1024;
/// The longest name of a cluster that is recorded, in bytes.
const CLUSTER_MAX: usize = 512;

/// A request whose stream is over.
///
/// What the answer was is read at once; the rest when it is asked for, since most of it matters to records and late
/// spans alone.
pub struct Ending<'e> {
    request: &'e Handled,
    host: &'e dyn Host,
    details: Option<Details>,
    /// Why careplane refused it, in another plugin of the chain if not in this one.
    denial: Option<Denial>,
    upstream: OnceCell<UpstreamUse>,
    status: OnceCell<Option<u64>>,
    grpc_status: OnceCell<Option<u64>>,
    flags: OnceCell<Flags>,
    duration: OnceCell<Option<Duration>>,
    time: OnceCell<SystemTime>,
    trace: OnceCell<TraceOutcome>,
}

/// Whether a request was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It passed every filter, whatever the upstream made of it.
    Allowed,
    /// A careplane filter refused it.
    Denied(Denial),
    /// Another filter of the proxy refused it: which one.
    DeniedBy(&'static str),
    /// The proxy or the caller ended it before all filters had decided.
    Undecided,
}

/// What the proxy tells of the upstream of this stream.
#[derive(Debug, Clone, Copy)]
struct UpstreamUse {
    forwarded: Option<bool>,
    attempts: Option<u64>,
}

/// What became of the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceOutcome {
    /// `x-request-id` as it is at the end, if it is a UUID: Envoy keeps in it why it traces, and spans carry it like
    /// that.
    pub request_id: Option<String>,
    /// The span of this hop, as the upstream was told; none when nothing went upstream, or nothing traces.
    pub own: Option<TraceContext>,
    /// Whether the span is exported; none when the proxy does not tell.
    pub sampled: Option<bool>,
}

// === impl Ending ===

impl<'e> Ending<'e> {
    /// Asks the proxy who answered.
    #[inline(never)]
    pub fn read(request: &'e Handled, host: &'e dyn Host) -> Self {
        // Details can be there and empty: some filters answer without a word.
        let details = host.property("response\0code_details").ok().flatten();
        let lossy = |error: FromUtf8Error| String::from_utf8_lossy(error.as_bytes()).into_owned();
        let details = details.map(|mut details| {
            details.truncate(DETAILS_MAX);
            String::from_utf8(details).unwrap_or_else(lossy)
        });
        let written = details.as_deref().and_then(Denial::from_details);
        Self {
            request,
            host,
            details: details.map(|details| Details::read(&details)),
            denial: request.denial.or(written),
            upstream: OnceCell::new(),
            status: OnceCell::new(),
            grpc_status: OnceCell::new(),
            flags: OnceCell::new(),
            duration: OnceCell::new(),
            time: OnceCell::new(),
            trace: OnceCell::new(),
        }
    }

    /// The request.
    pub fn request(&self) -> &'e Handled {
        self.request
    }

    /// Envoy's response code details, as far as they are Envoy's own words; none when nothing was answered.
    pub fn details(&self) -> Option<&str> {
        self.denial.map(Denial::details).or_else(|| self.details.as_ref().map(|details| &*details.token))
    }

    /// Who answered; none when the proxy does not tell.
    #[inline(never)]
    pub fn answered_by(&self) -> Option<Answerer> {
        if self.denial.is_some() {
            return Some(Answerer::Careplane);
        }
        match self.details.as_ref()?.answerer {
            // Any filter can use the word. What is only counted is not worth the question.
            Answerer::Upstream if self.request.context.audited && !self.was_forwarded() => {
                Some(Answerer::Filter("filter"))
            }
            Answerer::Caller | Answerer::Proxy if self.is_switched() && self.was_forwarded() => {
                Some(Answerer::Upstream)
            }
            // Since 1.37, Envoy uses the words of a reset for malformed streams that it ends itself, but not the flag.
            Answerer::Caller if self.flags().words().contains(&"DPE") => Some(Answerer::Proxy),
            answerer => Some(answerer),
        }
    }

    /// Whether the request was sent to an upstream, at least in part; none when the proxy does not tell.
    pub fn forwarded(&self) -> Option<bool> {
        self.upstream().forwarded
    }

    /// How many times it was tried to send the request; none when it was not forwarded.
    pub fn attempts(&self) -> Option<u64> {
        self.upstream().attempts.filter(|_| self.was_forwarded())
    }

    /// Where the request was sent; none when it was not forwarded.
    #[inline(never)]
    pub fn cluster(&self) -> Option<String> {
        // With an internal redirect, Envoy names the cluster of the pass that follows. What a filter sends may go
        // elsewhere.
        if self.attempts().is_none() || self.details() == Some(INTERNAL_REDIRECT) {
            return None;
        }
        text(self.host, "xds\0cluster_name").filter(|name| name.len() <= CLUSTER_MAX)
    }

    fn was_forwarded(&self) -> bool {
        self.forwarded() == Some(true)
    }

    #[inline(never)]
    fn upstream(&self) -> UpstreamUse {
        *self.upstream.get_or_init(|| UpstreamUse::read(self.details.as_ref(), self.host))
    }

    /// Whether the request was let through.
    #[inline(never)]
    pub fn decision(&self) -> Decision {
        if let Some(denial) = self.denial {
            return Decision::Denied(denial);
        }
        let Some(details) = &self.details else { return self.unless_forwarded(Decision::Undecided) };
        match self.answered_by() {
            // It answers for the application, to what has passed the filters before it.
            Some(Answerer::Filter(CACHE)) => Decision::Allowed,
            Some(Answerer::Filter(name)) => {
                // The words of most filters mean a refusal, whatever its status: a login page, or what
                // `local_reply_config` made of it. Those of the others stand for good answers too: a preflight, a
                // health check. To a gRPC call, Envoy's own answers have status 200 and a status of gRPC.
                let is_refusal = !ANSWERING_FILTERS.contains(&name)
                    || self.status().is_none_or(|status| status >= 400)
                    || self.grpc_status().is_some_and(|status| status != 0);
                self.unless_forwarded(if is_refusal { Decision::DeniedBy(name) } else { Decision::Undecided })
            }
            _ if details.passed_filters => Decision::Allowed,
            _ => self.unless_forwarded(Decision::Undecided),
        }
    }

    /// What was forwarded had passed every filter.
    fn unless_forwarded(&self, decision: Decision) -> Decision {
        if self.was_forwarded() { Decision::Allowed } else { decision }
    }

    /// The HTTP status; none when the stream ended before there was one.
    #[inline(never)]
    pub fn status(&self) -> Option<u64> {
        *self.status.get_or_init(|| number(self.host, "response\0code").filter(|status| *status != 0))
    }

    /// The gRPC status, for gRPC and gRPC-Web; none when the proxy does not tell.
    #[inline(never)]
    pub fn grpc_status(&self) -> Option<u64> {
        *self.grpc_status.get_or_init(|| {
            // The filter grpc_web moves trailers into the body. What Envoy tells then is made up from the HTTP status,
            // unless the response had no body.
            let header = |name: &str| text(self.host, &["response\0headers\0", name].concat());
            match self.request.grpc? {
                Grpc::Native if !header("content-type").is_some_and(|it| it.starts_with(GRPC_WEB)) => {
                    number(self.host, "response\0grpc_status")
                }
                Grpc::Native | Grpc::Web => header("grpc-status")?.parse().ok(),
            }
        })
    }

    /// Envoy's response flags.
    #[inline(never)]
    pub fn flags(&self) -> &Flags {
        self.flags.get_or_init(|| Flags::read(number(self.host, "response\0flags").unwrap_or_default()))
    }

    /// When the request came in.
    #[inline(never)]
    pub fn time(&self) -> SystemTime {
        *self.time.get_or_init(|| {
            // Not by a clock, though one costs the proxy less: plugins that record the same request say the same time.
            nanos(self.host, "request\0time")
                .and_then(|since_epoch| UNIX_EPOCH.checked_add(since_epoch))
                .or_else(|| self.host.now().ok())
                .unwrap_or(UNIX_EPOCH)
        })
    }

    /// How long it took.
    #[inline(never)]
    pub fn duration(&self) -> Option<Duration> {
        *self.duration.get_or_init(|| nanos(self.host, "request\0duration"))
    }

    /// Whether the server failed: 5xx, or what gRPC has for it.
    #[inline(never)]
    pub fn is_server_error(&self) -> bool {
        self.status().is_some_and(|status| status >= 500)
            || self.grpc_status().is_some_and(|status| GRPC_ERRORS.contains(&status))
    }

    /// Whether the stream was cut off, by whichever side.
    pub fn is_reset(&self) -> bool {
        !self.is_switched() && (self.status().is_none() || self.flags().say_reset())
    }

    /// Whether it became another protocol (101), or a tunnel (RFC 9110 §9.3.6). From there on, either side ends the
    /// stream when it has said all.
    fn is_switched(&self) -> bool {
        self.status().is_some_and(|status| match self.request.method {
            Method::Connect => (200..300).contains(&status),
            _ => status == 101,
        })
    }

    /// What became of its trace.
    #[inline(never)]
    pub fn trace(&self) -> &TraceOutcome {
        self.trace.get_or_init(|| TraceOutcome::read(self.request, self.was_forwarded(), self.host))
    }

    /// Whether its trace is kept, as far as filters decide that, now that it is known whether it was refused.
    pub fn trace_decision(&self) -> TraceDecision {
        let denied = self.request.shadow_denial().is_some() || matches!(self.decision(), Decision::Denied(_));
        self.request.trace_decision(denied)
    }
}

// === impl UpstreamUse ===

impl UpstreamUse {
    /// The last attempt has a local address exactly when it got a connection, on which Envoy sends the headers at once.
    /// Earlier attempts leave no trace but their number.
    #[inline(never)]
    fn read(details: Option<&Details>, host: &dyn Host) -> Self {
        let is_via_upstream = details.is_some_and(|details| details.answerer == Answerer::Upstream);
        let attempts = number(host, "upstream\0request_attempt_count");
        let has_connection = || text(host, "upstream\0local_address").is_some();
        let forwarded = match attempts {
            Some(0) => Self::without_router(details, host),
            _ if is_via_upstream || has_connection() => Some(true),
            Some(1) | None => Some(false),
            Some(_) => None,
        };
        // What a filter sends by itself is not counted.
        Self { forwarded, attempts: attempts.filter(|attempts| *attempts > 0) }
    }

    /// Whether a request was sent although the router of this stream sent nothing: filters that cache have a router of
    /// their own.
    fn without_router(details: Option<&Details>, host: &dyn Host) -> Option<bool> {
        let details = details?;
        match (&*details.token, details.answerer) {
            // A router adds the header to what an upstream answers. Any filter can use the word.
            ("via_upstream", _) => text(host, UPSTREAM_TIME).map(|_| true),
            ("cache.insert_via_upstream", _) => Some(true),
            // What was kept may have been validated first.
            (_, Answerer::Filter(CACHE)) => None,
            _ => Some(false),
        }
    }
}

// === impl TraceOutcome ===

impl TraceOutcome {
    #[inline(never)]
    fn read(request: &Handled, forwarded: bool, host: &dyn Host) -> Self {
        let header = |name: &str| host.header(MapType::RequestHeaders, name).ok().flatten();
        let request_id = header(REQUEST_ID).filter(|id| is_uuid(id));
        let expected = Self::expected(&request.trace, request_id.as_deref());
        let (sent, tracer, has_parent) = (&request.trace, &request.rules.tracer, request.trace.parent.is_some());
        // Envoy's own, once the request went upstream. Still the caller's: nothing went, or another kind of tracer did
        // not look at it.
        let now = header(TRACEPARENT);
        let own = now.filter(|now| sent.sent.as_ref() != Some(now)).as_deref().and_then(TraceContext::read);
        // B3 that the caller wrote stays as it is with most tracers, and with Zipkin can look the same.
        let owns_b3 = if sent.sent_b3 { tracer.owns_b3() } else { Some(true) };
        let is_ambiguous = sent.sent_b3 && (owns_b3.is_none() || owns_b3 == Some(true) && sent.sent.is_some());
        let reads_b3 = own.is_none() && forwarded && owns_b3 == Some(true) && !is_ambiguous;
        let b3 = if reads_b3 { TraceContext::read_b3(&header) } else { None };
        if forwarded && !sent.sent_b3 {
            tracer.observe_b3(b3.is_some());
        }
        let own = own.or(b3);
        let sampled = match &own {
            Some(own) => {
                // In a pass after an internal redirect, Envoy decides nothing anew.
                if request.kind.redirects == 0 {
                    tracer.observe(has_parent, expected, own.sampled);
                }
                Some(own.sampled)
            }
            None if is_ambiguous => None,
            None => tracer.keeps(has_parent, expected),
        };
        Self { request_id: request_id.and_then(|id| String::from_utf8(id).ok()), own, sampled }
    }

    /// What a tracer does that listens to `x-request-id` and follows a parent. What a filter asks has no effect on the
    /// trace of a parent; what Envoy decided at first has, if the parent was sampled.
    fn expected(trace: &TraceInput, request_id: Option<&[u8]>) -> bool {
        match (&trace.parent, &trace.sent) {
            (Some(parent), _) => trace.traced && parent.sampled,
            // Envoy's tracer gives up on what it cannot read.
            (None, Some(_)) => false,
            (None, None) => request_id.is_some_and(is_traced),
        }
    }
}

// === impl Decision ===

impl Decision {
    /// Whether a filter refused it.
    pub fn is_denied(self) -> bool {
        matches!(self, Self::Denied(_) | Self::DeniedBy(_))
    }

    /// The word on records and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied(_) | Self::DeniedBy(_) => "denied",
            Self::Undecided => "none",
        }
    }
}

#[inline(never)]
fn text(host: &dyn Host, path: &str) -> Option<String> {
    String::from_utf8(host.property(path).ok()??).ok().filter(|text| !text.is_empty())
}

/// Envoy hands integers over as eight bytes, little-endian.
#[inline(never)]
fn number(host: &dyn Host, path: &str) -> Option<u64> {
    let number = i64::from_le_bytes(host.property(path).ok()??.try_into().ok()?);
    u64::try_from(number).ok()
}

fn nanos(host: &dyn Host, path: &str) -> Option<Duration> {
    number(host, path).map(Duration::from_nanos)
}
