//! `careplane audit export`.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use careplane_evidence::fhir::{Exporter, Form, Writer};
use careplane_evidence::report::{Scope, Standing};

use super::{input, scope};

#[derive(clap::Args)]
pub struct Arguments {
    /// The records. They are read twice, so they have to be files
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    scope: scope::ScopeArguments,
    /// The standard
    #[arg(long, value_enum)]
    format: Format,
    /// Write one Bundle instead of a resource in each line
    #[arg(long, value_enum)]
    bundle: Option<Bundle>,
    /// Where it is written; the standard output unless given
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// AuditEvents of FHIR R4, in the shape of IHE BALP
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
    let Format::Fhir = arguments.format;
    let scope = arguments.scope.scope()?;
    anyhow::ensure!(
        arguments.paths.iter().all(|path| path.as_os_str() != "-"),
        "- cannot be read twice: the proxy of a chain can be told by its last record. Give files"
    );
    let form = match arguments.bundle {
        None => Form::Ndjson,
        Some(Bundle::Collection) => Form::Collection,
        Some(Bundle::Transaction) => Form::Transaction,
    };
    let mut exporter = Exporter::default();
    input::read(&arguments.paths, true, |record, _| {
        exporter.learn(record);
        Ok(())
    })?;
    let out: Box<dyn Write> = match &arguments.output {
        Some(path) => Box::new(File::create(path).with_context(|| path.display().to_string())?),
        None => Box::new(std::io::stdout().lock()),
    };
    match write(arguments, &scope, exporter, Writer::new(BufWriter::new(out), form)) {
        // Whoever reads has seen enough (`| head`).
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == ErrorKind::BrokenPipe) => {}
        done => done?,
    }
    Ok(ExitCode::SUCCESS)
}

fn write(
    arguments: &Arguments,
    scope: &Scope,
    mut exporter: Exporter,
    mut writer: Writer<impl Write>,
) -> anyhow::Result<()> {
    input::read(&arguments.paths, false, |record, _| {
        let time = record.time.parse().with_context(|| format!("time {:?} is not an RFC 3339 time", record.time))?;
        if scope.standing(record, time) == Standing::Within
            && let Some(event) = exporter.event(record)?
        {
            writer.write(&event)?;
        }
        Ok(())
    })?;
    writer.finish()?;
    Ok(())
}
