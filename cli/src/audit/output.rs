//! How a verification is printed, and what has to hold.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use careplane_evidence::report;
use careplane_evidence::verify::{Demands, Verification};

use super::plain::plain;
use super::{human, input};
use crate::out;

#[derive(clap::Args)]
pub struct OutputArguments {
    /// Every chain has to have ended
    #[arg(long)]
    closed: bool,
    /// Every file has to have the records of a chain in order
    #[arg(long)]
    ordered: bool,
    /// Every record has to be keyed
    #[arg(long)]
    require_key: bool,
    /// Format of the result
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// List complete chains too
    #[arg(long)]
    all: bool,
    /// Write the result to this file instead of the standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Exit with 0 even if a check fails: for shards, because the merged report decides
    #[arg(long)]
    exit_zero: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Lines for people
    Human,
    /// As docs/audit-verify.md describes it
    Json,
}

impl OutputArguments {
    /// Refuses to write to what is read.
    pub fn ensure_apart<'p>(&self, inputs: impl IntoIterator<Item = &'p PathBuf>) -> anyhow::Result<()> {
        input::ensure_apart(self.output.as_ref(), inputs)
    }

    /// Prints the result, and which of the expected proxies have no chain; returns the exit code.
    pub fn print(&self, verification: &Verification, expected: &[String]) -> anyhow::Result<ExitCode> {
        let demands = Demands { closed: self.closed, ordered: self.ordered, keyed: self.require_key };
        let text = match self.format {
            Format::Human => human::text(verification, demands, self.all),
            Format::Json => format!("{}\n", serde_json::to_string_pretty(verification)?),
        };
        match &self.output {
            Some(path) => {
                let text = anstream::adapter::strip_str(&text).to_string();
                fs::write(path, text).with_context(|| path.display().to_string())?;
            }
            None => out::print(&text)?,
        }
        let absent = report::absent(&verification.chains, expected);
        absent.iter().for_each(|absent| eprintln!("careplane: {}", plain(absent)));
        let is_well = verification.holds(demands) && absent.is_none();
        Ok(ExitCode::from(u8::from(!self.exit_zero && !is_well)))
    }
}
