//! Everything together: an Envoy with the project's configuration and real peers around it.

mod builder;
mod reload;
mod restart;

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpSocket;

pub use self::{builder::Builder, reload::Reload};
use crate::{
    AuditLog, Client, Envoy, IdentityProvider, Otlp, Pki, Upstream,
    config::{EnvoyConfig, Locations, Variation},
};

/// The pools behind Envoy, by the names of their clusters.
pub const POOLS: [&str; 5] = ["pool-a", "pool-b", "pool-c", "dedicated-a", "canary"];

/// The listener for outsiders.
pub const GATEWAY: &str = "gateway";

/// The listener for peers in the mesh.
pub const SIDECAR: &str = "sidecar";

/// A running Envoy and its peers. Dropping it stops everything and removes what was written.
#[derive(Debug)]
pub struct Lab {
    // Dropped in this order: Envoy before its peers, files last.
    envoy: Envoy,
    upstream: Upstream,
    otlp: Otlp,
    identity: IdentityProvider,
    pki: Pki,
    gateway: SocketAddr,
    sidecar: SocketAddr,
    policy: Value,
    derivation: Derivation,
    /// Bound but not listening, so that connections to it are refused and no other program gets the port.
    _refusing: TcpSocket,
    directory: TempDir,
}

/// What is needed to derive the configuration again, with another policy.
struct Derivation {
    template: EnvoyConfig,
    locations: Locations,
    variation: Variation,
    concurrency: u32,
    log_level: String,
    drain: Duration,
    patches: Vec<builder::Patch>,
}

impl std::fmt::Debug for Derivation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Derivation").field("locations", &self.locations).field("variation", &self.variation).finish()
    }
}

impl Lab {
    /// A lab as deployed: one bundle filter on [`workspace::version`], with one worker.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// An outsider: plain HTTP to the gateway.
    #[must_use]
    pub fn gateway(&self) -> Client {
        Client::plain(self.gateway)
    }

    /// A peer in the mesh: mutual TLS to the sidecar, as `spiffe_id`.
    ///
    /// # Errors
    ///
    /// When `spiffe_id` cannot stand in a certificate.
    pub fn sidecar(&self, spiffe_id: &str) -> Result<Client> {
        Client::tls(self.sidecar, &self.pki, Some(&self.pki.client(spiffe_id)?))
    }

    /// A caller that reaches the sidecar without a certificate.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up.
    pub fn sidecar_without_certificate(&self) -> Result<Client> {
        Client::tls(self.sidecar, &self.pki, None)
    }

    /// The Envoy.
    #[must_use]
    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// The Envoy, to end it.
    #[must_use]
    pub fn envoy_mut(&mut self) -> &mut Envoy {
        &mut self.envoy
    }

    /// The application.
    #[must_use]
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The receiver of spans and log records.
    #[must_use]
    pub fn otlp(&self) -> &Otlp {
        &self.otlp
    }

    /// The identity provider whose tokens Envoy verifies.
    #[must_use]
    pub fn identity(&self) -> &IdentityProvider {
        &self.identity
    }

    /// The certificate authority that Envoy trusts.
    #[must_use]
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The audit trail that Envoy's access logger writes.
    #[must_use]
    pub fn audit_log(&self) -> AuditLog {
        AuditLog::new(self.directory.path().join("log/audit.jsonl"))
    }

    /// The policy it started with.
    #[must_use]
    pub fn policy(&self) -> &Value {
        &self.policy
    }

    /// The directory of its files: Envoy's log and configuration, keys, the audit trail.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Gives `policy` to the running Envoy, and waits until all workers have it or Envoy has refused it. Connections
    /// opened before keep what they had until they are drained.
    ///
    /// # Errors
    ///
    /// When neither happens within half a minute.
    pub async fn reload(&self, policy: &Value) -> Result<Reload> {
        reload::reload(&self.envoy, &self.derivation, policy, self.directory.path()).await
    }

    /// Starts another Envoy that takes over from the running one, and returns the old one, which the new one will end.
    /// The lab has to be one that [can be restarted](Builder::hot_restart).
    ///
    /// # Errors
    ///
    /// When it does not start, or does not listen where the old one did.
    pub async fn hot_restart(&mut self) -> Result<Envoy> {
        restart::hot(self).await
    }

    /// Stops Envoy as an orchestrator would and removes everything.
    ///
    /// # Errors
    ///
    /// When Envoy does not end in time, or not with success.
    pub async fn stop(self) -> Result<()> {
        self.stop_keeping_files().await?.close().context("cannot remove the lab's directory")
    }

    /// Stops Envoy as an orchestrator would, and returns the directory of its files.
    ///
    /// # Errors
    ///
    /// When Envoy does not end in time, or not with success.
    pub async fn stop_keeping_files(self) -> Result<TempDir> {
        let Self { mut envoy, directory, .. } = self;
        let status = envoy.stop().await?;
        anyhow::ensure!(status.success(), "Envoy ended with {status}");
        Ok(directory)
    }
}
