//! Whether careplane is well: no VM lost, no host call failed, no record missing.

use anyhow::{Context, Result, ensure};
use careplane_integration::{AuditLog, Lab, audit_log::verify_chains};

/// What Envoy or the module write when a VM is lost.
const LOSSES: [&str; 5] = ["panicked", "in-VM", "this VM is lost", "Function: proxy_", "Uncaught RuntimeError"];

/// How many VMs were made so far.
pub const CREATED: &str = "wasm.envoy.wasm.runtime.v8.created";

/// Everything that is not well, in words; empty when all is.
pub async fn complaints(lab: &Lab) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    let stats = lab.envoy().stats("wasm").await?;
    for (name, value) in stats {
        if value > 0 && (name.contains("vm_reload") || name.contains("host_call_failures")) {
            complaints.push(format!("{name}: {value}"));
        }
    }
    for line in lab.envoy().log().text()?.lines() {
        if LOSSES.iter().any(|loss| line.contains(loss)) || line.contains("the host call proxy_") {
            complaints.push(line.to_owned());
        }
    }
    Ok(complaints)
}

/// Ends a test: careplane is well, Envoy stops, and every chain is whole.
pub async fn finish(lab: Lab) -> Result<()> {
    let files = finish_keeping_files(lab).await?;
    let log = AuditLog::new(files.path().join("log/audit.jsonl"));
    verify_chains(&log.records()?).context("the audit trail")?;
    Ok(())
}

/// As [`finish`], for labs whose records are elsewhere, or too many to be hashed again.
pub async fn finish_without_chains(lab: Lab) -> Result<()> {
    finish_keeping_files(lab).await.map(drop)
}

async fn finish_keeping_files(lab: Lab) -> Result<tempfile::TempDir> {
    let complaints = complaints(&lab).await?;
    ensure!(complaints.is_empty(), "careplane is not well:\n{}", complaints.join("\n"));
    lab.stop_keeping_files().await
}
