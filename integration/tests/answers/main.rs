//! What Envoy reports of a request, and what the record says: who answered, whether an application saw it, and how
//! often.
//!
//! `docs/envoy-tells.md` names the test behind each line of its table.

mod application;
mod caches;
mod chains;
mod grpc_web;
mod held;
mod kinds;
mod limits;
mod plugins;
mod proxy;
mod random;
mod rare;
mod refusals;
mod traces;
mod trailers;
mod upstreams;

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use application::Application;
use careplane_integration::{
    EnvoyVersion, Lab, Request, Response, health::complaints, lab::Builder, otlp::Span, poll::until,
};
use chains::Chain;
use serde_json::{Value, json};
use support::{SOON, request_id, settle_records, without_reason};

/// Stands in paths, queries, headers, claims, and the texts of other services: no record, span or log line may have it.
pub const CANARY: &str = "Zz9canary";

/// Of a context whose tenant is optional and whose trace is kept for one request in ten: not for those with
/// [`request_id`] 9,999.
pub const PATH: &str = "/api/v1/financial/accounts?surname=Zz9canary";

/// A lab in which everything is exported: records, and the spans that careplane makes itself.
pub fn lab(version: EnvoyVersion, application: &Application, chains: &[Chain]) -> Builder {
    let builder = Lab::builder().version(version).policy(|policy| {
        policy["export"] = json!({"cluster": "otel", "batch": {"interval": "100ms"}});
    });
    chains::with(builder, application, chains)
}

/// A request whose trace is not kept by its head, with a canary wherever a caller can put one.
pub fn request(request: Request) -> Request {
    request.header("x-note", CANARY).header("cookie", format!("name={CANARY}"))
}

/// GET [`PATH`].
pub fn get() -> Request {
    request(Request::get(PATH))
}

/// What became of a request.
#[derive(Debug)]
pub struct Outcome {
    /// What the caller got; none when it left, or was cut off.
    pub response: Option<Response>,
    /// The record.
    pub record: Value,
    /// How often the application received it.
    pub received: usize,
    /// The spans of this request, of Envoy and careplane.
    pub spans: Vec<Span>,
}

// === impl Outcome ===

impl Outcome {
    /// A member of the record's `outcome`.
    pub fn outcome(&self, member: &str) -> &Value {
        &self.record["outcome"][member]
    }

    /// `decision.result`, `outcome.answeredBy`, `outcome.details` and `outcome.forwarded`, as text.
    pub fn summary(&self) -> [String; 4] {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let outcome = &self.record["outcome"];
        [&self.record["decision"]["result"], &outcome["answeredBy"], &outcome["details"], &outcome["forwarded"]]
            .map(text)
    }
}

/// Requests on their way through chains, one after another.
pub struct Run<'a> {
    lab: &'a Lab,
    application: &'a Application,
    sent: Vec<(String, Option<Response>)>,
    /// Whether the collector was well, so that what Envoy exported has arrived.
    spans_arrive: bool,
}

// === impl Run ===

impl<'a> Run<'a> {
    pub fn new(lab: &'a Lab, application: &'a Application) -> Self {
        Self { lab, application, sent: Vec::new(), spans_arrive: true }
    }

    /// Sends a request through a chain. No answer is an answer too.
    pub async fn send(&mut self, chain: &str, request: Request) -> Result<()> {
        self.send_with(chain, request, false).await
    }

    /// Sends a request through a chain over HTTP/2.
    pub async fn send_http2(&mut self, chain: &str, request: Request) -> Result<()> {
        self.send_with(chain, request, true).await
    }

    async fn send_with(&mut self, chain: &str, request: Request, http2: bool) -> Result<()> {
        let id = request_id(9_999);
        let client = chains::client(self.lab, chain).await?;
        let client = if http2 { client.http2() } else { client };
        let response = client.send(request.header("x-request-id", &id)).await.ok();
        self.sent.push((without_reason(&id), response));
        Ok(())
    }

    /// Awaits no spans: the collector does not answer, and Envoy's own exporter gives up on it.
    #[must_use]
    pub fn without_spans(self) -> Self {
        Self { spans_arrive: false, ..self }
    }

