//! The difference as a comment of a pull request.

use std::fmt::Write as _;

use super::{LISTED_MAX, change, changes, kind, number, records, traces, value, verdict};
use crate::diff::shape::{Diff, FieldChange};

pub fn text(diff: &Diff) -> String {
    let mut text = format!("### Policy change: {}\n", verdict(diff).trim_end_matches('.').to_lowercase());
    if !diff.access.is_empty() {
        table(&mut text, "Access", &["", "now", "then", "for", "at"]);
        for it in &diff.access {
            row(
                &mut text,
                &[kind(it.kind), &it.old, &it.new, &listed(&it.callers, String::clone), &routes(&it.routes)],
            );
        }
    }
    if !diff.grants.is_empty() {
        table(&mut text, "Grants", &["grant", "change"]);
        for it in &diff.grants {
            row(&mut text, &[&code(&it.grant), &lines(&it.changes)]);
        }
    }
    if !diff.routes.is_empty() {
        table(&mut text, "Routes", &["change", "routes"]);
        for it in &diff.routes {
            row(&mut text, &[&lines(&it.changes), &routes(&it.routes)]);
        }
    }
    let tenants = &diff.tenants;
    if !(tenants.pinned.is_empty() && tenants.moves.is_empty()) {
        table(&mut text, "Tenants", &["tenants", "change"]);
        for it in &tenants.pinned {
            row(&mut text, &[&code(&it.tenant), &lines(&it.changes)]);
        }
        for it in &tenants.moves {
            let percent = it.tenants as f64 * 100.0 / tenants.sampled.max(1) as f64;
            let moved = format!("{} {} → {}", it.field, value(it.old.as_ref()), value(it.new.as_ref()));
            row(&mut text, &[&format!("{percent:.1} % of the others"), &moved]);
        }
    }
    if !diff.headers.is_empty() {
        let _ = write!(text, "\n**Headers**: {}\n", changes(&diff.headers));
    }
    if let Some(found) = &diff.traces {
        let _ = write!(text, "\n**Traces**: {}\n", traces(found));
    }
    if let Some(found) = &diff.records {
        let _ = write!(text, "\n**Records**: {}\n", records(diff).unwrap_or_default());
        if !found.changes.is_empty() {
            table(&mut text, "Recorded requests", &["", "requests", "route", "change", "such as"]);
            for it in &found.changes {
                let example = it.example.as_deref().map(code).unwrap_or_default();
                let count = number(it.requests as f64);
                row(&mut text, &[kind(it.kind), &count, &code(&it.route), &lines(&it.changes), &example]);
            }
        }
    }
    if !diff.not_compared.is_empty() {
        let _ = write!(text, "\n**Not compared**: {}\n", diff.not_compared.join("; "));
    }
    text
}

fn table(text: &mut String, title: &str, heads: &[&str]) {
    let _ = write!(text, "\n**{title}**\n\n| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
}

fn row(text: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'"))
}

fn lines(changes: &[FieldChange]) -> String {
    changes.iter().map(change).collect::<Vec<_>>().join("<br>")
}

fn routes(routes: &[String]) -> String {
    listed(routes, |route| code(route))
}

fn listed(names: &[String], written: impl Fn(&String) -> String) -> String {
    let mut listed: Vec<String> = names.iter().take(LISTED_MAX).map(written).collect();
    if names.len() > LISTED_MAX {
        listed.push(format!("and {} more", names.len() - LISTED_MAX));
    }
    listed.join("<br>")
}
