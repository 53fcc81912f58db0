//! A real OpenTelemetry Collector, as the mesh deploys it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use careplane_evidence::{
    source::Source,
    verify::{Clock, Settings, Verification, Verifier},
};
use careplane_integration::{Collector, DeliveryCounters};

use crate::{
    WORKERS, lab, ready_with_collector,
    traffic::load,
    trail::{Trail, distinct},
};

const MANY: usize = 50_000;
/// How long the collector is away, and how often callers come meanwhile.
const AWAY: Duration = Duration::from_secs(10);
const PACE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_requests_arrive_once_in_whole_chains() -> Result<()> {
    if !ready_with_collector() {
        return Ok(());
    }
    let collector = Collector::start().await?;
    // Room for all: how fast the collector is, on a machine that it shares, decides nothing.
    let roomy = |policy: &mut serde_json::Value| policy["export"]["queueBytes"] = (128 * 1024 * 1024).into();
    let lab = lab().policy(roomy).collector(collector.address()).start().await?;
    load(&lab, MANY).await?;
    let counters = DeliveryCounters::settled(lab.envoy()).await?;
    assert_eq!((counters.overflow, counters.rejected, counters.acknowledged), (0, 0, counters.recorded));

    let arrived = collector.logs()?;
    assert_eq!((arrived.len() as u64, distinct(&arrived)), (counters.recorded, counters.recorded), "none twice");
    let trail = Trail::read(&arrived, &[])?;
    assert_eq!(trail.count("request"), MANY);
    assert_eq!(trail.chains(), WORKERS as usize);
    assert_eq!(trail.count("start"), trail.chains());
    assert_eq!(counters.recorded as usize, MANY + trail.count("start") + trail.count("head"));
    for record in &arrived {
        assert_eq!(record.resource["service.instance.id"], "careplane");
        assert!(record.event_name.starts_with("careplane.audit."), "{record:?}");
    }
    lab.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_for_ten_seconds_misses_nothing_that_is_not_written_down() -> Result<()> {
    if !ready_with_collector() {
        return Ok(());
    }
    let mut collector = Collector::start().await?;
    let lab = lab().collector(collector.address()).start().await?;
    let mut requests = 1000;
    load(&lab, requests).await?;
    collector.stop().await?;

    let (stopped, mut pace) = (Instant::now(), tokio::time::interval(PACE));
    while stopped.elapsed() < AWAY {
        pace.tick().await;
        load(&lab, 200).await?;
        requests += 200;
    }
    let away = DeliveryCounters::read(lab.envoy()).await?;
    assert!(away.overflow > 0 && away.queued > 0, "the newest overflow, the oldest wait: {away:?}");

    collector.start_again().await?;
    let counters = DeliveryCounters::settled(lab.envoy()).await?;
    counters.balanced().context("back again")?;
    assert_eq!(counters.rejected, 0);
    let arrived = collector.logs()?;
    assert!(distinct(&arrived) >= counters.acknowledged, "{} arrived of {counters:?}", distinct(&arrived));
    let trail = Trail::read(&arrived, &[&lab.envoy().log().text()?])?;
    assert_eq!(trail.count("request"), requests);
    lab.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_with_a_folder_for_each_proxy_is_verified_in_parts_that_read_their_own_folders() -> Result<()> {
    const PROXIES: [&str; 4] = ["proxy-a", "proxy-b", "proxy-c", "proxy-d"];
    if !ready_with_collector() {
        return Ok(());
    }
    let mut collector = Collector::start_with_archive().await?;
    for proxy in PROXIES {
        let named = move |document: &mut serde_json::Value| document["node"]["id"] = proxy.into();
        let lab = lab().patch(named).collector(collector.address()).start().await?;
        load(&lab, 100).await?;
        DeliveryCounters::settled(lab.envoy()).await?.balanced()?;
        lab.stop().await?;
    }
    // The copy is written after the collector has acknowledged: its end brings what is left of it.
    collector.stop().await?;

    let whole = verify(&collector, None)?;
    assert_eq!(whole.chains.len(), PROXIES.len() * WORKERS as usize);
    assert_eq!(whole.chains.iter().map(|chain| chain.records).sum::<u64>() as usize, collector.logs()?.len());
    let parts = [verify(&collector, Some("0/2"))?, verify(&collector, Some("1/2"))?];
    for part in &parts {
        assert!(part.input.lines < whole.input.lines, "a part reads its own folders");
    }
    assert_eq!(parts.iter().map(|part| part.input.lines).sum::<u64>(), whole.input.lines);
    assert_eq!(Verification::merge(parts)?.chains, whole.chains);
    Ok(())
}

/// What the copy of `collector` proves, or a part of it.
fn verify(collector: &Collector, part: Option<&str>) -> Result<Verification> {
    let part = part.map(str::parse).transpose().map_err(anyhow::Error::msg)?;
    let mut verifier = Verifier::new(Settings { part, clock: Clock::NewestRecord, ..Settings::default() });
    for source in Source::expand(&[collector.archive()])? {
        verifier.read(&source)?;
    }
    Ok(verifier.finish()?)
}
