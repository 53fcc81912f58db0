//! Log records and spans as OTLP has them: `opentelemetry/proto/{logs,trace}/v1`, in protobuf.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::wire::Message;

/// `SEVERITY_NUMBER_INFO`.
const INFO: u64 = 9;
/// `SPAN_KIND_SERVER`: an inbound hop.
const SERVER: u64 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;
/// The W3C flag `sampled`, which a span that is exported has.
const SAMPLED: u32 = 1;
/// The repeated member of `ScopeLogs` and of `ScopeSpans`, and of the messages around them.
const REPEATED: u32 = 2;

/// One log record or span, encoded as the member of its scope, ready to be put beside others.
#[derive(Debug, Clone)]
pub struct Item {
    encoded: Vec<u8>,
    /// Where the text of the record is, for records.
    record: Option<Range<usize>>,
}

/// Who sends: the attributes of an OTLP resource, and the scope, encoded once.
#[derive(Debug, Clone, Default)]
pub struct Resource {
    resource: Vec<u8>,
    scope: Vec<u8>,
}

/// What a span is made of. Ids are of lower-case hex.
#[derive(Debug, Clone)]
pub struct SpanData<'s> {
    /// 32 hex digits.
    pub trace_id: &'s str,
    /// 16 hex digits.
    pub span_id: &'s str,
    /// 16 hex digits; none for the first span of a trace.
    pub parent_span_id: Option<&'s str>,
    /// The operation.
    pub name: &'s str,
    /// When the request came in.
    pub start: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// Whether it went wrong.
    pub status: SpanStatus,
    /// Attributes.
    pub attributes: Vec<(&'s str, &'s str)>,
    /// Attributes that are numbers.
    pub numbers: Vec<(&'s str, u64)>,
}

/// `Status` of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanStatus {
    /// Unknown.
    Unset,
    /// It failed.
    Error,
}

// === impl Item ===

impl Item {
    /// An audit record as the body of a log record. `event` is the name of the event, `id` the identity of the record,
    /// by which a store drops duplicates: a batch can arrive twice.
    pub fn record(record: &str, event: &str, id: &str, time: SystemTime, trace: Option<(&str, &str)>) -> Self {
        let mut inner = Message::with_capacity(record.len().saturating_add(160));
        inner.fixed64(1, nanos(time)).varint(2, INFO);
        inner.message(5, |body| {
            body.bytes(1, record.as_bytes());
        });
        let record_end = inner.len();
        attribute(&mut inner, 6, "log.record.uid", id);
        if let Some((trace_id, span_id)) = trace {
            inner.bytes(9, &unhex(trace_id)).bytes(10, &unhex(span_id));
        }
        inner.bytes(12, event.as_bytes());
        let (encoded, start) = framed(&inner.finish());
        let end = start.saturating_add(record_end);
        Self { record: Some(end.saturating_sub(record.len())..end), encoded }
    }

    /// A span.
    #[inline(never)]
    pub fn span(span: &SpanData<'_>) -> Self {
        let mut inner = Message::with_capacity(512);
        inner.bytes(1, &unhex(span.trace_id)).bytes(2, &unhex(span.span_id));
        if let Some(parent) = span.parent_span_id {
            inner.bytes(4, &unhex(parent));
        }
        let start = nanos(span.start);
        let duration = u64::try_from(span.duration.as_nanos()).unwrap_or(u64::MAX);
        inner.bytes(5, span.name.as_bytes()).varint(6, SERVER);
        inner.fixed64(7, start).fixed64(8, start.saturating_add(duration));
        for (key, value) in &span.attributes {
            attribute(&mut inner, 9, key, value);
        }
        for (key, value) in &span.numbers {
            inner.message(9, |attribute| {
                attribute.bytes(1, key.as_bytes()).message(2, |any| {
                    any.varint(3, *value);
                });
            });
        }
        if span.status == SpanStatus::Error {
            inner.message(15, |status| {
                status.varint(3, ERROR);
            });
        }
        inner.fixed32(16, SAMPLED);
        Self { encoded: framed(&inner.finish()).0, record: None }
    }

    /// The record in it, as it was given.
    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.encoded.get(self.record.clone()?)?).ok()
    }

    /// Bytes that it takes while it waits.
    pub(crate) fn size(&self) -> usize {
        self.encoded.capacity().saturating_add(size_of::<Self>())
    }
}

// === impl Resource ===

impl Resource {
    /// A resource with these attributes (semantic conventions have the names), sending as `scope` of `version`.
    pub fn new<'a>(attributes: impl IntoIterator<Item = (&'a str, &'a str)>, scope: &str, version: &str) -> Self {
        let mut resource = Message::default();
        for (key, value) in attributes {
            attribute(&mut resource, 1, key, value);
        }
        let mut scoped = Message::default();
        scoped.bytes(1, scope.as_bytes()).bytes(2, version.as_bytes());
        Self { resource: resource.finish(), scope: scoped.finish() }
    }

    /// The request that exports `items`: `ExportLogsServiceRequest` or `ExportTraceServiceRequest`, which have the same
    /// shape.
    pub fn request(&self, items: &[Item]) -> Vec<u8> {
        let mut scope = Message::default();
        scope.bytes(1, &self.scope);
        let mut resource = Message::default();
        resource.bytes(1, &self.resource);
        let items_length = items.iter().fold(0usize, |sum, item| sum.saturating_add(item.encoded.len()));
        let scope_length = scope.len().saturating_add(items_length);
        // The frame of the scope is written before what is in it, which is not copied twice.
        resource.length(REPEATED, scope_length);
        let resource_length = resource.len().saturating_add(scope_length);
        let mut request = Message::with_capacity(resource_length.saturating_add(8));
        request.length(1, resource_length).append(&resource.finish()).append(&scope.finish());
        for item in items {
            request.append(&item.encoded);
        }
        request.finish()
    }
}

/// The member of a scope, and where its content begins.
fn framed(inner: &[u8]) -> (Vec<u8>, usize) {
    let mut message = Message::with_capacity(inner.len().saturating_add(4));
    message.length(REPEATED, inner.len());
    let start = message.len();
    message.append(inner);
    (message.finish(), start)
}

fn attribute(message: &mut Message, field: u32, key: &str, value: &str) {
    message.message(field, |attribute| {
        attribute.bytes(1, key.as_bytes()).message(2, |any| {
            any.bytes(1, value.as_bytes());
        });
    });
}

fn nanos(time: SystemTime) -> u64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

/// Bytes of hex; nothing for what is not hex.
fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect::<Option<_>>().unwrap_or_default()
}
