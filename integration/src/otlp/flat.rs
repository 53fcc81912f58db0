//! OTLP's nested messages as flat records, which tests can compare.

use std::{collections::BTreeMap, fs, io, path::Path};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use data_encoding::HEXLOWER;
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value as Any},
    resource::v1::Resource,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A span. Times are nanoseconds since the Unix epoch; ids are lower-case hex.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits, empty for a root.
    pub parent_span_id: String,
    /// The operation.
    pub name: String,
    /// `SpanKind` of OTLP: 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub kind: i32,
    /// When it began.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// `Status.code` of OTLP: 0 unset, 1 ok, 2 error.
    pub status: i32,
    /// W3C trace flags, as OTLP carries them.
    pub flags: u32,
    /// The span's attributes; a value that is not a string is written as JSON.
    pub attributes: BTreeMap<String, String>,
    /// The attributes of the resource, among them `service.name`.
    pub resource: BTreeMap<String, String>,
}

/// A log record. Times are nanoseconds since the Unix epoch; ids are lower-case hex, empty when absent.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRecord {
    /// When the event happened.
    pub time: u64,
    /// When it was observed.
    pub observed_time: u64,
    /// `SeverityNumber` of OTLP.
    pub severity: i32,
    /// The severity as the source names it.
    pub severity_text: String,
    /// The body; one that is not a string is written as JSON.
    pub body: String,
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// The event's name.
    pub event_name: String,
    /// The record's attributes; a value that is not a string is written as JSON.
    pub attributes: BTreeMap<String, String>,
    /// The attributes of the resource.
    pub resource: BTreeMap<String, String>,
}

pub(super) fn spans(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut flat = Vec::new();
    for group in request.resource_spans {
        let resource = resource(group.resource);
        for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            flat.push(Span {
                trace_id: HEXLOWER.encode(&span.trace_id),
                span_id: HEXLOWER.encode(&span.span_id),
                parent_span_id: HEXLOWER.encode(&span.parent_span_id),
                name: span.name,
                kind: span.kind,
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
                status: span.status.map_or(0, |status| status.code),
                flags: span.flags,
                attributes: attributes(span.attributes),
                resource: resource.clone(),
            });
        }
    }
    flat
}

impl Span {
    /// Whether it is one of careplane's own, sent when its request was over.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.attributes.contains_key("late_reason")
    }

    /// The spans in a file of the collector's file exporter: an export request in OTLP JSON a line. There are none when
    /// there is no such file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not that.
    pub fn from_file(path: &Path) -> Result<Vec<Self>> {
        exported(path, r#"{"resourceSpans":"#, spans)
    }
}

impl LogRecord {
    /// The records in a file of the collector's file exporter: an export request in OTLP JSON a line. None when
    /// there is no such file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not that.
    pub fn from_file(path: &Path) -> Result<Vec<Self>> {
        exported(path, r#"{"resourceLogs":"#, logs)
    }
}

/// What is in a file of export requests that begin with `begin`. Its last line is incomplete while it is written. A
/// request before another one in its line was being written when the collector was killed: it is cut, or lacks the line
/// end alone. None of these was acknowledged.
fn exported<R: DeserializeOwned, T>(path: &Path, begin: &str, flat: fn(R) -> Vec<T>) -> Result<Vec<T>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let mut all = Vec::new();
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let (before, last) = line.split_at(line.rfind(begin).unwrap_or_default());
        all.extend(serde_json::from_str(before).map(flat).unwrap_or_default());
        let last = serde_json::from_str(last).with_context(|| format!("{}: not OTLP JSON: {line}", path.display()));
        all.extend(flat(last?));
    }
    Ok(all)
}

pub(super) fn logs(request: ExportLogsServiceRequest) -> Vec<LogRecord> {
    let mut flat = Vec::new();
    for group in request.resource_logs {
        let resource = resource(group.resource);
        for record in group.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
            flat.push(LogRecord {
                time: record.time_unix_nano,
                observed_time: record.observed_time_unix_nano,
                severity: record.severity_number,
                severity_text: record.severity_text,
                body: record.body.map(text).unwrap_or_default(),
                trace_id: HEXLOWER.encode(&record.trace_id),
                span_id: HEXLOWER.encode(&record.span_id),
                event_name: record.event_name,
                attributes: attributes(record.attributes),
                resource: resource.clone(),
            });
        }
    }
    flat
}

fn resource(resource: Option<Resource>) -> BTreeMap<String, String> {
    resource.map(|resource| attributes(resource.attributes)).unwrap_or_default()
}

fn attributes(list: Vec<KeyValue>) -> BTreeMap<String, String> {
    list.into_iter().map(|pair| (pair.key, pair.value.map(text).unwrap_or_default())).collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(Any::StringValue(text)) => text,
        other => json_value(other).to_string(),
    }
}

fn json_value(value: Option<Any>) -> Value {
    match value {
        None => Value::Null,
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::BoolValue(truth)) => json!(truth),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::DoubleValue(number)) => json!(number),
        Some(Any::BytesValue(bytes)) => json!(BASE64_STANDARD.encode(bytes)),
        Some(Any::ArrayValue(list)) => list.values.into_iter().map(|item| json_value(item.value)).collect(),
        Some(Any::KvlistValue(list)) => {
            list.values.into_iter().map(|pair| (pair.key, json_value(pair.value.and_then(|v| v.value)))).collect()
        }
        // An index into a dictionary that only profiles have.
        #[allow(unreachable_patterns, reason = "the variant exists only in newer OTLP")]
        Some(_) => Value::Null,
    }
}
