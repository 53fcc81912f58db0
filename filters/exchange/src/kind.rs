//! Requests that are not a caller's own act: preflights, mirrored copies, and redirects that Envoy follows by itself.

use crate::headers::HeaderMap;
use crate::host::Host;

/// What Envoy puts at the end of the host of a mirrored request (`Router::ShadowWriterImpl`), unless told not to.
const SHADOW_SUFFIX: &[u8] = b"-shadow";

/// What Envoy tells the URL of the first pass with.
const REDIRECTED_FROM: &str = "x-envoy-original-url";
/// The filter state in which Envoy counts internal redirects, as text.
const REDIRECTS: &str = "filter_state\0num_internal_redirects";

/// What tells a request from an ordinary one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestKind {
    /// A CORS preflight (Fetch standard, "CORS-preflight fetch"): it uses no data of anyone, and carries no
    /// credentials.
    pub preflight: bool,
    /// A copy that another Envoy mirrors: the act itself is another request. Believed from trusted peers alone.
    pub shadow: bool,
    /// How many redirects Envoy has followed by itself before this pass of the request.
    pub redirects: u32,
}

// === impl RequestKind ===

impl RequestKind {
    #[inline(never)]
    pub(crate) fn of(headers: &HeaderMap, host: &dyn Host) -> Self {
        let has = |name| headers.get(name).is_some();
        Self {
            preflight: headers.get(":method") == Some(b"OPTIONS")
                && has("origin")
                && has("access-control-request-method"),
            shadow: headers.get(":authority").is_some_and(is_shadow),
            // Envoy adds the header to each pass that follows. A caller can send it, so the proxy is asked.
            redirects: if has(REDIRECTED_FROM) { redirects(host) } else { 0 },
        }
    }
}

fn redirects(host: &dyn Host) -> u32 {
    let count = host.property(REDIRECTS).ok().flatten().and_then(|count| String::from_utf8(count).ok());
    count.and_then(|count| count.parse().ok()).unwrap_or_default()
}

/// `host-shadow`, or `host-shadow:port`.
fn is_shadow(authority: &[u8]) -> bool {
    let host = match authority.iter().rposition(|byte| *byte == b':') {
        Some(colon) if authority.iter().skip(colon.saturating_add(1)).all(u8::is_ascii_digit) => {
            authority.get(..colon).unwrap_or_default()
        }
        _ => authority,
    };
    host.ends_with(SHADOW_SUFFIX)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_mirrored_copy_is_told_by_its_host() {
        for (authority, expected) in [
            ("api.example-shadow", true),
            ("api.example-shadow:8080", true),
            ("[::1]-shadow:80", true),
            ("api.example", false),
            ("shadow.example:80", false),
            ("api-shadow.example", false),
            ("", false),
        ] {
            assert_eq!(is_shadow(authority.as_bytes()), expected, "{authority}");
        }
    }
}
