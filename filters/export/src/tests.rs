//! The encoding as another implementation reads it; the queue against a target that is well, slow, picky, or away.

use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use careplane_exchange::HttpAnswer;
use careplane_exchange::memory::{Call, MemoryHost};
use careplane_policy::Export;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    ACKNOWLEDGED, ExportQueue, ExportTarget, Exporter, Item, LOST, OVERFLOW, QUEUED, REJECTED, RETRIED, Resource,
    Signal,
};

const INTERVAL: Duration = Duration::from_secs(1);

fn target() -> Rc<ExportTarget> {
    Rc::new(ExportTarget {
        export: Export {
            cluster: "otel".into(),
            authority: "otel.tracing".into(),
            timeout: Duration::from_secs(2),
            batch_records: 3,
            batch_interval: INTERVAL,
            queue_bytes: 64 * 1024,
        },
        resource: Resource::new([("service.name", "careplane")], "careplane.audit", "0.1.0"),
        overflow_in_proxy_log: true,
    })
}

fn item(record: &str) -> Item {
    Item::record(record, "careplane.audit", "chain/1", UNIX_EPOCH, None)
}

/// An queue with `records` in it.
fn holding(records: usize, host: &MemoryHost) -> (ExportQueue, Rc<ExportTarget>) {
    let (queue, target) = (ExportQueue::default(), target());
    queue.attach();
    (0..records).for_each(|number| queue.push(&target, Signal::Logs, item(&number.to_string()), host));
    (queue, target)
}

fn status(status: u16) -> HttpAnswer {
    HttpAnswer { status: Some(status), ..HttpAnswer::default() }
}

/// What became of the records: acknowledged, overflow, rejected, queued.
fn counted(host: &MemoryHost) -> [u64; 4] {
    [ACKNOWLEDGED, OVERFLOW, REJECTED, QUEUED].map(|name| host.metric(name))
}

#[test]
fn a_full_batch_goes_at_once_and_a_smaller_one_when_it_is_old() {
    let host = MemoryHost::default();
    let (queue, _target) = holding(5, &host);
    queue.tick(&host);
    assert_eq!(host.calls().len(), 1, "one request at a time");
    assert!(queue.answered(1, &status(200), &host));
    assert_eq!((counted(&host), host.calls().len()), ([3, 0, 0, 2], 1), "two are no full batch");
    queue.tick(&host);
    assert_eq!(host.calls().len(), 1);
    host.wait(INTERVAL);
    queue.tick(&host);
    assert!(queue.answered(2, &status(200), &host));
    assert_eq!(counted(&host), [5, 0, 0, 0]);
}

#[test]
fn what_can_be_retried_is_and_nothing_else() {
    for (answer, retried) in [
        (HttpAnswer::default(), true),
        (status(429), true),
        (status(502), true),
        (status(503), true),
        (status(504), true),
        (status(400), false),
        (status(401), false),
        (status(413), false),
        (status(500), false),
        (status(301), false),
    ] {
        let host = MemoryHost::default();
        let (queue, _target) = holding(3, &host);
        queue.tick(&host);
        assert!(queue.answered(1, &answer, &host));
        assert_eq!(counted(&host), if retried { [0, 0, 0, 3] } else { [0, 3, 0, 0] }, "{answer:?}");
        host.wait(Duration::from_secs(1));
        queue.tick(&host);
        assert_eq!(host.metric(RETRIED), u64::from(retried), "{answer:?}");
        assert_eq!(host.calls().len() == 2, retried);
        if retried {
            assert_eq!(host.calls()[0], host.calls()[1], "the same batch");
            queue.answered(2, &status(200), &host);
            assert_eq!(counted(&host), [3, 0, 0, 0]);
        }
    }
}

