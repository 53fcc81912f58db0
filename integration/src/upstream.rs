//! The application behind Envoy: one server per pool, which echoes requests and remembers them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    poll::until,
    server::{Reset, Server},
};

/// The status to answer with, as digits; 200 without it.
pub const STATUS_HEADER: &str = "x-echo-status";

/// How long to wait before answering, in milliseconds.
pub const DELAY_HEADER: &str = "x-echo-delay-ms";

/// With any value: not to answer before [`Upstream::release`].
pub const HOLD_HEADER: &str = "x-echo-hold";

/// One request as the application received it.
#[derive(Clone, Debug)]
pub struct Received {
    /// The pool whose server received it, the name of the Envoy cluster.
    pub pool: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// All headers in the order received; names in lower case, values as the bytes they were.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Length of the body in bytes.
    pub body_length: usize,
}

impl Received {
    /// The value of the first header called `name` (lower case), as text in which bytes outside ASCII are escaped.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.escape_ascii().to_string())
    }
}

/// The application: a server for each pool. Answers `{"pool", "method", "path", "headers": [[name, value]…],
/// "bodyLength"}` as JSON, with bytes outside ASCII escaped, and the status and delay that the request asks for.
#[derive(Debug)]
pub struct Upstream {
    servers: BTreeMap<String, Server>,
    received: Arc<Mutex<Vec<Received>>>,
    released: watch::Sender<bool>,
}

impl Upstream {
    /// Starts one server for each of `pools`.
    ///
    /// # Errors
    ///
    /// When loopback offers no port.
    pub async fn start(pools: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        let received = Arc::new(Mutex::new(Vec::new()));
        let (released, hold) = watch::channel(false);
        let mut servers = BTreeMap::new();
        for pool in pools {
            let pool = pool.into();
            let (name, log): (Arc<str>, _) = (pool.as_str().into(), Arc::clone(&received));
            let hold = hold.clone();
            let answer = move |request| echo(Arc::clone(&name), Arc::clone(&log), hold.clone(), request);
            let server = Server::start(answer).await?;
            servers.insert(pool, server);
        }
        Ok(Self { servers, received, released })
    }

    /// Answers what is [held](HOLD_HEADER), and holds nothing from now on.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    /// Where the server of `pool` listens.
    ///
    /// # Errors
    ///
    /// When there is no such pool.
    pub fn address(&self, pool: &str) -> Result<SocketAddr> {
        Ok(self.servers.get(pool).with_context(|| format!("no upstream called {pool:?}"))?.address())
    }

    /// Names and addresses of all pools.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.servers.iter().map(|(name, server)| (name.as_str(), server.address()))
    }

    /// What was received since the start or the last [`take`](Self::take), in order of arrival.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Like [`received`](Self::received), and forgets it.
    #[must_use]
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.received.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until at least `count` requests were received, and returns them.
    ///
    /// # Errors
    ///
    /// When fewer have come after `deadline`.
    pub async fn wait_for(&self, count: usize, deadline: Duration) -> Result<Vec<Received>> {
        let what = format!("{count} requests at the upstream");
        until(&what, deadline, async || Ok(Some(self.received()).filter(|seen| seen.len() >= count))).await
    }
}

async fn echo(
    pool: Arc<str>,
    log: Arc<Mutex<Vec<Received>>>,
    mut released: watch::Receiver<bool>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Reset> {
    let (head, body) = request.into_parts();
    let number = |name| head.headers.get(name).and_then(|value| value.to_str().ok()?.parse::<u16>().ok());
    let status = number(STATUS_HEADER).and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::OK);
    let delay = number(DELAY_HEADER);
    let hold = head.headers.contains_key(HOLD_HEADER);

    // A caller that aborts its body still made a request.
    let body_length = body.collect().await.map_or(0, |body| body.to_bytes().len());
    let received = Received {
        pool: pool.to_string(),
        method: head.method.to_string(),
        path: head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string),
        headers: head.headers.iter().map(|(n, v)| (n.to_string(), v.as_bytes().to_vec())).collect(),
        body_length,
    };
    let headers: Vec<[String; 2]> =
        received.headers.iter().map(|(n, v)| [n.clone(), v.escape_ascii().to_string()]).collect();
    let answer = json!({
        "pool": received.pool,
        "method": received.method,
        "path": received.path,
        "headers": headers,
        "bodyLength": received.body_length,
    });
    log.lock().unwrap_or_else(PoisonError::into_inner).push(received);

    if hold {
        // An upstream that ends holds nothing.
        let _ = released.wait_for(|released| *released).await;
    }
    if let Some(milliseconds) = delay {
        tokio::time::sleep(Duration::from_millis(milliseconds.into())).await;
    }
    let mut response = Response::new(Full::from(answer.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    Ok(response)
}
