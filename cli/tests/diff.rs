//! `careplane diff`: what it says of two policies, word for word, and of requests that were recorded.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn careplane(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_careplane"))
        .current_dir(tests())
        .env_remove("CAREPLANE_PSEUDONYM_KEY")
        .args(arguments)
        .output()
        .unwrap()
}

fn golden(name: &str, arguments: &[&str]) {
    let file = tests().join("diff").join(name);
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let output = careplane(&[&["diff", "diff/old.yaml", "diff/new.yaml"], arguments].concat());
    let found = String::from_utf8(output.stdout).unwrap();
    assert_eq!(found, expected, "{} is not what is said now", file.display());
    // Access widens.
    assert_eq!(output.status.code(), Some(1));
}

fn difference(old: &str, new: &str, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = careplane(&[&["diff", old, new, "-o", "json"], arguments].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    let value = serde_json::from_str(&text);
    (output.status.code(), value.unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr))))
}

/// A policy of the tests with something replaced.
fn changed(name: &str, from: &str, to: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("diff");
    std::fs::create_dir_all(&folder).unwrap();
    let text = std::fs::read_to_string(tests().join("diff/old.yaml")).unwrap();
    assert!(text.contains(from), "{from}");
    let file = folder.join(name);
    std::fs::write(&file, text.replace(from, to)).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn people_see_what_changes_for_whom() {
    golden("human.txt", &["--rate", "10"]);
}

#[test]
fn a_pull_request_gets_tables() {
    golden("markdown.md", &["--rate", "10", "-o", "markdown"]);
}

#[test]
fn the_same_policy_changes_nothing() {
    let (code, found) = difference("diff/old.yaml", "diff/old.yaml", &[]);
    assert_eq!(code, Some(0));
    assert_eq!(
        found,
        json!({
            "widens": false, "routes": [], "access": [], "grants": [], "headers": [], "traces": null, "records": null,
            "notCompared": [],
            "tenants": {"pinned": [], "sampled": 10_000, "moves": [], "shares": []},
        })
    );
}

/// Each way in, alone: what widens has exit code 1, and its opposite has 0.
#[test]
fn access_widens_one_way_and_not_the_other() {
    const TENANT: &str = "[{claim: tenant_id}, {path: tenant}, {header: x-tenant-id}]";
    const RESIDENT: &str = "    subject: id\n";
    for (name, from, to, caller, old, new) in [
        (
            "peer.yaml",
            "    - spiffe://cluster.local/ns/core-healthcare/sa/api-gateway\n",
            "    - spiffe://cluster.local/ns/core-healthcare/sa/api-gateway\n    - spiffe://cluster.local/ns/new/*\n",
            "spiffe://cluster.local/ns/new/made-up with header x-tenant-id",
            "denied: tenant-missing",
            "allowed as tenant made-up-home-a",
        ),
        (
            "any.yaml",
            "trustedPeers:\n    - spiffe://cluster.local/ns/core-healthcare/sa/api-gateway\n",
            "trustedPeers: any\n",
            "a caller without certificate, with header x-tenant-id",
            "denied: tenant-missing",
            "allowed as tenant made-up-home-a",
        ),
        (
            "boundary.yaml",
            TENANT,
            "[{claim: tenant_id}, {header: x-tenant-id}]",
            "a caller with claim tenant_id, another tenant in path parameter tenant",
            "denied: tenant-conflict",
            "allowed as tenant made-up-home-a",
        ),
        (
            "claim.yaml",
            TENANT,
            "[{claim: tenant_id}, {claim: [org, home]}, {path: tenant}, {header: x-tenant-id}]",
            "a caller with claim org.home",
            "denied: tenant-missing",
            "allowed as tenant made-up-home-a",
        ),
        (
            "optional.yaml",
            RESIDENT,
            "    subject: id\n    tenant: optional\n",
            "a caller without identity",
            "denied: tenant-missing",
            "allowed, without identity",
        ),
        (
            "shadow.yaml",
            "identity:\n",
            "enforcement: shadow\nidentity:\n",
            "a caller without identity",
            "denied: tenant-missing",
            "in shadow: let through, headers as they came",
        ),
        (
            "overrides.yaml",
            "identity:\n",
            "identity:\n  overrides: pass\n",
            "an untrusted peer with headers that override the method or the URL",
            "they are removed",
            "they pass",
        ),
    ] {
        let other = changed(name, from, to);
        let (code, wider) = difference("diff/old.yaml", &other, &[]);
        let access = wider["access"].as_array().unwrap();
        let is_it = |change: &&Value| change["callers"].as_array().unwrap().contains(&json!(caller));
        let change = access.iter().find(is_it).unwrap_or_else(|| panic!("{name}: {access:?}"));
        assert_eq!((&change["kind"], &change["old"], &change["new"]), (&json!("gained"), &json!(old), &json!(new)));
        assert_eq!((code, &wider["widens"]), (Some(1), &json!(true)), "{name}");
        let (code, narrower) = difference(&other, "diff/old.yaml", &[]);
        let gains = narrower["access"].as_array().unwrap().iter().any(|change| change["kind"] == "gained");
        // One source more or less is both: it names a tenant, and it contradicts others.
        let is_narrower = !["boundary.yaml", "claim.yaml"].contains(&name);
        assert_eq!((code, gains), (Some(i32::from(!is_narrower)), !is_narrower), "{name}: {narrower:#}");
    }
}

#[test]
fn headers_that_are_renamed_or_omitted_are_a_change() {
    let headers = "routing:\n";
    let omitted = "headers: {tenantId: X-Home, omit: [x-compliance-level, x-tenant-pool]}\nrouting:\n";
    let new = changed("headers.yaml", headers, omitted);
    let (code, found) = difference("diff/old.yaml", &new, &[]);
    assert_eq!(code, Some(0));
    let expected = json!([
        {"field": "tenant", "old": "x-tenant-id", "new": "x-home"},
        {"field": "level", "old": "x-compliance-level", "new": null},
        {"field": "pool", "old": "x-tenant-pool", "new": null},
    ]);
    assert_eq!((&found["headers"], &found["access"]), (&expected, &json!([])));
    let text = careplane(&["diff", "diff/old.yaml", &new]).stdout;
    let expected = "headers\n  tenant x-tenant-id → x-home\n  level x-compliance-level → none\n  pool x-tenant-pool → \
                    none\n\nNo access widens.\n";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
    let text = careplane(&["diff", "diff/old.yaml", &new, "-o", "markdown"]).stdout;
    assert!(String::from_utf8(text).unwrap().contains("**Headers**: tenant x-tenant-id → x-home, level"));
}

#[test]
fn a_grant_is_access() {
    let grants = std::fs::read_to_string(tests().join("test/grants.yaml")).unwrap();
    let [start, end] = ["    - name: emergency", "contexts:"].map(|mark| grants.find(mark).unwrap());
    let without = Path::new(env!("CARGO_TARGET_TMPDIR")).join("without-grant.yaml");
    std::fs::write(&without, [&grants[..start], &grants[end..]].concat()).unwrap();
    let without = without.to_str().unwrap();
    let (code, found) = difference(without, "test/grants.yaml", &[]);
    assert_eq!(code, Some(1));
    let access = found["access"].as_array().unwrap();
    assert_eq!(
        access[0]["callers"],
        json!(["a caller under grant emergency (claim role: clinician, claim purpose: BTG), made-up-home-b in path \
                parameter tenant"])
    );
    assert_eq!(access[0]["new"], "allowed as tenant made-up-home-b, under grant emergency");
    assert_eq!(difference("test/grants.yaml", without, &[]).0, Some(0));
}

/// What is said of two policies that are written here: the exit code, and each gain as old, new and its callers.
fn gains(name: &str, old: &str, new: &str) -> (Option<i32>, Vec<String>, Value) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gains");
    std::fs::create_dir_all(&folder).unwrap();
    let files = [("old", old), ("new", new)].map(|(side, text)| {
        let file = folder.join(format!("{name}-{side}.yaml"));
        std::fs::write(&file, format!("version: careplane/v1\n{text}")).unwrap();
        file.to_str().unwrap().to_owned()
    });
    let (code, found) = difference(&files[0], &files[1], &[]);
    let gained = found["access"].as_array().unwrap().iter().filter(|change| change["kind"] == "gained");
    let text = |change: &Value| {
        let callers: Vec<&str> =
            change["callers"].as_array().unwrap().iter().map(|caller| caller.as_str().unwrap()).collect();
        format!("{} → {}: {}", change["old"].as_str().unwrap(), change["new"].as_str().unwrap(), callers.join("; "))
    };
    (code, gained.map(text).collect(), found)
}

