//! `careplane audit`: what the audit records prove.

mod human;
mod keys;
mod merge;
mod output;
mod verify;

use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Says of every chain of records whether it is whole and unchanged, and where it is not
    Verify(verify::Arguments),
    /// Makes one report of the JSON reports of all shards
    Merge(merge::Arguments),
}

/// Exit code 0 when all holds, 1 when not; 2, by the caller, when something cannot be read.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Verify(arguments) => verify::run(arguments),
        Command::Merge(arguments) => merge::run(arguments),
    }
}
