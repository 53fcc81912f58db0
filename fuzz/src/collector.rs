//! A collector that answers anything, in any order, or not at all.
//!
//! Input: events, one byte each; then the body of the collector's answers. Each record must end in exactly one place.

use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use careplane_exchange::HttpAnswer;
use careplane_exchange::memory::{Call, MemoryHost};
use careplane_export::{
    ACKNOWLEDGED, ExportQueue, ExportTarget, Exporter, Item, OVERFLOW, QUEUED, REJECTED, Resource, Signal,
};
use careplane_policy::Export;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;

use crate::input;

const STATUSES: [u16; 8] = [200, 204, 400, 413, 429, 503, 504, 600];

pub(crate) fn run(data: &[u8]) {
    let [events, body] = input::parts(data);
    let export = Export {
        cluster: "collector".into(),
        authority: "collector".into(),
        timeout: Duration::from_secs(2),
        batch_records: 4,
        batch_interval: Duration::from_secs(1),
        queue_bytes: 4096,
    };
    let target = Rc::new(ExportTarget { export, resource: Resource::default(), overflow_in_proxy_log: true });
    let queue = Rc::<ExportQueue>::default();
    queue.attach();
    let exporter = Exporter::new(Rc::clone(&queue), target);
    let host = MemoryHost::default();
    // The first record is one that a request waits for.
    let mut sent = 1;
    means_what_protobuf_means(&exporter, body, &host);
    for event in events {
        match event % 8 {
            0 | 1 => {
                sent += 1;
                exporter.send(Signal::Logs, record(&"x".repeat(usize::from(event / 8) * 8)), &host);
            }
            2 => queue.tick(&host),
            3 => {
                host.wait(Duration::from_millis(u64::from(event / 8) * 250));
                queue.tick(&host);
            }
            // The answer to the last call: the first time, and any time again.
            4 | 5 => {
                let retry_after = (event % 8 == 5).then(|| body.to_vec());
                let status = STATUSES.get(usize::from(event / 8 % 8)).copied();
                let call = u32::try_from(host.calls().len()).expect("few calls");
                queue.answered(
                    call,
                    &HttpAnswer { status, retry_after, body: body.to_vec(), ..HttpAnswer::default() },
                    &host,
                );
            }
            6 => {
                queue.answered(u32::from(*event), &HttpAnswer::default(), &host);
            }
            _ if event / 8 % 2 == 0 => host.fail(Call::HttpCall),
            _ => host.mend(Call::HttpCall),
        }
        assert_eq!(settled(&host) + host.metric(QUEUED), sent, "a record is lost, or counted twice");
    }
    queue.detach(&host);
    assert_eq!((settled(&host), host.metric(QUEUED)), (sent, 0), "at the end nothing waits");
}

fn record(text: &str) -> Item {
    Item::record(text, "event", "id", UNIX_EPOCH, None)
}

fn settled(host: &MemoryHost) -> u64 {
    host.metric(ACKNOWLEDGED) + host.metric(REJECTED) + host.metric(OVERFLOW)
}

/// A body that is an OTLP response without duplicate members is read as a protobuf library reads it.
fn means_what_protobuf_means(exporter: &Exporter, body: &[u8], host: &MemoryHost) {
    let answer = HttpAnswer { status: Some(200), body: body.to_vec(), ..HttpAnswer::default() };
    let taken = exporter.settle(record("awaited"), &answer, host);
    if let Ok(response) = ExportLogsServiceResponse::decode(body)
        && response.encoded_len() == body.len()
    {
        let rejected = response.partial_success.map_or(0, |partial| partial.rejected_log_records);
        assert_eq!(taken, rejected == 0, "{body:?}");
    }
}
