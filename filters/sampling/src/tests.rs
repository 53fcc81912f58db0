#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

mod late;

use std::sync::Arc;

use careplane_exchange::memory::{MemoryHost, rules};
use careplane_exchange::{FORCE_TRACE, Filter, Incoming, Rules};

use super::Sampling;

const POLICY: &str = r#"{
    "version": "careplane/v1",
    "contexts": [
        {"name": "always", "complianceLevel": "critical", "tier": "always", "match": [{"path": "/always"}]},
        {"name": "half", "complianceLevel": "high", "tier": "half", "match": [{"path": "/half"}]},
        {"name": "tenth", "complianceLevel": "standard", "tier": "tenth", "match": [{"path": "/tenth"}]},
        {"name": "hair", "complianceLevel": "standard", "tier": "hair", "match": [{"path": "/hair"}]},
        {"name": "never", "complianceLevel": "low", "tier": "never", "match": [{"path": "/never"}]}
    ],
    "sampling": {"tiers": {"always": 100, "half": 50, "tenth": 10, "hair": 0.01, "never": 0, "default": 10}}
}"#;

thread_local! {
    static RULES: Arc<Rules> = rules(POLICY).unwrap();
}

fn run(path: &str, id: &str) -> MemoryHost {
    let host = MemoryHost::with_request([(":method", "GET"), (":path", path), ("x-request-id", id)]);
    let incoming = Incoming::open(RULES.with(Arc::clone), &host);
    Sampling::default().on_request(&incoming, &host);
    incoming.conclude(&host);
    host
}

fn kept(path: &str, number: u32) -> bool {
    !run(path, &format!("{number:08x}-0000-4000-8000-000000000000")).request_header(FORCE_TRACE).is_empty()
}

#[test]
fn tiers_keep_exactly_their_share_of_all_numbers() {
    for (path, expected) in [("/always", 10_000), ("/half", 5_000), ("/tenth", 1_000), ("/hair", 1), ("/never", 0)] {
        assert_eq!((0..10_000).filter(|number| kept(path, *number)).count(), expected, "{path}");
    }
}

#[test]
fn what_a_tier_keeps_every_higher_tier_keeps_too() {
    for number in 0..10_000 {
        let [hair, tenth, half, always] = ["/hair", "/tenth", "/half", "/always"].map(|path| kept(path, number));
        assert!(hair <= tenth && tenth <= half && half <= always, "{number}");
    }
}

#[test]
fn tier_rate_and_reason_are_on_the_span() {
    let host = run("/half", "00000000-0000-4000-8000-000000000000");
    let tag = |name: &str| host.property_text(&format!("wasm.careplane.sampling_{name}"));
    assert_eq!(
        (tag("tier"), tag("rate"), tag("reason")),
        (Some("half".into()), Some("50".into()), Some("tier".into()))
    );
    assert_eq!(run("/never", "00000000-0000-4000-8000-000000000000").writes(), 0);
}

#[test]
fn a_request_without_a_uuid_is_left_alone() {
    for id in ["", "abc", "00000000"] {
        assert_eq!(run("/always", id).writes(), 0);
    }
}
