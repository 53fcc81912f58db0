//! `careplane audit merge`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use careplane_evidence::report::{Aggregate, SCHEMA};
use careplane_evidence::verify::Verification;
use serde::Deserialize;

use super::{output, proxies};

#[derive(clap::Args)]
pub struct Arguments {
    /// What `careplane audit verify --shard --format json` wrote, or `report --shard --format json`: all shards of one
    /// run
    #[arg(required = true, value_name = "FILE")]
    reports: Vec<PathBuf>,
    #[command(flatten)]
    proxies: proxies::ProxiesArguments,
    #[command(flatten)]
    output: output::OutputArguments,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    schema: String,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let inputs = [&arguments.reports[..], arguments.proxies.files()];
    arguments.output.ensure_apart(inputs.into_iter().flatten())?;
    let expected = arguments.proxies.read(&arguments.reports)?;
    let read = |path: &PathBuf| -> anyhow::Result<Verification> {
        let text = super::input::text(path)?;
        let shown = || path.display().to_string();
        let named: Named = serde_json::from_str(&text).with_context(|| format!("{}: not a report in JSON", shown()))?;
        if named.schema == SCHEMA {
            return Ok(Aggregate::from_json(&text).with_context(shown)?.verification);
        }
        serde_json::from_str(&text).with_context(|| format!("{}: not a report in JSON", shown()))
    };
    let reports: Vec<Verification> = arguments.reports.iter().map(read).collect::<Result<_, _>>()?;
    arguments.output.print(&Verification::merge(reports)?, &expected)
}
