//! `audit`, `export`.

use std::time::Duration;

use super::names;
use crate::document;
use crate::policy::{Audit, Export};
use crate::problem::Problems;

const TIMEOUT: Duration = Duration::from_secs(2);
const BATCH_RECORDS: u64 = 256;
const BATCH_INTERVAL: Duration = Duration::from_secs(1);
const QUEUE_BYTES: u64 = 4 * 1024 * 1024;
/// A queue below one record of the largest size could never take anything.
const QUEUE_BYTES_MIN: u64 = 64 * 1024;
const QUEUE_BYTES_MAX: u64 = 256 * 1024 * 1024;
const BATCH_RECORDS_MAX: u64 = 10_000;

#[inline(never)]
pub(super) fn compile(
    audit: document::Audit,
    export: Option<document::Export>,
    problems: &mut Problems,
) -> (Audit, Option<Export>) {
    if export.is_none() {
        if audit.sinks.otlp {
            problems.add("audit.sinks.otlp", "true needs a collector: expected the section `export`");
        }
        if !audit.write_ahead.is_empty() {
            problems
                .add("audit.writeAhead", "needs a collector to acknowledge the intent: expected the section `export`");
        }
    }
    let chain_key_env =
        audit.chain_key_env.map(|name| names::environment("audit.chainKeyEnv", name, "CAREPLANE_AUDIT_KEY", problems));
    let sinks = audit.sinks;
    let compiled = Audit {
        access_log: sinks.access_log,
        otlp: sinks.otlp,
        proxy_log: sinks.proxy_log,
        write_ahead: audit.write_ahead,
        chain_key_env,
        placement: audit.placement,
    };
    (compiled, export.map(|export| self::export(export, problems)))
}

fn export(written: document::Export, problems: &mut Problems) -> Export {
    let cluster = written.cluster.unwrap_or_default();
    if cluster.is_empty() {
        problems.add(
            "export.cluster",
            "missing: expected an Envoy cluster, such as \"outbound|4318||otel-collector.tracing.svc.cluster.local\"",
        );
    }
    let mut duration = |path: &str, text: Option<String>, default: Duration| {
        text.map_or(default, |text| names::duration(path, &text, problems))
    };
    let timeout = duration("export.timeout", written.timeout, TIMEOUT);
    let batch_interval = duration("export.batch.interval", written.batch.interval, BATCH_INTERVAL);
    if timeout < Duration::from_millis(1) && !timeout.is_zero() {
        // Envoy counts in milliseconds, and takes 0 for "no timeout".
        problems.add("export.timeout", "is below a millisecond: expected at least \"1ms\"");
    }
    Export {
        authority: written.authority.unwrap_or_else(|| cluster.clone()),
        cluster,
        timeout,
        batch_records: within(
            "export.batch.records",
            written.batch.records,
            BATCH_RECORDS,
            1,
            BATCH_RECORDS_MAX,
            problems,
        ),
        batch_interval,
        queue_bytes: within(
            "export.queueBytes",
            written.queue_bytes,
            QUEUE_BYTES,
            QUEUE_BYTES_MIN,
            QUEUE_BYTES_MAX,
            problems,
        ),
    }
}

fn within(path: &str, value: Option<u64>, default: u64, min: u64, max: u64, problems: &mut Problems) -> u64 {
    let value = value.unwrap_or(default);
    if !(min..=max).contains(&value) {
        problems.add(path, format!("{value} is out of range: expected {min} to {max}"));
    }
    value
}
