//! `careplane test`: what it says, word for word, and the tests of the policies that are shipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn careplane(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_careplane"))
        .current_dir(folder)
        .env_remove("CAREPLANE_PSEUDONYM_KEY")
        .arg("test")
        .args(arguments)
        .output()
        .unwrap()
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn golden(name: &str, code: i32, arguments: &[&str]) {
    let file = tests().join("test").join(name);
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let output = careplane(&tests(), arguments);
    let found = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(found, expected, "{} is not what is said now", file.display());
    assert_eq!(output.status.code(), Some(code));
}

/// What is said of tests of a policy, and the exit code.
fn of(policy: &str, tests: &str, arguments: &[&str]) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.yaml"), policy).unwrap();
    std::fs::write(folder.path().join("policy_test.yaml"), tests).unwrap();
    let output = careplane(folder.path(), arguments);
    (String::from_utf8([output.stdout, output.stderr].concat()).unwrap(), output.status.code())
}

#[test]
fn people_see_the_lines_that_are_not_as_expected_and_what_no_case_touches() {
    golden("human.txt", 1, &["test/rounds_test.yaml", "--coverage"]);
}

#[test]
fn null_takes_a_member_away_from_defaults_and_from_a_layer_below() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "a.yaml",
        "version: careplane/v1\nidentity: {tenant: {required: false}}\nsampling: {tiers: {default: 20, x: 5}}\n\
         contexts: [{name: a, complianceLevel: low, match: [{path: /a}]}]\n",
    );
    write("b.yaml", "version: careplane/v1\ncontexts: null\nheaders: null\nsampling: {tiers: {x: null, z: null}}\n");
    write(
        "a_test.yaml",
        "policy: [a.yaml, b.yaml]\ndefaults: {collector: unavailable, peer: spiffe://a}\n\
         cases: [{request: /a, collector: null, peer: null, expect: {context: general, tenant: null}}]\n",
    );
    let output = careplane(folder.path(), &[]);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(said, "a_test.yaml: 1 case, all as expected\n");
}

#[test]
fn a_case_without_a_name_is_where_it_is_written_and_not_at_the_defaults() {
    let tests = |expect: &str| format!("defaults: {{claims: {{tenant_id: a}}}}\ncases:\n  - {{request: /a{expect}}}\n");
    let (said, code) = of("version: careplane/v1\n", &tests(", expect: {decision: denied}"), &["-o", "junit"]);
    assert!(said.contains("policy_test.yaml:3:5\n"), "{said}");
    assert_eq!(code, Some(1));
    let (said, code) = of("version: careplane/v1\n", &tests(""), &[]);
    assert!(said.starts_with("error: the case expects nothing\n --> policy_test.yaml:3:5\n"), "{said}");
    assert_eq!(code, Some(2));
}

#[test]
fn a_part_of_a_text_is_a_text() {
    let tests = "cases:\n  - request: GET /<id>\n    expect: {tenant: null, decision: denied}\n    \
                 table: [{id: 7}, {id: null}]\n";
    let (said, code) = of("version: careplane/v1\n", tests, &[]);
    let expected = "error: id is null\n --> policy_test.yaml:4:27\n";
    assert!(said.starts_with(expected) && said.contains("expected a text, as a part of \"GET /<id>\""), "{said}");
    assert_eq!(code, Some(2));
}

#[test]
fn a_request_has_no_member_that_is_not_read() {
    let tests = "cases: [{request: {methd: POST, path: /a}, expect: {decision: allowed}}]\n";
    let (said, code) = of("version: careplane/v1\n", tests, &[]);
    assert!(said.contains("a request has no \"methd\""), "{said}");
    assert_eq!(code, Some(2));
}

#[test]
fn a_second_document_is_no_test_that_passes() {
    let case = "cases: [{request: /, expect: {decision: allowed}}]\n";
    let (said, code) = of("version: careplane/v1\n", &format!("{case}---\n{case}"), &[]);
    assert!(said.starts_with("error: a second document\n --> policy_test.yaml:3:1"), "{said}");
    assert_eq!(code, Some(2));
}

