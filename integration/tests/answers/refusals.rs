//! Refusals by Envoy's own filters, before and behind careplane.

use anyhow::Result;
use careplane_integration::Request;
use hyper::Method;
use serde_json::{Value, json};

use crate::{
    Run,
    application::{ACT, Application, SERVICE},
    chains::{APPLICATION, Chain, FAILING, GRPC, filter},
    finish, get, lab, request,
    support::{SOON, versions},
};

/// The filters that can refuse, by the name of their chain; and the members of a virtual host that some need.
fn filters() -> Vec<(&'static str, Value, Value)> {
    let all = json!({"default_value": {"numerator": 100}});
    let grpc = json!({"envoy_grpc": {"cluster_name": GRPC}, "timeout": "5s"});
    let down = json!({"envoy_grpc": {"cluster_name": FAILING}, "timeout": "5s"});
    let none = || json!({});
    let lua = r#"
        function envoy_on_request(handle)
          if handle:headers():get("x-service") == "deny" then handle:respond({[":status"] = "403"}, "no") end
        end"#;
    let secret = |name: &str| json!({"name": name});
    let oauth = json!({"config": {
        "token_endpoint": {"cluster": APPLICATION, "uri": "http://login/token", "timeout": "1s"},
        "authorization_endpoint": "http://login/authorize",
        "redirect_uri": "http://%REQ(:authority)%/api/v1/financial/callback",
        "redirect_path_matcher": {"path": {"exact": "/api/v1/financial/callback"}},
        "signout_path": {"path": {"exact": "/api/v1/financial/signout"}},
        "credentials": {
            "client_id": "care", "token_secret": secret("oauth-token"), "hmac_secret": secret("oauth-hmac")
        },
        "deny_redirect_matcher": [{"name": "x-requested-with", "string_match": {"exact": "XMLHttpRequest"}}],
    }});
    let external = |service: &Value| {
        filter("ext_authz", "ExtAuthz", &json!({"transport_api_version": "V3", "grpc_service": service}))
    };
    let processor = |service: &Value| {
        filter("ext_proc", "ExternalProcessor", &json!({"grpc_service": service, "message_timeout": "5s"}))
    };
    let limit = |service: &Value| {
        let service = json!({"transport_api_version": "V3", "grpc_service": service});
        let config =
            json!({"domain": "care", "failure_mode_deny": true, "timeout": "5s", "rate_limit_service": service});
        filter("ratelimit", "RateLimit", &config)
    };
    let limited = json!({"rate_limits": [{
        "actions": [{"request_headers": {"header_name": SERVICE, "descriptor_key": "service"}}]
    }]});
    let abort = |kind: &str, code: u16| {
        let mut abort = json!({"percentage": {"numerator": 100}});
        abort[kind] = json!(code);
        filter("fault", "HTTPFault", &json!({"abort": abort}))
    };
    let policy = |action: &str, header: &str| {
        json!({"rules": {"action": action, "policies": {"opening-hours": {
            "permissions": [{"header": {"name": header, "present_match": true}}], "principals": [{"any": true}],
        }}}})
    };
    let bucket = json!({"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "3600s"});
    let local = json!({"stat_prefix": "local", "token_bucket": bucket, "filter_enabled": all, "filter_enforced": all});
    let jwt = json!({
        "providers": {"strict": {"issuer": "https://strict.example", "local_jwks": {"inline_string": JWKS}}},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "strict"}}],
    });
    let admission = json!({
        "enabled": {"default_value": true, "runtime_key": "admission"}, "sampling_window": "60s",
        "success_criteria": {"http_criteria": {"http_success_status": [{"start": 200, "end": 201}]}},
        "aggression": {"default_value": 100.0, "runtime_key": "aggression"},
        "sr_threshold": {"default_value": {"value": 100}, "runtime_key": "threshold"},
        "rps_threshold": {"default_value": 0, "runtime_key": "rps"},
        "max_rejection_probability": {"default_value": {"value": 100}, "runtime_key": "rejection"},
    });
    let cors = json!({"envoy.filters.http.cors": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": "https://care.example"}], "allow_methods": "GET",
    }});
    vec![
        ("basic_auth", filter("basic_auth", "BasicAuth", &json!({"users": {"inline_string": USERS}})), none()),
        (
            "api_key_auth",
            filter(
                "api_key_auth",
                "ApiKeyAuth",
                &json!({
                    "credentials": [{"key": "key", "client": "care"}], "key_sources": [{"header": "x-api-key"}],
                }),
            ),
            none(),
        ),
        ("oauth2", filter("oauth2", "OAuth2", &oauth), none()),
        (
            "ext_authz_http",
            filter(
                "ext_authz",
                "ExtAuthz",
                &json!({
                    "transport_api_version": "V3", "allowed_headers": {"patterns": [{"exact": SERVICE}]},
                    "http_service": {
                        "server_uri": {"uri": "http://authorize", "cluster": APPLICATION, "timeout": "5s"},
                        "path_prefix": "/authorize",
                    },
                }),
            ),
            none(),
        ),
        ("ext_authz", external(&grpc), none()),
        ("ext_authz_down", external(&down), none()),
        ("ext_proc", processor(&grpc), none()),
        ("ext_proc_down", processor(&down), none()),
        ("lua", filter("lua", "Lua", &json!({"default_source_code": {"inline_string": lua}})), none()),
        ("fault", abort("http_status", 418), none()),
        ("fault_grpc", abort("grpc_status", 7), none()),
        ("buffer", filter("buffer", "Buffer", &json!({"max_request_bytes": 10})), none()),
        ("csrf", filter("csrf", "CsrfPolicy", &json!({"filter_enabled": all})), none()),
        ("cors", filter("cors", "Cors", &json!({})), json!({"typed_per_filter_config": cors})),
        ("rbac_deny", filter("rbac", "RBAC", &policy("DENY", "x-note")), none()),
        ("rbac_allow", filter("rbac", "RBAC", &policy("ALLOW", "x-absent")), none()),
        ("jwt_authn", filter("jwt_authn", "JwtAuthentication", &jwt), none()),
        ("local_ratelimit", filter("local_ratelimit", "LocalRateLimit", &local), none()),
        ("ratelimit", limit(&grpc), limited.clone()),
        ("ratelimit_down", limit(&down), limited),
        ("admission_control", filter("admission_control", "AdmissionControl", &admission), none()),
        (
            "health_check",
            filter(
                "health_check",
                "HealthCheck",
                &json!({
                    "pass_through_mode": false,
                    "headers": [{"name": ":path", "string_match": {"prefix": "/api/v1/financial/health"}}],
                }),
            ),
            none(),
        ),
        (
            "bandwidth_limit",
            filter(
                "bandwidth_limit",
                "BandwidthLimit",
                &json!({"stat_prefix": "limit", "enable_mode": "REQUEST_AND_RESPONSE", "limit_kbps": 100_000}),
            ),
            none(),
        ),
        ("cdn_loop", filter("cdn_loop", "CdnLoopConfig", &json!({"cdn_id": "care"})), none()),
    ]
}

