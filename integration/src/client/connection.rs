//! One connection: the protocol's sender, and the task that drives it.

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::AbortHandle,
    time::timeout,
};

use super::{ANSWER_DEADLINE, Client, Protocol, Request, Response};

/// TCP, or TLS over it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// An open connection, for requests one after another. Dropping it closes it.
pub struct Connection {
    sender: Sender,
    secure: bool,
    driver: AbortHandle,
}

impl Connection {
    pub(super) async fn open(stream: Box<dyn Stream>, client: &Client) -> Result<Self> {
        let io = TokioIo::new(stream);
        let (sender, driver) = match client.protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                // The driver's error reaches the sender too.
                (Sender::Http1(sender), tokio::spawn(async { drop(connection.await) }).abort_handle())
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                (Sender::Http2(sender), tokio::spawn(async { drop(connection.await) }).abort_handle())
            }
        };
        Ok(Self { sender, secure: client.tls.is_some(), driver })
    }

    /// Sends `request` and reads the whole answer.
    ///
    /// # Errors
    ///
    /// When the request is malformed, the connection ends early, or no complete answer comes within 15 s.
    pub async fn send(&mut self, request: Request) -> Result<Response> {
        let exchange = async {
            let response = match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request.into_http1()?).await?
                }
                Sender::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request.into_http2(self.secure)?).await?
                }
            };
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
        };
        timeout(ANSWER_DEADLINE, exchange).await.with_context(|| format!("no answer within {ANSWER_DEADLINE:?}"))?
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
