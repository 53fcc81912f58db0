#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

mod delivery;

use std::rc::Rc;

use careplane_exchange::memory::{Call, MemoryHost, rules};
use careplane_exchange::{Ending, Filter, Host, Incoming, MapType};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Audit, CHAINS, Chain, EMERGENCIES, LOST, OVERFLOW, RECORDS};

fn policy(sinks: &str) -> String {
    format!(
        r#"{{
        "version": "careplane/v1",
        "identity": {{"trustedPeers": "any"}},
        "contexts": [
            {{
                "name": "resident", "complianceLevel": "high", "tier": "clinical", "resource": "Patient",
                "subject": "id",
                "flags": ["a", "b"], "retention": "P8Y", "match": [{{"path": "/residents/{{id}}"}}]
            }},
            {{
                "name": "health", "complianceLevel": "low", "tier": "never", "audit": "none",
                "match": [{{"path": "/health"}}]
            }}
        ],
        "tenants": {{"entries": {{"home-1": {{"jurisdiction": "wales"}}}}}},
        "audit": {{"sinks": {sinks}}}
    }}"#
    )
}

const OWN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn number(value: i64) -> [u8; 8] {
    value.to_le_bytes()
}

fn finished(path: &str, status: i64, details: &str) -> MemoryHost {
    MemoryHost::with_request([
        (":method", "GET"),
        (":path", path),
        ("x-tenant-id", "home-1"),
        ("x-user-id", "ann"),
        ("x-correlation-id", "c-1"),
        ("x-request-id", "00000000-0000-a000-8000-000000000000"),
    ])
    .with_property("response.code", number(status))
    .with_property("response.code_details", details)
    .with_property("response.flags", number(0x20))
    .with_property("request.time", number(1_767_323_045_678_901_000))
    .with_property("request.duration", number(12_345_678))
    .with_property("xds.cluster_name", "pool-a")
    .with_property("upstream.request_attempt_count", number(if details == "via_upstream" { 2 } else { 0 }))
}

fn run_with(audit: &Audit, host: &MemoryHost, sinks: &str) -> Option<Value> {
    let incoming = Incoming::open(rules(&policy(sinks)).unwrap(), host);
    audit.on_request(&incoming, host);
    incoming.conclude(host);
    // As Envoy's router does, with the identity of this hop.
    host.set_header(MapType::RequestHeaders, "traceparent", OWN).unwrap();
    end(audit, &incoming, host);
    host.property_text("wasm.careplane.audit").map(|record| serde_json::from_str(&record).unwrap())
}

fn end(audit: &Audit, incoming: &Incoming, host: &MemoryHost) {
    audit.on_log(&Ending::read(&incoming.handled(host), host), host);
}

fn run(audit: &Audit, host: &MemoryHost) -> Option<Value> {
    run_with(audit, host, "{}")
}

fn audit() -> Audit {
    Audit::new(Rc::new(Chain::default()))
}

#[test]
fn the_record_is_complete() {
    let record = run(&audit(), &finished("/residents/943%20476%205919?full=1", 503, "via_upstream")).unwrap();
    let expected = serde_json::json!({
        "chain": record["chain"].clone(),
        "context": {
            "action": "read", "complianceLevel": "high", "flags": ["a", "b"], "name": "resident",
            "policy": record["context"]["policy"].clone(), "resource": "Patient", "retention": "P8Y",
            "subject": record["context"]["subject"].clone()
        },
        "decision": {"result": "allowed"},
        "hash": record["hash"].clone(),
        "kind": "request",
        "outcome": {
            "answeredBy": "upstream", "attempts": 2, "cluster": "pool-a", "details": "via_upstream",
            "durationMicros": 12_345,
            "flags": ["UF"], "forwarded": true, "status": 503
        },
        "request": {
            "correlationId": "c-1", "id": "00000000-0000-a000-8000-000000000000", "method": "GET",
            "pathTemplate": "/residents/{id}"
        },
        "schema": "careplane.audit/v1",
        "tenant": {"id": "home-1", "jurisdiction": "wales", "regulator": "CIW", "source": "header"},
        "time": "2026-01-02T03:04:05.678901Z",
        "trace": {
            "id": "0af7651916cd43dd8448eb211c80319c", "rate": "50", "reason": "tier", "sampled": true,
            "spanId": "b7ad6b7169203331", "tier": "clinical"
        },
        "who": {"user": record["who"]["user"].clone()}
    });
    assert_eq!(record, expected);
    let subject = record["context"]["subject"].as_str().unwrap();
    assert!(subject.starts_with("p-") && subject.len() == 43, "{subject}");
}

