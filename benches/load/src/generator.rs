//! Load: as much as there can be, by h2load where it is installed, and at a fixed rate.

use std::{
    net::SocketAddr,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use careplane_integration::{
    Client, Request,
    client::{Load, Protocol},
};
use tokio::{
    process::Command,
    task::JoinSet,
    time::{MissedTickBehavior, interval_at},
};

/// A read of a resident's notes, the most ordinary request of a care home.
const PATH: &str = "/api/v1/residents/1732/notes";
/// Connections at full load, each with one request at a time.
const CONNECTIONS: usize = 16;
/// Before anything is measured: V8 compiles again what has turned out to be hot.
const WARM_UP: usize = 3_000;
/// Connections at a fixed rate.
const PACED: u32 = 10;
/// `:authority`, `:method`, `:path`, `:scheme` and the four that every request has here.
const LEAST_HEADERS: usize = 8;

/// The load generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generator {
    /// h2load of nghttp2 (Debian: nghttp2-client).
    H2load,
    /// The client of the integration tests, where h2load is not installed. It takes more of the other cores.
    Own,
}

/// What is sent, and where to.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The Envoy.
    pub address: SocketAddr,
    /// HTTP/1.1 or HTTP/2, without TLS.
    pub protocol: Protocol,
    /// Headers of a request, pseudo-headers among them: at least 8.
    pub headers: usize,
}

// === impl Generator ===

impl Generator {
    /// h2load, if it is there.
    pub async fn find() -> Self {
        let version =
            Command::new("h2load").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
        if version.is_ok_and(|status| status.success()) { Self::H2load } else { Self::Own }
    }

    /// In words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::H2load => "h2load, 16 connections with one request each",
            Self::Own => "its own client (h2load is not installed), 16 connections with one request each",
        }
    }

    /// Sends this many requests as fast as they are answered, and returns how long that took.
    ///
    /// # Errors
    /// When not all are answered with 200.
    pub async fn flood(self, target: Target, requests: usize) -> Result<Duration> {
        match self {
            Self::H2load => h2load(target, requests).await,
            Self::Own => own(target, requests).await,
        }
    }

    /// Warms up, and returns how many requests fill the time of a flood; no fewer than warm up.
    ///
    /// # Errors
    /// As [`Self::flood`].
    pub async fn fill(self, target: Target, flood: Duration) -> Result<usize> {
        self.flood(target, WARM_UP).await?;
        let elapsed = self.flood(target, WARM_UP).await?;
        let rate = WARM_UP as f64 / elapsed.as_secs_f64();
        Ok(((rate * flood.as_secs_f64()) as usize).max(WARM_UP))
    }
}

impl Target {
    fn fields(&self) -> Vec<(String, String)> {
        let four = [
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
            ("accept", "application/json"),
            ("accept-language", "en-GB,en;q=0.9,cy;q=0.8"),
            ("referer", "https://app.care.example/residents"),
        ];
        let more = (LEAST_HEADERS..self.headers).map(|number| {
            (format!("x-application-{number:02}"), format!("an ordinary value of ordinary length, number {number}"))
        });
        four.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().chain(more).collect()
    }

    fn client(&self) -> Client {
        let client = Client::plain(self.address);
        if self.protocol == Protocol::Http2 { client.http2() } else { client }
    }

    fn request(&self) -> Request {
        self.fields().iter().fold(Request::get(PATH), |request, (name, value)| request.header(name, value))
    }
}

async fn h2load(target: Target, requests: usize) -> Result<Duration> {
    let mut command = Command::new("h2load");
    command.args(["--threads=1", "--max-concurrent-streams=1"]);
    command.arg(format!("--clients={CONNECTIONS}")).arg(format!("--requests={requests}"));
    if target.protocol == Protocol::Http1 {
        command.arg("--h1");
    }
    for (name, value) in target.fields() {
        command.arg(format!("--header={name}: {value}"));
    }
    command.arg(format!("http://{}{PATH}", target.address)).kill_on_drop(true);
    let began = Instant::now();
    let output = command.output().await.context("cannot run h2load")?;
    let elapsed = began.elapsed();
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "h2load failed: {}{text}", String::from_utf8_lossy(&output.stderr));
    let all_good = format!("status codes: {requests} 2xx");
    ensure!(text.contains(&all_good), "not every request was answered with 200:\n{text}");
    Ok(elapsed)
}

async fn own(target: Target, requests: usize) -> Result<Duration> {
    let load = Load::new(requests, CONNECTIONS);
    let report = target.client().load(load, move |_| target.request(), |_| ()).await?;
    match report.statuses.get(&200) {
        Some(good) if *good == requests => Ok(report.elapsed),
        _ => bail!("not every request was answered with 200: {:?}, {} failures", report.statuses, report.failures),
    }
}

/// Sends requests at a fixed rate, evenly spaced, and returns how long each took, in microseconds, sorted.
///
/// Measured from the moment of sending. A connection whose answer is late sends its next request late: at rates far
/// below what the proxy can do, that hides nothing.
///
/// # Errors
/// When a request is not answered with 200.
pub async fn pace(target: Target, rate: u32, duration: Duration) -> Result<Vec<f64>> {
    let period = Duration::from_secs(1) * PACED / rate;
    let each = (duration.as_secs_f64() / period.as_secs_f64()).ceil() as usize;
    let start = tokio::time::Instant::now() + Duration::from_millis(50);
    let mut connections = JoinSet::new();
    for number in 0..PACED {
        let mut connection = target.client().connect().await?;
        let first = start + period * number / PACED;
        connections.spawn(async move {
            let mut due = interval_at(first, period);
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut latencies = Vec::with_capacity(each);
            for _ in 0..each {
                let request = target.request();
                due.tick().await;
                let sent = Instant::now();
                let response = connection.send(request).await?;
                latencies.push(sent.elapsed().as_secs_f64() * 1e6);
                ensure!(response.status == 200, "{} instead of 200", response.status);
            }
            Ok(latencies)
        });
    }
    let mut all = Vec::new();
    while let Some(latencies) = connections.join_next().await {
        all.extend(latencies??);
    }
    all.sort_by(f64::total_cmp);
    Ok(all)
}
