//! Requests in shadow: nothing of them changes, and their records say what would have.

use std::rc::Rc;
use std::sync::Arc;

use careplane_exchange::memory::{MemoryHost, rules};
use careplane_exchange::{HeaderMap, Host, MapType};
use careplane_export::{ExportQueue, ExportTarget, Exporter, Resource};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{Action, Filters, Parts, Plugin, Stream};

const TRUSTED: &str = "spiffe://cluster.local/ns/a/sa/gateway";
/// Only a tier of 100 % keeps it; Envoy has not.
const REQUEST_ID: &str = "0000270f-0000-4000-8000-000000000000";

fn policy() -> Value {
    json!({
        "version": "careplane/v1",
        "enforcement": "shadow",
        "identity": {"trustedPeers": [TRUSTED]},
        "contexts": [
            {"name": "enforced", "complianceLevel": "high", "enforcement": "enforce", "match": [{"path": "/enforced"}]},
            {"name": "critical", "complianceLevel": "critical", "match": [{"path": "/critical"}]},
            {
                "name": "health", "complianceLevel": "low", "audit": "none", "tenant": "optional",
                "match": [{"path": "/health"}],
            },
        ],
        "tenants": {"unknown": "deny", "entries": {"home-1": {"pool": "b", "cohort": "canary"}}},
        "routing": {"pools": ["a", "b"], "canary": {"percent": 5}},
        "audit": {"writeAhead": ["critical"]},
        "export": {"cluster": "collector"},
    })
}

fn plugin(name: &str, policy: &Value) -> Plugin {
    let rules = rules(&policy.to_string()).unwrap();
    let exporter = rules.policy.export.clone().map(|export| {
        let queue = Rc::new(ExportQueue::default());
        queue.attach();
        Exporter::new(
            queue,
            Rc::new(ExportTarget { export, resource: Resource::default(), overflow_in_proxy_log: true }),
        )
    });
    Plugin { filters: Filters::named(name, &rules, Parts { exporter, ..Parts::default() }), rules: Arc::clone(&rules) }
}

fn host(path: &str, headers: &[(&str, &str)]) -> MemoryHost {
    let usual = [(":method", "GET"), (":path", path), ("x-request-id", REQUEST_ID)];
    MemoryHost::with_request(usual.iter().chain(headers).copied())
}

