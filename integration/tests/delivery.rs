//! Records on their way to a collector that is well, ill, or away: every one is acknowledged, rejected, or written down.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Result;
use careplane_integration::{
    EnvoyVersion, Lab, Plugins, Request, audit_log::verify_chains, client::Load, otlp::Answer, poll::until,
    prerequisites,
};
use serde_json::{Value, json};

const SPILL: &str = "careplane-audit-record ";

fn exporting(policy: &mut Value) {
    policy["audit"] = json!({"sinks": {"accessLog": false, "otlp": true, "proxyLog": "overflow"}});
    policy["export"] = json!({"cluster": "otel", "timeout": "500ms", "batch": {"records": 256, "interval": "200ms"}});
}

async fn lab() -> Result<Lab> {
    Lab::builder().concurrency(2).direct_response().policy(exporting).start().await
}

async fn load(lab: &Lab, requests: usize) -> Result<()> {
    let token = lab.identity().token("care-home-0001", "user-1", json!({}))?;
    let make = move |index: usize| Request::get(format!("/elsewhere/{index}")).bearer(&token);
    let report = lab.gateway().load(Load::new(requests, 32), make, |_| ()).await?;
    assert_eq!((report.statuses.get(&200).copied(), report.failures), (Some(requests), 0), "{:?}", report.statuses);
    Ok(())
}

/// Recorded, acknowledged, spilled, rejected, still queued.
async fn ledger(lab: &Lab) -> Result<[u64; 5]> {
    let stats = lab.envoy().stats("wasmcustom.careplane.audit.").await?;
    let of = |name: &str| stats.get(&format!("wasmcustom.careplane.audit.{name}")).copied().unwrap_or_default();
    Ok(["records", "acknowledged", "spilled", "rejected", "queued"].map(of))
}

/// The ledger once nothing is queued any more.
async fn settled(lab: &Lab) -> Result<[u64; 5]> {
    until("an empty queue", Duration::from_secs(90), async || {
        let ledger = ledger(lab).await?;
        Ok((ledger[0] > 0 && ledger[4] == 0).then_some(ledger))
    })
    .await
}

/// Every record that is anywhere, by chain and number, so that what arrived twice counts once.
fn everywhere(lab: &Lab) -> Result<Vec<Value>> {
    let log = lab.envoy().log().text()?;
    let spilled = log.lines().filter_map(|line| line.split_once(SPILL)).map(|(_, record)| record.to_owned());
    let arrived = lab.otlp().logs().into_iter().map(|record| record.body);
    let mut records = BTreeMap::new();
    for text in spilled.chain(arrived) {
        let record: Value = serde_json::from_str(&text)?;
        records.insert((record["chain"]["id"].to_string(), record["chain"]["seq"].as_u64()), record);
    }
    Ok(records.into_values().collect())
}

/// Requests that have a record somewhere, in whole chains.
fn recorded_requests(lab: &Lab) -> Result<usize> {
    let records = everywhere(lab)?;
    verify_chains(&records)?;
    Ok(records.iter().filter(|record| record["kind"] == "request").count())
}

fn ready() -> bool {
    prerequisites(EnvoyVersion::V1_40_0, Plugins::Bundle)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_once_in_whole_chains() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let lab = lab().await?;
    load(&lab, 20_000).await?;
    let [recorded, acknowledged, spilled, rejected, _] = settled(&lab).await?;
    assert_eq!((spilled, rejected, recorded), (0, 0, acknowledged));
    let logs = lab.otlp().logs();
    let ids: BTreeSet<_> = logs.iter().map(|record| record.attributes["log.record.uid"].clone()).collect();
    assert_eq!(ids.len() as u64, recorded, "no record twice");
    assert_eq!(recorded_requests(&lab)?, 20_000);
    let starts = logs.iter().filter(|record| record.event_name == "careplane.audit.start").count();
    assert_eq!(recorded, 20_000 + starts as u64);
    lab.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_refuses_or_hangs_costs_no_request_and_no_record() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    for trouble in [Answer::Refuse(503), Answer::Refuse(429), Answer::Refuse(400), Answer::Hang] {
        let lab = lab().await?;
        lab.otlp().answer(trouble);
        load(&lab, 3000).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        lab.otlp().answer(Answer::Accept);
        load(&lab, 1000).await?;
        let [recorded, acknowledged, spilled, rejected, _] = settled(&lab).await?;
        assert_eq!(recorded, acknowledged + spilled + rejected, "{trouble:?}");
        assert_eq!(recorded_requests(&lab)?, 4000, "{trouble:?}");
        lab.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_evidence_no_action() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let lab = Lab::builder()
        .policy(|policy| {
            exporting(policy);
            policy["audit"]["writeAhead"] = json!(["critical"]);
        })
        .start()
        .await?;
    let token = lab.identity().token("care-home-0001", "user-1", json!({"roles": ["nurse"]}))?;
    let administer = || Request::post("/api/v1/medications/administer", "{}").bearer(&token);
    let response = lab.gateway().send(administer()).await?;
    assert_eq!(response.status, 200, "{}", response.text());
    let _ = lab.upstream().take();
    for trouble in [Answer::Refuse(503), Answer::Refuse(400), Answer::Hang] {
        lab.otlp().answer(trouble);
        let response = lab.gateway().send(administer()).await?;
        assert_eq!(response.status, 503, "{trouble:?}: {}", response.text());
        assert_eq!(response.json()?["type"], "urn:problem-type:careplane:evidence-unavailable");
        // What is not critical does not wait.
        let response = lab.gateway().send(Request::get("/api/v1/care-plans").bearer(&token)).await?;
        assert_eq!(response.status, 200, "{trouble:?}");
    }
    assert!(lab.upstream().take().iter().all(|received| received.method == "GET"), "an unrecorded act went upstream");
    lab.otlp().answer(Answer::Accept);
    assert_eq!(lab.gateway().send(administer()).await?.status, 200);
    let [recorded, acknowledged, spilled, rejected, _] = settled(&lab).await?;
    assert_eq!(recorded, acknowledged + spilled + rejected);
    let records = everywhere(&lab)?;
    verify_chains(&records)?;
    let kinds = |kind: &str| records.iter().filter(|record| record["kind"] == kind).count();
    assert_eq!((kinds("intent"), kinds("request")), (5, 8));
    let refused = records.iter().filter(|record| record["decision"]["reason"] == "evidence-unavailable").count();
    assert_eq!(refused, 3);
    lab.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_asked_to_end_writes_down_what_it_still_has() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let lab = lab().await?;
    lab.otlp().answer(Answer::Refuse(503));
    load(&lab, 500).await?;
    let directory = lab.stop_keeping_files().await?;
    let log = std::fs::read_to_string(directory.path().join("envoy.log"))
        .or_else(|_| std::fs::read_to_string(directory.path().join("log/envoy.log")))?;
    let spilled = log.lines().filter(|line| line.contains(SPILL)).count();
    assert!(spilled >= 500, "{spilled} records in the log");
    Ok(())
}
