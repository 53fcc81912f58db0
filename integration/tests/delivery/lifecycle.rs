//! A proxy that gets another policy, drains, hands over to a successor, ends, or is killed, all while callers come.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result};
use careplane_integration::{DeliveryCounters, Lab, Plugins, Reload, otlp::Answer, poll::until};
use serde_json::json;

use crate::{
    WORKERS, lab, ready,
    support::SOON,
    traffic::{Flood, Sent, load},
    trail::{Trail, distinct},
};

/// Enough for both workers to be busy.
const SOME: usize = 300;

async fn flood(lab: &Lab) -> Result<Flood> {
    let flood = Flood::begin(lab)?;
    answers(&flood, SOME).await?;
    Ok(flood)
}

/// Waits for so many more answers.
async fn answers(flood: &Flood, more: usize) -> Result<()> {
    let enough = flood.answers() + more;
    until("answers", SOON, async || Ok((flood.answers() >= enough).then_some(()))).await
}

/// What is at the lab's receiver, and in the logs of its Envoy and of `predecessors`.
fn trail(lab: &Lab, predecessors: &[&str]) -> Result<Trail> {
    let log = lab.envoy().log().text()?;
    let logs: Vec<&str> = predecessors.iter().copied().chain([&*log]).collect();
    Trail::read(&lab.otlp().logs(), &logs)
}

