//! Requests that are more than a question and an answer: a head that takes its time, a body that waits to be asked for,
//! upgrades, gRPC streams, trailers, and callers and upstreams that go away in the middle, in each phase.

mod application;
mod resets;

#[path = "../support/mod.rs"]
mod support;

use anyhow::{Context, Result};
use application::{Application, LAST, TUNNEL, read_head};
use bytes::Bytes;
use careplane_integration::{
    Lab, Reload, Request,
    frames::{Frames, frames},
    lab::Builder,
};
use http_body_util::BodyExt;
use hyper::{HeaderMap, client::conn::http2, header::HeaderName};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use support::{SOON, health::finish, observe_one, request_id, status, token, versions, without_reason};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// Of trailers: near Envoy's limit of 60 KiB for one set of headers.
pub const HUGE: usize = 48 * 1024;

/// A lab in which `/stage` and `/care.v1.` lead to applications of these tests.
fn lab(stage: &Application, echo: &Application) -> Builder {
    let (stage, echo) = (stage.address, echo.address);
    Lab::builder().patch(move |document| {
        for listener in document["static_resources"]["listeners"].as_array_mut().expect("listeners") {
            let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
            manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
            let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().expect("routes");
            for (prefix, cluster) in [("/stage", "stage"), ("/care.v1.", "echo")] {
                let route = json!({"match": {"prefix": prefix}, "route": {"cluster": cluster, "timeout": "0s"}});
                routes.insert(0, route);
            }
        }
        let http2 = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }});
        let clusters = document["static_resources"]["clusters"].as_array_mut().expect("clusters");
        for (name, address, options) in [("stage", stage, json!({})), ("echo", echo, http2)] {
            let socket = json!({"address": address.ip(), "port_value": address.port()});
            clusters.push(json!({
                "name": name, "type": "STATIC", "connect_timeout": "1s", "typed_extension_protocol_options": options,
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {
                    "address": {"socket_address": socket},
                }}]}]},
            }));
        }
    })
}

/// The record of the request with this id, once it is there.
async fn record(lab: &Lab, id: &str) -> Result<Value> {
    let id = without_reason(id);
    careplane_integration::poll::until("a record", SOON, async || {
        let mut records = lab.audit_log().records()?.into_iter();
        Ok(records.find(|record| record["request"]["id"].as_str().is_some_and(|it| without_reason(it) == id)))
    })
    .await
}