const RESIDENTS: &str = r#"contexts:
  - {name: residents, complianceLevel: high, match: [{path: "/residents/{id}"}]}
"#;

/// A policy with one grant, whose terms are given.
fn granting(terms: &str) -> String {
    format!(
        "identity:\n  tenant: {{sources: [{{claim: homes}}, {{header: x-tenant-id}}]}}\n  \
         purpose: {{sources: [{{header: x-purpose}}]}}\n  grants: [{{name: visit, {terms}}}]\nexport: {{cluster: c}}\n\
         tenants:\n  entries: {{home-1: {{group: willow}}, home-2: {{group: willow}}}}\n{RESIDENTS}"
    )
}

#[test]
fn a_grant_that_gets_wider_is_seen() {
    let inspector = "when: {claim: roles, anyOf: [inspector]}, tenants: any, requires: {purpose: [BTG]}";
    let equals = "when: {claim: roles, equals: inspector}, tenants: any";
    let two = "when: [{claim: roles, contains: a}, {claim: roles, contains: b}], tenants: any";
    let group = "when: {claim: roles, contains: manager}, tenants: {group: {claim: groups}}";
    let limit = |limit: &str| format!("{equals}, atMost: {{perUser: {limit}}}");
    let replaced = |terms: &str, from: &str, to: &str| granting(terms).replace(from, to);
    for (name, old, new, gain) in [
        (
            "one-more",
            granting(inspector),
            replaced(inspector, "[inspector]", "[inspector, cleaner]"),
            "denied: tenant-missing → allowed as tenant made-up-home-b, under grant visit: a caller under grant visit \
             (claim roles: cleaner, header x-purpose: BTG), made-up-home-b in header x-tenant-id",
        ),
        ("another", granting(inspector), replaced(inspector, "[inspector]", "[cleaner]"), "(claim roles: cleaner, "),
        ("purpose", granting(inspector), replaced(inspector, "[BTG]", "[BTG, TREAT]"), "header x-purpose: TREAT)"),
        ("no-purpose", granting(inspector), replaced(inspector, "[BTG]", "[]"), "(claim roles: inspector, without a "),
        (
            "purpose-elsewhere",
            granting(inspector),
            replaced(inspector, "{header: x-purpose}", "{header: x-purpose}, {claim: purpose}"),
            "claim purpose: BTG",
        ),
        (
            "purpose-order",
            replaced(inspector, "{header: x-purpose}", "{claim: purpose}, {header: x-purpose}"),
            replaced(inspector, "{header: x-purpose}", "{header: x-purpose}, {claim: purpose}"),
            "(claim roles: inspector, header x-purpose: BTG, claim purpose: made-up)",
        ),
        (
            "list",
            granting(equals),
            replaced(equals, "equals", "contains"),
            "(claim roles: [\"inspector\",\"made-up\"])",
        ),
        ("condition", granting(two), replaced(two, ", {claim: roles, contains: b}", ""), "(claim roles: a)"),
        (
            "group",
            granting(group),
            replaced(group, "home-2: {group: willow}", "home-2: {group: oak}"),
            "home-2 in header",
        ),
        ("limit", granting(&limit("2, within: 1h")), granting(&limit("3, within: 1h")), "at most 2 in 3600s → "),
        ("sooner", granting(&limit("2, within: 1h")), granting(&limit("2, within: 1m")), "at most 2 in 3600s → "),
        ("free", granting(&limit("2, within: 1h")), granting(equals), "under grant visit, at most 2 in 3600s → "),
    ] {
        let (code, gained, found) = gains(name, &old, &new);
        assert_eq!(code, Some(1), "{name}: {found:#}");
        assert!(gained.iter().any(|text| text.contains(gain)), "{name}: {gained:#?}");
        assert_eq!(found["notCompared"], json!([]), "{name}");
        let is_narrower = !["another", "group", "purpose-order"].contains(&name);
        assert_eq!(gains(name, &new, &old).0, Some(i32::from(!is_narrower)), "{name}, back");
    }
    let (_, _, found) = gains("group", &granting(group), &replaced(group, "home-2: {group: willow}", "home-2: {}"));
    let moved = json!([{"tenant": "home-2", "changes": [{"field": "group", "old": "willow", "new": null}]}]);
    assert_eq!(found["tenants"]["pinned"], moved);
}

