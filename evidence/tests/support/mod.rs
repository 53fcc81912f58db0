//! True chains, made by the description of the record (`docs/audit-record.md`) and by nothing that verifies them.

#![allow(dead_code, reason = "each test uses its part")]

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const KEY: &[u8] = b"a chain key of more than sixteen bytes";
pub const OTHER_KEY: &[u8] = b"the key of the year before that one";

/// A chain that is being written.
pub struct Writer {
    id: String,
    key: Option<(Vec<u8>, String)>,
    seq: u64,
    prev: String,
    /// Seconds since 2026-01-01T00:00:00Z of the next record.
    pub clock: u64,
}

impl Writer {
    /// Chain number `number`; numbers differ.
    pub fn new(number: u64) -> Self {
        let id = format!(
            "019b76da-{:04x}-7000-8000-{:012x}",
            number & 0xffff,
            number.wrapping_mul(0x9e37_79b9) & 0xffff_ffff_ffff
        );
        Self { id, key: None, seq: 0, prev: "0".repeat(64), clock: 0 }
    }

    /// From here on with this key, or none.
    pub fn key(mut self, key: Option<&[u8]>) -> Self {
        self.key = key.map(|key| (key.to_owned(), key_id(key)));
        self
    }

    /// Begun so many seconds after 2026-01-01T00:00:00Z, as its id says.
    pub fn begun(mut self, seconds: u64) -> Self {
        let millis = 1_767_225_600_000 + seconds * 1000;
        self.id.replace_range(..13, &format!("{:08x}-{:04x}", millis >> 16, millis & 0xffff));
        self.clock = seconds;
        self
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// A record of the chain itself: `start`, `head`, `end`.
    pub fn checkpoint(&mut self, kind: &str) -> String {
        self.append(
            kind,
            json!({"proxy": {"id": format!("sidecar~10.0.0.1~{}.core-healthcare", &self.id[..13]), "module": "0.1.0"}}),
        )
    }

    /// A record of a request, with what such a record has.
    pub fn request(&mut self) -> String {
        let seq = self.seq;
        self.append(
            "request",
            json!({
                "context": {
                    "action": "execute", "complianceLevel": "critical", "flags": ["controlled-drug"],
                    "name": "medication-administration", "policy": "30f2ab91c4d7e655",
                    "resource": "MedicationAdministration",
                    "retention": "P8Y", "subject": "p-abcdefgh-abcdefghijklmnopabcdefghijklmnop"
                },
                "decision": {"result": "allowed"},
                "outcome": {
                    "cluster": "outbound|3002||medication-service", "details": "via_upstream",
                    "durationMicros": 1000 + seq, "status": 200
                },
                "request": {
                    "correlationId": format!("round-\u{e9}-{seq}"), "id": format!("0f5a8c1e-7d2b-a3c4-9e6f-{seq:012x}"),
                    "method": "POST",
                    "pathTemplate": "/api/v1/medications/administer"
                },
                "tenant": {
                    "cohort": "stable", "id": "care-home-0042", "jurisdiction": "scotland", "pool": "dedicated-a",
                    "regulator": "Care Inspectorate", "source": "claim"
                },
                "trace": {
                    "id": format!("0af7651916cd43dd8448eb21{seq:08x}"), "rate": "100", "reason": "tier",
                    "sampled": true,
                    "spanId": "b7ad6b7169203331", "tier": "always"
                },
                "who": {
                    "peer": "spiffe://cluster.local/ns/core-healthcare/sa/api-gateway",
                    "user": "p-abcdefgh-ponmlkjihgfedcbaponmlkjihgfedcba"
                }
            }),
        )
    }

    /// Appends a record with these members beside those that all have.
    pub fn append(&mut self, kind: &str, mut record: Value) -> String {
        self.seq += 1;
        record["chain"] = json!({"id": self.id, "prev": self.prev, "seq": self.seq});
        if let Some((_, id)) = &self.key {
            record["chain"]["key"] = json!(id);
        }
        record["kind"] = json!(kind);
        record["schema"] = json!("careplane.audit/v1");
        if record["time"].is_null() {
            record["time"] = json!(instant(self.clock));
        }
        self.clock += 1;
        let hash = hash(&record, self.key.as_ref().map(|(key, _)| key.as_slice()));
        record["hash"] = json!(hash);
        self.prev = hash;
        serde_jcs::to_string(&record).unwrap()
    }

    /// `start`, requests with a head after every sixty, `end`: `length` records in all.
    pub fn complete(mut self, length: u64) -> Vec<String> {
        (1..=length)
            .map(|seq| match seq {
                1 => self.checkpoint("start"),
                seq if seq == length => self.checkpoint("end"),
                seq if seq % 60 == 0 => self.checkpoint("head"),
                _ => self.request(),
            })
            .collect()
    }
}

/// Requests whose calls between services go beyond the tenants of their user: emergency access on two proxies, an
/// attempt that was refused, a call for the same data as its request, one in the same context for another person; a
/// redirect that the proxy followed to another person; a mirrored copy; and two workers of one proxy, to which a caller
/// gives one id for all it does.
pub fn calls_beyond_tenants() -> Vec<String> {
    let record = |id: u8, second: u8, placement: &str, more: Value| {
        let mut record = json!({
            "context": {
                "action": "read", "complianceLevel": "high", "name": "resident", "policy": "9f86d081884c7d65",
                "subject": "p-seen"
            },
            "decision": {"result": "allowed"},
            "outcome": {"answeredBy": "upstream", "durationMicros": 1000, "status": 200},
            "proxy": {"placement": placement},
            "request": {
                "id": format!("0f5a8c1e-7d2b-a3c4-9e6f-{id:012x}"), "method": "GET",
                "pathTemplate": "/api/v1/residents/{id}"
            },
            "tenant": {"id": "care-home-0042", "regulator": "CQC"},
            "time": format!("2026-01-01T00:00:{second:02}.000000Z"), "trace": {}, "who": {"user": "p-nurse"}
        });
        let more = more.as_object().unwrap().iter();
        for (object, members) in more.map(|(object, members)| (object, members.as_object().unwrap())) {
            members.iter().for_each(|(member, value)| record[object][member] = value.clone());
        }
        record
    };
    let dashboard = |id, second, duration: u64, span: &str| {
        let more = json!({
            "context": {"name": "dashboard", "subject": "p-none"}, "outcome": {"durationMicros": duration},
            "request": {"pathTemplate": "/bff/dashboard"}, "trace": {"spanId": span}
        });
        record(id, second, "gateway", more)
    };
    let emergency = |subject: &str, trace: Value| {
        json!({
            "context": {"subject": subject}, "decision": {"grant": "emergency"}, "tenant": {"id": "care-home-0099"},
            "trace": trace, "who": {"purpose": "BTG"}
        })
    };
    let conflict = json!({
        "decision": {"result": "denied", "by": "careplane", "reason": "tenant-conflict"}, "outcome": {"status": 403},
        "tenant": {"other": "care-home-0007"}, "trace": {"parentId": "aaaaaaaaaaaaaaa2"}
    });
    let mut same = emergency("p-both", json!({"spanId": "aaaaaaaaaaaaaaa3"}));
    same["request"] = json!({"pathTemplate": "/bff/residents/{id}"});
    same["context"]["name"] = json!("overview");
    let mut copy = emergency("p-of-a-copy", json!({}));
    copy["request"] = json!({"shadow": true});
    let mut redirected = emergency("p-reached", json!({}));
    redirected["request"] = json!({"redirects": 1});
    let mut stream = dashboard(5, 30, 8_000_000, "aaaaaaaaaaaaaaa5");
    stream["proxy"] = json!({"placement": "inbound"});
    let by_chain = [
        vec![
            dashboard(1, 1, 500_000, "aaaaaaaaaaaaaaa1"),
            dashboard(2, 2, 500_000, "aaaaaaaaaaaaaaa2"),
            record(3, 3, "gateway", same),
            record(6, 6, "gateway", emergency("p-asked", json!({"spanId": "aaaaaaaaaaaaaaa6"}))),
            record(7, 7, "gateway", emergency("p-redirected", json!({}))),
            record(7, 8, "gateway", redirected),
        ],
        vec![
            record(
                1,
                1,
                "outbound",
                emergency("p-called", json!({"parentId": "aaaaaaaaaaaaaaa1", "spanId": "b1b1b1b1b1b1b1b1"})),
            ),
            record(2, 2, "inbound", conflict),
            record(3, 3, "inbound", emergency("p-both", json!({"parentId": "aaaaaaaaaaaaaaa3"}))),
            record(4, 4, "inbound", copy),
            record(6, 6, "inbound", emergency("p-relative", json!({"parentId": "aaaaaaaaaaaaaaa6"}))),
        ],
        vec![record(1, 1, "inbound", emergency("p-called", json!({"parentId": "b1b1b1b1b1b1b1b1"}))), stream],
        vec![record(5, 32, "inbound", emergency("p-of-a-worker", json!({})))],
    ];
    let chains = by_chain.into_iter().zip(90..).flat_map(|(records, number)| {
        let mut chain = Writer::new(number);
        let mut lines = vec![chain.checkpoint("start")];
        lines.extend(records.into_iter().map(|record| chain.append("request", record)));
        chain.clock = 40;
        lines.push(chain.checkpoint("end"));
        lines
    });
    chains.collect()
}

/// The hash that a record should carry; its own is left out.
pub fn hash(record: &Value, key: Option<&[u8]>) -> String {
    let mut record = record.clone();
    record.as_object_mut().unwrap().remove("hash");
    let canonical = serde_jcs::to_vec(&record).unwrap();
    let bytes = match key {
        None => Sha256::new().chain_update([0]).chain_update(canonical).finalize().to_vec(),
        Some(key) => mac(key, &[&[0], canonical.as_slice()].concat()),
    };
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes().to_vec()
}

fn key_id(key: &[u8]) -> String {
    let hex: String = mac(key, b"key\0")[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    hex.chars().map(|digit| char::from(b'a' + u8::try_from(digit.to_digit(16).unwrap()).unwrap())).collect()
}

/// `seconds` after 2026-01-01T00:00:00Z.
pub fn instant(seconds: u64) -> String {
    let time = jiff::Timestamp::from_second(1_767_225_600 + i64::try_from(seconds).unwrap()).unwrap();
    format!("{time:.6}")
}

/// A small generator of numbers (xorshift64*), so that every run is the same.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index + 1));
        }
    }
}
