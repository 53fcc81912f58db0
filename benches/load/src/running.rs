//! The processes of a comparison: an Envoy for each contender, and what stands beside and behind them.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use careplane_integration::{
    Envoy, EnvoyVersion,
    envoy::{HotRestart, Launch},
    poll::until,
    workspace,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::contender::{self, Contender, Places};

/// The Envoy that is measured.
pub const ENVOY: EnvoyVersion = EnvoyVersion::V1_40_0;

const DEADLINE: Duration = Duration::from_secs(60);

/// An Envoy with one worker.
pub struct Proxy {
    envoy: Envoy,
    address: SocketAddr,
    ready: Duration,
    // Dropped after the Envoy that writes into it.
    directory: TempDir,
}

/// The server for external processing.
pub struct Server {
    process: Child,
    address: SocketAddr,
    _directory: TempDir,
}

/// A contender's processes.
pub struct Running {
    /// The contender that runs.
    pub contender: Contender,
    /// Its Envoy.
    pub proxy: Proxy,
    /// Its server, if it has one.
    pub server: Option<Server>,
}

// === impl Proxy ===

impl Proxy {
    /// Starts an Envoy, and waits until its only listener accepts connections.
    ///
    /// # Errors
    /// When it does not start. The error has what it warned of.
    pub async fn start(bootstrap: &Value) -> Result<Self> {
        let name =
            bootstrap["static_resources"]["listeners"][0]["name"].as_str().context("a listener without a name")?;
        Self::start_in(directory()?, bootstrap, name).await
    }

    /// The same in a directory that has what the bootstrap refers to. It waits for the listener of this name.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_in(directory: TempDir, bootstrap: &Value, listener: &str) -> Result<Self> {
        let file = directory.path().join("envoy.json");
        fs::write(&file, bootstrap.to_string())?;
        let began = Instant::now();
        let envoy = Envoy::start(Launch {
            binary: &workspace::envoy_binary(ENVOY),
            bootstrap: &file,
            directory: directory.path(),
            concurrency: 1,
            log_level: "warn",
            drain: Duration::from_secs(1),
            hot_restart: HotRestart::Off,
        })
        .await?;
        let address = until("the listener", DEADLINE, async || envoy.admin().listener(listener).await);
        let address =
            address.await.with_context(|| format!("Envoy warned:\n{}", envoy.log().warnings(0).unwrap_or_default()))?;
        Ok(Self { envoy, address, ready: began.elapsed(), directory })
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The Envoy.
    #[must_use]
    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.envoy.pid()
    }

    /// The directory of its files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// How long it took from its start until it served.
    #[must_use]
    pub fn ready(&self) -> Duration {
        self.ready
    }
}

// === impl Server ===

impl Server {
    /// Starts it with the policy of the benchmark.
    ///
    /// # Errors
    /// When it does not say where it listens.
    pub async fn start() -> Result<Self> {
        let directory = directory()?;
        let policy = directory.path().join("policy.json");
        fs::write(&policy, contender::policy()?.to_string())?;
        let binary = binary()?;
        let mut process = Command::new(&binary)
            .arg(&policy)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let output = process.stdout.take().context("no output")?;
        let line = BufReader::new(output).lines().next_line().await?;
        let line = line.with_context(|| format!("{} ended without an address", binary.display()))?;
        Ok(Self { process, address: line.parse()?, _directory: directory })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }
}

/// A directory for the files of one process.
///
/// # Errors
/// When it cannot be made.
pub fn directory() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("careplane-load-").tempdir()?)
}

/// `careplane-ext-proc` stands beside this program; beside tests, one folder up.
fn binary() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let folders = here.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join("careplane-ext-proc")).find(|file| file.is_file());
    found.with_context(|| {
        format!("there is no careplane-ext-proc beside {}: cargo build -p careplane-ext-proc", here.display())
    })
}

// === impl Running ===

impl Running {
    /// Starts it. The address of its server, if it has one, takes the place of the one in `places`.
    ///
    /// # Errors
    /// When one of its processes does not start.
    pub async fn start(contender: Contender, places: &Places) -> Result<Self> {
        Self::start_with(contender, places, |_| {}).await
    }

    /// The same, with a bootstrap that is changed last.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(contender: Contender, places: &Places, change: impl FnOnce(&mut Value)) -> Result<Self> {
        let server = if contender.has_server() { Some(Server::start().await?) } else { None };
        let mut places = places.clone();
        if let Some(server) = &server {
            places.ext_proc = server.address;
        }
        let mut bootstrap = contender.bootstrap(&places)?;
        change(&mut bootstrap);
        let proxy = Proxy::start(&bootstrap).await;
        let proxy = proxy.with_context(|| format!("the Envoy of {}", contender.name))?;
        Ok(Self { contender, proxy, server })
    }
}

/// An address that no contender uses.
#[must_use]
pub fn nowhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 9).into()
}
