//! An HTTP server on loopback (HTTP/1.1 and HTTP/2 without TLS) that answers with a function.

use std::{
    error::Error,
    fmt,
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Handle, Runtime},
    task::{AbortHandle, JoinSet},
};

/// A listening server. Dropping it closes the port and every connection.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    task: AbortHandle,
}

/// Instead of an answer: the connection is reset.
#[derive(Debug)]
pub(crate) struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reset on purpose")
    }
}

impl Error for Reset {}

impl Server {
    /// Listens on a free loopback port and answers each request with `handle`.
    pub(crate) async fn start<H, F>(handle: H) -> Result<Self>
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response<Full<Bytes>>, Reset>> + Send + 'static,
    {
        let (listener, address) = background()
            .spawn(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                let address = listener.local_addr()?;
                anyhow::Ok((listener, address))
            })
            .await?
            .context("cannot listen on loopback")?;
        let task = background().spawn(accept(listener, handle)).abort_handle();
        Ok(Self { address, task })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept<H, F>(listener: TcpListener, handle: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Full<Bytes>>, Reset>> + Send + 'static,
{
    // Owns the connections' tasks: they are aborted with this one.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // Accepting fails for reasons of the peer (it went away) or of the moment (no descriptors): try again.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let handle = handle.clone();
        connections.spawn(async move {
            let socket = stream.as_fd().try_clone_to_owned();
            let served = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service_fn(handle))
                .await;
            // Any other error is the peer's way of closing; no client is left to report it to.
            if let (Err(error), Ok(socket)) = (served, socket)
                && is_reset(&*error)
            {
                reset(socket);
            }
        });
    }
}

fn is_reset(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|error| error.is::<Reset>())
}

/// Closes the last descriptor of a socket without lingering, which TCP does by RST.
fn reset(socket: OwnedFd) {
    let _ = rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
}

/// The runtime of all servers of this process. It is theirs, not the test's, so that a lab can be shared by tests, each
/// of which has a runtime that ends with it.
fn background() -> Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("harness")
                .enable_all()
                .build()
                .expect("the operating system lets a process have two threads")
        })
        .handle()
        .clone()
}
