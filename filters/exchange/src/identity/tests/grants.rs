//! Grants: acting beyond one's own tenants.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::sync::Arc;
use std::time::Duration;

use super::tenant;
use crate::memory::{Call, MemoryHost, rules};
use crate::{Denial, Identity, Incoming, Rules, TraceReason};

fn policy() -> Arc<Rules> {
    rules(
        r#"{
        "version": "careplane/v1",
        "identity": {
            "tenant": {"sources": [{"claim": "homes"}, {"path": "tenant"}, {"header": "x-tenant-id"}]},
            "purpose": {"sources": [{"claim": "purpose"}, {"header": "x-purpose-of-use"}]},
            "grants": [
                {
                    "name": "inspector", "when": {"claim": "roles", "contains": "inspector"}, "actions": ["read"],
                    "tenants": {"jurisdiction": {"claim": "jurisdiction"}}
                },
                {
                    "name": "manager", "when": {"claim": "roles", "contains": "manager"}, "contexts": ["staff"],
                    "tenants": {"group": {"claim": "groups"}}
                },
                {
                    "name": "emergency", "when": {"claim": ["realm_access", "roles"], "anyOf": ["nurse", "doctor"]},
                    "tenants": "any", "requires": {"purpose": ["BTG", "ETREAT"]}, "flags": ["emergency"],
                    "atMost": {"perUser": 2, "within": "1h"}
                }
            ]
        },
        "contexts": [
            {
                "name": "staff", "complianceLevel": "standard", "tier": "never",
                "match": [{"path": "/homes/{tenant}/staff"}]
            },
            {
                "name": "notes", "complianceLevel": "standard", "tier": "never",
                "match": [{"path": "/homes/{tenant}/notes"}]
            }
        ],
        "tenants": {"entries": {
            "glasgow-1": {"jurisdiction": "scotland", "group": "north"},
            "york-1": {"jurisdiction": "england", "group": "north"},
            "london-1": {"jurisdiction": "england", "group": "south"}
        }}
    }"#,
    )
    .unwrap()
}

fn request(method: &'static str, path: &str) -> MemoryHost {
    MemoryHost::with_request([
        (":method", method),
        (":path", path),
        ("x-request-id", "0000270f-0000-4000-8000-000000000000"),
    ])
}

fn with_purpose(path: &str, purpose: &str) -> MemoryHost {
    MemoryHost::with_request([
        (":method", "POST"),
        (":path", path),
        ("x-purpose-of-use", purpose),
        ("x-request-id", "0000270f-0000-4000-8000-000000000000"),
    ])
}

fn resolve(host: &MemoryHost) -> Identity {
    Incoming::open(policy(), host).identity(host).clone()
}

fn grant(identity: &Identity) -> Option<&str> {
    identity.grant.as_ref().map(|grant| &*grant.name)
}

#[test]
fn a_grant_reaches_what_it_says_and_nothing_else() {
    let inspector =
        |host: MemoryHost| host.with_list_claim("roles", ["staff", "inspector"]).with_claim("jurisdiction", "scotland");
    let identity = resolve(&inspector(request("GET", "/homes/glasgow-1/notes")));
    assert_eq!((tenant(&identity), grant(&identity), identity.denial), (Some("glasgow-1"), Some("inspector"), None));
    assert_eq!((identity.tenant_source, identity.selected_by), (Some("path"), Some("path")));

    // Who writes.
    let identity = resolve(&inspector(request("POST", "/homes/glasgow-1/notes")));
    assert_eq!(
        (tenant(&identity), grant(&identity), identity.denial),
        (None, Some("inspector"), Some(Denial::GrantAction))
    );
    assert_eq!(identity.other_tenant.as_ref().map(|tenant| tenant.as_str()), Some("glasgow-1"));
    assert!(!identity.is_granted());

    // Another country's home, and one that the policy does not know.
    for home in ["york-1", "unknown-1"] {
        let identity = resolve(&inspector(request("GET", &format!("/homes/{home}/notes"))));
        assert_eq!((grant(&identity), identity.denial), (None, Some(Denial::TenantMissing)), "{home}");
    }
}

#[test]
fn a_grant_is_asked_only_beyond_the_callers_own_tenants() {
    let roles = |host: MemoryHost| host.with_list_claim("roles", ["manager"]).with_list_claim("groups", ["north", "x"]);
    let own = roles(request("GET", "/homes/york-1/staff")).with_list_claim("homes", ["york-1", "london-1"]);
    let identity = resolve(&own);
    assert_eq!((tenant(&identity), grant(&identity)), (Some("york-1"), None));
    assert!(!own.asked().iter().any(|path| path.contains("roles") || path.contains("groups")), "{:?}", own.asked());

    let beyond = roles(request("POST", "/homes/glasgow-1/staff")).with_list_claim("homes", ["york-1", "london-1"]);
    let identity = resolve(&beyond);
    assert_eq!(
        (tenant(&identity), grant(&identity), identity.membership),
        (Some("glasgow-1"), Some("manager"), Some(2))
    );
    // The claim of the inspector's jurisdiction does not matter to one who is none.
    assert!(!beyond.asked().iter().any(|path| path.contains("jurisdiction")));
    let roles_read = beyond.asked().iter().filter(|path| path.ends_with("payload.roles")).count();
    assert_eq!(roles_read, 1, "{:?}", beyond.asked());

    // Outside of its contexts.
    let identity = resolve(&roles(request("GET", "/homes/glasgow-1/notes")));
    assert_eq!((grant(&identity), identity.denial), (Some("manager"), Some(Denial::GrantAction)));
    // A claim that is one text has its one home, and the group's others by grant.
    let single = roles(request("GET", "/homes/glasgow-1/staff")).with_claim("homes", "london-1");
    assert_eq!(tenant(&resolve(&single)), Some("glasgow-1"));
    let elsewhere = roles(request("GET", "/homes/london-1/staff")).with_claim("homes", "york-1");
    assert_eq!(resolve(&elsewhere).denial, Some(Denial::TenantConflict));
}

