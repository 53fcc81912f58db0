//! Callers.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use careplane_integration::{
    Lab, Request,
    client::{self, Client, Load},
};
use tokio::task::JoinSet;

use crate::{support::without_reason, token};

/// Connections of callers who want it all at once.
const WIDTH: usize = 32;
/// Requests that a caller of a flood sends over one connection.
const STAY: usize = 8;

/// Sends so many requests at full speed, all of which have to be answered with 200. Returns how long half of them took
/// at most.
pub async fn load(lab: &Lab, requests: usize) -> Result<Duration> {
    let token = token(lab)?;
    let make = move |index: usize| Request::get(format!("/elsewhere/{index}")).bearer(&token);
    let report = lab.gateway().load(Load::new(requests, WIDTH), make, |answered| answered.duration).await?;
    assert_eq!((report.statuses.get(&200).copied(), report.failures), (Some(requests), 0), "{:?}", report.statuses);
    let mut durations = report.collected;
    durations.sort_unstable();
    Ok(durations[durations.len() / 2])
}

/// Requests without pause, until they are stopped.
pub struct Flood {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    callers: JoinSet<Result<Sent>>,
}

/// What became of a flood: the ids of its requests.
#[derive(Debug, Default)]
pub struct Sent {
    /// Answered with 200.
    pub answered: BTreeSet<String>,
    /// The connection ended first: only the proxy knows what became of it.
    pub unanswered: BTreeSet<String>,
}

impl Sent {
    /// The end of a listener or of a proxy can cut every connection once, with a request in it that Envoy may not have
    /// read.
    pub fn assert_cut_at_most(&self, endings: usize) {
        assert!(self.unanswered.len() <= endings * WIDTH, "{} requests failed", self.unanswered.len());
    }
}

impl Flood {
    /// Begins.
    pub fn begin(lab: &Lab) -> Result<Self> {
        let (stop, answers, token) = (Arc::default(), Arc::default(), token(lab)?);
        let mut callers = JoinSet::new();
        for caller in 0..WIDTH as u64 {
            callers.spawn(call(caller, lab.gateway(), token.clone(), Arc::clone(&stop), Arc::clone(&answers)));
        }
        Ok(Self { stop, answers, callers })
    }

    /// How many answers there are so far.
    pub fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    /// Ends it, and waits for the answers that are due.
    pub async fn end(self) -> Result<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        self.ended().await
    }

    /// Waits until it ends by itself, because the listener is closed.
    pub async fn ended(mut self) -> Result<Sent> {
        let mut all = Sent::default();
        while let Some(sent) = self.callers.join_next().await {
            let sent = sent??;
            all.answered.extend(sent.answered);
            all.unanswered.extend(sent.unanswered);
        }
        Ok(all)
    }
}

async fn call(
    caller: u64,
    client: Client,
    token: String,
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
) -> Result<Sent> {
    let mut sent = Sent::default();
    let mut connection = None;
    for index in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut open = match connection.take() {
            Some(open) => open,
            None => match client.connect().await {
                Ok(open) => open,
                Err(_) => break,
            },
        };
        let id = client::request_id(caller, index).to_string();
        let request = Request::get(format!("/elsewhere/{index}")).bearer(&token).header("x-request-id", &id);
        match open.send(request).await {
            Ok(response) => {
                anyhow::ensure!(response.status == 200, "{}: {}", response.status, response.text());
                sent.answered.insert(without_reason(&id));
                answers.fetch_add(1, Ordering::Relaxed);
                // A proxy that drains may say so.
                let stays = response.headers.get("connection").is_none_or(|value| value != "close");
                connection = (stays && index % STAY > 0).then_some(open);
            }
            Err(_) => {
                sent.unanswered.insert(without_reason(&id));
            }
        }
    }
    Ok(sent)
}
