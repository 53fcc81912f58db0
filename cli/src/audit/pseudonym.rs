//! `careplane audit pseudonym`.

use std::process::ExitCode;

use super::people::PeopleArguments;
use crate::out;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    people: PeopleArguments,
}

/// Prints the pseudonym under each key, one a line.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let people = arguments.people.read()?;
    anyhow::ensure!(!people.is_empty(), "whose pseudonym? --subject or --user");
    let lines = people.iter().flat_map(|named| &named.pseudonyms).map(|(_, pseudonym)| format!("{pseudonym}\n"));
    out::print(&lines.collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}
