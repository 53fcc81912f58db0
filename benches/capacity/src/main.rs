//! `careplane-capacity`: what a platform of many care homes would need. Measures on this machine what one record costs
//! in each program that it passes, and simulates a day of a national platform with that. Writes capacity.md and
//! capacity.json to target/bench.

#![forbid(unsafe_code)]

mod constants;
mod page;
mod simulation;

use anyhow::Result;
use careplane_load::{contender::built, machine::Machine, process::Cores, report::write};
use clap::Parser;
use serde::Serialize;

use self::{
    constants::Constants,
    simulation::{Day, Platform},
};

/// Simulates a day of a national platform, with constants that are measured here.
#[derive(Parser)]
struct Arguments {
    /// Records to measure with: what the Collector writes into one file before it begins another
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1_000..=50_000))]
    sample: u32,
    #[command(flatten)]
    platform: Platform,
}

/// All of one run, for programs.
#[derive(Serialize)]
struct Report<'r> {
    machine: &'r Machine,
    platform: &'r Platform,
    constants: &'r Constants,
    day: &'r Day,
}

fn main() -> Result<()> {
    let Arguments { sample, platform } = Arguments::parse();
    platform.check()?;
    let cores = Cores::divide()?;
    let machine = Machine::here(&cores, "make bench-capacity");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let constants = runtime.block_on(Constants::measure(sample))?;
    let day = Day::simulate(&platform, &constants);
    std::fs::create_dir_all(built())?;
    let report = Report { machine: &machine, platform: &platform, constants: &constants, day: &day };
    write("capacity", &page::page(&report), &report)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        super::Arguments::command().debug_assert();
    }
}
