//! What the time of a request goes to: which part of it is the module, which is host calls, and what each kind of those
//! costs.

use std::{collections::BTreeMap, fmt::Write, fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use crate::{
    calls::{self, Call, TIMES},
    comparison::MAIN,
    contender::{self, BUNDLE, Contender, EMPTY, FOUR, Places, ROUTER, folder},
    generator::{Generator, Target},
    machine::Machine,
    perf::{Recording, Split},
    process::{Cores, cpu_time},
    running::{Proxy, Running, nowhere},
    stats::Summary,
    without::{PARTS, Part},
};

/// Those whose time is taken apart.
const WHO: [&str; 4] = [ROUTER, EMPTY, BUNDLE, FOUR];

/// All of it. Times in microseconds of CPU for a request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Breakdown {
    /// Where and with what.
    pub machine: Machine,
    /// What made the load.
    pub generator: &'static str,
    /// Rounds.
    pub rounds: usize,
    /// Why `parts` is empty, if it is.
    pub obstacle: Option<String>,
    /// The parts of some contenders' time.
    pub parts: Vec<Parts>,
    /// What careplane costs less without a part.
    pub saved: Vec<Saved>,
    /// What host calls cost.
    pub prices: Vec<Price>,
}

/// The time of one contender.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Parts {
    /// The contender.
    pub contender: String,
    /// All of it, undisturbed by perf.
    pub all: f64,
    /// Samples of perf, as they fell.
    pub samples: Split,
}

/// What careplane costs less without a part of it.
#[derive(Clone, Debug, Serialize)]
pub struct Saved {
    /// The part.
    pub part: &'static str,
    /// What stood in its place.
    pub instead: &'static str,
    /// How much less.
    pub time: Summary,
}

/// What one call of a kind costs.
#[derive(Clone, Debug, Serialize)]
pub struct Price {
    /// Its name in the ABI.
    pub call: &'static str,
    /// What it is asked.
    pub about: &'static str,
    /// For one.
    pub each: Summary,
    /// How many calls of this name a read makes (`benches/cost/table.json`).
    pub calls: f64,
}

/// An Envoy that is measured, and how many requests fill the time.
struct Measured {
    running: Running,
    target: Target,
    requests: usize,
    /// CPU time of a request, in each round.
    rounds: Vec<f64>,
}

impl Breakdown {
    /// Measures it. Says on standard error how far it has come.
    ///
    /// # Errors
    /// When something is not installed or built, does not start, or does not answer.
    pub async fn measure(rounds: usize, flood: Duration, cores: &Cores, generator: Generator) -> Result<Self> {
        let behind = Proxy::start(&contender::upstream_bootstrap()?).await.context("the upstream")?;
        let places = Places {
            upstream: None,
            collector: behind.address(),
            ext_proc: nowhere(),
            log: PathBuf::from("/dev/null"),
        };
        let mut whole = Vec::new();
        for contender in contender::all().into_iter().filter(|contender| WHO.contains(&contender.name)) {
            whole.push(Measured::start(contender, &places, flood, cores, generator).await?);
        }
        let bundle = contender::all().into_iter().find(|contender| contender.name == BUNDLE);
        let bundle = bundle.context("careplane is no contender")?;
        let mut without = Vec::new();
        for part in PARTS {
            let running = Running::start_with(bundle.clone(), &places, part.leave_out).await.context(part.name)?;
            without.push(Measured::fill(running, flood, cores, generator).await.context(part.name)?);
        }
        let mut each = Vec::new();
        for call in calls::ALL {
            let contender = Contender::of_module(call.name, call.about, call.build()?);
            each.push(Measured::start(contender, &places, flood, cores, generator).await.context(call.about)?);
        }
        for round in 0..rounds {
            for one in whole.iter_mut().chain(&mut without).chain(&mut each) {
                one.flood(generator).await?;
            }
            eprintln!("  round {} of {rounds}", round + 1);
        }
        let obstacle = Recording::obstacle();
        let mut parts = Vec::new();
        for one in whole.iter().filter(|_| obstacle.is_none()) {
            parts.push(one.parts(generator).await?);
        }
        let empty = whole.iter().find(|one| one.running.contender.name == EMPTY).context("no empty module")?;
        let counted = counted()?;
        let prices = calls::ALL.iter().zip(&each).map(|(call, one)| Price::new(call, one, empty, &counted)).collect();
        let bundle = whole.iter().find(|one| one.running.contender.name == BUNDLE).context("no careplane")?;
        let saved = PARTS.iter().zip(&without).map(|(part, one)| Saved::new(part, bundle, one)).collect();
        let machine = Machine::here(cores, "make bench-breakdown");
        Ok(Self { machine, generator: generator.describe(), rounds, obstacle, parts, saved, prices })
    }

