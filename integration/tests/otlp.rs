//! The OTLP receiver takes what careplane sends (JSON, as the OTLP specification writes it) and refuses on demand.

use std::time::Duration;

use anyhow::Result;
use careplane_integration::{
    Client, Otlp, Request,
    otlp::{Answer, LogRecord},
};

const LOGS: &str = r#"{"resourceLogs": [{
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "careplane"}}]},
    "scopeLogs": [{"logRecords": [{
        "timeUnixNano": "1767225600000000001", "observedTimeUnixNano": "1767225600000000002",
        "severityNumber": 9, "severityText": "INFO", "eventName": "careplane.audit",
        "body": {"stringValue": "{\"chain\":{}}"},
        "attributes": [
            {"key": "status", "value": {"intValue": "200"}}, {"key": "denied", "value": {"boolValue": false}}
        ],
        "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"
    }]}]
}]}"#;

const TRACES: &str = r#"{"resourceSpans": [{"scopeSpans": [{"spans": [{
    "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "parentSpanId": "",
    "name": "late", "kind": 2, "startTimeUnixNano": "1767225600000000001", "endTimeUnixNano": "1767225600000000002",
    "attributes": [{"key": "tenant_id", "value": {"stringValue": "care-home-0001"}}], "status": {"code": 2}
}]}]}]}"#;

fn export(path: &str, body: &'static str) -> Request {
    Request::post(path, body).header("content-type", "application/json")
}

#[tokio::test]
async fn log_records_and_spans_in_json_arrive_flat() -> Result<()> {
    let otlp = Otlp::start().await?;
    let client = Client::plain(otlp.address());
    let response = client.send(export("/v1/logs", LOGS)).await?;
    assert_eq!((response.status, response.text().as_str()), (200, "{}"));
    let expected = LogRecord {
        time: 1_767_225_600_000_000_001,
        observed_time: 1_767_225_600_000_000_002,
        severity: 9,
        severity_text: "INFO".to_owned(),
        body: r#"{"chain":{}}"#.to_owned(),
        trace_id: "5b8efff798038103d269b633813fc60c".to_owned(),
        span_id: "eee19b7ec3c1b174".to_owned(),
        event_name: "careplane.audit".to_owned(),
        attributes: [("denied", "false"), ("status", "200")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        resource: [("service.name".to_owned(), "careplane".to_owned())].into(),
    };
    assert_eq!(otlp.logs(), [expected]);

    client.send(export("/v1/traces", TRACES)).await?;
    let span = &otlp.wait_for_spans(1, Duration::from_secs(1)).await?[0];
    assert_eq!((span.name.as_str(), span.kind, span.status), ("late", 2, 2));
    assert_eq!(span.attributes["tenant_id"], "care-home-0001");
    assert_eq!((span.trace_id.as_str(), span.parent_span_id.as_str()), ("5b8efff798038103d269b633813fc60c", ""));
    Ok(())
}

#[tokio::test]
async fn a_collector_can_be_ill_in_other_ways() -> Result<()> {
    let otlp = Otlp::start().await?;
    let client = Client::plain(otlp.address());
    otlp.answer(Answer::RetryAfter(7));
    let response = client.send(export("/v1/logs", LOGS)).await?;
    assert_eq!((response.status, response.header("retry-after").as_deref()), (429, Some("7")));
    otlp.answer(Answer::Reset);
    let error = client.send(export("/v1/logs", LOGS)).await.expect_err("a reset");
    assert!(format!("{error:#}").contains("reset"), "{error:#}");
    assert!(otlp.logs().is_empty());
    otlp.answer(Answer::Reject(1));
    let response = client.send(export("/v1/logs", LOGS)).await?;
    assert_eq!(response.json()?["partialSuccess"]["rejectedLogRecords"], 1, "{}", response.text());
    assert!(otlp.logs().is_empty());
    otlp.answer(Answer::Delay(Duration::from_millis(1)));
    assert_eq!(client.send(export("/v1/logs", LOGS)).await?.status, 200);
    assert_eq!(otlp.logs().len(), 1);
    Ok(())
}

#[tokio::test]
async fn what_is_refused_or_malformed_is_counted_and_not_kept() -> Result<()> {
    let otlp = Otlp::start().await?;
    let client = Client::plain(otlp.address());
    otlp.answer(Answer::Refuse(503));
    assert_eq!(client.send(export("/v1/logs", LOGS)).await?.status, 503);
    otlp.answer(Answer::Accept);
    assert_eq!(client.send(export("/v1/logs", "{")).await?.status, 400);
    assert_eq!(client.send(Request::post("/v1/logs", LOGS)).await?.status, 400, "no content type");
    assert!(otlp.logs().is_empty());
    let seen: Vec<_> = otlp.exports().iter().map(|export| (export.items, export.status)).collect();
    assert_eq!(seen, [(1, Some(503)), (0, Some(400)), (0, Some(400))]);
    Ok(())
}
