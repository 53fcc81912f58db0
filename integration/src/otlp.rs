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
    logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse},
    trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
};
use prost::Message;
use serde::Serialize;
use serde_json::json;

pub use self::flat::{LogRecord, Span};
use crate::{
    poll::until,
    server::{Reset, Server},
};

/// How the receiver answers an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// 200, and keep what came.
    #[default]
    Accept,
    /// This status, and keep nothing.
    Refuse(u16),
    /// 429 with `Retry-After` in seconds, and keep nothing.
    RetryAfter(u64),
    /// 200 with a partial success: keep all but this many of each export.
    Reject(usize),
    /// 200 with a partial success: keep nothing, and give a reason of this many bytes.
    RejectWithReason(usize),
    /// 200 after this long, and keep what came: slower than the sender would like.
    Delay(Duration),
    /// Keep nothing and reset the connection.
    Reset,
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
    /// What a partial success says it did not take.
    pub rejected: usize,
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

    /// The log records accepted since the start or the last [`clear`](Self::clear) or `take_logs`. Forgets them, spans
    /// and exports.
    #[must_use]
    pub fn take_logs(&self) -> Vec<LogRecord> {
        let mut state = self.state();
        let answer = state.answer;
        std::mem::replace(&mut *state, State { answer, ..State::default() }).logs
    }

    /// Forgets spans, log records and exports.
    pub fn clear(&self) {
        drop(self.take_logs());
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

async fn receive(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Reset> {
    let path = request.uri().path().to_owned();
    let content_type =
        request.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let encoded = request.headers().contains_key("content-encoding");
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();

    let payload = if encoded { Err(anyhow::anyhow!("compressed")) } else { parse(&path, &content_type, &body) };
    let mut export = Export { path, content_type, items: 0, status: Some(200), rejected: 0, error: None };
    let answer = {
        let mut state = lock(&state);
        let answer = state.answer;
        match payload {
            Err(error) => {
                export.status = Some(400);
                export.error = Some(format!("{error:#}"));
            }
            Ok(payload) => {
                export.items = payload.len();
                match answer {
                    Answer::Accept | Answer::Delay(_) => state.keep(payload, 0),
                    Answer::Reject(most) => {
                        export.rejected = most.min(export.items);
                        state.keep(payload, export.rejected);
                    }
                    Answer::RejectWithReason(_) => export.rejected = export.items,
                    Answer::Refuse(status) => export.status = Some(status),
                    Answer::RetryAfter(_) => export.status = Some(429),
                    Answer::Hang | Answer::Reset => export.status = None,
                }
            }
        }
        state.exports.push(export.clone());
        answer
    };
    if export.error.is_none() {
        match answer {
            Answer::Hang => std::future::pending().await,
            Answer::Reset => return Err(Reset),
            Answer::Delay(duration) => tokio::time::sleep(duration).await,
            _ => {}
        }
    }
    Ok(respond(&export, answer))
}

impl State {
    /// Keeps all but the first `rejected` items.
    fn keep(&mut self, payload: Payload, rejected: usize) {
        match payload {
            Payload::Spans(spans) => self.spans.extend(spans.into_iter().skip(rejected)),
            Payload::Logs(logs) => self.logs.extend(logs.into_iter().skip(rejected)),
        }
    }
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
fn respond(export: &Export, answer: Answer) -> Response<Full<Bytes>> {
    let json = export.content_type.starts_with("application/json");
    let rejected = (export.rejected > 0).then(|| i64::try_from(export.rejected).unwrap_or(i64::MAX));
    let error_message = match answer {
        Answer::RejectWithReason(bytes) => "x".repeat(bytes),
        _ => String::new(),
    };
    let body = match &export.error {
        Some(error) => Bytes::from(json!({"message": error}).to_string()),
        None if json && rejected.is_none() => Bytes::from_static(b"{}"),
        None if export.path == "/v1/traces" => {
            let partial = |rejected_spans| ExportTracePartialSuccess { rejected_spans, error_message };
            encode(&ExportTraceServiceResponse { partial_success: rejected.map(partial) }, json)
        }
        None => {
            let partial = |rejected_log_records| ExportLogsPartialSuccess { rejected_log_records, error_message };
            encode(&ExportLogsServiceResponse { partial_success: rejected.map(partial) }, json)
        }
    };
    let mut response = Response::new(Full::new(body));
    if let Some(status) = export.status.and_then(|code| hyper::StatusCode::from_u16(code).ok()) {
        *response.status_mut() = status;
    }
    let media = if json || export.error.is_some() { "application/json" } else { "application/x-protobuf" };
    response.headers_mut().insert("content-type", HeaderValue::from_static(media));
    if let Answer::RetryAfter(seconds) = answer {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

fn encode(message: &(impl Message + Serialize), json: bool) -> Bytes {
    if json { serde_json::to_vec(message).unwrap_or_default().into() } else { message.encode_to_vec().into() }
}
