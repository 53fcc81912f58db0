//! Tracers as people configure them: the record says what was exported or leaves it out, and nothing is exported twice.

use anyhow::{Context, Result};
use careplane_integration::{EnvoyVersion, Lab, Request, otlp::Span, poll::until};
use serde_json::{Value, json};

use crate::{
    application::Application,
    by_request,
    chains::{APPLICATION, Chain, client, filter},
    finish, lab, request,
    support::{SOON, request_id, token, versions, without_reason},
};

/// Whose spans: Envoy's own have no reason to be late.
const ENVOY: bool = false;
const CAREPLANE: bool = true;

fn sampler(name: &str, kind: &str, members: &Value) -> Value {
    let mut typed =
        json!({"@type": format!("type.googleapis.com/envoy.extensions.tracers.opentelemetry.samplers.v3.{kind}")});
    for (member, value) in members.as_object().into_iter().flatten() {
        typed[member] = value.clone();
    }
    json!({"name": format!("envoy.tracers.opentelemetry.samplers.{name}"), "typed_config": typed})
}

/// The tracers, by the name of their chain.
fn chains() -> Vec<Chain> {
    let base = |percent: u32| json!({"random_sampling": {"value": percent}});
    let none = json!({});
    let always = sampler("always_on", "AlwaysOnSamplerConfig", &none);
    let never = sampler(
        "trace_id_ratio_based",
        "TraceIdRatioBasedSamplerConfig",
        &json!({"sampling_percentage": {"numerator": 0}}),
    );
    let parent = |root: &Value| sampler("parent_based", "ParentBasedSamplerConfig", &json!({"wrapped_sampler": root}));
    let with = |sampler: &Value| json!({"sampler": sampler});
    let id = |members: Value| {
        let mut typed = json!({"@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"});
        for (member, value) in members.as_object().into_iter().flatten() {
            typed[member] = value.clone();
        }
        json!({"request_id_extension": {"typed_config": typed}})
    };
    let by_id = id(json!({"use_request_id_for_trace_sampling": false}));
    let unpacked = id(json!({"pack_trace_reason": false}));
    vec![
        Chain::new("plain"),
        Chain::new("base").tracing(&base(100), &none),
        Chain::new("always").tracing(&none, &with(&always)),
        Chain::new("always-base").tracing(&base(100), &with(&always)),
        Chain::new("ratio-base").tracing(&base(100), &with(&never)),
        Chain::new("parent").tracing(&none, &with(&parent(&always))),
        Chain::new("parent-base").tracing(&base(100), &with(&parent(&never))),
        Chain::new("not-by-id").manager(&by_id),
        Chain::new("unpacked").manager(&unpacked),
        Chain::new("unpacked-base").manager(&unpacked).tracing(&base(100), &none),
    ]
    .into_iter()
    .map(|chain| {
        chain.behind(filter(
            "rbac",
            "RBAC",
            &json!({"rules": {"action": "DENY", "policies": {"hours": {
                "permissions": [{"header": {"name": "x-hours", "present_match": true}}], "principals": [{"any": true}],
            }}}}),
        ))
    })
    .collect()
}

/// Requests of every fate.
fn requests(token: &str) -> Vec<(&'static str, Request)> {
    let get = |path: &str| request(Request::get(path));
    vec![
        ("not kept", get("/api/v1/financial")),
        ("kept", get("/api/v1/medications").bearer(token)),
        ("refused by careplane", get("/api/v1/residents")),
        ("refused behind it", get("/api/v1/financial").header("x-hours", "1")),
        ("kept, and refused behind it", get("/api/v1/medications").bearer(token).header("x-hours", "1")),
    ]
}

/// The callers' own traces.
fn parents() -> [Option<String>; 3] {
    let parent = |flags: &str| Some(format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}"));
    [None, parent("01"), parent("00")]
}

/// A request that was sent: its id, and what it was.
struct Sent {
    id: String,
    what: String,
    refused: bool,
    has_parent: bool,
}

