//! `careplane-application NAME PORT [SCENES]`: the application behind the Envoy of `docker-compose.yaml`.
//!
//! Answers each request with what it received, as JSON: `{"version", "method", "path", "headers": [[name, value]…]}`.
//! `/` is a page that sends requests through Envoy and shows these answers; `/demo/scenes.json` is the file `SCENES`,
//! which says what there is to send. `careplane-application health PORT` exits with 0 when one answers there.

#![forbid(unsafe_code)]

use std::{
    env, fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

const PAGE: &str = include_str!("page.html");

/// How long to wait before answering, in milliseconds; at most [`LONGEST`].
const DELAY_HEADER: &str = "x-echo-delay-ms";
const LONGEST: Duration = Duration::from_secs(10);

const USAGE: &str = "usage: careplane-application NAME PORT [SCENES], or careplane-application health PORT";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match &*arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        ["health", port] => port.parse().map_err(|_| USAGE.to_owned()).and_then(health),
        [name, port] => port.parse().map_err(|_| USAGE.to_owned()).and_then(|port| serve(name, port, None)),
        [name, port, scenes] => {
            port.parse().map_err(|_| USAGE.to_owned()).and_then(|port| serve(name, port, Some(scenes.into())))
        }
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("careplane-application: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The image of the containers has no curl, so the program asks itself.
fn health(port: u16) -> Result<(), String> {
    let answer = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    match answer() {
        Ok(answer) if answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200") => Ok(()),
        Ok(_) => Err("not healthy".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// One version of the application.
struct Application {
    /// `stable` or `canary`.
    version: String,
    scenes: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn serve(name: &str, port: u16, scenes: Option<PathBuf>) -> Result<(), String> {
    let application = Arc::new(Application { version: name.to_owned(), scenes });
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let listener = TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    // The first process of a container ends at no signal for which it has no handler.
    let mut stop = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    loop {
        let connection = tokio::select! {
            _ = stop.recv() => return Ok(()),
            connection = listener.accept() => connection,
        };
        // A connection that was gone before it was accepted is nothing to end for.
        let Ok((stream, _)) = connection else { continue };
        let application = Arc::clone(&application);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&application, request));
            // What goes wrong with one connection is between its two ends.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(application: &Application, request: Request<Incoming>) -> hyper::http::Result<Response<Full<Bytes>>> {
    let response = Response::builder().header("cache-control", "no-store");
    match (request.uri().path(), &application.scenes) {
        ("/", _) => response.header("content-type", "text/html; charset=utf-8").body(PAGE.into()),
        // Read each time: `make compose` writes new tokens.
        ("/demo/scenes.json", Some(scenes)) => match fs::read(scenes) {
            Ok(scenes) => response.header("content-type", "application/json").body(scenes.into()),
            Err(error) => response.status(500).body(format!("cannot read {}: {error}", scenes.display()).into()),
        },
        _ => {
            let delay = request.headers().get(DELAY_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
            if let Some(delay) = delay {
                tokio::time::sleep(Duration::from_millis(delay).min(LONGEST)).await;
            }
            response.header("content-type", "application/json").body(received(application, &request).into())
        }
    }
}

/// What was received, with bytes outside ASCII escaped.
fn received(application: &Application, request: &Request<Incoming>) -> String {
    let headers: Vec<[String; 2]> =
        request.headers().iter().map(|(n, v)| [n.to_string(), v.as_bytes().escape_ascii().to_string()]).collect();
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    json!({
        "version": application.version, "method": request.method().as_str(), "path": path, "headers": headers,
    })
    .to_string()
}
