//! An application that is asked, by the path, to do what applications should not, and says when it has been reached.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result};
use hyper::{Response, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::net::sockopt::set_socket_linger;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::AbortHandle,
    time::timeout,
};

use crate::{HUGE, support::SOON};

/// What tunnels lead to.
pub const TUNNEL: &str = "care:80";
/// What an application is told that is to end a switched connection.
pub const LAST: [u8; 4] = *b"last";
const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// It ends when this is dropped.
pub struct Application {
    pub address: SocketAddr,
    reached: UnboundedReceiver<String>,
    task: AbortHandle,
}

// === impl Application ===

impl Application {
    /// HTTP/1.1: `/stage/silent` never answers, `/stage/half` never ends its answer, `/stage/reset` and
    /// `/stage/half-reset` reset the connection instead, `/stage/websocket` upgrades and echoes, and `/stage/body`
    /// answers when it has four bytes of a body. `/stage/word` upgrades, and CONNECT to [`TUNNEL`] opens a tunnel: both
    /// echo four bytes, and end the connection when they were [`LAST`].
    pub async fn stage() -> Result<Self> {
        // A peer that goes is no error.
        Self::start(|stream, seen| async move { drop(act(stream, seen).await) }).await
    }

    /// HTTP/2: sends back what it gets, trailers too, as it gets it.
    pub async fn echo() -> Result<Self> {
        Self::start(|stream, seen| {
            let echo = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let _ = seen.send(request.uri().path().to_owned());
                let kind = request.headers().get("content-type").cloned();
                let mut response = Response::new(request.into_body());
                response.headers_mut().extend(kind.map(|kind| (hyper::header::CONTENT_TYPE, kind)));
                std::future::ready(anyhow::Ok(response))
            });
            let mut server = http2::Builder::new(TokioExecutor::new());
            server.max_header_list_size(2 * HUGE as u32);
            let connection = server.serve_connection(TokioIo::new(stream), echo);
            async move { drop(connection.await) }
        })
        .await
    }

    /// Serves each connection on its own.
    async fn start<S: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(TcpStream, UnboundedSender<String>) -> S + Send + 'static,
    ) -> Result<Self> {
        let (seen, reached) = unbounded_channel();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, seen.clone()));
            }
        };
        Ok(Self { address, reached, task: tokio::spawn(accept).abort_handle() })
    }

    /// Waits for the next request; returns its path.
    pub async fn reached(&mut self) -> Result<String> {
        timeout(SOON, self.reached.recv()).await.context("no request came")?.context("the application has ended")
    }

    /// Whether it has been reached since it was last asked.
    pub fn was_reached(&mut self) -> bool {
        self.reached.try_recv().is_ok()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn act(mut stream: TcpStream, seen: UnboundedSender<String>) -> Result<()> {
    let (head, mut body) = read_head(&mut stream).await?;
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.send(path.clone())?;
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    match path.as_str() {
        "/stage/half" => stream.write_all(half).await?,
        "/stage/reset" => return Ok(set_socket_linger(&stream, Some(Duration::ZERO))?),
        "/stage/half-reset" => {
            stream.write_all(half).await?;
            // What was written has to be on its way, or the reset overtakes it: the caller says so by going on.
            stream.read_u8().await?;
            return Ok(set_socket_linger(&stream, Some(Duration::ZERO))?);
        }
        "/stage/word" | TUNNEL => {
            stream.write_all(if path == TUNNEL { b"HTTP/1.1 200 OK\r\n\r\n" } else { UPGRADED }).await?;
            let mut word = [0; LAST.len()];
            stream.read_exact(&mut word).await?;
            stream.write_all(&word).await?;
            if word == LAST {
                return Ok(());
            }
        }
        "/stage/websocket" => {
            stream.write_all(UPGRADED).await?;
            let (mut reader, mut writer) = stream.split();
            writer.write_all(&body).await?;
            tokio::io::copy(&mut reader, &mut writer).await?;
            return Ok(());
        }
        "/stage/body" => {
            while body.len() < 4 {
                body.push(stream.read_u8().await?);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await?;
            return Ok(());
        }
        _ => {}
    }
    // Until the proxy hangs up.
    while stream.read(&mut [0; 4096]).await? > 0 {}
    Ok(())
}

/// The head of a message, and what came of its body with it.
pub async fn read_head(stream: &mut TcpStream) -> Result<(String, Vec<u8>)> {
    const END: &[u8] = b"\r\n\r\n";
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(END.len()).position(|window| window == END) {
            let body = bytes.split_off(end + END.len());
            return Ok((String::from_utf8(bytes)?, body));
        }
        bytes.push(stream.read_u8().await?);
    }
}
