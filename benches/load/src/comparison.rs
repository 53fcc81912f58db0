//! The comparison: rounds in which every contender has its turn, so that what disturbs the machine disturbs all.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use careplane_integration::client::Protocol;

use crate::{
    contender::{self, Contender, Places},
    generator::{Generator, Target, pace},
    process::{Cores, cpu_time, resident},
    running::{Proxy, Running, nowhere},
    stats::quantile,
};

/// One kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// HTTP/1.1 or HTTP/2.
    pub protocol: Protocol,
    /// Whether there is an upstream; else Envoy answers itself.
    pub upstream: bool,
    /// Headers of a request.
    pub headers: usize,
}

/// How much.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rounds.
    pub rounds: usize,
    /// How long each contender is flooded in each round.
    pub flood: Duration,
    /// How long it is paced.
    pub pace: Duration,
    /// At how many requests a second.
    pub rate: u32,
    /// All cells for all contenders, instead of a sensible part.
    pub full: bool,
    /// These contenders alone, in [`MAIN`] alone; everything when there are none.
    pub only: Vec<String>,
}

/// What one contender took in one round of one cell.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// CPU time of Envoy for a request at full load, in microseconds.
    pub envoy: f64,
    /// The same of its server.
    pub server: f64,
    /// Median latency at the fixed rate, in microseconds.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// CPU of Envoy and its server at the fixed rate, in thousandths of a core.
    pub millicores: f64,
}

/// The samples of one contender in one cell.
#[derive(Clone, Debug)]
pub struct Series {
    /// The contender.
    pub contender: Contender,
    /// One for each round.
    pub samples: Vec<Sample>,
    /// Resident memory of Envoy after the last round, in MB.
    pub memory: f64,
    /// The same of its server.
    pub server_memory: f64,
}

/// All of one cell.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The traffic.
    pub cell: Cell,
    /// The contenders, the baseline first.
    pub series: Vec<Series>,
}

/// The cell that the targets are about.
pub const MAIN: Cell = Cell { protocol: Protocol::Http1, upstream: false, headers: 8 };

// === impl Cell ===

impl Cell {
    /// In words.
    #[must_use]
    pub fn describe(self) -> String {
        let protocol = if self.protocol == Protocol::Http2 { "HTTP/2" } else { "HTTP/1.1" };
        let answer = if self.upstream { "an upstream" } else { "direct response" };
        format!("{protocol}, {answer}, {} headers", self.headers)
    }

    fn all() -> impl Iterator<Item = Self> {
        let protocols = [Protocol::Http1, Protocol::Http2].into_iter();
        protocols.flat_map(|protocol| {
            [false, true]
                .into_iter()
                .flat_map(move |upstream| [8, 40].map(|headers| Self { protocol, upstream, headers }))
        })
    }
}

// === impl Plan ===

impl Plan {
    /// What is measured: each cell, and who takes part.
    fn cells(&self) -> Result<Vec<(Cell, Vec<Contender>)>> {
        let all = contender::all;
        if !self.only.is_empty() {
            let names: Vec<_> = all().iter().map(|contender| contender.name).collect();
            if let Some(unknown) = self.only.iter().find(|name| !names.contains(&name.as_str())) {
                bail!("there is no contender {unknown:?}: expected some of {}", names.join(", "));
            }
            let chosen = |contender: &Contender| {
                contender.name == contender::ROUTER || self.only.iter().any(|name| name == contender.name)
            };
            return Ok(vec![(MAIN, all().into_iter().filter(chosen).collect())]);
        }
        let main = |contender: &Contender| {
            use contender::{BUNDLE, EMPTY, EXT_PROC, LUA, LUA_EVIDENCE, ROUTER};
            [ROUTER, EMPTY, LUA, LUA_EVIDENCE, EXT_PROC, BUNDLE].contains(&contender.name)
        };
        if self.full {
            return Ok(Cell::all().map(|cell| (cell, all())).collect());
        }
        let few = || all().into_iter().filter(main).collect::<Vec<_>>();
        Ok(vec![
            (MAIN, all()),
            (Cell { headers: 40, ..MAIN }, few()),
            (Cell { protocol: Protocol::Http2, ..MAIN }, few()),
            (Cell { upstream: true, ..MAIN }, few()),
        ])
    }

