//! `careplane explain`: what it says about requests, word for word.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn careplane(arguments: &[&str]) -> Output {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    Command::new(env!("CARGO_BIN_EXE_careplane"))
        .current_dir(folder)
        .env_remove("CAREPLANE_PSEUDONYM_KEY")
        .args(["explain", "--policy", "explain/policy.yaml"])
        .args(arguments)
        .output()
        .unwrap()
}

fn text(arguments: &[&str]) -> String {
    let output = careplane(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn account(arguments: &[&str]) -> Value {
    serde_json::from_str(&text(&[arguments, &["--format", "json"]].concat())).unwrap()
}

fn golden(name: &str, arguments: &[&str]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/explain/{name}.txt"));
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let found = text(arguments);
    assert_eq!(found, expected, "{} is not what is said now", file.display());
}

#[test]
fn a_request_that_is_let_through() {
    golden(
        "allowed",
        &[
            "--request",
            "POST /api/v1//residents/..;/Medications;v=1/%61dminister?x=1",
            "-H",
            "X-Tenant-Id: care-home-0001",
            "--claim",
            "tenant_id=care-home-0042",
            "--claim",
            "sub=nurse-1",
        ],
    );
}

#[test]
fn a_request_that_crosses_a_tenant_boundary() {
    golden(
        "denied",
        &[
            "--request",
            "/api/v1/tenants/care-home-0001/staff",
            "--claims",
            r#"{"tenant_id": "care-home-0012", "sub": 17, "roles": ["manager"]}"#,
            "--peer",
            "spiffe://cluster.local/ns/core-healthcare/sa/api-gateway",
            "--sampling-number",
            "3000",
        ],
    );
}

#[test]
fn a_trace_is_kept_below_the_rate_and_not_at_it() {
    let kept = |number: &str| {
        account(&["--request", "/api/v1/residents/17", "--claim", "tenant_id=a", "--sampling-number", number])["trace"]
            ["kept"]
            .clone()
    };
    assert_eq!((kept("4999"), kept("5000")), (true.into(), false.into()));
}

#[test]
fn a_request_in_shadow_passes_and_the_account_says_what_enforcement_would_do() {
    let folder = tempfile::tempdir().unwrap();
    let policy =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain/policy.yaml")).unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, policy.replacen("version: careplane/v1", "version: careplane/v1\nenforcement: shadow", 1))
        .unwrap();
    let explain = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_careplane"));
        let output = command.args(["explain", "--policy", path.to_str().unwrap()]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let conflict = ["--request", "/api/v1/tenants/care-home-0001/staff", "--claim", "tenant_id=care-home-0012"];
    let text = explain(&conflict);
    let expected = "decision    allowed: the request is in shadow, so nothing of it changes\n              \
                    enforced: denied with 403, tenant-conflict, by tracing-tags\nheaders     as they were sent\n";
    assert!(text.contains(expected), "{text}");
    let account: Value = serde_json::from_str(&explain(&[&conflict[..], &["--format", "json"]].concat())).unwrap();
    assert_eq!(account["shadow"]["code"], "tenant-conflict");
    let shadow = &account["record"]["record"]["decision"]["shadow"];
    assert_eq!(*shadow, json!({"reason": "tenant-conflict", "result": "denied"}));
}

#[test]
fn headers_are_believed_from_trusted_peers() {
    let tenant = |peer: &str| {
        account(&["--request", "/api/v1/residents/17", "-H", "x-tenant-id: care-home-0042", "--peer", peer])
    };
    let trusted = tenant("spiffe://cluster.local/ns/core-healthcare/sa/api-gateway");
    assert_eq!(trusted["tenant"]["value"], "care-home-0042");
    assert_eq!(
        trusted["peer"]["rule"],
        json!({"path": "identity.trustedPeers[0]", "place": "explain/policy.yaml:4:7"})
    );
    let other = tenant("spiffe://cluster.local/ns/other/sa/api-gateway");
    assert_eq!(other["tenant"]["value"], Value::Null);
    assert_eq!(other["tenant"]["sources"][2]["verdict"], "not believed: the peer is not trusted");
    assert_eq!(other["decision"]["code"], "tenant-missing");
}

#[test]
fn one_filter_does_its_own_part_alone() {
    let routing =
        account(&["--request", "/api/v1/residents/17", "--claim", "tenant_id=a", "--plugin", "tenant-routing"]);
    let written: Vec<&str> =
        routing["headers"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(written, ["x-release-cohort", "x-tenant-pool"]);
    assert_eq!((&routing["trace"]["decided"], &routing["record"]), (&false.into(), &Value::Null));
}

#[test]
fn the_plugin_of_a_manifest_is_taken() {
    let arguments =
        ["explain", "--policy", "mesh/gateway.yaml", "--request", "/", "--claim", "tenant_id=a", "--format", "json"];
    let output = Command::new(env!("CARGO_BIN_EXE_careplane"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"))
        .args(arguments)
        .args(["--name", "gateway"])
        .output()
        .unwrap();
    let account: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&account["plugin"], &account["context"]["rule"]["path"]),
        (&"careplane".into(), &"defaultContext".into())
    );
}

#[test]
fn what_cannot_be_explained_is_refused_with_what_would_be_right() {
    for (arguments, expected) in [
        (&["--request", "GET residents"][..], "has no path: expected such as"),
        (&["--request", "/", "-H", "nonsense"], "is not a header: expected 'name: value'"),
        (&["--request", "/", "--claim", "x"], "has no value: expected name=value"),
        (&["--request", "/", "--claims", "[]"], "is not an object"),
        (&["--request", "/", "--request-id", "7"], "is not a UUID"),
        (&["--request", "/", "--name", "x"], "has no policy in a manifest named \"x\""),
        (&["--request", "/", "--plugin", "x"], "possible values: careplane, tracing-tags"),
    ] {
        let output = careplane(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}