#[test]
fn the_target_says_how_long_to_wait_within_reason() {
    for (asked, waits) in [("5", 5), ("100000", 60), ("Wed, 21 Oct 2015 07:28:00 GMT", 1), ("\u{e9}", 1)] {
        let host = MemoryHost::default();
        let (queue, _target) = holding(3, &host);
        queue.tick(&host);
        let retry_after = Some(asked.as_bytes().to_vec());
        queue.answered(1, &HttpAnswer { retry_after, ..status(429) }, &host);
        host.wait(Duration::from_millis(waits * 1000 - 999));
        queue.tick(&host);
        assert_eq!(host.calls().len(), 1, "{asked}");
        host.wait(Duration::from_millis(999));
        queue.tick(&host);
        assert_eq!(host.calls().len(), 2);
    }
}

#[test]
fn a_partial_success_is_counted_written_down_and_never_resent() {
    let host = MemoryHost::default();
    let (queue, _target) = holding(3, &host);
    queue.tick(&host);
    // partial_success {rejected_log_records: 2, error_message: "no"}
    let body = vec![0x0a, 0x06, 0x08, 0x02, 0x12, 0x02, b'n', b'o'];
    queue.answered(1, &HttpAnswer { body, ..status(200) }, &host);
    assert_eq!(counted(&host), [1, 0, 2, 0]);
    host.wait(Duration::from_secs(100));
    queue.tick(&host);
    assert_eq!(host.calls().len(), 1);
}

#[test]
fn a_rejection_counts_however_much_of_it_was_read() {
    // partial_success {rejected_log_records: 2, error_message: "xxx…"}, in either order.
    let reason = [&[0x12, 0x88, 0x27][..], &[b'x'; 5000]].concat();
    let partial = |fields: [&[u8]; 2]| [&[0x0a, 0x8d, 0x27][..], &fields.concat()].concat();
    let number = [0x08, 0x02];
    for (answer, read, rejected) in [
        (partial([&number, &reason]), 5008, 2),
        (partial([&number, &reason]), 4096, 2),
        (partial([&number, &reason]), 5, 2),
        // The number was not read: no record is known to be taken.
        (partial([&number, &reason]), 4, 3),
        (partial([&number, &reason]), 0, 3),
        (partial([&reason, &number]), 5008, 2),
        (partial([&reason, &number]), 4096, 3),
    ] {
        let host = MemoryHost::default();
        let (queue, _target) = holding(3, &host);
        queue.tick(&host);
        let answer = HttpAnswer { size: answer.len(), body: answer[..read].to_vec(), ..status(200) };
        queue.answered(1, &answer, &host);
        assert_eq!(counted(&host), [3 - rejected, 0, rejected, 0], "{read} bytes");
    }
}

#[test]
fn nonsense_in_an_answer_harms_nobody() {
    for body in [vec![0xff; 40], vec![0x0a], vec![0x0a, 0xff, 0x01, 0x00], vec![0x0b, 0x00], b"<html>".to_vec()] {
        let host = MemoryHost::default();
        let (queue, _target) = holding(3, &host);
        queue.tick(&host);
        queue.answered(1, &HttpAnswer { body, ..status(200) }, &host);
        assert_eq!(counted(&host), [3, 0, 0, 0]);
    }
    // More rejected than sent: no more than sent.
    let host = MemoryHost::default();
    let (queue, _target) = holding(3, &host);
    queue.tick(&host);
    queue.answered(1, &HttpAnswer { body: vec![0x0a, 0x03, 0x08, 0xff, 0x01], ..status(200) }, &host);
    assert_eq!(counted(&host), [0, 0, 3, 0]);
}

#[test]
fn patience_ends_after_a_minute() {
    let host = MemoryHost::default();
    let (queue, _target) = holding(3, &host);
    let mut call = 0;
    for _ in 0..200 {
        queue.tick(&host);
        if host.calls().len() > call {
            call = host.calls().len();
            queue.answered(u32::try_from(call).unwrap(), &status(503), &host);
        }
        host.wait(Duration::from_millis(500));
    }
    assert_eq!(counted(&host), [0, 3, 0, 0]);
    assert!((8..25).contains(&call), "{call} attempts");
}

