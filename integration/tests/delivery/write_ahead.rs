//! No evidence, no action: what the policy calls critical goes on when its intent is acknowledged, and not before.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use bytes::Bytes;
use careplane_integration::{
    Collector, DeliveryCounters, Lab, Reload, Request, client::Load, otlp::Answer, poll::until, upstream::Received,
};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, client::conn::http2, header::HeaderName, header::HeaderValue};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    ready, ready_with_collector,
    support::{SOON, refusal, without_reason},
    token,
    trail::Trail,
    writing_ahead,
};

const CRITICAL: &str = "/api/v1/medications/administer";
const MANY: usize = 2000;
/// The collector dies when the application has seen so many.
const BEFORE: usize = MANY / 3;

fn administer(token: &str) -> Request {
    Request::post(CRITICAL, "{}").bearer(token)
}

/// The ids of requests that the application got, as records have them.
fn ids(received: &[Received]) -> BTreeSet<String> {
    let id = |one: &Received| without_reason(&one.header("x-request-id").expect("Envoy gives every request an id"));
    received.iter().map(id).collect()
}

fn trail(lab: &Lab) -> Result<Trail> {
    Trail::read(&lab.otlp().logs(), &[&lab.envoy().log().text()?])
}

#[tokio::test(flavor = "multi_thread")]
async fn no_application_sees_a_request_whose_intent_a_dying_collector_has_not_acknowledged() -> Result<()> {
    if !ready_with_collector() {
        return Ok(());
    }
    let mut collector = Collector::start().await?;
    let lab = writing_ahead().concurrency(2).collector(collector.address()).start().await?;
    let token = token(&lab)?;
    let load = async {
        let make = move |_: usize| administer(&token);
        let answer = |answered: careplane_integration::client::Answered<'_>| {
            (without_reason(answered.request_id), answered.response.status, refusal(answered.response))
        };
        lab.gateway().load(Load::new(MANY, 16), make, answer).await
    };
    let die = async {
        lab.upstream().wait_for(BEFORE, SOON).await?;
        collector.kill()
    };
    let (report, ()) = tokio::try_join!(load, die)?;
    assert_eq!(report.failures, 0);
    let served: BTreeSet<String> =
        report.collected.iter().filter(|(_, status, _)| *status == 200).map(|(id, ..)| id.clone()).collect();
    let refused = report.collected.iter().filter(|(.., code)| code.as_deref() == Some("evidence-unavailable"));
    assert_eq!(served.len() + refused.count(), MANY, "{:?}", report.statuses);
    assert!(served.len() >= BEFORE && served.len() < MANY, "the collector died in the middle: {:?}", report.statuses);

    // What the dead collector has on disk is what it may have acknowledged.
    let acknowledged = Trail::gather(&collector.logs()?, &[])?.intents();
    let acted = ids(&lab.upstream().received());
    let unproved: Vec<_> = acted.difference(&acknowledged).collect();
    assert!(unproved.is_empty(), "{} requests reached the application without an intent: {unproved:?}", unproved.len());
    assert_eq!(acted, served);

    // Back again, it gets the rest, and critical requests go on.
    collector.start_again().await?;
    let again = async || Ok((lab.gateway().send(administer(&self::token(&lab)?)).await?.status == 200).then_some(()));
    until("a critical request to be let through", SOON, again).await?;
    let counters = DeliveryCounters::settled(lab.envoy()).await?;
    counters.balanced().context("back again")?;
    let trail = Trail::read(&collector.logs()?, &[&lab.envoy().log().text()?])?;
    assert_eq!(trail.records().count() as u64, counters.recorded);
    assert_eq!(trail.requests(), trail.intents(), "each intent has its outcome");
    lab.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_critical_request_is_refused_by_whatever_is_no_acknowledgement_and_the_refusal_is_recorded() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let lab = writing_ahead().start().await?;
    let token = token(&lab)?;
    let response = lab.gateway().send(administer(&token)).await?;
    assert_eq!(response.status, 200, "{}", response.text());
    let _ = lab.upstream().take();
    let troubles = [
        Answer::Refuse(503),
        Answer::Refuse(400),
        Answer::Hang,
        Answer::Reset,
        Answer::Reject(1),
        // Longer than what careplane reads of an answer.
        Answer::RejectWithReason(5000),
    ];
    for trouble in troubles {
        lab.otlp().answer(trouble);
        let response = lab.gateway().send(administer(&token)).await?;
        assert_eq!(response.status, 503, "{trouble:?}: {}", response.text());
        assert_eq!(refusal(&response).as_deref(), Some("evidence-unavailable"), "{trouble:?}");
        // What is not critical does not wait.
        let response = lab.gateway().send(Request::get("/api/v1/care-plans").bearer(&token)).await?;
        assert_eq!(response.status, 200, "{trouble:?}");
    }
    assert!(lab.upstream().take().iter().all(|received| received.method == "GET"), "an unrecorded act went upstream");
    lab.otlp().answer(Answer::Accept);
    assert_eq!(lab.gateway().send(administer(&token)).await?.status, 200);
    DeliveryCounters::settled(lab.envoy()).await?.balanced().context("well again")?;
    let trail = trail(&lab)?;
    assert_eq!((trail.count("intent"), trail.count("request")), (troubles.len() + 2, 2 * troubles.len() + 2));
    let refused = trail.records().filter(|record| record["decision"]["reason"] == "evidence-unavailable").count();
    assert_eq!(refused, troubles.len());
    lab.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_in_lower_case_waits_for_its_intent_too() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let lab = writing_ahead().start().await?;
    let token = token(&lab)?;
    let client = lab.gateway().http2();
    let administer = || -> Result<Request> {
        Ok(Request::new(hyper::Method::from_bytes(b"post")?, CRITICAL).body("{}").bearer(&token))
    };
    lab.otlp().answer(Answer::Refuse(503));
    let response = client.send(administer()?).await?;
    assert_eq!((response.status, refusal(&response).as_deref()), (503, Some("evidence-unavailable")));
    assert!(lab.upstream().received().is_empty());
    lab.otlp().answer(Answer::Accept);
    assert_eq!(client.send(administer()?).await?.status, 200);
    assert_eq!(lab.upstream().received()[0].method, "post", "the application gets what was sent");
    DeliveryCounters::settled(lab.envoy()).await?.balanced().context("both are recorded")?;
    let trail = trail(&lab)?;
    assert_eq!((trail.count("intent"), trail.count("request")), (2, 2));
    assert!(trail.of_kind("request").all(|record| record["request"]["method"] == "POST"));
    lab.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_while_it_waits_leaves_its_intent_and_its_outcome() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let lab = writing_ahead().start().await?;
    lab.otlp().answer(Answer::Hang);
    let mut caller = TcpStream::connect(lab.gateway().address()).await?;
    let head = format!("POST {CRITICAL} HTTP/1.1\r\nhost: care\r\nauthorization: Bearer {}\r\n", token(&lab)?);
    caller.write_all(format!("{head}content-length: 2\r\n\r\n{{}}").as_bytes()).await?;
    until("the intent to be sent", SOON, async || Ok((!lab.otlp().exports().is_empty()).then_some(()))).await?;
    drop(caller);
    until("the outcome", SOON, async || Ok((DeliveryCounters::read(lab.envoy()).await?.recorded == 3).then_some(())))
        .await?;
    lab.otlp().answer(Answer::Accept);
    DeliveryCounters::settled(lab.envoy()).await?.balanced().context("the caller has gone")?;

    let trail = trail(&lab)?;
    let outcome = trail.of_kind("request").next().context("there is an outcome")?;
    let intent = trail.of_kind("intent").next().context("there is an intent")?;
    assert_eq!(outcome["intent"], intent["chain"]["seq"]);
    assert_eq!(outcome["outcome"]["status"], Value::Null, "{outcome}");
    assert!(lab.upstream().received().is_empty());
    lab.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_goes_on_whole_after_a_change_of_policy() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let lab = writing_ahead().start().await?;
    let token = token(&lab)?;
    lab.otlp().answer(Answer::Delay(crate::TIMEOUT / 2));
    // More than Envoy buffers for a stream.
    let body = vec![b'x'; 3 * 1024 * 1024];
    for client in [lab.gateway(), lab.gateway().http2()] {
        let sent = lab.otlp().exports().len();
        let request = administer(&token).body(body.clone());
        let send = client.send(request);
        let reload = reload_while_waiting(&lab, sent);
        let (response, ()) = tokio::try_join!(send, reload)?;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.json()?["bodyLength"], body.len());
    }
    let trailed = send_with_trailers(&lab, &token).await?;
    assert_eq!(trailed, 200);
    lab.otlp().answer(Answer::Accept);
    DeliveryCounters::settled(lab.envoy()).await?.balanced().context("all have gone on")?;
    let trail = trail(&lab)?;
    assert_eq!((trail.count("intent"), trail.count("request")), (3, 3));
    assert_eq!(lab.upstream().received().len(), 3);
    lab.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_no_cluster_of_envoys_is_one_that_does_not_acknowledge() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let nowhere = |policy: &mut Value| policy["export"]["cluster"] = "nowhere".into();
    let mut lab = writing_ahead().policy(nowhere).start().await?;
    let token = token(&lab)?;
    let response = lab.gateway().send(administer(&token)).await?;
    assert_eq!((response.status, refusal(&response).as_deref()), (503, Some("evidence-unavailable")));
    assert_eq!(lab.gateway().send(Request::get("/api/v1/care-plans").bearer(&token)).await?.status, 200);
    lab.envoy_mut().stop().await?;
    let trail = trail(&lab)?;
    assert_eq!((trail.count("intent"), trail.count("request"), trail.ended()), (1, 2, 1));
    Ok(())
}

/// Sends a critical request over HTTP/2 that ends with trailers, and returns the status.
async fn send_with_trailers(lab: &Lab, token: &str) -> Result<u16> {
    let stream = TcpStream::connect(lab.gateway().address()).await?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("x-checksum"), HeaderValue::from_static("1"))]);
    let body = Full::<Bytes>::from("{}").with_trailers(std::future::ready(Some(Ok(trailers))));
    let request =
        hyper::Request::post(format!("http://care{CRITICAL}")).header("authorization", format!("Bearer {token}"));
    Ok(sender.send_request(request.body(body)?).await?.status().as_u16())
}

async fn reload_while_waiting(lab: &Lab, sent: usize) -> Result<()> {
    until("the intent to be sent", SOON, async || Ok((lab.otlp().exports().len() > sent).then_some(()))).await?;
    let mut policy = lab.policy().clone();
    policy["sampling"]["tiers"]["default"] = (20 + sent).into();
    anyhow::ensure!(lab.reload(&policy).await? == Reload::Accepted, "the policy was refused");
    Ok(())
}
