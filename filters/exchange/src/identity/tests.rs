#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

mod grants;
mod membership;

use std::sync::Arc;

use crate::memory::{MemoryHost, rules};
use crate::{Denial, Identity, Incoming, Rules};

const TRUSTED: &str = "spiffe://cluster.local/ns/core-healthcare/sa/api-gateway";

fn policy() -> Arc<Rules> {
    rules(
        r#"{
        "version": "careplane/v1",
        "identity": {
            "trustedPeers": ["spiffe://cluster.local/ns/core-healthcare/sa/api-gateway"],
            "tenant": {"sources": [{"claim": "tenant_id"}, {"path": "tenant"}, {"header": "x-tenant-id"}]},
            "user": {"sources": [{"claim": ["realm", "sub"]}, {"header": "x-user-id"}]}
        },
        "contexts": [
            {"name": "by-path", "complianceLevel": "standard", "match": [{"path": "/homes/{tenant}/{*rest}"}]},
            {"name": "open", "complianceLevel": "low", "tenant": "optional", "match": [{"path": "/open"}]}
        ]
    }"#,
    )
    .unwrap()
}

fn request<'h>(path: &'h str, headers: &[(&'h str, &'h str)]) -> MemoryHost {
    let pseudo = [(":method", "GET"), (":path", path)];
    MemoryHost::with_request(pseudo.iter().chain(headers).copied().collect::<Vec<_>>())
}

fn resolve(host: &MemoryHost) -> Identity {
    Incoming::open(policy(), host).identity(host).clone()
}

fn tenant(identity: &Identity) -> Option<&str> {
    identity.tenant.as_ref().map(|tenant| tenant.as_str())
}

#[test]
fn the_most_authoritative_source_is_believed_and_named() {
    let claims = request("/x", &[]).with_claim("tenant_id", "home-1").with_claim("realm.sub", "ann");
    let identity = resolve(&claims);
    assert_eq!((tenant(&identity), identity.tenant_source), (Some("home-1"), Some("claim")));
    assert_eq!(identity.user.unwrap().as_str(), "ann");
    assert_eq!(identity.denial, None);

    let identity = resolve(&request("/homes/Home-2/files/1", &[]).with_peer(TRUSTED));
    assert_eq!((tenant(&identity), identity.tenant_source), (Some("Home-2"), Some("path")));
}

#[test]
fn a_path_confirms_a_claim_and_replaces_it_for_trusted_peers_alone() {
    let host = || request("/homes/home-1/x", &[]);
    let identity = resolve(&host().with_claim("tenant_id", "home-1"));
    assert_eq!((tenant(&identity), identity.tenant_source, identity.denial), (Some("home-1"), Some("claim"), None));

    // An outsider without a token asks for a home. That does not make it one of the home.
    let identity = resolve(&host());
    assert_eq!((tenant(&identity), identity.denial), (None, Some(Denial::TenantMissing)));
    assert_eq!(identity.other_tenant.unwrap().as_str(), "home-1");

    // A policy without claims leaves it to the application who asks.
    let document = r#"{
        "version": "careplane/v1",
        "identity": {"tenant": {"sources": [{"path": "tenant"}]}},
        "contexts": [{"name": "by-path", "complianceLevel": "low", "match": [{"path": "/homes/{tenant}/{*rest}"}]}]
    }"#;
    let identity = Incoming::open(rules(document).unwrap(), &host()).identity(&host()).clone();
    assert_eq!((tenant(&identity), identity.denial), (Some("home-1"), None));
}

#[test]
fn the_order_of_the_sources_does_not_make_a_contradiction() {
    let document = r#"{
        "version": "careplane/v1",
        "identity": {"tenant": {"sources": [{"path": "tenant"}, {"claim": "tenant_id"}]}},
        "contexts": [{"name": "by-path", "complianceLevel": "low", "match": [{"path": "/homes/{tenant}/{*rest}"}]}]
    }"#;
    let denial = |claim: &str| {
        let host = request("/homes/home-1/x", &[]).with_claim("tenant_id", claim);
        Incoming::open(rules(document).unwrap(), &host).identity(&host).denial
    };
    assert_eq!(denial("home-1"), None);
    assert_eq!(denial("home-2"), Some(Denial::TenantConflict));
}

#[test]
fn a_cors_preflight_needs_no_tenant() {
    let preflight = [("origin", "https://app.care.example"), ("access-control-request-method", "POST")];
    let with = |method: &'static str, headers: &[(&'static str, &'static str)]| {
        let pseudo = [(":method", method), (":path", "/x")];
        resolve(&MemoryHost::with_request(pseudo.iter().chain(headers).copied().collect::<Vec<_>>())).denial
    };
    assert_eq!(with("OPTIONS", &preflight), None);
    for (method, headers) in [("OPTIONS", &preflight[..1]), ("OPTIONS", &[]), ("GET", &preflight[..])] {
        assert_eq!(with(method, headers), Some(Denial::TenantMissing), "{method} {headers:?}");
    }
}

