//! A collector that is ill in every way that a sender can notice.

use std::{
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use careplane_integration::{DeliveryCounters, Lab, otlp::Answer, poll::until};

use crate::{
    QUEUE_BYTES, WORKERS, lab, ready,
    support::SOON,
    traffic::load,
    trail::{Trail, distinct},
};

const FAULTS: [Answer; 8] = [
    Answer::Refuse(503),
    Answer::Refuse(429),
    Answer::RetryAfter(1),
    Answer::Refuse(400),
    Answer::Hang,
    Answer::Reset,
    Answer::Reject(7),
    // Well below the policy's timeout: it takes what it gets, and gets more than it can take.
    Answer::Delay(Duration::from_millis(800)),
];
/// While the collector is well, before each fault.
const BEFORE: usize = 1000;
/// Of one fault: several times what the queues hold.
const DURING: usize = 4000;
/// When the collector is well again.
const AFTER: usize = 500;
/// What an Envoy takes on top of its queues while it writes some thousand lines into its log.
const SLACK: u64 = 24 * 1024 * 1024;

#[derive(Default)]
struct Peak {
    queued: u64,
    resident: u64,
}

/// The most that waited, and the most memory that Envoy had, while `act` went on.
async fn watching<T>(lab: &Lab, act: impl Future<Output = Result<T>>) -> Result<(T, Peak)> {
    let over = AtomicBool::new(false);
    let watch = async {
        let mut peak = Peak::default();
        loop {
            // Once more when it is over: something was watched.
            let last = over.load(Ordering::Relaxed);
            peak.queued = peak.queued.max(DeliveryCounters::read(lab.envoy()).await?.queued);
            peak.resident = peak.resident.max(lab.envoy().resident_bytes().unwrap_or_default());
            if last {
                return Ok(peak);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let act = async {
        let done = act.await;
        over.store(true, Ordering::Relaxed);
        done
    };
    let (done, peak) = tokio::try_join!(act, watch)?;
    Ok((done, peak))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ill_collector_costs_no_request_no_record_and_no_memory_beyond_the_policys() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let lab = lab().start().await?;
    load(&lab, BEFORE).await?;
    DeliveryCounters::settled(lab.envoy()).await?.balanced().context("a healthy collector")?;
    let resident = lab.envoy().resident_bytes().unwrap_or_default();
    let smallest = lab.otlp().logs().iter().map(|record| record.body.len()).min().unwrap_or_default() as u64;
    let (mut requests, mut before) = (BEFORE, DeliveryCounters::read(lab.envoy()).await?);
    assert_eq!(before.acknowledged, before.recorded, "a healthy collector takes all");

    for fault in FAULTS {
        let when = format!("{fault:?}");
        let healthy = load(&lab, BEFORE).await?;
        let exports = lab.otlp().exports().len();
        lab.otlp().answer(fault);
        let (median, peak) = watching(&lab, load(&lab, DURING)).await?;
        until("the fault", SOON, async || Ok((lab.otlp().exports().len() > exports).then_some(()))).await?;
        if !matches!(fault, Answer::Delay(_) | Answer::Reject(_)) {
            lab.otlp().answer(Answer::Accept);
        }
        load(&lab, AFTER).await?;
        requests += BEFORE + DURING + AFTER;

        let counters = DeliveryCounters::settled(lab.envoy()).await?;
        counters.balanced().with_context(|| when.clone())?;
        assert!(peak.queued * smallest <= u64::from(WORKERS) * QUEUE_BYTES, "{when}: {} records waited", peak.queued);
        if peak.resident > 0 {
            let most = resident + u64::from(WORKERS) * QUEUE_BYTES + SLACK;
            assert!(peak.resident <= most, "{when}: {} bytes resident, from {resident}", peak.resident);
        }
        let arrived = distinct(&lab.otlp().logs());
        assert!(arrived >= counters.acknowledged, "{when}: {arrived} arrived of {counters:?}");
        match fault {
            Answer::Reject(_) => assert!(counters.rejected > before.rejected, "{when}: {counters:?}"),
            _ => assert!(counters.overflow > before.overflow, "{when}: what does not fit overflows: {counters:?}"),
        }
        // Not an assertion: it is of a machine that does other things too.
        let ratio = median.as_secs_f64() / healthy.as_secs_f64();
        // Written past the test runner's capture. A closed stderr is no error.
        let _ = writeln!(
            std::io::stderr(),
            "{when}: half of the requests took {ratio:.2} times what they take with a healthy collector; \
             at most {} records waited, and {:+.1} MB were resident",
            peak.queued,
            (peak.resident as f64 - resident as f64) / 1e6,
        );
        lab.otlp().answer(Answer::Accept);
        before = counters;
    }
    let trail = Trail::read(&lab.otlp().logs(), &[&lab.envoy().log().text()?])?;
    assert_eq!(trail.count("request"), requests);
    assert_eq!(trail.records().count() as u64, before.recorded);
    lab.stop().await
}
