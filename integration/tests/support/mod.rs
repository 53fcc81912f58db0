//! What the tests of careplane share: callers, and the traces that a request leaves.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod health;
pub mod nhs;
pub mod reflect;
pub mod shadow;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use careplane_integration::{
    Client, EnvoyVersion, Lab, Plugins, Request, Response, otlp::Span, poll::until, prerequisites, upstream::Received,
    workspace,
};
use serde_json::{Value, json};

/// Long enough for anything that happens at all.
pub const SOON: Duration = Duration::from_secs(20);

/// A peer whose identity headers the policy of `envoy.yaml` believes.
pub const TRUSTED: &str = "spiffe://cluster.local/ns/core-healthcare/sa/api-gateway";

/// A peer of the same mesh whose identity headers it does not believe.
pub const STRANGER: &str = "spiffe://cluster.local/ns/core-healthcare/sa/reporting";

/// The tenant and the user of most requests. The policy knows the tenant, and pins it to no pool.
pub const TENANT: &str = "care-home-0107";
pub const USER: &str = "siân.o'neill@care.example";

/// The Envoys that tests run with, if they are here.
pub fn versions() -> impl Iterator<Item = EnvoyVersion> {
    workspace::versions().into_iter().filter(|version| prerequisites(*version, Plugins::Bundle))
}

/// Whether an Envoy and the bundle are here, for tests that take one Envoy: what they look at differs in none, or is
/// dear.
pub fn ready() -> bool {
    prerequisites(workspace::version(), Plugins::Bundle)
}

/// A token for [`USER`] of [`TENANT`].
pub fn token(lab: &Lab) -> Result<String> {
    lab.identity().token(TENANT, USER, json!({}))
}

/// An `x-request-id` with this random number (0 to 9,999): every tier above 0 % keeps 0, only 100 % keeps 9,999.
pub fn request_id(number: u16) -> String {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    format!("{number:08x}-0000-4000-8000-{serial:012x}")
}

/// A request id without the digit in which Envoy keeps why it traces.
pub fn without_reason(id: &str) -> String {
    id.chars().enumerate().filter(|(position, _)| *position != 14).map(|(_, digit)| digit).collect()
}

/// What became of one request.
#[derive(Debug)]
pub struct Seen {
    /// What the caller got.
    pub response: Response,
    /// What the application got, if it got anything.
    pub upstream: Option<Received>,
    /// The span of Envoy's tracer, if the head of the trace was kept.
    pub span: Option<Span>,
    /// The audit record, if there is one.
    pub record: Option<Value>,
}

// === impl Seen ===

impl Seen {
    /// All values of a header as the application got it.
    pub fn forwarded(&self, name: &str) -> Vec<String> {
        let headers = self.upstream.iter().flat_map(|received| &received.headers);
        headers.filter(|(n, _)| n == name).map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// A tag of the span.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.span.as_ref()?.attributes.get(name).map(String::as_str)
    }

    /// The record, which there has to be.
    pub fn record(&self) -> &Value {
        self.record.as_ref().expect("there is a record")
    }

    /// Why careplane refused the request, if the answer says that it did.
    pub fn refusal(&self) -> Option<String> {
        refusal(&self.response)
    }
}

/// The code in the type of a problem of careplane's.
pub fn refusal(response: &Response) -> Option<String> {
    let problem = response.json().ok()?;
    Some(problem["type"].as_str()?.strip_prefix("urn:problem-type:careplane:")?.to_owned())
}

/// A client and what it sends.
pub type Probe = (Client, Request);

/// Sends the requests one after another, and looks up what became of each. For labs with one worker.
pub async fn observe(lab: &Lab, probes: impl IntoIterator<Item = Probe>) -> Result<Vec<Seen>> {
    observe_numbered(lab, 0, probes).await
}

/// Sends one request, and looks up what became of it.
pub async fn observe_one(lab: &Lab, client: &Client, request: Request) -> Result<Seen> {
    observe(lab, [(client.clone(), request)]).await?.pop().context("one request, one answer")
}

/// As [`observe`], with request ids of this random number.
pub async fn observe_numbered(lab: &Lab, number: u16, probes: impl IntoIterator<Item = Probe>) -> Result<Vec<Seen>> {
    let mut sent = Vec::new();
    for (client, request) in probes {
        let id = request_id(number);
        let response = client.send(request.header("x-request-id", &id)).await?;
        sent.push((without_reason(&id), response));
    }
    settle(lab).await?;

    let records = lab.audit_log().records()?;
    let (spans, received) = (lab.otlp().spans(), lab.upstream().received());
    let is = |id: &str, other: Option<&str>| other.is_some_and(|other| without_reason(other) == id);
    Ok(sent
        .into_iter()
        .map(|(id, response)| Seen {
            response,
            upstream: received.iter().find(|one| is(&id, one.header("x-request-id").as_deref())).cloned(),
            span: spans.iter().find(|one| is(&id, span_request_id(one))).cloned(),
            record: records.iter().find(|one| is(&id, one["request"]["id"].as_str())).cloned(),
        })
        .collect())
}

/// Waits until everything that ended before has been recorded, and every kept trace has its span.
pub async fn settle(lab: &Lab) -> Result<()> {
    let records = settle_records(lab).await?;
    let sampled = records.iter().filter(|record| record["trace"]["sampled"] == true);
    let expected: Vec<&str> = sampled.filter_map(|record| record["request"]["id"].as_str()).collect();
    let all_there =
        |spans: &[Span]| expected.iter().all(|id| spans.iter().any(|span| span_request_id(span) == Some(id)));
    lab.otlp().wait_until_spans("a span for each record that says so", SOON, all_there).await?;
    Ok(())
}

/// Waits until everything that ended before has been recorded: sends a request that is always refused, and therefore
/// always recorded, behind it. Returns all records.
pub async fn settle_records(lab: &Lab) -> Result<Vec<Value>> {
    let id = request_id(9_999);
    let last = Request::get("/").header("x-tenant-id", "a").header("x-tenant-id", "b").header("x-request-id", &id);
    anyhow::ensure!(lab.gateway().send(last).await?.status == 400, "two tenants are always refused");
    let mark = without_reason(&id);
    let is_mark = |record: &Value| record["request"]["id"].as_str().is_some_and(|id| without_reason(id) == mark);
    until("the record of the last request", SOON, async || {
        Ok(Some(lab.audit_log().records()?).filter(|records| records.iter().any(is_mark)))
    })
    .await
}

/// The request of a span that Envoy's tracer exported. careplane's late ones come when their batch is sent.
fn span_request_id(span: &Span) -> Option<&str> {
    span.attributes.get("guid:x-request-id").filter(|_| !span.is_late()).map(String::as_str)
}

/// The status of a raw HTTP/1 answer.
pub fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(line).ok()?.split(' ').nth(1)?.parse().ok()
}
