//! Time limits, hedges, retries of each kind, and local answers that Envoy is told to change.

use std::time::Duration;

use anyhow::Result;
use careplane_integration::{Request, poll::until};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    Run,
    application::{ACT, Application},
    chains::{APPLICATION, Chain, FAILING, client},
    finish, lab, request,
    support::{SOON, request_id, settle_records, versions},
};

fn to(prefix: &str, members: Value) -> Value {
    let mut route = members;
    if route["cluster"].is_null() {
        route["cluster"] = json!(APPLICATION);
    }
    json!({"match": {"prefix": format!("/api/v1/financial/{prefix}")}, "route": route})
}

fn retry(on: &str, members: &Value) -> Value {
    let mut policy = json!({"retry_on": on, "num_retries": 2, "retry_back_off": {"base_interval": "0.001s"}});
    for (name, value) in members.as_object().into_iter().flatten() {
        policy[name] = value.clone();
    }
    policy
}

/// What Envoy's own answers are turned into: statuses that say nothing, and texts of any kind.
fn mappers() -> Value {
    let text = json!({"inline_string": "Zz9canary"});
    let status = |code: u16, into: u16| {
        let comparison = json!({"op": "EQ", "value": {"default_value": code, "runtime_key": "status"}});
        json!({"filter": {"status_code_filter": {"comparison": comparison}}, "status_code": into, "body": text})
    };
    let failed = json!({"filter": {"response_flag_filter": {"flags": ["UF"]}}, "status_code": 200, "body": text});
    json!({"local_reply_config": {"mappers": [failed, status(403, 404), status(400, 200)]}})
}

fn chains() -> Vec<Chain> {
    let none = json!({});
    let dead = || to("dead", json!({"cluster": FAILING}));
    let each_try = retry("5xx", &json!({"per_try_timeout": "0.2s"}));
    let routes = Chain::new("limits")
        .route(to("lasts", json!({"timeout": "5s", "max_stream_duration": {"max_stream_duration": "0.2s"}})))
        .route(to(
            "try-idles",
            json!({"retry_policy": retry("5xx", &json!({"num_retries": 0, "per_try_idle_timeout": "0.2s"}))}),
        ))
        .route(to(
            "hedged",
            json!({
                "timeout": "5s", "hedge_policy": {"hedge_on_per_try_timeout": true}, "retry_policy": each_try,
            }),
        ))
        .route(to("idles", json!({"timeout": "5s", "idle_timeout": "0.2s"})))
        .route(to("reset", json!({"retry_policy": retry("reset", &none)})))
        .route(to("before", json!({"retry_policy": retry("reset-before-request", &none)})))
        .route(to(
            "status",
            json!({
                "retry_policy": retry("retriable-status-codes", &json!({"retriable_status_codes": [418]})),
            }),
        ))
        .route(to("conflict", json!({"retry_policy": retry("retriable-4xx", &none)})))
        .route(to("all", json!({"timeout": "0.3s", "retry_policy": retry("5xx", &none)})))
        .route(json!({
            "match": {"prefix": "/api/v1/financial/fixed"},
            "direct_response": {"status": 403, "body": {"inline_string": "Zz9canary"}},
        }))
        .route(dead());
    vec![
        routes,
        Chain::new("mapped").route(dead()).manager(&mappers()),
        Chain::new("slow-body").manager(&json!({"request_timeout": "0.3s"})),
        Chain::new("idle-body").manager(&json!({"stream_idle_timeout": "0.3s"})),
        Chain::new("slow-head").manager(&json!({"request_headers_timeout": "0.3s"})),
    ]
}

/// A request, and what becomes of it. What was received is what was attempted.
struct Case {
    chain: &'static str,
    path: &'static str,
    act: &'static str,
    status: u16,
    summary: [&'static str; 3],
    flags: &'static [&'static str],
    received: usize,
}

