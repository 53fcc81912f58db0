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
mod verify;

use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Box<Command>,
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
    /// Finds who did what with whose data, and says over which chains it looked
    Search(search::Arguments),
    /// Prints the pseudonym of a person under each key
    Pseudonym(pseudonym::Arguments),
    /// Shows records as they come
    Follow(follow::Arguments),
}

/// Exit code 0 when all holds, 1 when not; 2, by the caller, when something cannot be read.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &*arguments.command {
        Command::Verify(arguments) => verify::run(arguments),
        Command::Merge(arguments) => merge::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Search(arguments) => search::run(arguments),
        Command::Pseudonym(arguments) => pseudonym::run(arguments),
        Command::Follow(arguments) => follow::run(arguments),
    }
}