#[test]
fn an_answer_that_never_comes_is_waited_for_and_then_not() {
    let host = MemoryHost::default();
    let (queue, _target) = holding(3, &host);
    queue.tick(&host);
    host.wait(Duration::from_millis(2900));
    queue.tick(&host);
    assert!(queue.answered(1, &status(200), &host), "still awaited");
    let (queue, _target) = holding(3, &host);
    queue.tick(&host);
    host.wait(Duration::from_secs(3));
    queue.tick(&host);
    assert!(!queue.answered(2, &status(200), &host), "given up");
    host.wait(Duration::from_secs(1));
    queue.tick(&host);
    assert_eq!(host.calls().len(), 3);
}

#[test]
fn memory_is_bounded_and_what_does_not_fit_is_written_down() {
    let host = MemoryHost::default();
    let (queue, target) = holding(0, &host);
    let large = "x".repeat(1000);
    (0..100).for_each(|_| queue.push(&target, Signal::Logs, item(&large), &host));
    let [_, overflow, _, queued] = counted(&host);
    assert_eq!(overflow + queued, 100);
    assert!((40..64).contains(&queued), "{queued}");
    // Room is made by what is acknowledged, not by what is sent.
    queue.tick(&host);
    queue.push(&target, Signal::Logs, item(&large), &host);
    assert_eq!(host.metric(OVERFLOW), overflow + 1);
    queue.answered(1, &status(200), &host);
    queue.push(&target, Signal::Logs, item(&large), &host);
    assert_eq!(host.metric(OVERFLOW), overflow + 1);
}

#[test]
fn a_cluster_that_is_not_there_is_a_target_that_is_away() {
    let host = MemoryHost::default();
    host.fail(Call::HttpCall);
    let (queue, _target) = holding(3, &host);
    assert_eq!(counted(&host), [0, 0, 0, 3]);
    host.mend(Call::HttpCall);
    host.wait(Duration::from_secs(1));
    queue.tick(&host);
    queue.answered(1, &status(200), &host);
    assert_eq!(counted(&host), [3, 0, 0, 0]);
}

#[test]
fn policies_are_not_mixed_and_a_gone_one_is_still_delivered() {
    let host = MemoryHost::default();
    let (queue, old) = holding(2, &host);
    let new = target();
    queue.push(&new, Signal::Logs, item("new"), &host);
    drop(old);
    host.wait(INTERVAL);
    queue.tick(&host);
    assert_eq!(host.calls().len(), 2);
    queue.answered(1, &status(200), &host);
    queue.answered(2, &status(200), &host);
    assert_eq!(counted(&host), [3, 0, 0, 0]);
}

#[test]
fn closing_writes_down_what_was_not_acknowledged() {
    let host = MemoryHost::default();
    let (queue, _target) = holding(5, &host);
    queue.tick(&host);
    queue.detach(&host);
    assert_eq!(counted(&host), [0, 5, 0, 0]);
    assert!(!queue.answered(1, &status(200), &host));
}

#[test]
fn a_policy_that_keeps_records_out_of_the_proxys_log_has_them_counted_as_lost() {
    let host = MemoryHost::default();
    let off = Rc::new(ExportTarget { overflow_in_proxy_log: false, ..Rc::into_inner(target()).unwrap() });
    let queue = Rc::new(ExportQueue::default());
    queue.attach();
    let exporter = Exporter::new(Rc::clone(&queue), off);
    let send = |record: &str| exporter.send(Signal::Logs, item(record), &host);
    let lost = || (host.metric(LOST), host.metric(OVERFLOW), host.metric(REJECTED));
    // What the collector refuses, of a batch and alone; what it rejects; what does not fit; what is left at the end.
    (0..3).for_each(|_| send("refused"));
    queue.answered(1, &status(400), &host);
    assert_eq!(lost(), (3, 0, 0));
    assert!(!exporter.settle(item("refused"), &status(400), &host));
    assert_eq!(lost(), (4, 0, 0));
    let rejecting = HttpAnswer { body: vec![0x0a, 0x02, 0x08, 0x01], ..status(200) };
    (0..3).for_each(|_| send("rejected"));
    queue.answered(2, &rejecting, &host);
    assert!(!exporter.settle(item("rejected"), &rejecting, &host));
    assert_eq!(lost(), (4, 0, 2));
    send(&"x".repeat(64 * 1024));
    assert_eq!(lost(), (5, 0, 2));
    send("left");
    queue.detach(&host);
    assert_eq!(lost(), (6, 0, 2));
    assert!(host.log_lines().is_empty(), "{:?}", host.log_lines());
}

