//! A policy, claims, and the answer to each: a real Envoy gives it here, and `careplane explain` and `test` in
//! `cli/tests/explain.rs`, which includes this file.

use serde_json::{Value, json};

/// The policy of these tests, without its trusted peers.
pub fn configure(policy: &mut Value) {
    policy["identity"]["tenant"]["sources"] = json!([
        {"claim": "homes"}, {"path": "tenant"}, {"header": "x-tenant-id"}, {"host": "{tenant}.app.care.example"},
        {"query": "home"}
    ]);
    policy["identity"]["purpose"] = json!({"sources": [{"claim": "purpose"}, {"header": "x-purpose-of-use"}]});
    policy["identity"]["grants"] = json!([
        {
            "name": "inspector", "when": {"claim": "roles", "contains": "inspector"}, "actions": ["read"],
            "tenants": {"jurisdiction": {"claim": "jurisdiction"}}, "flags": ["inspection"]
        },
        {
            "name": "manager", "when": {"claim": "roles", "contains": "manager"}, "contexts": ["staff"],
            "tenants": {"group": {"claim": "groups"}}
        },
        {
            "name": "emergency", "tenants": "any",
            "when": {"claim": ["realm_access", "roles"], "anyOf": ["nurse", "doctor"]},
            "requires": {"purpose": ["BTG", "ETREAT"]}, "flags": ["emergency"]
        }
    ]);
    policy["contexts"] = json!([
        {
            "name": "notes", "complianceLevel": "high", "tier": "clinical", "flags": ["clinical"],
            "match": [{"path": "/homes/{tenant}/notes"}, {"path": "/notes"}]
        },
        {"name": "staff", "complianceLevel": "standard", "match": [{"path": "/homes/{tenant}/staff"}]},
        {
            "name": "medication", "complianceLevel": "critical", "action": "execute",
            "match": [{"methods": ["POST"], "path": "/homes/{tenant}/medication"}]
        },
        {
            "name": "health-check", "complianceLevel": "low", "tier": "never", "audit": "none", "tenant": "optional",
            "match": [{"methods": ["GET"], "path": "/health"}]
        }
    ]);
    policy["tenants"] = json!({"entries": {
        "glasgow-1": {"jurisdiction": "scotland", "group": "north"},
        "york-1": {"jurisdiction": "england", "group": "north"},
        "london-1": {"jurisdiction": "england", "group": "south"},
        "cardiff-1": {"jurisdiction": "wales", "group": "south"},
        "belfast-1": {"jurisdiction": "northern-ireland"}
    }});
}

/// A list as Envoy would hand it over, in a text.
fn pretended(home: &str) -> String {
    let length = u8::try_from(home.len()).expect("short");
    format!("\u{1}\0\0\0{}\0\0\0\0\0\0\0{home}\0\0", char::from(length))
}

