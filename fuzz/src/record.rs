//! Audit records about anything: canonical, and with the hash of what they say.
//!
//! Input: method, path, user agent of a kind (a correlation id), tenant, user, response code details, cluster,
//! `x-request-id`, `traceparent`.

use std::sync::{Arc, LazyLock};

use careplane_audit::FILTER_STATE;
use careplane_exchange::Rules;
use careplane_exchange::memory::{MemoryHost, rules};
use careplane_pipeline::Stream;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{input, plugin};

const POLICY: &str = r#"{
    "version": "careplane/v1",
    "identity": {"trustedPeers": "any", "user": {"pseudonymise": false}},
    "contexts": [{
        "name": "resident", "complianceLevel": "high", "resource": "Patient", "subject": "id", "flags": ["a"],
        "match": [{"path": "/residents/{id}"}]
    }]
}"#;

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| rules(POLICY).expect("the policy is good"));

pub(crate) fn run(data: &[u8]) {
    let [method, path, correlation, tenant, user, details, cluster, request_id, traceparent] = input::parts(data);
    let plugin = plugin::named("audit", &RULES, None);
    let mut previous = "0".repeat(64);
    for number in 1..=2 {
        let headers: [(&[u8], &[u8]); 7] = [
            (b":method", method),
            (b":path", path),
            (b"x-correlation-id", correlation),
            (b"x-tenant-id", tenant),
            (b"x-user-id", user),
            (b"x-request-id", request_id),
            (b"traceparent", traceparent),
        ];
        let host = MemoryHost::with_request(headers)
            .with_property("response.code_details", details)
            .with_property("xds.cluster_name", cluster)
            .with_property("upstream.local_address", cluster)
            .with_property("upstream.request_attempt_count", user)
            .with_property("response.code", details)
            .with_property("response.flags", cluster)
            .with_property("request.time", path)
            .with_property("request.duration", user);
        let mut stream = Stream::new(plugin.clone());
        stream.on_request_headers(&host);
        stream.on_log(&host);
        let text = host.property_text(&format!("wasm.{FILTER_STATE}")).expect("there is a record");
        previous = check(&text, number, &previous);
    }
}

/// Returns the hash.
fn check(text: &str, number: u64, previous: &str) -> String {
    let mut record: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(canonical(&record), text);
    assert_eq!((&record["chain"]["seq"], &record["chain"]["prev"]), (&number.into(), &previous.into()));
    let hash = record.as_object_mut().and_then(|members| members.remove("hash")).expect("it has a hash");
    let digest = Sha256::new().chain_update([0]).chain_update(canonical(&record)).finalize();
    assert_eq!(hash, digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn canonical(record: &Value) -> String {
    serde_jcs::to_string(record).expect("a record has a canonical form")
}
