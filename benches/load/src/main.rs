//! `careplane-load`: careplane in a real Envoy, beside what else would do its work.

use std::time::Duration;

use anyhow::Result;
use careplane_integration::{Plugins, prerequisites};
use careplane_load::{
    comparison::Plan,
    contender::{build_empty, built},
    generator::Generator,
    machine::Machine,
    plot,
    process::Cores,
    report::{Report, write},
    running::ENVOY,
};
use clap::Parser;

/// Compares careplane with what else would do its work, in a real Envoy; writes load.md, load.json and load.svg to target/bench.
#[derive(Parser)]
struct Arguments {
    /// All contenders in all of HTTP/1.1 and HTTP/2, direct response and upstream, 8 and 40 headers
    #[arg(long)]
    full: bool,
    /// Rounds, in each of which every contender has its turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of full load for each contender in each round
    #[arg(long, default_value_t = 1.5)]
    flood: f64,
    /// Seconds at the fixed rate
    #[arg(long, default_value_t = 2.0)]
    pace: f64,
    /// The fixed rate, in requests a second
    #[arg(long, default_value_t = 1000)]
    rate: u32,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if !prerequisites(ENVOY, Plugins::PerFilterModules) {
        return Ok(());
    }
    // Before there are threads: they inherit it.
    let cores = Cores::divide()?;
    build_empty()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(run(&arguments, &cores))
}

async fn run(arguments: &Arguments, cores: &Cores) -> Result<()> {
    let Arguments { full, rounds, flood, pace, rate } = *arguments;
    let generator = Generator::find().await;
    let (flood, pace) = (Duration::from_secs_f64(flood), Duration::from_secs_f64(pace));
    let measured = Plan { rounds, flood, pace, rate, full }.run(cores, generator).await?;
    let command = if full { "make bench BENCH=full" } else { "make bench" };
    let report = Report::new(Machine::here(cores, command), generator.describe(), rate, &measured);
    if let Some(table) = report.cells.first() {
        plot::added(table, &built().join("load.svg"))?;
    }
    write("load", &report.page(), &report)
}
