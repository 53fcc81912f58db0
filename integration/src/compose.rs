//! The files that `docker-compose.yaml` mounts and that are made, not committed.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{Identity, Pki, workspace};

/// The workload that `trustedPeers` of the policy names first.
const GATEWAY_ID: &str = "spiffe://cluster.local/ns/core-healthcare/sa/api-gateway";

/// Where [`write()`] is told to write by the command line.
#[must_use]
pub fn directory() -> PathBuf {
    workspace::root().join(".run/compose")
}

/// Writes into `directory` what the composition mounts, and what a person needs to talk to it:
///
/// - `tls/`: `ca.pem`, `server.pem`, `server.key`, and `client.pem`, `client.key` for the api-gateway
/// - `jwks.json`, and `tokens/<tenant>.jwt` for each tenant of the policy, valid for an hour
/// - `log/`, into which Envoy writes the audit trail
///
/// Everything is new each time; restart the composition afterwards.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write(directory: &Path) -> Result<()> {
    let (identity, pki) = (Identity::new()?, Pki::new()?);
    let client = pki.client(GATEWAY_ID)?;
    for name in ["tls", "tokens", "log"] {
        let path = directory.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    // Envoy runs under a user id of its image, which is not the one that owns this directory.
    fs::set_permissions(directory.join("log"), fs::Permissions::from_mode(0o1777))?;

    put(directory, "tls/ca.pem", pki.ca())?;
    put(directory, "tls/server.pem", &pki.server().certificate)?;
    put(directory, "tls/server.key", &pki.server().key)?;
    put(directory, "tls/client.pem", &client.certificate)?;
    put(directory, "tls/client.key", &client.key)?;
    put(directory, "jwks.json", &identity.jwks().to_string())?;
    for tenant in tenants()? {
        put(directory, &format!("tokens/{tenant}.jwt"), &identity.token(&tenant, "user-1", json!({}))?)?;
    }
    Ok(())
}

fn tenants() -> Result<Vec<String>> {
    let policy = crate::config::Template::load()?.policy()?;
    let entries = policy["tenants"]["entries"].as_object().context("the policy has no tenants.entries")?;
    Ok(entries.keys().cloned().collect())
}

fn put(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