#[test]
fn terms_of_a_grant_are_told_by_its_name() {
    let old = granting("when: {claim: roles, contains: nurse}, tenants: any, writeAhead: true, flags: [emergency]");
    let new = granting("when: {claim: roles, contains: nurse}, tenants: any, atMost: {perUser: 5, within: 1h}");
    let (code, _, found) = gains("terms", &old, &new);
    assert_eq!(code, Some(0));
    let expected = json!([{"grant": "visit", "changes": [
        {"field": "at most", "old": null, "new": "5 in 3600s"},
        {"field": "waits for evidence", "old": "yes", "new": "no"},
        {"field": "flags", "old": "emergency", "new": null},
    ]}]);
    assert_eq!(found["grants"], expected);
}

/// What is tried is bounded, and what is left out is said.
#[test]
fn callers_of_a_large_grant_are_counted() {
    let roles = |name: &str| (0..40).map(|number| format!("{name}-{number}")).collect::<Vec<_>>().join(", ");
    let terms = |last: &str| {
        let (one, two) = (roles("role"), roles("team"));
        format!("when: [{{claim: roles, anyOf: [{one}]}}, {{claim: teams, anyOf: [{two}{last}]}}], tenants: any")
    };
    let (code, gained, found) = gains("large", &granting(&terms("")), &granting(&terms(", team-new")));
    assert_eq!(code, Some(1));
    assert!(gained[0].contains("claim teams: team-new"), "{gained:?}");
    assert!(found["notCompared"][0].as_str().unwrap().contains("grant visit: "), "{found:#}");
    let (code, _, found) = gains("large", &granting(&terms("")), &granting(&terms("")));
    assert_eq!((code, found["notCompared"].as_array().unwrap().len()), (Some(0), 1));
}

