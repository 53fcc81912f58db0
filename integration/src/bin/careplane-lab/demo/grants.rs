//! The grants that the manifests ship: the lab's policy has none.

use std::fs;

use anyhow::{Context, Result};
use careplane_integration::workspace;
use serde_json::Value;

const POLICY: &str = "wasmplugin-manifests/base/careplane/policy/policy.yaml";

/// The policy of the manifests.
///
/// # Errors
///
/// When it is not there, or not YAML.
pub fn of_the_manifests() -> Result<Value> {
    let path = workspace::root().join(POLICY);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: Value = serde_saphyr::from_str(&text).with_context(|| format!("{} is not YAML", path.display()))?;
    Ok(manifest["spec"]["pluginConfig"].clone())
}

/// Adds the grants, and what they need, to a policy.
pub fn add(policy: &mut Value, manifests: &Value) {
    for section in ["purpose", "grants"] {
        policy["identity"][section] = manifests["identity"][section].clone();
    }
    policy["tenants"] = manifests["tenants"].clone();
}
