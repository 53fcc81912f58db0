//! Who answered a request, from Envoy's response code details.
//!
//! Details are words of Envoy's own, followed by what a filter or a peer put there: paths, queries, names. Only words
//! that are listed here go on.

use std::borrow::Cow;

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answerer {
    /// The application.
    Upstream,
    /// A careplane filter.
    Careplane,
    /// Another HTTP filter of the proxy: its name; `filter` for one that is not known.
    Filter(&'static str),
    /// The proxy itself: the connection manager, or the router.
    Proxy,
    /// No one: the caller left.
    Caller,
}

/// Envoy's response code details, as far as they are Envoy's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// A word of the list, with a reason in braces where the reason is of a list too. `other` when the word is not
    /// listed.
    pub token: Cow<'static, str>,
    /// Who wrote it.
    pub answerer: Answerer,
    /// Whether the request had passed every filter when it was written.
    pub passed_filters: bool,
}

/// How far a request had come when the details were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Before or between the filters.
    Filters,
    /// At the router, which is behind all filters.
    Router,
}

use Answerer::{Caller, Filter, Proxy, Upstream};
use Stage::{Filters, Router};

/// The words of the connection manager and the router (`StreamInfo::ResponseCodeDetailValues`), and of the codecs.
const PROXY: &[(&str, Answerer, Stage)] = &[
    (VIA_UPSTREAM, Upstream, Router),
    // The router.
    ("route_not_found", Proxy, Router),
    ("direct_response", Proxy, Router),
    ("cluster_not_found", Proxy, Router),
    ("maintenance_mode", Proxy, Router),
    ("drop_overload", Proxy, Router),
    ("unconditional_drop_overload", Proxy, Router),
    ("no_healthy_upstream", Proxy, Router),
    ("response_timeout", Proxy, Router),
    ("upstream_per_try_timeout", Proxy, Router),
    ("upstream_per_try_idle_timeout", Proxy, Router),
    ("upstream_max_stream_duration_reached", Proxy, Router),
    ("upstream_reset_before_response_started", Proxy, Router),
    ("upstream_reset_after_response_started", Proxy, Router),
    ("request_payload_exceeded_retry_buffer_limit", Proxy, Router),
    ("websocket_handshake_unsuccessful", Proxy, Router),
    ("internal_redirect", Proxy, Router),
    ("early_connect_data", Proxy, Router),
    // Filters that cache. They stand where the application would, and use the router of their own.
    ("cache.insert_via_upstream", Upstream, Router),
    ("cache.response_from_cache_filter", Filter("cache"), Router),
    ("cache.aborted_lookup", Filter("cache"), Router),
    ("cache.aborted_headers", Filter("cache"), Router),
    ("cache.aborted_body", Filter("cache"), Router),
    ("cache.aborted_trailers", Filter("cache"), Router),
    // The connection manager.
    ("stream_idle_timeout", Proxy, Filters),
    ("max_duration_timeout", Proxy, Filters),
    ("request_overall_timeout", Proxy, Filters),
    ("request_header_timeout", Proxy, Filters),
    ("downstream_header_timeout", Proxy, Filters),
    ("duration_timeout", Proxy, Filters),
    ("overload", Proxy, Filters),
    ("low_version", Proxy, Filters),
    ("missing_host_header", Proxy, Filters),
    ("request_headers_failed_strict_check", Proxy, Filters),
    ("request_headers_too_large", Proxy, Filters),
    ("missing_path_rejected", Proxy, Filters),
    ("invalid_path", Proxy, Filters),
    ("absolute_path_rejected", Proxy, Filters),
    ("path_normalization_failed", Proxy, Filters),
    ("upgrade_failed", Proxy, Filters),
    ("route_configuration_not_found", Proxy, Filters),
    ("filter_chain_not_found", Proxy, Filters),
    ("response_payload_too_large", Proxy, Filters),
    ("filter_removed_required_request_headers", Proxy, Filters),
    ("filter_removed_required_response_headers", Proxy, Filters),
    ("filter_added_invalid_request_data", Proxy, Filters),
    ("filter_added_invalid_response_data", Proxy, Filters),
    ("rejecting_because_detection_failed", Proxy, Filters),
    ("admin_filter_response", Proxy, Filters),
    ("codec_error", Proxy, Filters),
    ("downstream_local_disconnect", Proxy, Filters),
    ("downstream_remote_disconnect", Caller, Filters),
    ("http2.remote_reset", Caller, Filters),
    ("http3.remote_reset", Caller, Filters),
];