/// The claim of the homes, the home that the path selects, and the answer: 200, or a code.
fn homes() -> Vec<(Value, &'static str, &'static str)> {
    let many = |count: usize| json!((0..count).map(|number| format!("home-{number}")).collect::<Vec<_>>());
    let mut deep = json!("home-1");
    for _ in 0..60 {
        deep = json!([deep]);
    }
    vec![
        (many(1_000), "home-999", "200"),
        (many(1_000), "home-1000", "tenant-conflict"),
        (many(1_001), "home-1", "tenant-malformed"),
        (many(10_000), "home-1", "tenant-malformed"),
        (json!("h".repeat(1_000_000)), "home-1", "tenant-malformed"),
        (json!(["h".repeat(1_000_000), "home-1"]), "home-1", "200"),
        (json!(["h".repeat(1_000_000)]), "home-1", "tenant-malformed"),
        (json!([["home-1"]]), "home-1", "tenant-malformed"),
        (json!([["home-1"], "home-2"]), "home-1", "tenant-conflict"),
        (json!([["home-1"], "home-2"]), "home-2", "200"),
        (deep, "home-1", "tenant-malformed"),
        (json!([1, 2, 3]), "2", "200"),
        (json!([1.5, -1, 1e300]), "1", "tenant-conflict"),
        (json!([42]), "42", "200"),
        (json!([true, false]), "true", "tenant-conflict"),
        (json!(true), "true", "tenant-malformed"),
        // What has a null in it Envoy does not hand over.
        (json!([null, "home-1"]), "home-1", "tenant-missing"),
        (json!([null]), "home-1", "tenant-missing"),
        (json!(["home-1", [null]]), "home-1", "tenant-missing"),
        (json!({"home-1": null}), "home-1", "tenant-missing"),
        (json!({"home-1": {"since": null}}), "home-1", "tenant-missing"),
        (json!(["", "home-1"]), "home-1", "200"),
        (json!([""]), "home-1", "tenant-malformed"),
        (json!(["home-1", "home-1"]), "home-1", "200"),
        (json!(["home-1\u{0}", "home 1"]), "home-1", "tenant-conflict"),
        (json!({}), "home-1", "tenant-conflict"),
        (json!({"home-1": {"role": "nurse"}}), "home-1", "tenant-malformed"),
        (json!({"home-1": "nurse"}), "home-1", "tenant-malformed"),
        // To Envoy these are the same as the list.
        (json!({"home-1": ""}), "home-1", "200"),
        (json!(pretended("home-1")), "home-1", "200"),
        (json!("\u{0}\u{0}\u{0}\u{0}"), "home-1", "tenant-conflict"),
        (json!("\u{2}\u{0}\u{0}\u{0}home"), "home-1", "tenant-malformed"),
    ]
}

/// The claim of the roles, and whether the person is an inspector by it.
fn roles() -> Vec<(Value, bool)> {
    let many = |last: &str| {
        let all: Vec<String> = (0..999).map(|number| format!("role-{number}")).chain([last.to_owned()]).collect();
        json!(all)
    };
    vec![
        (json!("inspector"), true),
        (json!(["inspector"]), true),
        (many("inspector"), true),
        (many("inspectors"), false),
        (json!((0..10_000).map(|_| "inspector").collect::<Vec<_>>()), false),
        (json!("inspector".repeat(100_000)), false),
        (json!([["inspector"]]), false),
        (json!("not an inspector"), false),
        (json!("inspector,manager"), false),
        (json!(["Inspector", " inspector", "inspector\u{0}"]), false),
        (json!([null, "inspector"]), false),
        (json!({"inspector": true}), false),
        (json!({"roles": ["inspector"]}), false),
        (json!(1), false),
        (json!(true), false),
        (json!(null), false),
        (json!([]), false),
    ]
}

/// The claims of nested roles, and the answer where they name a nurse, who needs a purpose.
fn nested() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"realm_access": {"roles": ["nurse"]}}), "grant-purpose"),
        (json!({"realm_access": {"roles": ["nurse"], "groups": null}}), "grant-purpose"),
        (json!({"realm_access": {"roles": ["nurse", null]}}), "tenant-missing"),
        (json!({"realm_access.roles": ["nurse"]}), "tenant-missing"),
        (json!({"realm_access": "nurse"}), "tenant-missing"),
    ]
}

/// Claims, the path of a request with them, and the answer: 200, or a code.
pub fn rows() -> Vec<(Value, String, &'static str)> {
    let homes = homes().into_iter();
    let homes = homes.map(|(claim, home, answer)| (json!({"homes": claim}), format!("/homes/{home}/notes"), answer));
    let glasgow = || "/homes/glasgow-1/notes".to_owned();
    let roles = roles().into_iter().map(|(claim, is_inspector)| {
        let answer = if is_inspector { "200" } else { "tenant-missing" };
        (json!({"roles": claim, "jurisdiction": "scotland"}), glasgow(), answer)
    });
    let nested = nested().into_iter().map(|(claims, answer)| (claims, glasgow(), answer));
    homes.chain(roles).chain(nested).collect()
}
