//! Inputs that the benchmarks share.

use careplane_exchange::memory::MemoryHost;
use serde_json::{Value, json};

/// A policy with this many contexts (two paths each) and pinned tenants.
pub fn policy(contexts: usize, tenants: usize) -> Value {
    let contexts: Vec<Value> = (0..contexts)
        .map(|number| {
            json!({
                "name": format!("context-{number}"), "complianceLevel": "high", "tier": "clinical",
                "resource": "Patient",
                "subject": "id", "flags": ["controlled-drug"], "retention": "P8Y",
                "match": [
                    {"path": format!("/api/v1/service-{number}/{{id}}")},
                    {"methods": ["POST"], "path": format!("/api/v1/service-{number}/{{id}}/administer")},
                ]
            })
        })
        .collect();
    // Every other tenant is pinned in all ways, the rest in none.
    let entry = |number: usize| match number.is_multiple_of(2) {
        true => json!({"pool": "dedicated-a", "jurisdiction": "scotland", "cohort": "canary"}),
        false => json!({"jurisdiction": "england"}),
    };
    let tenants: serde_json::Map<String, Value> =
        (0..tenants).map(|number| (format!("care-home-{number:06}"), entry(number))).collect();
    json!({
        "version": "careplane/v1",
        "identity": {"trustedPeers": "any"},
        "contexts": contexts,
        "tenants": {"entries": tenants},
        "routing": {"pools": ["pool-a", "pool-b", "pool-c"], "dedicated": ["dedicated-a"], "canary": {"percent": 5}}
    })
}

/// A request as a proxy in front of a care-home application sees it: 12 headers, a verified token.
pub fn request(path: &str) -> MemoryHost {
    MemoryHost::with_request([
        (":authority", "api.care.example"),
        (":path", path),
        (":method", "POST"),
        (":scheme", "https"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("content-length", "420"),
        ("x-forwarded-for", "192.0.2.2"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "00000000-0000-a000-8000-000000000000"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ])
    .with_claim("tenant_id", "care-home-000001")
    .with_claim("sub", "user-17")
    .with_property("response.code", 201_i64.to_le_bytes())
    .with_property("response.code_details", "via_upstream")
    .with_property("response.flags", 0_i64.to_le_bytes())
    .with_property("request.time", 1_767_323_045_678_901_000_i64.to_le_bytes())
    .with_property("request.duration", 12_345_678_i64.to_le_bytes())
    .with_property("xds.cluster_name", "outbound|80||resident-service.core-healthcare.svc.cluster.local")
}
