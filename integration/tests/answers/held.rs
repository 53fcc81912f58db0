//! Requests that wait for their evidence, and that the proxy or the caller ends before it comes.

use std::time::Duration;

use anyhow::Result;
use careplane_integration::{Request, otlp::Answer, poll::until};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    Run,
    application::Application,
    chains::{APPLICATION, Chain, client},
    finish_without_chains, lab, request,
    support::{SOON, request_id, token, versions},
};

const CRITICAL: &str = "/api/v1/medications/administer";
/// Longer than any of these requests is held.
const SLOW: Answer = Answer::Delay(Duration::from_secs(3));

fn route(route: Value) -> Value {
    json!({"match": {"prefix": "/"}, "route": route})
}

fn chains() -> [Chain; 5] {
    let lasts = json!({"common_http_protocol_options": {"max_stream_duration": "0.5s"}});
    [
        Chain::new("idle").manager(&json!({"stream_idle_timeout": "0.5s"})),
        Chain::new("lasts").manager(&lasts),
        Chain::new("route-idle").route(route(json!({"cluster": APPLICATION, "idle_timeout": "0.5s"}))),
        Chain::new("route-lasts").route(route(json!({
            "cluster": APPLICATION, "timeout": "0.1s", "max_stream_duration": {"max_stream_duration": "0.5s"},
        }))),
        Chain::new("patient"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_request_that_ends_before_its_evidence_comes_was_not_forwarded() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &chains())
            .policy(|policy| {
                policy["audit"] = json!({
                    "sinks": {"accessLog": true, "otlp": true, "proxyLog": "overflow"}, "writeAhead": ["critical"],
                });
                policy["export"]["timeout"] = json!("10s");
            })
            .start()
            .await?;
        lab.otlp().answer(SLOW);
        let token = token(&lab)?;
        let mut run = Run::new(&lab, &application);
        for chain in ["idle", "lasts", "route-idle", "route-lasts"] {
            let held = request(Request::post(CRITICAL, "{}")).header("x-correlation-id", "c-1");
            run.send(chain, held.bearer(&token)).await?;
        }
        let id = request_id(9_999);
        let mut stream = TcpStream::connect(client(&lab, "patient").await?.address()).await?;
        let head = format!("POST {CRITICAL} HTTP/1.1\r\nhost: care\r\ncontent-length: 0\r\nx-request-id: {id}\r\n");
        stream.write_all(format!("{head}authorization: Bearer {token}\r\n\r\n").as_bytes()).await?;
        until("the intent to be on its way", SOON, async || Ok((lab.otlp().exports().len() >= 5).then_some(())))
            .await?;
        drop(stream);
        run.note(&id);
        lab.otlp().answer(Answer::Accept);

        let expected = [
            ("proxy", "stream_idle_timeout"),
            ("proxy", "max_duration_timeout"),
            ("proxy", "stream_idle_timeout"),
            // The timeout of a route begins at the router, which has not seen it.
            ("proxy", "max_duration_timeout"),
            ("caller", "downstream_remote_disconnect"),
        ];
        for (seen, (by, details)) in run.finish().await?.iter().zip(expected) {
            assert_eq!(seen.summary(), ["none", by, details, "false"], "{version}: {}", seen.record);
            assert_eq!(seen.received, 0, "{version}: {}", seen.record);
            if let Some(response) = &seen.response {
                assert_eq!(response.headers["x-correlation-id"], "c-1", "{version}: {details}");
            }
            for absent in ["cluster", "attempts"] {
                assert!(seen.outcome(absent).is_null(), "{version}: {}", seen.record);
            }
            assert!(seen.record["intent"].is_number(), "{version}: {}", seen.record);
        }
        finish_without_chains(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_held_request_carries_it_nowhere_whatever_the_plugin_is_allowed() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &chains())
            .policy(|policy| {
                policy["audit"] = json!({"sinks": {"accessLog": true, "otlp": true}, "writeAhead": ["critical"]});
                policy["export"]["timeout"] = json!("0.5s");
            })
            .patch(|document| {
                for listener in document["static_resources"]["listeners"].as_array_mut().expect("listeners") {
                    let filters = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
                    for filter in filters.as_array_mut().expect("filters") {
                        if filter["typed_config"]["config"].get("vm_config").is_some() {
                            filter["typed_config"]["config"]["allow_on_headers_stop_iteration"] = json!(true);
                        }
                    }
                }
            })
            .start()
            .await?;
        lab.otlp().answer(Answer::Hang);
        let mut run = Run::new(&lab, &application).without_spans();
        run.send("patient", request(Request::post(CRITICAL, "{}")).bearer(&token(&lab)?)).await?;
        lab.otlp().answer(Answer::Accept);
        for seen in run.finish().await? {
            let expected = ["denied", "careplane", "careplane{evidence-unavailable}", "false"];
            assert_eq!(seen.summary(), expected, "{version}: {}", seen.record);
            assert_eq!(seen.received, 0, "{version}: no evidence, no action");
        }
        finish_without_chains(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_request_that_is_let_go_is_forwarded_once() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &chains())
            .policy(|policy| {
                policy["audit"] = json!({
                    "sinks": {"accessLog": true, "otlp": true, "proxyLog": "overflow"}, "writeAhead": ["critical"],
                });
            })
            .start()
            .await?;
        let mut run = Run::new(&lab, &application);
        run.send("patient", request(Request::post(CRITICAL, "{}")).bearer(&token(&lab)?)).await?;
        for seen in run.finish().await? {
            assert_eq!(seen.summary(), ["allowed", "upstream", "via_upstream", "true"], "{version}: {}", seen.record);
            assert_eq!((seen.received, seen.outcome("attempts")), (1, &json!(1)), "{version}");
        }
        finish_without_chains(lab).await?;
    }
    Ok(())
}
