#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::sync::Arc;

use crate::memory::{Call, MemoryHost, rules};
use crate::{Denial, FORCE_TRACE, Incoming, TraceReason};

const POLICY: &str = r#"{
    "version": "careplane/v1",
    "identity": {"tenant": {"required": false}},
    "contexts": [
        {"name": "half", "complianceLevel": "standard", "tier": "clinical", "match": [{"path": "/half"}]},
        {"name": "never", "complianceLevel": "low", "tier": "never", "match": [{"path": "/never"}]}
    ]
}"#;
/// 4,999 of 10,000: kept at 50 % and above.
const KEPT_AT_HALF: &str = "00001387-0000-4000-8000-000000000000";
/// 5,000 of 10,000.
const DROPPED_AT_HALF: &str = "00001388-0000-4000-8000-000000000000";
/// The same, and Envoy traces it already.
const SAMPLED_BY_ENVOY: &str = "00001388-0000-9000-8000-000000000000";

fn request(headers: &[(&str, &str)]) -> MemoryHost {
    MemoryHost::with_request(headers.to_vec())
}

fn open(host: &MemoryHost) -> Incoming {
    Incoming::open(rules(POLICY).unwrap(), host)
}

#[test]
fn a_write_that_changes_nothing_is_not_made() {
    let host = request(&[(":path", "/half"), ("x-a", "1"), ("x-b", "1"), ("x-b", "2")]);
    let incoming = open(&host);
    incoming.set_header(&"x-a".into(), "1");
    incoming.remove_header(&"x-absent".into());
    assert!(incoming.conclude(&host).is_none());
    assert_eq!(host.writes(), 0);

    incoming.set_header(&"x-a".into(), "2");
    incoming.set_header(&"x-b".into(), "1");
    incoming.set_header(&"x-c".into(), "3");
    incoming.conclude(&host);
    assert_eq!(host.request_header("x-a"), ["2"]);
    assert_eq!(host.request_header("x-b"), ["1"]);
    assert_eq!(host.request_header("x-c"), ["3"]);
}

#[test]
fn the_trace_decision_follows_tier_envoy_and_refusal() {
    let decide = |path: &str, id: &str| {
        let incoming = open(&request(&[(":path", path), ("x-request-id", id)]));
        let decision = incoming.trace_decision();
        (decision.kept, decision.reason)
    };
    assert_eq!(decide("/half", KEPT_AT_HALF), (true, TraceReason::Tier));
    assert_eq!(decide("/half", DROPPED_AT_HALF), (false, TraceReason::Tier));
    assert_eq!(decide("/half", SAMPLED_BY_ENVOY), (true, TraceReason::Inherited));
    assert_eq!(decide("/half", "not a uuid"), (false, TraceReason::NoRequestId));
    assert_eq!(decide("/never", "00000000-0000-4000-8000-000000000000"), (false, TraceReason::Tier));

    let incoming = open(&request(&[(":path", "/never"), ("x-request-id", DROPPED_AT_HALF)]));
    incoming.deny(Denial::TenantConflict);
    assert_eq!(incoming.trace_decision().reason, TraceReason::Denied);
}

#[test]
fn only_a_trace_that_envoy_would_drop_is_forced() {
    for (id, forced) in [(KEPT_AT_HALF, 1), (DROPPED_AT_HALF, 0), (SAMPLED_BY_ENVOY, 0)] {
        let host = request(&[(":path", "/half"), ("x-request-id", id)]);
        let incoming = open(&host);
        incoming.keep_trace();
        incoming.conclude(&host);
        assert_eq!(host.request_header(FORCE_TRACE).len(), forced, "{id}");
    }
}

#[test]
fn the_rate_of_somebody_else_is_not_known() {
    let host = request(&[(":path", "/half"), ("x-request-id", SAMPLED_BY_ENVOY)]);
    let incoming = open(&host);
    incoming.keep_trace();
    incoming.conclude(&host);
    assert_eq!(host.property_text("wasm.careplane.sampling_reason").as_deref(), Some("inherited"));
    assert_eq!(host.property_text("wasm.careplane.sampling_rate"), None);
}

#[test]
fn span_tags_are_written_for_kept_traces_alone() {
    for (id, tag) in [(KEPT_AT_HALF, Some("x")), (DROPPED_AT_HALF, None)] {
        let host = request(&[(":path", "/half"), ("x-request-id", id)]);
        let incoming = open(&host);
        incoming.tag_span("a_tag", "x");
        incoming.conclude(&host);
        assert_eq!(host.property_text("wasm.careplane.a_tag").as_deref(), tag);
    }
}

#[test]
fn a_refusal_is_traced_and_explains_itself_whichever_filter_made_it() {
    let host = request(&[(":path", "/never"), ("x-request-id", DROPPED_AT_HALF), ("x-correlation-id", "c-1")]);
    let incoming = open(&host);
    incoming.deny(Denial::TenantUnknown);
    incoming.deny(Denial::TenantConflict);
    let reply = incoming.conclude(&host).unwrap();
    assert_eq!((reply.status, reply.details.as_str()), (403, "careplane{tenant-unknown}"));
    assert!(reply.headers.contains(&("x-correlation-id".into(), "c-1".into())));
    assert_eq!(host.request_header(FORCE_TRACE), ["true"]);
    assert_eq!(host.property_text("wasm.careplane.denial_reason").as_deref(), Some("tenant-unknown"));
    assert_eq!(host.property_text("wasm.careplane.sampling_reason").as_deref(), Some("denied"));
    // All refusals are kept, so each stands for itself.
    assert_eq!(host.property_text("wasm.careplane.sampling_rate").as_deref(), Some("100"));
}

