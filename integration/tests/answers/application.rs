//! The application behind the chains: it does what a request asks for, and keeps a list of all that it received.
//!
//! It is also the service that other filters ask: HTTP and gRPC authorization, rate limits, and an external processor.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use careplane_integration::frames::frames;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Request, Response,
    body::Incoming,
    header::{HeaderName, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use prost::Message;
use tokio::{net::TcpListener, task::AbortHandle};

use crate::support::without_reason;

/// What the application is to do: `status-418`; `fail-2`, `reset-2` and `hang-2`, the first two times; `hang`; `half`
/// of an answer; `redirect`, once.
pub const ACT: &str = "x-act";
/// What a service that a filter asks is to do: `deny`, `fail`; of authorization, `mutate`; of the external processor,
/// `deny-late`.
pub const SERVICE: &str = "x-service";
/// The details of an answer of the external processor: free text, as such services write.
pub const FREE_TEXT: &str = "Zz9canary of a service";

/// A request as the application received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its id, without the digit in which Envoy keeps why it traces.
    pub id: String,
    /// `Host`.
    pub host: String,
    /// The path without its query.
    pub path: String,
    /// The names of its trailers.
    pub trailers: Vec<String>,
}

/// A running application. It ends when this is dropped.
pub struct Application {
    address: SocketAddr,
    log: Log,
    task: AbortHandle,
}

/// What came.
#[derive(Clone, Default)]
struct Log {
    received: Arc<Mutex<Vec<Received>>>,
    /// Spans in the JSON of Zipkin's second version, as they were sent to it.
    zipkin: Arc<Mutex<Vec<serde_json::Value>>>,
}

type Cut = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Cut>;

// === impl Application ===

impl Application {
    /// Starts it on a port of its own.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let log = Log::default();
        let shared = log.clone();
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let log = shared.clone();
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let answer = service_fn(move |request| answer(log.clone(), request));
                    // A connection that is cut off on purpose is no error.
                    drop(server.serve_connection(TokioIo::new(stream), answer).await);
                });
            }
        };
        Ok(Self { address, log, task: tokio::spawn(accept).abort_handle() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that it received, in order.
    pub fn received(&self) -> Vec<Received> {
        self.log.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The Zipkin spans of each request.
    pub fn zipkin(&self) -> BTreeMap<String, Vec<serde_json::Value>> {
        let mut spans: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
        for span in self.log.zipkin.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let id = without_reason(span["tags"]["guid:x-request-id"].as_str().unwrap_or_default());
            spans.entry(id).or_default().push(span.clone());
        }
        spans
    }

    /// How often it received each request.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for received in self.received() {
            *counts.entry(received.id).or_default() += 1;
        }
        counts
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(log: Log, request: Request<Incoming>) -> Result<Response<Body>> {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/envoy.service.auth.v3.Authorization/Check" => return check(request).await,
        "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit" => return rate_limit(request).await,
        "/envoy.service.ext_proc.v3.ExternalProcessor/Process" => return Ok(process(request)),
        "/api/v2/spans" => {
            let spans: Vec<serde_json::Value> =
                serde_json::from_slice(&request.into_body().collect().await?.to_bytes())?;
            log.zipkin.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
            return Ok(plain(202, ""));
        }
        _ if path.starts_with("/authorize") => return Ok(authorize(request.headers())),
        _ => {}
    }
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (id, act) = (without_reason(header("x-request-id")), header(ACT).to_owned());
    let authority = request.uri().authority().map(ToString::to_string);
    let host = authority.unwrap_or_else(|| header("host").to_owned());
    let is_call = path.starts_with("/care.v1.");
    // The body has to come first: a caller that aborts it has made a request all the same.
    let body = request.into_body().collect().await.ok();
    let trailers = body
        .as_ref()
        .and_then(|body| body.trailers())
        .map(|trailers| trailers.keys().map(ToString::to_string).collect());
    let trailers = trailers.unwrap_or_default();
    let times = {
        let mut log = log.received.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(Received { id: id.clone(), host: host.clone(), path: path.clone(), trailers });
        log.iter().filter(|received| received.id == id).count()
    };
    if is_call {
        return Ok(call(&path));
    }
    let (word, number) = act.rsplit_once('-').unwrap_or((&act, ""));
    let number: usize = number.parse().unwrap_or_default();
    match word {
        "status" => return Ok(plain(u16::try_from(number)?, "")),
        "fail" if times <= number => return Ok(plain(503, "")),
        "reset" if times <= number => bail!("reset on purpose"),
        "hang" if number == 0 || times <= number => std::future::pending().await,
        "half" => {
            let (sender, body) = frames::<Cut>(1);
            tokio::spawn(async move {
                drop(sender.data("half").await);
                drop(sender.abort("cut off on purpose".into()).await);
            });
            return Ok(Response::builder().header("content-length", 10).body(body.boxed_unsync())?);
        }
        "redirect" if path != "/api/v1/financial/landed" => {
            let location = format!("http://{host}/api/v1/financial/landed");
            return Ok(Response::builder().status(302).header("location", location).body(empty())?);
        }
        "cacheable" => {
            let mut response = plain(200, "ok");
            response.headers_mut().insert("cache-control", HeaderValue::from_static("public, max-age=60"));
            return Ok(response);
        }
        _ => {}
    }
    Ok(plain(200, "ok"))
}

