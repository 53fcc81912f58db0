//! A difference for people, for programs, and for a pull request.

mod human;
mod markdown;

use super::shape::{ChangeKind, Diff, FieldChange, Traces};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Human,
    /// As docs/diff.schema.json describes it
    Json,
    /// For a pull request
    Markdown,
}

impl Format {
    pub fn text(self, diff: &Diff) -> anyhow::Result<String> {
        Ok(match self {
            Self::Human => human::text(diff),
            Self::Json => serde_json::to_string_pretty(diff)? + "\n",
            Self::Markdown => markdown::text(diff),
        })
    }
}

/// The JSON Schema of the difference.
///
/// # Errors
/// When it cannot be written as JSON, which does not happen.
pub fn json_schema() -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(&schemars::schema_for!(Diff))? + "\n")
}

/// Routes that are listed; the others are counted.
const LISTED_MAX: usize = 6;

fn is_empty(diff: &Diff) -> bool {
    let tenants = &diff.tenants;
    let records = diff.records.as_ref().is_none_or(|records| records.changes.is_empty());
    let is_alike = diff.routes.is_empty() && diff.headers.is_empty() && diff.grants.is_empty();
    let is_alike = is_alike && diff.access.is_empty() && records;
    is_alike && tenants.pinned.is_empty() && tenants.moves.is_empty() && tenants.shares.is_empty()
}

fn verdict(diff: &Diff) -> &'static str {
    match (diff.widens, is_empty(diff), diff.not_compared.is_empty()) {
        (true, _, _) => "Access widens.",
        (false, true, true) => "Nothing changes for a request.",
        (false, false, true) => "No access widens.",
        (false, _, false) => "No access widens, as far as it was compared.",
    }
}

fn kind(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Gained => "gained",
        ChangeKind::Lost => "lost",
        ChangeKind::Otherwise => "otherwise",
    }
}

fn value(value: Option<&String>) -> &str {
    value.map_or("none", String::as_str)
}

/// `level high → critical`
fn change(change: &FieldChange) -> String {
    format!("{} {} → {}", change.field, value(change.old.as_ref()), value(change.new.as_ref()))
}

fn changes(changes: &[FieldChange]) -> String {
    changes.iter().map(change).collect::<Vec<_>>().join(", ")
}

/// Requests, traces: whole numbers, in groups of three.
fn number(count: f64) -> String {
    let digits = format!("{:.0}", count.max(0.0));
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

fn traces(traces: &Traces) -> String {
    let shares = match traces.shares.as_str() {
        "records" => "routes as in the records",
        _ => "each route asked as often as the others",
    };
    format!(
        "{} → {} traces a day of {} requests ({shares}; what is kept late is not counted)",
        number(traces.old),
        number(traces.new),
        number(traces.requests_a_day)
    )
}

/// The records that could not be compared.
fn records(diff: &Diff) -> Option<String> {
    let records = diff.records.as_ref()?;
    let changed: u64 = records.changes.iter().map(|change| change.requests).sum();
    let (changed, compared) = (number(changed as f64), number(records.compared as f64));
    let mut text = format!("{changed} of {compared} requests would be decided otherwise");
    let mut left_out = |count: u64, why: &str| {
        if count > 0 {
            text += &format!("; left out: {} {why}", number(count as f64));
        }
    };
    left_out(records.without_template, "without a template");
    left_out(records.not_reproduced, "that the old policy does not decide as recorded");
    Some(text)
}
