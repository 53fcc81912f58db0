//! Trailers: an application may take them for headers, so what a caller may not write there is removed.

use std::convert::Infallible;

use anyhow::Result;
use careplane_integration::{Lab, frames::frames};
use http_body_util::BodyExt;
use hyper::{HeaderMap, client::conn::http2, header::HeaderName};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    Run,
    application::Application,
    chains::{Chain, GRPC, client},
    finish_without_chains, lab,
    support::{request_id, token, versions},
};

/// Critical, so that it is held until its intent is acknowledged.
const HELD: &str = "/api/v1/medications/administer";
const PLAIN: &str = "/api/v1/financial/accounts";

fn trailers(folded: &'static str) -> [(&'static str, &'static str); 3] {
    [("x-tenant-id", "care-home-0001"), (folded, "Zz9canary"), ("x-checksum", "c0ffee")]
}

async fn over_http1(lab: &Lab, path: &str, id: &str) -> Result<()> {
    let mut stream = TcpStream::connect(client(lab, "trailers").await?.address()).await?;
    let lines: String = trailers("x_user_id").iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("POST {path} HTTP/1.1\r\nhost: care\r\nx-request-id: {id}\r\nconnection: close\r\n");
    let head = format!("{head}authorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\r\n", token(lab)?);
    stream.write_all(format!("{head}2\r\n{{}}\r\n0\r\n{lines}\r\n").as_bytes()).await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(())
}

async fn over_http2(lab: &Lab, path: &str, id: &str) -> Result<()> {
    let stream = TcpStream::connect(client(lab, "trailers").await?.address()).await?;
    let (mut sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    let (parts, body) = frames::<Infallible>(2);
    let request = hyper::Request::post(format!("http://care{path}"))
        .header("x-request-id", id)
        .header("authorization", format!("Bearer {}", token(lab)?))
        .body(body)?;
    let named = |(name, value): (&'static str, &str)| Ok((HeaderName::from_static(name), value.parse()?));
    let trailers = trailers("x_user_id").into_iter().map(named).collect::<Result<HeaderMap>>()?;
    let answer = sender.send_request(request);
    parts.data("{}").await?;
    parts.trailers(trailers).await?;
    drop(parts);
    answer.await?.into_body().collect().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_in_trailers_never_arrives_and_the_attempt_is_on_record_also_of_a_held_request() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let chain = Chain::new("trailers")
            .manager(&json!({"http_protocol_options": {"enable_trailers": true}}))
            .route(json!({"match": {"prefix": "/"}, "route": {"cluster": GRPC}}));
        let lab = lab(version, &application, &[chain])
            .policy(|policy| {
                policy["audit"] = json!({"sinks": {"accessLog": true, "otlp": true}, "writeAhead": ["critical"]});
            })
            .start()
            .await?;
        let mut run = Run::new(&lab, &application);
        for path in [PLAIN, HELD] {
            let id = request_id(9_999);
            over_http1(&lab, path, &id).await?;
            run.note(&id);
            let id = request_id(9_999);
            over_http2(&lab, path, &id).await?;
            run.note(&id);
        }
        let outcomes = run.finish().await?;
        for seen in &outcomes {
            assert_eq!(seen.summary(), ["allowed", "upstream", "via_upstream", "true"], "{version}: {}", seen.record);
            let forged: Vec<_> = seen.record["who"]["forgedHeaders"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            assert!(forged.contains(&"x-tenant-id") && forged.contains(&"x-user-id"), "{version}: {}", seen.record);
        }
        let arrived = application.received();
        assert_eq!(arrived.len(), 4, "{version}");
        for received in arrived {
            assert_eq!(received.trailers, ["x-checksum"], "{version}: harmless trailers pass");
        }
        finish_without_chains(lab).await?;
    }
    Ok(())
}
