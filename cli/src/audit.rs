//! `careplane audit`: what the audit records prove, and what they say.

mod export;
mod human;
mod input;
mod keys;
mod merge;
mod output;
mod report;
mod scope;
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
    /// Makes one page of the records of a period, for somebody who is not an engineer
    Report(report::Arguments),
    /// Writes records in the form of another standard
    Export(export::Arguments),
}

/// Exit code 0 when all holds, 1 when not; 2, by the caller, when something cannot be read.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Verify(arguments) => verify::run(arguments),
        Command::Merge(arguments) => merge::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Export(arguments) => export::run(arguments),
    }
}