#[test]
fn an_emergency_needs_its_purpose_and_is_kept_and_flagged() {
    let nurse = |host: MemoryHost| host.with_list_claim("realm_access.roles", ["nurse"]).with_claim("sub", "ann");
    for (purpose, denial) in
        [("BTG", None), ("ETREAT", None), ("TREAT", Some(Denial::GrantPurpose)), ("btg", Some(Denial::GrantPurpose))]
    {
        let host = nurse(with_purpose("/homes/london-1/notes", purpose));
        let incoming = Incoming::open(policy(), &host);
        let identity = incoming.identity(&host);
        assert_eq!((grant(identity), identity.denial), (Some("emergency"), denial), "{purpose}");
        assert_eq!(identity.is_emergency(), denial.is_none(), "{purpose}");
        assert_eq!(identity.invalid_purpose, purpose == "btg");
        let flags: Vec<&str> = identity.grant_flags().iter().map(|flag| &**flag).collect();
        assert_eq!(flags, if denial.is_none() { &["emergency"][..] } else { &[] });
        let decision = incoming.trace_decision();
        let expected = if denial.is_none() { (true, TraceReason::Emergency) } else { (false, TraceReason::Tier) };
        assert_eq!((decision.kept, decision.reason), expected, "{purpose}");
    }
    // The answer says what to send.
    let host = nurse(request("GET", "/homes/london-1/notes"));
    let incoming = Incoming::open(policy(), &host);
    incoming.deny(incoming.violation(&host).unwrap());
    let body = incoming.conclude(&host).unwrap().body;
    assert!(body.contains(r#""acceptedPurposes":["BTG","ETREAT"]"#) && body.contains("x-purpose-of-use"), "{body}");
}

#[test]
fn the_first_grant_that_allows_an_act_is_used_and_the_first_that_does_not_says_why() {
    let both = |host: MemoryHost| {
        host.with_list_claim("roles", ["inspector"])
            .with_claim("jurisdiction", "scotland")
            .with_claim("realm_access.roles", "doctor")
    };
    let identity = resolve(&both(request("GET", "/homes/glasgow-1/notes")));
    assert_eq!(grant(&identity), Some("inspector"));
    let identity = resolve(&both(with_purpose("/homes/glasgow-1/notes", "BTG")));
    assert_eq!((grant(&identity), identity.denial), (Some("emergency"), None));
    let identity = resolve(&both(with_purpose("/homes/glasgow-1/notes", "TREAT")));
    assert_eq!((grant(&identity), identity.denial), (Some("inspector"), Some(Denial::GrantAction)));
}

#[test]
fn a_user_acts_under_a_grant_as_often_as_it_allows() {
    let rules = policy();
    let mut wait = Duration::ZERO;
    let mut act = |user: &str, after: u64| {
        wait += Duration::from_secs(after);
        let host = with_purpose("/homes/london-1/notes", "BTG")
            .with_claim("realm_access.roles", "nurse")
            .with_claim("sub", user);
        host.wait(wait);
        Incoming::open(Arc::clone(&rules), &host).identity(&host).denial
    };
    assert_eq!([act("ann", 0), act("ann", 1800), act("ann", 0)], [None, None, Some(Denial::GrantLimit)]);
    // Others have their own.
    assert_eq!(act("ben", 0), None);
    // The first of ann's is an hour old, then the second.
    assert_eq!(
        [act("ann", 1800), act("ann", 0), act("ann", 1799)],
        [None, Some(Denial::GrantLimit), Some(Denial::GrantLimit)]
    );
    assert_eq!(act("ann", 1), None);

    // A proxy without a clock keeps no one out.
    for _ in 0..5 {
        let host = with_purpose("/homes/london-1/notes", "BTG")
            .with_claim("realm_access.roles", "nurse")
            .with_claim("sub", "ann");
        host.fail(Call::Elapsed);
        assert_eq!(Incoming::open(Arc::clone(&rules), &host).identity(&host).denial, None);
    }
}

#[test]
fn what_is_answered_before_is_no_use_of_a_grant() {
    let rules = policy();
    let host = || with_purpose("/homes/london-1/notes", "BTG").with_claim("realm_access.roles", "nurse");
    for _ in 0..5 {
        let handled = Incoming::never_seen(Arc::clone(&rules), &host());
        assert_eq!(grant(&handled.identity), Some("emergency"));
    }
    let incoming = Incoming::open(rules, &host());
    assert_eq!(incoming.identity(&host()).denial, None);
}

#[test]
fn a_policy_without_what_is_asked_for_reads_no_claim_more() {
    let plain = rules(r#"{"version": "careplane/v1"}"#).unwrap();
    let host = request("GET", "/homes/london-1/notes").with_claim("tenant_id", "london-1").with_claim("sub", "ann");
    Incoming::open(plain, &host).identity(&host);
    assert_eq!(host.asked().len(), 3, "{:?}", host.asked());
}
