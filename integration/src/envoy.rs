//! A running Envoy.

mod admin;
mod log;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

pub use self::{admin::Admin, log::Log};
use crate::{poll::until, process::Guarded};

/// Envoy compiles Wasm modules before it is ready; on a busy machine that takes its time.
const START_DEADLINE: Duration = Duration::from_secs(60);

const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// How to start an Envoy.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// The binary.
    pub binary: &'a Path,
    /// Its bootstrap, JSON or YAML by extension.
    pub bootstrap: &'a Path,
    /// A directory for what it writes: `envoy.log` and the address of its admin interface.
    pub directory: &'a Path,
    /// Worker threads.
    pub concurrency: u32,
    /// `--log-level`, and after a comma `--component-log-level`: `info`, which is enough for what Wasm filters log as
    /// warnings, or `info,wasm:trace`.
    pub log_level: &'a str,
    /// How long connections to a replaced listener may stay, in whole seconds; Envoy closes each with its next answer.
    pub drain: Duration,
    /// Whether another Envoy can take over from it, or it takes over from another.
    pub hot_restart: HotRestart,
}

/// Envoy's hot restart: a successor gets the listening sockets, and ends its predecessor a few seconds later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HotRestart {
    /// Not possible.
    #[default]
    Off,
    /// The first of a line of Envoys.
    First,
    /// Takes over from the first.
    Second {
        /// Under which the two know each other: [`Envoy::base_id`] of the first.
        base_id: u32,
    },
}

/// An Envoy of our own. Dropping it kills it.
#[derive(Debug)]
pub struct Envoy {
    process: Guarded,
    admin: Admin,
    log: Log,
    base_id: Option<u32>,
}

impl Envoy {
    /// Starts Envoy and waits until it is live: clusters known, listeners loaded or refused, workers running.
    ///
    /// # Errors
    ///
    /// When it ends, or is not live within a minute. The error shows what it warned of.
    pub async fn start(launch: Launch<'_>) -> Result<Self> {
        let log = Log::new(launch.directory.join("envoy.log"));
        let address_file = launch.directory.join("admin-address");
        let base_id_file = launch.directory.join("base-id");
        let output = File::create(log.path()).with_context(|| format!("cannot create {}", log.path().display()))?;
        let (level, components) = launch.log_level.split_once(',').unwrap_or((launch.log_level, ""));
        let mut command = Command::new(launch.binary);
        command
            .args(["--concurrency", &launch.concurrency.to_string()])
            .args(["--log-level", level, "--component-log-level", components])
            // The default of 10 s is long for a test that reads the access log.
            .args(["--file-flush-interval-msec", "20"])
            .args(["--drain-time-s", &launch.drain.as_secs().to_string()])
            .arg("--config-path")
            .arg(launch.bootstrap)
            .arg("--admin-address-path")
            .arg(&address_file)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        match launch.hot_restart {
            HotRestart::Off => command.arg("--disable-hot-restart"),
            HotRestart::First => command.arg("--use-dynamic-base-id").arg("--base-id-path").arg(&base_id_file),
            HotRestart::Second { base_id } => command
                .args(["--restart-epoch", "1"])
                .args(["--base-id", &base_id.to_string()])
                // After the drain.
                .args(["--parent-shutdown-time-s", "3"]),
        };
        let mut process =
            Guarded::spawn(command).with_context(|| format!("cannot start {}", launch.binary.display()))?;

        let ready = until("Envoy to become live", START_DEADLINE, async || {
            if let Some(status) = process.ended()? {
                bail!("Envoy ended with {status}");
            }
            let Some(address) = read_address(&address_file)? else {
                return Ok(None);
            };
            let admin = Admin::new(address);
            Ok(admin.is_live().await.then_some(admin))
        });
        match ready.await {
            Ok(admin) => {
                let base_id = fs::read_to_string(&base_id_file).ok().and_then(|id| id.trim().parse().ok());
                Ok(Self { process, admin, log, base_id })
            }
            Err(error) => Err(error.context(format!("Envoy did not start; it warned:\n{}", log.warnings(0)?))),
        }
    }

    /// Its admin interface.
    #[must_use]
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The value of the counter or gauge `name`; 0 when Envoy does not have it (yet: some appear at first use).
    ///
    /// # Errors
    ///
    /// When the admin interface does not answer.
    pub async fn stat(&self, name: &str) -> Result<u64> {
        self.admin.stat(name).await
    }

    /// All counters and gauges whose names begin with `prefix`.
    ///
    /// # Errors
    ///
    /// When the admin interface does not answer.
    pub async fn stats(&self, prefix: &str) -> Result<BTreeMap<String, u64>> {
        self.admin.stats(prefix).await
    }

    /// `/config_dump`.
    ///
    /// # Errors
    ///
    /// When the admin interface does not answer.
    pub async fn config_dump(&self) -> Result<Value> {
        self.admin.json("/config_dump").await
    }

    /// Under which a successor can take over, if it was started as the first of a line.
    #[must_use]
    pub fn base_id(&self) -> Option<u32> {
        self.base_id
    }

    /// Bytes of memory that it has in RAM, where the kernel reports them (Linux).
    ///
    /// # Errors
    ///
    /// When the kernel does not.
    pub fn resident_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS in kB")?;
        Ok(kilobytes.trim().parse::<u64>()? * 1024)
    }

    /// Stops it as an orchestrator would (SIGTERM), which lets it flush its access logs. What it has logged can still
    /// be read.
    ///
    /// # Errors
    ///
    /// When it does not end within 15 s; it is then killed.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.process.terminate(STOP_DEADLINE).await
    }

    /// Ends it at once (SIGKILL): it writes nothing more.
    ///
    /// # Errors
    ///
    /// What the operating system answered.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.process.kill()
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    ///
    /// When it has not after `deadline`.
    pub async fn ended(&mut self, deadline: Duration) -> Result<ExitStatus> {
        until("Envoy to end", deadline, async || self.process.ended()).await
    }
}

/// The address that Envoy writes once its admin interface listens; it may be caught half written.
fn read_address(file: &Path) -> Result<Option<SocketAddr>> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => Ok(read?.trim().parse().ok()),
    }
}
