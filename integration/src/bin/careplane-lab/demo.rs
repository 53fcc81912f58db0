//! `careplane-lab demo`: a day of a care home through a stock Envoy with the filters, and whether all went as it
//! should.

mod files;
mod grants;
mod note;
mod observation;
mod script;
mod step;
mod summary;
mod table;
mod verify;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Write, stdout},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use careplane_integration::{IdentityProvider, Lab, Response, otlp::Span, poll::until};
use serde_json::Value;

use self::{
    observation::{Gathered, Observation, id_of_record, id_of_span, is_same_request, join},
    summary::{METRICS, Summary},
};
pub use self::{
    script::day,
    step::{Listener, Step, Token},
};
use crate::{
    run::{self, RunDirectory, Stop},
    terminal::{Paint, Style},
};

/// Envoy writes its access log every 20 ms and its spans every 100 ms.
const ARRIVAL_DEADLINE: Duration = Duration::from_secs(10);

/// A request of this context is shown in full.
const SHOWN_IN_FULL: &str = "medication-administration";

/// Runs the demo. The exit code says whether everything went as the script expects.
///
/// # Errors
///
/// When the lab does not start or stop, or is interrupted.
pub async fn run() -> Result<ExitCode> {
    let mut stop = Stop::listen()?;
    tokio::select! {
        done = play() => done,
        // Dropping the play drops its lab, and with it Envoy.
        signal = stop.requested() => bail!("stopped by {signal}"),
    }
}

async fn play() -> Result<ExitCode> {
    run::check_prerequisites()?;
    let (paint, mut out) = (Paint::for_stdout(), stdout());
    let directory = RunDirectory::replace("demo")?;
    let day = script::day();
    let evidence = observe(&day, directory.path(), &mut out, paint).await?;
    let problems = report(&day, directory.path(), evidence, &mut out, paint)?;
    conclude(&problems, day.len(), &mut out, paint)
}

/// What the day left behind.
struct Evidence {
    responses: Vec<Response>,
    gathered: Gathered,
    metrics: BTreeMap<String, u64>,
    warnings: BTreeSet<String>,
    policy: Value,
    /// Whether all that should arrive did.
    arrived: Result<()>,
}

/// Starts a lab, plays the day in it, and stops it.
async fn observe(day: &[Step], directory: &Path, out: &mut dyn Write, paint: Paint) -> Result<Evidence> {
    let begun = Instant::now();
    writeln!(out, "starting an Envoy with careplane, and peers around it")?;
    let manifests = grants::of_the_manifests()?;
    let lab = Lab::builder().version(run::ENVOY).policy(move |policy| grants::add(policy, &manifests)).start().await?;
    introduce(out, &lab, paint).await?;
    writeln!(out, "  ready after {:.1} s", begun.elapsed().as_secs_f64())?;

    writeln!(out, "sending {} requests, one after another", day.len())?;
    let responses = send(day, &lab).await?;
    writeln!(out, "waiting for their records and spans")?;
    let arrived = wait_for_evidence(day, &lab).await;
    let metrics = lab.envoy().stats(METRICS).await?;
    let (received, policy) = (lab.upstream().received(), lab.policy().clone());
    // The table is about the decision at the head of a trace; whether a late span has come by now is chance.
    let spans: Vec<Span> = lab.otlp().spans().into_iter().filter(|span| !span.is_late()).collect();

    let left = lab.stop_keeping_files().await?;
    let (records, warnings) = (files::records(left.path())?, files::warnings(left.path())?);
    files::keep(left.path(), directory, &spans)?;
    left.close().context("cannot remove the lab's directory")?;
    writeln!(out, "stopped everything\n")?;
    Ok(Evidence { responses, gathered: Gathered { received, spans, records }, metrics, warnings, policy, arrived })
}

