#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use careplane_exchange::memory::{MemoryHost, rules};
use careplane_exchange::{Filter, Incoming, LocalReply};

use super::TenantRouting;

fn policy(unknown: &str) -> String {
    format!(
        r#"{{
        "version": "careplane/v1",
        "identity": {{"trustedPeers": "any", "tenant": {{"required": false}}}},
        "tenants": {{"unknown": "{unknown}", "entries": {{
            "home-1": {{"pool": "dedicated-a", "cohort": "canary"}}, "home-2": {{"cohort": "stable"}}
        }}}},
        "routing": {{"pools": ["pool-a", "pool-b"], "dedicated": ["dedicated-a"], "canary": {{"percent": 100}}}}
    }}"#
    )
}

fn run(tenant: Option<&str>, unknown: &str) -> (MemoryHost, Option<LocalReply>) {
    let mut headers = vec![("x-tenant-pool", "chosen-by-caller"), ("x-release-cohort", "chosen-by-caller")];
    headers.extend(tenant.map(|tenant| ("x-tenant-id", tenant)));
    let host = MemoryHost::with_request(headers);
    let incoming = Incoming::open(rules(&policy(unknown)).unwrap(), &host);
    TenantRouting.on_request(&incoming, &host);
    let reply = incoming.conclude(&host);
    (host, reply)
}

#[test]
fn pinned_tenants_go_where_they_are_pinned() {
    let (host, reply) = run(Some("home-1"), "route");
    assert!(reply.is_none());
    assert_eq!(
        (host.request_header("x-tenant-pool"), host.request_header("x-release-cohort")),
        (vec!["dedicated-a".into()], vec!["canary".into()])
    );
    let (host, _) = run(Some("home-2"), "deny");
    assert_eq!(host.request_header("x-release-cohort"), ["stable"]);
}

#[test]
fn other_tenants_are_hashed_or_refused() {
    let (host, _) = run(Some("home-3"), "route");
    assert!(["pool-a", "pool-b"].contains(&host.request_header("x-tenant-pool")[0].as_str()));
    assert_eq!(host.request_header("x-release-cohort"), ["canary"]);
    let (_, reply) = run(Some("home-3"), "deny");
    assert_eq!(reply.unwrap().details, "careplane{tenant-unknown}");
}

#[test]
fn headers_that_the_policy_omits_are_removed_and_the_tenant_is_placed() {
    let policy = policy("route");
    let omit = r#"{"headers": {"omit": ["x-tenant-pool", "x-release-cohort"]},"#;
    let sent = [("x-tenant-id", "home-1"), ("x-tenant-pool", "dedicated-a"), ("x-release-cohort", "canary")];
    let host = MemoryHost::with_request(sent);
    let incoming = Incoming::open(rules(&policy.replacen('{', omit, 1)).unwrap(), &host);
    TenantRouting.on_request(&incoming, &host);
    assert!(incoming.conclude(&host).is_none());
    assert!(host.request_header("x-tenant-pool").is_empty() && host.request_header("x-release-cohort").is_empty());
    assert_eq!(incoming.placement(&host).unwrap().unwrap().pool.as_deref(), Some("dedicated-a"));
}

#[test]
fn a_caller_does_not_choose_its_pool() {
    let (host, reply) = run(None, "route");
    assert!(reply.is_none());
    assert!(host.request_header("x-tenant-pool").is_empty() && host.request_header("x-release-cohort").is_empty());
}

#[test]
fn alone_in_its_plugin_it_sees_to_the_boundary() {
    let host = MemoryHost::with_request([("x-tenant-id", "home-2")]).with_claim("tenant_id", "home-1");
    let incoming = Incoming::open(rules(&policy("route")).unwrap(), &host);
    TenantRouting.on_request(&incoming, &host);
    assert_eq!(incoming.conclude(&host).unwrap().details, "careplane{tenant-conflict}");
}
