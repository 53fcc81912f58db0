//! Exported events, for the tests that validate them.

use careplane_evidence::Record;
use careplane_evidence::fhir::{Exporter, Form, Writer};
use careplane_evidence::synthetic::Synthetic;
use serde_json::{Value, json};

/// Records of two days.
pub fn lines() -> Vec<String> {
    let from = "2026-10-01T00:00:00Z".parse().unwrap();
    Synthetic { seed: 11, from, days: 2, requests: 900, chains: 3 }.records().collect()
}

/// What `careplane audit export` writes.
pub fn export(lines: &[String], form: Form) -> String {
    let mut exporter = Exporter::default();
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, form);
    let records = || lines.iter().map(|line| serde_json::from_str::<Record<'_>>(line).unwrap());
    records().for_each(|record| exporter.learn(&record));
    for record in records() {
        if let Some(event) = exporter.event(&record).unwrap() {
            writer.write(&event).unwrap();
        }
    }
    writer.finish().unwrap();
    String::from_utf8(out).unwrap()
}

/// The events of some records.
pub fn events(lines: &[String]) -> Vec<Value> {
    export(lines, Form::Ndjson).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An event of a made-up read that went well, after `change`.
pub fn event_of(change: impl FnOnce(&mut Value)) -> Value {
    let mut record = json!({
        "schema": "careplane.audit/v1", "kind": "request", "time": "2026-10-01T07:00:00.250000Z", "hash": "ab",
        "chain": {"id": "0197f3a4-0000-7000-8000-000000000001", "prev": "", "seq": 12},
        "context": {
            "action": "read", "complianceLevel": "high", "name": "resident", "policy": "9f86d081884c7d65",
            "resource": "Patient", "subject": "p-s"
        },
        "decision": {"result": "allowed"},
        "outcome": {"status": 200, "cluster": "outbound|3001||resident-service.core", "durationMicros": 1500},
        "request": {"id": "r-1", "method": "GET", "pathTemplate": "/api/v1/residents/{id}"},
        "tenant": {"id": "care-home-0042"},
        "who": {"user": "p-u", "peer": "spiffe://cluster.local/ns/core/sa/gateway"}
    });
    change(&mut record);
    events(&[record.to_string()]).remove(0)
}