#[test]
fn records_are_canonical_and_chained() {
    let audit = audit();
    let mut previous = "0".repeat(64);
    for seq in 1..=5_u64 {
        let host = finished("/residents/17", 200, "via_upstream");
        let mut record = run(&audit, &host).unwrap();
        let text = host.property_text("wasm.careplane.audit").unwrap();
        assert_eq!(serde_jcs::to_string(&record).unwrap(), text);

        let hash = record.as_object_mut().unwrap().remove("hash").unwrap();
        let canonical = serde_jcs::to_string(&record).unwrap();
        let digest = Sha256::new().chain_update([0]).chain_update(canonical).finalize();
        assert_eq!(hash, digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        assert_eq!((&record["chain"]["seq"], &record["chain"]["prev"]), (&seq.into(), &previous.into()));
        previous = hash.as_str().unwrap().into();
        assert_eq!(host.metric(CHAINS), u64::from(seq == 1));
    }
}

#[test]
fn refusals_are_recorded_with_who_refused_and_why_whatever_the_context_says() {
    for (details, by, reason, metric) in [
        ("careplane{tenant-conflict}", "careplane", "tenant-conflict", "careplane.denials.tenant-conflict"),
        (
            "rbac_access_denied_matched_policy[p]",
            "rbac",
            "rbac_access_denied_matched_policy[p]",
            "careplane.denials.rbac",
        ),
        (
            "jwt_authn_access_denied{Jwt_is_expired}",
            "jwt_authn",
            "jwt_authn_access_denied{Jwt_is_expired}",
            "careplane.denials.jwt_authn",
        ),
    ] {
        let host = finished("/health", 403, details);
        let record = run(&audit(), &host).unwrap();
        assert_eq!(record["decision"], serde_json::json!({"by": by, "reason": reason, "result": "denied"}));
        assert_eq!(record["outcome"].get("cluster"), None);
        assert_eq!((host.metric(metric), host.metric("careplane.requests.health.denied")), (1, 1));
    }
}

#[test]
fn a_context_without_audit_is_counted_and_not_recorded() {
    let host = finished("/health", 200, "via_upstream");
    assert_eq!(run(&audit(), &host), None);
    assert_eq!((host.metric("careplane.requests.health.allowed"), host.metric(RECORDS)), (1, 0));
}

#[test]
fn a_grant_is_counted_when_the_request_has_passed_every_filter() {
    let document = r#"{
        "version": "careplane/v1",
        "identity": {
            "tenant": {"sources": [{"claim": "home"}, {"path": "home"}]},
            "purpose": {"sources": [{"header": "x-purpose-of-use"}]},
            "grants": [{
                "name": "emergency", "when": {"claim": "role", "equals": "nurse"}, "tenants": "any",
                "requires": {"purpose": ["BTG"]}
            }]
        },
        "contexts": [{"name": "notes", "complianceLevel": "high", "match": [{"path": "/homes/{home}/notes"}]}]
    }"#;
    for (details, forwarded, counted) in [
        (Some("via_upstream"), true, 1),
        (Some("rbac_access_denied_matched_policy[none]"), false, 0),
        // The caller left, for example while the request was held.
        (None, false, 0),
    ] {
        let headers = [(":method", "GET"), (":path", "/homes/home-2/notes"), ("x-purpose-of-use", "BTG")];
        let mut host = MemoryHost::with_request(headers).with_claim("home", "home-1").with_claim("role", "nurse");
        if let Some(details) = details {
            host = host.with_property("response.code_details", details);
        }
        if forwarded {
            host = host.with_property("upstream.local_address", "127.0.0.1:1");
        }
        let incoming = Incoming::open(rules(document).unwrap(), &host);
        audit().on_request(&incoming, &host);
        assert!(incoming.identity(&host).is_emergency());
        end(&audit(), &incoming, &host);
        let names = ["careplane.grants.emergency", EMERGENCIES];
        assert_eq!(names.map(|name| host.metric(name)), [counted; 2], "{details:?}");
    }
}

