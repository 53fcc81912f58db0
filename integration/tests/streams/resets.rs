//! Callers and upstreams that go away, in each phase, in good order or by a reset. Each request that reached careplane
//! is on record, once, with its end.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use careplane_integration::{
    Lab, Request,
    frames::{Frames, frames},
    health::CREATED,
};
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::net::sockopt::set_socket_linger;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    application::Application,
    head, lab, record,
    support::{health::finish, request_id, settle_records, status, token, versions, without_reason},
};

/// How far a request has come when its caller goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Half of the head was sent. Only Envoy knows of it.
    Head,
    /// The application has the head, and no body.
    BeforeTheBody,
    InTheBody,
    /// The application has everything, and has not answered.
    Waiting,
    InTheAnswer,
}

const PHASES: [Phase; 5] = [Phase::Head, Phase::BeforeTheBody, Phase::InTheBody, Phase::Waiting, Phase::InTheAnswer];

impl Phase {
    fn path(self) -> &'static str {
        if self == Self::InTheAnswer { "/stage/half" } else { "/stage/silent" }
    }

    /// What the record says that the caller got.
    fn status(self) -> Value {
        if self == Self::InTheAnswer { json!(200) } else { json!(null) }
    }
}

/// A caller over HTTP/1.1 that goes, in good order or by a reset of TCP.
async fn go(lab: &Lab, stage: &mut Application, phase: Phase, reset: bool, id: &str) -> Result<()> {
    let mut stream = TcpStream::connect(lab.gateway().address()).await?;
    if reset {
        set_socket_linger(&stream, Some(Duration::ZERO))?;
    }
    let head = head(lab, &format!("POST {} HTTP/1.1", phase.path()), id)?;
    let bytes = match phase {
        Phase::Head => head,
        Phase::BeforeTheBody => format!("{head}content-length: 4\r\n\r\n"),
        Phase::InTheBody => format!("{head}content-length: 4\r\n\r\nbo"),
        Phase::Waiting | Phase::InTheAnswer => format!("{head}content-length: 4\r\n\r\nbody"),
    };
    stream.write_all(bytes.as_bytes()).await?;
    if phase != Phase::Head {
        stage.reached().await?;
    }
    if phase == Phase::InTheAnswer {
        read_until(&mut stream, b"half").await?;
    }
    Ok(())
}

/// A caller over HTTP/2 that resets its stream, and keeps its connection.
async fn reset_stream(
    sender: &mut http2::SendRequest<Frames>,
    stage: &mut Application,
    phase: Phase,
    id: &str,
    token: &str,
) -> Result<()> {
    let (messages, body) = frames(1);
    let request = hyper::Request::post(format!("http://care{}", phase.path()))
        .header("authorization", format!("Bearer {token}"))
        .header("x-request-id", id)
        .body(body)?;
    if phase == Phase::InTheBody {
        messages.data("bo").await?;
    }
    let answer = tokio::spawn(sender.send_request(request));
    stage.reached().await?;
    match phase {
        Phase::Head => unreachable!("a stream begins with a whole head"),
        // Dropping the future resets the stream.
        Phase::BeforeTheBody | Phase::InTheBody => answer.abort(),
        Phase::Waiting => {
            drop(messages);
            answer.abort();
        }
        Phase::InTheAnswer => {
            let mut body = answer.await??.into_body();
            ensure!(body.frame().await.is_some_and(|frame| frame.is_ok()), "no half of an answer");
        }
    }
    Ok(())
}

async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        bytes.push(stream.read_u8().await?);
    }
    Ok(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_in_whatever_phase_is_on_record_once() -> Result<()> {
    for version in versions() {
        let (mut stage, echo) = (Application::stage().await?, Application::echo().await?);
        let lab = lab(&stage, &echo).version(version).start().await?;
        let created = lab.envoy().stat(CREATED).await?;
        let token = token(&lab)?;
        let (mut unheard, mut expected) = (Vec::new(), BTreeMap::new());
        for phase in PHASES {
            for reset in [false, true] {
                let id = request_id(0);
                go(&lab, &mut stage, phase, reset, &id).await?;
                match phase {
                    Phase::Head => unheard.push(without_reason(&id)),
                    _ => drop(expected.insert(id, (format!("HTTP/1.1, {phase:?}, reset: {reset}"), phase.status()))),
                }
            }
        }
        let stream = TcpStream::connect(lab.gateway().address()).await?;
        let (mut sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        for phase in PHASES.into_iter().filter(|phase| *phase != Phase::Head) {
            let id = request_id(0);
            reset_stream(&mut sender, &mut stage, phase, &id, &token).await?;
            expected.insert(id, (format!("HTTP/2, {phase:?}"), phase.status()));
        }
        // Two whose application goes.
        let id = request_id(0);
        let response =
            lab.gateway().send(Request::get("/stage/reset").bearer(&token).header("x-request-id", &id)).await?;
        assert_eq!(response.status, 503);
        expected.insert(id, ("the application, before it answers".to_owned(), json!(503)));
        let id = request_id(0);
        let mut stream = TcpStream::connect(lab.gateway().address()).await?;
        let head = head(&lab, "POST /stage/half-reset HTTP/1.1", &id)?;
        stream.write_all(format!("{head}content-length: 1\r\n\r\n").as_bytes()).await?;
        let answer = read_until(&mut stream, b"half").await?;
        assert_eq!(status(&answer), Some(200));
        stream.write_all(b"!").await?;
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or_default(), 0, "it ends here");
        expected.insert(id, ("the application, in its answer".to_owned(), json!(200)));

        for (id, (what, status)) in &expected {
            let record = record(&lab, id).await?;
            assert_eq!(&record["outcome"]["status"], status, "{what}: {record}");
        }
        let records = settle_records(&lab).await?;
        let ids: Vec<String> =
            records.iter().filter_map(|it| it["request"]["id"].as_str()).map(without_reason).collect();
        for id in expected.keys().map(|id| without_reason(id)) {
            assert_eq!(ids.iter().filter(|it| **it == id).count(), 1, "{id} is there once");
        }
        assert!(!unheard.iter().any(|id| ids.contains(id)), "half a head is no request");
        assert_eq!(lab.envoy().stat(CREATED).await?, created, "a VM was made again");
        finish(lab).await?;
    }
    Ok(())
}
