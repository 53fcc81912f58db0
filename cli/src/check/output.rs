//! Findings for people, for programs, and for code scanning.

mod human;
mod sarif;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::Summary;
use super::finding::Finding;
use super::rules::Level;
use crate::input::Input;
use crate::yaml::Location;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: each finding with its source lines
    Human,
    /// One line each, as for compilers and editors
    Short,
    /// As docs/check.md describes it
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

impl Format {
    pub fn text(self, input: &Input, findings: &[Finding], summary: Summary) -> String {
        match self {
            Self::Human => human::text(input, findings) + &summary_line(findings, summary),
            Self::Short => short(findings) + &summary_line(findings, summary),
            Self::Json => format!("{:#}\n", json(findings, summary)),
            Self::Sarif => format!("{:#}\n", json!(sarif::log(findings))),
        }
    }
}

fn count(findings: &[Finding], level: Level) -> usize {
    findings.iter().filter(|finding| finding.rule.level == level).count()
}

fn plural(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn short(findings: &[Finding]) -> String {
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
    text
}

fn summary_line(findings: &[Finding], summary: Summary) -> String {
    let [errors, warnings, notes] = [Level::Error, Level::Warning, Level::Note].map(|level| count(findings, level));
    format!(
        "{}, {}, {} in {}: {}, {}\n",
        plural(errors, "error", "errors"),
        plural(warnings, "warning", "warnings"),
        plural(notes, "note", "notes"),
        plural(summary.documents, "document", "documents"),
        plural(summary.policies, "policy", "policies"),
        plural(summary.plugins, "plugin", "plugins"),
    )
}

fn json(findings: &[Finding], summary: Summary) -> Value {
    let place = |place: &Location| json!({"file": &*place.file, "line": place.line, "column": place.column});
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
        "looked": summary,
    })
}
