//! What the demo leaves to be looked at.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};
use careplane_integration::{AuditLog, otlp::Span};
use serde_json::{Value, json};

/// The files, and what is in them.
pub const NAMES: [(&str, &str); 5] = [
    ("records.jsonl", "every audit record, one a line, as Envoy's access log wrote them"),
    ("spans.json", "every span, as the collector received them"),
    ("envoy.json", "Envoy's bootstrap"),
    ("listeners.json", "its listeners, with the policy"),
    ("envoy.log", "its log"),
];

/// Where a lab keeps its audit log.
const AUDIT_LOG: &str = "log/audit.jsonl";
/// Where it keeps Envoy's own.
const LOG: &str = "envoy.log";

/// The records that a lab left in `lab`, its directory.
///
/// # Errors
///
/// When one is not JSON.
pub fn records(lab: &Path) -> Result<Vec<Value>> {
    AuditLog::new(lab.join(AUDIT_LOG)).records()
}

/// What careplane warned of in the log that a lab left in `lab`, each once: several VMs say the same.
///
/// # Errors
///
/// When there is no log.
pub fn warnings(lab: &Path) -> Result<BTreeSet<String>> {
    let log = fs::read_to_string(lab.join(LOG)).context("cannot read Envoy's log")?;
    // [2026-01-31 …][7206][warning][wasm] [source/…:1154] wasm log <plugin>: careplane: <message>
    let of_line = |line: &str| {
        let (head, message) = line.split_once("] wasm log ")?;
        let loud = ["[warning]", "[error]", "[critical]"].iter().any(|level| head.contains(level));
        let message = message.split_once(": ")?.1;
        loud.then(|| message.strip_prefix("careplane: ").unwrap_or(message).to_owned())
    };
    Ok(log.lines().filter_map(of_line).collect())
}

/// Copies what a lab left in `lab` to `directory`, and writes `spans` beside it.
///
/// # Errors
///
/// When a file is not there or cannot be written.
pub fn keep(lab: &Path, directory: &Path, spans: &[Span]) -> Result<()> {
    for (from, to) in [
        (AUDIT_LOG, "records.jsonl"),
        ("envoy.json", "envoy.json"),
        ("listeners.json", "listeners.json"),
        (LOG, "envoy.log"),
    ] {
        fs::copy(lab.join(from), directory.join(to)).with_context(|| format!("cannot keep {from}"))?;
    }
    let spans: Vec<Value> = spans.iter().map(span).collect();
    let text = format!("{:#}\n", Value::from(spans));
    fs::write(directory.join("spans.json"), text).context("cannot write spans.json")
}

fn span(span: &Span) -> Value {
    json!({
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_span_id,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": span.start.to_string(),
        "endTimeUnixNano": span.end.to_string(),
        "status": span.status,
        "flags": span.flags,
        "attributes": span.attributes,
        "resource": span.resource,
    })
}
