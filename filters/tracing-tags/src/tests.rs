#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::sync::Arc;

use careplane_exchange::memory::{Call, MemoryHost, rules};
use careplane_exchange::{Filter, Incoming, LocalReply};

use super::{FORGED, TracingTags};

const TRUSTED: &str = "spiffe://cluster.local/ns/edge/sa/gateway";
const KEPT: &str = "00000000-0000-4000-8000-000000000000";

fn policy(more: &str) -> String {
    format!(
        r#"{{
        "version": "careplane/v1",
        "identity": {{
            "trustedPeers": ["{TRUSTED}"],
            "tenant": {{
                "sources": [{{"claim": "tenant_id"}}, {{"header": "x-tenant-id"}}, {{"header": "x-legacy-tenant"}}]
            }}
        }},
        "contexts": [{{
            "name": "medication", "complianceLevel": "critical", "tier": "always", "flags": ["controlled-drug"],
            "match": [{{"path": "/medications/{{id}}"}}]
        }}]{more}
    }}"#
    )
}

fn request(headers: &[(&str, &str)]) -> MemoryHost {
    let pseudo = [(":method", "GET"), (":path", "/medications/17"), ("x-request-id", KEPT)];
    MemoryHost::with_request(pseudo.iter().chain(headers).copied().collect::<Vec<_>>())
}

fn run_with(host: &MemoryHost, more: &str) -> Option<LocalReply> {
    let rules = rules(&policy(more)).unwrap();
    let incoming = Incoming::open(Arc::clone(&rules), host);
    TracingTags.on_request(&incoming, host);
    let reply = incoming.conclude(host);
    TracingTags.on_response(&rules, incoming.correlation_if_known(), host);
    reply
}

fn run(host: &MemoryHost) -> Option<LocalReply> {
    run_with(host, "")
}

#[test]
fn the_five_tags_reach_upstream_and_span() {
    let host = request(&[("x-correlation-id", "c-1")]).with_claim("tenant_id", "home-1").with_claim("sub", "ann");
    assert!(run(&host).is_none());
    for (name, value) in [
        ("x-tenant-id", "home-1"),
        ("x-user-id", "ann"),
        ("x-correlation-id", "c-1"),
        ("x-healthcare-context", "medication"),
        ("x-compliance-level", "critical"),
        ("x-compliance-flags", "controlled-drug"),
    ] {
        assert_eq!(host.request_header(name), [value], "{name}");
    }
    let user = host.property_text("wasm.careplane.user_id").unwrap();
    assert!(user.starts_with("p-") && !user.contains("ann"), "{user}");
    for (tag, value) in [
        ("tenant_id", "home-1"),
        ("correlation_id", "c-1"),
        ("healthcare_context", "medication"),
        ("compliance_level", "critical"),
        ("path_template", "/medications/{id}"),
    ] {
        assert_eq!(host.property_text(&format!("wasm.careplane.{tag}")).as_deref(), Some(value), "{tag}");
    }
    assert_eq!(host.response_header("x-correlation-id"), ["c-1"]);
}

#[test]
fn what_an_outsider_says_of_itself_is_removed_and_counted() {
    let host = request(&[
        ("x-tenant-id", "other"),
        ("x-user-id", "boss"),
        ("x-legacy-tenant", "other"),
        ("x-healthcare-context", "nothing"),
        ("x-compliance-level", "low"),
        ("x-compliance-flags", "none"),
    ])
    .with_claim("tenant_id", "home-1");
    assert!(run(&host).is_none());
    assert_eq!(host.request_header("x-tenant-id"), ["home-1"]);
    assert!(host.request_header("x-user-id").is_empty());
    assert!(host.request_header("x-legacy-tenant").is_empty());
    assert_eq!(host.request_header("x-healthcare-context"), ["medication"]);
    assert_eq!(host.request_header("x-compliance-level"), ["critical"]);
    assert_eq!(host.request_header("x-compliance-flags"), ["controlled-drug"]);
    assert_eq!(host.metric(FORGED), 3);
}