/// As when a request that was to go on cannot be recorded.
#[test]
fn the_span_of_a_refusal_says_nothing_of_what_held_before() {
    let host = request(&[(":path", "/half"), ("x-request-id", KEPT_AT_HALF)]);
    let incoming = open(&host);
    incoming.describe_on_span(&host);
    incoming.keep_trace();
    incoming.deny(Denial::EvidenceUnavailable);
    incoming.conclude(&host);
    let tag = |name: &str| host.property_text(&format!("wasm.careplane.{name}"));
    assert_eq!(tag("sampling_reason").as_deref(), Some("denied"));
    assert_eq!(tag("sampling_rate").as_deref(), Some("100"), "refusals are kept, also those that the tier drops");
    assert_eq!((tag("tenant_id").as_deref(), tag("healthcare_context").as_deref()), (Some("unknown"), Some("half")));
}

#[test]
fn a_refused_request_is_no_use_of_a_grant() {
    let rules = rules(
        r#"{
        "version": "careplane/v1",
        "identity": {
            "tenant": {"sources": [{"claim": "home"}, {"header": "x-home"}]},
            "grants": [{
                "name": "cover", "when": {"claim": "role", "equals": "nurse"}, "tenants": "any",
                "atMost": {"perUser": 1, "within": "1h"}
            }]
        }
    }"#,
    )
    .unwrap();
    let host = request(&[("x-home", "home-2")]).with_claim("home", "home-1").with_claim("role", "nurse");
    let mut refusals = Vec::new();
    for denial in [Some(Denial::EvidenceUnavailable), Some(Denial::TenantUnknown), None, None] {
        let incoming = Incoming::open(Arc::clone(&rules), &host);
        refusals.push(incoming.violation(&host));
        denial.or(incoming.violation(&host)).into_iter().for_each(|denial| incoming.deny(denial));
        incoming.conclude(&host);
    }
    assert_eq!(refusals, [None, None, None, Some(Denial::GrantLimit)]);
}

#[test]
fn a_correlation_id_is_kept_or_made_and_then_told_to_the_upstream() {
    let host = request(&[("x-correlation-id", "order.17_b-2")]);
    let incoming = open(&host);
    assert_eq!(incoming.correlation(&host).unwrap().as_str(), "order.17_b-2");
    incoming.conclude(&host);
    assert_eq!(host.writes(), 0);

    for bad in ["", "two words", "9434765919", &"x".repeat(129)] {
        let host = request(&[("x-correlation-id", bad)]);
        let incoming = open(&host);
        let made = incoming.correlation(&host).unwrap().as_str().to_owned();
        incoming.conclude(&host);
        assert_eq!(host.request_header("x-correlation-id"), [made.as_str()]);
        // The time of the host in memory, version 7.
        assert!(made.starts_with("019b7ca9-8f2e-7"), "{made}");
    }
}

#[test]
fn two_correlation_ids_are_none() {
    let host = request(&[("x-correlation-id", "a"), ("x-correlation-id", "b")]);
    let incoming = open(&host);
    incoming.correlation(&host);
    incoming.conclude(&host);
    let [made] = &host.request_header("x-correlation-id")[..] else { panic!("not one") };
    assert_eq!(made.len(), 36);
}

#[test]
fn without_random_numbers_there_is_no_correlation_id_and_no_failure() {
    let host = request(&[]);
    host.fail(Call::Random);
    let incoming = open(&host);
    assert!(incoming.correlation(&host).is_none());
    incoming.deny(Denial::TenantMissing);
    assert!(!incoming.conclude(&host).unwrap().body.contains("correlationId"));
}

#[test]
fn a_request_that_cannot_be_read_is_about_nothing() {
    let host = request(&[(":path", "/half")]);
    host.fail(Call::HeaderMap);
    let incoming = open(&host);
    assert!(!incoming.is_readable());
    assert_eq!(&*incoming.about().context.name, "general");
}

#[test]
fn a_method_in_another_case_is_no_way_out_of_a_context() {
    let rules = rules(
        r#"{
        "version": "careplane/v1",
        "contexts": [
            {"name": "dose", "complianceLevel": "critical", "match": [{"methods": ["POST"], "path": "/dose"}]}
        ]
    }"#,
    )
    .unwrap();
    for (method, name, context) in [
        ("POST", "POST", "dose"),
        ("post", "POST", "dose"),
        ("pOsT", "POST", "dose"),
        ("delete", "DELETE", "general"),
        ("posts", "OTHER", "general"),
        ("", "OTHER", "general"),
    ] {
        let host = request(&[(":method", method), (":path", "/dose")]);
        let incoming = Incoming::open(Arc::clone(&rules), &host);
        assert_eq!((incoming.method().as_str(), &*incoming.about().context.name), (name, context), "{method}");
    }
}

#[test]
fn writes_that_fail_do_not_stop_the_others() {
    let host = request(&[("x-a", "1")]);
    host.fail(Call::RemoveHeader);
    let incoming = open(&host);
    incoming.remove_header(&"x-a".into());
    incoming.set_header(&"x-b".into(), "2");
    incoming.conclude(&host);
    assert_eq!(host.request_header("x-b"), ["2"]);
}

#[test]
fn a_request_that_is_over_keeps_the_correlation_id_it_was_sent_with() {
    let never_seen = |host: &MemoryHost| {
        let handled = Incoming::never_seen(rules(POLICY).unwrap(), host);
        handled.correlation.map(|id| id.as_str().to_owned())
    };
    assert_eq!(never_seen(&request(&[("x-correlation-id", "c-1")])).as_deref(), Some("c-1"));
    assert_eq!(never_seen(&request(&[])), None);
}