#[test]
fn the_issuer_of_a_claim_is_a_boundary() {
    let claiming = |issuer: &str| format!("identity: {{tenant: {{sources: [{{claim: home{issuer}}}]}}}}\n{RESIDENTS}");
    let [one, other] = [", issuer: 'https://id.example'", ", issuer: 'https://evil.example'"].map(claiming);
    let any = claiming("");
    let (code, gained, _) = gains("any-issuer", &one, &any);
    let expected = "denied: tenant-missing → allowed as tenant made-up-home-a: a caller with claim home; a caller with \
                    claim home of another issuer";
    assert_eq!((code, gained), (Some(1), vec![expected.to_owned()]));
    assert_eq!(gains("any-issuer-back", &any, &one).0, Some(0));
    let (code, gained, _) = gains("other-issuer", &one, &other);
    let expected = "denied: tenant-missing → allowed as tenant made-up-home-a: a caller with claim home of \
                    https://evil.example";
    assert_eq!((code, gained), (Some(1), vec![expected.to_owned()]));
}

#[test]
fn tenants_that_a_policy_knows_are_tried_where_it_refuses_others() {
    let policy = |peers: &str, tenants: &str| {
        let identity = format!("identity: {{trustedPeers: {peers}, tenant: {{sources: [{{header: x-tenant-id}}]}}}}");
        format!("{identity}\ntenants: {{unknown: deny, {tenants}}}\n{RESIDENTS}")
    };
    let one = "entries: {home-1: {}}";
    let (code, gained, _) = gains("deny", &policy("[]", one), &policy("any", one));
    assert_eq!(code, Some(1));
    assert!(
        gained[0].starts_with("denied: tenant-missing → allowed as tenant home-1: a caller without certi"),
        "{gained:?}"
    );
    assert_eq!(gains("deny", &policy("any", one), &policy("[]", one)).0, Some(0));
    // A tenant that comes, and one that goes.
    let (code, gained, _) = gains("comes", &policy("any", one), &policy("any", "entries: {home-1: {}, home-2: {}}"));
    assert_eq!(code, Some(1));
    assert!(gained[0].starts_with("denied: tenant-unknown → allowed as tenant home-2"), "{gained:?}");
    assert_eq!(gains("goes", &policy("any", "entries: {home-1: {}, home-2: {}}"), &policy("any", one)).0, Some(0));
    // What is in a directory is not in the policy.
    let directory = "directory: {cluster: d}";
    let (code, _, found) = gains("directory", &policy("[]", directory), &policy("any", directory));
    assert_eq!(code, Some(0));
    assert!(found["notCompared"][0].as_str().unwrap().starts_with("callers of a tenant: "), "{found:#}");
}

