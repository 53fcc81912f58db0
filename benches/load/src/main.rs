//! `careplane-load`: careplane in a real Envoy, beside what else would do its work.

use std::time::Duration;

use anyhow::Result;
use careplane_integration::{Plugins, prerequisites};
use careplane_load::{
    breakdown::Breakdown,
    comparison::Plan,
    contender::{build_empty, built},
    generator::Generator,
    machine::Machine,
    plot,
    process::Cores,
    report::{Report, write},
    running::ENVOY,
};
use clap::{Parser, Subcommand};

/// What careplane costs in a real Envoy. Results go to target/bench.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    question: Question,
    /// Rounds; each contender has one turn in each
    #[arg(long, global = true, default_value_t = 5)]
    rounds: usize,
    /// Seconds of full load for each in each round
    #[arg(long, global = true, default_value_t = 1.5)]
    flood: f64,
}

#[derive(Subcommand)]
enum Question {
    /// Beside what else would do its work: load.md, load.json and load.svg
    Compare {
        /// All contenders in all of HTTP/1.1 and HTTP/2, direct response and upstream, 8 and 40 headers
        #[arg(long)]
        full: bool,
        /// These contenders alone, beside `router only`, in one kind of traffic: into load-only.md and .json
        #[arg(long, value_delimiter = ',', conflicts_with = "full")]
        only: Vec<String>,
        /// Seconds at the fixed rate
        #[arg(long, default_value_t = 2.0)]
        pace: f64,
        /// The fixed rate, in requests a second
        #[arg(long, default_value_t = 1000)]
        rate: u32,
    },
    /// What the time goes to: breakdown.md and breakdown.json
    Breakdown,
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
    let generator = Generator::find().await;
    let flood = Duration::from_secs_f64(arguments.flood);
    match &arguments.question {
        &Question::Compare { full, pace, rate, ref only } => {
            let pace = Duration::from_secs_f64(pace);
            let plan = Plan { rounds: arguments.rounds, flood, pace, rate, full, only: only.clone() };
            let measured = plan.run(cores, generator).await?;
            let command = if full { "make bench BENCH=full" } else { "make bench" };
            let report = Report::new(Machine::here(cores, command), generator.describe(), rate, &measured);
            let name = if only.is_empty() { "load" } else { "load-only" };
            if let Some(table) = report.cells.first() {
                plot::added(table, &built().join(name).with_extension("svg"))?;
            }
            write(name, &report.page(name), &report)
        }
        Question::Breakdown => {
            let breakdown = Breakdown::measure(arguments.rounds, flood, cores, generator).await?;
            write("breakdown", &breakdown.page(), &breakdown)
        }
    }
}
