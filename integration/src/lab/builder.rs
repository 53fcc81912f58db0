//! What a lab can be asked to be, and how it is put together.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::net::TcpSocket;

use super::{Derivation, GATEWAY, Lab, POOLS, SIDECAR, reload};
use crate::{
    Envoy, EnvoyVersion, IdentityProvider, Otlp, Pki, Plugins, Upstream,
    config::{Configuration, EnvoyConfig, Locations, Variation},
    envoy::{HotRestart, Launch},
    poll::until,
    workspace,
};

const WORKERS_DEADLINE: Duration = Duration::from_secs(30);

/// Connections to a replaced listener end soon, so that its filters (and their Wasm VMs) go away.
const DRAIN: Duration = Duration::from_secs(1);

/// Changes the whole configuration, listeners included.
pub(super) type Patch = Box<dyn Fn(&mut Value) + Send + Sync>;

type PolicyPatch = Box<dyn FnOnce(&mut Value) + Send>;

/// A lab in the making.
pub struct Builder {
    variation: Variation,
    concurrency: u32,
    log_level: String,
    drain: Duration,
    hot_restart: HotRestart,
    collector: Option<SocketAddr>,
    modules: PathBuf,
    policy: Vec<PolicyPatch>,
    patches: Vec<Patch>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            variation: Variation {
                version: workspace::version(),
                plugins: Plugins::Bundle,
                random_sampling: 0.0,
                direct_response: false,
            },
            concurrency: 1,
            log_level: "info".to_owned(),
            drain: DRAIN,
            hot_restart: HotRestart::Off,
            collector: None,
            modules: workspace::dist(),
            policy: Vec::new(),
            patches: Vec::new(),
        }
    }

    /// Another Envoy.
    #[must_use]
    pub fn version(mut self, version: EnvoyVersion) -> Self {
        self.variation.version = version;
        self
    }

    /// Another arrangement of the filters.
    #[must_use]
    pub fn plugins(mut self, plugins: Plugins) -> Self {
        self.variation.plugins = plugins;
        self
    }

    /// Worker threads, each with a Wasm VM of its own.
    #[must_use]
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// Percent of requests that Envoy samples by chance.
    #[must_use]
    pub fn random_sampling(mut self, percent: f64) -> Self {
        self.variation.random_sampling = percent;
        self
    }

    /// Envoy answers 200 itself, for high rates.
    #[must_use]
    pub fn direct_response(mut self) -> Self {
        self.variation.direct_response = true;
        self
    }

    /// Envoy's `--log-level`, and after a comma its `--component-log-level`.
    #[must_use]
    pub fn log_level(mut self, level: impl Into<String>) -> Self {
        self.log_level = level.into();
        self
    }

    /// How long connections to a replaced listener may stay, in whole seconds: a second unless given. Who keeps them
    /// longer gets an answer to all that is on its way when the policy changes.
    #[must_use]
    pub fn drain(mut self, time: Duration) -> Self {
        self.drain = time;
        self
    }

    /// Another Envoy can take over later: [`Lab::hot_restart`].
    #[must_use]
    pub fn hot_restart(mut self) -> Self {
        self.hot_restart = HotRestart::First;
        self
    }

    /// Spans and records go to this address instead of the lab's own receiver: to a [`Collector`](crate::Collector).
    #[must_use]
    pub fn collector(mut self, address: SocketAddr) -> Self {
        self.collector = Some(address);
        self
    }

    /// Another directory of Wasm modules than `dist/`, for example to compare two builds.
    #[must_use]
    pub fn modules(mut self, directory: impl Into<PathBuf>) -> Self {
        self.modules = directory.into();
        self
    }

    /// Changes the policy of `envoy.yaml`, or replaces it. Patches apply in the order of the calls.
    #[must_use]
    pub fn policy(mut self, patch: impl FnOnce(&mut Value) + Send + 'static) -> Self {
        self.policy.push(Box::new(patch));
        self
    }

    /// Changes the whole configuration last, at every reload again: for what no option changes.
    #[must_use]
    pub fn patch(mut self, patch: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.patches.push(Box::new(patch));
        self
    }

    /// Starts it: the peers, then Envoy, and waits until all workers accept connections.
    ///
    /// # Errors
    ///
    /// When anything does not start. When Envoy refuses the configuration, the error has Envoy's reason.
    pub async fn start(self) -> Result<Lab> {
        let directory = tempfile::Builder::new().prefix("careplane-lab-").tempdir()?;
        let (upstream, otlp) = (Upstream::start(POOLS).await?, Otlp::start().await?);
        let (identity, pki) = (IdentityProvider::new()?, Pki::new()?);
        write_files(directory.path(), &identity, &pki)?;
        let (refusing, refusing_address) = refusing_port()?;

        let mut clusters: BTreeMap<String, SocketAddr> =
            upstream.addresses().map(|(name, address)| (name.to_owned(), address)).collect();
        clusters.insert("failing".to_owned(), refusing_address);
        clusters.insert("otel".to_owned(), self.collector.unwrap_or(otlp.address()));

        let template = EnvoyConfig::load()?;
        let mut policy = template.policy()?;
        // A chain is then whole in the access log alone. Late spans are sent all the same.
        policy["audit"]["sinks"]["otlp"] = false.into();
        self.policy.into_iter().for_each(|patch| patch(&mut policy));
        let derivation = Derivation {
            template,
            locations: Locations { directory: directory.path().to_owned(), modules: self.modules, clusters },
            variation: self.variation,
            concurrency: self.concurrency,
            log_level: self.log_level,
            drain: self.drain,
            patches: self.patches,
        };
        let configuration = derivation.configuration(&policy)?;
        let listeners = reload::listeners_file(directory.path());
        reload::replace(&listeners, &configuration.listeners())?;
        let bootstrap = directory.path().join("envoy.json");
        fs::write(&bootstrap, configuration.bootstrap(&listeners).to_string())?;

        let envoy = Envoy::start(Launch {
            binary: &workspace::envoy_binary(self.variation.version),
            bootstrap: &bootstrap,
            directory: directory.path(),
            concurrency: self.concurrency,
            log_level: &derivation.log_level,
            drain: derivation.drain,
            hot_restart: self.hot_restart,
        })
        .await?;
        let names = configuration.listener_names().len() as u64;
        let (gateway, sidecar) = wait_for_listeners(&envoy, names * u64::from(self.concurrency)).await?;

        Ok(Lab {
            envoy,
            upstream,
            otlp,
            identity,
            pki,
            gateway,
            sidecar,
            policy,
            derivation,
            _refusing: refusing,
            directory,
        })
    }
}