#[test]
fn headers_are_believed_from_trusted_peers_alone() {
    let headers = [("x-tenant-id", "home-1"), ("x-user-id", "ann")];
    let identity = resolve(&request("/x", &headers).with_peer(TRUSTED));
    assert_eq!((tenant(&identity), identity.tenant_source, identity.trusted), (Some("home-1"), Some("header"), true));
    assert!(identity.forged.is_empty());

    for host in [
        request("/x", &headers),
        request("/x", &headers).with_peer("spiffe://cluster.local/ns/other/sa/x"),
        request("/x", &headers).with_peer(""),
        request("/x", &headers).with_property("connection.uri_san_peer_certificate", b"\xff"),
    ] {
        let identity = resolve(&host);
        assert_eq!((tenant(&identity), identity.denial), (None, Some(Denial::TenantMissing)));
        assert_eq!(identity.forged.iter().map(|name| &**name).collect::<Vec<_>>(), ["x-tenant-id", "x-user-id"]);
    }
}

#[test]
fn a_header_that_says_what_is_true_is_not_forged() {
    let host = request("/x", &[("x-tenant-id", "home-1")]).with_claim("tenant_id", "home-1");
    assert!(resolve(&host).forged.is_empty());
}

#[test]
fn every_contradiction_has_its_denial() {
    let trusted = |headers: &[(&'static str, &'static str)]| request("/x", headers).with_peer(TRUSTED);
    let table = [
        (trusted(&[("x-tenant-id", "a"), ("x-tenant-id", "b")]), Denial::IdentityRepeated),
        (trusted(&[("x-tenant-id", "a"), ("x-tenant-id", "a")]), Denial::IdentityRepeated),
        (trusted(&[("x-tenant-id", "a"), ("x-user-id", "u"), ("x-user-id", "v")]), Denial::IdentityRepeated),
        // An outsider's too: what stands behind this proxy must not have to choose.
        (
            request("/x", &[("x-tenant-id", "a"), ("x-tenant-id", "b")]).with_claim("tenant_id", "a"),
            Denial::IdentityRepeated,
        ),
        (trusted(&[("x-tenant-id", "a b")]), Denial::TenantMalformed),
        (trusted(&[("x-tenant-id", "9434765919")]), Denial::TenantMalformed),
        (request("/homes/a%20b/x", &[]), Denial::TenantMalformed),
        (request("/x", &[]).with_claim("tenant_id", b"\0\xff"), Denial::TenantMalformed),
        (trusted(&[("x-tenant-id", "a"), ("x-user-id", "a\tb")]), Denial::UserMalformed),
        (trusted(&[("x-tenant-id", "b")]).with_claim("tenant_id", "a"), Denial::TenantConflict),
        (request("/homes/b/x", &[]).with_claim("tenant_id", "a"), Denial::TenantConflict),
        (
            trusted(&[("x-user-id", "v")]).with_claim("tenant_id", "a").with_claim("realm.sub", "u"),
            Denial::UserConflict,
        ),
        (request("/x", &[]), Denial::TenantMissing),
        (trusted(&[("x-tenant-id", "")]), Denial::TenantMissing),
    ];
    for (index, (host, denial)) in table.into_iter().enumerate() {
        assert_eq!(resolve(&host).denial, Some(denial), "row {index}");
    }
}

#[test]
fn the_tenant_that_was_reached_for_is_known() {
    let identity = resolve(&request("/homes/b/x", &[]).with_claim("tenant_id", "a"));
    assert_eq!(tenant(&identity), Some("a"));
    assert_eq!(identity.other_tenant.unwrap().as_str(), "b");
}

#[test]
fn a_context_can_do_without_a_tenant() {
    let identity = resolve(&request("/open", &[]));
    assert_eq!((tenant(&identity), identity.denial), (None, None));
}

#[test]
fn claims_that_are_numbers_are_their_digits() {
    for (number, expected) in
        [(42.0_f64, Some("42")), (0.0, Some("0")), (9_007_199_254_740_991.0, Some("9007199254740991"))]
    {
        let identity = resolve(&request("/x", &[]).with_claim("tenant_id", number.to_le_bytes()));
        assert_eq!(tenant(&identity), expected, "{number}");
    }
    for number in [1.5_f64, -1.0, f64::NAN, f64::INFINITY] {
        let identity = resolve(&request("/x", &[]).with_claim("tenant_id", number.to_le_bytes()));
        assert_eq!(identity.denial, Some(Denial::TenantMalformed), "{number}");
    }
    let identity = resolve(&request("/x", &[]).with_claim("tenant_id", "eight-ch"));
    assert_eq!(tenant(&identity), Some("eight-ch"));
}

#[test]
fn a_host_that_cannot_tell_who_the_peer_is_makes_nobody_trusted() {
    let host = request("/x", &[("x-tenant-id", "a")]).with_peer(TRUSTED);
    host.fail(crate::memory::Call::Property);
    let identity = resolve(&host);
    assert_eq!((identity.trusted, identity.denial), (false, Some(Denial::TenantMissing)));
}
