//! `identity.grants`.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{compiled, complete, problems_after, set};
use crate::Method;
use crate::document::{Action, Jurisdiction};
use crate::id::TenantId;

/// A document with grants.
fn granting(document: &mut Value) {
    let inspector = json!({
        "name": "inspector", "when": {"claim": "roles", "contains": "inspector"},
        "tenants": {"jurisdiction": {"claim": "jurisdiction", "issuer": "https://id.example.com"}}, "actions": ["read"],
        "contexts": ["medication"]
    });
    let emergency = json!({
        "name": "emergency", "tenants": "any",
        "when": [{"claim": ["realm_access", "roles"], "anyOf": ["nurse", "doctor"]}],
        "requires": {"purpose": ["BTG", "ETREAT"]}, "flags": ["emergency"], "atMost": {"perUser": 5, "within": "1h"},
        "writeAhead": true
    });
    set(document, "/identity/purpose", json!({"sources": [{"claim": "purpose"}, {"header": "X-Purpose-Of-Use"}]}));
    set(document, "/identity/grants", json!([inspector, emergency]));
    set(document, "/tenants/entries/care-home-0042/group", json!("north"));
}

#[test]
fn grants_are_compiled_from_what_is_written() {
    let mut document = complete();
    granting(&mut document);
    let policy = compiled(&document);
    let [inspector, emergency] = &*policy.identity.grants else { panic!("{:?}", policy.identity.grants) };
    let about = |path: &[u8]| Arc::clone(&policy.classify(Method::Get, path).context.name);
    assert!(inspector.covers(Action::Read, &about(b"/api/v1/medications")));
    assert!(!inspector.covers(Action::Update, &about(b"/api/v1/medications")));
    assert!(!inspector.covers(Action::Read, &about(b"/elsewhere")));
    assert!(emergency.covers(Action::Delete, &about(b"/elsewhere")));
    let home = policy.routing.belongs(&TenantId::new(b"care-home-0042").unwrap(), None);
    assert_eq!(home, (Some(Jurisdiction::Scotland), Some("north")));
    let needed = inspector.tenants.needs(home).unwrap().unwrap();
    assert_eq!((needed.0.path.as_slice(), needed.1), (&["jurisdiction".to_owned()][..], "scotland"));
    // A home without a jurisdiction is in none.
    assert!(inspector.tenants.needs((None, None)).is_none());
    assert_eq!(emergency.tenants.needs((None, None)), Some(None));
    assert_eq!(emergency.purposes.iter().map(|purpose| purpose.as_str()).collect::<Vec<_>>(), ["BTG", "ETREAT"]);
    assert!(emergency.write_ahead && emergency.at_most.is_some_and(|limit| limit.per_user == 5));
}