/// Prints what was seen, and returns what should not have been.
fn report(
    day: &[Step],
    directory: &Path,
    evidence: Evidence,
    out: &mut dyn Write,
    paint: Paint,
) -> Result<Vec<String>> {
    let Evidence { responses, gathered, metrics, warnings, policy, arrived } = evidence;
    let (spans, records) = (gathered.spans.clone(), gathered.records.clone());
    let (observations, left_over) = join(day, responses, gathered);
    let rows: Vec<(&Step, &Observation)> = day.iter().zip(&observations).collect();
    writeln!(out, "{}", table::render(&rows, paint))?;

    let all = observations.iter().collect();
    let summary =
        Summary { day: all, records: &records, spans: &spans, metrics: &metrics, warnings: &warnings, policy: &policy };
    let shown = observations.iter().find(|seen| seen.context().as_deref() == Some(SHOWN_IN_FULL));
    summary.write(out, shown, paint)?;
    writeln!(out, "\n{}", paint.paint(Style::Heading, "WHERE IT ALL IS"))?;
    for (name, what) in files::NAMES {
        writeln!(out, "{:<32} {}", run::shown(&directory.join(name)), paint.paint(Style::Quiet, what))?;
    }

    let mut problems = Vec::new();
    for (step, seen) in rows {
        let of_step = verify::verify(step, seen, &policy);
        problems.extend(of_step.into_iter().map(|problem| format!("{} {}: {problem}", step.at, step.story)));
    }
    problems.extend(left_over);
    problems.extend(summary.problems());
    problems.extend(arrived.err().map(|error| format!("{error:#}")));
    Ok(problems)
}

async fn introduce(out: &mut dyn Write, lab: &Lab, paint: Paint) -> Result<()> {
    let version = lab.envoy().admin().json("/server_info").await?["version"].as_str().unwrap_or_default().to_owned();
    // commit/version/state/build/TLS library
    let version = version.split('/').nth(1).unwrap_or_default().to_owned();
    let policy = lab.policy();
    let count = |list: &Value| list.as_array().map_or(0, Vec::len);
    let pools: Vec<String> = lab.upstream().addresses().map(|(pool, _)| pool.to_owned()).collect();
    let lines = [
        ("Envoy", format!("{version}, process {}, admin {}", lab.envoy().pid(), lab.envoy().admin().address())),
        (
            "careplane",
            format!("dist/careplane.wasm, a policy of {} contexts and a default", count(&policy["contexts"])),
        ),
        ("gateway", format!("http://{} for outsiders: tokens are believed", lab.gateway().address())),
        ("sidecar", "mutual TLS for peers: whom the policy trusts is believed".to_owned()),
        ("application", format!("an echo for each of {}", pools.join(", "))),
        ("collector", format!("http://{}: OTLP for spans", lab.otlp().address())),
        ("identity", "an ES256 key and its JWKS; a certificate authority for SPIFFE ids".to_owned()),
    ];
    for (name, what) in lines {
        writeln!(out, "  {} {what}", paint.paint(Style::Good, format!("{name:<12}")))?;
    }
    Ok(())
}

async fn send(day: &[Step], lab: &Lab) -> Result<Vec<Response>> {
    let stranger = IdentityProvider::new()?;
    let mut responses = Vec::with_capacity(day.len());
    for (index, step) in day.iter().enumerate() {
        let (client, request) = step.prepare(index, lab, &stranger)?;
        let response = client.send(request).await.with_context(|| format!("{} {}: no answer", step.at, step.story))?;
        responses.push(response);
    }
    Ok(responses)
}

/// Waits until everything that should be recorded is, and every span that should come has. The last span follows all
/// others, so one that should not come has come too.
async fn wait_for_evidence(day: &[Step], lab: &Lab) -> Result<()> {
    let ids: BTreeMap<usize, String> =
        day.iter().enumerate().map(|(index, step)| (index, step.request_id(index))).collect();
    let all = |is_wanted: fn(&Step) -> bool, found: Vec<&str>| {
        let mut wanted = day.iter().zip(ids.values()).filter(|(step, _)| is_wanted(step));
        wanted.all(|(_, id)| found.iter().any(|found| is_same_request(id, found)))
    };
    until("every record and span", ARRIVAL_DEADLINE, async || {
        let (records, spans) = (lab.audit_log().records()?, lab.otlp().spans());
        let recorded = all(Step::is_recorded, records.iter().filter_map(id_of_record).collect());
        let traced = all(|step| step.expect.kept, spans.iter().filter_map(id_of_span).collect());
        Ok((recorded && traced).then_some(()))
    })
    .await
}

fn conclude(problems: &[String], requests: usize, out: &mut dyn Write, paint: Paint) -> Result<ExitCode> {
    if problems.is_empty() {
        let verdict = format!("all {requests} requests went as they should");
        writeln!(out, "\n{}", paint.paint(Style::Good, verdict))?;
        return Ok(ExitCode::SUCCESS);
    }
    out.flush()?;
    eprintln!("\ncareplane-lab: not as it should be:");
    problems.iter().for_each(|problem| eprintln!("  {problem}"));
    Ok(ExitCode::FAILURE)
}