#[test]
fn every_source_and_every_peer_is_tried() {
    let policy = |peers: &str, sources: &str, rest: &str| {
        let identity = format!("identity: {{trustedPeers: {peers}, tenant: {{sources: [{sources}]}}{rest}}}");
        let tenant = r#"  - {name: home, complianceLevel: low, match: [{path: "/tenants/{tenant}"}]}"#;
        format!("{identity}\n{RESIDENTS}{tenant}\n")
    };
    let (header, host) = ("{header: x-tenant-id}", "{header: x-tenant-id}, {host: '{tenant}.example.com'}");
    let list = "{claim: homes}, {header: x-tenant-id}";
    let path = "{claim: home}, {path: tenant}";
    let peer = "['spiffe://cluster.local/ns/x/sa/y']";
    for (name, old, new, gain) in [
        (
            "host",
            policy("[]", header, ""),
            policy("[]", host, ""),
            "denied: tenant-missing → allowed as tenant made-up-home-a: a caller without certificate, with host ",
        ),
        (
            "path",
            policy("[]", path, ""),
            policy(peer, path, ""),
            "denied: tenant-missing → allowed as tenant made-up-home-a: spiffe://cluster.local/ns/x/sa/y with path ",
        ),
        (
            "ambiguous",
            format!("paths: {{ambiguous: reject}}\n{}", policy("any", header, "")),
            policy("any", header, ""),
            "denied: path-ambiguous → allowed as tenant made-up-home-a: a caller without certificate, with its tenant ",
        ),
        (
            "list",
            policy("[]", "{claim: homes}", ""),
            policy("[]", list, ""),
            "denied: tenant-unselected → allowed as tenant made-up-home-a: a caller with two tenants in claim homes, ",
        ),
        (
            "user",
            policy(peer, header, ", user: {sources: [{claim: sub}]}"),
            policy(peer, header, ", user: {sources: [{claim: sub}, {header: x-user}]}"),
            "allowed as tenant made-up-home-a → allowed as tenant made-up-home-a, user made-up-user-a: a trusted peer ",
        ),
        (
            "last-grant",
            policy("[]", host, ", grants: [{name: visit, when: {claim: roles, contains: a}, tenants: any}]"),
            policy("[]", host, ""),
            "denied: tenant-conflict → allowed as tenant made-up-home-a: a caller without certificate, with host \
             {tenant}.example.com, another tenant in header x-tenant-id",
        ),
        (
            "user-twice",
            policy("[]", list, ", user: {sources: [{claim: sub}, {header: x-user}]}"),
            policy("[]", list, ", user: {sources: [{claim: sub}]}"),
            "denied: identity-repeated → allowed as tenant made-up-home-a: a caller without certificate, with its \
             tenant in each source, header x-user twice",
        ),
    ] {
        let (code, gained, found) = gains(name, &old, &new);
        assert_eq!(code, Some(1), "{name}: {found:#}");
        assert!(gained.iter().any(|text| text.starts_with(gain)), "{name}: {gained:#?}");
    }
}

