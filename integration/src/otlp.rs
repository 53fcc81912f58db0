//! A receiver for OTLP/HTTP traces and logs, in protobuf (Envoy) and in JSON (careplane).

mod flat;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, header::HeaderValue};
use opentelemetry_proto::tonic::collector::{
    logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse},
    trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
};
use prost::Message;
use serde_json::json;

pub use self::flat::{LogRecord, Span};
use crate::{poll::until, server::Server};

/// How the receiver answers an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// 200, and keep what came.
    #[default]
    Accept,
    /// This status, and keep nothing.
    Refuse(u16),
    /// Keep nothing and never answer: the sender's timeout must end it.
    Hang,
}

/// One export request, whatever became of it.
#[derive(Clone, Debug)]
pub struct Export {
    /// `/v1/traces` or `/v1/logs`.
    pub path: String,
    /// The media type it came in.
    pub content_type: String,
    /// Spans or log records in it; 0 when it could not be read.
    pub items: usize,
    /// The status answered; `None` for no answer.
    pub status: Option<u16>,
    /// What was wrong with it, when it could not be read.
    pub error: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    answer: Answer,
    spans: Vec<Span>,
    logs: Vec<LogRecord>,
    exports: Vec<Export>,
}

/// A running receiver on a loopback port.
#[derive(Debug)]
pub struct Otlp {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Otlp {
    /// Starts a receiver that accepts everything.
    ///
    /// # Errors
    ///
    /// When loopback offers no port.
    pub async fn start() -> Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| receive(Arc::clone(&shared), request)).await?;
        Ok(Self { server, state })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Changes how exports are answered from now on.
    pub fn answer(&self, answer: Answer) {
        self.state().answer = answer;
    }

    /// The spans accepted so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.state().spans.clone()
    }

    /// The log records accepted so far.
    #[must_use]
    pub fn logs(&self) -> Vec<LogRecord> {
        self.state().logs.clone()
    }

    /// All exports so far, accepted or not.
    #[must_use]
    pub fn exports(&self) -> Vec<Export> {
        self.state().exports.clone()
    }

    /// Forgets spans, log records and exports.
    pub fn clear(&self) {
        let mut state = self.state();
        *state = State { answer: state.answer, ..State::default() };
    }

    /// Waits until at least `count` spans were accepted, and returns all.
    ///
    /// # Errors
    ///
    /// When fewer have come after `deadline`.
    pub async fn wait_for_spans(&self, count: usize, deadline: Duration) -> Result<Vec<Span>> {
        self.wait_until_spans(&format!("{count} spans"), deadline, |spans| spans.len() >= count).await
    }

    /// Waits until the accepted spans satisfy `enough`, and returns all. `what` names them in the error.
    ///
    /// # Errors
    ///
    /// When they do not after `deadline`.
    pub async fn wait_until_spans(
        &self,
        what: &str,
        deadline: Duration,
        enough: impl Fn(&[Span]) -> bool,
    ) -> Result<Vec<Span>> {
        until(what, deadline, async || Ok(Some(self.spans()).filter(|spans| enough(spans)))).await
    }

    /// Waits until at least `count` log records were accepted, and returns all.
    ///
    /// # Errors
    ///
    /// When fewer have come after `deadline`.
    pub async fn wait_for_logs(&self, count: usize, deadline: Duration) -> Result<Vec<LogRecord>> {
        let what = format!("{count} log records");
        until(&what, deadline, async || Ok(Some(self.logs()).filter(|logs| logs.len() >= count))).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an export holds, and how it wants to be answered.
enum Payload {
    Spans(Vec<Span>),
    Logs(Vec<LogRecord>),
}

async fn receive(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let content_type =
        request.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let encoded = request.headers().contains_key("content-encoding");
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();

    let payload = if encoded { Err(anyhow::anyhow!("compressed")) } else { parse(&path, &content_type, &body) };
    let mut export = Export { path, content_type, items: 0, status: Some(200), error: None };
    let hang = {
        let mut state = lock(&state);
        match (payload, state.answer) {
            (Err(error), _) => {
                export.status = Some(400);
                export.error = Some(format!("{error:#}"));
            }
            (Ok(payload), Answer::Accept) => {
                export.items = payload.len();
                match payload {
                    Payload::Spans(spans) => state.spans.extend(spans),
                    Payload::Logs(logs) => state.logs.extend(logs),
                }
            }
            (Ok(payload), Answer::Refuse(status)) => {
                export.items = payload.len();
                export.status = Some(status);
            }
            (Ok(payload), Answer::Hang) => {
                export.items = payload.len();
                export.status = None;
            }
        }
        state.exports.push(export.clone());
        export.status.is_none()
    };
    if hang {
        std::future::pending::<()>().await;
    }
    respond(&export)
}

impl Payload {
    fn len(&self) -> usize {
        match self {
            Self::Spans(spans) => spans.len(),
            Self::Logs(logs) => logs.len(),
        }
    }
}

fn parse(path: &str, content_type: &str, body: &[u8]) -> Result<Payload> {
    let json = match content_type.split(';').next().unwrap_or_default().trim() {
        "application/x-protobuf" => false,
        "application/json" => true,
        other => bail!("content-type {other:?} is not OTLP"),
    };
    match path {
        "/v1/traces" => {
            let request: ExportTraceServiceRequest =
                if json { serde_json::from_slice(body).context("not OTLP JSON")? } else { Message::decode(body)? };
            Ok(Payload::Spans(flat::spans(request)))
        }
        "/v1/logs" => {
            let request: ExportLogsServiceRequest =
                if json { serde_json::from_slice(body).context("not OTLP JSON")? } else { Message::decode(body)? };
            Ok(Payload::Logs(flat::logs(request)))
        }
        other => bail!("{other:?} is not a path of OTLP/HTTP"),
    }
}

/// The answer in the encoding of the request, as OTLP/HTTP has it. A success is the empty message.
fn respond(export: &Export) -> Response<Full<Bytes>> {
    let json = export.content_type.starts_with("application/json");
    let body = match (&export.error, json) {
        (Some(error), _) => Bytes::from(json!({"message": error}).to_string()),
        (None, true) => Bytes::from_static(b"{}"),
        (None, false) if export.path == "/v1/traces" => ExportTraceServiceResponse::default().encode_to_vec().into(),
        (None, false) => ExportLogsServiceResponse::default().encode_to_vec().into(),
    };
    let mut response = Response::new(Full::new(body));
    if let Some(status) = export.status.and_then(|code| hyper::StatusCode::from_u16(code).ok()) {
        *response.status_mut() = status;
    }
    let media = if json || export.error.is_some() { "application/json" } else { "application/x-protobuf" };
    response.headers_mut().insert("content-type", HeaderValue::from_static(media));
    response
}
