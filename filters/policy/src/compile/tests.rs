mod directory;
mod grants;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use serde_json::{Value, json};

use crate::document::{Action, Cohort, ComplianceLevel, Jurisdiction};
use crate::folded::Watched;
use crate::id::TenantId;
use crate::{Method, Policy, UnknownTenant};

/// A document with every section filled in.
fn complete() -> Value {
    json!({
        "version": "careplane/v1",
        "identity": {
            "trustedPeers": [
                "spiffe://cluster.local/ns/core-healthcare/sa/api-gateway", "spiffe://cluster.local/ns/edge/*"
            ],
            "tenant": {
                "required": true, "sources": [{"claim": "tenant_id"}, {"path": "tenant"}, {"header": "x-tenant-id"}]
            },
            "user": {"sources": [{"claim": ["realm", "sub"]}, {"header": "x-user-id"}], "pseudonymise": true},
            "correlation": {"header": "x-correlation-id", "echo": true}
        },
        "headers": {},
        "pseudonyms": {"keyEnv": "CAREPLANE_PSEUDONYM_KEY"},
        "contexts": [
            {
                "name": "medication-administration", "complianceLevel": "critical", "tier": "always",
                "action": "execute",
                "resource": "MedicationAdministration", "flags": ["controlled-drug", "mar"], "retention": "P8Y",
                "match": [{"methods": ["POST"], "path": "/api/v1/medications/administer"}]
            },
            {
                "name": "medication", "complianceLevel": "high", "tier": "always", "subject": "id",
                "match": [
                    {"path": "/api/v1/medications"}, {"path": "/api/v1/medications/{id}"},
                    {"path": "/api/v1/medications/{id}/{*rest}"}
                ]
            },
            {
                "name": "health-check", "complianceLevel": "low", "tier": "never", "audit": "none",
                "tenant": "optional",
                "match": [{"methods": ["GET"], "path": "/health"}, {"methods": ["GET"], "path": "/metrics"}]
            }
        ],
        "defaultContext": {"name": "general", "complianceLevel": "standard", "tier": "default"},
        "sampling": {
            "tiers": {"always": 100, "clinical": 50, "assessment": 30, "default": 10, "never": 0},
            "late": {"denied": true, "serverErrors": true, "slowerThan": "2s"}
        },
        "tenants": {
            "unknown": "route",
            "entries": {"care-home-0042": {"pool": "dedicated-a", "jurisdiction": "scotland", "cohort": "canary"}}
        },
        "routing": {
            "poolHeader": "x-tenant-pool", "pools": ["pool-a", {"name": "pool-b", "weight": 2}, "pool-c"],
            "dedicated": ["dedicated-a"], "canary": {"percent": 5, "header": "x-release-cohort"}
        },
        "audit": {"sinks": {"accessLog": true, "otlp": true, "proxyLog": "overflow"}, "writeAhead": ["critical"]},
        "export": {
            "cluster": "outbound|4318||otel-collector.tracing.svc.cluster.local", "authority": "otel-collector.tracing",
            "timeout": "2s", "batch": {"records": 256, "interval": "1s"}, "queueBytes": 4_194_304
        }
    })
}

fn compiled(document: &Value) -> Policy {
    Policy::from_json(document.to_string().as_bytes()).unwrap()
}