/// A key that signs no token.
const JWKS: &str =
    r#"{"keys": [{"kty": "oct", "k": "bm8gdG9rZW4gaXMgc2lnbmVkIHdpdGggdGhpcyBrZXk", "alg": "HS256", "kid": "none"}]}"#;

/// user:password, as htpasswd writes it.
const USERS: &str = "user:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=";

/// A request that a filter answers.
struct Case {
    chain: &'static str,
    request: fn() -> Request,
    status: u16,
    result: &'static str,
    by: &'static str,
    details: &'static str,
    flags: &'static [&'static str],
}

/// A refusal.
const fn refused(
    chain: &'static str,
    request: fn() -> Request,
    status: u16,
    by: &'static str,
    details: &'static str,
    flags: &'static [&'static str],
) -> Case {
    Case { chain, request, status, result: "denied", by, details, flags }
}

fn ask(word: &'static str) -> Request {
    get().header(SERVICE, word)
}

fn grpc_call() -> Request {
    request(Request::post("/api/v1/financial/Call", &b"\0\0\0\0\0"[..]))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

const CASES: &[Case] = &[
    refused("basic_auth", get, 401, "basic_auth", "no_credential_for_basic_auth", &[]),
    refused(
        "basic_auth",
        || get().header("authorization", "Basic dXNlcjpaejljYW5hcnk="),
        401,
        "basic_auth",
        "invalid_credential_for_basic_auth",
        &[],
    ),
    refused(
        "basic_auth",
        || get().header("authorization", "Digest x"),
        401,
        "basic_auth",
        "invalid_scheme_for_basic_auth",
        &[],
    ),
    refused("api_key_auth", get, 401, "api_key_auth", "missing_api_key", &[]),
    refused("api_key_auth", || get().header("x-api-key", "Zz9canary"), 401, "api_key_auth", "unknown_api_key", &[]),
    refused("oauth2", get, 302, "oauth2", "oauth.missing_credentials", &[]),
    refused("oauth2", || get().header("x-requested-with", "XMLHttpRequest"), 401, "oauth2", "oauth2", &[]),
    refused(
        "oauth2",
        || request(Request::get("/api/v1/financial/callback?error=Zz9canary")),
        401,
        "oauth2",
        "oauth2",
        &[],
    ),
    refused(
        "oauth2",
        || request(Request::get("/api/v1/financial/callback?code=1&state=Zz9canary")),
        401,
        "oauth2",
        "oauth2",
        &[],
    ),
    refused("oauth2", || request(Request::get("/api/v1/financial/signout")), 302, "oauth2", "oauth.sign_out", &[]),
    refused("ext_authz_http", || ask("deny"), 403, "ext_authz", "ext_authz_denied", &["UAEX"]),
    refused("ext_authz_http", || ask("login"), 302, "ext_authz", "ext_authz_denied", &["UAEX"]),
    refused("ext_authz_http", || ask("fail"), 403, "ext_authz", "ext_authz_error", &["UAEX"]),
    refused("ext_authz", || ask("deny"), 403, "ext_authz", "ext_authz_denied", &["UAEX"]),
    refused("ext_authz", || ask("fail"), 403, "ext_authz", "ext_authz_error", &["UAEX"]),
    refused("ext_authz_down", get, 403, "ext_authz", "ext_authz_error", &["UAEX"]),
    // The details are whatever the external processor writes, so nothing names the filter.
    refused("ext_proc", || ask("deny"), 403, "filter", "other", &[]),
    refused("ext_proc", || ask("fail"), 500, "ext_proc", "ext_proc_error", &[]),
    refused("ext_proc_down", get, 500, "ext_proc", "ext_proc_error", &[]),
    refused("lua", || ask("deny"), 403, "lua", "lua_response", &[]),
    refused("fault", get, 418, "fault", "fault_filter_abort", &["FI"]),
    refused(
        "buffer",
        || request(Request::post("/api/v1/financial", "Zz9canary, and more")),
        413,
        "buffer",
        "request_payload_too_large",
        &[],
    ),
    refused(
        "csrf",
        || request(Request::post("/api/v1/financial", "")).header("origin", "https://Zz9canary"),
        403,
        "csrf",
        "csrf_origin_mismatch",
        &[],
    ),
    refused("rbac_deny", get, 403, "rbac", "rbac_access_denied_matched_policy[opening-hours]", &[]),
    refused("rbac_allow", get, 403, "rbac", "rbac_access_denied_matched_policy[none]", &[]),
    refused("jwt_authn", get, 401, "jwt_authn", "jwt_authn_access_denied{Jwt_is_missing}", &[]),
    refused("local_ratelimit", get, 429, "rate_limit", "local_rate_limited", &["RL"]),
    refused("ratelimit", || ask("deny"), 429, "rate_limit", "request_rate_limited", &["RL"]),
    refused("ratelimit", || ask("fail"), 500, "rate_limit", "rate_limiter_error", &["RLSE"]),
    refused("ratelimit_down", || ask("deny"), 500, "rate_limit", "rate_limiter_error", &["RLSE"]),
    refused("cdn_loop", || get().header("cdn-loop", "care"), 502, "cdn_loop", "cdn_loop_detected", &[]),
    // A gRPC call that is refused is answered with 200, and the status of gRPC.
    refused("fault_grpc", grpc_call, 200, "fault", "fault_filter_abort", &["FI"]),
    refused("rbac_deny", grpc_call, 200, "rbac", "rbac_access_denied_matched_policy[opening-hours]", &[]),
    refused("jwt_authn", grpc_call, 200, "jwt_authn", "jwt_authn_access_denied{Jwt_is_missing}", &[]),
    // Answered, but not refused.
    Case {
        chain: "cors",
        request: || {
            request(Request::new(Method::OPTIONS, "/api/v1/financial"))
                .header("origin", "https://care.example")
                .header("access-control-request-method", "GET")
        },
        status: 200,
        result: "none",
        by: "cors",
        details: "cors_response",
        flags: &[],
    },
    Case {
        chain: "health_check",
        request: || request(Request::get("/api/v1/financial/health")),
        status: 200,
        result: "none",
        by: "health_check",
        details: "health_check_ok",
        flags: &[],
    },
];

/// Where the other filter stands.
const PLACES: [&str; 2] = ["before", "behind"];

fn chains() -> Vec<Chain> {
    let mut chains = Vec::new();
    for (name, filter, host) in filters() {
        for place in PLACES {
            let chain = Chain::new(format!("{name}-{place}")).virtual_host(&host);
            chains.push(match place {
                "before" => chain.before(filter.clone()),
                _ => chain.behind(filter.clone()),
            });
        }
    }
    chains
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_another_filter_is_on_record_with_its_author_and_has_one_span() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &chains()).start().await?;
        let denials = async |by: &str| lab.envoy().admin().stat(&format!("wasmcustom.careplane.denials.{by}")).await;
        for place in PLACES {
            // The bucket has room for one.
            let mut run = Run::new(&lab, &application);
            run.send(&format!("local_ratelimit-{place}"), get()).await?;
            for case in CASES {
                let chain = format!("{}-{place}", case.chain);
                match (case.request)().has("te") {
                    true => run.send_http2(&chain, (case.request)()).await?,
                    false => run.send(&chain, (case.request)()).await?,
                }
            }
            let mut outcomes = run.finish().await?.into_iter();
            assert_eq!(outcomes.next().map(|first| first.received), Some(1), "{version}: the bucket had one");
            for (case, seen) in CASES.iter().zip(outcomes) {
                let what =
                    format!("{version}: {place} careplane, {} wrote {}: {:?}", case.chain, case.details, seen.record);
                assert_eq!(seen.response.as_ref().map(|response| response.status), Some(case.status), "{what}");
                assert_eq!(seen.received, 0, "{what}");
                assert_eq!(seen.summary(), [case.result, case.by, case.details, "false"], "{what}");
                for absent in ["cluster", "attempts"] {
                    assert!(seen.outcome(absent).is_null(), "{absent}: {what}");
                }
                let flags: Vec<_> = seen.outcome("flags").as_array().into_iter().flatten().cloned().collect();
                assert_eq!(flags, case.flags.iter().map(|flag| json!(flag)).collect::<Vec<_>>(), "{what}");
                let denied = case.result == "denied";
                assert_eq!(seen.record["decision"]["by"], if denied { json!(case.by) } else { Value::Null }, "{what}");
                assert_eq!(seen.spans.len(), usize::from(denied), "{what}: {:?}", seen.spans);
                for span in &seen.spans {
                    let tags = ["late_reason", "denial_reason", "http.response.status_code"]
                        .map(|tag| span.attributes[tag].clone());
                    assert_eq!(
                        tags,
                        ["denied".to_owned(), case.by.to_owned(), case.status.to_string()],
                        "{what}: {span:?}"
                    );
                }
            }
        }
        let mut authors: Vec<_> = CASES.iter().filter(|case| case.result == "denied").map(|case| case.by).collect();
        authors.sort_unstable();
        let total = authors.clone();
        authors.dedup();
        for by in authors {
            let expected = PLACES.len() * total.iter().filter(|other| **other == by).count();
            assert_eq!(denials(by).await?, expected as u64, "{version}: denials by {by}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_answers_after_the_application_does_not_undo_that_it_was_asked() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &chains()).start().await?;
        let mut run = Run::new(&lab, &application);
        for place in PLACES {
            run.send(&format!("ext_proc-{place}"), ask("deny-late")).await?;
        }
        for seen in run.finish().await? {
            assert_eq!(seen.response.as_ref().map(|response| response.status), Some(403), "{version}");
            assert_eq!(seen.received, 1, "{version}");
            assert_eq!(seen.summary(), ["allowed", "filter", "other", "true"], "{version}: {:?}", seen.record);
            assert_eq!(seen.outcome("cluster"), APPLICATION, "{version}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn admission_control_is_named_for_what_it_turns_away() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &chains()).start().await?;
        for place in PLACES {
            let mut run = Run::new(&lab, &application);
            // How many it turns away is chance.
            for _ in 0..30 {
                run.send(&format!("admission_control-{place}"), get().header(ACT, "status-500")).await?;
            }
            let outcomes = run.finish().await?;
            let turned_away = outcomes.iter().filter(|seen| seen.received == 0);
            assert!(turned_away.clone().count() > 0, "{version}: none of {} was turned away", outcomes.len());
            for seen in turned_away {
                let expected = ["denied", "admission_control", "denied_by_admission_control", "false"];
                assert_eq!(seen.summary(), expected, "{version}: {:?}", seen.record);
            }
            for seen in outcomes.iter().filter(|seen| seen.received > 0) {
                assert_eq!(
                    seen.summary(),
                    ["allowed", "upstream", "via_upstream", "true"],
                    "{version}: {:?}",
                    seen.record
                );
            }
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_every_filter_lets_through_is_allowed_and_forwarded() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &chains()).start().await?;
        let mut run = Run::new(&lab, &application);
        let open = [
            "ext_authz",
            "ext_authz_http",
            "ext_proc",
            "lua",
            "buffer",
            "csrf",
            "cors",
            "ratelimit",
            "cdn_loop",
            "bandwidth_limit",
            "health_check",
        ];
        for (name, place) in open.iter().flat_map(|name| PLACES.map(|place| (name, place))) {
            run.send(&format!("{name}-{place}"), get()).await?;
        }
        for seen in run.finish().await? {
            assert_eq!(seen.summary(), ["allowed", "upstream", "via_upstream", "true"], "{version}: {:?}", seen.record);
            assert_eq!((seen.received, seen.outcome("attempts")), (1, &json!(1)), "{version}");
            assert_eq!(seen.outcome("cluster"), APPLICATION, "{version}");
        }
        lab.envoy().admin().wait_for_stat("wasmcustom.careplane.audit.records", 20, SOON).await?;
        finish(lab).await?;
    }
    Ok(())
}
