//! Late spans, as another implementation of OTLP reads them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use careplane_exchange::memory::{Call, MemoryHost, rules};
use careplane_exchange::{Ending, Filter, Host, Incoming, MapType};
use careplane_export::{ExportQueue, ExportTarget, Exporter, Resource};
use data_encoding::HEXLOWER;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::Sampling;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
/// As Envoy sent it to the upstream.
const OWN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const NOT_TRACED: &str = "00000000-0000-4000-8000-000000000000";
const FORCED: &str = "00000000-0000-a000-8000-000000000000";

/// A request and what became of it.
struct Case {
    late: &'static str,
    parent: Option<&'static str>,
    own: Option<&'static str>,
    id: &'static str,
    status: i64,
    flags: i64,
    details: &'static str,
    millis: i64,
}

const FINE: Case = Case {
    late: "{}",
    parent: None,
    own: Some(OWN),
    id: NOT_TRACED,
    status: 200,
    flags: 0,
    details: "via_upstream",
    millis: 5,
};

fn host(case: &Case) -> MemoryHost {
    let mut headers = vec![
        (":method", "GET"),
        (":path", "/residents/943%20476%205919?full=1"),
        ("x-request-id", case.id),
        ("x-tenant-id", "home-1"),
        ("x-user-id", "ann"),
        ("x-correlation-id", "c-1"),
    ];
    headers.extend(case.parent.map(|parent| ("traceparent", parent)));
    MemoryHost::with_request(headers)
        .with_property("response.code", case.status.to_le_bytes())
        .with_property("response.flags", case.flags.to_le_bytes())
        .with_property("response.code_details", case.details)
        .with_property("request.time", 1_767_323_045_678_901_000_i64.to_le_bytes())
        .with_property("request.duration", case.millis.saturating_mul(1_000_000).to_le_bytes())
}

/// The spans that leave after the request is over.
fn spans_from(case: &Case, host: &MemoryHost) -> Vec<Span> {
    let policy = format!(
        r#"{{
            "version": "careplane/v1",
            "identity": {{"trustedPeers": "any"}},
            "contexts": [{{
                "name": "resident", "complianceLevel": "high", "tier": "never",
                "match": [{{"path": "/residents/{{id}}"}}]
            }}],
            "sampling": {{"late": {}}},
            "export": {{"cluster": "otel", "batch": {{"interval": "1ms"}}}}
        }}"#,
        case.late
    );
    let rules = rules(&policy).unwrap();
    let queue = Rc::new(ExportQueue::default());
    queue.attach();
    let resource = Resource::new([("service.name", "gateway")], "careplane", "1");
    let collector =
        Rc::new(ExportTarget { export: rules.policy.export.clone().unwrap(), resource, overflow_in_proxy_log: true });
    let sampling = Sampling::new(Some(Exporter::new(Rc::clone(&queue), collector)));
    let incoming = Incoming::open(Arc::clone(&rules), host);
    sampling.on_request(&incoming, host);
    incoming.conclude(host);
    if let Some(own) = case.own {
        host.set_header(MapType::RequestHeaders, "traceparent", own).unwrap();
    }
    sampling.on_log(&Ending::read(&incoming.handled(host), host), host);
    host.wait(Duration::from_secs(1));
    queue.tick(host);
    host.calls()
        .iter()
        .inspect(|call| assert_eq!(call.path, "/v1/traces"))
        .map(|call| ExportTraceServiceRequest::decode(&*call.body).unwrap())
        .flat_map(|request| request.resource_spans)
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans)
        .collect()
}

fn span(case: &Case) -> Option<Span> {
    let mut spans = spans_from(case, &host(case));
    assert!(spans.len() <= 1);
    spans.pop()
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_failure_is_told_under_the_identity_that_went_upstream() {
    let span = span(&Case { status: 503, flags: 0x20, ..FINE }).unwrap();
    assert_eq!(
        (HEXLOWER.encode(&span.trace_id), HEXLOWER.encode(&span.span_id)),
        (TRACE.into(), "b7ad6b7169203331".into())
    );
    assert!(span.parent_span_id.is_empty());
    assert_eq!(span.name, "GET /residents/{id}");
    assert_eq!(span.start_time_unix_nano, 1_767_323_045_678_901_000);
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 5_000_000);
    assert_eq!(span.status.as_ref().unwrap().code, 2);
    for (name, value) in [
        ("tenant_id", "home-1"),
        ("correlation_id", "c-1"),
        ("healthcare_context", "resident"),
        ("compliance_level", "high"),
        ("path_template", "/residents/{id}"),
        ("late_reason", "server-error"),
        ("http.request.method", "GET"),
        ("http.route", "/residents/{id}"),
        ("http.response.status_code", "503"),
        ("error.type", "503"),
        ("response_flags", "UF"),
        ("guid:x-request-id", NOT_TRACED),
    ] {
        assert_eq!(attribute(&span, name).as_deref(), Some(value), "{name}");
    }
    assert!(attribute(&span, "user_id").unwrap().starts_with("p-"));
}

