//! Requests that careplane lets through, and what the router makes of them.

use anyhow::{Context, Result};
use bytes::Bytes;
use careplane_integration::{Request, poll::until};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    Run,
    application::{ACT, Application},
    chains::{APPLICATION, Chain, EMPTY, FAILING, FULL, HALF_DOWN, client},
    finish, lab, request,
    support::{SOON, request_id, versions},
};

const CHAIN: &str = "routes";

fn to(prefix: &str, route: Value) -> Value {
    json!({"match": {"prefix": format!("/api/v1/financial/{prefix}")}, "route": route})
}

fn routes() -> Chain {
    let retry = |on: &str| json!({"retry_on": on, "num_retries": 2, "retry_back_off": {"base_interval": "0.001s"}});
    let elsewhere = json!([{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
    }}]);
    let mut other_host = retry("connect-failure,5xx");
    other_host["num_retries"] = json!(1);
    other_host["retry_host_predicate"] = elsewhere;
    other_host["host_selection_retry_max_attempts"] = json!(5);
    let mut each_try = retry("5xx");
    each_try["per_try_timeout"] = json!("0.2s");
    Chain::new(CHAIN)
        .route(to("retried", json!({"cluster": APPLICATION, "retry_policy": retry("5xx,reset")})))
        .route(to("refused-thrice", json!({"cluster": FAILING, "retry_policy": retry("connect-failure")})))
        .route(to("refused", json!({"cluster": FAILING})))
        .route(to("half-down", json!({"cluster": HALF_DOWN, "retry_policy": other_host})))
        .route(to("each-try", json!({"cluster": APPLICATION, "retry_policy": each_try})))
        .route(to("slow", json!({"cluster": APPLICATION, "timeout": "0.2s"})))
        .route(to("empty", json!({"cluster": EMPTY})))
        .route(to("full", json!({"cluster": FULL})))
        .route(to("absent", json!({"cluster": "no-such-cluster"})))
        .route(json!({"match": {"prefix": "/api/v1/financial/direct"}, "direct_response": {"status": 200}}))
        .route(json!({"match": {"prefix": "/api/v1/financial/moved"}, "redirect": {"path_redirect": "/"}}))
        .route(json!({
            "match": {"prefix": "/api/v1/financial/nowhere", "headers": [{"name": "x-never", "present_match": true}]},
            "route": {"cluster": APPLICATION},
        }))
}

fn get(path: &str, act: &str) -> Request {
    let get = request(Request::get(format!("/api/v1/financial/{path}?surname=Zz9canary")));
    if act.is_empty() { get } else { get.header(ACT, act) }
}

/// A request, and what Envoy reports of its upstream.
struct Case {
    path: &'static str,
    act: &'static str,
    status: u16,
    by: &'static str,
    details: &'static str,
    flags: &'static [&'static str],
    forwarded: Option<bool>,
    attempts: Option<usize>,
    received: usize,
    cluster: Option<&'static str>,
}

const fn reached(
    path: &'static str,
    act: &'static str,
    status: u16,
    [by, details]: [&'static str; 2],
    flags: &'static [&'static str],
    attempts: usize,
) -> Case {
    let (forwarded, cluster) = (Some(true), Some(APPLICATION));
    Case { path, act, status, by, details, flags, forwarded, attempts: Some(attempts), received: attempts, cluster }
}

const fn missed(path: &'static str, status: u16, details: &'static str, flags: &'static [&'static str]) -> Case {
    Case {
        path,
        act: "",
        status,
        by: "proxy",
        details,
        flags,
        forwarded: Some(false),
        attempts: None,
        received: 0,
        cluster: None,
    }
}

const UPSTREAM: [&str; 2] = ["upstream", "via_upstream"];
const TERMINATED: &str = "upstream_reset_before_response_started{connection_termination}";
const UNREACHABLE: &str = "upstream_reset_before_response_started{remote_connection_failure}";

