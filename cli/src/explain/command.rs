//! The command.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;

use super::{CollectorAnswer, Human, Judged, RequestArguments, Written};
use crate::{directory, filters, out};

#[derive(clap::Args)]
pub struct Arguments {
    /// A policy, or a manifest with one inside: a file, a kustomization, or `-`
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The manifest to use, if the file has several with a policy
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    request: RequestArguments,
    /// The filters to run; default: those of the manifest, else all
    #[arg(long, value_parser = filters::NAMES)]
    plugin: Option<String>,
    /// The collector's answer to the intents of `audit.writeAhead`
    #[arg(long, value_enum, default_value_t = CollectorAnswer::Acknowledges)]
    collector: CollectorAnswer,
    /// The directory of `tenants.directory`, a folder as `careplane directory build` writes it
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Format of the explanation
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// For people
    Human,
    /// As docs/explain.md describes it
    Json,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let written = Written::read(&arguments.policy, arguments.name.as_deref())?;
    let judged = Judged::new(written, &arguments.policy.display().to_string())?;
    if let Some(folder) = &arguments.directory {
        let Some(source) = &judged.policy().routing.directory else {
            bail!("the policy has no tenants.directory: expected such as {{cluster: …}}");
        };
        judged.set_directory(directory::read(folder, &source.pools)?);
    }
    let request = arguments.request.read()?;
    let explanation = judged.explain(&request, arguments.plugin.as_deref(), arguments.collector)?;
    out::print(&match arguments.format {
        Format::Human => Human(&explanation).to_string(),
        Format::Json => serde_json::to_string_pretty(&explanation)? + "\n",
    })?;
    Ok(ExitCode::SUCCESS)
}