#[cfg(not(target_arch = "wasm32"))]
mod as_others_read_it {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use prost::Message;

    use super::*;
    use crate::{SpanData, SpanStatus};

    #[test]
    fn log_records() {
        let record = r#"{"schema":"careplane.audit/v1","who":{"user":"é"}}"#;
        let trace = Some(("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"));
        let items = [
            Item::record(
                record,
                "careplane.audit.request",
                "id-1",
                UNIX_EPOCH + Duration::from_nanos(1_767_323_045_678_901_234),
                trace,
            ),
            Item::record("second", "careplane.audit.head", "id-2", UNIX_EPOCH, None),
        ];
        assert_eq!(items[0].text(), Some(record));
        let bytes = target().resource.request(&items);
        let request = ExportLogsServiceRequest::decode(&*bytes).unwrap();
        let [resource] = &*request.resource_logs else { panic!("{request:?}") };
        assert_eq!(resource.resource.as_ref().unwrap().attributes[0].key, "service.name");
        let [scope] = &*resource.scope_logs else { panic!("{request:?}") };
        assert_eq!(scope.scope.as_ref().unwrap().version, "0.1.0");
        let [first, second] = &*scope.log_records else { panic!("{request:?}") };
        assert_eq!(first.time_unix_nano, 1_767_323_045_678_901_234);
        assert_eq!(first.severity_number, 9);
        assert_eq!(first.event_name, "careplane.audit.request");
        assert_eq!(first.body.clone().unwrap().value, Some(Value::StringValue(record.into())));
        assert_eq!(first.attributes[0].key, "log.record.uid");
        assert_eq!((first.trace_id[0], first.trace_id.len(), first.span_id.len()), (0x0a, 16, 8));
        assert!(second.trace_id.is_empty());
        assert_eq!(second.body.clone().unwrap().value, Some(Value::StringValue("second".into())));
    }

    #[test]
    fn spans() {
        let item = Item::span(&SpanData {
            trace_id: "0af7651916cd43dd8448eb211c80319c",
            span_id: "b7ad6b7169203331",
            parent_span_id: Some("00f067aa0ba902b7"),
            name: "POST",
            start: UNIX_EPOCH + Duration::from_secs(5),
            duration: Duration::from_millis(3),
            status: SpanStatus::Error,
            attributes: vec![("tenant_id", "care-home-0042")],
            numbers: vec![("http.response.status_code", 503)],
        });
        let bytes = target().resource.request(&[item]);
        let request = ExportTraceServiceRequest::decode(&*bytes).unwrap();
        let span = &request.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (5_000_000_000, 5_003_000_000));
        assert_eq!((span.kind, span.flags, span.status.as_ref().unwrap().code), (2, 1, 2));
        assert_eq!((span.trace_id.len(), span.span_id.len(), span.parent_span_id.len()), (16, 8, 8));
        assert_eq!(span.attributes[1].value.clone().unwrap().value, Some(Value::IntValue(503)));
    }

    #[test]
    fn an_empty_export() {
        let bytes = target().resource.request(&[]);
        ExportLogsServiceRequest::decode(&*bytes).unwrap();
    }
}
