//! Refusals by filters that few proxies have, and in words that they seldom use.

use anyhow::Result;
use careplane_integration::{EnvoyVersion, Request};
use data_encoding::BASE64;
use prost::Message;
use serde_json::{Value, json};

use crate::{
    Run,
    application::{ACT, Application, SERVICE},
    chains::{APPLICATION, Chain, EMPTY, FAILING, GRPC, filter},
    finish, get, lab, request,
    support::{token, versions},
};

const PLACES: [&str; 2] = ["before", "behind"];
/// The paths of a gRPC service that Envoy knows.
const CALLS: &str = "/care.v1.Notes";
/// Where the host of a request is looked up.
const LOOKED_UP: &str = "looked-up";
/// The same, but for a bound that no request keeps.
const NEVER_LOOKED_UP: &str = "never-looked-up";

/// A filter, the cluster behind it, a request, and what becomes of it.
struct Case {
    name: &'static str,
    filter: Value,
    cluster: &'static str,
    request: fn() -> Request,
    status: u16,
    by: &'static str,
    details: &'static str,
    flags: &'static [&'static str],
}

fn post(path: &str, body: &'static str) -> Request {
    request(Request::post(path, body)).header("content-type", "application/json")
}

fn call(body: &'static [u8]) -> Request {
    request(Request::post(format!("{CALLS}/Well"), body))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

/// A filter whose type is not named as its extension is.
fn typed(name: &str, kind: &str, config: Value) -> Value {
    let mut config = config;
    config["@type"] = json!(format!("type.googleapis.com/envoy.{kind}"));
    json!({"name": name, "typed_config": config})
}

fn cases(version: EnvoyVersion) -> Vec<Case> {
    let users = json!({"users": {"inline_string": "user:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="}});
    let oauth = typed(
        "envoy.http.injected_credentials.oauth2",
        "extensions.http.injected_credentials.oauth2.v3.OAuth2",
        json!({
            "token_endpoint": {"cluster": FAILING, "uri": "http://login/token", "timeout": "1s"},
            "client_credentials": {"client_id": "care", "client_secret": {"name": "oauth-token"}},
        }),
    );
    let bucket = typed(
        "bucket",
        "extensions.filters.http.rate_limit_quota.v3.RateLimitQuotaBucketSettings",
        json!({
            "bucket_id_builder": {"bucket_id_builder": {"name": {"string_value": "care"}}}, "reporting_interval": "60s",
            "no_assignment_behavior": {"fallback_rate_limit": {"blanket_rule": "DENY_ALL"}},
        }),
    );
    let quota = json!({
        "domain": "care", "rlqs_server": {"envoy_grpc": {"cluster_name": GRPC}},
        "bucket_matchers": {"on_no_match": {"action": bucket}},
    });
    let abort = json!({"abort": {"http_status": 418, "percentage": {"numerator": 100}}});
    let by_header = typed("header", "type.matcher.v3.HttpRequestHeaderMatchInput", json!({"header_name": "x-skip"}));
    let delegate = typed(
        "delegate",
        "extensions.common.matching.v3.ExtensionWithMatcher",
        json!({
            "xds_matcher": {"matcher_tree": {"input": by_header, "exact_match_map": {"map": {"yes": {"action":
                typed("skip", "extensions.filters.common.matcher.action.v3.SkipFilter", json!({}))
            }}}}},
            "extension_config": filter("fault", "HTTPFault", &abort),
        }),
    );
    let deny = typed("deny", "config.rbac.v3.Action", json!({"name": "outside hours", "action": "DENY"}));
    let session = typed(
        "envoy.http.stateful_session.header",
        "extensions.http.stateful_session.header.v3.HeaderBasedSessionState",
        json!({"name": "x-session"}),
    );
    let transcoder = filter(
        "grpc_json_transcoder",
        "GrpcJsonTranscoder",
        &json!({
            "proto_descriptor_bin": descriptor(), "services": ["care.v1.Notes"], "auto_mapping": true,
            "request_validation_options": {"reject_unknown_method": true, "reject_unknown_query_parameters": true},
        }),
    );
    let reverse = filter(
        "grpc_json_reverse_transcoder",
        "GrpcJsonReverseTranscoder",
        &json!({"descriptor_binary": descriptor(), "max_request_body_size": 1000, "max_response_body_size": 1000}),
    );
    let lookup = |name: &str| filter("dynamic_forward_proxy", "FilterConfig", &json!({"dns_cache_config": dns(name)}));
    let health = json!({
        "pass_through_mode": false, "cluster_min_healthy_percentages": {EMPTY: {"value": 50}},
        "headers": [{"name": ":path", "string_match": {"prefix": "/api/v1/financial"}}],
    });
    let case = |name, filter, request: fn() -> Request, status, by, details| Case {
        name,
        filter,
        cluster: APPLICATION,
        request,
        status,
        by,
        details,
        flags: &[],
    };
    let malformed: fn() -> Request = || get().header("authorization", "Basic dXNlcg==");
    let mut cases = vec![
        case(
            "basic",
            filter("basic_auth", "BasicAuth", &users),
            malformed,
            401,
            "basic_auth",
            "invalid_format_for_basic_auth",
        ),
        case(
            "inject",
            typed(
                "envoy.filters.http.credential_injector",
                "extensions.filters.http.credential_injector.v3.CredentialInjector",
                json!({"credential": oauth}),
            ),
            get,
            401,
            "credential_injector",
            "failed_to_inject_credential",
        ),
        case("delegate", delegate, get, 418, "fault", "fault_filter_abort"),
        case(
            "chosen",
            filter("fault", "HTTPFault", &json!({"abort": {"header_abort": {}, "percentage": {"numerator": 100}}})),
            // A caller may name the status, also a good one: nothing was sent all the same.
            || get().header("x-envoy-fault-abort-request", "200"),
            200,
            "fault",
            "fault_filter_abort",
        ),
        case(
            "matcher",
            filter("rbac", "RBAC", &json!({"matcher": {"on_no_match": {"action": deny}}})),
            get,
            403,
            "rbac",
            "rbac_access_denied_matched_policy[outside_hours]",
        ),
        case(
            "mutation",
            filter(
                "ext_authz",
                "ExtAuthz",
                &json!({
                    "transport_api_version": "V3", "validate_mutations": true,
                    "grpc_service": {"envoy_grpc": {"cluster_name": GRPC}, "timeout": "5s"},
                }),
            ),
            || get().header(SERVICE, "mutate"),
            500,
            "ext_authz",
            "ext_authz_invalid",
        ),
        case("health", filter("health_check", "HealthCheck", &health), get, 503, "health_check", "health_check_failed"),
        case(
            "unknown-method",
            transcoder.clone(),
            || post("/care.v1.Notes/Zz9canary", "{}"),
            404,
            "grpc_json_transcoder",
            "early_grpc_json_transcode_failure",
        ),
        case(
            "unknown-parameter",
            transcoder,
            || post("/care.v1.Notes/Well?surname=Zz9canary", "{}"),
            400,
            "grpc_json_transcoder",
            "early_grpc_json_transcode_failure",
        ),
        case(
            "reverse",
            reverse,
            || call(b"\0\0\0\0\x02\xff\xff"),
            200,
            "grpc_json_reverse_transcoder",
            "early_grpc_json_reverse_transcode_failure",
        ),
        case(
            "full",
            lookup(NEVER_LOOKED_UP),
            || get().header("host", "full.invalid"),
            503,
            "dynamic_forward_proxy",
            "dynamic_forward_proxy_pending_request_overflow",
        ),
        case(
            "dns",
            lookup(LOOKED_UP),
            || get().header("host", "Zz9canary.invalid"),
            503,
            "dynamic_forward_proxy",
            "dns_resolution_failure",
        ),
        case(
            "quota",
            filter("rate_limit_quota", "RateLimitQuotaFilterConfig", &quota),
            get,
            429,
            "rate_limit_quota",
            "rate_limited_by_quota",
        ),
        case(
            "session",
            filter("stateful_session", "StatefulSession", &json!({"strict": true, "session_state": session})),
            // 127.0.0.1:1, which is no host of the cluster.
            || get().header("x-session", "MTI3LjAuMC4xOjE="),
            503,
            "proxy",
            "no_healthy_upstream",
        ),
    ];
    for case in &mut cases {
        (case.cluster, case.flags) = match case.name {
            "full" => (NEVER_LOOKED_UP, &[][..]),
            "dns" => (LOOKED_UP, &["DF"][..]),
            "health" => (APPLICATION, &["LH"][..]),
            "quota" => (APPLICATION, &["RFCF"][..]),
            "mutation" => (APPLICATION, &["UAEX"][..]),
            "session" => (APPLICATION, &["UH"][..]),
            "delegate" | "chosen" => (APPLICATION, &["FI"][..]),
            "reverse" | "unknown-method" | "unknown-parameter" => (GRPC, &[][..]),
            _ => (APPLICATION, &[][..]),
        };
    }
    if version < EnvoyVersion::new(1, 37, 0) {
        // It has no words for it.
        for case in cases.iter_mut().filter(|case| case.name == "quota") {
            (case.by, case.details) = ("filter", "other");
        }
    }
    let body: fn() -> Request = || post("/api/v1/financial", "{\"Zz9canary\": ");
    if version >= EnvoyVersion::new(1, 38, 0) {
        let reject = filter("a2a", "A2a", &json!({"traffic_mode": "REJECT"}));
        cases.push(case("a2a", reject, body, 400, "a2a", "a2a_filter_reject"));
    }
    if version >= EnvoyVersion::new(1, 39, 0) {
        let reject = filter("mcp", "Mcp", &json!({"traffic_mode": "REJECT_NO_MCP"}));
        let body: fn() -> Request =
            || post("/api/v1/financial", "{\"Zz9canary\": ").header("accept", "application/json, text/event-stream");
        cases.push(case("mcp", reject, body, 400, "mcp", "mcp_parse_error"));
    }
    cases
}

/// A cache of DNS.
fn dns(name: &str) -> Value {
    let mut dns = json!({"name": name, "dns_lookup_family": "V4_ONLY", "dns_query_timeout": "1s"});
    if name == NEVER_LOOKED_UP {
        dns["dns_cache_circuit_breaker"] = json!({"max_pending_requests": 0});
    }
    dns
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_in_rare_words_has_its_author_and_one_span_and_leaves_the_words_behind_them() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let cases = cases(version);
        let mut chains = Vec::new();
        for case in &cases {
            let to = json!({"match": {"prefix": "/"}, "route": {"cluster": case.cluster}});
            let chain = |place: &str| Chain::new(format!("{}-{place}", case.name)).route(to.clone());
            chains.extend([chain("before").before(case.filter.clone()), chain("behind").behind(case.filter.clone())]);
        }
        let lab = lab(version, &application, &chains)
            .policy(|policy| {
                let calls = json!({
                    "name": "calls", "complianceLevel": "standard", "tenant": "optional", "tier": "never",
                    "match": [{"path": format!("{CALLS}/{{*rest}}")}]
                });
                policy["contexts"].as_array_mut().expect("contexts").insert(0, calls);
            })
            .patch(|document| {
                let clusters = document["static_resources"]["clusters"].as_array_mut().expect("clusters");
                for name in [LOOKED_UP, NEVER_LOOKED_UP] {
                    let kind = "extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig";
                    let config = json!({"dns_cache_config": dns(name)});
                    clusters.push(json!({
                        "name": name, "lb_policy": "CLUSTER_PROVIDED",
                        "cluster_type": typed("envoy.clusters.dynamic_forward_proxy", kind, config),
                    }));
                }
            })
            .start()
            .await?;
        let mut run = Run::new(&lab, &application);
        let all: Vec<_> = cases.iter().flat_map(|case| PLACES.map(|place| (case, place))).collect();
        for (case, place) in &all {
            let chain = format!("{}-{place}", case.name);
            match (case.request)().has("te") {
                true => run.send_http2(&chain, (case.request)()).await?,
                false => run.send(&chain, (case.request)()).await?,
            }
        }
        for ((case, place), seen) in all.iter().zip(run.finish().await?) {
            let what = format!("{version}: {} {place} careplane: {}", case.name, seen.record);
            assert_eq!(seen.response.as_ref().map(|response| response.status), Some(case.status), "{what}");
            // The router stands behind all filters: what it answers was let through.
            let result = if case.by == "proxy" { "allowed" } else { "denied" };
            assert_eq!(seen.summary(), [result, case.by, case.details, "false"], "{what}");
            assert_eq!(seen.record["decision"]["by"] == case.by, result == "denied", "{what}");
            let flags: Vec<_> = seen.outcome("flags").as_array().into_iter().flatten().collect();
            assert_eq!(flags, case.flags, "{what}");
            assert_eq!((seen.received, seen.spans.len()), (0, 1), "{what}: {:?}", seen.spans);
            assert!(["cluster", "attempts"].iter().all(|member| seen.outcome(member).is_null()), "{what}");
        }
        finish(lab).await?;
    }
    Ok(())
}

