//! What became of a request, as the proxy tells it when the stream is over.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use careplane_policy::id::is_uuid;

use crate::denial::Denial;
use crate::exchange::Exchange;
use crate::host::{Host, Map};
use crate::trace::{REQUEST_ID, TRACEPARENT, is_traced};

/// Envoy's filters that refuse requests, by how their response code details begin.
const REFUSERS: &[(&str, &str)] = &[
    ("rbac_access_denied", "rbac"),
    ("jwt_authn_access_denied", "jwt_authn"),
    ("local_rate_limited", "rate_limit"),
    ("request_rate_limited", "rate_limit"),
    ("rate_limiter_error", "rate_limit"),
    ("ext_authz_", "ext_authz"),
    ("csrf_origin_mismatch", "csrf"),
];

/// Envoy's response flags: the bits of the attribute `response.flags` and the words of `%RESPONSE_FLAGS%`
/// (`StreamInfo::CoreResponseFlag`).
const FLAGS: &[&str] = &[
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX", "SI", "IH",
    "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR", "UDO",
];

/// What became of a request.
#[derive(Debug)]
pub struct Outcome {
    /// When it came in.
    pub time: SystemTime,
    /// How long it took.
    pub duration: Option<Duration>,
    /// The HTTP status; none when the stream ended before there was one.
    pub status: Option<u64>,
    /// The gRPC status, for gRPC.
    pub grpc_status: Option<u64>,
    /// Envoy's response code details.
    pub details: Option<String>,
    /// Envoy's response flags.
    pub flags: Vec<&'static str>,
    /// The cluster that the request went to; none when it was refused before.
    pub cluster: Option<String>,
    /// `x-request-id` as it is at the end, if it is a UUID: Envoy keeps in it why it traces, and spans carry it like that.
    pub request_id: Option<String>,
    /// The trace of this hop, as the upstream was told; none when nothing went upstream, or nothing traces.
    pub trace: Option<TraceParent>,
    /// Whether the trace is kept.
    pub sampled: bool,
    /// Whether it was let through.
    pub verdict: Verdict,
}

/// Flags of a stream that was cut off.
const RESETS: &[&str] = &["LR", "UR", "UC", "DC", "DPE", "UPE"];
/// The gRPC statuses that OpenTelemetry counts as the server's errors: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE,
/// DATA_LOSS.
const GRPC_ERRORS: &[u64] = &[2, 4, 12, 13, 14, 15];

/// Whether a request was let through.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was, whatever the upstream made of it.
    Allowed,
    /// A careplane filter refused it.
    Denied(Denial),
    /// One of Envoy's filters refused it: which one. Why is in the response code details.
    DeniedBy(&'static str),
}

/// W3C `traceparent`.
#[derive(Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// 32 hex digits, lower case.
    pub trace_id: String,
    /// 16 hex digits, lower case.
    pub span_id: String,
    /// Whether the trace is kept.
    pub sampled: bool,
}

// === impl Outcome ===

impl Outcome {
    /// Whether the server failed: 5xx, or what gRPC has for it.
    pub fn is_server_error(&self) -> bool {
        self.status.is_some_and(|status| status >= 500) || self.grpc_status.is_some_and(|it| GRPC_ERRORS.contains(&it))
    }

    /// Whether the stream was cut off, by whichever side.
    pub fn is_reset(&self) -> bool {
        self.status.is_none() || self.flags.iter().any(|flag| RESETS.contains(flag))
    }

    pub(crate) fn read(exchange: &Exchange, host: &dyn Host) -> Self {
        let number = |path: &[&str]| integer(host.property(path).ok()?);
        let text = |path: &[&str]| String::from_utf8(host.property(path).ok()??).ok().filter(|text| !text.is_empty());
        let nanos = |path: &[&str]| number(path).map(Duration::from_nanos);
        let details = text(&["response", "code_details"]);
        let header = |name| host.header(Map::Request, name).ok().flatten();
        let request_id = header(REQUEST_ID).filter(|id| is_uuid(id));
        let (trace, sampled) = trace(exchange, header(TRACEPARENT).as_deref(), request_id.as_deref());
        let verdict = Verdict::of(details.as_deref().unwrap_or_default());
        Self {
            time: nanos(&["request", "time"])
                .and_then(|since_epoch| UNIX_EPOCH.checked_add(since_epoch))
                .or_else(|| host.now().ok())
                .unwrap_or(UNIX_EPOCH),
            duration: nanos(&["request", "duration"]),
            status: number(&["response", "code"]).filter(|status| *status != 0),
            grpc_status: if exchange.is_grpc() { number(&["response", "grpc_status"]) } else { None },
            flags: flags(number(&["response", "flags"]).unwrap_or_default()),
            cluster: if verdict.is_denied() { None } else { text(&["xds", "cluster_name"]) },
            sampled,
            request_id: request_id.and_then(|id| String::from_utf8(id).ok()),
            trace,
            verdict,
            details,
        }
    }
}

