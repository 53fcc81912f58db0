//! `careplane check` on a mesh that agrees with itself, and on the same mesh with one thing changed.

/// An EnvoyFilter that takes an HTTP filter out of the chain, in place of the line between two documents.
macro_rules! without_filter {
    ($name:literal) => {
        concat!(
            "---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\n",
            "metadata: {name: without, namespace: istio-system}\nspec:\n  configPatches:\n    ",
            "- applyTo: HTTP_FILTER\n      ",
            "match: {listener: {filterChain: {filter: {name: hcm, subFilter: {name: ",
            $name,
            "}}}}}\n      patch: {operation: REMOVE}\n---\n"
        )
    };
}

mod headers;
mod inputs;
mod output;
mod plugins;
mod routes;
mod security;
mod telemetry;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A file of the mesh, a text in it, what is there instead, and `file:line:column rule` of what is found then.
type Disagreement = (&'static str, &'static str, &'static str, &'static [&'static str]);

const MESH: [&str; 5] = ["gateway.yaml", "inbound.yaml", "observability.yaml", "security.yaml", "traffic.yaml"];

fn mesh() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mesh")
}

/// An empty folder of its own for a test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("check").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A copy of the mesh in which one text is another one.
fn changed(name: &str, (file, from, to): (&str, &str, &str)) -> PathBuf {
    let folder = folder(name);
    for known in MESH {
        let text = fs::read_to_string(mesh().join(known)).unwrap();
        assert!(known != file || text.contains(from), "{file} has no {from:?}");
        let text = if known == file { text.replacen(from, to, 1) } else { text };
        fs::write(folder.join(known), text).unwrap();
    }
    folder
}

fn careplane(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_careplane")).current_dir(folder).arg("check").args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// `file:line:column rule` of each finding.
fn findings(folder: &Path) -> Vec<String> {
    let output = careplane(folder, &[".", "--format", "json"]);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let text = |finding: &Value| {
        let place = &finding["place"];
        let file = place["file"].as_str().unwrap();
        format!("{file}:{}:{} {}", place["line"], place["column"], finding["rule"].as_str().unwrap())
    };
    report["findings"].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn a_mesh_that_agrees_with_itself_is_good() {
    let output = careplane(&mesh(), &["."]);
    assert_eq!(stdout(&output), "0 errors, 0 warnings, 0 notes in 8 documents: 2 policies, 2 plugins\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn each_disagreement_is_found_where_it_is() {
    let tables = [plugins::DISAGREEMENTS, routes::DISAGREEMENTS, security::DISAGREEMENTS, telemetry::DISAGREEMENTS];
    let mut wrong = String::new();
    for (index, (file, from, to, expected)) in tables.into_iter().flatten().enumerate() {
        let found = findings(&changed(&format!("disagreement-{index}"), (file, from, to)));
        if found != *expected {
            wrong += &format!("{file}: {from:?} → {to:?}\n  expected {expected:?}\n  found    {found:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_rule_has_a_test() {
    let sarif: Value = serde_json::from_str(&stdout(&careplane(&mesh(), &[".", "--format", "sarif"]))).unwrap();
    let tests = [
        include_str!("headers.rs"),
        include_str!("inputs.rs"),
        include_str!("output.rs"),
        include_str!("plugins.rs"),
        include_str!("routes.rs"),
        include_str!("security.rs"),
        include_str!("telemetry.rs"),
    ];
    for rule in sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap() {
        let id = rule["id"].as_str().unwrap();
        assert!(tests.iter().any(|tests| tests.contains(&format!(" {id}\""))), "{id}");
    }
}