#[test]
fn each_problem_of_a_grant_says_where_what_and_what_instead() {
    let table = [
        (
            "/identity/grants/0/name",
            Value::Null,
            r#"identity.grants[0].name: missing: expected the name of the grant, such as "inspector""#,
        ),
        (
            "/identity/grants/1/name",
            json!("inspector"),
            concat!(
                r#"identity.grants[1].name: "inspector" is the name of identity.grants[0] already: expected a name "#,
                "of its own",
            ),
        ),
        (
            "/identity/grants/0/when",
            json!([]),
            "identity.grants[0].when: missing: expected whose the grant is, such as {claim: roles, contains: \
             inspector}",
        ),
        (
            "/identity/grants/0/when",
            json!({"claim": "roles"}),
            "identity.grants[0].when: says not just one thing of the claim: expected one of equals, contains and anyOf",
        ),
        (
            "/identity/grants/0/when",
            json!([{"claim": "roles", "equals": "a"}, {"claim": "roles", "anyOf": []}]),
            "identity.grants[0].when[1]: says not just one thing of the claim: expected one of equals, contains and \
             anyOf",
        ),
        (
            "/identity/grants/0/when",
            json!({"contains": "inspector"}),
            "identity.grants[0].when: says no claim: expected such as {claim: roles, contains: inspector}",
        ),
        (
            "/identity/grants/0/when/issuer",
            json!(""),
            r#"identity.grants[0].when.issuer: is empty: expected an issuer, such as "https://id.example.com""#,
        ),
        (
            "/identity/grants/0/tenants",
            Value::Null,
            "identity.grants[0].tenants: missing: expected any, {jurisdiction: {claim: …}} or {group: {claim: …}}",
        ),
        (
            "/identity/grants/0/tenants",
            json!("all"),
            "identity.grants[0].tenants: invalid value: string \"all\", expected the word \"any\", {jurisdiction: \
             {claim: …}} or {group: {claim: …}}",
        ),
        ("/identity/grants/0/tenants", json!({"group": {}}), "identity.grants[0].tenants.group: missing field `claim`"),
        (
            "/identity/grants/0/contexts/0",
            json!("medications"),
            concat!(
                r#"identity.grants[0].contexts[0]: "medications" is not a context: expected one of "#,
                "medication-administration, medication, health-check, general",
            ),
        ),
        (
            "/identity/grants/1/requires/purpose/1",
            json!("EMERGENCY"),
            concat!(
                r#"identity.grants[1].requires.purpose[1]: "EMERGENCY" is not a purpose of use: expected a code of "#,
                r#"HL7 v3 PurposeOfUse, such as "TREAT", "ETREAT" or "BTG""#,
            ),
        ),
        (
            "/identity/purpose/sources",
            json!([]),
            "identity.grants[1].requires.purpose: cannot be said by any request: expected sources in \
             identity.purpose.sources",
        ),
        (
            "/identity/grants/1/atMost/perUser",
            json!(0),
            "identity.grants[1].atMost.perUser: expected a number of requests, 1 to 1000",
        ),
        (
            "/identity/grants/1/atMost/within",
            Value::Null,
            "identity.grants[1].atMost.within: missing: expected a length of time, such as \"1h\"",
        ),
        (
            "/identity/purpose/sources/0",
            json!({"query": "purpose"}),
            "identity.purpose.sources[0].query: does not say a purpose: expected a claim or a header",
        ),
        (
            "/identity/user/sources/0",
            json!({"host": "{tenant}.example.com"}),
            "identity.user.sources[0].host: does not say a user: expected a claim, a path parameter or a header",
        ),
        (
            "/identity/purpose/sources/1",
            json!({"header": "x_tenant_id"}),
            "identity.purpose.sources: \"x_tenant_id\" is headers.tenantId already: expected a header of its own",
        ),
        (
            "/identity/tenant/sources/0",
            json!({"host": "app.example.com"}),
            concat!(
                r#"identity.tenant.sources[0].host: "app.example.com" is not a pattern of hosts: expected a host "#,
                r#"with one {tenant}, such as "{tenant}.app.example.com""#,
            ),
        ),
        (
            "/identity/tenant/sources/0",
            json!({"query": "a&b"}),
            concat!(
                r#"identity.tenant.sources[0].query: "a&b" is not the name of a query parameter: expected such as "#,
                r#""tenant" for ?tenant=…"#,
            ),
        ),
        (
            "/identity/tenant/sources/0",
            json!({"path": "tenant", "header": "x"}),
            "identity.tenant.sources[0]: invalid type: map, expected a map with just one of claim, path, header, host, \
             query",
        ),
        (
            "/tenants/entries/care-home-0042/group",
            json!(""),
            concat!(
                r#"tenants.entries.care-home-0042.group: "" is not the name of a group: expected 1 to 128 bytes "#,
                "without control characters",
            ),
        ),
    ];
    for (pointer, value, expected) in table {
        let problems = problems_after(|document| {
            granting(document);
            set(document, pointer, value.clone());
        });
        assert_eq!(problems.first().map(String::as_str), Some(expected), "{pointer} = {value}");
    }
}
