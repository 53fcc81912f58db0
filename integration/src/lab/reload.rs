//! A new policy for a running Envoy, through the file of listeners that it watches.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use serde_json::Value;

use super::Derivation;
use crate::{Envoy, poll::until};

/// Counts listener updates that Envoy refused.
pub(super) const REJECTED: &str = "listener_manager.lds.update_rejected";

/// Counts listeners that workers have taken over: one for each listener and worker.
pub(super) const CREATED: &str = "listener_manager.listener_create_success";

const ACCEPTED: &str = "listener_manager.lds.update_success";

const DEADLINE: Duration = Duration::from_secs(30);

/// What became of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// All workers have the new configuration.
    Accepted,
    /// Envoy keeps the old configuration. What it warned of meanwhile: its own reason, and a Wasm module's.
    Rejected(String),
}

/// The file that Envoy watches.
pub(super) fn listeners_file(directory: &Path) -> PathBuf {
    directory.join("listeners.json")
}

/// Puts `listeners` in the place of `file` at once: Envoy watches for files that are moved there.
pub(super) fn replace(file: &Path, listeners: &Value) -> Result<()> {
    let beside = file.with_extension("new");
    fs::write(&beside, listeners.to_string())?;
    fs::rename(&beside, file)?;
    Ok(())
}

/// See [`super::Lab::reload`].
pub(super) async fn reload(envoy: &Envoy, derivation: &Derivation, policy: &Value, directory: &Path) -> Result<Reload> {
    let before = Counters::read(envoy).await?;
    let logged = envoy.log().text()?.len();
    replace(&listeners_file(directory), &derivation.configuration(policy)?.listeners())?;
    let after = until("Envoy to accept or refuse the listeners", DEADLINE, async || {
        let now = Counters::read(envoy).await?;
        Ok(Some(now).filter(|now| (now.accepted, now.rejected) != (before.accepted, before.rejected)))
    })
    .await?;
    if after.rejected > before.rejected {
        return Ok(Reload::Rejected(envoy.log().warnings(logged)?));
    }

    // Accepted by the main thread is not yet in force: workers take a listener over one by one. A listener that did not
    // change is not handed out at all.
    let expected = before.created + (after.changed - before.changed) * u64::from(derivation.concurrency);
    envoy.admin().wait_for_stat(CREATED, expected, DEADLINE).await?;
    Ok(Reload::Accepted)
}

struct Counters {
    accepted: u64,
    rejected: u64,
    changed: u64,
    created: u64,
}

impl Counters {
    async fn read(envoy: &Envoy) -> Result<Self> {
        let stats = envoy.stats("listener_manager.").await?;
        let stat = |name: &str| stats.get(name).copied().unwrap_or(0);
        Ok(Self {
            accepted: stat(ACCEPTED),
            rejected: stat(REJECTED),
            // An update in place counts as a modification too.
            changed: stat("listener_manager.listener_added") + stat("listener_manager.listener_modified"),
            created: stat(CREATED),
        })
    }
}
