//! Exported events and bundles, validated by HL7's own FHIR validator.

mod events;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use careplane_evidence::fhir::Form;
use careplane_evidence::purpose;
use serde_json::{Value, json};

use events::{event_of, export, lines};
use tools::{Tool, tool};

/// Warnings that the validator may print, by a part of their text. `docs/fhir.md` explains each.
const WARNINGS: [&str; 3] = ["dom-6", "provenance-participant-type#custodian", "BALP/CodeSystem/BasicAuditEntityType"];

/// One message of the validator.
#[derive(Debug)]
struct Message {
    severity: String,
    text: String,
}

/// The messages on each resource of a file with one resource a line.
fn validate(jars: &Path, file: &Path) -> Vec<Vec<Message>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/fhir-validator/Validate.java");
    let output =
        Command::new("java").arg("-cp").arg(jars.join("*")).arg(source).arg(file).output().expect("java starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut resources = Vec::new();
    let mut messages = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        match line.split_once('\t').unwrap() {
            ("done", _) => resources.push(std::mem::take(&mut messages)),
            (severity, text) => messages.push(Message { severity: severity.to_owned(), text: text.to_owned() }),
        }
    }
    resources
}

/// Events with each element and code that records can lead to.
fn variants() -> Vec<Value> {
    let changes: &[fn(&mut Value)] = &[
        |_| (),
        |it| it["request"]["pathTemplate"] = "/api/v1/residents".into(),
        |it| it["context"]["action"] = "create".into(),
        |it| it["context"]["action"] = "update".into(),
        |it| (it["context"]["action"], it["request"]["method"]) = ("update".into(), "PATCH".into()),
        |it| it["context"]["action"] = "delete".into(),
        |it| it["context"]["action"] = "execute".into(),
        |it| it["outcome"] = json!({"status": 404}),
        |it| it["outcome"] = json!({"status": 504, "flags": ["UT"], "grpcStatus": 4}),
        |it| it["outcome"] = json!({}),
        |it| it["outcome"] = Value::Null,
        |it| {
            it["decision"] = json!({"result": "denied", "by": "careplane", "reason": "tenant-conflict"});
            it["outcome"] = json!({"status": 403});
        },
        |it| it["tenant"]["other"] = "care-home-0001".into(),
        |it| it["tenant"] = json!({}),
        |it| it["who"] = json!({}),
        |it| it["who"] = json!({"user": "p-u"}),
        |it| it["context"] = Value::Null,
        |it| it["context"]["subject"] = Value::Null,
        |it| it["context"]["resource"] = Value::Null,
        |it| (it["context"]["flags"], it["context"]["retention"]) = (json!(["controlled-drug"]), "P8Y".into()),
        |it| it["outcome"]["cluster"] = "inbound|3001||".into(),
        |it| {
            it["outcome"]["cluster"] = "inbound|3001||".into();
            it["proxy"] = json!({"id": "sidecar~10.1.2.3~resident-0.core~core.svc.cluster.local"});
        },
        |it| (it["request"]["shadow"], it["request"]["correlationId"]) = (true.into(), "c-1".into()),
        |it| it["trace"] = json!({"id": "4bf92f3577b34da6a3ce929d0e0e4736"}),
    ];
    let mut variants: Vec<Value> = changes.iter().map(|change| event_of(change)).collect();
    let of = |code: &str, grant: Option<&str>| {
        event_of(|it| (it["decision"]["grant"], it["who"]["purpose"]) = (json!(grant), json!(code)))
    };
    variants.extend(purpose::codes().map(|code| of(code, None)));
    variants.extend([of("BTG", Some("emergency")), of("ETREAT", Some("emergency"))]);
    variants
}

fn write(folder: &Path, name: &str, resources: &[Value]) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, resources.iter().map(|resource| format!("{resource}\n")).collect::<String>()).unwrap();
    file
}

#[test]
fn hl7s_validator_finds_no_error_in_events_and_bundles() {
    let Some(jars) = tool(Tool::FhirValidator) else { return };
    let folder = tempfile::tempdir().unwrap();
    let lines = lines();
    let mut resources = variants();
    let parsed = |lines: &[String], form| serde_json::from_str::<Value>(&export(lines, form)).unwrap();
    for form in [Form::Collection, Form::Transaction] {
        resources.extend([parsed(&lines[..200], form), parsed(&[], form)]);
    }
    // The validator does find what is wrong: a code, an element, a cardinality, a type, a constraint.
    let wrong: [fn(&mut Value); 5] = [
        |it| it["outcome"] = "5".into(),
        |it| it["unknown"] = "x".into(),
        |it| it["agent"] = Value::Array(Vec::new()),
        |it| it["recorded"] = "yesterday".into(),
        |it| it["id"] = "not_an_id".into(),
    ];
    let good = resources.len();
    resources.extend(wrong.map(|change| {
        let mut event = event_of(|_| ());
        change(&mut event);
        event
    }));
    let all = validate(&jars, &write(folder.path(), "resources.ndjson", &resources));
    assert_eq!(all.len(), resources.len());
    for (resource, messages) in resources.iter().zip(&all).take(good) {
        let unexpected: Vec<_> = messages
            .iter()
            .filter(|message| {
                let is_known = WARNINGS.iter().any(|known| message.text.contains(known));
                !(message.severity == "information" || message.severity == "warning" && is_known)
            })
            .collect();
        assert!(unexpected.is_empty(), "{unexpected:#?} in {resource}");
    }
    for (resource, messages) in resources.iter().zip(&all).skip(good) {
        assert!(messages.iter().any(|message| message.severity == "error"), "no error in {resource}");
    }
    for known in WARNINGS {
        assert!(all.iter().flatten().any(|message| message.text.contains(known)), "{known} is no warning any more");
    }
}