/// The words of filters, and the names of the filters in `envoy.filters.http.…`.
const FILTERS: &[(&str, &str)] = &[
    ("rbac_access_denied_matched_policy", "rbac"),
    ("jwt_authn_access_denied", "jwt_authn"),
    ("local_rate_limited", "rate_limit"),
    ("request_rate_limited", "rate_limit"),
    ("rate_limiter_error", "rate_limit"),
    ("rate_limited_by_quota", "rate_limit_quota"),
    ("ext_authz_denied", "ext_authz"),
    ("ext_authz_error", "ext_authz"),
    ("ext_authz_invalid", "ext_authz"),
    ("ext_proc_error", "ext_proc"),
    ("spurious_message", "ext_proc"),
    ("csrf_origin_mismatch", "csrf"),
    ("cors_response", "cors"),
    ("oauth.missing_credentials", "oauth2"),
    ("oauth.sign_out", "oauth2"),
    ("no_credential_for_basic_auth", "basic_auth"),
    ("invalid_credential_for_basic_auth", "basic_auth"),
    ("invalid_scheme_for_basic_auth", "basic_auth"),
    ("invalid_format_for_basic_auth", "basic_auth"),
    ("failed_to_inject_credential", "credential_injector"),
    ("missing_api_key", "api_key_auth"),
    ("unknown_api_key", "api_key_auth"),
    ("client_not_allowed", "api_key_auth"),
    ("lua_response", "lua"),
    ("fault_filter_abort", "fault"),
    // By whichever filter buffers: the filter manager answers for it.
    ("request_payload_too_large", "buffer"),
    ("denied_by_admission_control", "admission_control"),
    ("reached_concurrency_limit", "adaptive_concurrency"),
    ("health_check_ok", "health_check"),
    ("health_check_failed", "health_check"),
    ("dns_resolution_failure", "dynamic_forward_proxy"),
    ("dynamic_forward_proxy_pending_request_overflow", "dynamic_forward_proxy"),
    ("cdn_loop_detected", "cdn_loop"),
    ("invalid_cdn_loop_header", "cdn_loop"),
    ("grpc_bridge_content_type_wrong", "grpc_http1_reverse_bridge"),
    ("early_grpc_json_transcode_failure", "grpc_json_transcoder"),
    ("grpc_json_transcode_failure", "grpc_json_transcoder"),
    ("early_grpc_json_reverse_transcode_failure", "grpc_json_reverse_transcoder"),
    ("grpc_json_reverse_transcode_failure", "grpc_json_reverse_transcoder"),
    ("mcp_reject_no_mcp", "mcp"),
];

/// Texts of filters that are no single word, by how they begin, and the word that stands for them.
const FILTER_TEXTS: &[(&str, &str, &str)] = &[
    ("ext_proc_error_", "ext_proc_error", "ext_proc"),
    ("oauth.", "oauth2", "oauth2"),
    ("Unauthorized, and redirecting to OAuth server is not allowed", "oauth2", "oauth2"),
    ("State query param", "oauth2", "oauth2"),
    ("OAuth server returned an error", "oauth2", "oauth2"),
    // As Envoy up to 1.39 spells it.
    ("unkonwn_api_key", "unknown_api_key", "api_key_auth"),
    ("mcp_filter_", "mcp_reject_no_mcp", "mcp"),
    ("mcp_parse_error", "mcp_parse_error", "mcp"),
    ("a2a_filter_", "a2a_filter_reject", "a2a"),
    // Followed by the name of a cluster that is not well.
    ("health_check_failed_", "health_check_failed", "health_check"),
];

/// Reasons that Envoy puts in braces behind a word, by the words that have them. Anything else there is other people's
/// text.
const REASONS: &[(&str, &[&str])] = &[
    ("upstream_reset_before_response_started", RESETS),
    ("upstream_reset_after_response_started", RESETS),
    ("jwt_authn_access_denied", JWT_STATUSES),
];
/// `StreamResetReason` as the router writes it.
const RESETS: &[&str] = &[
    "connection_failure",
    "local_connection_failure",
    "remote_connection_failure",
    "connection_timeout",
    "connection_termination",
    "local_reset",
    "local_refused_stream_reset",
    "remote_reset",
    "remote_refused_stream_reset",
    "overflow",
    "connect_error",
    "protocol_error",
    "overload_manager",
    "http1_premature_upstream_half_close",
];
/// What `jwt_verify_lib` says of a token, in the words of `getStatusString`.
const JWT_STATUSES: &[&str] = &[
    "Jwt_is_missing",
    "Jwt_is_expired",
    "Jwt_not_yet_valid",
    "Jwt_is_not_in_the_form_of_Header.Payload.Signature_with_two_dots_and_3_sections",
    "Jwt_issuer_is_not_configured",
    "Jwt_verification_fails",
    "Audiences_in_Jwt_are_not_allowed",
    "Jwks_remote_fetch_is_failed",
    "Jwks_doesn't_have_key_to_match_kid_or_alg_from_Jwt",
];
/// What an upstream has answered.
const VIA_UPSTREAM: &str = "via_upstream";
/// The word of RBAC: the name of the policy that matched stands behind it, and that is the operator's own.
const RBAC: &str = "rbac_access_denied_matched_policy";
/// The longest name of a policy that is kept, in bytes.
const RBAC_POLICY_MAX: usize = 256;
/// The word for one that is not listed.
const OTHER: &str = "other";

