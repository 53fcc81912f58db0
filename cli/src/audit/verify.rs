//! `careplane audit verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use careplane_evidence::source::Source;
use careplane_evidence::verify::{Clock, Settings, Shard, Time, Verifier};

use super::{keys, output, progress, proxies};

#[derive(clap::Args)]
pub struct Arguments {
    /// Access logs, collector output, proxy logs, in any order and mixed, plain, gzip or zstd; a folder is all files
    /// below it. `-` is the standard input
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    keys: keys::KeyArguments,
    /// Verify only the chains of one of COUNT parts, INDEX from 0 on: for `careplane audit merge`
    #[arg(long, value_name = "INDEX/COUNT", conflicts_with = "proxies")]
    shard: Option<Shard>,
    /// The given folder has a folder for each proxy: a shard reads only the folders of its part
    #[arg(long, requires = "shard")]
    partitioned: bool,
    /// The time at which chains without an end are judged: silent for three minutes means cut. Default: now.
    /// `newest-record` is for old archives, and hides a cut of all chains at one instant
    #[arg(long, value_name = "RFC3339|newest-record", value_parser = clock)]
    as_of: Option<Clock>,
    #[command(flatten)]
    proxies: proxies::ProxiesArguments,
    #[command(flatten)]
    output: output::OutputArguments,
}

fn clock(text: &str) -> Result<Clock, String> {
    match text {
        "newest-record" => Ok(Clock::NewestRecord),
        _ => Time::try_from(text.to_owned()).map(Clock::Given),
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let settings = Settings {
        keys: arguments.keys.read()?,
        shard: arguments.shard.filter(|_| !arguments.partitioned),
        part: arguments.shard.filter(|_| arguments.partitioned),
        clock: arguments.as_of.unwrap_or_else(|| Clock::Wall(Time::now())),
        ..Settings::default()
    };
    let inputs = [&arguments.paths[..], arguments.keys.files(), arguments.proxies.files()];
    arguments.output.ensure_apart(inputs.into_iter().flatten())?;
    let expected = arguments.proxies.read(&arguments.paths)?;
    let mut sources = Source::expand(&arguments.paths)?;
    let _bar = progress::bar(&mut sources);
    let mut verifier = Verifier::new(settings);
    for source in &sources {
        verifier.read(source)?;
    }
    let verification = verifier.finish()?;
    arguments.output.print(&verification, &expected)
}