/// Lines of a head, without the empty line that ends it.
fn head(lab: &Lab, line: &str, id: &str) -> Result<String> {
    Ok(format!("{line}\r\nhost: care\r\nx-request-id: {id}\r\nauthorization: Bearer {}\r\n", token(lab)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_come_byte_by_byte_keep_nobody_waiting_and_are_served_in_the_end() -> Result<()> {
    for version in versions() {
        const SLOW: usize = 200;
        let (stage, echo) = (Application::stage().await?, Application::echo().await?);
        let lab = lab(&stage, &echo).version(version).start().await?;
        let served = async |slow: usize| {
            let seen = observe_one(&lab, &lab.gateway(), Request::get("/elsewhere").bearer(&token(&lab)?)).await?;
            anyhow::ensure!(seen.response.status == 200, "with {slow} slow heads: {}", seen.response.status);
            anyhow::Ok(())
        };
        let mut callers = Vec::new();
        for _ in 0..SLOW {
            let mut stream = TcpStream::connect(lab.gateway().address()).await?;
            stream.set_nodelay(true)?;
            let id = request_id(0);
            let mut bytes = head(&lab, "GET /elsewhere HTTP/1.1", &id)?.into_bytes();
            bytes.extend(b"connection: close\r\n\r\n");
            let rest = bytes.split_off(1);
            stream.write_all(&bytes).await?;
            callers.push((stream, rest, id));
        }
        served(SLOW).await?;
        // All in turns, a byte each; streams that never finish stay until the end.
        let longest = callers.iter().map(|(_, rest, _)| rest.len()).max().unwrap_or_default();
        let patient = callers.split_off(SLOW / 2);
        for byte in 0..longest {
            for (stream, rest, _) in &mut callers {
                if let Some(byte) = rest.get(byte) {
                    stream.write_u8(*byte).await?;
                }
            }
            if byte % 100 == 0 {
                served(SLOW).await?;
            }
        }
        for (mut stream, _, id) in callers {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            assert_eq!(status(&answer), Some(200));
            assert_eq!(record(&lab, &id).await?["outcome"]["status"], 200);
        }
        drop(patient);
        served(0).await?;
        finish(lab).await?;
    }
    Ok(())
}

/// Sends a head with `more` fields on a connection of its own; returns that, and the first head that comes back.
async fn ask(lab: &Lab, line: &str, id: &str, more: &str) -> Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(lab.gateway().address()).await?;
    stream.write_all(format!("{}{more}\r\n", head(lab, line, id)?).as_bytes()).await?;
    let (answer, _) = read_head(&mut stream).await?;
    Ok((stream, answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_waits_to_be_asked_for_is_asked_for_and_a_refusal_needs_none() -> Result<()> {
    for version in versions() {
        let (mut stage, echo) = (Application::stage().await?, Application::echo().await?);
        let lab = lab(&stage, &echo).version(version).start().await?;
        let ask = async |id: &str, more: &str| {
            let more = format!("{more}expect: 100-continue\r\ncontent-length: 4\r\n");
            ask(&lab, "POST /stage/body HTTP/1.1", id, &more).await
        };
        let id = request_id(0);
        let (mut stream, answer) = ask(&id, "").await?;
        assert!(answer.starts_with("HTTP/1.1 100 Continue"), "{answer}");
        stream.write_all(b"body").await?;
        let (answer, _) = read_head(&mut stream).await?;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(stage.reached().await?, "/stage/body");
        assert_eq!(record(&lab, &id).await?["outcome"]["status"], 200);

        let id = request_id(0);
        let (mut stream, mut answer) = ask(&id, "x-tenant-id: a\r\nx-tenant-id: b\r\n").await?;
        // Envoy asks for the body before it calls a filter.
        if answer.starts_with("HTTP/1.1 100") {
            (answer, _) = read_head(&mut stream).await?;
        }
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(!stage.was_reached());
        assert_eq!(record(&lab, &id).await?["outcome"]["status"], 400);
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_carries_bytes_both_ways_through_a_change_of_policy_and_is_one_record() -> Result<()> {
    for version in versions() {
        let (mut stage, echo) = (Application::stage().await?, Application::echo().await?);
        // Longer than it takes: upgraded connections stay on the old listener.
        let lab = lab(&stage, &echo).version(version).drain(2 * SOON).start().await?;
        let ask = async |id: &str, more: &str| {
            let more = format!("{more}connection: upgrade\r\nupgrade: websocket\r\n");
            ask(&lab, "GET /stage/websocket HTTP/1.1", id, &more).await
        };
        let id = request_id(0);
        let (mut stream, answer) = ask(&id, "").await?;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        assert_eq!(stage.reached().await?, "/stage/websocket");
        for percent in [20, 30] {
            let (mut reader, mut writer) = stream.split();
            let sent: Vec<u8> = (0..1 << 20).map(|byte: u32| byte as u8).collect();
            let mut received = vec![0; sent.len()];
            tokio::try_join!(writer.write_all(&sent), reader.read_exact(&mut received))?;
            assert!(sent == received, "what came back is not what was sent");
            let mut policy = lab.policy().clone();
            policy["sampling"]["tiers"]["default"] = percent.into();
            assert_eq!(lab.reload(&policy).await?, Reload::Accepted);
        }
        drop(stream);
        let record = record(&lab, &id).await?;
        assert_eq!(
            (&record["outcome"]["status"], &record["outcome"]["cluster"]),
            (&json!(101), &json!("stage")),
            "{record}"
        );

        let id = request_id(0);
        let (_stream, answer) = ask(&id, "x-tenant-id: a\r\nx-tenant-id: b\r\n").await?;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(!stage.was_reached());
        finish(lab).await?;
    }
    Ok(())
}

/// Nothing was cut off: each side may say that it has said all.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_switched_was_answered_by_the_application_whichever_side_ends_it() -> Result<()> {
    for version in versions() {
        let (mut stage, echo) = (Application::stage().await?, Application::echo().await?);
        let lab = lab(&stage, &echo)
            .version(version)
            .patch(|document| {
                for listener in document["static_resources"]["listeners"].as_array_mut().expect("listeners") {
                    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
                    manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}]);
                    let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().expect("routes");
                    routes.insert(0, json!({"match": {"connect_matcher": {}}, "route": {"cluster": "stage"}}));
                }
            })
            // No token is asked for where there is no path.
            .policy(|policy| policy["identity"]["tenant"]["required"] = false.into())
            .start()
            .await?;
        for (line, more, status) in [
            ("GET /stage/word HTTP/1.1", "connection: upgrade\r\nupgrade: websocket\r\n", 101),
            (&*format!("CONNECT {TUNNEL} HTTP/1.1"), "", 200),
        ] {
            for word in [LAST, *b"more"] {
                let id = request_id(0);
                let (mut stream, answer) = ask(&lab, line, &id, more).await?;
                assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{version}: {answer}");
                stage.reached().await?;
                let mut echoed = [0; LAST.len()];
                stream.write_all(&word).await?;
                stream.read_exact(&mut echoed).await?;
                if word == LAST {
                    // The application goes first.
                    let _ = stream.read(&mut echoed).await;
                }
                drop(stream);
                let record = record(&lab, &id).await?;
                let outcome = ["status", "answeredBy", "forwarded"].map(|member| &record["outcome"][member]);
                assert_eq!(outcome, [&json!(status), &json!("upstream"), &json!(true)], "{version}: {record}");
            }
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_streams_go_both_ways_and_end_with_large_trailers() -> Result<()> {
    for version in versions() {
        const CALLS: usize = 20;
        let (stage, echo) = (Application::stage().await?, Application::echo().await?);
        let lab = lab(&stage, &echo).version(version).start().await?;
        let stream = TcpStream::connect(lab.gateway().address()).await?;
        let mut client = http2::Builder::new(TokioExecutor::new());
        let (sender, driver) = client.max_header_list_size(2 * HUGE as u32).handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        let mut calls = JoinSet::new();
        for _ in 0..CALLS {
            calls.spawn(call(sender.clone(), request_id(0), token(&lab)?));
        }
        while let Some(id) = calls.join_next().await {
            let record = record(&lab, &id??).await?;
            assert_eq!(
                (&record["outcome"]["status"], &record["outcome"]["grpcStatus"]),
                (&json!(200), &json!(0)),
                "{record}"
            );
        }
        finish(lab).await?;
    }
    Ok(())
}

/// A hundred messages, each sent when the one before has come back; then trailers, which come back too. Returns the
/// request's id.
async fn call(mut sender: http2::SendRequest<Frames>, id: String, token: String) -> Result<String> {
    let (messages, body) = frames(1);
    let request = hyper::Request::post("http://care/care.v1.Residents/Watch")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {token}"))
        .header("x-request-id", &id)
        .body(body)?;
    let response = sender.send_request(request).await?;
    anyhow::ensure!(response.status() == 200, "{}", response.status());
    let mut answer = response.into_body();
    for number in 0..100_u8 {
        let message = Bytes::from(vec![0, 0, 0, 0, 1, number]);
        messages.data(message.clone()).await?;
        let frame = answer.frame().await.context("the stream has ended")??;
        anyhow::ensure!(frame.into_data().is_ok_and(|data| data == message), "message {number} did not come back");
    }
    let mut trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), "0".parse()?)]);
    for number in 0..HUGE / 1024 {
        trailers.insert(HeaderName::try_from(format!("x-large-{number}"))?, "t".repeat(1000).parse()?);
    }
    messages.trailers(trailers.clone()).await?;
    drop(messages);
    let frame = answer.frame().await.context("there are no trailers")??;
    let returned = frame.into_trailers().ok().context("no trailers, but more data")?;
    anyhow::ensure!(trailers.iter().all(|(name, value)| returned.get(name) == Some(value)), "trailers were lost");
    Ok(id)
}
