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
            "widens": false, "routes": [], "access": [], "headers": [], "traces": null, "records": null,
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
            "a caller with claim tenant_id, another tenant in the path parameter tenant",
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
        json!(["a caller under grant emergency, another tenant in path parameter tenant"])
    );
    assert_eq!(access[0]["new"], "allowed as tenant made-up-home-b, under grant emergency");
    assert_eq!(difference("test/grants.yaml", without, &[]).0, Some(0));
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