/// `custom_response` sends the caller's request elsewhere: a second pass, which no count of redirects tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_an_answer_of_the_application_causes_has_a_record_of_its_own_and_one_request_id() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let input = typed("status", "type.matcher.v3.HttpResponseStatusCodeMatchInput", json!({}));
        let elsewhere = typed(
            "elsewhere",
            "extensions.http.custom_response.redirect_policy.v3.RedirectPolicy",
            json!({"status_code": 299, "uri": "http://care/api/v1/financial/sorry"}),
        );
        let custom = filter(
            "custom_response",
            "CustomResponse",
            &json!({"custom_response_matcher": {"matcher_list": {"matchers": [{
                "predicate": {"single_predicate": {"input": input, "value_match": {"exact": "500"}}},
                "on_match": {"action": elsewhere},
            }]}}}),
        );
        let fixed = json!({"match": {"prefix": "/api/v1/financial/sorry"}, "direct_response": {"status": 200}});
        let chain = Chain::new("custom").route(fixed).before(custom);
        let lab = lab(version, &application, &[chain]).start().await?;
        let id = crate::support::request_id(9_999);
        let asked = get().header(ACT, "status-500").header("x-request-id", &id).bearer(&token(&lab)?);
        assert_eq!(crate::chains::client(&lab, "custom").await?.send(asked).await?.status, 299, "{version}");
        let records = crate::by_request(&lab).await?;
        let passes = &records[&crate::support::without_reason(&id)];
        let told: Vec<_> =
            passes.iter().map(|pass| [&pass["outcome"]["forwarded"], &pass["outcome"]["details"]]).collect();
        let expected = [[json!(true), json!("internal_redirect")], [json!(false), json!("direct_response")]];
        assert_eq!(told, expected.each_ref().map(|pass| pass.each_ref()), "{version}: {passes:?}");
        assert!(passes.iter().all(|pass| pass["outcome"]["cluster"].is_null()), "{version}: {passes:?}");
        assert_eq!(application.counts()[&crate::support::without_reason(&id)], 1, "{version}");
        finish(lab).await?;
    }
    Ok(())
}