#[test]
fn every_method_and_what_no_context_matches_is_tried() {
    let context = |matches: &str, default: &str| {
        format!(
            "contexts: [{{name: records, complianceLevel: low, match: [{matches}]}}]\n\
             defaultContext: {{name: general, complianceLevel: low, tier: never, audit: none, tenant: {default}}}\n"
        )
    };
    let reads = |actions: &str| {
        granting(&format!("when: {{claim: roles, contains: a}}, tenants: any, actions: [read{actions}]"))
    };
    let (pages, tree) = ("{path: '/{a}/{b}'}, {path: '/{a}'}", "{path: '/{*rest}'}");
    for (name, old, new, route) in [
        (
            "methods",
            context("{path: /records}", "optional"),
            context("{path: /records, methods: [GET, POST, PUT, PATCH, DELETE]}", "optional"),
            "OTHER /records",
        ),
        ("depth", context(pages, "required"), context(pages, "optional"), "what no context matches"),
        ("root", context(tree, "required"), context(tree, "optional"), "what no context matches"),
        ("action", reads(""), reads(", delete"), "DELETE /residents/{id}"),
    ] {
        let (code, _, found) = gains(name, &old, &new);
        let access = found["access"].as_array().unwrap();
        let is_there = |change: &Value| change["kind"] == "gained" && change["routes"].to_string().contains(route);
        assert_eq!((code, access.iter().any(is_there)), (Some(1), true), "{name}: {found:#}");
        assert_eq!(found["notCompared"], json!([]), "{name}");
        assert_eq!(gains(name, &new, &old).0, Some(0), "{name}, back");
    }
    // At a depth that the new template does not have.
    let page = "{path: '/{id}'}";
    let old = context(tree, "optional").replace("low, match", "low, tenant: required, match");
    assert_eq!(gains("deep", &old, &old.replace(tree, page)).0, Some(1));
    let all = "{path: '/{*rest}'}, {path: /}";
    let (_, _, found) = gains("none", &context(all, "required"), &context(all, "optional"));
    assert_eq!(found["notCompared"], json!(["what no context matches: no such path of both policies was found"]));
}

#[test]
fn tenants_are_folded_as_the_policies_fold_them() {
    let policy = |case: &str, pool: &str| {
        format!(
            "identity: {{tenant: {{case: {case}, sources: [{{claim: home}}, {{claim: site}}]}}}}\n\
             routing: {{pools: [a], dedicated: [b, c]}}\n\
             tenants: {{entries: {{Home-1: {{pool: {pool}}}}}}}\n{RESIDENTS}"
        )
    };
    let (code, _, found) = gains("fold", &policy("lower", "b"), &policy("lower", "c"));
    let moved = |tenant: &str, old: &str, new: &str| {
        let changes = json!([{"field": "pool", "old": old, "new": new}]);
        json!({"tenant": tenant, "changes": changes})
    };
    assert_eq!((code, &found["tenants"]["pinned"]), (Some(0), &json!([moved("home-1", "b", "c")])));
    let (code, gained, found) = gains("unfold", &policy("exact", "b"), &policy("lower", "c"));
    let both = json!([moved("Home-1", "b", "c"), moved("home-1", "a", "c")]);
    assert_eq!((code, &found["tenants"]["pinned"]), (Some(1), &both));
    let gain = "denied: tenant-conflict → allowed as tenant made-up-home-a: a caller with claim home, the same in ";
    assert!(gained.iter().any(|text| text.starts_with(gain)), "{gained:#?}");
}