fn map(host: &MemoryHost, map: MapType) -> Vec<(Vec<u8>, Vec<u8>)> {
    let headers = host.header_map(map).and_then(HeaderMap::new).unwrap();
    headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// Runs a request to its end, as an upstream answers it.
fn run(plugin: &Plugin, host: MemoryHost) -> (Action, MemoryHost) {
    let mut stream = Stream::new(plugin.clone());
    let action = stream.on_request_headers(&host);
    stream.on_request_trailers(&host);
    let host = host
        .with_property("response.code", 200_i64.to_le_bytes())
        .with_property("response.code_details", "via_upstream")
        .with_property("upstream.local_address", "127.0.0.1:1");
    stream.on_response_headers(&host);
    stream.on_log(&host);
    (action, host)
}

fn record(host: &MemoryHost) -> Value {
    serde_json::from_str(&host.property_text("wasm.careplane.shadow").unwrap()).unwrap()
}

fn shadow(host: &MemoryHost) -> Value {
    record(host)["decision"]["shadow"].clone()
}

/// Requests that enforcement would change or refuse, and why it would refuse them.
fn requests() -> Vec<(MemoryHost, Option<&'static str>)> {
    let home = ("x-tenant-id", "home-1");
    vec![
        (host("/x", &[home]).with_peer(TRUSTED), None),
        (host("/x", &[home, ("x-correlation-id", "c-1")]).with_peer(TRUSTED), None),
        (
            host("/x", &[home, ("x_tenant_id", "home-2"), ("x-original-url", "/y")]).with_claim("tenant_id", "home-1"),
            None,
        ),
        (host("/x", &[home]), Some("tenant-missing")),
        (host("/x", &[home, home]).with_peer(TRUSTED), Some("identity-repeated")),
        (host("/x", &[home]).with_peer(TRUSTED).with_claim("tenant_id", "home-2"), Some("tenant-conflict")),
        (host("/x", &[("x-tenant-id", "home-9")]).with_peer(TRUSTED), Some("tenant-unknown")),
        (host("/critical", &[home]).with_peer(TRUSTED), None),
        (host("/health", &[("x-tenant-pool", "a")]), None),
        (host("/health", &[home, home]), Some("identity-repeated")),
    ]
}

#[test]
fn no_filter_changes_or_refuses_a_request_in_shadow() {
    for name in Filters::NAMES {
        let plugin = plugin(name, &policy());
        for (host, _) in requests() {
            let host = host.with_trailers([("x-tenant-id", "home-2"), ("X_User_Id", "b")]);
            let before = [MapType::RequestHeaders, MapType::RequestTrailers].map(|it| map(&host, it));
            let (action, host) = run(&plugin, host);
            assert_eq!(action, Action::Continue, "{name}: {before:?}");
            assert_eq!([MapType::RequestHeaders, MapType::RequestTrailers].map(|it| map(&host, it)), before, "{name}");
            assert_eq!((map(&host, MapType::ResponseHeaders), host.replies()), (vec![], vec![]), "{name}");
            assert_eq!((host.resets(), host.resumed()), (0, 0), "{name}");
        }
    }
}

#[test]
fn the_record_says_what_enforcement_would_have_done() {
    let bundle = plugin("careplane", &policy());
    for (host, reason) in requests() {
        let before = format!("{:?}", map(&host, MapType::RequestHeaders));
        let (_, host) = run(&bundle, host);
        if let Some(reason) = reason {
            let record = record(&host);
            let expected = json!({"result": "allowed", "shadow": {"reason": reason, "result": "denied"}});
            assert_eq!(record["decision"], expected, "{before}");
            assert_eq!(host.metric(&format!("careplane.shadow.denials.{reason}")), 1, "{before}");
            assert_eq!(host.metric(&format!("careplane.denials.{reason}")), 0, "{before}");
        } else if host.property_text("wasm.careplane.shadow").is_some() {
            assert_eq!(shadow(&host)["result"], "allowed", "{before}");
        }
    }
}

#[test]
fn the_record_names_the_headers_and_the_pool() {
    let bundle = plugin("careplane", &policy());
    let headers = [("x-tenant-id", "home-2"), ("x_user_id", "b"), ("x-user-id", "c"), ("x-original-url", "/y")];
    let (_, host) = run(&bundle, host("/x", &headers).with_claim("tenant_id", "home-1"));
    let written = [
        "x-compliance-level",
        "x-correlation-id",
        "x-healthcare-context",
        "x-release-cohort",
        "x-tenant-id",
        "x-tenant-pool",
    ];
    let removed = ["x-original-url", "x-user-id"];
    let expected = json!({
        "cohort": "canary", "headersRemoved": removed, "headersWritten": written, "pool": "b", "result": "allowed",
    });
    assert_eq!(shadow(&host), expected);
    assert_eq!(record(&host)["tenant"]["pool"], Value::Null, "it was not sent there");
    assert_eq!(record(&host)["request"]["correlationId"], Value::Null, "nobody was told of one");
    let counted = ["identity_headers_removed", "override_headers_removed"]
        .map(|name| (host.metric(&format!("careplane.{name}")), host.metric(&format!("careplane.shadow.{name}"))));
    assert_eq!(counted, [(0, 2), (0, 1)]);
}

#[test]
fn the_record_names_no_header_that_the_policy_omits_as_written() {
    let mut policy = policy();
    policy["headers"] = json!({"omit": ["x-healthcare-context", "x-tenant-pool"]});
    let headers = [("x-tenant-pool", "a")];
    let (_, host) = run(&plugin("careplane", &policy), host("/x", &headers).with_claim("tenant_id", "home-1"));
    let written = ["x-compliance-level", "x-correlation-id", "x-release-cohort", "x-tenant-id"];
    let expected = json!({
        "cohort": "canary", "headersRemoved": ["x-tenant-pool"], "headersWritten": written, "pool": "b",
        "result": "allowed",
    });
    assert_eq!(shadow(&host), expected);
}

#[test]
fn the_header_that_asks_for_a_trace_is_not_written() {
    let mut policy = policy();
    policy["defaultContext"] = json!({"tier": "always"});
    let (_, host) = run(&plugin("careplane", &policy), host("/x", &[("x-tenant-id", "home-1")]).with_peer(TRUSTED));
    assert!(shadow(&host)["headersWritten"].as_array().unwrap().contains(&json!("x-envoy-force-trace")));
    // Tags are in filter state, in case that Envoy keeps the trace by itself. Its rate is unknown here.
    let tag = |name: &str| host.property_text(&format!("wasm.careplane.{name}"));
    assert_eq!(tag("tenant_id").as_deref(), Some("home-1"));
    assert_eq!((tag("sampling_reason").as_deref(), tag("sampling_rate")), (Some("inherited"), None));
}

#[test]
fn a_plugin_alone_records_as_the_bundle_does() {
    let [bundle, alone] = ["careplane", "audit"].map(|name| plugin(name, &policy()));
    for (one, other) in requests().into_iter().zip(requests()) {
        let before = format!("{:?}", map(&one.0, MapType::RequestHeaders));
        let [one, other] = [run(&bundle, one.0), run(&alone, other.0)].map(|(_, host)| host);
        let texts = [&one, &other].map(|host| host.property_text("wasm.careplane.shadow").is_some());
        assert_eq!(texts[0], texts[1], "{before}");
        if texts[0] {
            assert_eq!(shadow(&one), shadow(&other), "{before}");
        }
    }
}

#[test]
fn a_context_says_otherwise_than_the_policy() {
    let bundle = plugin("careplane", &policy());
    let (action, host) = run(&bundle, host("/enforced", &[]));
    assert_eq!((action, host.replies().len()), (Action::Pause, 1));
    assert_eq!(record(&host)["decision"], json!({"by": "careplane", "reason": "tenant-missing", "result": "denied"}));

    let mut policy = policy();
    policy["enforcement"] = "enforce".into();
    policy["contexts"][1]["enforcement"] = "shadow".into();
    let bundle = plugin("careplane", &policy);
    let (action, host) = run(&bundle, self::host("/critical", &[]));
    assert_eq!((action, host.replies().len()), (Action::Continue, 0));
    // The policy is enforced, so its records are where those of its other contexts are.
    let text = host.property_text("wasm.careplane.audit").unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(record["decision"]["shadow"], json!({"reason": "tenant-missing", "result": "denied"}));
    let (action, _) = run(&bundle, self::host("/other", &[]));
    assert_eq!(action, Action::Pause);
}

/// Such as that time is up.
#[test]
fn what_the_proxy_answers_to_a_held_request_has_its_correlation_id() {
    let mut policy = policy();
    policy["enforcement"] = "enforce".into();
    let held = host("/critical", &[("x-tenant-id", "home-1"), ("x-correlation-id", "c-1")]).with_peer(TRUSTED);
    let mut stream = Stream::new(plugin("careplane", &policy));
    assert_eq!(stream.on_request_headers(&held), Action::Pause);
    assert!(stream.awaited_call().is_some());
    stream.on_response_headers(&held);
    assert_eq!(held.response_header("x-correlation-id"), ["c-1"]);
}

#[test]
fn what_another_plugin_tells_the_span_stands() {
    let mut policy = policy();
    policy["defaultContext"] = json!({"tier": "always"});
    let host = host("/x", &[("x-tenant-id", "home-1")]).with_peer(TRUSTED);
    host.set_property("careplane.healthcare_context", b"of the older policy").unwrap();
    let (_, host) = run(&plugin("careplane", &policy), host);
    let tag = |name: &str| host.property_text(&format!("wasm.careplane.{name}"));
    assert_eq!(tag("healthcare_context").as_deref(), Some("of the older policy"));
    assert_eq!(tag("tenant_id").as_deref(), Some("home-1"));
}

#[test]
fn a_refusal_of_another_plugin_is_in_the_record() {
    let bundle = plugin("careplane", &policy());
    let refused = |host: MemoryHost| {
        host.with_property("response.code", 403_i64.to_le_bytes())
            .with_property("response.code_details", "careplane{tenant-conflict}")
    };
    let host = host("/x", &[("x-tenant-id", "home-1")]).with_peer(TRUSTED);
    // It came first, and the other one refused afterwards.
    let mut stream = Stream::new(bundle.clone());
    stream.on_request_headers(&host);
    let host = refused(host);
    stream.on_log(&host);
    let decision = record(&host)["decision"].clone();
    assert_eq!([&decision["by"], &decision["reason"], &decision["result"]], ["careplane", "tenant-conflict", "denied"]);
    assert_eq!(decision["shadow"]["result"], "allowed");

    // It was never asked.
    let host = refused(self::host("/x", &[("x-tenant-id", "home-1"), ("x-tenant-id", "home-2")]));
    Stream::new(bundle).on_log(&host);
    assert_eq!(shadow(&host), json!({"result": "none"}));
}
