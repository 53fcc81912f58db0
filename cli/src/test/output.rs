//! Results for people, for programs, and for what runs tests.

mod human;
mod junit;
mod tap;

use serde_json::{Value, json};

use super::coverage::Coverage;
use super::{CaseResult, Tested};
use crate::yaml::Location;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: what is not as expected, with its lines
    Human,
    /// As docs/test.md describes it
    Json,
    /// JUnit XML
    Junit,
    /// TAP 14
    Tap,
}

impl Format {
    pub fn text(self, tested: &[Tested], coverage: bool) -> anyhow::Result<String> {
        Ok(match self {
            Self::Human => human::text(tested, coverage),
            Self::Json => format!("{:#}\n", json(tested, coverage)),
            Self::Junit => junit::text(tested)?,
            Self::Tap => tap::text(tested),
        })
    }
}

/// A value as a person writes it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// What is not as expected, one line each.
fn lines(result: &CaseResult) -> impl Iterator<Item = String> {
    result.mismatches.iter().map(|mismatch| {
        let why = mismatch.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        format!("{}: expected {}, found {}{why}", mismatch.key, shown(&mismatch.expected), shown(&mismatch.found))
    })
}

fn place(place: &Location) -> Value {
    json!({"file": &*place.file, "line": place.line, "column": place.column})
}

fn json(tested: &[Tested], with_coverage: bool) -> Value {
    let files: Vec<Value> = tested
        .iter()
        .map(|tested| {
            let mut file = json!({
                "file": tested.file.path,
                "policy": tested.file.policy,
                "cases": tested.results.iter().map(case).collect::<Vec<_>>(),
            });
            if with_coverage {
                file["coverage"] = coverage(&tested.coverage);
            }
            file
        })
        .collect();
    let results = || tested.iter().flat_map(|tested| &tested.results);
    json!({
        "files": files,
        "cases": results().count(),
        "failed": results().filter(|result| !result.mismatches.is_empty()).count(),
    })
}

fn case(result: &CaseResult) -> Value {
    let case = &result.case;
    let mismatches: Vec<Value> = result
        .mismatches
        .iter()
        .map(|it| {
            json!({
                "key": it.key, "expected": it.expected, "found": it.found, "why": it.why, "place": place(&it.place),
            })
        })
        .collect();
    json!({
        "name": case.name,
        "place": place(&case.place),
        "passed": mismatches.is_empty(),
        "request": {
            "method": case.method,
            "path": case.path,
            "headers": case.headers,
            "claims": case.claims,
            "peer": case.peer,
            "number": case.number,
        },
        "expected": case.expected.iter().map(|it| (it.key.name(), it.value.clone())).collect::<serde_json::Map<_, _>>(),
        "mismatches": mismatches,
    })
}

fn coverage(coverage: &Coverage) -> Value {
    let parts = coverage.parts.iter().map(|part| {
        let untouched = part.items.iter().filter(|item| !item.touched);
        json!({
            "part": part.name,
            "total": part.items.len(),
            "untouched": untouched
                .map(|item| json!({"name": item.name, "place": item.place.as_ref().map(place)}))
                .collect::<Vec<_>>(),
        })
    });
    parts.collect()
}
