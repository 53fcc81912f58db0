//! What leaves for a collector: the life of a chain, its key, and requests that wait.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use careplane_exchange::memory::{Call, MemoryHost, rules};
use careplane_exchange::{Denial, Filter, HttpAnswer, Incoming, Key, Rules};
use careplane_export::{ACKNOWLEDGED, ExportQueue, ExportTarget, Exporter, OVERFLOW, QUEUED, REJECTED, Resource};
use hmac::{Hmac, KeyInit, Mac};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use prost::Message;
use serde_json::{Value, json};
use sha2::Sha256;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{end, finished, run};
use crate::{Audit, Chain, Chains, Delivery, RECORDS};

const MINUTE: Duration = Duration::from_secs(60);
const POLICY: &str = r#"{
    "version": "careplane/v1",
    "identity": {"trustedPeers": "any"},
    "contexts": [
        {"name": "dose", "complianceLevel": "critical", "tier": "never", "match": [{"path": "/dose"}]},
        {"name": "diary", "complianceLevel": "low", "tier": "never", "match": [{"path": "/diary"}]}
    ],
    "audit": {"sinks": {"accessLog": false, "otlp": true}, "writeAhead": ["critical"]},
    "export": {"cluster": "otel", "batch": {"interval": "1ms"}}
}"#;

/// A filter with a way out, and what comes out of it.
struct Setup {
    audit: Audit,
    queue: Rc<ExportQueue>,
    rules: Arc<Rules>,
    host: MemoryHost,
}

fn audit(rules: &Rules, queue: &Rc<ExportQueue>, chain: Rc<Chain>) -> Audit {
    let resource = Resource::new([("service.name", "gateway")], "careplane", "1");
    let collector =
        Rc::new(ExportTarget { export: rules.policy.export.clone().unwrap(), resource, overflow_in_proxy_log: true });
    let exporter = Exporter::new(Rc::clone(queue), collector);
    Audit::new(chain).delivered(Delivery::new(exporter, "gateway~1".into(), false))
}

impl Setup {
    fn new(path: &str) -> Self {
        let rules = rules(POLICY).unwrap();
        let queue = Rc::new(ExportQueue::default());
        queue.attach();
        let audit = audit(&rules, &queue, Rc::default());
        Self { audit, queue, rules, host: finished(path, 200, "via_upstream") }
    }

    fn begin(&self) -> Incoming {
        let incoming = Incoming::open(Arc::clone(&self.rules), &self.host);
        self.audit.on_request(&incoming, &self.host);
        incoming
    }

