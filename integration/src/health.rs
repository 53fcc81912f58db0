//! Whether careplane is well inside a proxy: no VM lost, no host call failed.

use anyhow::Result;

use crate::Envoy;

/// What Envoy or the module write when a VM is lost.
const LOSSES: [&str; 5] = ["panicked", "in-VM", "this VM is lost", "Function: proxy_", "Uncaught RuntimeError"];

/// The counter of the VMs made so far.
pub const CREATED: &str = "wasm.envoy.wasm.runtime.v8.created";

/// Everything that is not well, in words; empty when all is.
///
/// # Errors
///
/// When the admin interface does not answer, or Envoy's log cannot be read.
pub async fn complaints(envoy: &Envoy) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for (name, value) in envoy.stats("wasm").await? {
        if value > 0 && (name.contains("vm_reload") || name.contains("host_call_failures")) {
            complaints.push(format!("{name}: {value}"));
        }
    }
    for line in envoy.log().text()?.lines() {
        if LOSSES.iter().any(|loss| line.contains(loss)) || line.contains("the host call proxy_") {
            complaints.push(line.to_owned());
        }
    }
    Ok(complaints)
}
