//! The difference for people.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::{LISTED_MAX, change, changes, kind, number, records, traces, value, verdict};
use crate::diff::shape::{ChangeKind, Diff};
use crate::plain::plain;

pub fn text(diff: &Diff) -> String {
    let mut text = String::new();
    section(&mut text, "access", !diff.access.is_empty());
    for change in &diff.access {
        let _ = writeln!(text, "  {} {} → {}", marked(change.kind), change.old, change.new);
        list(&mut text, "            for ", "callers", &change.callers);
        list(&mut text, "            at ", "routes", &change.routes);
    }
    section(&mut text, "grants", !diff.grants.is_empty());
    for it in &diff.grants {
        let _ = writeln!(text, "  {}: {}", it.grant, changes(&it.changes));
    }
    section(&mut text, "routes", !diff.routes.is_empty());
    for change in &diff.routes {
        let _ = writeln!(text, "  {}", changes(&change.changes));
        list(&mut text, "    ", "routes", &change.routes);
    }
    let tenants = &diff.tenants;
    section(&mut text, "tenants", !(tenants.pinned.is_empty() && tenants.moves.is_empty()));
    for change in &tenants.pinned {
        let _ = writeln!(text, "  {}: {}", change.tenant, changes(&change.changes));
    }
    for it in &tenants.moves {
        let (old, new) = (value(it.old.as_ref()), value(it.new.as_ref()));
        let percent = it.tenants as f64 * 100.0 / tenants.sampled.max(1) as f64;
        let _ = writeln!(text, "  {percent:.1} % of other tenants: {} {old} → {new}", it.field);
    }
    for share in &tenants.shares {
        let _ = writeln!(text, "  {} {} has {:.1} % → {:.1} % of them", share.field, share.name, share.old, share.new);
    }
    section(&mut text, "headers", !diff.headers.is_empty());
    for it in &diff.headers {
        let _ = writeln!(text, "  {}", change(it));
    }
    if let Some(found) = &diff.traces {
        section(&mut text, "traces", true);
        let _ = writeln!(text, "  {}", traces(found));
    }
    if let Some(found) = &diff.records {
        section(&mut text, "records", true);
        let _ = writeln!(text, "  {}", records(diff).unwrap_or_default());
        for change in &found.changes {
            let count = number(change.requests as f64);
            let _ =
                writeln!(text, "  {} {count} × {}: {}", marked(change.kind), change.route, changes(&change.changes));
            if let Some(example) = &change.example {
                let _ = writeln!(text, "            such as request {}", plain(example));
            }
        }
    }
    section(&mut text, "not compared", !diff.not_compared.is_empty());
    for it in &diff.not_compared {
        let _ = writeln!(text, "  {it}");
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text + verdict(diff) + "\n"
}

fn section(text: &mut String, name: &str, is_there: bool) {
    if is_there {
        let bold = Style::new().bold();
        let _ = writeln!(text, "{bold}{name}{bold:#}");
    }
}

/// The word for a change, in its colour. Without a terminal, anstream takes the colours out.
fn marked(of: ChangeKind) -> String {
    let colour = match of {
        ChangeKind::Gained => AnsiColor::Red,
        ChangeKind::Lost => AnsiColor::Yellow,
        ChangeKind::Otherwise => AnsiColor::Cyan,
    };
    let style = Style::new().fg_color(Some(colour.into()));
    format!("{style}{:<9}{style:#}", kind(of))
}

fn list(text: &mut String, indent: &str, what: &str, names: &[String]) {
    for name in names.iter().take(LISTED_MAX) {
        let _ = writeln!(text, "{indent}{name}");
    }
    if names.len() > LISTED_MAX {
        let _ = writeln!(text, "{indent}{} more {what}", names.len() - LISTED_MAX);
    }
}