#[test]
fn unknown_tenants_and_ambiguous_paths_are_access() {
    let denies = changed("unknown.yaml", "tenants:\n", "tenants:\n  unknown: deny\n");
    let (code, found) = difference("diff/old.yaml", &denies, &[]);
    assert_eq!(code, Some(0));
    assert_eq!(
        (&found["access"][0]["kind"], &found["access"][0]["new"]),
        (&json!("lost"), &json!("denied: tenant-unknown"))
    );
    assert!(found["tenants"]["moves"].as_array().unwrap().contains(&json!({
        "field": "access", "old": "routed", "new": "denied", "tenants": 10_000,
    })));
    assert_eq!(difference(&denies, "diff/old.yaml", &[]).0, Some(1));
    let rejects = changed("paths.yaml", "identity:\n", "paths: {ambiguous: reject}\nidentity:\n");
    let (code, found) = difference(&rejects, "diff/old.yaml", &[]);
    assert_eq!((code, &found["access"][0]["old"]), (Some(1), &json!("denied: path-ambiguous")));
    // `/residents/admit.json` is another context's, until that is gone.
    let admit = r#"match: [{path: /residents/admit}]}
  - {name: residents,"#;
    let new = format!("paths: {{ambiguous: reject}}\n{RESIDENTS}");
    let old = new.replace("{name: residents,", &format!("{{name: admit, complianceLevel: high, {admit}"));
    let (code, gained, _) = gains("suffix", &old, &new);
    let expected = "denied: path-ambiguous → allowed as tenant made-up-home-a: a caller without certificate, with its \
                    tenant in each source, a suffix at the path";
    assert_eq!((code, gained), (Some(1), vec![expected.to_owned()]));
    assert_eq!(gains("suffix", &new, &old).0, Some(0));
}

/// Records as the filters make them, by `explain` under the old policy.
fn records(name: &str, requests: &[&[&str]]) -> String {
    let mut lines = String::new();
    for (index, arguments) in requests.iter().enumerate() {
        let explain = ["explain", "--policy", "diff/old.yaml", "--format", "json"];
        let output = careplane(&[&explain[..], arguments].concat());
        let account: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut record = account["record"]["record"].clone();
        record["chain"]["seq"] = (index + 1).into();
        record["time"] = format!("2026-10-01T{index:02}:00:00.000000Z").into();
        lines += &format!("{record}\n");
        if index == 0 {
            // In a second log as well.
            lines += &format!("{record}\n");
        }
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, lines).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn recorded_requests_are_decided_again() {
    const GATEWAY: &str = "spiffe://cluster.local/ns/core-healthcare/sa/api-gateway";
    let staff = "/api/v1/tenants/care-home-0001/staff";
    let resident = "/api/v1/residents/17";
    let file = records(
        "diff-records.jsonl",
        &[
            &["--request", resident, "--claim", "tenant_id=care-home-0001", "--sampling-number", "3000"],
            &["--request", resident, "--claim", "tenant_id=care-home-0001", "--sampling-number", "1000"],
            &["--request", staff, "--claim", "tenant_id=care-home-0042"],
            &["--request", staff, "-H", "x-tenant-id: care-home-0001", "--peer", GATEWAY],
            &["--request", resident, "-H", "x-tenant-id: a", "-H", "x-tenant-id: b", "--peer", GATEWAY],
            &["--request", "/elsewhere", "--claim", "tenant_id=care-home-0042"],
        ],
    );
    let (code, found) = difference("diff/old.yaml", "diff/new.yaml", &["--records", &file]);
    assert_eq!(code, Some(1));
    let records = &found["records"];
    assert_eq!(
        (&records["compared"], &records["withoutTemplate"], &records["notReproduced"]),
        (&json!(5), &json!(1), &json!(0))
    );
    let changes: Vec<(&str, &str, u64)> = records["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let first = it["changes"][0]["field"].as_str().unwrap();
            (it["kind"].as_str().unwrap(), first, it["requests"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(changes, [("gained", "decision", 1), ("lost", "tenant", 1), ("otherwise", "trace", 1)]);
    assert_eq!(found["traces"]["shares"], "records");
    // A record can be made up, and its id a line of its own.
    let text = std::fs::read_to_string(&file).unwrap();
    let id = records["changes"][0]["example"].as_str().unwrap();
    let hostile = file.replace("records", "hostile");
    std::fs::write(&hostile, text.replace(id, "\\u001b[31m\\nNo access widens.")).unwrap();
    let output = careplane(&["diff", "diff/old.yaml", "diff/new.yaml", "--records", &hostile]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("such as request \\u{1b}[31m\\nNo access widens.\n"), "{said}");
    // What another policy recorded is not taken for a change.
    let (_, found) = difference("diff/new.yaml", "diff/old.yaml", &["--records", &file]);
    assert_eq!(found["records"]["notReproduced"], 2, "{found:#}");
}

#[test]
fn the_schema_is_the_published_one() {
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/diff.schema.json");
    let schema = String::from_utf8(careplane(&["schema", "diff"]).stdout).unwrap();
    assert_eq!(schema, std::fs::read_to_string(published).unwrap(), "run `make schema`");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let broken = changed("broken.yaml", "complianceLevel: critical", "complianceLevel: grave");
    for (arguments, expected) in [
        (&["diff/old.yaml", "diff/absent.yaml"][..], "diff/absent.yaml cannot be read"),
        (&["diff/old.yaml", &broken], "broken.yaml:9:22: contexts[0].complianceLevel"),
        (&["diff/old.yaml", "diff/new.yaml", "--rate", "0"], "expected requests a second"),
        (&["diff/old.yaml", "diff/new.yaml", "--rate", "1e308"], "at most 1000000000"),
        (
            &["diff/old.yaml", "diff/new.yaml", "--records", "diff/old.yaml"],
            "no audit record of a request in diff/old.yaml",
        ),
    ] {
        let output = careplane(&[&["diff"], arguments].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}
