//! `careplane audit merge`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use careplane_evidence::verify::Verification;

use super::output;

#[derive(clap::Args)]
pub struct Arguments {
    /// What `careplane audit verify --shard --format json` wrote: all shards of one run
    #[arg(required = true, value_name = "FILE")]
    reports: Vec<PathBuf>,
    #[command(flatten)]
    output: output::OutputArguments,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let read = |path: &PathBuf| -> anyhow::Result<Verification> {
        let text = fs::read(path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| format!("{}: not a report in JSON", path.display()))
    };
    let reports: Vec<Verification> = arguments.reports.iter().map(read).collect::<Result<_, _>>()?;
    arguments.output.tell(&Verification::merge(reports)?)
}
