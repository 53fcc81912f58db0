//! The filters on a faulty host, in any order of callbacks. They do not panic, they fall back as designed, and the
//! delivery counters add up.

mod host;

use std::rc::Rc;
use std::time::Duration;

use careplane_audit::RECORDS;
use careplane_exchange::HttpAnswer;
use careplane_exchange::memory::{MemoryHost, rules};
use careplane_export::{ACKNOWLEDGED, ExportQueue, ExportTarget, Exporter, LOST, OVERFLOW, QUEUED, REJECTED, Resource};
use careplane_fuzz::plugin;
use careplane_pipeline::{Action, Plugin, Stream};
use host::FaultyHost;
use proptest::prelude::*;

const POLICY: &str = r#"{
    "version": "careplane/v1",
    "identity": {"trustedPeers": ["spiffe://cluster.local/ns/core/sa/gateway"]},
    "contexts": [
        {
            "name": "critical", "complianceLevel": "critical", "tier": "always", "subject": "id",
            "match": [{"path": "/critical/{id}"}]
        },
        {
            "name": "health", "complianceLevel": "low", "audit": "none", "tenant": "optional",
            "match": [{"path": "/health"}]
        }
    ],
    "routing": {"pools": ["a", "b"], "canary": {"percent": 50}},
    "audit": {"sinks": {"otlp": true}, "writeAhead": ["critical"]},
    "export": {"cluster": "c", "authority": "a", "batch": {"records": 4, "interval": "1s"}, "queueBytes": 65536}
}"#;

/// What happens next. Streams are few and by number, so that one has many things happen to it.
#[derive(Debug, Clone)]
enum Event {
    Request(usize),
    Trailers(usize),
    Response(usize),
    /// An answer to what a stream waits for, or to something that it never asked.
    Answer(usize, Option<u16>, bool),
    Log(usize),
    Tick(u64),
    /// An answer to an export, of this number.
    Exported(u32, Option<u16>),
}

const STREAMS: usize = 4;

fn event() -> impl Strategy<Value = Event> {
    let status = || proptest::option::of(prop_oneof![Just(200), Just(400), Just(503), any::<u16>()]);
    prop_oneof![
        3 => (0..STREAMS).prop_map(Event::Request),
        1 => (0..STREAMS).prop_map(Event::Trailers),
        1 => (0..STREAMS).prop_map(Event::Response),
        2 => (0..STREAMS, status(), any::<bool>())
            .prop_map(|(stream, status, right)| Event::Answer(stream, status, right)),
        2 => (0..STREAMS).prop_map(Event::Log),
        2 => (0..20_000_u64).prop_map(Event::Tick),
        1 => (0..40_u32, status()).prop_map(|(call, status)| Event::Exported(call, status)),
    ]
}

/// A worker: its plugin, and the streams that are open.
struct Worker {
    plugin: Plugin,
    queue: Rc<ExportQueue>,
    streams: [Option<Stream>; STREAMS],
    host: FaultyHost,
}

