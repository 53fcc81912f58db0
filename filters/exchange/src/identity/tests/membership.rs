//! Claims that are lists: the tenants that a person may act for.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{TRUSTED, request, resolve, tenant};
use crate::memory::{MemoryHost, rules};
use crate::{Denial, Identity, Incoming};

const HOMES: [&str; 4] = ["home-1", "home-2", "home-3", "home-4"];

/// What matters of an identity here: tenant, source, how many are listed, what selected, the other tenant, and the
/// denial.
type Seen<'i> = (Option<&'i str>, Option<&'i str>, Option<usize>, Option<&'i str>, Option<&'i str>, Option<Denial>);

fn seen(identity: &Identity) -> Seen<'_> {
    let other = identity.other_tenant.as_ref().map(|tenant| tenant.as_str());
    let Identity { tenant_source, membership, selected_by, denial, .. } = identity;
    (tenant(identity), *tenant_source, *membership, *selected_by, other, *denial)
}

fn listed(path: &str, headers: &[(&str, &str)], homes: &[&str]) -> MemoryHost {
    request(path, headers).with_list_claim("tenant_id", homes)
}

#[test]
fn a_request_selects_among_the_tenants_of_the_caller() {
    let header = [("x-tenant-id", "home-3")];
    let rows = [
        (listed("/homes/home-2/x", &[], &HOMES), (Some("home-2"), Some("claim"), Some(4), Some("path"), None, None)),
        // Also the header of a caller who is not trusted, for what it selects is their own.
        (listed("/x", &header, &HOMES), (Some("home-3"), Some("claim"), Some(4), Some("header"), None, None)),
        (
            listed("/x", &header, &HOMES).with_peer(TRUSTED),
            (Some("home-3"), Some("claim"), Some(4), Some("header"), None, None),
        ),
        (
            listed("/homes/home-3/x", &header, &HOMES),
            (Some("home-3"), Some("claim"), Some(4), Some("path"), None, None),
        ),
        // Nothing selected of several.
        (listed("/x", &[], &HOMES), (None, None, Some(4), None, None, Some(Denial::TenantUnselected))),
        (listed("/open", &[], &HOMES), (None, None, Some(4), None, None, None)),
        // What is selected is not the caller's.
        (
            listed("/homes/home-9/x", &[], &HOMES),
            (None, None, Some(4), None, Some("home-9"), Some(Denial::TenantConflict)),
        ),
        (
            listed("/x", &[("x-tenant-id", "HOME-1")], &HOMES),
            (None, None, Some(4), None, Some("HOME-1"), Some(Denial::TenantConflict)),
        ),
        // Two are selected.
        (
            listed("/homes/home-2/x", &header, &HOMES),
            (None, None, Some(4), None, Some("home-2"), Some(Denial::TenantConflict)),
        ),
        // What is selected cannot be a tenant.
        (
            listed("/x", &[("x-tenant-id", "home 3")], &HOMES),
            (None, None, Some(4), None, None, Some(Denial::TenantMalformed)),
        ),
    ];
    for (index, (host, expected)) in rows.into_iter().enumerate() {
        assert_eq!(seen(&resolve(&host)), expected, "row {index}");
    }
}

#[test]
fn a_list_of_one_selects_itself() {
    for homes in [&["home-1"][..], &["home-1", "home-1"]] {
        let count = Some(homes.len());
        let own = (Some("home-1"), Some("claim"), count, None, None, None);
        assert_eq!(seen(&resolve(&listed("/x", &[], homes))), own);
        assert_eq!(seen(&resolve(&listed("/homes/home-1/x", &[], homes))), own);
        let conflict = (Some("home-1"), Some("claim"), count, None, Some("home-2"), Some(Denial::TenantConflict));
        assert_eq!(seen(&resolve(&listed("/homes/home-2/x", &[], homes))), conflict);
        // Acting for another home than the caller means would be worse than an answer that says so.
        assert_eq!(seen(&resolve(&listed("/x", &[("x-tenant-id", "home-2")], homes))), conflict);
    }
    let missing = (None, None, Some(0), None, None, Some(Denial::TenantMissing));
    assert_eq!(seen(&resolve(&listed("/x", &[], &[]))), missing);
    let reached = (None, None, Some(0), None, Some("home-1"), Some(Denial::TenantConflict));
    assert_eq!(seen(&resolve(&listed("/homes/home-1/x", &[], &[]))), reached);
}