/// The problems of the complete document after `change`.
fn problems_after(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut document = complete();
    change(&mut document);
    match Policy::from_json(document.to_string().as_bytes()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// Puts `value` where a JSON pointer leads, making the last step.
fn set(document: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(map) => {
            map.insert(key.into(), value);
        }
        Value::Array(list) => match key.parse::<usize>() {
            Ok(index) => list[index] = value,
            Err(_) => list.push(value),
        },
        other => panic!("{pointer}: {other}"),
    }
}

#[test]
fn the_complete_document_means_what_it_says() {
    let policy = compiled(&complete());
    let about = policy.classify(Method::Post, b"/api/v1/medications/administer");
    assert_eq!(&*about.context.name, "medication-administration");
    assert_eq!(about.context.compliance_level, ComplianceLevel::Critical);
    assert_eq!(about.context.tier.rate.to_string(), "100");
    assert_eq!(about.context.action(Method::Post), Action::Execute);
    assert_eq!(about.context.flags_header.as_deref(), Some("controlled-drug,mar"));
    assert_eq!(&**about.template.unwrap().text(), "/api/v1/medications/administer");

    let about = policy.classify(Method::Get, b"/api/v1/medications/Mar-17/history");
    assert_eq!((&*about.context.name, about.subject()), ("medication", Some("Mar-17")));
    assert!(about.context.tenant_required && about.context.audited);

    let about = policy.classify(Method::Get, b"/health");
    assert!(!about.context.tenant_required && !about.context.audited);

    let about = policy.classify(Method::Delete, b"/elsewhere");
    assert_eq!((&*about.context.name, about.template.is_none()), ("general", true));
    assert_eq!(about.context.action(Method::Delete), Action::Delete);

    let placement = policy.routing.place(&TenantId::new(b"care-home-0042").unwrap(), None).unwrap();
    assert_eq!(placement.pool.as_deref(), Some("dedicated-a"));
    assert_eq!((placement.cohort, placement.jurisdiction), (Some(Cohort::Canary), Some(Jurisdiction::Scotland)));
    assert_eq!(Jurisdiction::Scotland.regulator(), "Care Inspectorate");
    assert!(placement.pinned);
    let placement = policy.routing.place(&TenantId::new(b"care-home-7").unwrap(), None).unwrap();
    assert!(placement.pool.is_some_and(|pool| pool.starts_with("pool-")) && !placement.pinned);

    assert_eq!(policy.digest.len(), 16);
}

#[test]
fn a_spelling_of_a_path_cannot_leave_its_context() {
    let policy = compiled(&complete());
    for path in [
        "/api/v1/medications/administer",
        "/api/v1/medications/administer/",
        "/api/v1//medications/./administer",
        "/api/v1/medications/%61dminister",
        "/api/v1/medications%2Fadminister",
        "/API/V1/Medications/ADMINISTER",
        "/api/v1/residents/../medications/administer",
        "/api/v1/medications/x/..;/administer",
        "/api/v1/medications/administer;v=1?dose=2",
        "\\api\\v1\\medications\\administer",
    ] {
        assert_eq!(
            &*policy.classify(Method::Post, path.as_bytes()).context.name,
            "medication-administration",
            "{path}"
        );
    }
}

#[test]
fn a_minimal_document_has_defaults() {
    let policy = compiled(&json!({"version": "careplane/v1"}));
    let about = policy.classify(Method::Get, b"/x");
    assert_eq!((&*about.context.name, about.context.tier.rate.to_string()), ("general", "10".into()));
    assert!(about.context.tenant_required);
    assert_eq!(policy.routing.place(&TenantId::new(b"t").unwrap(), None).unwrap().pool, None);
}

#[test]
fn a_pool_that_calls_itself_dedicated_need_not_be_declared_until_one_is() {
    let undeclared = |document: &mut Value| set(document, "/routing/dedicated", json!([]));
    assert_eq!(problems_after(undeclared), [""; 0]);
    let other = problems_after(|document| {
        undeclared(document);
        set(document, "/tenants/entries/care-home-0042/pool", json!("special"));
    });
    assert!(other[0].starts_with(r#"tenants.entries.care-home-0042.pool: "special" is not a pool"#), "{other:?}");
    let bad_name = problems_after(|document| {
        undeclared(document);
        set(document, "/tenants/entries/care-home-0042/pool", json!("dedicated-A"));
    });
    assert!(bad_name[0].contains("is not a name"), "{bad_name:?}");
}

#[test]
fn tenants_that_nobody_knows_can_be_refused() {
    let mut document = complete();
    set(&mut document, "/tenants/unknown", json!("deny"));
    let policy = compiled(&document);
    assert_eq!(policy.routing.place(&TenantId::new(b"nobody").unwrap(), None), Err(UnknownTenant));
    assert!(policy.routing.place(&TenantId::new(b"care-home-0042").unwrap(), None).is_ok());
}

#[test]
fn peers_are_trusted_by_id_or_prefix() {
    let policy = compiled(&complete());
    let trust = |peer| policy.identity.trusted_peers.trust(peer);
    assert!(trust(Some("spiffe://cluster.local/ns/core-healthcare/sa/api-gateway")));
    assert!(trust(Some("spiffe://cluster.local/ns/edge/sa/anything")));
    for peer in [
        None,
        Some(""),
        Some("spiffe://cluster.local/ns/core-healthcare/sa/api-gateway2"),
        Some("spiffe://other.domain/ns/edge/sa/x"),
    ] {
        assert!(!trust(peer), "{peer:?}");
    }
}

#[test]
fn headers_that_are_omitted_stay_protected() {
    let mut document = complete();
    document["headers"]["complianceFlags"] = json!("X-Care-Flags");
    document["headers"]["omit"] = json!(["x-care-flags", "X-User-Id", "x-tenant-pool", "x-release-cohort"]);
    let policy = compiled(&document);
    let omitted: Vec<&str> = policy.headers.omitted.iter().map(|name| &**name).collect();
    assert_eq!(omitted, ["x-care-flags", "x-user-id", "x-tenant-pool", "x-release-cohort"]);
    for name in omitted {
        let spelling = name.replace('-', "_");
        let found = policy.identity.watched_headers.find(spelling.as_bytes());
        assert_eq!(found.map(|(_, watched)| watched), Some(Watched::Protected), "{name}");
    }
    assert!(policy.identity.identity_headers.contains(&policy.headers.user_id));
}

#[test]
fn the_cohort_is_protected_where_only_entries_have_one() {
    let mut document = complete();
    document["routing"].as_object_mut().unwrap().remove("canary");
    // Of the text, entries are read in a way of their own; with the other way, what a policy means is the same.
    let quick = Policy::from_json_quickly(serde_json::to_vec(&document).unwrap()).unwrap();
    for policy in [quick, Policy::from_json_carefully(&serde_json::to_vec(&document).unwrap()).unwrap()] {
        assert_eq!(policy.routing.cohort_header.as_deref(), Some("x-release-cohort"));
        let found = policy.identity.watched_headers.find(b"x_release_cohort");
        assert_eq!(found.map(|(_, watched)| watched), Some(Watched::Protected));
    }
}

#[test]
fn each_problem_says_where_what_and_what_instead() {
    let table: &[(&str, Value, &str)] = &[
        ("/version", json!("v2"), r#"version: "v2" is not known: expected "careplane/v1""#),
        ("/contexts/0/match/0/path", json!("api/x"), r#"contexts[0].match[0].path: "api/x" must start with "/""#),
        (
            "/contexts/0/match/0/methods",
            json!(["post"]),
            concat!(
                r#"contexts[0].match[0].methods[0]: "post" is not a method: expected one of GET, HEAD, POST, PUT, "#,
                "PATCH, DELETE, OPTIONS, TRACE, CONNECT",
            ),
        ),
        (
            "/contexts/0/match",
            json!([]),
            concat!(
                "contexts[0].match: is empty, so nothing is ever in this context: expected such as ",
                r#"[{path: "/api/v1/residents"}]"#,
            ),
        ),
        (
            "/contexts/0/tier",
            json!("allways"),
            concat!(
                r#"contexts[0].tier: "allways" is not a tier of sampling.tiers: expected one of always, "#,
                "assessment, clinical, default, never",
            ),
        ),
        (
            "/contexts/0/retention",
            json!("8 years"),
            r#"contexts[0].retention: "8 years" is not an ISO 8601 duration: expected such as "P8Y" or "P6M""#,
        ),
        (
            "/contexts/0/complianceLevel",
            json!("severe"),
            concat!(
                "contexts[0].complianceLevel: unknown word `severe`, expected one of `critical`, `high`, ",
                "`standard`, `low`",
            ),
        ),
        (
            "/contexts/0/colour",
            json!("red"),
            concat!(
                "contexts[0].colour: unknown field `colour`, expected one of `name`, `complianceLevel`, `tier`, ",
                "`action`, `resource`, `subject`, `flags`, `retention`, `audit`, `tenant`, `enforcement`, `match`",
            ),
        ),
        (
            "/contexts/0/flags",
            json!(["two words"]),
            r#"contexts[0].flags[0]: "two words" is not a flag: expected 1 to 63 of [A-Za-z0-9._-]"#,
        ),
        (
            "/contexts/1/name",
            json!("health-check"),
            r#"contexts[2].name: "health-check" is the name of contexts[1] already: expected a name of its own"#,
        ),
        (
            "/contexts/1/name",
            json!("Medication"),
            concat!(
                r#"contexts[1].name: "Medication" is not a name: expected 1 to 63 of [a-z0-9-], a letter or digit "#,
                "first and last",
            ),
        ),
        (
            "/contexts/1/subject",
            json!("resident"),
            concat!(
                r#"contexts[1].subject: "resident" is not a path parameter of this context: "#,
                "expected the name of one in its match",
            ),
        ),
        (
            "/contexts/1/match/1/path",
            json!("/api/v1/medications"),
            concat!(
                r#"contexts[1].match[1].path: "/api/v1/medications" repeats contexts[1].match[0].path "#,
                r#"("/api/v1/medications")"#,
            ),
        ),
        ("/contexts/2/match/1/path", json!("/API/v1/medications/{other}/{*all}"), ""),
        (
            "/defaultContext/name",
            json!("medication"),
            r#"contexts[1].name: "medication" is the name of defaultContext already: expected a name of its own"#,
        ),
        (
            "/sampling/tiers/always",
            json!(101),
            "sampling.tiers.always: 101 is not a percentage: 0 to 100, at most two decimals",
        ),
        (
            "/sampling/tiers/always",
            json!(0.125),
            "sampling.tiers.always: 0.125 is not a percentage: 0 to 100, at most two decimals",
        ),
        (
            "/sampling/tiers/always",
            json!("all"),
            r#"sampling.tiers.always: "all" is not a percentage: 0 to 100, at most two decimals"#,
        ),
        (
            "/sampling/late/slowerThan",
            json!("soon"),
            r#"sampling.late.slowerThan: "soon" is not a length of time above zero: expected such as "2s" or "750ms""#,
        ),
        (
            "/tenants/entries/care-home-0042/pool",
            json!("dedicated-b"),
            concat!(
                r#"tenants.entries.care-home-0042.pool: "dedicated-b" is not a pool: expected one of pool-a, "#,
                "pool-b, pool-c, dedicated-a; a pool that only pinned tenants are in is declared in ",
                "routing.dedicated",
            ),
        ),
        (
            "/tenants/entries/care-home-0042/jurisdiction",
            json!("france"),
            concat!(
                "tenants.entries.care-home-0042.jurisdiction: unknown word `france`, expected one of ",
                "`england`, `scotland`, `wales`, `northern-ireland`",
            ),
        ),
        (
            "/tenants/entries/a b",
            json!({}),
            concat!(
                r#"tenants.entries.a b: "a b" is not a tenant id: expected 1 to 128 characters of [A-Za-z0-9._:-], "#,
                "not an NHS number",
            ),
        ),
        (
            "/routing/pools/0",
            json!("pool-c"),
            concat!(
                r#"routing.pools[2]: "pool-c" is listed twice: expected each pool once, with a `weight` for a "#,
                "larger share",
            ),
        ),
        (
            "/routing/pools/1/weight",
            json!(0),
            "routing.pools[1].weight: 0 is not a weight: expected 1 to 100; a pool for pinned tenants alone belongs \
             in routing.dedicated",
        ),
        ("/routing/dedicated/0", json!("pool-a"), ""),
        (
            "/routing/poolHeader",
            json!(":authority"),
            concat!(
                r#"routing.poolHeader: ":authority" cannot be used: pseudo-headers route the request; expected a "#,
                r#"header of your own, such as "x-tenant-id""#,
            ),
        ),
        (
            "/routing/poolHeader",
            json!("X-Tenant-Id"),
            r#"routing.poolHeader: "x-tenant-id" is headers.tenantId already: expected a header of its own"#,
        ),
        (
            "/routing/canary/percent",
            json!(-1),
            "routing.canary.percent: -1.0 is not a percentage: 0 to 100, at most two decimals",
        ),
        (
            "/headers/omit",
            json!(["x-tenant-pool", "x-correlation-id"]),
            r#"headers.omit[1]: "x-correlation-id" cannot be omitted: expected a header that headers or routing names"#,
        ),
        (
            "/headers/omit",
            json!(["tenantId"]),
            r#"headers.omit[0]: "tenantId" cannot be omitted: expected a header that headers or routing names"#,
        ),
        (
            "/headers/tenantId",
            json!("host"),
            concat!(
                r#"headers.tenantId: "host" cannot be used: Envoy does not let filters write it; expected a header "#,
                r#"of your own, such as "x-tenant-id""#,
            ),
        ),
        (
            "/headers/tenantId",
            json!("x tenant"),
            concat!(
                r#"headers.tenantId: "x tenant" is not a header name: expected a token (RFC 9110 §5.6.2), "#,
                r#"such as "x-tenant-id""#,
            ),
        ),
        (
            "/identity/trustedPeers",
            json!("all"),
            r#"identity.trustedPeers: invalid value: string "all", expected the word "any" or a list of SPIFFE ids"#,
        ),
        (
            "/identity/trustedPeers",
            json!(["spiffe://*"]),
            concat!(
                r#"identity.trustedPeers[0]: "spiffe://*" is not a SPIFFE id: expected such as "#,
                r#""spiffe://cluster.local/ns/core-healthcare/sa/api-gateway", with `*` only at the end and after "#,
                "the trust domain",
            ),
        ),
        (
            "/identity/tenant/sources/0",
            json!({"cookie": "t"}),
            "identity.tenant.sources[0].cookie: unknown source `cookie`, expected one of `claim`, `path`, `header`, \
             `host`, `query`",
        ),
        (
            "/identity/tenant/sources",
            json!(["claim"]),
            concat!(
                r#"identity.tenant.sources[0]: invalid type: string "claim", expected a map with just one of claim, "#,
                "path, header, host, query",
            ),
        ),
        (
            "/identity/tenant/required",
            json!("yes"),
            r#"identity.tenant.required: invalid type: string "yes", expected a boolean"#,
        ),
        (
            "/pseudonyms/keyEnv",
            json!("MY KEY"),
            concat!(
                r#"pseudonyms.keyEnv: "MY KEY" is not the name of an environment variable: expected such as "#,
                r#""CAREPLANE_PSEUDONYM_KEY""#,
            ),
        ),
        ("/pseudonyms/key", json!("secret"), "pseudonyms.key: unknown field `key`, expected `keyEnv`"),
        ("/contexts", Value::Null, "contexts: invalid type: null, expected a list"),
        ("/sampling/late", json!([]), "sampling.late: invalid type: list, expected a map"),
        (
            "/routing/canary",
            json!({"percent": "5"}),
            r#"routing.canary.percent: invalid type: string "5", expected a number"#,
        ),
        (
            "/export/queueBytes",
            json!("1"),
            r#"export.queueBytes: invalid type: string "1", expected a whole number, 0 or more"#,
        ),
        ("/export/queueBytes", json!(1), "export.queueBytes: 1 is out of range: expected 65536 to 268435456"),
        (
            "/export/timeout",
            json!("0s"),
            r#"export.timeout: "0s" is not a length of time above zero: expected such as "2s" or "750ms""#,
        ),
        ("/export", Value::Null, "audit.sinks.otlp: true needs a collector: expected the section `export`"),
    ];
    for (pointer, value, expected) in table {
        let problems = problems_after(|document| set(document, pointer, value.clone()));
        if expected.is_empty() {
            continue;
        }
        assert_eq!(problems.first().map(String::as_str), Some(*expected), "{pointer} = {value}");
    }
}

#[test]
fn ids_that_differ_in_case_alone_are_one_tenant_where_the_policy_says_so() {
    let folded = |document: &mut Value| set(document, "/identity/tenant/case", json!("lower"));
    let mut document = complete();
    folded(&mut document);
    set(&mut document, "/tenants/entries/Home-1", json!({"pool": "pool-a"}));
    let place = compiled(&document).routing.place(&TenantId::new(b"home-1").unwrap(), None).unwrap();
    assert!(place.pinned);
    let problems = problems_after(|document| {
        folded(document);
        set(document, "/tenants/entries/Care-Home-0042", json!({}));
    });
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("differs from another entry in case alone"), "{problems:?}");
}

#[test]
fn entries_read_quickly_and_with_care_mean_the_same() {
    let mut document = complete();
    document["tenants"]["entries"] = json!({
        "care-home-0042": {"pool": "dedicated-a", "jurisdiction": "scotland", "cohort": "canary", "group": "Siân’s"},
        "care-home-0007": {"pool": "pool-b", "cohort": "stable"},
        "B": {"jurisdiction": "northern-ireland", "group": "Siân’s"},
        "empty": {},
    });
    let quick = document.to_string();
    assert!(Policy::from_json_quickly(quick.clone().into()).is_some());
    // An escape where none is needed.
    let careful = quick.replace("\"care-home-0007\"", "\"c\\u0061re-home-0007\"");
    assert!(Policy::from_json_quickly(careful.clone().into()).is_none());
    let policies = [quick, careful].map(|text| Policy::from_json(text.as_bytes()).unwrap());
    for id in ["care-home-0042", "care-home-0007", "B", "b", "empty", "unknown"] {
        let id = TenantId::new(id.as_bytes()).unwrap();
        let [quick, careful] = policies.each_ref().map(|policy| {
            let (jurisdiction, group) = policy.routing.belongs(&id, None);
            (policy.routing.place(&id, None), jurisdiction, group.map(ToOwned::to_owned))
        });
        assert_eq!(quick, careful, "{id}");
    }
    let named = policies[0].routing.belongs(&TenantId::new(b"B").unwrap(), None);
    assert_eq!(named, (Some(Jurisdiction::NorthernIreland), Some("Siân’s")));
}

#[test]
fn entries_that_are_wrong_are_left_to_the_careful_reader() {
    for (change, problem) in [
        (r#""care-home-0042":{"pool":"none"}"#, "tenants.entries.care-home-0042.pool: "),
        (r#""care-home-0042":{"group":""}"#, "tenants.entries.care-home-0042.group: "),
        (r#""care-home-0042":{"pool":1}"#, "tenants.entries.care-home-0042.pool: invalid type: integer `1`"),
        (r#""care-home-0042":{},"care-home-0042":{}"#, "not the JSON of a policy document: the key "),
        (r#""care-home-0042":{}}"#, "not the JSON of a policy document: "),
        (r#""9434765919":{}"#, "tenants.entries.9434765919: "),
    ] {
        let text = complete().to_string();
        let entry = r#""care-home-0042":{"cohort":"canary","jurisdiction":"scotland","pool":"dedicated-a"}"#;
        assert!(text.contains(entry), "{text}");
        let problems = Policy::from_json(text.replace(entry, change).as_bytes()).unwrap_err();
        assert!(problems.to_string().starts_with(problem), "{change}: {problems}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let problems = problems_after(|document| {
        set(document, "/contexts/0/colour", json!("red"));
        set(document, "/contexts/0/flags", json!([1, "ok"]));
        set(document, "/contexts/0/match/0/path", json!("api/x"));
        set(document, "/contexts/1/complianceLevel", json!(3));
        set(document, "/contexts/2/match/0", json!("GET /health"));
        set(document, "/sampling/tiers/clinical", json!("half"));
        set(document, "/routing/pools", json!(7));
        set(document, "/extra", json!({}));
        set(document, "/version", json!("v0"));
    });
    let places: Vec<_> = problems.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    for place in [
        "contexts[0].colour",
        "contexts[0].flags[0]",
        "contexts[0].match[0].path",
        "contexts[1].complianceLevel",
        "contexts[2].match[0]",
        "sampling.tiers.clinical",
        "routing.pools",
        "extra",
        "version",
    ] {
        assert_eq!(places.iter().filter(|seen| **seen == place).count(), 1, "{place} in {problems:#?}");
    }
}

#[test]
fn a_document_with_hundreds_of_problems_is_told_of_those_that_were_found_and_of_no_others() {
    let problems = problems_after(|document| {
        let wrong = (0..300).map(|number| (format!("field-{number:03}"), json!(0))).collect::<serde_json::Map<_, _>>();
        document.as_object_mut().unwrap().extend(wrong);
    });
    let (last, found) = problems.split_last().unwrap();
    assert!(found.iter().all(|problem| problem.contains("unknown field")), "{found:#?}");
    assert!(last.starts_with("there are too many problems to read on"), "{last}");
}

#[test]
fn what_is_not_a_document_is_said_in_one_line() {
    for (bytes, start) in [
        (&b""[..], "not the JSON of a policy document: EOF"),
        (b"version: careplane/v1", "not the JSON of a policy document: expected value"),
        (b"[]", "a list is not a policy document: expected a map with `version`"),
        (b"\xff", "not the JSON of a policy document"),
        (
            br#"{"version": "careplane/v1", "version": "careplane/v1"}"#,
            "not the JSON of a policy document: the key \"version\" is given twice",
        ),
    ] {
        let problems = Policy::from_json(bytes).unwrap_err();
        assert!(problems.to_string().starts_with(start), "{problems}");
    }
}