impl Derivation {
    /// The configuration with `policy`.
    pub(super) fn configuration(&self, policy: &Value) -> Result<Configuration> {
        let mut configuration = self.template.derive(&self.locations, &self.variation, policy)?;
        for patch in &self.patches {
            patch(configuration.document_mut());
        }
        Ok(configuration)
    }
}

/// What `envoy.yaml` expects in its directories.
fn write_files(directory: &Path, identity: &IdentityProvider, pki: &Pki) -> Result<()> {
    fs::create_dir_all(directory.join("log"))?;
    fs::create_dir_all(directory.join("tls"))?;
    fs::write(directory.join("jwks.json"), identity.jwks().to_string())?;
    fs::write(directory.join("tls/ca.pem"), pki.ca())?;
    fs::write(directory.join("tls/server.pem"), &pki.server().certificate)?;
    fs::write(directory.join("tls/server.key"), &pki.server().key)?;
    Ok(())
}

/// A port that refuses connections for as long as the socket lives.
fn refusing_port() -> Result<(TcpSocket, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// Waits until every worker has both listeners, and returns where they are.
pub(super) async fn wait_for_listeners(envoy: &Envoy, expected: u64) -> Result<(SocketAddr, SocketAddr)> {
    let ready = until("all workers to have their listeners", WORKERS_DEADLINE, async || {
        if envoy.stat(reload::REJECTED).await? > 0 {
            bail!("Envoy refused the listeners");
        }
        if envoy.stat(reload::CREATED).await? < expected {
            return Ok(None);
        }
        let addresses = (envoy.admin().listener(GATEWAY).await?, envoy.admin().listener(SIDECAR).await?);
        Ok(addresses.0.zip(addresses.1))
    });
    ready.await.with_context(|| format!("Envoy warned:\n{}", envoy.log().warnings(0).unwrap_or_default()))
}