// === google.protobuf.FileDescriptorSet, as far as it is used ===

/// The service `care.v1.Notes`, whose messages have one text.
fn descriptor() -> String {
    let method =
        |name: &str| Method { name: name.into(), input: ".care.v1.Note".into(), output: ".care.v1.Note".into() };
    let text = Field { name: "text".into(), number: 1, label: 1, kind: 9 };
    let file = File {
        name: "care.proto".into(),
        package: "care.v1".into(),
        messages: vec![Structure { name: "Note".into(), fields: vec![text] }],
        services: vec![Service { name: "Notes".into(), methods: vec![method("Well")] }],
        syntax: "proto3".into(),
    };
    BASE64.encode(&FileSet { files: vec![file] }.encode_to_vec())
}

#[derive(Message)]
struct FileSet {
    #[prost(message, repeated, tag = "1")]
    files: Vec<File>,
}

#[derive(Message)]
struct File {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "4")]
    messages: Vec<Structure>,
    #[prost(message, repeated, tag = "6")]
    services: Vec<Service>,
    #[prost(string, tag = "12")]
    syntax: String,
}

#[derive(Message)]
struct Structure {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    fields: Vec<Field>,
}

#[derive(Message)]
struct Field {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int32, tag = "3")]
    number: i32,
    #[prost(int32, tag = "4")]
    label: i32,
    #[prost(int32, tag = "5")]
    kind: i32,
}

#[derive(Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    methods: Vec<Method>,
}

#[derive(Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    input: String,
    #[prost(string, tag = "3")]
    output: String,
}