const CASES: &[Case] = &[
    reached("plain", "", 200, UPSTREAM, &[], 1),
    reached("plain", "status-404", 404, UPSTREAM, &[], 1),
    reached("plain", "status-500", 500, UPSTREAM, &[], 1),
    reached("plain", "reset-1", 503, ["proxy", TERMINATED], &["UC"], 1),
    reached("slow", "hang", 504, ["proxy", "response_timeout"], &["UT"], 1),
    reached("retried", "fail-1", 200, UPSTREAM, &[], 2),
    reached("retried", "reset-1", 200, UPSTREAM, &[], 2),
    reached("retried", "fail-9", 503, UPSTREAM, &["URX"], 3),
    reached("each-try", "hang", 504, ["proxy", "upstream_per_try_timeout"], &["UT", "URX"], 3),
    missed("refused", 503, UNREACHABLE, &["UF"]),
    // Three attempts failed. Envoy does not report whether one of the first two was sent.
    Case { forwarded: None, ..missed("refused-thrice", 503, UNREACHABLE, &["UF", "URX"]) },
    missed("empty", 503, "no_healthy_upstream", &["UH"]),
    missed("full", 503, "upstream_reset_before_response_started{overflow}", &["UO"]),
    missed("absent", 503, "cluster_not_found", &["NC"]),
    missed("direct", 200, "direct_response", &[]),
    missed("moved", 301, "direct_response", &[]),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_forwarded_exactly_when_the_application_received_it() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &[routes()]).start().await?;
        let mut run = Run::new(&lab, &application);
        for case in CASES {
            run.send(CHAIN, get(case.path, case.act)).await?;
        }
        for (case, seen) in CASES.iter().zip(run.finish().await?) {
            let what = format!("{version}: {} {}: {}", case.path, case.act, seen.record);
            assert_eq!(seen.response.as_ref().map(|response| response.status), Some(case.status), "{what}");
            assert_eq!(seen.received, case.received, "{what}");
            let forwarded = case.forwarded.map_or("null".to_owned(), |forwarded| forwarded.to_string());
            assert_eq!(seen.summary(), ["allowed", case.by, case.details, &forwarded], "{what}");
            assert_eq!(seen.outcome("attempts"), &json!(case.attempts), "{what}");
            assert_eq!(seen.outcome("cluster"), &json!(case.cluster), "{what}");
            let flags = seen.outcome("flags").as_array().cloned().unwrap_or_default();
            assert_eq!(flags, case.flags.iter().map(|flag| json!(flag)).collect::<Vec<_>>(), "{what}");
            assert!(seen.record["decision"]["by"].is_null(), "{what}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_count_those_that_found_no_connection_too() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &[routes()]).start().await?;
        let mut run = Run::new(&lab, &application);
        // Hosts take turns, so one of two requests meets the one that is down first.
        for _ in 0..6 {
            run.send(CHAIN, get("half-down", "")).await?;
        }
        let mut attempts = Vec::new();
        for seen in run.finish().await? {
            assert_eq!(
                (seen.received, seen.summary()),
                (1, ["allowed", "upstream", "via_upstream", "true"].map(str::to_owned))
            );
            assert_eq!(seen.outcome("cluster"), HALF_DOWN, "{version}");
            attempts.push(seen.outcome("attempts").as_u64().context("attempts")?);
        }
        assert!(attempts.contains(&2) && attempts.iter().all(|attempts| (1..=2).contains(attempts)), "{attempts:?}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_after_the_application_was_asked_has_been_forwarded() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &[routes()]).start().await?;
        let mut run = Run::new(&lab, &application);
        let id = request_id(9_999);
        let mut stream = TcpStream::connect(client(&lab, CHAIN).await?.address()).await?;
        let head =
            format!("GET /api/v1/financial/plain HTTP/1.1\r\nhost: care\r\n{ACT}: hang\r\nx-request-id: {id}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        until("the request", SOON, async || Ok((!application.received().is_empty()).then_some(()))).await?;
        drop(stream);
        run.note(&id);
        for seen in run.finish().await? {
            let expected = ["allowed", "caller", "downstream_remote_disconnect", "true"];
            assert_eq!(seen.summary(), expected, "{version}: {}", seen.record);
            assert_eq!((seen.received, seen.outcome("flags")), (1, &json!(["DC"])), "{version}");
            assert!(seen.outcome("status").is_null(), "{version}: {}", seen.record);
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_resets_its_stream_is_told_from_one_that_closes_its_connection() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &[routes()]).start().await?;
        let mut run = Run::new(&lab, &application);
        let stream = TcpStream::connect(client(&lab, CHAIN).await?.address()).await?;
        let (mut sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let driver = tokio::spawn(driver);
        let id = request_id(9_999);
        let request =
            hyper::Request::get("http://care/api/v1/financial/plain").header(ACT, "hang").header("x-request-id", &id);
        let asked = tokio::spawn(sender.send_request(request.body(Empty::<Bytes>::new())?));
        until("the request", SOON, async || Ok((!application.received().is_empty()).then_some(()))).await?;
        // A caller that no longer waits for an answer resets the stream.
        asked.abort();
        run.note(&id);
        for seen in run.finish().await? {
            let expected = ["allowed", "caller", "http2.remote_reset", "true"];
            assert_eq!(seen.summary(), expected, "{version}: {}", seen.record);
            assert_eq!((seen.received, seen.outcome("flags")), (1, &json!(["DR"])), "{version}");
        }
        driver.abort();
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_off_is_not_whole_although_its_status_is_200() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &[routes()]).start().await?;
        let mut run = Run::new(&lab, &application);
        run.send(CHAIN, get("plain", "half")).await?;
        for seen in run.finish().await? {
            assert!(seen.response.is_none(), "{version}: the caller cannot read it to its end");
            let flags = seen.outcome("flags").as_array().cloned().unwrap_or_default();
            assert!(flags.iter().any(|flag| flag == "UPE" || flag == "UC"), "{version}: {}", seen.record);
            assert_eq!((seen.received, seen.outcome("status")), (1, &json!(200)), "{version}");
            let details = seen.outcome("details").as_str().unwrap_or_default();
            assert!(details.starts_with("upstream_reset_after_response_started"), "{version}: {details}");
            assert_eq!(seen.spans.len(), 1, "{version}: a cut answer has a span: {:?}", seen.spans);
        }
        finish(lab).await?;
    }
    Ok(())
}