/// Every answered request is on record, and no other.
fn assert_recorded(sent: &Sent, trail: &Trail) {
    let recorded = trail.requests();
    let missing: Vec<_> = sent.answered.difference(&recorded).collect();
    assert!(missing.is_empty(), "{} of {} answers are not on record", missing.len(), sent.answered.len());
    let unasked = recorded.iter().filter(|id| !sent.answered.contains(*id) && !sent.unanswered.contains(*id));
    assert_eq!(unasked.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_policy_breaks_no_chain_and_mixes_no_batch() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let lab = lab().start().await?;
    let flood = flood(&lab).await?;
    let mut policy = lab.policy().clone();
    for percent in [20, 30, 40] {
        policy["sampling"]["tiers"]["default"] = percent.into();
        assert_eq!(lab.reload(&policy).await?, Reload::Accepted);
        answers(&flood, SOME).await?;
    }
    // A policy that is refused changes nothing.
    policy["export"]["cluster"] = "".into();
    assert!(matches!(lab.reload(&policy).await?, Reload::Rejected(_)));
    answers(&flood, SOME).await?;
    let sent = flood.end().await?;
    sent.assert_cut_at_most(3);

    let counters = DeliveryCounters::settled(lab.envoy()).await?;
    counters.balanced().context("after changes of policy")?;
    let trail = trail(&lab, &[])?;
    assert_recorded(&sent, &trail);
    assert_eq!((trail.chains(), trail.ended()), (WORKERS as usize, 0), "the VMs stay, and so do their chains");
    assert_eq!(trail.records().count() as u64, counters.recorded);
    let mut policies = BTreeSet::new();
    for record in lab.otlp().logs().iter().filter(|record| record.event_name == "careplane.audit.request") {
        let written: serde_json::Value = serde_json::from_str(&record.body)?;
        let sender = &record.resource["careplane.policy.digest"];
        assert_eq!(written["context"]["policy"], **sender, "a batch is of one policy");
        policies.insert(sender.clone());
    }
    assert_eq!(policies.len(), 4);
    lab.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_gets_a_collector_begins_a_chain_for_it_and_ends_that_with_it() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let lab = lab().policy(|policy| policy["audit"]["sinks"] = json!({"accessLog": true})).start().await?;
    load(&lab, SOME).await?;
    let without = lab.policy().clone();
    let mut with = without.clone();
    with["audit"]["sinks"] = json!({"accessLog": false, "otlp": true});
    for policy in [&with, &without] {
        assert_eq!(lab.reload(policy).await?, Reload::Accepted);
        load(&lab, SOME).await?;
    }
    until("the chains to end", SOON, async || {
        let trail = Trail::gather(&lab.otlp().logs(), &[&lab.envoy().log().text()?])?;
        Ok((trail.chains() > 0 && trail.ended() == trail.chains()).then_some(()))
    })
    .await?;
    let trail = trail(&lab, &[])?;
    assert_eq!((trail.count("start"), trail.count("request")), (trail.chains(), SOME));
    lab.stop().await
}

/// Envoy drops counters with the module that made them.
#[tokio::test(flavor = "multi_thread")]
async fn counters_add_up_where_another_module_follows() -> Result<()> {
    const ACTIVE: &str = "wasm.envoy.wasm.runtime.v8.active";
    if !ready() {
        return Ok(());
    }
    let module = Arc::new(AtomicU32::new(1));
    let present = Arc::clone(&module);
    let lab = lab()
        .patch(move |document| {
            for listener in document["static_resources"]["listeners"].as_array_mut().expect("listeners") {
                let filters = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
                for filter in filters.as_array_mut().expect("filters") {
                    if let Some(vm) = filter.pointer_mut("/typed_config/config/vm_config") {
                        // To Envoy, another VM is another module.
                        vm["vm_id"] = json!(present.load(Ordering::Relaxed).to_string());
                    }
                }
            }
        })
        .start()
        .await?;
    lab.otlp().answer(Answer::Refuse(400));
    load(&lab, SOME).await?;
    let overflowed = DeliveryCounters::settled(lab.envoy()).await?;
    overflowed.balanced().context("the first module")?;
    lab.otlp().answer(Answer::Accept);
    let active = lab.envoy().stat(ACTIVE).await?;
    let flood = flood(&lab).await?;
    module.store(2, Ordering::Relaxed);
    assert_eq!(lab.reload(&lab.policy().clone()).await?, Reload::Accepted);
    answers(&flood, SOME).await?;
    flood.end().await?;
    until("the first module to end", SOON, async || {
        let trail = Trail::gather(&lab.otlp().logs(), &[&lab.envoy().log().text()?])?;
        Ok((lab.envoy().stat(ACTIVE).await? == active && trail.ended() == WORKERS as usize).then_some(()))
    })
    .await?;
    let counters = DeliveryCounters::settled(lab.envoy()).await?;
    counters.balanced().context("the second module")?;
    assert!(counters.overflow >= overflowed.overflow, "{overflowed:?}, then {counters:?}");
    lab.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_drains_delivers_and_then_ends_its_chains() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let mut lab = lab().start().await?;
    let flood = flood(&lab).await?;
    lab.envoy().admin().post("/drain_listeners?graceful").await?;
    let sent = flood.ended().await?;
    let counters = DeliveryCounters::settled(lab.envoy()).await?;
    counters.balanced().context("drained")?;
    assert_eq!(counters.acknowledged, counters.recorded, "a closed listener's records are still sent");
    lab.envoy_mut().stop().await?;
    let trail = trail(&lab, &[])?;
    assert_recorded(&sent, &trail);
    assert_eq!(trail.ended(), trail.chains());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_hands_over_to_a_successor_loses_nothing() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let mut lab = lab().hot_restart().start().await?;
    let flood = flood(&lab).await?;
    let mut predecessor = lab.hot_restart().await?;
    answers(&flood, SOME).await?;
    let status = predecessor.ended(SOON).await?;
    assert!(status.success(), "{status}");
    answers(&flood, SOME).await?;
    let sent = flood.end().await?;
    sent.assert_cut_at_most(1);
    // Envoy adds what its predecessor counted since it last flushed, so the successor's counters need not be balanced.
    DeliveryCounters::settled(lab.envoy()).await?;

    lab.envoy_mut().stop().await?;
    let trail = trail(&lab, &[&predecessor.log().text()?])?;
    assert_recorded(&sent, &trail);
    assert_eq!((trail.chains(), trail.ended()), (2 * WORKERS as usize, 2 * WORKERS as usize));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_asked_to_end_writes_down_what_it_still_has() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    for (plugins, answer) in [
        (Plugins::Bundle, Answer::Accept),
        (Plugins::Bundle, Answer::Refuse(503)),
        (Plugins::Bundle, Answer::Hang),
        (Plugins::SeparateFromOneModule, Answer::Accept),
        (Plugins::PerFilterModules, Answer::Accept),
    ] {
        let mut lab = lab().plugins(plugins).start().await?;
        lab.otlp().answer(answer);
        let flood = flood(&lab).await?;
        lab.envoy_mut().stop().await?;
        let sent = flood.ended().await?;
        let trail = trail(&lab, &[])?;
        assert_recorded(&sent, &trail);
        assert_eq!((trail.chains(), trail.ended()), (WORKERS as usize, WORKERS as usize), "{plugins:?}, {answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_that_is_killed_still_had_is_seen_to_be_missing() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let mut lab = lab().start().await?;
    load(&lab, SOME).await?;
    let before = DeliveryCounters::settled(lab.envoy()).await?;
    assert_eq!(before.acknowledged, before.recorded);
    lab.otlp().answer(Answer::Hang);
    let late = 100;
    load(&lab, late).await?;
    let counters = until("the last records", SOON, async || {
        let counters = DeliveryCounters::read(lab.envoy()).await?;
        Ok((counters.recorded == before.recorded + late as u64).then_some(counters))
    })
    .await?;
    lab.envoy_mut().kill()?;

    let trail = trail(&lab, &[])?;
    // No gap, or reading the trail would have failed: what is lost is at the end of chains, and shows as chains without
    // one.
    assert_eq!(trail.ended(), 0);
    let lost = counters.recorded - trail.records().count() as u64;
    assert_eq!(lost, counters.queued, "lost is what was queued, and no more");
    assert_eq!(distinct(&lab.otlp().logs()), counters.acknowledged, "what was acknowledged is there");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_killed_while_callers_come_leaves_whole_beginnings() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let mut lab = lab().start().await?;
    let flood = flood(&lab).await?;
    answers(&flood, 10 * SOME).await?;
    lab.envoy_mut().kill()?;
    let sent = flood.ended().await?;
    let trail = trail(&lab, &[])?;
    let recorded = trail.requests();
    let unasked = recorded.iter().find(|id| !sent.answered.contains(*id) && !sent.unanswered.contains(*id));
    assert_eq!(unasked, None);
    assert_eq!((trail.chains(), trail.ended()), (WORKERS as usize, 0));
    Ok(())
}
