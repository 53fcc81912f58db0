//! The proxy that is not there against the one that is: the same request makes the same calls in both.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use careplane_cost::{Compiled, scenario};
use careplane_integration::{
    EnvoyVersion, Lab, Plugins, Request, config::EnvoyConfig, poll::until, prerequisites, workspace,
};
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);
/// How Envoy's log shows, at its finest level, a call from the module and a call to it.
const MARKS: [&str; 2] = ["[vm->host] ", "[host->vm] "];
/// Memory is the host's business, and random numbers come for many requests at once.
const OTHERS: [&str; 2] = ["proxy_on_memory_allocate", "random_get"];
/// What the last callback of a stream is.
const LAST: &str = "[host->vm] proxy_on_delete(";

#[tokio::test]
async fn envoy_makes_and_takes_the_calls_that_are_counted() -> Result<()> {
    if !prerequisites(EnvoyVersion::V1_40_0, Plugins::Bundle) {
        return Ok(());
    }
    let compiled = Compiled::load(&workspace::dist().join("careplane.wasm"))?;
    let policy = EnvoyConfig::load()?.policy_without_collector()?;
    let lab = Lab::builder().version(EnvoyVersion::V1_40_0).policy(|written| *written = policy);
    let lab = lab.log_level("info,wasm:trace").start().await?;
    let token = lab.identity().token("care-home-0107", "sian.oneill@care.example", json!({}))?;
    for (name, path, draw) in [
        ("read", "/api/v1/residents/1732/notes", 9_999),
        ("kept", "/api/v1/residents/1732/notes", 0),
        ("denied", "/api/v1/tenants/care-home-0001/staff", 9_999),
        ("probe", "/health", 9_999),
    ] {
        let mut seen = BTreeMap::new();
        // The first of a kind defines metrics.
        for _ in 0..2 {
            let before = ended(&lab)?;
            let request = Request::get(path).header("x-request-id", format!("{draw:08x}-0000-4000-8000-000000000001"));
            let request = if name == "probe" { request } else { request.bearer(&token) };
            lab.gateway().send(request).await?;
            until("the end of the stream", SOON, async || Ok((ended(&lab)? > before).then_some(()))).await?;
            seen = calls(&lab, before)?;
        }
        let scenario = scenario::all()?.into_iter().find(|scenario| scenario.name == name).context(name)?;
        let (measured, _) = scenario.measure(&compiled)?;
        let callbacks = measured.tally.callbacks.iter().map(|(name, total)| (name.clone(), *total));
        let calls = measured.tally.calls.iter().map(|(name, total)| ((*name).to_owned(), *total));
        let counted: BTreeMap<String, u64> = callbacks
            .chain(calls)
            .filter(|(name, _)| !OTHERS.contains(&&**name))
            .map(|(name, total)| (name, total / measured.requests))
            .collect();
        assert_eq!(seen, counted, "{name}");
    }
    lab.stop().await
}

fn log(lab: &Lab) -> Result<String> {
    Ok(std::fs::read_to_string(lab.envoy().log().path())?)
}

/// How many streams have ended.
fn ended(lab: &Lab) -> Result<usize> {
    Ok(log(lab)?.matches(LAST).count())
}

/// The calls since so many streams had ended, by name; time passes for roots too.
fn calls(lab: &Lab, ended: usize) -> Result<BTreeMap<String, u64>> {
    let log = log(lab)?;
    let from = log.match_indices(LAST).nth(ended.saturating_sub(1)).map_or(0, |(at, _)| at + LAST.len());
    let mut calls = BTreeMap::new();
    for line in log[from..].lines() {
        let Some(call) = MARKS.iter().find_map(|mark| line.split_once(mark)).map(|(_, call)| call) else { continue };
        let name = call.split('(').next().unwrap_or_default();
        let name = name.rsplit('.').next().unwrap_or(name);
        if !OTHERS.contains(&name) {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    Ok(calls)
}