    /// As Markdown.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = format!("# What the time goes to\n\n{}", self.machine.paragraph());
        let _ = writeln!(
            page,
            "{}, {}. {} rounds. Microseconds of Envoy's CPU time for a request.\n\n## Whose code it is in\n",
            MAIN.describe(),
            self.generator,
            self.rounds
        );
        match &self.obstacle {
            Some(obstacle) => {
                let _ = writeln!(page, "Not measured: {obstacle}.");
            }
            None => {
                page += "The time is that of undisturbed rounds, the shares are those of perf's samples.\n\n";
                page += "| contender | kernel | Envoy | host calls | module | all |\n|---|--:|--:|--:|--:|--:|\n";
            }
        }
        for parts in &self.parts {
            let part = |samples: u64| parts.all * samples as f64 / parts.samples.total() as f64;
            let Split { kernel, envoy, host_calls, module } = parts.samples;
            let _ = writeln!(
                page,
                "| {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
                parts.contender,
                part(kernel),
                part(envoy),
                part(host_calls),
                part(module),
                parts.all
            );
        }
        page += "\n## What a part costs\n\n\
                 careplane with all of its parts beside careplane without one, in the same round: the median of the \
                 differences, and in parentheses the quartiles, which say how much of it is noise.\n\n\
                 | part | without it | saves |\n|---|---|--:|\n";
        for saved in &self.saved {
            let Summary { median, low, high } = saved.time;
            let _ = writeln!(page, "| {} | {} | {median:.1} ({low:.1} to {high:.1}) |", saved.part, saved.instead);
        }
        let _ = writeln!(
            page,
            "\n## What a host call costs\n\n\
             One module makes each call {TIMES} times for each request. The table compares it with the empty module \
             in the same round: the median, and in parentheses the quartiles. *In a read* is how many of that name \
             the filters make ([cost.md](../cost.md)).\n\n| call | asked | one costs | in a read |\n|---|---|--:|--:|"
        );
        for price in &self.prices {
            let Summary { median, low, high } = price.each;
            let _ = writeln!(
                page,
                "| `{}` | {} | {median:.2} ({low:.2} to {high:.2}) | {} |",
                price.call, price.about, price.calls
            );
        }
        page
    }
}

// === impl Saved ===

impl Saved {
    fn new(part: &Part, whole: &Measured, without: &Measured) -> Self {
        let saved = whole.rounds.iter().zip(&without.rounds).map(|(with, without)| with - without);
        Self { part: part.name, instead: part.instead, time: Summary::of(&saved.collect::<Vec<_>>()) }
    }
}

// === impl Price ===

impl Price {
    fn new(call: &Call, measured: &Measured, empty: &Measured, counted: &BTreeMap<String, f64>) -> Self {
        let added = measured.rounds.iter().zip(&empty.rounds).map(|(with, without)| (with - without) / TIMES as f64);
        Self {
            call: call.name,
            about: call.about,
            each: Summary::of(&added.collect::<Vec<_>>()),
            calls: counted.get(call.name).copied().unwrap_or_default(),
        }
    }
}

// === impl Measured ===

impl Measured {
    async fn start(
        contender: Contender,
        places: &Places,
        flood: Duration,
        cores: &Cores,
        generator: Generator,
    ) -> Result<Self> {
        Self::fill(Running::start(contender, places).await?, flood, cores, generator).await
    }

    async fn fill(running: Running, flood: Duration, cores: &Cores, generator: Generator) -> Result<Self> {
        cores.give(running.proxy.pid())?;
        let target = Target { address: running.proxy.address(), protocol: MAIN.protocol, headers: MAIN.headers };
        let requests = generator.fill(target, flood).await?;
        Ok(Self { running, target, requests, rounds: Vec::new() })
    }

    async fn flood(&mut self, generator: Generator) -> Result<()> {
        let before = cpu_time(self.running.proxy.pid())?;
        generator.flood(self.target, self.requests).await?;
        let used = cpu_time(self.running.proxy.pid())? - before;
        self.rounds.push(used.as_secs_f64() * 1e6 / self.requests as f64);
        Ok(())
    }

    async fn parts(&self, generator: Generator) -> Result<Parts> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("perf.data");
        let recording = Recording::begin(self.running.proxy.pid(), &file)?;
        // The first of these requests may come before perf has attached itself: they are as good as any.
        generator.flood(self.target, self.requests).await?;
        Ok(Parts {
            contender: self.running.contender.name.to_owned(),
            all: Summary::of(&self.rounds).median,
            samples: recording.end(&file)?,
        })
    }
}

/// How many calls of each name a read makes.
fn counted() -> Result<BTreeMap<String, f64>> {
    let file = folder().join("../cost/table.json");
    let table: Value = serde_json::from_slice(&fs::read(&file).with_context(|| format!("{}", file.display()))?)?;
    let read = table.as_array().into_iter().flatten().find(|cost| cost["name"] == "read");
    Ok(serde_json::from_value(read.context("table.json has no scenario `read`")?["calls"].clone())?)
}
