//! `careplane audit`: what the audit records prove, and what they say.

mod export;
mod filter;
mod follow;
mod human;
mod input;
mod keys;
mod merge;
mod output;
mod people;
mod progress;
mod proxies;
mod pseudonym;
mod report;
mod scope;
mod search;
mod shadow;
mod verify;

use std::process::ExitCode;

use crate::plain;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Box<Command>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Verifies that no record is missing or changed, and prints where one is
    Verify(verify::Arguments),
    /// Merges the JSON reports of all shards into one report
    Merge(merge::Arguments),
    /// Makes one page of the records of a period, for readers who are not engineers
    Report(report::Arguments),
    /// Writes records in the form of another standard
    Export(export::Arguments),
    /// Finds who did what with whose data, and lists the chains that it searched
    Search(search::Arguments),
    /// Shows what policies in shadow would have refused, and what to change
    Shadow(shadow::Arguments),
    /// Prints the pseudonym of a person under each key
    Pseudonym(pseudonym::Arguments),
    /// Prints new records as they are written
    Follow(follow::Arguments),
}

/// Returns exit code 0 when all checks hold, else 1. The caller makes it 2 when something cannot be read.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &*arguments.command {
        Command::Verify(arguments) => verify::run(arguments),
        Command::Merge(arguments) => merge::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Search(arguments) => search::run(arguments),
        Command::Shadow(arguments) => shadow::run(arguments),
        Command::Pseudonym(arguments) => pseudonym::run(arguments),
        Command::Follow(arguments) => follow::run(arguments),
    }
}
