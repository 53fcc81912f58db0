//! `careplane audit shadow`, run as a program before a policy is enforced.

#[path = "../../evidence/tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::Writer;

fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_careplane"));
    let Output { status, stdout, stderr } =
        command.args(["audit", "shadow"]).args(arguments).current_dir(folder).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// What a proxy records of a request in shadow.
fn request(id: &str, peer: Option<&str>, shadow: &Value, forged: &[&str]) -> Value {
    let mut who = json!({"forgedHeaders": forged});
    if let Some(peer) = peer {
        who["peer"] = peer.into();
    }
    json!({
        "context": {"action": "read", "complianceLevel": "high", "name": "resident", "policy": "9f86d081884c7d65"},
        "decision": {"result": "allowed", "shadow": shadow},
        "outcome": {"status": 200},
        "request": {"id": id, "method": "GET", "pathTemplate": "/api/v1/residents/{id}"},
        "tenant": {},
        "trace": {},
        "who": who,
    })
}

const REPORTING: &str = "spiffe://cluster.local/ns/core-healthcare/sa/reporting";

fn archive() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Writer::new(1);
    let missing = json!({"reason": "tenant-missing", "result": "denied"});
    let mut lines = vec![chain.checkpoint("start")];
    for id in ["r-1", "r-2", "r-3"] {
        lines.push(chain.append("request", request(id, Some(REPORTING), &missing, &["x-tenant-id"])));
    }
    lines.push(chain.append("request", request("r-4", None, &missing, &[])));
    let unknown = json!({"reason": "tenant-unknown", "result": "denied"});
    lines.push(chain.append("request", request("r-5", None, &unknown, &[])));
    lines.push(chain.append("request", request("r-6", None, &json!({"pool": "a", "result": "allowed"}), &[])));
    lines.push(chain.append("request", request("r-7", None, &json!({"result": "none"}), &[])));
    // Of a policy that is enforced.
    lines.push(chain.request());
    lines.push(chain.checkpoint("end"));
    fs::write(folder.path().join("audit.jsonl"), lines.join("\n")).unwrap();
    // The same records by another way.
    fs::write(folder.path().join("again.jsonl"), lines[2..5].join("\n")).unwrap();
    folder
}

#[test]
fn what_would_be_refused_is_folded_and_said_with_what_to_change() {
    let folder = archive();
    let (code, out, _) = run(folder.path(), &["--format", "json", "audit.jsonl", "again.jsonl"]);
    assert_eq!(code, 1);
    let found: Value = serde_json::from_str(&out).unwrap();
    let figures = ["requests", "denied", "unasked", "beyond"].map(|name| found[name].as_u64().unwrap());
    assert_eq!(figures, [7, 5, 1, 0]);
    let rows: Vec<_> = found["refusals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| ["reason", "peer", "count", "example"].map(|name| row[name].clone()))
        .collect();
    let expected = [
        [json!("tenant-missing"), json!(REPORTING), json!(3), json!("r-3")],
        [json!("tenant-missing"), Value::Null, json!(1), json!("r-4")],
        [json!("tenant-unknown"), Value::Null, json!(1), json!("r-5")],
    ];
    assert_eq!(rows, expected);
    let change = |index: usize| found["refusals"][index]["change"].as_str().unwrap();
    assert!(change(0).contains("identity.trustedPeers") && change(1).contains("tenant: optional"), "{out}");
    assert!(found["refusals"][0]["first"].as_str() <= found["refusals"][0]["last"].as_str());
}

#[test]
fn the_table_says_it_for_people() {
    let folder = archive();
    let (code, out, _) = run(folder.path(), &["audit.jsonl"]);
    assert_eq!(code, 1);
    for expected in [
        "5 of 7 requests in shadow would have been refused.",
        "Of 1 it is not known",
        "      3  tenant-missing  resident  GET /api/v1/residents/{id}",
        &format!("from {REPORTING}"),
        "from a caller without a certificate",
        "such as request r-3",
    ] {
        assert!(out.contains(expected), "{expected:?} is not in\n{out}");
    }
}

#[test]
fn nothing_to_refuse_is_success() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Writer::new(1);
    let lines = [
        chain.checkpoint("start"),
        chain.append("request", request("r-1", None, &json!({"result": "allowed"}), &[])),
        chain.checkpoint("end"),
    ];
    fs::write(folder.path().join("audit.jsonl"), lines.join("\n")).unwrap();
    let (code, out, _) = run(folder.path(), &["audit.jsonl"]);
    assert_eq!((code, out.as_str()), (0, "0 of 1 requests in shadow would have been refused.\n"));

    let mut chain = Writer::new(2);
    fs::write(folder.path().join("audit.jsonl"), [chain.checkpoint("start"), chain.request()].join("\n")).unwrap();
    let (code, out, errors) = run(folder.path(), &["audit.jsonl"]);
    assert_eq!((code, out.as_str()), (0, "No record here is of a policy in shadow.\n"));
    assert!(errors.contains("not shown to be complete"), "{errors}");
}