#[test]
fn programs_read_tap_and_junit() {
    golden("tap.txt", 1, &["test/rounds_test.yaml", "--format", "tap"]);
    golden("junit.xml", 1, &["test/rounds_test.yaml", "-o", "junit"]);
}

#[test]
fn json_has_each_case_with_its_request() {
    let output = careplane(&tests(), &["test/rounds_test.yaml", "-o", "json", "--coverage"]);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&result["cases"], &result["failed"]), (&json!(8), &json!(2)));
    let file = &result["files"][0];
    assert_eq!(file["cases"][1]["name"], "A read is traced below the rate of its tier (number=4999, trace=kept)");
    assert_eq!(file["cases"][1]["request"]["number"], 4999);
    assert_eq!(file["cases"][4]["request"]["claims"], json!({}));
    let mismatch = &file["cases"][6]["mismatches"][0];
    assert_eq!(
        (&mismatch["key"], &mismatch["expected"], &mismatch["found"], &mismatch["place"]["line"]),
        (&json!("pool"), &json!("pool-a"), &json!("pool-b"), &json!(44))
    );
    assert_eq!(
        file["coverage"][0],
        json!({"part": "contexts", "total": 5, "untouched": [
            {"name": "general", "place": null},
        ]})
    );
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_its_place() {
    golden("broken.txt", 2, &["test/broken/broken.yaml"]);
}

