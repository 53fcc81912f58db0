//! `careplane audit search`.

mod form;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use careplane_evidence::report;
use careplane_evidence::search::{html, search_with};
use careplane_evidence::source::Source;
use jiff::Timestamp;

pub use form::line;

use super::{filter, input, keys, progress, proxies};
use crate::out;

#[derive(clap::Args)]
pub struct Arguments {
    /// The records, as `careplane audit verify` reads them
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    filter: filter::FilterArguments,
    #[command(flatten)]
    keys: keys::KeyArguments,
    #[command(flatten)]
    proxies: proxies::ProxiesArguments,
    /// Format of the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// List every record: also of the other proxies that a request passed, and of mirrored copies. Always so with json
    /// and csv
    #[arg(long)]
    hops: bool,
    /// The heading of the page
    #[arg(long)]
    title: Option<String>,
    /// The output file; default: the standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Lines for people
    Table,
    /// A JSON object per line; the last one lists the chains that were searched
    Json,
    /// Comma-separated values, with a heading
    Csv,
    /// A page for a person who asks who used their data
    Html,
}

/// Exit code 0 when all chains are whole, 1 when not.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let reads_stdin = arguments.paths.iter().any(|path| path.as_os_str() == "-");
    anyhow::ensure!(
        !(reads_stdin && arguments.filter.people.take_stdin()),
        "the person and the records both want the standard input: give the records as files"
    );
    let inputs = [&arguments.paths[..], arguments.keys.files(), arguments.proxies.files()];
    input::ensure_apart(arguments.output.as_ref(), inputs.into_iter().flatten())?;
    let expected = arguments.proxies.read(&arguments.paths)?;
    let (query, asked) = arguments.filter.query()?;
    let mut sources = Source::expand(&arguments.paths)?;
    let bar = progress::bar(&mut sources);
    let mut answer = search_with(&query, arguments.keys.read()?, Timestamp::now(), &sources, |_| {})?;
    drop(bar);
    answer.doubts.extend(report::absent_within(&answer.verification, &query.scope(), &expected));
    input::report_unreadable(&answer.verification);
    input::ensure_records(&answer.verification, &arguments.paths)?;
    let written = match arguments.format {
        Format::Table => form::table(&answer, arguments.hops),
        Format::Json => form::json(&answer)?,
        Format::Csv => form::csv(&answer)?,
        Format::Html => html(&answer, &query, asked, arguments.title.as_deref())?,
    };
    match &arguments.output {
        Some(path) => {
            let written = anstream::adapter::strip_str(&written).to_string();
            fs::write(path, written).with_context(|| path.display().to_string())?;
        }
        None => out::print(&written)?,
    }
    eprint!("{}", form::statement(&answer));
    Ok(ExitCode::from(u8::from(!answer.doubts.is_empty())))
}