#[test]
fn what_no_sink_takes_overflows_or_counts_as_lost() {
    for (sinks, broken, overflow, lost) in [
        ("{}", &[][..], 0, 0),
        ("{}", &[Call::SetProperty], 1, 0),
        // The log's level drops it.
        ("{}", &[Call::SetProperty, Call::Log], 0, 1),
        (r#"{"accessLog": false}"#, &[], 1, 0),
        (r#"{"accessLog": false, "proxyLog": "off"}"#, &[], 0, 1),
        (r#"{"accessLog": false, "proxyLog": "all"}"#, &[], 0, 0),
        (r#"{"accessLog": false, "proxyLog": "all"}"#, &[Call::Log], 0, 1),
    ] {
        let host = finished("/residents/17", 200, "via_upstream");
        broken.iter().for_each(|call| host.fail(*call));
        run_with(&audit(), &host, sinks);
        assert_eq!((host.metric(RECORDS), host.metric(OVERFLOW), host.metric(LOST)), (1, overflow, lost), "{sinks}");
    }
}

#[test]
fn a_record_is_made_whatever_the_host_cannot_say() {
    for call in [Call::HeaderMap, Call::Header, Call::Property, Call::Now, Call::Random] {
        let host = finished("/residents/17", 200, "via_upstream");
        host.fail(call);
        let record = run(&audit(), &host).unwrap_or_else(|| panic!("{call:?}"));
        assert_eq!(record["schema"], super::SCHEMA);
        assert_eq!(record["request"].get("readable").is_some(), call == Call::HeaderMap);
    }
}

#[test]
fn a_trace_is_claimed_only_where_there_is_a_span() {
    const SAMPLED: &str = "00-11111111111111111111111111111111-2222222222222222-01";
    const UNSAMPLED: &str = "00-11111111111111111111111111111111-2222222222222222-00";
    // What the caller sent, Envoy's decision before any filter, `traceparent` and decision in the end → id, kept, why.
    for (parent, before, own, after, expected) in [
        (None, '4', Some(OWN), 'a', (true, true, "tier")),
        (None, '4', None, 'a', (false, true, "tier")),
        (None, '4', None, '4', (false, false, "unseen")),
        (Some(SAMPLED), '9', Some(OWN), '9', (true, true, "tier")),
        (Some(SAMPLED), '9', None, '9', (false, true, "tier")),
        (Some(SAMPLED), '4', None, 'a', (false, false, "parent")),
        (Some(UNSAMPLED), '9', None, '9', (false, false, "parent")),
        (Some("nonsense"), '4', None, 'a', (false, false, "parent")),
    ] {
        let id = |reason: char| format!("00000000-0000-{reason}000-8000-000000000000");
        let before_id = id(before);
        let mut headers =
            vec![(":path", "/residents/17"), ("x-tenant-id", "home-1"), ("x-request-id", before_id.as_str())];
        headers.extend(parent.map(|parent| ("traceparent", parent)));
        let host = MemoryHost::with_request(headers);
        let incoming = Incoming::open(rules(&policy("{}")).unwrap(), &host);
        host.set_header(MapType::RequestHeaders, "x-request-id", &id(after)).unwrap();
        if let Some(own) = own {
            host.set_header(MapType::RequestHeaders, "traceparent", own).unwrap();
        }
        end(&audit(), &incoming, &host);
        let record: Value = serde_json::from_str(&host.property_text("wasm.careplane.audit").unwrap()).unwrap();
        let trace = &record["trace"];
        let seen = (trace.get("id").is_some(), trace["sampled"] == true, trace["reason"].as_str().unwrap());
        assert_eq!(seen, expected, "{parent:?} {before} {own:?} {after}");
    }
}

#[test]
fn a_stream_that_never_reached_the_filter_is_recorded_from_what_is_left() {
    let host = finished("/residents/17", 401, "jwt_authn_access_denied{Jwt_is_missing}");
    let handled = Incoming::never_seen(rules(&policy("{}")).unwrap(), &host);
    audit().on_log(&Ending::read(&handled, &host), &host);
    let record: Value = serde_json::from_str(&host.property_text("wasm.careplane.audit").unwrap()).unwrap();
    assert_eq!(
        (&record["request"]["pathTemplate"], &record["outcome"]["status"]),
        (&"/residents/{id}".into(), &401.into())
    );
}

#[test]
fn a_filter_whose_words_mean_a_refusal_has_refused_whatever_the_status() {
    for (details, status, expected) in [
        ("ext_authz_denied", 302, "denied"),
        ("ext_authz_denied", 204, "denied"),
        ("csrf_origin_mismatch", 200, "denied"),
        ("fault_filter_abort", 200, "denied"),
        // Words that stand for good answers too.
        ("cors_response", 200, "none"),
        ("health_check_ok", 200, "none"),
        ("health_check_failed", 503, "denied"),
        ("lua_response", 302, "none"),
        ("lua_response", 403, "denied"),
        ("of_no_filter_that_is_known", 302, "none"),
    ] {
        let record = run(&audit(), &finished("/residents/1", status, details)).unwrap();
        assert_eq!(record["decision"]["result"], expected, "{details} {status}: {record}");
    }
}

#[test]
fn a_connection_that_was_switched_is_answered_whoever_ends_it() {
    let (left, broke) =
        ("downstream_remote_disconnect", "upstream_reset_after_response_started{connection_termination}");
    for (method, status, details, expected) in [
        ("GET", 101, left, "upstream"),
        ("GET", 101, broke, "upstream"),
        ("CONNECT", 200, left, "upstream"),
        ("CONNECT", 200, broke, "upstream"),
        ("GET", 200, left, "caller"),
        ("GET", 200, broke, "proxy"),
        ("CONNECT", 504, broke, "proxy"),
    ] {
        let host = finished("/residents/1", status, details)
            .with_property("upstream.request_attempt_count", number(1))
            .with_property("upstream.local_address", "127.0.0.1:1");
        host.set_header(MapType::RequestHeaders, ":method", method).unwrap();
        let record = run(&audit(), &host).unwrap();
        assert_eq!(record["outcome"]["answeredBy"], expected, "{method} {status} {details}");
    }
    let answered_here = finished("/residents/1", 200, "direct_response");
    answered_here.set_header(MapType::RequestHeaders, ":method", "CONNECT").unwrap();
    assert_eq!(run(&audit(), &answered_here).unwrap()["outcome"]["answeredBy"], "proxy");
}
