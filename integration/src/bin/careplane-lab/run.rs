//! What `demo` and `up` have in common: where they leave their files, what they need, and how they are stopped.

use std::{
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use careplane_integration::{EnvoyVersion, Plugins, workspace};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The Envoy that is started.
pub const ENVOY: EnvoyVersion = EnvoyVersion::V1_40_0;

/// Fails with what to do when something that is built, not committed, is missing.
///
/// # Errors
///
/// When it is.
pub fn check_prerequisites() -> Result<()> {
    let envoy = workspace::envoy_binary(ENVOY);
    ensure!(envoy.is_file(), "Envoy {ENVOY} is not installed: run `integration/install-envoy.sh {ENVOY}`");
    for module in Plugins::Bundle.modules() {
        ensure!(workspace::dist().join(&module).is_file(), "dist/{module} is not built: run `make build`");
    }
    Ok(())
}

/// A directory of this run, `.run/<name>`, that no other run replaces while this lives.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    /// Locked; the operating system unlocks it when this process ends, however it ends.
    _lock: File,
}

impl RunDirectory {
    /// Makes it, empty, in place of the one that the last run left.
    ///
    /// # Errors
    ///
    /// When another run uses it, or it cannot be replaced.
    pub fn replace(name: &str) -> Result<Self> {
        let parent = workspace::root().join(".run");
        fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
        let lock = File::create(parent.join(format!("{name}.lock"))).context("cannot create a lock file")?;
        ensure!(lock.try_lock().is_ok(), "another `careplane-lab {name}` is running here");
        let path = parent.join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// `path` as a person here would type it.
#[must_use]
pub fn shown(path: &Path) -> String {
    let here = env::current_dir().ok();
    let relative = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    relative.unwrap_or(path).display().to_string()
}

/// Ctrl-C and SIGTERM, from now on: while this lives, neither ends the process.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Listens.
    ///
    /// # Errors
    ///
    /// When the operating system does not allow it.
    pub fn listen() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for either, and says which it was.
    pub async fn requested(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
