//! `careplane audit shadow`.

use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use careplane_evidence::shadow::{Row, Survey, survey};
use careplane_evidence::source::Source;
use jiff::Timestamp;
use serde_json::json;

use super::plain::plain;
use super::{input, keys, progress, scope};
use crate::out;

const HEAD: Style = Style::new().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

#[derive(clap::Args)]
pub struct Arguments {
    /// The records, as `careplane audit verify` reads them
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    scope: scope::ScopeArguments,
    #[command(flatten)]
    keys: keys::KeyArguments,
    /// Format of the output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// Lines for people
    Table,
    /// One object, as docs/shadow.md describes it
    Json,
}

/// Exit code 0 when enforcement would have refused nothing, 1 when it would have.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut sources = Source::expand(&arguments.paths)?;
    let bar = progress::bar(&mut sources);
    let survey = survey(&arguments.scope.scope()?, arguments.keys.read()?, Timestamp::now(), &sources)?;
    drop(bar);
    input::report_unreadable(&survey.verification);
    input::ensure_records(&survey.verification, &arguments.paths)?;
    out::print(&match arguments.format {
        Format::Table => table(&survey),
        Format::Json => json(&survey)?,
    })?;
    for doubt in &survey.doubts {
        eprintln!("careplane: not shown to be complete: {}", plain(doubt));
    }
    Ok(ExitCode::from(u8::from(survey.denied > 0)))
}

fn table(survey: &Survey) -> String {
    let Survey { records, denied, unasked, beyond, .. } = survey;
    if *records == 0 {
        return "No record here is of a policy in shadow.\n".to_owned();
    }
    let mut text = format!("{HEAD}{denied} of {records} requests in shadow would have been refused.{HEAD:#}\n");
    if *unasked > 0 {
        text +=
            &format!("Of {unasked} it is not known: another filter refused them first, or they could not be read.\n");
    }
    survey.rows.iter().for_each(|row| text += &line(row));
    if *beyond > 0 {
        text += &format!("And {beyond} more without a row, because the table is full.\n");
    }
    text
}

fn line(row: &Row) -> String {
    let Row { refused, tally, example, change, .. } = row;
    let template = plain(refused.path_template.as_deref().unwrap_or("(no template)"));
    let example = example.as_ref().map(|id| format!(", such as request {}", plain(id))).unwrap_or_default();
    format!(
        "\n{HEAD}{:>7}{HEAD:#}  {BAD}{}{BAD:#}  {}  {} {template}\n         {DIM}from{DIM:#} {}\n         \
         {DIM}{} to {}{example}{DIM:#}\n         {}\n",
        tally.count,
        plain(&refused.reason),
        plain(&refused.context),
        plain(&refused.method),
        plain(refused.peer.as_deref().unwrap_or("a caller without a certificate")),
        tally.first,
        tally.last,
        plain(change),
    )
}

fn json(survey: &Survey) -> anyhow::Result<String> {
    let value = json!({
        "requests": survey.records,
        "denied": survey.denied,
        "unasked": survey.unasked,
        "refusals": survey.rows,
        "beyond": survey.beyond,
        "whole": survey.doubts.is_empty(),
        "doubts": survey.doubts,
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}
