//! `careplane-lab soak`: everything that callers do, for a long time, to see whether anything grows or goes missing.

mod memory;
mod traffic;

use std::{
    fmt::Display,
    io::{Write, stdout},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use careplane_integration::{DeliveryCounters, Lab, Reload, audit_log::Tally, health};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use self::{
    memory::{GROWTH_MAX, Memory, Sample},
    traffic::{Sent, Traffic},
};
use crate::run::{self, RunDirectory, Stop};

const WORKERS: u32 = 2;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// Longer than any answer takes, so that a change of policy cuts no request off; shorter than the time between two.
const DRAIN: Duration = Duration::from_secs(30);
/// One in so many policies is refused.
const REFUSED: u32 = 5;

/// What is left when the traffic is over.
struct End {
    sent: Sent,
    counters: DeliveryCounters,
    /// Requests that careplane decided on and has to record.
    judged: u64,
    tally: Tally,
    complaints: Vec<String>,
}

/// Runs for `minutes`, and leaves `rss.csv` and `rss.svg` in `.run/soak`. Fails when memory is not flat or anything is
/// lost.
///
/// # Errors
///
/// When it is stopped before its time, or Envoy does not start, or ends.
pub async fn run(minutes: u32) -> Result<ExitCode> {
    run::check_prerequisites()?;
    let mut stop = Stop::listen()?;
    let mut out = stdout();
    let directory = RunDirectory::replace("soak")?;
    writeln!(out, "soaking an Envoy {} with {WORKERS} workers for {minutes} minutes", run::ENVOY)?;
    let lab = Lab::builder().version(run::ENVOY).concurrency(WORKERS).drain(DRAIN).policy(policy).start().await?;

    let mut memory = Memory::create(directory.path())?;
    let mut tally = Tally::default();
    let traffic = Traffic::begin(&lab)?;
    tokio::select! {
        done = watch(&lab, &traffic, &mut memory, &mut tally, minutes * MINUTE) => done?,
        done = reload_each_minute(&lab) => done?,
        signal = stop.requested() => bail!("{signal} before its time: nothing is known"),
    }
    let end = end(lab, traffic, tally).await?;
    let plot = memory.plot()?;
    let sound = conclude(&mut out, end, &memory)?;
    writeln!(out, "  {:<16}{}", "plot", run::shown(&plot))?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Records leave for the collector; what is critical waits for it. The collector has as long as a busy machine may
/// take.
fn policy(policy: &mut Value) {
    policy["audit"] = json!({
        "sinks": {"accessLog": false, "otlp": true, "proxyLog": "overflow"},
        "writeAhead": ["critical"],
    });
    policy["export"] = json!({"cluster": "otel", "timeout": "10s"});
}

/// Looks every second, until `time` is over.
async fn watch(lab: &Lab, traffic: &Traffic, memory: &mut Memory, tally: &mut Tally, time: Duration) -> Result<()> {
    let begun = Instant::now();
    let mut second = interval(SECOND);
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while begun.elapsed() < time {
        second.tick().await;
        let at = begun.elapsed();
        let resident = lab.envoy().resident_bytes().with_context(|| gone(lab))?;
        memory.add(Sample { at, resident, requests: traffic.begun() })?;
        take(lab, tally)?;
    }
    Ok(())
}

/// Why there may be no memory to be seen, with the last of what Envoy warned of.
fn gone(lab: &Lab) -> String {
    let warnings = lab.envoy().log().warnings(0).unwrap_or_default();
    let lines: Vec<&str> = warnings.lines().collect();
    let last = lines[lines.len().saturating_sub(5)..].join("\n");
    format!("Envoy has ended, or this is not Linux; the last that it warned of:\n{last}\n")
}

/// Arrived records are counted and dropped: a program that measures another's memory keeps its own small.
fn take(lab: &Lab, tally: &mut Tally) -> Result<()> {
    drop(lab.upstream().take());
    let arrived = lab.otlp().take_logs();
    tally.add(arrived.iter().map(|record| record.body.as_str()))
}

async fn reload_each_minute(lab: &Lab) -> Result<()> {
    let mut minute = interval(MINUTE);
    minute.tick().await;
    for number in 1.. {
        minute.tick().await;
        let mut policy = lab.policy().clone();
        policy["sampling"]["tiers"]["default"] = (number % 100).into();
        let bad = number % REFUSED == 0;
        if bad {
            policy["defaultContext"]["tier"] = "unknown".into();
        }
        let reload = lab.reload(&policy).await?;
        ensure!((reload == Reload::Accepted) != bad, "policy {number}: {reload:?}");
    }
    Ok(())
}

async fn end(mut lab: Lab, traffic: Traffic, mut tally: Tally) -> Result<End> {
    let sent = traffic.end().await?;
    let counters = DeliveryCounters::settled(lab.envoy()).await?;
    let stats = lab.envoy().stats("wasmcustom.careplane.requests.").await?;
    // Health checks that are let through are the one context without a record.
    let judged =
        stats.iter().filter(|(name, _)| !name.ends_with(".health-check.allowed")).map(|(_, count)| count).sum();
    let complaints = health::complaints(lab.envoy()).await?;
    let status = lab.envoy_mut().stop().await?;
    ensure!(status.success(), "Envoy ended with {status}");
    take(&lab, &mut tally)?;
    tally.add_log(&lab.envoy().log().text()?)?;
    Ok(End { sent, counters, judged, tally, complaints })
}

/// Says what was seen; whether all of it is as it should be.
fn conclude(out: &mut dyn Write, end: End, memory: &Memory) -> Result<bool> {
    let End { sent, counters, judged, tally, complaints } = end;
    let mut sound = true;
    let mut report = |what: &str, seen: &dyn Display, good: bool| {
        sound &= good;
        writeln!(out, "  {what:<16}{seen}{}", if good { "" } else { "  <-- not as it should be" })
    };
    report("requests", &sent, sent.wrong.is_empty())?;
    for wrong in sent.wrong.iter().take(10) {
        report("", wrong, false)?;
    }
    let (records, requests, ended) = (tally.records(), tally.count("request"), tally.count("end"));
    let bounds = sent.audited..=sent.audited + sent.abandoned;
    report("on record", &format!("{requests} of {judged} decided"), requests == judged && bounds.contains(&requests))?;
    report("counters", &format!("{counters:?}"), counters.balanced().is_ok())?;
    // Ending, each chain gets a last record, and a minute may pass meanwhile.
    let late = records.checked_sub(counters.recorded);
    let found = format!("{records} found, {} of them after the counters were read", late.unwrap_or_default());
    report("records", &found, late.is_some_and(|late| (ended..=2 * ended).contains(&late)))?;
    match tally.chains() {
        Ok(chains) => {
            let closed = chains.iter().filter(|chain| chain.ended).count();
            let all = closed == chains.len() && closed == WORKERS as usize;
            report("chains", &format!("{} whole, {closed} ended", chains.len()), all)?;
        }
        Err(error) => report("chains", &error, false)?,
    }
    report("traps", &complaints.len(), complaints.is_empty())?;
    for complaint in complaints.iter().take(10) {
        report("", complaint, false)?;
    }
    let trend = memory.trend().context("too short to say whether memory is flat")?;
    report("memory", &trend, trend.growth() <= GROWTH_MAX)?;
    Ok(sound)
}
