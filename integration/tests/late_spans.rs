//! Spans of what the head of a trace could not know, in a real Jaeger.

mod support;

use std::collections::BTreeMap;

use anyhow::Result;
use careplane_integration::{
    EnvoyVersion, Jaeger, Lab, Plugins, Request,
    jaeger::{JaegerSpan, PROGRAM},
    prerequisites_and,
    upstream::STATUS_HEADER,
    workspace,
};
use serde_json::json;
use support::{SOON, TRUSTED, request_id, token, without_reason};

/// Of each kind of request.
const EACH: usize = 25;
/// As Envoy's tracer and careplane call the service.
const SERVICES: [&str; 2] = ["careplane-gateway", "careplane"];
/// Counts late spans that were delivered.
const DELIVERED: &str = "wasmcustom.careplane.late_spans.acknowledged";

/// A kind of request: what is sent, what comes back, and why its span is late, if it has one of careplane's.
struct Kind {
    name: &'static str,
    request: fn(&str) -> Request,
    status: u16,
    late: Option<&'static str>,
}

const KINDS: [Kind; 6] = [
    Kind { name: "served", request: |token| Request::get("/elsewhere").bearer(token), status: 200, late: None },
    Kind {
        name: "refused by careplane",
        request: |token| Request::get("/api/v1/tenants/care-home-0001/staff").bearer(token),
        status: 403,
        late: None,
    },
    Kind {
        name: "refused by another filter",
        request: |token| Request::get("/forbidden").bearer(token),
        status: 403,
        late: Some("denied"),
    },
    Kind {
        name: "not let in",
        request: |_| Request::get("/elsewhere").bearer("bad"),
        status: 401,
        late: Some("denied"),
    },
    Kind {
        name: "failed by the application",
        request: |token| Request::get("/elsewhere").bearer(token).header(STATUS_HEADER, "500"),
        status: 500,
        late: Some("server-error"),
    },
    Kind {
        name: "without an application",
        request: |token| Request::get("/failing").bearer(token),
        status: 503,
        late: Some("server-error"),
    },
];

/// The spans in Jaeger by the id of their request.
async fn by_request(jaeger: &Jaeger) -> Result<BTreeMap<String, Vec<JaegerSpan>>> {
    let mut spans: BTreeMap<String, Vec<JaegerSpan>> = BTreeMap::new();
    for service in SERVICES {
        for span in jaeger.spans(service, 10 * EACH).await? {
            let id = span.tags.get("guid:x-request-id").map(|id| without_reason(id)).unwrap_or_default();
            spans.entry(id).or_default().push(span);
        }
    }
    Ok(spans)
}

fn versions_with_jaeger() -> impl Iterator<Item = EnvoyVersion> {
    workspace::versions().into_iter().filter(|version| prerequisites_and(&[PROGRAM], *version, Plugins::Bundle))
}

/// An Envoy that keeps no trace by its head, and exports to `jaeger`.
async fn keeping_nothing(version: EnvoyVersion, jaeger: &Jaeger) -> Result<Lab> {
    Lab::builder()
        .version(version)
        .collector(jaeger.address())
        .policy(|policy| {
            for (_, rate) in policy["sampling"]["tiers"].as_object_mut().expect("tiers") {
                *rate = json!(0);
            }
            policy["export"] = json!({"cluster": "otel", "batch": {"interval": "100ms"}});
        })
        .start()
        .await
}

#[tokio::test]
async fn a_late_span_is_the_parent_of_what_the_next_hop_exports() -> Result<()> {
    for version in versions_with_jaeger() {
        let jaeger = Jaeger::start().await?;
        let lab = keeping_nothing(version, &jaeger).await?;
        let token = token(&lab)?;
        let failing = || Request::get("/elsewhere").bearer(&token).header(STATUS_HEADER, "500");
        lab.gateway().send(failing().header("x-request-id", request_id(9_999))).await?;
        let sent = lab.upstream().received().last().and_then(|received| received.header("traceparent")).expect("sent");
        // The application keeps this trace by a decision of its own, and goes on to the next hop, where Envoy keeps it
        // too.
        let kept = format!("{}-01", sent.strip_suffix("-00").expect("the head does not keep it"));
        let inherited = request_id(9_999).replacen("-4", "-9", 1);
        let onwards =
            Request::get("/elsewhere").bearer(&token).header("traceparent", kept).header("x-request-id", inherited);
        lab.sidecar(TRUSTED)?.send(onwards).await?;

        // Jaeger shows whole traces: of the one with the late span, both.
        let (exported, late) = ("careplane-sidecar", "careplane");
        let spans = jaeger.wait_for_spans(late, 2, SOON).await?;
        let of = |service| spans.iter().find(|span| span.service == service);
        let (Some(late), Some(exported), 2) = (of(late), of(exported), spans.len()) else { panic!("{spans:?}") };
        assert_eq!(exported.trace_id, late.trace_id);
        assert_eq!(exported.parents, [&*late.span_id], "{exported:?}");
        lab.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_refusal_and_failure_of_a_run_that_keeps_nothing_is_in_jaeger_exactly_once() -> Result<()> {
    for version in versions_with_jaeger() {
        let jaeger = Jaeger::start().await?;
        let lab = keeping_nothing(version, &jaeger).await?;
        let token = token(&lab)?;
        let mut sent = Vec::new();
        for kind in KINDS.iter().cycle().take(EACH * KINDS.len()) {
            let id = request_id(9_999);
            let response = lab.gateway().send((kind.request)(&token).header("x-request-id", &id)).await?;
            assert_eq!(response.status, kind.status, "{}: {}", kind.name, response.text());
            sent.push((kind, without_reason(&id)));
        }
        let late = sent.iter().filter(|(kind, _)| kind.late.is_some()).count();
        lab.envoy().admin().wait_for_stat(DELIVERED, late as u64, SOON).await?;
        for (service, count) in SERVICES.into_iter().zip([EACH, late]) {
            jaeger.wait_for_spans(service, count, SOON).await?;
        }

        let spans = by_request(&jaeger).await?;
        assert_eq!(spans.values().map(Vec::len).sum::<usize>(), EACH + late, "no unexpected span");
        let upstream = lab.upstream().received();
        for (kind, id) in sent {
            let spans = spans.get(&id).map(Vec::as_slice).unwrap_or_default();
            let (name, found) = (kind.name, spans.len());
            assert_eq!(found, usize::from(kind.status != 200), "{name}: spans of {id}");
            let Some(span) = spans.first() else { continue };
            assert_eq!(span.tags.get("late_reason").map(String::as_str), kind.late, "{name}: {span:?}");
            if kind.late.is_some() {
                assert_eq!(span.tags["http.response.status_code"], kind.status.to_string(), "{name}");
                assert_eq!(span.tags.contains_key("error"), kind.status >= 500, "{name}: {span:?}");
            }
            // A span that the application keeps under this traceparent finds its parent here.
            let is_it = |header: Option<String>| header.is_some_and(|header| without_reason(&header) == id);
            if let Some(received) = upstream.iter().find(|received| is_it(received.header("x-request-id"))) {
                let sent = received.header("traceparent").expect("Envoy sends it");
                assert_eq!(sent, format!("00-{}-{}-00", span.trace_id, span.span_id), "{name}");
            }
        }
        lab.stop().await?;
    }
    Ok(())
}
