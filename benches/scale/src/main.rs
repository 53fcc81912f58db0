//! `careplane-scale`: how the cost of careplane grows with the policy, and what requests notice when it changes.
//! Writes scale.md, scale.json, scale.svg, change.md and change.json to target/bench.

#![forbid(unsafe_code)]

mod change;
mod plot;
mod scale;

use anyhow::Result;
use careplane_integration::{Plugins, prerequisites};
use careplane_load::{
    contender::{build_empty, built},
    machine::Machine,
    process::Cores,
    report::write,
    running::ENVOY,
};
use clap::Parser;

use self::{change::Changes, scale::Scale};

/// Measures policies from small to large: instructions of a request, and start and memory of a real Envoy.
#[derive(Parser)]
struct Arguments {
    /// Starts of Envoy for each policy
    #[arg(long, default_value_t = 3)]
    starts: usize,
    /// Changes of each policy, while requests come
    #[arg(long, default_value_t = 10)]
    changes: usize,
    /// Measures the changes alone
    #[arg(long)]
    only_changes: bool,
}

fn main() -> Result<()> {
    let Arguments { starts, changes, only_changes } = Arguments::parse();
    if !prerequisites(ENVOY, Plugins::Bundle) {
        return Ok(());
    }
    // Before there are threads: they inherit it.
    let cores = Cores::divide()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let machine = Machine::here(&cores, "make bench-scale");
    build_empty()?;
    let changes = runtime.block_on(Changes::measure(machine.clone(), &cores, changes))?;
    write("change", &changes.page(), &changes)?;
    if only_changes {
        return Ok(());
    }
    let scale = runtime.block_on(Scale::measure(machine, &cores, starts))?;
    plot::growth(&scale, &built().join("scale.svg"))?;
    write("scale", &scale.page(), &scale)
}
