//! Findings for people, for programs, and for code scanning.

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::Looked;
use super::finding::Finding;
use super::rules::{self, Level};
use crate::yaml::Place;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One line each, for people
    Human,
    /// As docs/check.md describes it
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

impl Format {
    pub fn text(self, findings: &[Finding], looked: Looked) -> String {
        match self {
            Self::Human => human(findings, looked),
            Self::Json => format!("{:#}\n", json(findings, looked)),
            Self::Sarif => format!("{:#}\n", sarif(findings)),
        }
    }
}

fn count(findings: &[Finding], level: Level) -> usize {
    findings.iter().filter(|finding| finding.rule.level == level).count()
}

fn plural(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn human(findings: &[Finding], looked: Looked) -> String {
    let mut text = String::new();
    for finding in findings {
        let style = match finding.rule.level {
            Level::Error => AnsiColor::Red,
            Level::Warning => AnsiColor::Yellow,
            Level::Note => AnsiColor::Cyan,
        };
        let style = Style::new().bold().fg_color(Some(style.into()));
        let level = finding.rule.level.as_str();
        text += &format!("{}: {style}{level}{style:#}: {} [{}]\n", finding.place, finding.message, finding.rule.id);
        for related in &finding.related {
            text += &format!("    {}: {}\n", related.place, related.message);
        }
    }
    let [errors, warnings, notes] = [Level::Error, Level::Warning, Level::Note].map(|level| count(findings, level));
    text + &format!(
        "{}, {}, {} in {}: {}, {}\n",
        plural(errors, "error", "errors"),
        plural(warnings, "warning", "warnings"),
        plural(notes, "note", "notes"),
        plural(looked.documents, "document", "documents"),
        plural(looked.policies, "policy", "policies"),
        plural(looked.plugins, "plugin", "plugins"),
    )
}

fn json(findings: &[Finding], looked: Looked) -> Value {
    let place = |place: &Place| json!({"file": &*place.file, "line": place.line, "column": place.column});
    let findings_json: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let related = finding.related.iter().map(|it| json!({"message": it.message, "place": place(&it.place)}));
            json!({
                "rule": finding.rule.id,
                "level": finding.rule.level,
                "message": finding.message,
                "place": place(&finding.place),
                "related": related.collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "findings": findings_json,
        "errors": count(findings, Level::Error),
        "warnings": count(findings, Level::Warning),
        "notes": count(findings, Level::Note),
        "looked": looked,
    })
}

/// Static Analysis Results Interchange Format 2.1.0 (OASIS).
fn sarif(findings: &[Finding]) -> Value {
    let location = |place: &Place| {
        json!({
            "physicalLocation": {
                "artifactLocation": {"uri": uri(&place.file)},
                "region": {"startLine": place.line, "startColumn": place.column},
            },
        })
    };
    let rules: Vec<Value> = rules::ALL
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": {"text": rule.about},
                "defaultConfiguration": {"level": rule.level},
            })
        })
        .collect();
    let results: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let related = finding.related.iter().map(|it| {
                let mut location = location(&it.place);
                location["message"] = json!({"text": it.message});
                location
            });
            json!({
                "ruleId": finding.rule.id,
                "ruleIndex": rules::ALL.iter().position(|rule| rule.id == finding.rule.id),
                "level": finding.rule.level,
                "message": {"text": finding.message},
                "locations": [location(&finding.place)],
                "relatedLocations": related.collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "careplane", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// A path as a relative URI (RFC 3986): what has a meaning there, or none, is escaped.
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
