//! A real OpenTelemetry Collector, as the mesh deploys it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use careplane_integration::{Collector, Ledger};

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
    let ledger = Ledger::settled(lab.envoy()).await?;
    assert_eq!((ledger.spilled, ledger.rejected, ledger.acknowledged), (0, 0, ledger.recorded));

    let arrived = collector.logs()?;
    assert_eq!((arrived.len() as u64, distinct(&arrived)), (ledger.recorded, ledger.recorded), "none twice");
    let trail = Trail::read(&arrived, &[])?;
    assert_eq!(trail.count("request"), MANY);
    assert_eq!(trail.chains(), WORKERS as usize);
    assert_eq!(trail.count("start"), trail.chains());
    assert_eq!(ledger.recorded as usize, MANY + trail.count("start") + trail.count("head"));
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
    let away = Ledger::read(lab.envoy()).await?;
    assert!(away.spilled > 0 && away.queued > 0, "the newest are written down, the oldest wait: {away:?}");

    collector.start_again().await?;
    let ledger = Ledger::settled(lab.envoy()).await?;
    ledger.balanced().context("back again")?;
    assert_eq!(ledger.rejected, 0);
    let arrived = collector.logs()?;
    assert!(distinct(&arrived) >= ledger.acknowledged, "{} arrived of {ledger:?}", distinct(&arrived));
    let trail = Trail::read(&arrived, &[&lab.envoy().log().text()?])?;
    assert_eq!(trail.count("request"), requests);
    lab.stop().await
}
