//! A child process built on the OpenTelemetry Collector's framework, as the collector and Jaeger are: one
//! configuration, one health check.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::{
    client::{Client, Request},
    poll::until,
    process::Guarded,
    workspace,
};

/// An idle machine needs a fraction of a second.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// It drains its receivers first.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// A loopback port that no other program can take.
#[derive(Debug)]
pub(crate) struct ReservedPort {
    address: SocketAddr,
    /// Bound and not listening, so that no other program gets the port while the child is stopped, and connections are
    /// refused. With address reuse, Linux lets the child bind the same port and listen.
    _held: TcpSocket,
}

/// The child process. It can be stopped and started again, with the same files and ports. Dropping it kills it and
/// removes its files.
#[derive(Debug)]
pub(crate) struct ChildService {
    // Dropped in this order: the process before its files and ports.
    process: Option<Guarded>,
    directory: TempDir,
    name: &'static str,
    health: ReservedPort,
    health_path: &'static str,
}

impl ChildService {
    /// A program of `.tools/mesh` that is not started yet. It answers 200 at `health_path` when it is ready.
    pub(crate) fn new(name: &'static str, health_path: &'static str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("careplane-service-").tempdir()?;
        Ok(Self { process: None, directory, name, health: ReservedPort::bind()?, health_path })
    }

    /// The path of a file of its own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Its process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Guarded::id)
    }

    /// The address of its health check.
    pub(crate) fn health(&self) -> SocketAddr {
        self.health.address
    }

    /// Gives it the deployed configuration of that name, which `change` adapts to this machine.
    pub(crate) fn configure(&self, deployed: &str, change: impl FnOnce(&mut Value) -> Result<()>) -> Result<()> {
        let path = workspace::root().join("wasmplugin-manifests/base/observability/tracing").join(deployed);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut document: Value =
            serde_saphyr::from_str(&text).with_context(|| format!("{} is not YAML", path.display()))?;
        change(&mut document)?;
        // No test reads its own metrics.
        document["service"]["telemetry"]["metrics"] = json!({"level": "none"});
        fs::write(self.file("config.json"), document.to_string())?;
        Ok(())
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Errors
    ///
    /// When it is running, when it ends, or when it is not ready within half a minute; the error has what it wrote.
    pub(crate) async fn start(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "{} is running", self.name);
        let binary = workspace::program(self.name);
        let output = File::options().create(true).append(true).open(self.file("log"))?;
        let mut command = Command::new(&binary);
        command
            .arg("--config")
            .arg(self.file("config.json"))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let mut process = Guarded::spawn(command).with_context(|| format!("cannot start {}", binary.display()))?;
        let health = Client::plain(self.health.address);
        let what = format!("{} to be ready", self.name);
        let ready = until(&what, START_DEADLINE, async || {
            if let Some(status) = process.ended()? {
                bail!("it ended with {status}");
            }
            Ok(health
                .send(Request::get(self.health_path))
                .await
                .is_ok_and(|response| response.status == 200)
                .then_some(()))
        });
        let ready = ready.await;
        ready.with_context(|| format!("it wrote:\n{}", fs::read_to_string(self.file("log")).unwrap_or_default()))?;
        self.process = Some(process);
        Ok(())
    }

    /// Stops it as an orchestrator would (SIGTERM).
    ///
    /// # Errors
    ///
    /// When it does not end within 15 s; it is then killed.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.terminate(STOP_DEADLINE).await.map(drop)
    }

    /// Ends it at once (SIGKILL).
    ///
    /// # Errors
    ///
    /// What the operating system answered.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill().map(drop))
    }
}

impl ReservedPort {
    pub(crate) fn bind() -> Result<Self> {
        let held = TcpSocket::new_v4()?;
        held.set_reuseaddr(true)?;
        held.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(Self { address: held.local_addr()?, _held: held })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
