//! `careplane-scale`: how the cost of careplane grows with the policy. Writes scale.md, scale.json and scale.svg to target/bench.

#![forbid(unsafe_code)]

mod plot;
mod scale;

use anyhow::Result;
use careplane_integration::{Plugins, prerequisites};
use careplane_load::{contender::built, machine::Machine, process::Cores, report::write, running::ENVOY};
use clap::Parser;

use self::scale::Scale;

/// Measures policies from small to large: instructions of a request, and start and memory of a real Envoy.
#[derive(Parser)]
struct Arguments {
    /// Starts of Envoy for each policy
    #[arg(long, default_value_t = 3)]
    starts: usize,
}

fn main() -> Result<()> {
    let Arguments { starts } = Arguments::parse();
    if !prerequisites(ENVOY, Plugins::Bundle) {
        return Ok(());
    }
    // Before there are threads: they inherit it.
    let cores = Cores::divide()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let machine = Machine::here(&cores, "make bench-scale");
    let scale = runtime.block_on(Scale::measure(machine, &cores, starts))?;
    std::fs::create_dir_all(built())?;
    plot::growth(&scale, &built().join("scale.svg"))?;
    write("scale", &scale.page(), &scale)
}