// === impl Sent ===

impl Sent {
    /// Refused, in a trace of its own: a caller whose trace is not kept keeps none of its parts.
    fn is_alone_and_refused(&self) -> bool {
        self.refused && !self.has_parent
    }
}

/// Sends requests of each fate, with and without a caller's trace. A policy learns its tracer from what is forwarded,
/// so that comes first.
async fn send(lab: &Lab, version: EnvoyVersion, chain: &str) -> Result<Vec<Sent>> {
    let token = token(lab)?;
    let client = client(lab, chain).await?;
    let mut sent = Vec::new();
    for _ in 0..2 {
        for parent in parents() {
            for (name, request) in requests(&token) {
                let id = request_id(9_999);
                let mut request = request.header("x-request-id", &id);
                if let Some(parent) = &parent {
                    request = request.header("traceparent", parent);
                }
                client.send(request).await?;
                let what = format!("{version}: {chain}: {name}, parent {parent:?}");
                sent.push(Sent {
                    id: without_reason(&id),
                    what,
                    refused: name.contains("refused"),
                    has_parent: parent.is_some(),
                });
            }
        }
    }
    Ok(sent)
}

fn is_late(span: &Span) -> bool {
    span.attributes.contains_key("late_reason")
}

fn spans<'a>(spans: &'a [Span], late: bool, id: &'a str) -> impl Iterator<Item = &'a Span> {
    spans.iter().filter(move |span| {
        is_late(span) == late && span.attributes.get("guid:x-request-id").is_some_and(|it| without_reason(it) == id)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_never_contradicts_what_was_exported_whatever_the_tracer_and_no_request_has_two_spans() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        for chain in chains() {
            // What is learned is learned of the tracer of one policy.
            let lab = lab(version, &application, std::slice::from_ref(&chain)).start().await?;
            drop(send(&lab, version, chain.name()).await?);
            let sent = send(&lab, version, chain.name()).await?;
            let records = by_request(&lab).await?;
            let claimed = |id: &str| records.get(id).and_then(|records| records[0]["trace"]["sampled"].as_bool());
            let is_there = |all: &[Span], one: &Sent| match claimed(&one.id) {
                Some(true) => spans(all, ENVOY, &one.id).next().is_some(),
                Some(false) if one.is_alone_and_refused() => spans(all, CAREPLANE, &one.id).next().is_some(),
                _ => true,
            };
            let what = format!("{version}: {}: a span for each record that says so", chain.name());
            let all = lab.otlp().wait_until_spans(&what, SOON, |all| sent.iter().all(|one| is_there(all, one))).await?;
            // Those that no record promises have as long again.
            let all = until("all spans", SOON, async || {
                let late = lab.envoy().admin().stat("wasmcustom.careplane.late_spans.acknowledged").await?;
                let now = lab.otlp().spans();
                let arrived = now.iter().filter(|span| is_late(span)).count();
                Ok((arrived as u64 >= late && now.len() >= all.len()).then_some(now))
            })
            .await?;
            for one in &sent {
                let (own, late) = (spans(&all, ENVOY, &one.id).count(), spans(&all, CAREPLANE, &one.id).count());
                let found = format!("{}: {own} of Envoy's, {late} of careplane's: {}", one.what, records[&one.id][0]);
                assert!(own + late <= 1, "{found}");
                if let Some(sampled) = claimed(&one.id) {
                    assert_eq!(sampled, own == 1, "{found}");
                    assert!(!one.is_alone_and_refused() || own + late == 1, "{found}");
                }
            }
            finish(lab).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_zipkin_a_record_has_the_ids_of_b3_and_says_what_was_exported() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let zipkin = |name: &str, members: Value| {
            let mut config = json!({
                "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig",
                "collector_cluster": APPLICATION, "collector_endpoint": "/api/v2/spans",
                "collector_endpoint_version": "HTTP_JSON",
            });
            for (member, value) in members.as_object().into_iter().flatten() {
                config[member] = value.clone();
            }
            let provider = json!({"name": "envoy.tracers.zipkin", "typed_config": config});
            Chain::new(name).tracing(&json!({"provider": provider}), &json!({}))
        };
        let chains = [
            zipkin("zipkin", json!({"trace_id_128bit": true})),
            zipkin("short", json!({})),
            zipkin("own", json!({"trace_id_128bit": true, "shared_span_context": false})),
        ];
        for chain in chains {
            let lab = lab(version, &application, std::slice::from_ref(&chain))
                .patch(|document| {
                    let runtime = &mut document["layered_runtime"]["layers"][0]["static_layer"];
                    runtime["tracing.zipkin.flush_interval_ms"] = json!(100);
                })
                .start()
                .await?;
            let sent = send(&lab, version, chain.name()).await?;
            let records = by_request(&lab).await?;
            let claimed = |id: &str| records.get(id).and_then(|records| records[0]["trace"]["sampled"].as_bool());
            let exported = until("a span for each record that says so", SOON, async || {
                let exported = application.zipkin();
                Ok(sent
                    .iter()
                    .all(|one| claimed(&one.id) != Some(true) || exported.contains_key(&one.id))
                    .then_some(exported))
            })
            .await?;
            let late = lab.otlp().spans();
            for one in &sent {
                let record = &records[&one.id][0];
                let own = exported.get(&one.id).map(Vec::as_slice).unwrap_or_default();
                let found = format!("{}: {own:?}: {record}", one.what);
                assert!(own.len() + spans(&late, CAREPLANE, &one.id).count() <= 1, "{found}");
                if let Some(sampled) = claimed(&one.id) {
                    assert_eq!(sampled, own.len() == 1, "{found}");
                }
                let forwarded = record["outcome"]["forwarded"] == true;
                if let ([span], true) = (own, forwarded) {
                    // Zipkin knows ids of half the length, which are padded (W3C Trace Context, "trace-id").
                    let id = span["traceId"].as_str().unwrap_or_default();
                    assert_eq!(record["trace"]["id"], format!("{id:0>32}"), "{found}");
                    assert_eq!(record["trace"]["spanId"], span["id"], "{found}");
                }
            }
            finish(lab).await?;
        }
    }
    Ok(())
}

/// A caller that sends B3 to a tracer of OpenTelemetry, with a `traceparent` that no tracer can read.
#[tokio::test(flavor = "multi_thread")]
async fn b3_of_a_caller_is_not_taken_for_the_span_of_a_tracer_that_writes_none() -> Result<()> {
    const B3: &str = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1";
    for version in versions() {
        let application = Application::start().await?;
        let chain = chains().into_iter().next().context("a chain")?;
        let lab = lab(version, &application, std::slice::from_ref(&chain)).start().await?;
        let client = client(&lab, chain.name()).await?;
        let get = || request(Request::get("/api/v1/financial"));
        let foreign = || get().header("traceparent", "00-xyz").header("b3", B3);
        let mut ids = Vec::new();
        // The first one comes before anything is known of the tracer.
        for request in [foreign(), get(), foreign(), get().header("x-hours", "1")] {
            let id = request_id(9_999);
            client.send(request.header("x-request-id", &id)).await?;
            ids.push(without_reason(&id));
        }
        let records = by_request(&lab).await?;
        for id in [&ids[0], &ids[2]] {
            let trace = &records[id][0]["trace"];
            assert!(trace["id"].is_null() && trace["sampled"] != true, "{version}: {trace}");
        }
        until("the late span of the refusal, which nothing before it has made doubtful", SOON, async || {
            Ok((spans(&lab.otlp().spans(), CAREPLANE, &ids[3]).count() == 1).then_some(()))
        })
        .await?;
        finish(lab).await?;
    }
    Ok(())
}
