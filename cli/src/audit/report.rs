//! `careplane audit report`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use careplane_evidence::report::{self, Aggregate, DeliveryCounters, Making, Merge as _};
use careplane_evidence::source::Source;
use careplane_evidence::verify::Shard;
use jiff::Timestamp;

use super::plain::plain;
use super::{input, keys, progress, proxies, scope};
use crate::out;

#[derive(clap::Args)]
pub struct Arguments {
    /// The records, as `careplane audit verify` reads them; with --merge, reports in JSON. `-` is the standard input
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    scope: scope::ScopeArguments,
    #[command(flatten)]
    keys: keys::KeyArguments,
    /// Make one report of those of all shards, which were written with --format json
    #[arg(long, conflicts_with_all = ["from", "to", "regulator", "tenant", "shard", "key_env", "key_file"])]
    merge: bool,
    /// Verify and count only one of COUNT parts, INDEX from 0 on, with --format json: for --merge
    #[arg(long, value_name = "INDEX/COUNT", conflicts_with_all = ["metrics", "proxies"])]
    shard: Option<Shard>,
    /// Output of Envoy's /stats/prometheus, of one proxy or of many; can be repeated
    #[arg(long, value_name = "FILE")]
    metrics: Vec<PathBuf>,
    #[command(flatten)]
    proxies: proxies::ProxiesArguments,
    /// The heading of the page
    #[arg(long)]
    title: Option<String>,
    /// Format of the output
    #[arg(long, value_enum, default_value_t = Format::Html)]
    format: Format,
    /// The output file; default: the standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// One page that needs nothing else
    Html,
    /// Figures and verification, for --merge and for programs, as docs/audit-report.md describes them
    Json,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let inputs = [&arguments.paths[..], &arguments.metrics[..], arguments.keys.files(), arguments.proxies.files()];
    input::ensure_apart(arguments.output.as_ref(), inputs.into_iter().flatten())?;
    anyhow::ensure!(
        arguments.shard.is_none() || matches!(arguments.format, Format::Json),
        "--shard makes a part of a report, and no page: write it with --format json, and merge all parts with --merge"
    );
    let expected = arguments.proxies.read(&arguments.paths)?;
    let mut aggregate = if arguments.merge { merged(&arguments.paths)? } else { counted(arguments)? };
    for path in &arguments.metrics {
        let counters = DeliveryCounters::read(&input::text(path)?).with_context(|| path.display().to_string())?;
        aggregate.ledger.get_or_insert_default().absorb(counters);
    }
    aggregate.expected.extend(expected);
    let written = match arguments.format {
        Format::Html => report::html(&aggregate, arguments.title.as_deref())?,
        Format::Json => serde_json::to_string_pretty(&aggregate)? + "\n",
    };
    match &arguments.output {
        Some(path) => fs::write(path, written).with_context(|| path.display().to_string())?,
        None => out::print(&written)?,
    }
    if arguments.shard.is_none() {
        for doubt in report::doubts(&aggregate) {
            eprintln!("careplane: not shown to be complete: {}", plain(&doubt));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn counted(arguments: &Arguments) -> anyhow::Result<Aggregate> {
    let mut sources = Source::expand(&arguments.paths)?;
    let _bar = progress::bar(&mut sources);
    let mut making = Making::new(arguments.scope.scope()?, Timestamp::now());
    making.keys = arguments.keys.read()?;
    making.shard = arguments.shard;
    let aggregate = making.make(&sources)?;
    input::report_unreadable(&aggregate.verification);
    if arguments.shard.is_none() {
        input::ensure_records(&aggregate.verification, &arguments.paths)?;
    }
    Ok(aggregate)
}

fn merged(paths: &[PathBuf]) -> anyhow::Result<Aggregate> {
    let read = |path: &PathBuf| Aggregate::from_json(&input::text(path)?).with_context(|| path.display().to_string());
    let parts = paths.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Aggregate::merge(parts)?)
}