#[test]
fn what_cannot_be_tested_is_refused() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("policy-tests");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("alone_test.yaml", "cases: [{request: GET /, expect: {decision: allowed}}]\n");
    write("refused.yaml", "version: careplane/v1\ncontexts: [{name: a}]\n");
    write("refused_test.yaml", "cases: [{request: GET /, expect: {decision: allowed}}]\n");
    write("yaml_test.yaml", "cases: [\n");
    std::fs::create_dir_all(folder.join("empty")).unwrap();
    for (argument, expected) in [
        ("alone_test.yaml", "there is no alone.yaml beside it"),
        ("refused_test.yaml", "refused.yaml: the policy is refused\n  refused.yaml:2:12: contexts[0]"),
        ("yaml_test.yaml", "not YAML"),
        ("empty", "no tests in empty: expected files named such as policy_test.yaml"),
        ("absent_test.yaml", "absent_test.yaml cannot be read"),
    ] {
        let output = careplane(&folder, &[argument]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn one_case_can_be_run_alone_and_untouched_parts_can_fail() {
    let code = |arguments: &[&str]| careplane(&tests(), arguments).status.code();
    assert_eq!(code(&["test/rounds_test.yaml", "--only", "A nurse"]), Some(0));
    assert_eq!(code(&["test/rounds_test.yaml", "--only", "no such case"]), Some(2));
}

#[test]
fn grants_are_expected_and_covered() {
    let output = careplane(&tests(), &["test/grants_test.yaml", "--coverage"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("grants          2 of 2"), "{said}");
}

/// The policies of the manifests and of `integration/envoy.yaml`: every case holds, and nothing of them is untouched
/// but what cannot be reached at a gateway.
#[test]
fn the_shipped_policies_do_what_their_tests_expect() {
    let root = tests().join("../..");
    let output = careplane(&root, &["integration", "wasmplugin-manifests", "--coverage", "-o", "json"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let files = result["files"].as_array().unwrap();
    assert_eq!(files.len(), 3);
    for file in files {
        let parts = file["coverage"].as_array().unwrap();
        let untouched: Vec<&str> = parts
            .iter()
            .flat_map(|part| part["untouched"].as_array().unwrap())
            .map(|item| item["name"].as_str().unwrap())
            .collect();
        let is_gateway = file["file"].as_str().unwrap().contains("gateway");
        let unreachable = ["tenant: header x-tenant-id", "user: header x-user-id", "user-conflict"];
        assert_eq!(untouched, if is_gateway { &unreachable[..] } else { &[] }, "{}", file["file"]);
    }
}

#[test]
fn the_host_of_a_request_is_its_authority() {
    let policy = "version: careplane/v1\nidentity: {tenant: {sources: [{host: \"{tenant}.app.care.example\"}]}}\n";
    let case = "request: GET /, headers: {Host: home-1.app.care.example}";
    let (said, code) =
        of(policy, &format!("cases: [{{{case}, expect: {{tenant: home-1, decision: allowed}}}}]\n"), &[]);
    assert_eq!(code, Some(0), "{said}");
    // By either name at the upstream, too.
    for name in ["host", "':authority'"] {
        let expect = format!("expect: {{headers: {{{name}: home-1.app.care.example}}}}");
        let (said, code) = of(policy, &format!("cases: [{{{case}, {expect}}}]\n"), &[]);
        assert_eq!(code, Some(0), "{said}");
    }
}

#[test]
fn an_entry_in_another_case_is_that_of_the_tenant_where_case_does_not_matter() {
    let policy = "version: careplane/v1\nidentity: {tenant: {case: lower, sources: [{claim: home}]}}\n\
                  routing: {pools: [pool-a], dedicated: [dedicated-a]}\n\
                  tenants:\n  entries:\n    Care-Home-1: {pool: dedicated-a, cohort: stable}\n";
    let tests = "cases:\n  - request: GET /\n    claims: {home: CARE-HOME-1}\n    \
                 expect: {pool: pool-a, cohort: canary}\n";
    let (said, _) = of(policy, tests, &["--coverage"]);
    assert!(said.contains("pool: pinned, by tenants.entries.Care-Home-1.pool at policy.yaml:6:25"), "{said}");
    assert!(said.contains("cohort: pinned by tenants.entries.Care-Home-1.cohort"), "{said}");
    assert!(said.contains("pinned tenants  1 of 1"), "{said}");
}

#[test]
fn a_tenant_that_is_a_number_is_one_without_a_fraction() {
    let policy = "version: careplane/v1\nidentity: {tenant: {sources: [{claim: home}]}}\n";
    let case = |tenant: &str| {
        let tests = format!("cases: [{{request: GET /, claims: {{home: 0042}}, expect: {{tenant: {tenant}}}}}]\n");
        of(policy, &tests, &[])
    };
    let (said, code) = case("0042");
    assert_eq!(code, Some(0), "{said}");
    let (said, _) = case("43");
    assert!(said.contains("expected 43, found 42") && said.contains("claim home = 42: taken"), "{said}");
}

#[test]
fn refusals_that_the_policy_excludes_are_not_listed() {
    let policy = |identity: &str, audit: &str| {
        format!("version: careplane/v1\nidentity: {{tenant: {{{identity}, sources: [{{claim: home}}]}}}}\n{audit}")
    };
    let listed = |policy: &str| {
        let tests = "cases: [{request: GET /, expect: {context: general}}]\n";
        let (said, _) = of(policy, tests, &["--coverage"]);
        ["tenant-unselected", "evidence-unavailable"].map(|denial| said.contains(denial))
    };
    let audit = "audit: {writeAhead: [critical]}\nexport: {cluster: c}\n";
    assert_eq!(listed(&policy("required: false", audit)), [false, false]);
    let critical = format!("{audit}defaultContext: {{name: general, complianceLevel: critical}}\n");
    assert_eq!(listed(&policy("required: true", &critical)), [true, true]);
    let grant = "export: {cluster: c}\nidentity:\n  grants:\n    \
                 - {name: g, when: {claim: a, equals: b}, tenants: any, flags: [x], writeAhead: true}\n";
    assert_eq!(listed(&format!("version: careplane/v1\n{grant}")), [true, true]);
}