#[test]
fn items_that_are_no_tenants_are_never_selected() {
    let number = 42_f64.to_le_bytes();
    let items: [&[u8]; 5] = [b"home-1", b"", &number, b"a b", b"\x01"];
    let with = |path: &str| request(path, &[]).with_list_claim("tenant_id", items);
    assert_eq!(tenant(&resolve(&with("/homes/home-1/x"))), Some("home-1"));
    assert_eq!(tenant(&resolve(&with("/homes/42/x"))), Some("42"));
    assert_eq!(resolve(&with("/homes/43/x")).denial, Some(Denial::TenantConflict));
    assert_eq!(resolve(&with("/homes/a%20b/x")).denial, Some(Denial::TenantMalformed));
    // The only one has to be a tenant.
    for only in [&b"a b"[..], b"", &crate::memory::list(["home-1"])] {
        let identity = resolve(&request("/x", &[]).with_list_claim("tenant_id", [only]));
        assert_eq!(identity.denial, Some(Denial::TenantMalformed), "{only:?}");
    }
    // More than any person works in.
    let many: Vec<String> = (0..10_000).map(|number| format!("home-{number}")).collect();
    let identity = resolve(&request("/homes/home-1/x", &[]).with_list_claim("tenant_id", &many));
    assert_eq!((identity.denial, identity.membership), (Some(Denial::TenantMalformed), None));
    let identity = resolve(&request("/homes/home-999/x", &[]).with_list_claim("tenant_id", &many[..1000]));
    assert_eq!((tenant(&identity), identity.membership), (Some("home-999"), Some(1000)));
}

#[test]
fn a_list_is_read_by_one_call() {
    let host = listed("/homes/home-2/x", &[], &HOMES);
    resolve(&host);
    let claims: Vec<_> = host.asked().into_iter().filter(|path| path.contains("tenant_id")).collect();
    assert_eq!(claims.len(), 1, "{claims:?}");
}

fn under(document: &str, host: &MemoryHost) -> Identity {
    Incoming::open(rules(document).unwrap(), host).identity(host).clone()
}

#[test]
fn a_claim_and_a_list_have_to_agree() {
    let document = r#"{
        "version": "careplane/v1",
        "identity": {"tenant": {"sources": [{"claim": "home"}, {"claim": "homes"}, {"path": "tenant"}]}},
        "contexts": [{"name": "by-path", "complianceLevel": "low", "match": [{"path": "/homes/{tenant}/{*rest}"}]}]
    }"#;
    let with = |path: &str, home: &str| {
        request(path, &[]).with_claim("home", home).with_list_claim("homes", ["home-1", "home-2"])
    };
    let own = (Some("home-1"), Some("claim"), Some(2), None, None, None);
    assert_eq!(seen(&under(document, &with("/x", "home-1"))), own);
    assert_eq!(seen(&under(document, &with("/homes/home-1/x", "home-1"))), own);
    let conflict = Some(Denial::TenantConflict);
    assert_eq!(under(document, &with("/x", "home-3")).denial, conflict);
    assert_eq!(under(document, &with("/homes/home-2/x", "home-1")).denial, conflict);
    assert_eq!(under(document, &with("/homes/home-3/x", "home-3")).denial, conflict);
}

