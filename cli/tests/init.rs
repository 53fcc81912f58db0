//! `careplane init`: what it writes is a policy that the proxy takes, and that `check` has nothing to say to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("init").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn careplane(arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Command::new(env!("CARGO_BIN_EXE_careplane")).current_dir(root).args(arguments).output().unwrap()
}

/// What is printed, which `check --strict` takes.
fn init(name: &str, arguments: &[&str]) -> String {
    let output = careplane(&[&["init"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let file = folder(name).join("policy.yaml");
    fs::write(&file, &text).unwrap();
    let checked = careplane(&["check", "--strict", file.to_str().unwrap()]);
    assert!(checked.status.success(), "{}\n{text}", String::from_utf8_lossy(&checked.stdout));
    text
}

/// The contexts of a policy, by name.
fn contexts(text: &str) -> Vec<(String, Value)> {
    let policy: Value = serde_saphyr::from_str(text).unwrap();
    let contexts = policy["contexts"].as_array().unwrap().clone();
    contexts.into_iter().map(|context| (context["name"].as_str().unwrap().to_owned(), context)).collect()
}

#[test]
fn names_that_are_taken_or_too_long_get_others() {
    let long = "a-very-long-word-of-a-path-that-has-more-than-sixty-three-characters";
    let paths = ["/general/settings", "/residents/{id}", &format!("/{long}/x"), &format!("/{long}-and-more/x")];
    let paths: Value = paths.iter().map(|path| ((*path).to_owned(), json!({"get": {}}))).collect();
    let file = folder("names").join("names.json");
    fs::write(&file, json!({"openapi": "3.0.0", "info": {}, "paths": paths}).to_string()).unwrap();
    let text = init("names", &[file.to_str().unwrap()]);
    let found = contexts(&text);
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let (first, second) = (&long[..63], format!("{}-2", &long[..61]));
    assert_eq!(names, [first, &second, "general-2", "residents"]);
}

#[test]
fn an_openapi_document_becomes_a_policy_with_proposals() {
    let text = init("openapi", &["tests/init/care.openapi.yaml"]);
    let found = contexts(&text);
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "inspection-report",
            "health",
            "medication-administration-change",
            "medication-administration",
            "medications-administer",
            "medications",
            "organisations",
            "residents",
        ]
    );
    let context = |name: &str| found.iter().find(|(known, _)| known == name).unwrap().1.clone();
    let paths = |name: &str| -> Vec<Value> {
        context(name)["match"].as_array().unwrap().iter().map(|one| one["path"].clone()).collect()
    };
    assert_eq!(context("medications-administer")["complianceLevel"], "critical");
    assert_eq!(
        context("medications-administer")["match"],
        json!([{"methods": ["POST"], "path": "/care/v2/medications/{id}/administer"}])
    );
    assert_eq!(
        context("medication-administration-change")["match"][0]["methods"],
        json!(["POST", "PUT", "PATCH", "DELETE"])
    );
    assert_eq!(
        (&context("residents")["subject"], &context("residents")["resource"]),
        (&json!("residentId"), &json!("Patient"))
    );
    // The search names no resident.
    assert_eq!(
        paths("residents"),
        [
            "/care/v2/residents",
            "/care/v2/residents/search",
            "/care/v2/residents/{residentId}",
            "/care/v2/residents/{residentId}/{*rest}",
        ]
    );
    assert_eq!((&context("health")["tier"], &context("health")["audit"]), (&json!("never"), &json!("none")));
    assert_eq!(
        (&context("inspection-report")["complianceLevel"], &context("inspection-report")["flags"]),
        (&json!("high"), &json!(["inspection"]))
    );
    for said in [
        "complianceLevel: critical   # proposed: \"administer\" can harm a person at once; 1 operation",
        "complianceLevel: high   # from the document",
        "security scheme \"login\": tokens",
        "a key in header \"x-api-key\"",
        "paths name {organisationId}",
        "\"/care/v2/odd path/{id}\" has characters",
    ] {
        assert!(text.contains(said), "{said}\n{text}");
    }
}

#[test]
fn routes_become_contexts_and_pools() {
    let routes = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: care, namespace: core}
spec:
  hosts: [care]
  http:
    - match: [{uri: {prefix: /api/v1/residents}, headers: {x-release-cohort: {exact: canary}}}]
      route: [{destination: {host: care, subset: canary}}]
    - match: [{uri: {prefix: /api/v1/residents}, headers: {x-tenant-pool: {exact: pool-a}}}]
      route: [{destination: {host: care, subset: pool-a}}]
    - match: [{uri: {prefix: /api/v1/residents}, headers: {x-tenant-pool: {exact: dedicated-a}}}]
      route: [{destination: {host: care, subset: dedicated-a}}]
    - match: [{uri: {exact: /healthz}, method: {exact: GET}}]
      route: [{destination: {host: care}}]
    - match: [{uri: {regex: /odd/.+}}]
      route: [{destination: {host: care}}]
";
    let file = folder("routes-in").join("routes.yaml");
    fs::write(&file, routes).unwrap();
    let text = init("routes", &[file.to_str().unwrap()]);
    let names: Vec<String> = contexts(&text).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["residents", "healthz"]);
    let policy: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(policy["routing"]["pools"], json!(["pool-a"]));
    assert_eq!(policy["routing"]["dedicated"], json!(["dedicated-a"]));
    assert_eq!(policy["routing"]["canary"]["header"], "x-release-cohort");
    assert!(text.contains("matches a regular expression"), "{text}");
    // Both together: what it writes agrees with the routes that it comes from.
    let policy = folder("routes-both").join("policy.yaml");
    fs::write(&policy, &text).unwrap();
    let checked = careplane(&["check", "--format", "short", policy.to_str().unwrap(), file.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn a_patch_has_the_policy_where_a_plugin_has_it() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/init/care.openapi.yaml");
    let policy: Value = serde_saphyr::from_str(&init("patch", &[file.to_str().unwrap()])).unwrap();
    let output = careplane(&["init", "--patch", file.to_str().unwrap()]);
    let patch: Value = serde_saphyr::from_str(&String::from_utf8(output.stdout).unwrap()).unwrap();
    assert_eq!((&patch["kind"], &patch["spec"]["pluginConfig"]), (&json!("WasmPlugin"), &policy));
}

#[test]
fn an_access_log_gives_words_and_keeps_nothing_of_a_person() {
    let mut log = String::new();
    for number in 0..20 {
        log += &format!(
            "[2026-11-01T07:00:00Z] \"GET /api/v1/residents/{} HTTP/1.1\" 200 - 0 17\n",
            9_434_765_919_u64 + number
        );
        log += &format!("{{\"method\": \"POST\", \"path\": \"/api/v1/care-plans/{number}/notes?name=margaret\"}}\n");
    }
    // Few have it in common: a name, as likely as not.
    log += "[2026-11-01T07:00:00Z] \"GET /margaret/letters HTTP/1.1\" 200 - 0 17\nnot a request\n";
    for name in ["margaret", "hopkins", "margaret"] {
        log += &format!("[2026-11-01T07:00:00Z] \"GET /api/v1/residents/{name} HTTP/1.1\" 200 - 0 17\n");
    }
    let file = folder("log-in").join("access.log");
    // A caller's own words, of which Envoy writes the bytes.
    let agent = b"[2026-11-01T07:00:00Z] \"GET /api/v1/residents/1 HTTP/1.1\" 200 - 0 17 \"\xff\"\n";
    fs::write(&file, [log.as_bytes(), agent].concat()).unwrap();
    let text = init("log", &["--access-log", file.to_str().unwrap()]);
    let names: Vec<String> = contexts(&text).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["care-plans", "residents"]);
    for personal in ["margaret", "hopkins", "943476"] {
        assert!(!text.contains(personal), "{text}");
    }
    assert!(text.contains("\"/api/v1/residents/{id}\""), "{text}");
    assert!(text.contains("1 lines of"), "{text}");
}