impl Worker {
    fn new(host: FaultyHost) -> Self {
        let rules = rules(POLICY).unwrap();
        let export = rules.policy.export.clone().unwrap();
        let queue = Rc::<ExportQueue>::default();
        queue.attach();
        let target = Rc::new(ExportTarget { export, resource: Resource::default(), overflow_in_proxy_log: true });
        let plugin = plugin::named("careplane", &rules, Some(Exporter::new(Rc::clone(&queue), target)));
        Self { plugin, queue, streams: Default::default(), host }
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Request(stream) => self.request(*stream),
            Event::Trailers(stream) => {
                if let Some(stream) = &mut self.streams[*stream] {
                    stream.on_request_trailers(&self.host);
                }
            }
            Event::Response(stream) => {
                if let Some(stream) = &self.streams[*stream] {
                    stream.on_response_headers(&self.host);
                }
            }
            Event::Answer(stream, status, right) => self.answer(*stream, *status, *right),
            Event::Log(stream) => self.log(*stream),
            Event::Tick(millis) => {
                self.host.wait(Duration::from_millis(*millis));
                self.plugin.filters.on_tick(&self.host);
                self.queue.tick(&self.host);
            }
            Event::Exported(call, status) => {
                let answer = HttpAnswer { status: *status, ..HttpAnswer::default() };
                self.queue.answered(*call, &answer, &self.host);
            }
        }
    }

    fn request(&mut self, number: usize) {
        // The proxy says that a stream is over before it uses its number again.
        self.log(number);
        let mut stream = Stream::new(self.plugin.clone());
        let ends = self.host.ends();
        let passes = stream.on_request_headers(&self.host) == Action::Continue;
        assert!(!passes || self.host.ends() == ends, "refused, and sent on");
        self.streams[number] = Some(stream);
    }

    fn answer(&mut self, number: usize, status: Option<u16>, right: bool) {
        let Some(stream) = &mut self.streams[number] else { return };
        let Some(call) = stream.awaited_call() else { return };
        let (ends, resumed) = (self.host.ends(), self.host.resumed());
        let answer = HttpAnswer { status, ..HttpAnswer::default() };
        stream.on_answer(if right { call } else { call.wrapping_add(1) }, &answer, &self.host);
        let ended = self.host.ends() > ends;
        let goes_on = self.host.resumed() > resumed;
        assert!(right || !(goes_on || ended), "an answer to another call");
        let acknowledged = status.is_some_and(|status| (200..300).contains(&status));
        assert!(!goes_on || acknowledged, "went on without evidence");
        assert!(!right || goes_on || ended, "hangs for ever");
    }

    fn log(&mut self, number: usize) {
        // As if another filter had answered before this one saw the request.
        let mut stream = self.streams[number].take().unwrap_or_else(|| Stream::new(self.plugin.clone()));
        stream.on_log(&self.host);
        stream.on_delete(&self.host);
    }

    fn end(mut self) -> FaultyHost {
        (0..STREAMS).for_each(|stream| self.log(stream));
        self.plugin.filters.on_end(&self.host);
        self.queue.detach(&self.host);
        self.host
    }
}

fn truth() -> MemoryHost {
    MemoryHost::with_request([
        (":method", &b"POST"[..]),
        (":path", b"/critical/9434765919"),
        ("x-tenant-id", b"care-home-0042"),
        ("x-user-id", b"si\xc3\xa2n"),
        ("x-request-id", b"00000000-0000-a000-8000-000000000000"),
    ])
    .with_claim("tenant_id", "care-home-0042")
    .with_claim("sub", b"\xff\xfe")
}

/// Every record is acknowledged, in the proxy's log, rejected or lost because that log dropped it, once.
fn assert_settled(host: &FaultyHost) {
    let settled = host.counted(ACKNOWLEDGED) + host.counted(OVERFLOW) + host.counted(REJECTED) + host.counted(LOST);
    assert_eq!((settled, host.gauged(QUEUED)), (host.counted(RECORDS), 0));
}

#[test]
fn the_answer_to_another_call_of_the_same_number_is_no_evidence() {
    let mut worker = Worker::new(FaultyHost::new(0, 0, truth()).repeating());
    for event in [Event::Request(0), Event::Request(1), Event::Answer(0, Some(200), true), Event::Answer(1, None, true)]
    {
        worker.happens(&event);
    }
    assert_settled(&worker.end());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_somewhere_whatever_the_host_says(
        seed in any::<u64>(), fault_percent in 0..=100_u8, events in proptest::collection::vec(event(), 0..100)
    ) {
        let mut worker = Worker::new(FaultyHost::new(seed, fault_percent, truth()));
        for event in &events {
            worker.happens(event);
            let queued = worker.host.gauged(QUEUED);
            // A record takes more than 256 bytes of the queue, and one batch is held beside it.
            prop_assert!((0..=256).contains(&queued), "{queued} records queued in 64 KiB");
        }
        let host = worker.end();
        assert_settled(&host);
    }
}