fn empty() -> Body {
    Full::default().map_err(|never| match never {}).boxed_unsync()
}

fn plain(status: u16, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response
}

/// HTTP authorization: allowed unless the request says otherwise.
fn authorize(headers: &HeaderMap) -> Response<Body> {
    match headers.get(SERVICE).map(HeaderValue::as_bytes) {
        Some(b"deny") => plain(403, ""),
        // To a page where the caller can log in.
        Some(b"login") => plain(302, ""),
        Some(b"fail") => plain(500, ""),
        _ => plain(200, ""),
    }
}

// === gRPC ===

/// A message with its prefix: not compressed, and its length.
fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or_default());
    frame.put_slice(message);
    frame.freeze()
}

fn grpc_headers(status: Option<u8>) -> Response<Body> {
    let mut response = Response::new(empty());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    if let Some(status) = status {
        response.headers_mut().insert("grpc-status", HeaderValue::from(u16::from(status)));
    }
    response
}

/// One message, then trailers with this status.
fn grpc(message: Bytes, status: u8) -> Response<Body> {
    let (sender, body) = frames::<Cut>(2);
    tokio::spawn(async move {
        let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), u16::from(status).into())]);
        drop(sender.data(message).await);
        drop(sender.trailers(trailers).await);
    });
    grpc_headers(None).map(|_| body.boxed_unsync())
}

/// A service of the application: `…/Well`, `…/Fails` after a message, and `…/Refuses` without one, both with NOT_FOUND.
fn call(path: &str) -> Response<Body> {
    const NOT_FOUND: u8 = 5;
    match path.rsplit('/').next() {
        Some("Fails") => grpc(frame(b""), NOT_FOUND),
        Some("Refuses") => grpc_headers(Some(NOT_FOUND)),
        _ => grpc(frame(b""), 0),
    }
}

const INTERNAL: u8 = 13;

fn asks(message: &[u8], word: &str) -> bool {
    message.windows(word.len()).any(|window| window == word.as_bytes())
}

/// `envoy.service.auth.v3.CheckResponse`, as far as it is used.
#[derive(Message)]
struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<Code>,
    #[prost(message, optional, tag = "2")]
    denied: Option<Denied>,
    #[prost(message, optional, tag = "3")]
    allowed: Option<Allowed>,
}

/// `envoy.service.auth.v3.OkHttpResponse`, as far as it is used.
#[derive(Message)]
struct Allowed {
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderOption>,
}

#[derive(Message)]
struct HeaderOption {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Message)]
struct Header {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Message)]
struct Denied {
    #[prost(message, optional, tag = "1")]
    status: Option<Code>,
}

