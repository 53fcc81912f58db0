//! What delivery costs beside a record in the access log, and a batch in protobuf beside one in JSON.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use careplane_audit::{Chain, FILTER_STATE};
use careplane_benches::{policy, request};
use careplane_exchange::memory::rules;
use careplane_exchange::{HttpAnswer, Key, Rules};
use careplane_export::{ExportQueue, ExportTarget, Exporter, Item, Resource};
use careplane_pipeline::{Filters, Parts, Plugin, Stream};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;

const PATH: &str = "/api/v1/service-7/17/administer";
const BATCH: usize = 256;
const TRACE: (&str, &str) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");

fn delivering() -> Arc<Rules> {
    let mut policy = policy(10, 0);
    policy["export"] = json!({"cluster": "otel", "batch": {"records": BATCH}});
    policy["audit"] = json!({"sinks": {"accessLog": false, "otlp": true}});
    rules(&policy.to_string()).unwrap()
}

fn resource() -> Resource {
    Resource::new([("service.name", "gateway"), ("service.instance.id", "gateway~1")], "careplane", "1")
}

fn audit(rules: Arc<Rules>, parts: Parts) -> Plugin {
    Plugin { filters: Filters::named("audit", &rules, parts), rules }
}

/// From the end of a stream to the record that has left, a batch's share of the sending included.
fn sinks(criterion: &mut Criterion) {
    let queue = Rc::new(ExportQueue::default());
    queue.attach();
    let delivering = delivering();
    let target = Rc::new(ExportTarget {
        export: delivering.policy.export.clone().unwrap(),
        resource: resource(),
        overflow_in_proxy_log: true,
    });
    let exporter = Exporter::new(Rc::clone(&queue), target);
    let plain = rules(&policy(10, 0).to_string()).unwrap();
    let key = Key::new(b"a key that is no secret").unwrap();
    let cases: [(&str, Plugin); 3] = [
        ("access log", audit(Arc::clone(&plain), Parts::default())),
        ("access log, keyed", audit(plain, Parts { chain: Rc::new(Chain::keyed(key)), ..Parts::default() })),
        ("OTLP", audit(delivering, Parts { exporter: Some(exporter), ..Parts::default() })),
    ];
    let mut group = criterion.benchmark_group("record");
    for (name, plugin) in &cases {
        let finished = || {
            let host = request(PATH);
            let mut stream = Stream::new(plugin.clone());
            stream.on_request_headers(&host);
            (host, stream)
        };
        group.bench_function(*name, |bencher| {
            let mut records = 0_usize;
            bencher.iter_batched_ref(
                finished,
                |(host, stream)| {
                    stream.on_log(host);
                    records += 1;
                    if records.is_multiple_of(BATCH) {
                        queue.tick(host);
                        queue.answered(1, &HttpAnswer { status: Some(200), ..HttpAnswer::default() }, host);
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn record() -> String {
    let host = request(PATH);
    let mut stream = Stream::new(audit(rules(&policy(10, 0).to_string()).unwrap(), Parts::default()));
    stream.on_request_headers(&host);
    stream.on_log(&host);
    host.property_text(&format!("wasm.{FILTER_STATE}")).unwrap()
}

fn in_protobuf(records: &[String]) -> Vec<u8> {
    let time = UNIX_EPOCH + Duration::from_secs(1);
    let items: Vec<Item> = records
        .iter()
        .map(|record| Item::record(record, "careplane.audit.request", "chain/1", time, Some(TRACE)))
        .collect();
    resource().request(&items)
}

fn in_json(records: &[String]) -> Vec<u8> {
    let log_records: Vec<_> = records
        .iter()
        .map(|record| {
            json!({
                "timeUnixNano": "1000000000", "severityNumber": 9, "body": {"stringValue": record}, "traceId": TRACE.0,
                "spanId": TRACE.1,
                "attributes": [{"key": "log.record.uid", "value": {"stringValue": "chain/1"}}],
                "eventName": "careplane.audit.request",
            })
        })
        .collect();
    let resource = json!([
        {"key": "service.name", "value": {"stringValue": "gateway"}},
        {"key": "service.instance.id", "value": {"stringValue": "gateway~1"}},
    ]);
    let scope = json!({"name": "careplane", "version": "1"});
    let scope_logs = json!([{"scope": scope, "logRecords": log_records}]);
    json!({"resourceLogs": [{"resource": {"attributes": resource}, "scopeLogs": scope_logs}]}).to_string().into_bytes()
}

fn encodings(criterion: &mut Criterion) {
    let records = vec![record(); BATCH];
    println!(
        "a batch of {BATCH} records of {} bytes: {} bytes in protobuf, {} in JSON",
        records[0].len(),
        in_protobuf(&records).len(),
        in_json(&records).len()
    );
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("protobuf", |bencher| bencher.iter(|| in_protobuf(&records)));
    group.bench_function("JSON", |bencher| bencher.iter(|| in_json(&records)));
    group.finish();
}

criterion_group!(benches, sinks, encodings);
criterion_main!(benches);
