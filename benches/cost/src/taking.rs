//! What it costs to take a policy: a worker serves no request meanwhile, and the memory of a VM never shrinks.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::profile::Profile;
use crate::proxy::{Compiled, Proxy};

const PLUGIN: &str = "careplane";

/// A policy of [`careplane_benches::policy`] to take.
#[derive(Clone, Copy, Debug)]
pub struct Taking {
    /// Its name in the table.
    pub name: &'static str,
    /// How many contexts the policy has, with two paths each.
    pub contexts: usize,
    /// How many tenants the policy pins.
    pub tenants: usize,
}

/// What it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bytes of the document.
    pub document: usize,
    /// Instructions of `proxy_on_configure` and of the callbacks before it.
    pub instructions: u64,
    /// Bytes of the VM's memory after that: its peak, for memory never shrinks.
    pub memory: u64,
    /// The same after a second policy of this size has replaced the first, and a third the second.
    pub replaced: u64,
}

/// All policies of the table. The first has no tenants: what others have more is of their tenants.
pub const ALL: [Taking; 2] = [
    Taking { name: "take-contexts", contexts: 500, tenants: 0 },
    Taking { name: "take-10000", contexts: 500, tenants: 10_000 },
];

// === impl Taking ===

impl Taking {
    /// Takes the policy, and others of its size after it.
    ///
    /// # Errors
    /// When the module fails, or refuses a policy.
    pub fn measure(&self, compiled: &Compiled) -> Result<(Taken, Option<Profile>)> {
        self.run(compiled).with_context(|| format!("policy {}", self.name))
    }

    fn run(&self, compiled: &Compiled) -> Result<(Taken, Option<Profile>)> {
        let policy = careplane_benches::policy(self.contexts, self.tenants);
        let document = policy.to_string();
        let mut proxy = Proxy::start(compiled, &[], &document)?;
        proxy.take()?;
        proxy.take_profile();
        let mut root = proxy.add(PLUGIN, &document)?;
        let (instructions, _) = proxy.take()?;
        let profile = proxy.take_profile();
        let memory = proxy.memory();
        for policy in [changed(policy.clone()), policy] {
            // The old listener drains while the new one serves, so both policies are there for some time.
            let next = proxy.add(PLUGIN, &policy.to_string())?;
            proxy.remove(root)?;
            root = next;
        }
        let taken = Taken { document: document.len(), instructions, memory, replaced: proxy.memory() };
        Ok((taken, profile))
    }
}

/// Takes a policy in a VM of its own: instructions, and bytes of memory.
///
/// # Errors
/// When the module fails, or refuses the policy.
pub fn take(compiled: &Compiled, document: &str) -> Result<(u64, u64)> {
    let mut proxy = Proxy::start(compiled, &[PLUGIN], document)?;
    let (instructions, _) = proxy.take()?;
    Ok((instructions, proxy.memory()))
}

/// The policy with other entries for all of its tenants.
fn changed(mut policy: Value) -> Value {
    if let Some(entries) = policy["tenants"]["entries"].as_object_mut() {
        for entry in entries.values_mut() {
            entry["pool"] = "pool-a".into();
        }
    }
    policy
}
