//! Under fire: a policy every second, some of them invalid, while callers come as fast as they can and ten thousand
//! streams are open. No caller notices, and every request is on record.
//!
//! Twenty seconds of it; `make fire` takes two minutes.

mod support;

use std::{
    collections::BTreeSet,
    env,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use careplane_integration::{
    DeliveryCounters, Lab, Reload, Request, audit_log::Tally, client::Caller, health::complaints, poll::until,
    upstream::HOLD_HEADER,
};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use support::{ready, token};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

/// How long policies change, in seconds, when not as long as by default.
const SECONDS_VARIABLE: &str = "CAREPLANE_FIRE_SECONDS";
const SECONDS: u64 = 20;
const SECOND: Duration = Duration::from_secs(1);
/// For ten thousand of anything, on a machine that others use.
const PATIENCE: Duration = Duration::from_secs(120);

const WORKERS: u32 = 2;
/// Connections of callers who want it all at once.
const WIDTH: usize = 32;
/// Open at the same time, over so many connections: 200 each is what `hyper` takes as a server.
const STREAMS: usize = 10_000;
const CONNECTIONS: usize = 50;
/// One in so many policies is invalid.
const INVALID: usize = 3;

fn seconds() -> Result<u64> {
    match env::var(SECONDS_VARIABLE) {
        Ok(text) => text.parse().with_context(|| format!("{SECONDS_VARIABLE}={text:?} is no number of seconds")),
        Err(_) => Ok(SECONDS),
    }
}

/// Records leave for the collector, which has as long as a busy machine may take, and a queue that holds what comes
/// meanwhile.
fn exporting(policy: &mut Value) {
    policy["audit"] = json!({"sinks": {"accessLog": false, "otlp": true, "proxyLog": "overflow"}});
    policy["export"] = json!({"cluster": "otel", "timeout": "10s", "queueBytes": 128 * 1024 * 1024});
}

/// `/held` goes to an application that may take its time, and has room for as many streams as there are; Envoy's
/// defaults are 15 s and 1024.
fn make_room(document: &mut Value) {
    for listener in document["static_resources"]["listeners"].as_array_mut().expect("listeners") {
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        let held = json!({"match": {"prefix": "/held"}, "route": {"cluster": "pool-a", "timeout": "0s"}});
        manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().expect("routes").insert(0, held);
    }
    for cluster in document["static_resources"]["clusters"].as_array_mut().expect("clusters") {
        if cluster["name"] == "pool-a" {
            let most = 2 * STREAMS;
            cluster["circuit_breakers"] = json!({"thresholds": [{"max_requests": most, "max_pending_requests": most}]});
            let http = json!({
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                // What the application takes, so that none is sent before it has said so, and refused.
                "explicit_http_config": {"http2_protocol_options": {"max_concurrent_streams": STREAMS / CONNECTIONS}},
            });
            cluster["typed_extension_protocol_options"] =
                json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http});
        }
    }
}

/// How many streams wait for the application.
async fn held(lab: &Lab) -> Result<u64> {
    lab.envoy().stat("cluster.pool-a.upstream_rq_active").await
}

/// Streams that wait for the application, each of which returns its status.
async fn open_streams(lab: &Lab, token: &str) -> Result<JoinSet<Result<u16>>> {
    let mut streams = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let stream = TcpStream::connect(lab.gateway().address()).await?;
        let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        for number in 0..STREAMS / CONNECTIONS {
            let request = hyper::Request::get(format!("http://care/held/{connection}/{number}"))
                .header("authorization", format!("Bearer {token}"))
                .header(HOLD_HEADER, "")
                .body(Empty::<Bytes>::new())?;
            let mut sender = sender.clone();
            streams.spawn(async move {
                let response = sender.send_request(request).await?;
                let status = response.status().as_u16();
                response.into_body().collect().await?;
                Ok(status)
            });
        }
    }
    until("all streams to be at the application", PATIENCE, async || {
        if let Some(early) = streams.try_join_next() {
            bail!("a stream that is held was answered {}", early??);
        }
        Ok((held(lab).await? == STREAMS as u64).then_some(()))
    })
    .await?;
    Ok(streams)
}

/// Callers without pause. None may be refused or cut off.
struct Crowd {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    callers: JoinSet<Result<()>>,
}

