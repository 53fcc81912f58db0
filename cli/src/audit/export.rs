//! `careplane audit export`.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use careplane_evidence::Record;
use careplane_evidence::fhir::{Exporter, Form, Writer};
use careplane_evidence::report::{Scope, Standing, absent_within};
use careplane_evidence::source::{Location, Source};
use careplane_evidence::verify::{Clock, Demands, Keyring, Settings, State, Time, Verification, Verifier};

use super::plain::plain;
use super::{human, input, keys, proxies, scope};

#[derive(clap::Args)]
pub struct Arguments {
    /// The records. They are read twice, so they have to be files
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    scope: scope::ScopeArguments,
    #[command(flatten)]
    keys: keys::KeyArguments,
    #[command(flatten)]
    proxies: proxies::ProxiesArguments,
    /// The standard
    #[arg(long, value_enum)]
    format: Format,
    /// Write one Bundle instead of a resource in each line
    #[arg(long, value_enum)]
    bundle: Option<Bundle>,
    /// The output file; default: the standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// AuditEvents of FHIR R4
    Fhir,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Bundle {
    /// Events, together
    Collection,
    /// What a server is asked to store, each event at its id
    Transaction,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let inputs = [&arguments.paths[..], arguments.keys.files(), arguments.proxies.files()];
    input::ensure_apart(arguments.output.as_ref(), inputs.into_iter().flatten())?;
    let Format::Fhir = arguments.format;
    let scope = arguments.scope.scope()?;
    let form = match arguments.bundle {
        None => Form::Ndjson,
        Some(Bundle::Collection) => Form::Collection,
        Some(Bundle::Transaction) => Form::Transaction,
    };
    let sources = Source::expand(&arguments.paths)?;
    // Of a pipe, nothing is left for the second time.
    if let Some(source) = sources.iter().find(|source| source.size().is_none()) {
        anyhow::bail!(
            "{} cannot be read twice, and the last record of a chain can name its proxy. Give files",
            source.name()
        );
    }
    let expected = arguments.proxies.read(&arguments.paths)?;
    let keys = arguments.keys.read()?;
    let mut exporter = Exporter::default();
    // First, whose chains they are: the last record of a chain can say it.
    let is_of_chain = |text: &[u8]| memchr::memmem::find(text, br#""proxy":{"id""#).is_some();
    read(&sources, Settings { keys: keys.clone(), ..Settings::default() }, &is_of_chain, |record, _| {
        // What cannot be read is told the second time.
        record.iter().for_each(|record| exporter.learn(record));
        Ok(())
    })?;
    let out: Box<dyn Write> = match &arguments.output {
        Some(path) => Box::new(File::create(path).with_context(|| path.display().to_string())?),
        None => Box::new(std::io::stdout().lock()),
    };
    let writer = Writer::new(BufWriter::new(out), form);
    let (verification, skipped) = match write(&sources, keys, &scope, exporter, writer) {
        // The reader has seen enough (`| head`).
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == ErrorKind::BrokenPipe) => {
            return Ok(ExitCode::SUCCESS);
        }
        done => done?,
    };
    input::ensure_records(&verification, &arguments.paths)?;
    // Where there are keys, a chain without one can be of another platform, or made up.
    let keyed = !verification.keys.is_empty() || verification.chains.iter().any(|chain| !chain.keys.is_empty());
    let demands = Demands { keyed, ..Demands::default() };
    let absent = absent_within(&verification, &scope, &expected);
    absent.iter().for_each(|absent| eprintln!("careplane: {}", plain(absent)));
    if skipped > 0 {
        let records = if skipped == 1 {
            "1 record has its hash and is".into()
        } else {
            format!("{skipped} records have their hash and are")
        };
        eprintln!("careplane: {records} no event, because it cannot be read");
    }
    if verification.holds(demands) {
        return Ok(ExitCode::from(u8::from(absent.is_some() || skipped > 0)));
    }
    eprint!("{}", anstream::adapter::strip_str(&human::text(&verification, demands, false)));
    eprintln!("careplane: the events are of records that have their hash; that none is missing is not shown");
    Ok(ExitCode::FAILURE)
}

/// Verifies what it writes, in the same reading: a record that was changed, or whose key is not given, is no event.
/// Says which cannot be read although they have their hash, and returns how many these are.
fn write(
    sources: &[Source],
    keys: Keyring,
    scope: &Scope,
    mut exporter: Exporter,
    mut writer: Writer<impl Write>,
) -> anyhow::Result<(Verification, u64)> {
    let now = Time::now();
    let clock = match scope.to.map(Time::from).filter(|to| *to < now) {
        Some(to) => Clock::Given(to),
        None => Clock::Wall(now),
    };
    let mut skipped = 0;
    let verification =
        read(sources, Settings { keys, clock, ..Settings::default() }, &|_| true, |record, location| {
            let event = record.and_then(|record| {
                let time = record.time.parse().map_err(|_| format!("time {:?} is not of RFC 3339", record.time))?;
                if scope.standing(record, time) != Standing::Within {
                    return Ok(None);
                }
                exporter.event(record).map_err(|error| error.to_string())
            });
            match event {
                Ok(event) => event.map_or(Ok(()), |event| writer.write(&event)),
                Err(why) => {
                    skipped += 1;
                    if skipped <= input::LISTED_MAX as u64 {
                        let location = location.to_string();
                        eprintln!("careplane: {}: not a readable record: {}", plain(&location), plain(&why));
                    }
                    Ok(())
                }
            }
        })?;
    writer.finish()?;
    Ok((verification, skipped))
}

/// Hands out the records that have their hash, of those that `wants` wants, or why one cannot be read; and where it is.
fn read(
    sources: &[Source],
    settings: Settings,
    wants: &(dyn Fn(&[u8]) -> bool + Sync),
    mut each: impl FnMut(Result<&Record<'_>, String>, Location<'_>) -> io::Result<()>,
) -> anyhow::Result<Verification> {
    let mut verifier = Verifier::new(settings);
    for source in sources {
        verifier.read_with(source, wants, |found| {
            if found.state != State::Valid {
                return Ok(());
            }
            let record = Record::parse(found.text).map_err(|error| error.to_string());
            each(record.as_ref().map_err(Clone::clone), found.location)
        })?;
    }
    Ok(verifier.finish()?)
}
