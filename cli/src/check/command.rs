//! The command.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;

use super::output::Format;
use super::rules::Level;
use super::{Extras, check_with};
use crate::{input, out};

#[derive(clap::Args)]
pub struct Arguments {
    /// Policies (YAML or JSON), manifests, folders of them; a kustomization is rendered first. `-` is the standard
    /// input
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Format of the findings
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Warnings count as errors for the exit code
    #[arg(long)]
    strict: bool,
    /// Also notes the headers that no manifest reads. Applications may read them; what they do not read either can be
    /// in `headers.omit`
    #[arg(long)]
    unread_headers: bool,
}

/// Exit code 0 without errors (`--strict`: and warnings), 1 with; 2, by the caller, when something cannot be read.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let input = input::read(&arguments.paths)?;
    let (findings, summary) = check_with(&input, Extras { unread_headers: arguments.unread_headers });
    if summary.documents == 0 && findings.is_empty() {
        let given = arguments.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        bail!("there is nothing to check in {given}: expected a policy, or manifests");
    }
    out::print(&arguments.format.text(&input, &findings, summary))?;
    let worst = if arguments.strict { Level::Warning } else { Level::Error };
    let fails = findings.iter().any(|finding| finding.rule.level <= worst);
    Ok(ExitCode::from(u8::from(fails)))
}
