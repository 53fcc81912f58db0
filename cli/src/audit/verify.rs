//! `careplane audit verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use careplane_evidence::source::Source;
use careplane_evidence::verify::{Settings, Shard, Time, Verifier};

use super::keys;
use super::output;

#[derive(clap::Args)]
pub struct Arguments {
    /// Access logs, collector output, proxy logs, in any order and mixed; gzip when named `*.gz`; a folder is all files below it. `-` is the standard input
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    keys: keys::KeyArguments,
    /// Verify only the chains of one of COUNT parts, INDEX from 0 on: for `careplane audit merge`
    #[arg(long, value_name = "INDEX/COUNT")]
    shard: Option<Shard>,
    /// What is now, for chains without an end: silent for three minutes means cut. The newest time in the records unless given
    #[arg(long, value_name = "RFC3339", value_parser = |text: &str| Time::try_from(text.to_owned()))]
    as_of: Option<Time>,
    #[command(flatten)]
    output: output::OutputArguments,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let settings = Settings {
        keys: arguments.keys.read()?,
        shard: arguments.shard,
        as_of: arguments.as_of,
        ..Settings::default()
    };
    let sources = Source::expand(&arguments.paths)?;
    let mut verifier = Verifier::new(settings);
    for source in &sources {
        verifier.read(source)?;
    }
    arguments.output.tell(&verifier.finish()?)
}
