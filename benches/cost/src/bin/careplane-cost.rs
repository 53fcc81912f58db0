//! `careplane-cost`: what a request costs in instructions and host calls, and where they go.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use careplane_cost::{
    Scenario, directory,
    profile::{self, Profile},
    scenario,
    table::Table,
    taking::{self, Taking},
};
use careplane_integration::workspace;
use clap::{Parser, Subcommand};

/// Counts the instructions and host calls of requests through the module.
#[derive(Parser)]
struct Arguments {
    /// The module; dist/careplane.wasm when not given
    #[arg(long, global = true)]
    module: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the table
    Show,
    /// Compares with the committed table; fails when something got worse, or the table is stale
    Check,
    /// Writes the committed table: table.json and taking.json in benches/cost, and benches/cost.md
    Accept,
    /// Prints what a directory of tenants costs: memory, and the callbacks that take it in
    Directory {
        /// How many tenants it has
        #[arg(long, default_value_t = 100_000)]
        tenants: usize,
    },
    /// Prints the functions that a scenario spends most in; names need a module that was linked with them
    /// (`make profile`)
    Profile {
        /// A scenario of the table, or a policy to take
        scenario: String,
        /// How many functions
        #[arg(long, default_value_t = 40)]
        top: usize,
        /// By the instructions of a function and of those that it calls, instead of its own
        #[arg(long)]
        all: bool,
    },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let module = arguments.module.unwrap_or_else(|| workspace::dist().join("careplane.wasm"));
    match arguments.command {
        Command::Show => print!("{}", Table::measure(&module)?.page()),
        Command::Accept => Table::measure(&module)?.commit()?,
        Command::Check => {
            let differences = Table::measure(&module)?.differences(&Table::committed()?);
            if !differences.is_empty() {
                bail!("the cost of a request has changed:\n{}", differences.join("\n"));
            }
        }
        Command::Directory { tenants } => print!("{}", directory::page(&module, tenants)?),
        Command::Profile { scenario, top, all } => match taking::ALL.iter().find(|taking| taking.name == scenario) {
            Some(taking) => print_profile_of_taking(taking, &module, top, all)?,
            None => print_profile(&find(&scenario)?, &module, top, all)?,
        },
    }
    Ok(())
}

fn find(name: &str) -> Result<Scenario> {
    let scenarios = scenario::all()?;
    let names = scenarios.iter().map(|scenario| scenario.name).chain(taking::ALL.iter().map(|taking| taking.name));
    let names = names.collect::<Vec<_>>().join(", ");
    let found = scenarios.into_iter().find(|scenario| scenario.name == name);
    found.with_context(|| format!("there is no scenario {name:?}: expected one of {names}"))
}

fn print_profile_of_taking(taking: &Taking, module: &Path, top: usize, all: bool) -> Result<()> {
    let (taken, profile) = taking.measure(&profile::instrument(module)?)?;
    println!("{}: a policy with {} contexts and {} tenants", taking.name, taking.contexts, taking.tenants);
    println!("{} bytes of document, {} of memory, {} when replaced", taken.document, taken.memory, taken.replaced);
    print(&mut profile.context("the module is instrumented")?, 1, top, all);
    Ok(())
}

fn print_profile(scenario: &Scenario, module: &Path, top: usize, all: bool) -> Result<()> {
    let (measured, profile) = scenario.measure(&profile::instrument(module)?)?;
    println!("{}: {}", scenario.name, scenario.about);
    print(&mut profile.context("the module is instrumented")?, measured.requests, top, all);
    Ok(())
}

fn print(profile: &mut Profile, times: u64, top: usize, all: bool) {
    let each = |count: u64| count as f64 / times as f64;
    let total: u64 = profile.iter().map(|(_, part)| part.own).sum();
    println!("{:.0} instructions each\n", each(total));
    println!("{:>9} {:>6} {:>9} {:>8}  function", "own", "%", "all", "calls");
    profile.sort_by_key(|(_, part)| std::cmp::Reverse(if all { part.all } else { part.own }));
    for (name, part) in profile.iter().take(top) {
        println!(
            "{:>9.0} {:>6.1} {:>9.0} {:>8.2}  {name}",
            each(part.own),
            part.own as f64 / total as f64 * 100.0,
            each(part.all),
            each(part.calls),
        );
    }
}