/// The trace of this hop, and whether it is kept.
fn trace(exchange: &Exchange, traceparent: Option<&[u8]>, request_id: Option<&[u8]>) -> (Option<TraceParent>, bool) {
    match (traceparent, exchange.parent()) {
        // Refused before it went upstream, so there is no identity to tell; x-request-id says what Envoy decided.
        (None, _) => (None, request_id.is_some_and(is_traced)),
        // Still the caller's: nothing went upstream, or Envoy's tracer gave up on what the caller sent. What a filter asks then has
        // no effect any more; what Envoy decided at first has, if the parent was sampled.
        (Some(now), Some(sent)) if now == sent => {
            (None, exchange.was_traced() && TraceParent::read(sent).is_some_and(|parent| parent.sampled))
        }
        (Some(now), _) => {
            let own = TraceParent::read(now);
            let sampled = own.as_ref().is_some_and(|own| own.sampled);
            (own, sampled)
        }
    }
}

// === impl Verdict ===

impl Verdict {
    fn of(details: &str) -> Self {
        let refuser = || REFUSERS.iter().find(|(prefix, _)| details.starts_with(prefix));
        match (Denial::from_details(details), refuser()) {
            (Some(denial), _) => Self::Denied(denial),
            (None, Some((_, filter))) => Self::DeniedBy(filter),
            (None, None) => Self::Allowed,
        }
    }

    /// Whether somebody refused it.
    pub fn is_denied(&self) -> bool {
        *self != Self::Allowed
    }

    /// The word on records and in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied(_) | Self::DeniedBy(_) => "denied",
        }
    }
}

// === impl TraceParent ===

impl TraceParent {
    /// `00-<32 hex>-<16 hex>-<2 hex>`, all lower case, neither id all zero, version not `ff` (W3C Trace Context §3.2).
    pub fn read(header: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(header).ok()?;
        let mut parts = text.split('-');
        let version = hex(parts.next()?, 2)?;
        let trace_id = hex(parts.next()?, 32)?;
        let span_id = hex(parts.next()?, 16)?;
        let flags = u8::from_str_radix(hex(parts.next()?, 2)?, 16).ok()?;
        let zero = |id: &str| id.bytes().all(|byte| byte == b'0');
        let version_is_good = match version {
            "ff" => false,
            "00" => parts.next().is_none(),
            _ => true,
        };
        (version_is_good && !zero(trace_id) && !zero(span_id)).then(|| Self {
            trace_id: trace_id.into(),
            span_id: span_id.into(),
            sampled: flags & 1 == 1,
        })
    }
}

fn hex(part: &str, length: usize) -> Option<&str> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (part.len() == length && part.bytes().all(is_hex)).then_some(part)
}

/// Envoy hands integers over as eight bytes, little-endian.
fn integer(bytes: Option<Vec<u8>>) -> Option<u64> {
    let number = i64::from_le_bytes(bytes?.try_into().ok()?);
    u64::try_from(number).ok()
}

fn flags(bits: u64) -> Vec<&'static str> {
    // Nearly always.
    if bits == 0 {
        return Vec::new();
    }
    let set = |(bit, flag): (u32, &&'static str)| (bits.checked_shr(bit)? & 1 == 1).then_some(*flag);
    (0..).zip(FLAGS).filter_map(set).collect()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn flags_have_the_words_of_the_access_log() {
        assert_eq!(flags(0), [""; 0]);
        assert_eq!(flags(0x20), ["UF"]);
        assert_eq!(flags(0x8820), ["UF", "RL", "URX"]);
        assert_eq!(flags(u64::MAX).len(), FLAGS.len());
    }

    #[test]
    fn traceparents_are_read_as_w3c_says() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let read = |text: &str| TraceParent::read(text.as_bytes());
        assert!(read(good).unwrap().sampled);
        assert!(!read(&good.replace("-01", "-00")).unwrap().sampled);
        assert!(read("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later").is_some());
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn whoever_refused_is_named() {
        for (details, expected) in [
            ("careplane{tenant-conflict}", Verdict::Denied(Denial::TenantConflict)),
            ("rbac_access_denied_matched_policy[none]", Verdict::DeniedBy("rbac")),
            ("jwt_authn_access_denied{Jwt_is_missing}", Verdict::DeniedBy("jwt_authn")),
            ("local_rate_limited", Verdict::DeniedBy("rate_limit")),
            ("via_upstream", Verdict::Allowed),
            ("upstream_reset_before_response_started{connection_failure}", Verdict::Allowed),
            ("", Verdict::Allowed),
        ] {
            assert_eq!(Verdict::of(details), expected, "{details}");
        }
    }
}