impl Crowd {
    fn begin(lab: &Lab, token: &str) -> Self {
        let (stop, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut callers = JoinSet::new();
        for _ in 0..WIDTH {
            let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
            let (mut caller, request) = (Caller::new(lab.gateway()), Request::get("/elsewhere").bearer(token));
            callers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let response = caller.send(request.clone()).await?;
                    ensure!(response.status == 200, "{}: {}", response.status, response.text());
                    answers.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        Self { stop, answers, callers }
    }

    /// A caller that ends has failed.
    fn check(&mut self) -> Result<()> {
        self.callers.try_join_next().map_or(Ok(()), |failed| failed?)
    }

    /// How many were answered.
    async fn end(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(caller) = self.callers.join_next().await {
            caller??;
        }
        Ok(self.answers.load(Ordering::Relaxed))
    }
}

/// What has arrived, counted and let go.
#[derive(Default)]
struct Arrived {
    tally: Tally,
    policies: BTreeSet<String>,
}

impl Arrived {
    fn take(&mut self, lab: &Lab) -> Result<()> {
        let logs = lab.otlp().take_logs();
        let requests = logs.iter().filter(|record| record.event_name == "careplane.audit.request");
        self.policies.extend(requests.map(|record| record.resource["careplane.policy.digest"].clone()));
        self.tally.add(logs.iter().map(|record| record.body.as_str()))
    }
}

/// Gives it policy `number`; returns whether that policy is valid.
async fn reload(lab: &Lab, number: usize) -> Result<bool> {
    let mut policy = lab.policy().clone();
    policy["defaultContext"]["name"] = format!("general-{number}").into();
    let valid = !number.is_multiple_of(INVALID);
    if !valid {
        policy["defaultContext"]["tier"] = "unknown".into();
    }
    let reload = lab.reload(&policy).await?;
    ensure!((reload == Reload::Accepted) == valid, "policy {number}: {reload:?}");
    Ok(valid)
}

/// Ten thousand descriptors are more than many shells allow, though the system does.
fn raise_descriptor_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_a_policy_a_second_and_everybody_is_on_record() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    raise_descriptor_limit()?;
    let time = Duration::from_secs(seconds()?);
    let builder = Lab::builder().concurrency(WORKERS).direct_response().policy(exporting).patch(make_room);
    // The first caller is still there at the end.
    let mut lab = builder.drain(time + 2 * PATIENCE).start().await?;
    let token = token(&lab)?;

    let mut streams = open_streams(&lab, &token).await?;
    let mut crowd = Crowd::begin(&lab, &token);
    let (mut arrived, mut valid, mut number) = (Arrived::default(), 0, 0);
    let (begun, mut second) = (Instant::now(), interval(SECOND));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while begun.elapsed() < time {
        second.tick().await;
        number += 1;
        if reload(&lab, number).await? {
            // A connection of its own: those of the crowd keep what they had until their next answer.
            let response = lab.gateway().send(Request::get("/elsewhere").bearer(&token)).await?;
            assert_eq!(response.status, 200);
            valid += 1;
        }
        crowd.check()?;
        arrived.take(&lab)?;
    }
    assert_eq!(held(&lab).await?, STREAMS as u64, "all are still open after {number} policies");
    lab.upstream().release();
    let mut answered = crowd.end().await? + valid as u64;
    while let Some(status) = streams.join_next().await {
        assert_eq!(status??, 200);
        answered += 1;
    }

    let http = lab.envoy().stats("http.gateway.downstream_rq").await?;
    let stat = |name: &str| http.get(&format!("http.gateway.downstream_rq_{name}")).copied().unwrap_or_default();
    assert_eq!((stat("total"), stat("2xx")), (answered, answered));
    assert_eq!([stat("4xx"), stat("5xx"), stat("rx_reset"), stat("tx_reset")], [0; 4]);
    let complaints = complaints(lab.envoy()).await?;
    assert!(complaints.is_empty(), "careplane is not well:\n{}", complaints.join("\n"));
    let counters = DeliveryCounters::settled(lab.envoy()).await?;
    counters.balanced()?;

    let status = lab.envoy_mut().stop().await?;
    assert!(status.success(), "{status}");
    arrived.take(&lab)?;
    let Arrived { mut tally, policies } = arrived;
    tally.add_log(&lab.envoy().log().text()?)?;
    assert_eq!(tally.count("request"), answered, "records and requests");
    let ended = tally.count("end");
    // What the counters did not include yet: the end of each chain, and at most one minute's head before it.
    let late = tally.records() - counters.recorded;
    assert!((ended..=2 * ended).contains(&late), "{} records, but {counters:?}", tally.records());
    assert_eq!(policies.len(), valid + 1, "each valid policy, and no other, was met");
    let chains = tally.chains()?;
    assert_eq!(chains.len(), WORKERS as usize, "the VMs stay, and so do their chains");
    assert!(chains.iter().all(|chain| chain.ended), "{chains:?}");
    // Written past the test runner's capture. A closed stderr is no error.
    let _ = writeln!(
        std::io::stderr(),
        "{number} policies, {valid} of them valid, in {:.0} s; {answered} requests answered, {STREAMS} of them held \
         all the while; {counters:?}",
        time.as_secs_f64(),
    );
    Ok(())
}
