//! `careplane audit follow`.

mod tail;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use careplane_evidence::search::{Hit, Query};
use careplane_evidence::source::{Item, Location, Source};
use careplane_evidence::verify::{Found, Live};
use careplane_evidence::{Kind, Record};
use jiff::Timestamp;

use super::plain::plain;
use super::search::line;
use super::{filter, keys};
use crate::out;
use tail::FollowedFiles;

const BAD: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

#[derive(clap::Args)]
pub struct Arguments {
    /// Files that records are written to: access logs, collector output, proxies' logs. `-` is the standard input
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    filter: filter::FilterArguments,
    #[command(flatten)]
    keys: keys::KeyArguments,
    /// Begin with the records that are there already
    #[arg(long)]
    from_start: bool,
    /// End after the records that are there
    #[arg(long)]
    once: bool,
}

/// Shows records as they come, until it is interrupted or its output is closed.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (query, _) = arguments.filter.query()?;
    let keys = arguments.keys.read()?;
    let mut live = Live::new(keys);
    let mut tail = FollowedFiles::open(&arguments.paths, arguments.from_start || arguments.once)?;
    loop {
        let mut lines = tail.lines()?;
        let is_quiet = lines.is_empty();
        if is_quiet && arguments.once {
            lines = tail.unended_lines();
        }
        for (name, number, text) in lines {
            let source = Source::line(name, text);
            let mut text = String::new();
            source.read(|found| {
                match found {
                    Ok(item) => text += &lines_of(&mut live, &item, number, &query),
                    Err(broken) => {
                        text += &format!(
                            "{BAD}unreadable{BAD:#} {}:{number}: {}\n",
                            broken.location.source,
                            plain(&broken.why)
                        )
                    }
                }
                Ok(())
            })?;
            match out::write(&text) {
                // The reader has seen enough (`| head`).
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
                done => done?,
            }
        }
        if is_quiet && tail.is_over(arguments.once) {
            return Ok(ExitCode::SUCCESS);
        }
        if is_quiet {
            tail.wait();
        }
    }
}

/// What there is to say of a record: what is wrong with its place in its chain, and itself, when it is asked for and
/// was not shown.
fn lines_of(live: &mut Live, item: &Item<'_>, number: u64, query: &Query) -> String {
    let location = Location { line: number, ..item.location };
    let step = match live.take(item.text) {
        Ok(step) => step,
        Err(why) => return format!("{BAD}unreadable{BAD:#} {location}: {}\n", plain(&why.to_string())),
    };
    let mut text: String = step
        .trouble
        .iter()
        .map(|trouble| format!("{BAD}trouble{BAD:#} {location}: {}\n", plain(&trouble.to_string())))
        .collect();
    let Ok(record) = Record::parse(item.text) else { return text };
    let Ok(time) = record.time.parse::<Timestamp>() else { return text };
    if !step.is_repeated && query.matches(&record, time) {
        let found = Found { text: item.text, location, sink: item.sink, state: step.state, in_shard: true };
        text += &line(&Hit::of(&record, time, &found));
    } else if !step.is_repeated && matches!(record.kind, Kind::Start | Kind::End) {
        let proxy = record.proxy.as_ref().and_then(|proxy| proxy.id.as_deref()).unwrap_or_default();
        let what = if record.kind == Kind::Start { "begins" } else { "ends" };
        text += &format!("{DIM}{time}  chain {} {what}, proxy {}{DIM:#}\n", step.chain, plain(proxy));
    }
    text
}
