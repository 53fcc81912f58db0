//! Whether careplane is well: no VM lost, no host call failed, no record missing.

use anyhow::{Context, Result, ensure};
use careplane_integration::{AuditLog, Lab, audit_log::verify_chains, health::complaints};

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
    let complaints = complaints(lab.envoy()).await?;
    ensure!(complaints.is_empty(), "careplane is not well:\n{}", complaints.join("\n"));
    lab.stop_keeping_files().await
}
