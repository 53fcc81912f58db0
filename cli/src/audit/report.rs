//! `careplane audit report`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use careplane_evidence::report::{self, Aggregate, Ledger, Merge as _};
use careplane_evidence::verify::{Shard, Verification};
use jiff::Timestamp;

use super::{input, scope};
use crate::out;

#[derive(clap::Args)]
pub struct Arguments {
    /// The records; with --merge, reports in JSON. `-` is the standard input
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    scope: scope::ScopeArguments,
    /// Make one report of several that were written with --format json, each of other chains
    #[arg(long, conflicts_with_all = ["from", "to", "regulator", "tenant", "shard"])]
    merge: bool,
    /// Count only the chains of one of COUNT parts, INDEX from 0 on: for --merge
    #[arg(long, value_name = "INDEX/COUNT")]
    shard: Option<Shard>,
    /// What `careplane audit verify --format json` said of the records; can be given more than once
    #[arg(long, value_name = "FILE")]
    verification: Vec<PathBuf>,
    /// What Envoy's /stats/prometheus said, of one proxy or of many; can be given more than once
    #[arg(long, value_name = "FILE")]
    metrics: Vec<PathBuf>,
    /// The heading of the page
    #[arg(long)]
    title: Option<String>,
    /// What is written
    #[arg(long, value_enum, default_value_t = Format::Html)]
    format: Format,
    /// Where it is written; the standard output unless given
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// One page that needs nothing else
    Html,
    /// The figures, for --merge and for programs, as docs/audit-report.md describes them
    Json,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut aggregate = if arguments.merge { merged(&arguments.paths)? } else { counted(arguments)? };
    for path in &arguments.verification {
        let shown = || path.display().to_string();
        let verification: Verification = serde_json::from_str(&text(path)?)
            .with_context(|| format!("{}: expected what `careplane audit verify --format json` writes", shown()))?;
        for chain in verification.chains {
            aggregate.add_verdict(chain.into()).with_context(shown)?;
        }
    }
    for path in &arguments.metrics {
        let ledger = Ledger::read(&text(path)?).with_context(|| path.display().to_string())?;
        aggregate.ledger.get_or_insert_default().absorb(ledger);
    }
    let written = match arguments.format {
        Format::Html => report::html(&aggregate, arguments.title.as_deref(), Timestamp::now())?,
        Format::Json => serde_json::to_string_pretty(&aggregate)? + "\n",
    };
    match &arguments.output {
        Some(path) => fs::write(path, written).with_context(|| path.display().to_string())?,
        None => out::print(&written)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn counted(arguments: &Arguments) -> anyhow::Result<Aggregate> {
    let mut aggregate = Aggregate::new(arguments.scope.scope()?);
    let tells = arguments.shard.is_none_or(Shard::is_first);
    let read = input::read(&arguments.paths, tells, |record, way| {
        if arguments.shard.is_none_or(|shard| shard.has(&record.chain.id)) {
            aggregate.add(record, way)?;
        }
        Ok(())
    })?;
    if tells {
        aggregate.outside.broken = read.broken;
    }
    Ok(aggregate)
}

fn merged(paths: &[PathBuf]) -> anyhow::Result<Aggregate> {
    let mut merged: Option<Aggregate> = None;
    for path in paths {
        let shown = || path.display().to_string();
        let aggregate = Aggregate::from_json(&text(path)?).with_context(shown)?;
        match &mut merged {
            Some(merged) => merged.merge(aggregate).with_context(shown)?,
            None => merged = Some(aggregate),
        }
    }
    merged.context("there is nothing to merge")
}

fn text(path: &Path) -> anyhow::Result<String> {
    let read =
        if path.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { fs::read_to_string(path) };
    read.with_context(|| path.display().to_string())
}
