//! The trace context that a request carries: W3C Trace Context, or B3 where the proxy's tracer is Zipkin.

use careplane_policy::id::is_lower_hex;

/// Span, trace, and whether it is kept: W3C `traceparent`, or what B3 says of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// 32 hex digits, lower case.
    pub trace_id: String,
    /// 16 hex digits, lower case.
    pub span_id: String,
    /// Whether the trace is kept.
    pub sampled: bool,
}

/// Where in `x-request-id` Envoy keeps why it traces: `4` not, `9` sampled, `a` forced, `b` asked for by the client
/// (`UUIDRequestIDExtension`, "TRACE_BYTE_POSITION").
const TRACE_REASON: usize = 14;

/// Whether Envoy traces the request that has this `x-request-id`.
pub fn is_traced(request_id: &[u8]) -> bool {
    matches!(request_id.get(TRACE_REASON), Some(b'9' | b'a' | b'b'))
}

// === impl TraceContext ===

impl TraceContext {
    /// `00-<32 hex>-<16 hex>-<2 hex>`, all lower case, neither id all zero, version not `ff` (W3C Trace Context §3.2).
    pub fn read(header: &[u8]) -> Option<Self> {
        let header = std::str::from_utf8(header).ok()?;
        let (version, rest) = field(header, 2)?;
        let (trace_id, rest) = field(rest?, 32)?;
        let (span_id, rest) = field(rest?, 16)?;
        let (flags, rest) = field(rest?, 2)?;
        let zero = |id: &str| id.bytes().all(|byte| byte == b'0');
        let version_is_good = match version {
            "ff" => false,
            "00" => rest.is_none(),
            _ => true,
        };
        // The last bit of the last digit.
        let sampled =
            flags.bytes().last().is_some_and(|digit| if digit <= b'9' { digit & 1 == 1 } else { digit & 1 == 0 });
        (version_is_good && !zero(trace_id) && !zero(span_id)).then(|| Self {
            trace_id: trace_id.into(),
            span_id: span_id.into(),
            sampled,
        })
    }
}

/// So many hex digits, and what is behind the dash after them; none at the end.
fn field(header: &str, length: usize) -> Option<(&str, Option<&str>)> {
    let (digits, rest) = header.split_at_checked(length)?;
    let digits = hex(digits, length)?;
    if rest.is_empty() {
        return Some((digits, None));
    }
    rest.strip_prefix('-').map(|rest| (digits, Some(rest)))
}

/// The headers of B3, <https://github.com/openzipkin/b3-propagation>: several, or all in one.
const B3: &str = "b3";
const B3_TRACE_ID: &str = "x-b3-traceid";
const B3_SPAN_ID: &str = "x-b3-spanid";
const B3_SAMPLED: &str = "x-b3-sampled";

impl TraceContext {
    /// What the headers of B3 say together; `header` returns the value of one.
    pub fn read_b3(header: &dyn Fn(&str) -> Option<Vec<u8>>) -> Option<Self> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
        if let Some(trace_id) = header(B3_TRACE_ID) {
            let sampled = header(B3_SAMPLED).is_some_and(|sampled| sampled == b"1");
            return Self::from_b3(&text(trace_id)?, &text(header(B3_SPAN_ID)?)?, sampled);
        }
        let single = text(header(B3)?)?;
        let mut parts = single.split('-');
        let (trace_id, span_id) = (parts.next()?, parts.next()?);
        Self::from_b3(trace_id, span_id, matches!(parts.next(), Some("1" | "d")))
    }

    /// Whether there are headers of B3, `has` them or not.
    pub fn has_b3(has: &dyn Fn(&str) -> bool) -> bool {
        has(B3_TRACE_ID) || has(B3)
    }

    /// Trace ids of B3 can have 64 bits: zeros come before them in one of 128.
    fn from_b3(trace_id: &str, span_id: &str, sampled: bool) -> Option<Self> {
        let trace_id = hex(trace_id, 32).or_else(|| hex(trace_id, 16))?;
        let zero = |id: &str| id.bytes().all(|byte| byte == b'0');
        let span_id = hex(span_id, 16).filter(|id| !zero(id) && !zero(trace_id))?;
        Some(Self { trace_id: format!("{trace_id:0>32}"), span_id: span_id.into(), sampled })
    }
}

fn hex(part: &str, length: usize) -> Option<&str> {
    (part.len() == length && is_lower_hex(part.as_bytes())).then_some(part)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn traceparents_are_read_as_w3c_says() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let read = |text: &str| TraceContext::read(text.as_bytes());
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
    fn b3_says_the_same_in_one_header_or_in_several() {
        let several = |id: &'static str, sampled: &'static str| {
            TraceContext::read_b3(&move |name: &str| match name {
                B3_TRACE_ID => Some(id.into()),
                B3_SPAN_ID => Some("b7ad6b7169203331".into()),
                B3_SAMPLED => Some(sampled.into()),
                _ => None,
            })
        };
        let one = |value: &'static str| TraceContext::read_b3(&move |name: &str| (name == B3).then(|| value.into()));
        let long = several("0af7651916cd43dd8448eb211c80319c", "1");
        assert!(long.as_ref().is_some_and(|it| it.sampled));
        assert_eq!(one("0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1"), long);
        let short = several("8448eb211c80319c", "0").unwrap();
        assert_eq!((&*short.trace_id, short.sampled), ("00000000000000008448eb211c80319c", false));
        for bad in ["", "0", "1-2-3", "8448eb211c80319c", "0000000000000000-b7ad6b7169203331-1"] {
            assert_eq!(one(bad), None, "{bad}");
        }
    }
}
