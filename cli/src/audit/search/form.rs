//! An answer as a table, as JSON and as CSV.

use std::borrow::Cow;

use anstyle::{AnsiColor, Style};
use careplane_evidence::search::{Answer, Hit};
use careplane_evidence::verify::{State, Verdict};
use serde_json::json;

use crate::audit::plain::plain;

const HEAD: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// The members of a hit, as JSON and CSV have them.
const COLUMNS: [&str; 32] = [
    "time",
    "user",
    "subject",
    "tenant",
    "otherTenant",
    "membership",
    "selectedBy",
    "action",
    "context",
    "resource",
    "method",
    "pathTemplate",
    "peer",
    "door",
    "outcome",
    "status",
    "deniedBy",
    "deniedFor",
    "grant",
    "purpose",
    "part",
    "preflight",
    "requestId",
    "correlationId",
    "trace",
    "state",
    "chainVerdict",
    "proxy",
    "chain",
    "seq",
    "way",
    "place",
];

/// Lines for people.
pub fn table(answer: &Answer, hops: bool) -> String {
    let mut text = String::new();
    let mut hidden = 0;
    for hit in &answer.hits {
        if hops || hit.is_own() {
            text += &line(hit);
        } else {
            hidden += 1;
        }
    }
    if hidden > 0 {
        text += &format!("{DIM}and {hidden} further records of these requests (--hops lists them){DIM:#}\n");
    }
    text
}

/// One hit, in two lines.
pub fn line(hit: &Hit) -> String {
    fn or<'t>(text: &'t Option<String>, other: &'static str) -> Cow<'t, str> {
        text.as_deref().map_or(other.into(), plain)
    }
    let style = match hit.outcome {
        "answered" => GOOD,
        "refused" => BAD,
        _ => AnsiColor::Yellow.on_default(),
    };
    let status = hit.status.map(|status| format!(" {status}")).unwrap_or_default();
    let mut text = format!(
        "{HEAD}{}{HEAD:#}  {style}{:<8}{style:#}{status}  {} {}",
        hit.time,
        hit.outcome,
        or(&hit.action, "?"),
        or(&hit.context, "unknown")
    );
    for (word, value) in [("by", &hit.user), ("about", &hit.subject), ("for", &hit.tenant)] {
        if let Some(value) = value {
            text += &format!("  {DIM}{word}{DIM:#} {}", plain(value));
        }
    }
    if let (Some(by), reason) = (&hit.denied_by, &hit.denied_for) {
        text += &format!("  {DIM}refused by{DIM:#} {}: {}", plain(by), or(reason, "no reason given"));
    }
    if hit.is_emergency() {
        text += &format!("  {BAD}emergency access{BAD:#}");
    }
    match hit.state {
        State::Valid => {}
        State::Changed => text += &format!("  {BAD}CHANGED: not what was written{BAD:#}"),
        State::Unverified => text += &format!("  {BAD}not checked: its key is not given{BAD:#}"),
    }
    let mut more = vec![hit.place.clone()];
    for (word, value) in [
        ("from", &hit.peer),
        ("request", &hit.request_id),
        ("other tenant", &hit.other_tenant),
        ("grant", &hit.grant),
        ("purpose", &hit.purpose),
    ] {
        more.extend(value.as_ref().map(|value| format!("{word} {value}")));
    }
    if let (Some(method), Some(template)) = (&hit.method, &hit.path_template) {
        more.insert(0, format!("{method} {template}"));
    }
    if let Some(part) = hit.part.and_then(|part| serde_json::to_value(part).ok()) {
        more.push(part.as_str().unwrap_or_default().to_owned());
    }
    if hit.preflight {
        more.push("preflight: no use of data".to_owned());
    }
    text + &format!("\n    {DIM}{}{DIM:#}\n", plain(&more.join(" · ")))
}

/// An object in each line, and the last one of the chains.
pub fn json(answer: &Answer) -> anyhow::Result<String> {
    let mut text = String::new();
    for hit in &answer.hits {
        let mut value = serde_json::to_value(hit)?;
        if let Some(object) = value.as_object_mut() {
            object.retain(|_, member| !member.is_null());
        }
        text += &format!("{value}\n");
    }
    let chains = |verdict| answer.verification.count(verdict);
    let searched = json!({"searched": {
        "chains": answer.verification.chains.len(),
        "complete": chains(Verdict::Complete), "open": chains(Verdict::Open), "cut": chains(Verdict::Cut),
        "unverified": chains(Verdict::Unverified), "broken": chains(Verdict::Broken),
        "asOf": answer.verification.as_of, "whole": answer.doubts.is_empty(), "doubts": answer.doubts,
    }});
    Ok(text + &format!("{searched}\n"))
}

/// Comma-separated values. What a spreadsheet would take for a formula is a text.
pub fn csv(answer: &Answer) -> anyhow::Result<String> {
    let columns = COLUMNS;
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns)?;
    for hit in &answer.hits {
        let value = serde_json::to_value(hit)?;
        writer.write_record(columns.iter().map(|column| match &value[*column] {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        }))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// Over which chains the search looked, and whether these are whole.
pub fn statement(answer: &Answer) -> String {
    let count = answer.verification.chains.len();
    let chains = if count == 1 { "1 chain".to_owned() } else { format!("{count} chains") };
    let until = answer.verification.as_of.map(|time| format!(" until {time}")).unwrap_or_default();
    let mut text = format!("careplane: {} records found in {chains}", answer.hits.len());
    if answer.doubts.is_empty() {
        return text + &format!(", all of them whole{until}\n");
    }
    text += "; these are not shown to be whole, so there can be more:\n";
    for doubt in &answer.doubts {
        text += &format!("careplane: {}\n", plain(doubt));
    }
    text
}
