//! W3C Trace Context.

/// W3C `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent {
    /// 32 hex digits, lower case.
    pub trace_id: String,
    /// 16 hex digits, lower case.
    pub span_id: String,
    /// Whether the trace is kept.
    pub sampled: bool,
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

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

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
}
