//! Many requests at once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Client, Request, Response};

/// How much, how wide, and from which random numbers.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests in all.
    pub requests: usize,
    /// Connections, each with one request at a time.
    pub concurrency: usize,
    /// Chooses the request ids: the same seed gives the same ids.
    pub seed: u64,
}

impl Load {
    /// `requests` over `concurrency` connections, with seed 0.
    #[must_use]
    pub fn new(requests: usize, concurrency: usize) -> Self {
        Self { requests, concurrency, seed: 0 }
    }
}

/// One answered request of a load.
#[derive(Debug)]
pub struct Answered<'a> {
    /// Counts from 0 in the order in which requests were begun.
    pub index: usize,
    /// The `x-request-id` that was sent, unless the request brought its own.
    pub request_id: &'a str,
    /// The answer.
    pub response: &'a Response,
    /// From sending the request to the end of the answer.
    pub duration: Duration,
}

/// What a load brought.
#[derive(Clone, Debug)]
pub struct LoadReport<T> {
    /// How often each status came.
    pub statuses: BTreeMap<u16, usize>,
    /// How many requests got no answer; each cost its connection, which was opened again.
    pub failures: usize,
    /// What `collect` returned for each answer, in the order of their index.
    pub collected: Vec<T>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

/// The `x-request-id` of request `index` under `seed`: a version 4 UUID whose random bits are
/// SHA-256(`seed` ‖ `index`, both big-endian u64), so that what depends on them can be repeated.
#[must_use]
pub fn request_id(seed: u64, index: usize) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update((index as u64).to_be_bytes());
    let mut random = [0; 16];
    random.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_random_bytes(random).into_uuid()
}

impl Client {
    /// Sends what `make(index)` makes, each with an `x-request-id` unless it has one, and keeps what `collect` makes of
    /// the answers.
    ///
    /// # Errors
    ///
    /// When a worker panics (that is, `make` or `collect`) or cannot connect at all.
    pub async fn load<T: Send + 'static>(
        &self,
        load: Load,
        make: impl Fn(usize) -> Request + Send + Sync + 'static,
        collect: impl Fn(Answered<'_>) -> T + Send + Sync + 'static,
    ) -> Result<LoadReport<T>> {
        let shared = Arc::new(Shared { client: self.clone(), load, next: AtomicUsize::new(0), make, collect });
        let begun = Instant::now();
        let mut workers = JoinSet::new();
        for _ in 0..load.concurrency.min(load.requests) {
            workers.spawn(Arc::clone(&shared).work());
        }

        let mut report =
            LoadReport { statuses: BTreeMap::new(), failures: 0, collected: Vec::new(), elapsed: Duration::ZERO };
        let mut collected = Vec::with_capacity(load.requests);
        while let Some(worker) = workers.join_next().await {
            let part: Part<T> = worker??;
            report.failures += part.failures;
            for (index, status, value) in part.answers {
                *report.statuses.entry(status).or_default() += 1;
                collected.push((index, value));
            }
        }
        report.elapsed = begun.elapsed();
        collected.sort_unstable_by_key(|(index, _)| *index);
        report.collected = collected.into_iter().map(|(_, value)| value).collect();
        Ok(report)
    }
}

struct Shared<M, C> {
    client: Client,
    load: Load,
    next: AtomicUsize,
    make: M,
    collect: C,
}

struct Part<T> {
    answers: Vec<(usize, u16, T)>,
    failures: usize,
}

impl<M, C> Shared<M, C> {
    async fn work<T>(self: Arc<Self>) -> Result<Part<T>>
    where
        M: Fn(usize) -> Request,
        C: Fn(Answered<'_>) -> T,
    {
        let mut part = Part { answers: Vec::new(), failures: 0 };
        let mut connection = self.client.connect().await?;
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.load.requests {
                return Ok(part);
            }
            let id = request_id(self.load.seed, index).to_string();
            let mut request = (self.make)(index);
            if !request.has("x-request-id") {
                request = request.header("x-request-id", &id);
            }
            let sent = Instant::now();
            match connection.send(request).await {
                Ok(response) => {
                    let value = (self.collect)(Answered {
                        index,
                        request_id: &id,
                        response: &response,
                        duration: sent.elapsed(),
                    });
                    part.answers.push((index, response.status, value));
                    // HTTP/1.1: the server announces that it will close, for example because it drains.
                    if response.headers.get("connection").is_some_and(|value| value == "close") {
                        connection = self.client.connect().await?;
                    }
                }
                Err(_) => {
                    part.failures += 1;
                    connection = self.client.connect().await?;
                }
            }
        }
    }
}
