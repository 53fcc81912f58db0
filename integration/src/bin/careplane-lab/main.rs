//! `careplane-lab`: what a person does with the harness without writing a test.

mod demo;
mod record;
mod run;
mod scenes;
mod soak;
mod terminal;
mod up;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use careplane_integration::compose;
use clap::{Parser, Subcommand};

/// Runs careplane in a real Envoy on this machine.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows a day of a care home, request by request, and checks that each went as it should
    Demo,
    /// Leaves the lab running until Ctrl-C, and prints each audit record as it is written
    Up,
    /// Sends mixed traffic for a long time, and looks whether memory grows or anything is lost
    Soak {
        /// How long. Anything below 20 is for trying it out: memory is not warm yet
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        minutes: u32,
    },
    /// Writes what docker-compose.yaml mounts, apart from programs: `make compose-files` adds those
    ComposeFiles {
        /// Where to; the composition expects them in .run/compose
        #[arg(long, value_name = "DIRECTORY")]
        to: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("careplane-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo => block_on(demo::run()),
        Command::Up => block_on(up::run()),
        Command::Soak { minutes } => block_on(soak::run(minutes)),
        Command::ComposeFiles { to } => {
            let directory = to.unwrap_or_else(compose::directory);
            compose::write(&directory, &scenes::scenes())?;
            println!("wrote {}", directory.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn block_on(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(command)
}