    /// The records that have been sent, retries and all, after everything that waits has gone too.
    fn sent(&self) -> Vec<Value> {
        self.host.wait(Duration::from_secs(1));
        self.queue.tick(&self.host);
        let decode = |body: &[u8]| ExportLogsServiceRequest::decode(body).unwrap();
        let calls = self.host.calls();
        let records = calls.iter().flat_map(|call| decode(&call.body).resource_logs);
        let records = records.flat_map(|resource| resource.scope_logs).flat_map(|scope| scope.log_records);
        records
            .map(|record| match record.body.unwrap().value.unwrap() {
                any_value::Value::StringValue(text) => serde_json::from_str(&text).unwrap(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn kinds(&self) -> Vec<String> {
        self.sent().iter().map(|record| record["kind"].as_str().unwrap().to_owned()).collect()
    }
}

fn status(status: u16) -> HttpAnswer {
    HttpAnswer { status: Some(status), ..HttpAnswer::default() }
}

#[test]
fn a_chain_says_when_it_begins_goes_on_and_ends() {
    let setup = Setup::new("/diary");
    setup.audit.on_tick(&setup.host);
    assert_eq!(setup.host.metric(RECORDS), 0, "a VM that serves nothing has no chain");
    let incoming = setup.begin();
    end(&setup.audit, &incoming, &setup.host);
    setup.audit.on_tick(&setup.host);
    for _ in 0..2 {
        // Also when nothing came between: silence is a sign.
        setup.host.wait(MINUTE);
        setup.audit.on_tick(&setup.host);
    }
    setup.audit.on_end(&setup.host);
    let sent = setup.sent();
    let kinds: Vec<_> = sent.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["start", "request", "head", "head", "end"]);
    for (record, number) in sent.iter().zip(1..) {
        assert_eq!(record["chain"]["seq"], number);
    }
    assert!(sent.windows(2).all(|pair| pair[1]["chain"]["prev"] == pair[0]["hash"]));
    assert_eq!(sent[0]["proxy"], json!({"id": "gateway~1", "module": env!("CARGO_PKG_VERSION")}));
}

#[test]
fn two_filters_on_a_chain_tell_of_it_once() {
    let setup = Setup::new("/diary");
    let chain = Rc::clone(&setup.audit.chain);
    // As when the policy changes: the new filter begins before the old one ends.
    let newer = audit(&setup.rules, &setup.queue, chain);
    end(&setup.audit, &setup.begin(), &setup.host);
    setup.host.wait(MINUTE);
    for audit in [&setup.audit, &newer] {
        audit.on_tick(&setup.host);
    }
    let Setup { audit: older, queue, rules, host } = setup;
    older.on_end(&host);
    drop(older);
    newer.on_end(&host);
    let setup = Setup { audit: newer, queue, rules, host };
    assert_eq!(setup.kinds(), ["start", "request", "head", "end"]);
}

#[test]
fn a_keyed_chain_names_its_key_and_uses_it() {
    const SECRET: &[u8] = b"a key of the chain, long enough";
    let key = Key::new(SECRET).unwrap();
    let audit = Audit::new(Rc::new(Chain::keyed(key.clone())));
    let mut record = run(&audit, &finished("/residents/1", 200, "via_upstream")).unwrap();
    assert_eq!(record["chain"]["key"], key.id());
    let hash = record.as_object_mut().unwrap().remove("hash").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
    mac.update(&[0]);
    mac.update(&serde_jcs::to_vec(&record).unwrap());
    let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, expected.as_str());
}

#[test]
fn another_key_is_another_chain() {
    let chains = Chains::default();
    let key = |secret: &[u8]| Key::new(secret).unwrap();
    let plain = chains.of(None, false);
    let keyed = chains.of(Some(key(b"a key of the chain, long enough")), false);
    assert!(Rc::ptr_eq(&plain, &chains.of(None, false)));
    assert!(Rc::ptr_eq(&keyed, &chains.of(Some(key(b"a key of the chain, long enough")), false)));
    assert!(!Rc::ptr_eq(&plain, &keyed));
    // With the last filter of a chain, the chain ends: the next one of that key is new.
    let record = run(&Audit::new(keyed), &finished("/residents/1", 200, "via_upstream")).unwrap();
    let later = Audit::new(chains.of(Some(key(b"a key of the chain, long enough")), false));
    let next = run(&later, &finished("/residents/1", 200, "via_upstream")).unwrap();
    assert_eq!((&record["chain"]["seq"], &next["chain"]["seq"]), (&json!(1), &json!(1)));
    assert_eq!(record["chain"]["key"], next["chain"]["key"]);
}

/// As when a policy gets a collector, and when it loses it.
#[test]
fn a_chain_with_a_collector_begins_and_ends_whatever_is_recorded_without_one() {
    let (chains, setup) = (Chains::default(), Setup::new("/diary"));
    let before = Audit::new(chains.of(None, false));
    let first = run(&before, &finished("/residents/1", 200, "via_upstream")).unwrap();
    let audit = audit(&setup.rules, &setup.queue, chains.of(None, true));
    let setup = Setup { audit, ..setup };
    end(&setup.audit, &setup.begin(), &setup.host);
    let after = run(&Audit::new(chains.of(None, false)), &finished("/residents/1", 200, "via_upstream")).unwrap();
    setup.audit.on_end(&setup.host);
    assert_eq!(setup.kinds(), ["start", "request", "end"]);
    assert_eq!((&after["chain"]["id"], &after["chain"]["seq"]), (&first["chain"]["id"], &json!(2)));
}

/// As the first plugin of a chain it also holds what a later one would refuse.
#[test]
fn what_cannot_be_recorded_and_is_refused_anyway_is_refused_for_its_own_reason() {
    for answer in [Some(status(503)), None] {
        let mut setup = Setup::new("/dose");
        setup.host = setup.host.with_claim("tenant_id", "home-2");
        if answer.is_none() {
            setup.host.fail(Call::HttpCall);
        }
        let incoming = setup.begin();
        if let Some(answer) = &answer {
            assert_eq!((incoming.awaited_call(), incoming.denial()), (Some(1), None), "no filter may come after it");
            incoming.release();
            setup.audit.on_answer(&incoming, answer, &setup.host);
        }
        assert_eq!(incoming.denial(), Some(Denial::TenantConflict), "{answer:?}");
    }
}

#[test]
fn a_request_waits_for_its_intent_and_goes_on() {
    let setup = Setup::new("/dose");
    let incoming = setup.begin();
    let intent = incoming.intent().unwrap();
    assert!(incoming.awaited_call().is_some() && intent.call == 1 && intent.number == 2, "the first is the start");
    incoming.release();
    setup.audit.on_answer(&incoming, &status(200), &setup.host);
    assert_eq!((incoming.denial(), setup.host.metric(ACKNOWLEDGED)), (None, 1));
    end(&setup.audit, &incoming, &setup.host);
    let sent = setup.sent();
    assert_eq!(sent[0]["kind"], "intent");
    let outcome = sent.iter().find(|record| record["kind"] == "request").unwrap();
    assert_eq!((&outcome["intent"], &outcome["request"]["id"]), (&json!(2), &sent[0]["request"]["id"]));
}

#[test]
fn without_an_acknowledged_intent_nothing_goes_upstream() {
    let partial = HttpAnswer { body: vec![0x0a, 2, 0x08, 1], ..status(200) };
    let (again, never): (&[_], &[_]) = (&["intent", "start", "intent", "request"], &["intent", "start", "request"]);
    for (answer, kinds, overflow, rejected) in [
        (status(503), again, 0, 0),
        (HttpAnswer::default(), again, 0, 0),
        (status(400), never, 1, 0),
        (partial, never, 0, 1),
    ] {
        let setup = Setup::new("/dose");
        let incoming = setup.begin();
        incoming.release();
        setup.audit.on_answer(&incoming, &answer, &setup.host);
        assert_eq!(incoming.denial(), Some(Denial::EvidenceUnavailable), "{answer:?}");
        end(&setup.audit, &incoming, &setup.host);
        assert_eq!(setup.kinds(), kinds, "the intent is a link of the chain: it is sent again where it can be");
        assert_eq!((setup.host.metric(OVERFLOW), setup.host.metric(REJECTED)), (overflow, rejected), "{answer:?}");
    }
}

#[test]
fn the_counters_add_up_whatever_becomes_of_a_request_that_waits() {
    let answers = [Some(status(200)), Some(status(503)), Some(status(400)), None];
    for (answer, queued) in answers.into_iter().zip([1, 2, 1, 2]) {
        let setup = Setup::new("/dose");
        let of = |name| setup.host.metric(name);
        let sum = || [ACKNOWLEDGED, OVERFLOW, REJECTED, QUEUED].into_iter().map(of).sum::<u64>();
        let incoming = setup.begin();
        assert_eq!((of(RECORDS), of(QUEUED)), (2, 2), "the start waits for its batch, and the intent for its answer");
        if let Some(answer) = &answer {
            incoming.release();
            setup.audit.on_answer(&incoming, answer, &setup.host);
            assert_eq!((sum(), of(QUEUED)), (2, queued), "{answer:?}");
        }
        end(&setup.audit, &incoming, &setup.host);
        assert_eq!((sum(), of(RECORDS), of(QUEUED)), (3, 3, queued + 1), "{answer:?}");
    }
}

#[test]
fn a_proxy_that_cannot_send_refuses_at_once() {
    let setup = Setup::new("/dose");
    setup.host.fail(Call::HttpCall);
    let incoming = setup.begin();
    assert!(incoming.awaited_call().is_none());
    assert_eq!(incoming.denial(), Some(Denial::EvidenceUnavailable));
    assert_eq!(setup.host.metric(QUEUED), 2, "start and intent wait for better times");
}

#[test]
fn a_caller_who_leaves_while_waiting_leaves_the_intent() {
    let setup = Setup::new("/dose");
    let incoming = setup.begin();
    end(&setup.audit, &incoming, &setup.host);
    assert_eq!(setup.kinds(), ["intent", "start", "intent", "request"]);
    // The answer can still come; it says nothing new.
    setup.audit.on_answer(&incoming, &status(200), &setup.host);
    assert_eq!(setup.host.metric(ACKNOWLEDGED), 0);
}

#[test]
fn only_the_levels_of_the_policy_wait() {
    let setup = Setup::new("/diary");
    let incoming = setup.begin();
    assert!(incoming.awaited_call().is_none() && setup.host.calls().is_empty());
}