/// `google.rpc.Status` and `envoy.type.v3.HttpStatus` alike.
#[derive(Message)]
struct Code {
    #[prost(int32, tag = "1")]
    code: i32,
}

async fn check(request: Request<Incoming>) -> Result<Response<Body>> {
    let message = request.into_body().collect().await?.to_bytes();
    if asks(&message, "fail") {
        return Ok(grpc_headers(Some(INTERNAL)));
    }
    let denied = asks(&message, "deny").then_some(Denied { status: Some(Code { code: 403 }) });
    let status = Some(Code { code: if denied.is_some() { 7 } else { 0 } });
    // What no header may hold.
    let header = Header { name: "x-mutated".to_owned(), value: format!("{FREE_TEXT}\n") };
    let allowed = Allowed { headers: vec![HeaderOption { header: Some(header) }] };
    let allowed = asks(&message, "mutate").then_some(allowed);
    Ok(grpc(frame(&CheckResponse { status, denied, allowed }.encode_to_vec()), 0))
}

/// `envoy.service.ratelimit.v3.RateLimitResponse`: the code is OK (1) or OVER_LIMIT (2), in the place where `Code` has
/// its own.
async fn rate_limit(request: Request<Incoming>) -> Result<Response<Body>> {
    let message = request.into_body().collect().await?.to_bytes();
    if asks(&message, "fail") {
        return Ok(grpc_headers(Some(INTERNAL)));
    }
    let code = if asks(&message, "deny") { 2 } else { 1 };
    Ok(grpc(frame(&Code { code }.encode_to_vec()), 0))
}

/// `envoy.service.ext_proc.v3.ProcessingRequest`, as far as it is used.
#[derive(Message)]
struct ProcessingRequest {
    #[prost(bytes = "vec", optional, tag = "2")]
    request_headers: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    response_headers: Option<Vec<u8>>,
}

/// `envoy.service.ext_proc.v3.ProcessingResponse`, as far as it is used.
#[derive(Message)]
struct ProcessingResponse {
    #[prost(bytes = "vec", optional, tag = "1")]
    request_headers: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    response_headers: Option<Vec<u8>>,
    #[prost(message, optional, tag = "7")]
    immediate: Option<Immediate>,
}

#[derive(Message)]
struct Immediate {
    #[prost(message, optional, tag = "1")]
    status: Option<Code>,
    #[prost(string, tag = "5")]
    details: String,
}

/// Answers each message as it comes.
fn process(request: Request<Incoming>) -> Response<Body> {
    let (sender, body) = frames::<Cut>(2);
    tokio::spawn(async move {
        let mut incoming = request.into_body();
        let (mut bytes, mut deny_late) = (BytesMut::new(), false);
        while let Some(Ok(part)) = incoming.frame().await {
            bytes.extend_from_slice(&part.into_data().unwrap_or_default());
            while let Some(length) =
                bytes.get(1..5).map(|length| length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
                && bytes.len() >= 5 + length
            {
                let message = bytes.split_to(5 + length).split_off(5);
                let Ok(asked) = ProcessingRequest::decode(&message[..]) else { return };
                if asks(&message, "fail") {
                    let internal = u16::from(INTERNAL).into();
                    let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), internal)]);
                    drop(sender.trailers(trailers).await);
                    return;
                }
                deny_late |= asks(&message, "deny-late");
                let now = asked.response_headers.is_some() && deny_late || asks(&message, "deny") && !deny_late;
                let status = Some(Code { code: 403 });
                let reply = ProcessingResponse {
                    request_headers: (!now && asked.request_headers.is_some()).then(Vec::new),
                    response_headers: (!now && asked.response_headers.is_some()).then(Vec::new),
                    immediate: now.then(|| Immediate { status, details: FREE_TEXT.to_owned() }),
                };
                if sender.data(frame(&reply.encode_to_vec())).await.is_err() {
                    return;
                }
            }
        }
    });
    grpc_headers(None).map(|_| body.boxed_unsync())
}
