//! A real Jaeger on loopback, with the configuration that the mesh deploys.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    child_service::{ChildService, ReservedPort},
    client::{Client, Request},
    poll::until,
};

/// The name of its program in `.tools/mesh`.
pub const PROGRAM: &str = "jaeger";

/// A Jaeger that takes OTLP over HTTP, as `wasmplugin-manifests/base/observability/tracing/jaeger-config.yaml` has it.
/// Dropping it kills it and removes its files.
#[derive(Debug)]
pub struct Jaeger {
    service: ChildService,
    otlp: ReservedPort,
    query: ReservedPort,
    grpc_query: ReservedPort,
}

/// A span as Jaeger shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JaegerSpan {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// The spans that it refers to as its parents: 16 hex digits each.
    pub parents: Vec<String>,
    /// The operation.
    pub name: String,
    /// The service that sent it.
    pub service: String,
    /// Its tags; a value that is not a string is written as JSON.
    pub tags: BTreeMap<String, String>,
}

impl Jaeger {
    /// Starts a Jaeger and waits until it says that it is ready.
    ///
    /// # Errors
    ///
    /// When it ends, or is not ready within half a minute; the error has what it wrote.
    pub async fn start() -> Result<Self> {
        let mut jaeger = Self {
            service: ChildService::new(PROGRAM, "/status")?,
            otlp: ReservedPort::bind()?,
            query: ReservedPort::bind()?,
            grpc_query: ReservedPort::bind()?,
        };
        jaeger.service.configure("jaeger-config.yaml", |document| {
            jaeger.move_here(document);
            Ok(())
        })?;
        jaeger.service.start().await?;
        Ok(jaeger)
    }

    /// Where it takes OTLP/HTTP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.otlp.address()
    }

    /// All spans of the traces that `service` has a part in, of at most `most` of them.
    ///
    /// # Errors
    ///
    /// When it does not answer, or not what its API says.
    pub async fn spans(&self, service: &str, most: usize) -> Result<Vec<JaegerSpan>> {
        let path = format!("/api/traces?service={service}&limit={most}&lookback=1h");
        let answer = Client::plain(self.query.address()).send(Request::get(path)).await?.json()?;
        let traces = answer["data"].as_array().with_context(|| format!("Jaeger has no traces to show: {answer}"))?;
        Ok(traces.iter().flat_map(spans).collect())
    }

    /// As [`spans`](Self::spans), when there are at least `count`.
    ///
    /// # Errors
    ///
    /// When there are fewer after `deadline`.
    pub async fn wait_for_spans(&self, service: &str, count: usize, deadline: Duration) -> Result<Vec<JaegerSpan>> {
        let what = format!("{count} spans of {service} in Jaeger");
        // As many traces as there can be.
        let most = 2 * count.max(50);
        until(&what, deadline, async || Ok(Some(self.spans(service, most).await?).filter(|spans| spans.len() >= count)))
            .await
    }

    /// Addresses and files of this machine.
    fn move_here(&self, document: &mut Value) {
        document["receivers"]["otlp"]["protocols"] = json!({"http": {"endpoint": self.address()}});
        let extensions = &mut document["extensions"];
        extensions["healthcheckv2"]["http"]["endpoint"] = json!(self.service.health());
        extensions["jaeger_query"]["http"]["endpoint"] = json!(self.query.address());
        extensions["jaeger_query"]["grpc"]["endpoint"] = json!(self.grpc_query.address());
        extensions["jaeger_storage"]["backends"]["traces"]["badger"]["directories"] =
            json!({"keys": self.service.file("keys"), "values": self.service.file("values")});
    }
}

fn spans(trace: &Value) -> impl Iterator<Item = JaegerSpan> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    trace["spans"].as_array().into_iter().flatten().map(move |span| {
        let parents = span["references"].as_array().into_iter().flatten();
        let tags = span["tags"].as_array().into_iter().flatten();
        let process = span["processID"].as_str().unwrap_or_default();
        JaegerSpan {
            trace_id: text(&span["traceID"]),
            span_id: text(&span["spanID"]),
            parents: parents.map(|parent| text(&parent["spanID"])).collect(),
            name: text(&span["operationName"]),
            service: text(&trace["processes"][process]["serviceName"]),
            tags: tags.map(|tag| (text(&tag["key"]), text(&tag["value"]))).collect(),
        }
    })
}