// === impl Details ===

impl Details {
    /// Reads `response.code_details`.
    #[inline(never)]
    pub fn read(details: &str) -> Self {
        // Nearly always.
        if details == VIA_UPSTREAM {
            return Self { token: VIA_UPSTREAM.into(), answerer: Upstream, passed_filters: true };
        }
        let word = details.split(['{', '[', '(', ':', '|', ' ']).next().unwrap_or_default();
        let rest = details.get(word.len()..).unwrap_or_default();
        if let Some((token, answerer, stage)) = PROXY.iter().find(|(token, ..)| *token == word) {
            let token = with_reason(token, rest);
            return Self { token, answerer: *answerer, passed_filters: *stage == Router };
        }
        // The codecs' own words: `http1.invalid_url`, `http2.too_many_headers`.
        let codec = ["http1.", "http2.", "http3.", "uhv."].iter().any(|prefix| word.starts_with(prefix));
        if codec {
            return Self { token: "codec_error".into(), answerer: Proxy, passed_filters: false };
        }
        let listed = FILTERS.iter().find(|(token, _)| *token == word).copied();
        let begun = || {
            let text = FILTER_TEXTS.iter().find(|(beginning, ..)| details.starts_with(beginning))?;
            Some((text.1, text.2))
        };
        let (token, name) = match listed.or_else(begun) {
            Some((RBAC, name)) => (rbac(rest), name),
            Some((token, name)) => (with_reason(token, rest), name),
            None => (OTHER.into(), "filter"),
        };
        Self { token, answerer: Filter(name), passed_filters: false }
    }
}

/// The word, and the reason behind it where that is of the list.
fn with_reason(word: &'static str, rest: &str) -> Cow<'static, str> {
    let known = REASONS.iter().find(|(token, _)| *token == word).map_or(&[][..], |(_, reasons)| reasons);
    let reason = rest.strip_prefix('{').and_then(|rest| rest.split(['}', '|', ',']).next()).unwrap_or_default();
    match known.iter().find(|known| **known == reason) {
        Some(reason) => [word, "{", reason, "}"].concat().into(),
        None => word.into(),
    }
}

/// `rbac_access_denied_matched_policy[name]`: the name as the operator wrote it, if it is one.
fn rbac(rest: &str) -> Cow<'static, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"[]_.-/".contains(&byte);
    let name = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default();
    let fits = (1..=RBAC_POLICY_MAX).contains(&name.len()) && name.bytes().all(plain);
    if fits { [RBAC, "[", name, "]"].concat().into() } else { RBAC.into() }
}

// === impl Answerer ===

impl Answerer {
    /// The word on records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Careplane => "careplane",
            Self::Filter(name) => name,
            Self::Proxy => "proxy",
            Self::Caller => "caller",
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn who_answered_and_in_which_words() {
        for (details, token, answerer) in [
            ("via_upstream", "via_upstream", Upstream),
            (
                "rbac_access_denied_matched_policy[ns[a]-policy[b]-rule[0]]",
                "rbac_access_denied_matched_policy[ns[a]-policy[b]-rule[0]]",
                Filter("rbac"),
            ),
            ("rbac_access_denied_matched_policy[a b]", "rbac_access_denied_matched_policy", Filter("rbac")),
            ("jwt_authn_access_denied{Jwt_is_missing}", "jwt_authn_access_denied{Jwt_is_missing}", Filter("jwt_authn")),
            ("jwt_authn_access_denied{Smith}", "jwt_authn_access_denied", Filter("jwt_authn")),
            (
                "Unauthorized, and redirecting to OAuth server is not allowed: /x?surname=Smith",
                "oauth2",
                Filter("oauth2"),
            ),
            ("oauth.missing_credentials", "oauth.missing_credentials", Filter("oauth2")),
            ("ext_proc_error_gRPC_error_13{Smith}", "ext_proc_error", Filter("ext_proc")),
            ("unkonwn_api_key", "unknown_api_key", Filter("api_key_auth")),
            (
                "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_111}",
                "upstream_reset_before_response_started{remote_connection_failure}",
                Proxy,
            ),
            ("upstream_reset_before_response_started{Smith}", "upstream_reset_before_response_started", Proxy),
            ("http1.codec_error", "codec_error", Proxy),
            ("http2.remote_reset", "http2.remote_reset", Caller),
            ("downstream_remote_disconnect", "downstream_remote_disconnect", Caller),
            ("smith", "other", Filter("filter")),
            ("via_upstream_smith", "other", Filter("filter")),
            ("", "other", Filter("filter")),
        ] {
            let read = Details::read(details);
            assert_eq!((&*read.token, read.answerer), (token, answerer), "{details}");
        }
    }
}