#[test]
fn headers_that_the_policy_omits_are_removed_and_all_else_stays() {
    let omit =
        r#", "headers": {"omit": ["x-tenant-id", "x-healthcare-context", "x-compliance-level", "x-compliance-flags"]}"#;
    let forged = [
        ("x-tenant-id", "other"),
        ("x-healthcare-context", "nothing"),
        ("x-healthcare-context", "twice"),
        ("x_healthcare_context", "nothing"),
        ("x-compliance-level", "critical"),
        ("x-compliance-flags", "none"),
    ];
    for headers in [&[][..], &forged] {
        let host = request(headers).with_claim("tenant_id", "home-1").with_claim("sub", "ann");
        assert!(run_with(&host, omit).is_none());
        for name in forged.map(|(name, _)| name) {
            assert!(host.request_header(name).is_empty(), "{name}");
        }
        assert_eq!(host.request_header("x-user-id"), ["ann"]);
        assert_eq!(host.property_text("wasm.careplane.tenant_id").as_deref(), Some("home-1"));
        assert_eq!(host.property_text("wasm.careplane.healthcare_context").as_deref(), Some("medication"));
        assert_eq!(host.property_text("wasm.careplane.compliance_level").as_deref(), Some("critical"));
        // Other spellings of a protected header count with it.
        assert_eq!(host.metric(FORGED), if headers.is_empty() { 0 } else { 2 });
    }
    // The word of a trusted peer is read, and goes no further.
    let host = request(&[("x-tenant-id", "home-1"), ("x-compliance-level", "critical")]).with_peer(TRUSTED);
    assert!(run_with(&host, omit).is_none());
    assert_eq!(host.property_text("wasm.careplane.tenant_id").as_deref(), Some("home-1"));
    assert!(host.request_header("x-tenant-id").is_empty() && host.request_header("x-compliance-level").is_empty());
}

#[test]
fn what_a_trusted_peer_says_stays() {
    let host = request(&[("x-legacy-tenant", "home-1"), ("x-user-id", "ann")]).with_peer(TRUSTED);
    assert!(run(&host).is_none());
    assert_eq!(host.request_header("x-tenant-id"), ["home-1"]);
    assert_eq!(host.request_header("x-legacy-tenant"), ["home-1"]);
    assert_eq!(host.request_header("x-user-id"), ["ann"]);
    assert_eq!(host.metric(FORGED), 0);
}

#[test]
fn a_second_plugin_in_the_chain_changes_nothing_more() {
    let host = request(&[("x-tenant-id", "forged")]).with_claim("tenant_id", "home-1").with_claim("sub", "ann");
    run(&host);
    let writes = host.writes();
    let incoming = Incoming::open(rules(&policy("")).unwrap(), &host);
    TracingTags.on_request(&incoming, &host);
    incoming.conclude(&host);
    // The span tags of a kept trace are all that is written again.
    assert_eq!(host.writes() - writes, 6);
    assert_eq!(host.metric(FORGED), 1);
}

#[test]
fn a_request_has_one_correlation_id_whether_its_trace_is_kept_or_not() {
    for id in [KEPT, "0000270f-0000-4000-8000-000000000000"] {
        for sent in [None, Some(("x-correlation-id", "c-1"))] {
            let pseudo = [(":method", "GET"), (":path", "/other"), ("x-request-id", id), ("x-tenant-id", "home-1")];
            let host = MemoryHost::with_request(pseudo.into_iter().chain(sent).collect::<Vec<_>>())
                .with_claim("tenant_id", "home-1");
            let rules = rules(&policy("")).unwrap();
            let incoming = Incoming::open(Arc::clone(&rules), &host);
            TracingTags.on_request(&incoming, &host);
            assert!(incoming.conclude(&host).is_none());
            TracingTags.on_response(&rules, incoming.correlation_if_known(), &host);
            let upstream = host.request_header("x-correlation-id");
            assert_eq!((upstream.len(), &upstream), (1, &host.response_header("x-correlation-id")), "{id} {sent:?}");
            assert!(sent.is_none_or(|(_, sent)| upstream == [sent]), "{upstream:?}");
        }
    }
}

#[test]
fn refusals_are_answers_with_the_correlation_id() {
    let host = request(&[("x-correlation-id", "c-1")]);
    let reply = run(&host).unwrap();
    assert_eq!(reply.status, 403);
    assert!(reply.body.contains(r#""correlationId":"c-1""#), "{}", reply.body);
}

#[test]
fn an_envoy_that_cannot_read_filter_state_into_spans_gets_a_header() {
    let more = r#", "headers": {"userPseudonym": "x-user-pseudonym"}"#;
    let host = request(&[("x-user-pseudonym", "forged")]).with_claim("tenant_id", "t").with_claim("sub", "ann");
    run_with(&host, more);
    assert_eq!(host.request_header("x-user-pseudonym"), [host.property_text("wasm.careplane.user_id").unwrap()]);
    let host = request(&[("x-user-pseudonym", "forged")]).with_claim("tenant_id", "t");
    run_with(&host, more);
    assert!(host.request_header("x-user-pseudonym").is_empty());
}

#[test]
fn traceparent_is_never_touched() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let host = request(&[("traceparent", parent), ("tracestate", "a=b")]).with_claim("tenant_id", "t");
    run(&host);
    assert_eq!(
        (host.request_header("traceparent"), host.request_header("tracestate")),
        (vec![parent.into()], vec!["a=b".into()])
    );
}

#[test]
fn failing_host_calls_refuse_nobody() {
    for call in [Call::SetHeader, Call::RemoveHeader, Call::SetProperty, Call::Random, Call::Now] {
        let host = request(&[("x-tenant-id", "other")]).with_claim("tenant_id", "t");
        host.fail(call);
        assert!(run(&host).is_none(), "{call:?}");
    }
}