    /// Notes a request that the test has sent by itself.
    pub fn note(&mut self, id: &str) {
        self.sent.push((without_reason(id), None));
    }

    /// What became of each request. Every one of them has one record.
    pub async fn finish(self) -> Result<Vec<Outcome>> {
        // Envoy may learn that a caller has left after it has served the next one.
        let mut records = until("a record of each request", SOON, async || {
            let records = by_request(self.lab).await?;
            Ok(self.sent.iter().all(|(id, _)| records.contains_key(id)).then_some(records))
        })
        .await?;
        let counts = self.application.counts();
        let of = |id: &str, spans: &[Span]| -> Vec<Span> {
            let is_it =
                |span: &&Span| span.attributes.get("guid:x-request-id").is_some_and(|it| without_reason(it) == id);
            spans.iter().filter(is_it).cloned().collect()
        };
        let ids: Vec<_> = self.sent.iter().map(|(id, _)| id).collect();
        let kept = |id: &&&String| records.get(**id).is_some_and(|records| records.iter().any(has_span));
        let expected: Vec<_> = ids.iter().filter(kept).filter(|_| self.spans_arrive).collect();
        let all_there = |spans: &[Span]| expected.iter().all(|id| !of(id, spans).is_empty());
        let spans = self.lab.otlp().wait_until_spans("a span for each refusal and failure", SOON, all_there).await?;
        self.sent
            .into_iter()
            .map(|(id, response)| {
                let mut found = records.remove(&id).unwrap_or_default();
                anyhow::ensure!(found.len() == 1, "{} records of {id}: {found:?}", found.len());
                Ok(Outcome {
                    response,
                    record: found.pop().context("a record")?,
                    received: counts.get(&id).copied().unwrap_or_default(),
                    spans: of(&id, &spans),
                })
            })
            .collect()
    }
}

/// Whether the policy of these tests keeps the trace of a request: of those that are refused, fail, or are cut off.
fn has_span(record: &Value) -> bool {
    let outcome = &record["outcome"];
    let cut = |flag: &Value| ["LR", "UR", "UC", "DC", "DPE", "UPE", "DR"].iter().any(|reset| flag == reset);
    record["decision"]["result"] == "denied"
        || outcome["status"].as_u64().is_none_or(|status| status >= 500)
        || outcome["flags"].as_array().is_some_and(|flags| flags.iter().any(cut))
}

/// All records by the ids of their requests, once those of all requests so far are there.
pub async fn by_request(lab: &Lab) -> Result<BTreeMap<String, Vec<Value>>> {
    let mut records: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for record in settle_records(lab).await? {
        if let Some(id) = record["request"]["id"].as_str() {
            records.entry(without_reason(id)).or_default().push(record);
        }
    }
    Ok(records)
}

/// Ends a test: careplane is well, and nothing that a caller or another service wrote has left.
pub async fn finish(lab: Lab) -> Result<()> {
    assert_nothing_leaked(&lab).await?;
    support::health::finish(lab).await
}

/// As [`finish`], for labs whose chains are not in the access log alone.
pub async fn finish_without_chains(lab: Lab) -> Result<()> {
    assert_nothing_leaked(&lab).await?;
    support::health::finish_without_chains(lab).await
}

async fn assert_nothing_leaked(lab: &Lab) -> Result<()> {
    let complaints = complaints(lab.envoy()).await?;
    anyhow::ensure!(complaints.is_empty(), "careplane is not well:\n{}", complaints.join("\n"));
    // Filters of Envoy's own write to it what they like: oauth2 a path with its query.
    let log = lab.envoy().log().text()?;
    let log = log.lines().filter(|line| line.contains("[wasm]")).collect::<Vec<_>>().join("\n");
    let places = [
        ("a record", lab.audit_log().lines()?.join("\n")),
        ("a span", format!("{:?}", lab.otlp().spans())),
        ("a log record", format!("{:?}", lab.otlp().logs())),
        ("careplane's part of the proxy's log", log),
    ];
    for (place, text) in places {
        if let Some(found) = text.lines().find(|line| line.contains(CANARY)) {
            anyhow::bail!("{place} has what a caller wrote: {found}");
        }
    }
    Ok(())
}
