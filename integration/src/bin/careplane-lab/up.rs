//! `careplane-lab up`: a lab to try things in, until Ctrl-C.

mod examples;
mod ports;
mod tail;

use std::{
    io::{Write, stdout},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use careplane_integration::{AuditLog, Lab, audit_log::verify_chains};
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::{
    examples::{Addresses, examples},
    ports::Ports,
    tail::FollowedRecords,
};
use crate::{
    record::Record,
    run::{self, RunDirectory, Stop},
    terminal::{Paint, Style},
};

/// How often the audit log is looked at for new records.
const GLANCE: Duration = Duration::from_millis(100);

/// A signal to the whole process group reaches its members at nearly the same time.
const SIGNAL_PATIENCE: Duration = Duration::from_secs(1);

/// Runs the lab until it is stopped.
///
/// # Errors
///
/// When the lab does not start or stop, or Envoy ends by itself.
pub async fn run() -> Result<ExitCode> {
    run::check_prerequisites()?;
    let mut stop = Stop::listen()?;
    let (paint, mut out) = (Paint::for_stdout(), stdout());
    let directory = RunDirectory::replace("up")?;
    let ports = Ports::choose(directory.path().join("records.jsonl"));
    let records = ports.records.clone();

    writeln!(out, "starting an Envoy {} with careplane, and peers around it", run::ENVOY)?;
    let builder = Lab::builder().version(run::ENVOY).patch(move |document| ports.apply(document));
    let lab = tokio::select! {
        lab = builder.start() => lab?,
        // Dropping what was started stops it.
        signal = stop.requested() => {
            writeln!(out, "\n{signal}: stopped while starting")?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    invite(&mut out, &lab, directory.path(), &records, paint)?;
    let signal = follow(&mut out, &lab, &mut stop, &records, paint).await?;
    writeln!(out, "\n{signal}: stopping")?;
    lab.stop().await?;
    conclude(&mut out, &records)
}

/// Says where everything is, and what can be tried.
fn invite(out: &mut dyn Write, lab: &Lab, directory: &Path, records: &Path, paint: Paint) -> Result<()> {
    let addresses = Addresses::of(lab)?;
    for (name, what) in [
        ("gateway", format!("http://{} for outsiders", addresses.gateway)),
        ("sidecar", format!("https://localhost:{} for peers with a certificate", addresses.sidecar.port())),
        ("admin", format!("http://{}", addresses.admin)),
        ("records", run::shown(records)),
    ] {
        writeln!(out, "  {} {what}", paint.paint(Style::Good, format!("{name:<10}")))?;
    }
    writeln!(
        out,
        "\n{}",
        paint.paint(Style::Heading, "TO TRY, IN ANOTHER TERMINAL (tokens in files beside the records)")
    )?;
    for example in examples(lab, &addresses, directory)? {
        writeln!(out, "{}\n  {}", paint.paint(Style::Quiet, format!("# {}", example.what)), example.command)?;
    }
    writeln!(out, "\n{}", paint.paint(Style::Heading, "RECORDS, as they are written; Ctrl-C stops"))?;
    out.flush()?;
    Ok(())
}

/// Prints new records until the lab is stopped; returns what stopped it.
async fn follow(out: &mut dyn Write, lab: &Lab, stop: &mut Stop, records: &Path, paint: Paint) -> Result<&'static str> {
    let mut tail = FollowedRecords::new(records);
    let mut glance = interval(GLANCE);
    glance.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            signal = stop.requested() => return Ok(signal),
            _ = glance.tick() => {}
        }
        for record in tail.records()? {
            let record = Record(&record);
            let style = match (record.refusal(), record.status()) {
                (Some(_), _) => Style::Refused,
                (None, Some(..=499)) => Style::Plain,
                _ => Style::Bad,
            };
            writeln!(out, "{}", paint.paint(style, record.line()))?;
        }
        if !lab.envoy().admin().is_live().await {
            // Ctrl-C reaches Envoy, too, and may reach it first.
            let signal = timeout(SIGNAL_PATIENCE, stop.requested()).await;
            return signal.with_context(|| format!("Envoy has ended; it warned:\n{}", warnings(lab)));
        }
    }
}

fn warnings(lab: &Lab) -> String {
    lab.envoy().log().warnings(0).unwrap_or_default()
}

fn conclude(out: &mut dyn Write, records: &Path) -> Result<ExitCode> {
    let shown = run::shown(records);
    let records = AuditLog::new(records).records()?;
    match verify_chains(&records) {
        Ok(_) => writeln!(out, "stopped; {} records in {shown}, none missing or changed", records.len())?,
        Err(error) => {
            writeln!(out, "stopped; {} records in {shown}, but {error}", records.len())?;
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