#[test]
fn a_claim_counts_when_the_right_issuer_made_the_token() {
    let document = r#"{
        "version": "careplane/v1",
        "identity": {"tenant": {"sources": [
            {"claim": "tenant_id", "issuer": "https://staff.example"},
            {"claim": "home", "issuer": "https://agency.example"}
        ]}}
    }"#;
    let with = |issuer: &str| {
        request("/x", &[]).with_claim("iss", issuer).with_claim("tenant_id", "home-1").with_claim("home", "home-2")
    };
    assert_eq!(tenant(&under(document, &with("https://staff.example"))), Some("home-1"));
    assert_eq!(tenant(&under(document, &with("https://agency.example"))), Some("home-2"));
    for other in ["https://elsewhere.example", "https://staff.example/", ""] {
        assert_eq!(under(document, &with(other)).denial, Some(Denial::TenantMissing), "{other}");
    }
    // Asked for once.
    let host = with("https://agency.example");
    under(document, &host);
    assert_eq!(host.asked().iter().filter(|path| path.ends_with(".iss")).count(), 1);
}

#[test]
fn ids_can_be_folded() {
    let document = r#"{
        "version": "careplane/v1",
        "identity": {"tenant": {
            "case": "lower", "sources": [{"claim": "homes"}, {"path": "tenant"}, {"header": "x-tenant-id"}]
        }},
        "contexts": [{"name": "by-path", "complianceLevel": "low", "match": [{"path": "/homes/{tenant}/{*rest}"}]}]
    }"#;
    let host = request("/homes/Home-1/x", &[("x-tenant-id", "HOME-1")]).with_list_claim("homes", ["home-1", "HOME-2"]);
    let identity = under(document, &host);
    assert_eq!((tenant(&identity), identity.denial, identity.forged.len()), (Some("home-1"), None, 0));
    let host = request("/x", &[("x-tenant-id", "home-2")]).with_list_claim("homes", ["home-1", "HOME-2"]);
    assert_eq!(tenant(&under(document, &host)), Some("home-2"));
}

#[test]
fn a_header_that_selected_the_tenant_stays_so_that_what_follows_selects_the_same() {
    let document = r#"{
        "version": "careplane/v1",
        "identity": {
            "tenant": {"case": "lower", "sources": [
                {"claim": "homes"}, {"path": "tenant"}, {"header": "x-home"}, {"header": "x-ward"}
            ]},
            "user": {"sources": [{"claim": "sub"}, {"header": "x-home-user"}]},
            "grants": [{
                "name": "inspector", "when": {"claim": "role", "equals": "inspector"}, "tenants": "any"
            }]
        },
        "contexts": [{"name": "by-path", "complianceLevel": "low", "match": [{"path": "/homes/{tenant}/{*rest}"}]}]
    }"#;
    let list = |host: MemoryHost| host.with_list_claim("homes", ["home-1", "home-2"]);
    let one = |host: MemoryHost| host.with_claim("homes", "home-1").with_claim("role", "inspector");
    let home = [("x-home", "Home-2"), ("x-ward", ""), ("x-home-user", "ann")];
    let others = &["x-ward", "x-home-user"];
    for (host, acts_for, kept, forged) in [
        (list(request("/x", &home)), Some("home-2"), &["home-2"][..], &others[..]),
        // The path is another one after a redirect.
        (list(request("/homes/home-2/x", &home)), Some("home-2"), &["home-2"], others),
        (one(request("/x", &home)), Some("home-2"), &["home-2"], others),
        // Nothing was selected: the claim says it all.
        (one(request("/x", &[("x-home", "home-1")])), Some("home-1"), &[], &["x-home"]),
        (list(request("/x", &[("x-home", "home-9")])), None, &[], &["x-home"]),
        (list(request("/homes/home-2/x", &[])), Some("home-2"), &[], &[]),
    ] {
        let incoming = Incoming::open(rules(document).unwrap(), &host);
        assert_eq!(tenant(incoming.identity(&host)), acts_for);
        assert_eq!(incoming.identity(&host).forged.iter().map(|name| &**name).collect::<Vec<_>>(), forged);
        incoming.write_identity(&host);
        incoming.conclude(&host);
        assert_eq!(host.request_header("x-home"), kept);
        // So does one that came in empty.
        assert_eq!(host.request_header("x-ward"), if forged.contains(&"x-ward") { kept } else { &[] });
        assert!(host.request_header("x-home-user").is_empty());
        // The next plugin.
        let again = Incoming::open(rules(document).unwrap(), &host);
        assert_eq!(tenant(again.identity(&host)), acts_for);
    }
}