const fn case(
    [chain, path, act]: [&'static str; 3],
    status: u16,
    summary: [&'static str; 3],
    flags: &'static [&'static str],
    received: usize,
) -> Case {
    Case { chain, path, act, status, summary, flags, received }
}

const UPSTREAM: [&str; 3] = ["allowed", "upstream", "via_upstream"];
const CUT: [&str; 3] = ["allowed", "proxy", "upstream_reset_before_response_started{connection_termination}"];
const UNREACHABLE: [&str; 3] =
    ["allowed", "proxy", "upstream_reset_before_response_started{remote_connection_failure}"];

#[rustfmt::skip]
const CASES: &[Case] = &[
    case(["limits", "lasts", "hang"], 504, ["allowed", "proxy", "max_duration_timeout"], &[], 1),
    case(
        ["limits", "try-idles", "hang"], 504, ["allowed", "proxy", "upstream_per_try_idle_timeout"], &["UT", "URX"], 1
    ),
    case(["limits", "idles", "hang"], 504, ["allowed", "proxy", "stream_idle_timeout"], &["SI"], 1),
    case(["limits", "all", "hang"], 504, ["allowed", "proxy", "response_timeout"], &["UT"], 1),
    // All attempts of a hedge are on their way at once.
    case(["limits", "hedged", "hang"], 504, ["allowed", "proxy", "response_timeout"], &["UT", "URX"], 3),
    case(["limits", "hedged", "hang-1"], 200, UPSTREAM, &[], 2),
    case(["limits", "reset", "reset-1"], 200, UPSTREAM, &[], 2),
    case(["limits", "reset", "reset-9"], 503, CUT, &["UC", "URX"], 3),
    case(["limits", "before", "reset-1"], 503, CUT, &["UC"], 1),
    case(["limits", "status", "status-418"], 418, UPSTREAM, &["URX"], 3),
    case(["limits", "conflict", "status-409"], 409, UPSTREAM, &["URX"], 3),
    // A route that answers is no filter that refuses.
    case(["limits", "fixed", ""], 403, ["allowed", "proxy", "direct_response"], &[], 0),
    case(["mapped", "plain", "status-503"], 503, UPSTREAM, &[], 1),
    case(["mapped", "dead", ""], 200, UNREACHABLE, &["UF"], 0),
];

#[tokio::test(flavor = "multi_thread")]
async fn whichever_limit_ends_a_request_the_record_says_how_often_it_was_sent() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &chains()).start().await?;
        let mut run = Run::new(&lab, &application);
        for case in CASES {
            let path = format!("/api/v1/financial/{}?surname=Zz9canary", case.path);
            run.send(case.chain, request(Request::get(path)).header(ACT, case.act)).await?;
        }
        for (case, seen) in CASES.iter().zip(run.finish().await?) {
            let what = format!("{version}: {} {} {}: {}", case.chain, case.path, case.act, seen.record);
            let [result, by, details] = case.summary;
            assert_eq!(seen.response.as_ref().map(|response| response.status), Some(case.status), "{what}");
            assert_eq!(seen.received, case.received, "{what}");
            assert_eq!(
                seen.summary(),
                [result, by, details, if case.received > 0 { "true" } else { "false" }],
                "{what}"
            );
            let attempts = if case.received > 0 { json!(case.received) } else { Value::Null };
            assert_eq!(seen.outcome("attempts"), &attempts, "{what}");
            assert_eq!(seen.outcome("cluster").is_null(), case.received == 0, "{what}");
            let flags: Vec<_> = seen.outcome("flags").as_array().into_iter().flatten().collect();
            assert_eq!(flags, case.flags, "{what}");
            assert_eq!(seen.spans.len(), usize::from(case.status >= 500), "{what}: {:?}", seen.spans);
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_stays_one_whatever_status_its_answer_is_given() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &chains()).start().await?;
        let mut run = Run::new(&lab, &application);
        run.send("mapped", request(Request::get("/api/v1/residents"))).await?;
        let twice = request(Request::get("/api/v1/financial"))
            .header("x-tenant-id", "care-home-0001")
            .header("x-tenant-id", "Zz9canary");
        run.send("mapped", twice).await?;
        let expected = [(404, "careplane{tenant-missing}"), (200, "careplane{identity-repeated}")];
        for ((status, details), seen) in expected.into_iter().zip(run.finish().await?) {
            let what = format!("{version}: {}", seen.record);
            assert_eq!(seen.response.as_ref().map(|response| response.status), Some(status), "{what}");
            assert_eq!(seen.summary(), ["denied", "careplane", details, "false"], "{what}");
            assert_eq!((seen.received, seen.spans.len()), (0, 1), "{what}");
        }
        finish(lab).await?;
    }
    Ok(())
}

/// Sends the beginning of a request, and waits for an answer.
async fn begin(address: std::net::SocketAddr, id: &str, rest: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("POST /api/v1/financial/slow HTTP/1.1\r\nhost: care\r\nx-request-id: {id}\r\n{rest}");
    stream.write_all(head.as_bytes()).await?;
    Ok(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_became_whole_was_forwarded_as_far_as_it_came() -> Result<()> {
    const BODY: &str = "content-length: 100\r\n\r\nZz9canary";
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &chains()).start().await?;
        let mut run = Run::new(&lab, &application);
        for chain in ["slow-body", "idle-body"] {
            let id = request_id(9_999);
            let mut stream = begin(client(&lab, chain).await?.address(), &id, BODY).await?;
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await?;
            assert_eq!(&answer, b"HTTP/1.1 408", "{version}: {chain}");
            run.note(&id);
        }
        // A caller that leaves in the middle of its body.
        let id = request_id(9_999);
        let sent = "cluster.application.upstream_rq_active";
        let stream = begin(client(&lab, "limits").await?.address(), &id, BODY).await?;
        until("the request to be on its way", SOON, async || Ok((lab.envoy().stat(sent).await? > 0).then_some(())))
            .await?;
        drop(stream);
        run.note(&id);
        let expected = [
            ("proxy", "request_overall_timeout"),
            ("proxy", "stream_idle_timeout"),
            ("caller", "downstream_remote_disconnect"),
        ];
        for ((by, details), seen) in expected.into_iter().zip(run.finish().await?) {
            assert_eq!(seen.summary(), ["allowed", by, details, "true"], "{version}: {}", seen.record);
            assert_eq!((seen.received, seen.outcome("attempts")), (1, &json!(1)), "{version}: {}", seen.record);
        }

        // Of what has no head, nothing is known but that it came.
        let before = settle_records(&lab).await?.len();
        let mut stream =
            begin(client(&lab, "slow-head").await?.address(), &request_id(9_999), "x-a: Zz9canary").await?;
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await??;
        assert!(answer.starts_with(b"HTTP/1.1 408"), "{version}: {}", String::from_utf8_lossy(&answer));
        let record = until("its record", SOON, async || Ok(lab.audit_log().records()?.into_iter().nth(before))).await?;
        assert_eq!(record["decision"], json!({"result": "none"}), "{version}: {record}");
        let outcome = ["answeredBy", "details", "forwarded"].map(|member| &record["outcome"][member]);
        assert_eq!(outcome, [&json!("proxy"), &json!("request_header_timeout"), &json!(false)], "{version}: {record}");
        finish(lab).await?;
    }
    Ok(())
}
