//! One request as the caller, the application, the span and the record show it.

use careplane_integration::{Response, otlp::Span, upstream::Received};
use serde_json::Value;

use super::step::Step;
use crate::record::Record;

/// Where in `x-request-id` Envoy writes why it traces: the one character in which copies of an id differ.
const TRACE_REASON: usize = 14;

/// One request, joined from four sources by its `x-request-id`.
#[derive(Debug)]
pub struct Observation {
    /// What the caller got.
    pub response: Response,
    /// What the application got, if anything.
    pub received: Option<Received>,
    /// The span, if the trace was kept.
    pub span: Option<Span>,
    /// The audit record, if there is one.
    pub record: Option<Value>,
}

/// What the lab has gathered of all requests.
#[derive(Debug, Default)]
pub struct Gathered {
    /// By the application.
    pub received: Vec<Received>,
    /// By the trace collector.
    pub spans: Vec<Span>,
    /// By the audit log.
    pub records: Vec<Value>,
}

/// The `x-request-id` of a span.
pub fn id_of_span(span: &Span) -> Option<&str> {
    span.attributes.get("guid:x-request-id").map(String::as_str)
}

/// The `x-request-id` of a record.
pub fn id_of_record(record: &Value) -> Option<&str> {
    Record(record).text("/request/id")
}

/// Whether two copies of an `x-request-id` are of one request.
pub fn is_same_request(one: &str, other: &str) -> bool {
    let significant = |id: &str| -> Vec<char> {
        id.chars().enumerate().filter(|(position, _)| *position != TRACE_REASON).map(|(_, digit)| digit).collect()
    };
    significant(one) == significant(other)
}

/// Gives each of `steps` what was gathered of it. The strings name what belongs to no request, or to one that has such
/// a thing already.
pub fn join(steps: &[Step], responses: Vec<Response>, mut gathered: Gathered) -> (Vec<Observation>, Vec<String>) {
    let observations = steps
        .iter()
        .zip(responses)
        .enumerate()
        .map(|(index, (step, response))| {
            let id = step.request_id(index);
            let is_of = |other: Option<&str>| other.is_some_and(|other| is_same_request(&id, other));
            Observation {
                response,
                received: take(&mut gathered.received, |seen| is_of(seen.header("x-request-id").as_deref())),
                span: take(&mut gathered.spans, |span| is_of(id_of_span(span))),
                record: take(&mut gathered.records, |record| is_of(id_of_record(record))),
            }
        })
        .collect();

    let received = gathered.received.iter().map(|seen| format!("an unexpected request at the application: {seen:?}"));
    let spans = gathered.spans.iter().map(|span| format!("an unexpected span: {:?}", span.attributes));
    let records = gathered.records.iter().map(|record| format!("an unexpected record: {record}"));
    let left_over = received.chain(spans).chain(records).collect();
    (observations, left_over)
}

fn take<T>(items: &mut Vec<T>, is_it: impl Fn(&T) -> bool) -> Option<T> {
    items.iter().position(is_it).map(|index| items.remove(index))
}

// === impl Observation ===

impl Observation {
    /// The record, to be read.
    pub fn record(&self) -> Option<Record<'_>> {
        self.record.as_ref().map(Record)
    }

    /// The record's value at `pointer`, or else the application's header `header`.
    fn recorded_or_sent(&self, pointer: &str, header: &str) -> Option<String> {
        let recorded = self.record().and_then(|record| record.text(pointer)).map(str::to_owned);
        recorded.or_else(|| self.upstream_header(header))
    }

    /// A header as the application received it.
    pub fn upstream_header(&self, name: &str) -> Option<String> {
        self.received.as_ref()?.header(name)
    }

    /// The tenant it was attributed to.
    pub fn tenant(&self) -> Option<String> {
        self.recorded_or_sent("/tenant/id", "x-tenant-id")
    }

    /// The context it was classified as.
    pub fn context(&self) -> Option<String> {
        self.recorded_or_sent("/context/name", "x-healthcare-context")
    }

    /// The compliance level of that context.
    pub fn level(&self) -> Option<String> {
        self.recorded_or_sent("/context/complianceLevel", "x-compliance-level")
    }

    /// Whether the trace was kept: whether its span arrived.
    pub fn kept(&self) -> bool {
        self.span.is_some()
    }

    /// Why it was kept or not, where the span or the record says so.
    pub fn why(&self) -> Option<String> {
        self.record()?.why()
    }

    /// The pool of the tenant.
    pub fn pool(&self) -> Option<String> {
        self.recorded_or_sent("/tenant/pool", "x-tenant-pool")
    }

    /// The release that the tenant gets.
    pub fn cohort(&self) -> Option<String> {
        self.recorded_or_sent("/tenant/cohort", "x-release-cohort")
    }

    /// The cluster whose upstream received it.
    pub fn upstream(&self) -> Option<&str> {
        self.received.as_ref().map(|received| received.pool.as_str())
    }

    /// The cluster that it was sent to, with or without a server.
    pub fn cluster(&self) -> Option<&str> {
        self.upstream().or_else(|| self.record()?.text("/outcome/cluster"))
    }

    /// Whether `text` is anywhere in the record.
    pub fn is_in_record(&self, text: &str) -> bool {
        self.record.as_ref().is_some_and(|record| record.to_string().contains(text))
    }

    /// Whether `text` is anywhere in the span.
    pub fn is_in_span(&self, text: &str) -> bool {
        self.span.as_ref().is_some_and(|span| format!("{span:?}").contains(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_an_id_differ_only_in_why_envoy_traces() {
        let sent = "000004b4-0000-4000-8000-000000000001";
        assert!(is_same_request(sent, "000004b4-0000-a000-8000-000000000001"));
        assert!(!is_same_request(sent, "000004b4-0000-4000-8000-000000000002"));
        assert!(!is_same_request(sent, "000004b4-0000-4100-8000-000000000001"));
    }
}