#[test]
fn after_a_redirect_the_new_path_selects_and_not_what_was_written_for_the_old_one() {
    let redirected = |path: &str, headers: &[(&str, &str)]| {
        let headers = [&[("x-envoy-original-url", "http://care/homes/home-1/x")], headers].concat();
        listed(path, &headers, &HOMES).with_property("filter_state.num_internal_redirects", "1")
    };
    let wrote = [("x-tenant-id", "home-1")];
    let by = |path: &str, headers: &[(&str, &str)]| {
        let identity = resolve(&redirected(path, headers));
        assert!(identity.forged.is_empty(), "{:?}", identity.forged);
        (identity.tenant.as_ref().map(|tenant| tenant.to_string()), identity.selected_by, identity.denial)
    };
    assert_eq!(by("/homes/home-2/x", &wrote), (Some("home-2".into()), Some("path"), None));
    assert_eq!(by("/homes/home-1/x", &wrote), (Some("home-1".into()), Some("path"), None));
    assert_eq!(by("/homes/home-9/x", &wrote).2, Some(Denial::TenantConflict));
    // Where the new path names none, the tenant stays.
    assert_eq!(by("/x", &wrote), (Some("home-1".into()), Some("header"), None));
    // A caller cannot make its request one.
    let headers = [("x-envoy-original-url", "http://care/"), wrote[0]];
    let first = resolve(&listed("/homes/home-2/x", &headers, &HOMES));
    assert_eq!((first.denial, first.forged.len()), (Some(Denial::TenantConflict), 1));
}

#[test]
fn a_host_is_asked_for_like_a_path_and_a_query_is_believed_like_a_header() {
    let document = r#"{
        "version": "careplane/v1",
        "identity": {
            "trustedPeers": ["spiffe://cluster.local/ns/core-healthcare/sa/api-gateway"],
            "tenant": {"sources": [{"claim": "tenant_id"}, {"host": "{tenant}.app.example.com"}, {"query": "home"}]}
        }
    }"#;
    let with = |path: &'static str, host: &'static str| request(path, &[(":authority", host)]);
    let named = |host: &MemoryHost| {
        let identity = under(document, host);
        (identity.tenant.map(|tenant| tenant.to_string()), identity.tenant_source, identity.denial)
    };
    let at_home_1 = || with("/x", "home-1.app.example.com:8443");
    assert_eq!(named(&at_home_1()), (None, None, Some(Denial::TenantMissing)));
    assert_eq!(named(&at_home_1().with_claim("tenant_id", "home-1")), (Some("home-1".into()), Some("claim"), None));
    assert_eq!(named(&at_home_1().with_claim("tenant_id", "home-2")).2, Some(Denial::TenantConflict));
    assert_eq!(named(&at_home_1().with_peer(TRUSTED)), (Some("home-1".into()), Some("host"), None));
    let asks = || with("/x?home=home-1", "elsewhere.example");
    assert_eq!(named(&asks()), (None, None, Some(Denial::TenantMissing)));
    assert_eq!(named(&asks().with_peer(TRUSTED)), (Some("home-1".into()), Some("query"), None));
    let twice = with("/x?home=home-1&home=home-2", "elsewhere.example").with_peer(TRUSTED);
    assert_eq!(named(&twice).2, Some(Denial::TenantMalformed));
}