#[test]
fn what_has_a_late_span_and_why() {
    const ALL: &str = r#"{"denied": true, "serverErrors": true, "slowerThan": "1s"}"#;
    const NONE: &str = r#"{"denied": false, "serverErrors": false}"#;
    let denied = "rbac_access_denied_matched_policy[none]";
    for (case, expected) in [
        (Case { late: ALL, ..FINE }, None),
        (Case { late: ALL, status: 404, ..FINE }, None),
        (Case { late: ALL, status: 500, ..FINE }, Some("server-error")),
        (Case { late: ALL, status: 200, flags: 1 << 6, ..FINE }, Some("reset")),
        (Case { late: ALL, status: 0, ..FINE }, Some("reset")),
        // Either side may end a switched connection.
        (Case { late: ALL, status: 101, flags: 1 << 6, ..FINE }, None),
        (Case { late: ALL, status: 403, details: denied, ..FINE }, Some("denied")),
        (Case { late: ALL, millis: 1000, ..FINE }, None),
        (Case { late: ALL, millis: 1001, ..FINE }, Some("slow")),
        (Case { late: "{}", millis: 60_000, ..FINE }, None),
        (Case { late: NONE, status: 500, ..FINE }, None),
        (Case { late: NONE, status: 403, details: denied, ..FINE }, None),
        // Envoy exports these itself.
        (
            Case {
                late: ALL,
                status: 500,
                own: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
                ..FINE
            },
            None,
        ),
        (Case { late: ALL, status: 403, details: denied, own: None, id: FORCED, ..FINE }, None),
    ] {
        let reason = span(&case).and_then(|span| attribute(&span, "late_reason"));
        assert_eq!(reason.as_deref(), expected, "{} {} {} {} ms", case.late, case.status, case.details, case.millis);
    }
}

#[test]
fn a_tree_is_kept_only_when_its_root_is_or_the_policy_says_so() {
    const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00";
    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    let parent = |late, parent| span(&Case { late, parent: Some(parent), status: 500, ..FINE });
    assert!(parent("{}", UNSAMPLED).is_none());
    for (late, given) in [(r#"{"unsampledParents": true}"#, UNSAMPLED), ("{}", SAMPLED)] {
        let span = parent(late, given).unwrap();
        assert_eq!(HEXLOWER.encode(&span.parent_span_id), "00f067aa0ba902b7");
        assert_eq!(
            (HEXLOWER.encode(&span.trace_id), HEXLOWER.encode(&span.span_id)),
            (TRACE.into(), "b7ad6b7169203331".into())
        );
    }
    // Envoy began a trace of its own: what the caller sent is no parent of it.
    let elsewhere = parent("{}", "00-11111111111111111111111111111111-00f067aa0ba902b7-01").unwrap();
    assert!(elsewhere.parent_span_id.is_empty());
}

#[test]
fn a_hop_that_nobody_was_told_of_gets_an_identity() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    let refused = Case { status: 403, details: "jwt_authn_access_denied{Jwt_is_missing}", own: None, ..FINE };
    let alone = span(&refused).unwrap();
    assert_eq!((alone.trace_id.len(), alone.span_id.len(), alone.parent_span_id.len()), (16, 8, 0));
    assert_eq!(attribute(&alone, "denial_reason").as_deref(), Some("jwt_authn"));
    assert_eq!(alone.status, None, "a refusal is no failure of the server");

    // The caller's own traceparent is still there, and it says sampled: but x-request-id says that Envoy did not trace.
    let within = span(&Case { parent: Some(PARENT), ..refused }).unwrap();
    assert_eq!(
        (HEXLOWER.encode(&within.trace_id), HEXLOWER.encode(&within.parent_span_id)),
        (TRACE.into(), "00f067aa0ba902b7".into())
    );
    assert_ne!(HEXLOWER.encode(&within.span_id), "00f067aa0ba902b7");

    let without_random = host(&refused);
    without_random.fail(Call::Random);
    assert!(spans_from(&refused, &without_random).is_empty());
}

#[test]
fn a_collector_of_the_policy_is_needed() {
    let host = host(&Case { status: 503, ..FINE });
    let incoming = Incoming::open(rules(r#"{"version": "careplane/v1"}"#).unwrap(), &host);
    Sampling::default().on_log(&Ending::read(&incoming.handled(&host), &host), &host);
    assert!(host.calls().is_empty());
}