    /// Runs it. Says on standard error how far it has come.
    ///
    /// # Errors
    /// When something is not installed or built, does not start, or does not answer.
    pub async fn run(&self, cores: &Cores, generator: Generator) -> Result<Vec<Measured>> {
        let cells = self.cells()?;
        let missing: Vec<String> =
            cells.iter().flat_map(|(_, contenders)| contenders).flat_map(Contender::missing).collect();
        ensure!(missing.is_empty(), "{}", missing.join("; "));
        let behind = Proxy::start(&contender::upstream_bootstrap()?).await.context("the upstream")?;
        let mut all = Vec::new();
        for (cell, contenders) in cells {
            eprintln!("{}: {} contenders, {} rounds", cell.describe(), contenders.len(), self.rounds);
            let places = Places {
                upstream: cell.upstream.then(|| behind.address()),
                collector: behind.address(),
                ext_proc: nowhere(),
                log: PathBuf::from("/dev/null"),
            };
            all.push(self.measure(cell, contenders, &places, cores, generator).await?);
        }
        Ok(all)
    }

    async fn measure(
        &self,
        cell: Cell,
        contenders: Vec<Contender>,
        places: &Places,
        cores: &Cores,
        generator: Generator,
    ) -> Result<Measured> {
        let mut running = Vec::new();
        for contender in contenders {
            let name = contender.name;
            let one = Running::start(contender, places).await?;
            cores.give(one.proxy.pid())?;
            let requests = generator
                .fill(target(cell, &one), self.flood)
                .await
                .with_context(|| format!("{name}, {}", cell.describe()))?;
            running.push((one, requests, Vec::new()));
        }
        let count = running.len();
        for round in 0..self.rounds {
            // The order of the contenders changes, too.
            for turn in 0..count {
                let (one, requests, samples) = &mut running[(turn + round) % count];
                let sample = self.sample(cell, one, *requests, generator).await;
                samples.push(sample.with_context(|| format!("{}, {}", one.contender.name, cell.describe()))?);
            }
            eprintln!("  round {} of {}", round + 1, self.rounds);
        }
        let series = running.into_iter().map(|(one, _, samples)| {
            let server_memory =
                one.server.as_ref().and_then(|server| server.pid()).map(resident).transpose()?.unwrap_or_default();
            Ok(Series { memory: resident(one.proxy.pid())?, server_memory, contender: one.contender, samples })
        });
        Ok(Measured { cell, series: series.collect::<Result<_>>()? })
    }

    async fn sample(&self, cell: Cell, one: &Running, requests: usize, generator: Generator) -> Result<Sample> {
        let target = target(cell, one);
        let (envoy, server) = used(one)?;
        generator.flood(target, requests).await?;
        let (envoy_flooded, server_flooded) = used(one)?;
        let latencies = pace(target, self.rate, self.pace).await?;
        let (envoy_paced, server_paced) = used(one)?;

        let each = |time: Duration| time.as_secs_f64() * 1e6 / requests as f64;
        let paced = (envoy_paced - envoy_flooded) + (server_paced - server_flooded);
        let seconds = latencies.len() as f64 / f64::from(self.rate);
        Ok(Sample {
            envoy: each(envoy_flooded - envoy),
            server: each(server_flooded - server),
            p50: quantile(&latencies, 0.5),
            p99: quantile(&latencies, 0.99),
            millicores: paced.as_secs_f64() * 1000.0 / seconds,
        })
    }
}

fn target(cell: Cell, one: &Running) -> Target {
    Target { address: one.proxy.address(), protocol: cell.protocol, headers: cell.headers }
}

/// CPU time so far: of Envoy, and of its server.
fn used(one: &Running) -> Result<(Duration, Duration)> {
    let server = one.server.as_ref().and_then(|server| server.pid()).map(cpu_time).transpose()?;
    Ok((cpu_time(one.proxy.pid())?, server.unwrap_or_default()))
}
