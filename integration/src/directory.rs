//! A web server of a directory of tenants, which can be well, wrong, slow or away.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, header};

use crate::server::{Reset, Server};

/// What it answers for a path.
#[derive(Clone, Debug)]
pub enum Answer {
    /// 200 with this body; with an ETag, also 304.
    File {
        /// The body.
        body: Vec<u8>,
        /// The ETag, with its quotes.
        etag: Option<String>,
    },
    /// This status and no body.
    Status(u16),
    /// The answer comes after the wait.
    After(Duration, Box<Answer>),
}

/// A request that it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The path.
    pub path: String,
    /// The header `if-none-match`.
    pub etag: Option<String>,
    /// The status of the answer.
    pub status: u16,
}

/// The server. Dropping it closes its port.
#[derive(Debug)]
pub struct DirectoryServer {
    server: Server,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    answers: BTreeMap<String, Answer>,
    fetches: Vec<Fetch>,
}

impl DirectoryServer {
    /// Starts one that has nothing: 404 for all.
    ///
    /// # Errors
    ///
    /// When loopback offers no port.
    pub async fn start() -> Result<Self> {
        let shared = Arc::<Mutex<Shared>>::default();
        let answers = Arc::clone(&shared);
        let server = Server::start(move |request| answer(Arc::clone(&answers), request)).await?;
        Ok(Self { server, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Answers a path otherwise from now on.
    pub fn set(&self, path: impl Into<String>, answer: Answer) {
        lock(&self.shared).answers.insert(path.into(), answer);
    }

    /// Has nothing any more.
    pub fn clear(&self) {
        lock(&self.shared).answers.clear();
    }

    /// The requests since the last time, in order.
    #[must_use]
    pub fn take(&self) -> Vec<Fetch> {
        std::mem::take(&mut lock(&self.shared).fetches)
    }

    /// The requests that it has got.
    #[must_use]
    pub fn fetches(&self) -> Vec<Fetch> {
        lock(&self.shared).fetches.clone()
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(shared: Arc<Mutex<Shared>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Reset> {
    let path = request.uri().path().to_owned();
    let sent = request.headers().get(header::IF_NONE_MATCH);
    let sent = sent.and_then(|value| Some(value.to_str().ok()?.to_owned()));
    let mut answer = lock(&shared).answers.get(&path).cloned().unwrap_or(Answer::Status(404));
    while let Answer::After(wait, then) = answer {
        tokio::time::sleep(wait).await;
        answer = *then;
    }
    let (status, body, etag) = match answer {
        Answer::File { etag, .. } if etag.is_some() && etag == sent => (304, Vec::new(), etag),
        Answer::File { body, etag } => (200, body, etag),
        Answer::Status(status) => (status, Vec::new(), None),
        Answer::After(..) => (500, Vec::new(), None),
    };
    lock(&shared).fetches.push(Fetch { path, etag: sent, status });
    let mut response = Response::builder().status(status);
    if let Some(etag) = etag {
        response = response.header(header::ETAG, etag);
    }
    Ok(response.body(Full::from(body)).expect("status and ETag are those of a test"))
}