#[test]
fn what_says_nothing_of_requests_is_an_error_and_files_are_not_overwritten() {
    let folder = folder("errors");
    let empty = folder.join("empty.yaml");
    fs::write(&empty, "a: 1\n").unwrap();
    let output = careplane(&["init", empty.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("expected OpenAPI documents"));
    let target = folder.join("policy.yaml");
    let write = || careplane(&["init", "tests/init/care.openapi.yaml", "--output", target.to_str().unwrap()]);
    assert_eq!(write().status.code(), Some(0));
    assert_eq!(write().status.code(), Some(2));
}

/// Writes a policy and its tests, and runs these.
fn with_tests(name: &str, arguments: &[&str]) -> String {
    let folder = folder(name);
    let policy = folder.join("policy.yaml");
    let output = careplane(&[&["init", "--output", policy.to_str().unwrap()], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tested = careplane(&["test", folder.to_str().unwrap(), "--coverage"]);
    let text = fs::read_to_string(folder.join("policy_test.yaml")).unwrap();
    let said = String::from_utf8_lossy(&tested.stdout).into_owned() + &String::from_utf8_lossy(&tested.stderr);
    assert!(tested.status.success(), "{said}\n{text}");
    said
}

#[test]
fn tests_are_written_beside_the_policy_and_hold() {
    let said = with_tests("tests", &["tests/init/care.openapi.yaml"]);
    let touched = |part: &str| said.lines().find(|line| line.contains(part)).unwrap().trim().to_owned();
    assert!(touched("contexts ").ends_with("9 of 9"), "{said}");
    // Neither is overwritten.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("init/tests/other.yaml");
    fs::write(target.with_file_name("other_test.yaml"), "").unwrap();
    let output = careplane(&["init", "tests/init/care.openapi.yaml", "--output", target.to_str().unwrap()]);
    assert_eq!((output.status.code(), target.exists()), (Some(2), false));
}

/// Whatever paths a document has, in whatever order: what comes of it is a policy, and its tests hold.
#[test]
fn any_paths_become_a_policy() {
    let mut random = fastrand::Rng::with_seed(16);
    let words = [
        "api",
        "v1",
        "Patient",
        "patient",
        "{id}",
        "{tenant}",
        "{*}",
        "x.{id}",
        "administer",
        "$match",
        "a b",
        "rest",
        "{rest}",
        "MAR",
        "é",
        "..",
        "_search",
        "",
    ];
    let folder = folder("random");
    for round in 0..40 {
        let mut paths = json!({});
        for _ in 0..random.usize(1..25) {
            let path: String = (0..random.usize(..6)).map(|_| format!("/{}", random.choice(words).unwrap())).collect();
            let path = if path.is_empty() { "/".to_owned() } else { path };
            paths[path][*random.choice(["get", "post", "put", "delete"]).as_ref().unwrap()] = json!({});
        }
        paths["/always"]["get"] = json!({});
        let file = folder.join(format!("{round}.json"));
        fs::write(&file, json!({"openapi": "3.0.0", "info": {"title": "x\n- y"}, "paths": paths}).to_string()).unwrap();
        init(&format!("random-{round}"), &[file.to_str().unwrap()]);
        with_tests(&format!("random-tests-{round}"), &[file.to_str().unwrap()]);
    }
}
