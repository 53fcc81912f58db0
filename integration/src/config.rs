//! The project's `envoy.yaml`, and what becomes of it in a test: moved to loopback and a temporary directory, with the
//! policy and the arrangement of plugins that the test asks for. Everything else stays as it is deployed.

mod plugins;
mod relocate;
mod tracing;

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

pub use self::plugins::Plugins;
use crate::{EnvoyVersion, workspace};

/// The type of a listener, by which file-based discovery names it.
const LISTENER_TYPE: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

/// Where Envoy finds the parts of the configuration on this machine.
#[derive(Clone, Debug)]
pub struct Locations {
    /// What was below `/etc/careplane` in the container, and, in `log/`, below `/var/log/careplane`.
    pub directory: PathBuf,
    /// The Wasm modules.
    pub modules: PathBuf,
    /// The endpoint of each cluster.
    pub clusters: BTreeMap<String, SocketAddr>,
}

/// What is different from the configuration as deployed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variation {
    /// The Envoy that must accept it.
    pub version: EnvoyVersion,
    /// Which Wasm filters, from which modules.
    pub plugins: Plugins,
    /// Percent of requests that Envoy samples by chance; 0 as deployed.
    pub random_sampling: f64,
    /// Whether Envoy answers 200 itself instead of asking an upstream.
    pub direct_response: bool,
}

/// `envoy.yaml`, parsed.
#[derive(Clone, Debug)]
pub struct EnvoyConfig {
    document: Value,
}

impl EnvoyConfig {
    /// Reads the project's `envoy.yaml`.
    ///
    /// # Errors
    ///
    /// When it is not there or not YAML.
    pub fn load() -> Result<Self> {
        let path = workspace::envoy_yaml();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let document = serde_saphyr::from_str(&text).with_context(|| format!("{} is not YAML", path.display()))?;
        Ok(Self { document })
    }

    /// The whole document.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// The policy inside it.
    ///
    /// # Errors
    ///
    /// When there is no Wasm filter, or its configuration is not a document.
    pub fn policy(&self) -> Result<Value> {
        plugins::policy(&self.document)
    }

    /// The same with the access log as the one sink: nothing goes to a collector.
    ///
    /// # Errors
    ///
    /// As [`Self::policy`].
    pub fn policy_without_collector(&self) -> Result<Value> {
        let mut policy = self.policy()?;
        if let Some(policy) = policy.as_object_mut() {
            policy.remove("export");
        }
        if let Some(sinks) = policy["audit"]["sinks"].as_object_mut() {
            sinks.remove("otlp");
        }
        Ok(policy)
    }

    /// The whole document with another policy.
    #[must_use]
    pub fn with_policy(&self, policy: &Value) -> Value {
        let mut document = self.document.clone();
        plugins::set_policy(&mut document, policy);
        document
    }

    /// The configuration for a test.
    ///
    /// # Errors
    ///
    /// When the template lacks what is to be changed, or has a cluster for which there is no place.
    pub fn derive(&self, locations: &Locations, variation: &Variation, policy: &Value) -> Result<Configuration> {
        let mut document = self.document.clone();
        let mut policy = policy.clone();
        plugins::arrange(&mut document, variation.plugins)?;
        tracing::set_random_sampling(&mut document, variation.random_sampling);
        if !variation.version.has_formatter_tags() {
            tracing::replace_formatter_tags(&mut document, &mut policy);
        }
        if variation.direct_response {
            relocate::answer_directly(&mut document);
        }
        plugins::set_policy(&mut document, &policy);
        relocate::addresses(&mut document, &locations.clusters)?;
        relocate::files(&mut document, locations);
        Ok(Configuration { document })
    }
}

/// A configuration that an Envoy here can run: listeners apart, so that they can be reloaded.
#[derive(Clone, Debug)]
pub struct Configuration {
    document: Value,
}

impl Configuration {
    /// The whole document, with static listeners, to change what no option changes.
    pub fn document_mut(&mut self) -> &mut Value {
        &mut self.document
    }

    /// The names of its listeners.
    #[must_use]
    pub fn listener_names(&self) -> Vec<String> {
        list(&self.document["static_resources"]["listeners"])
            .iter()
            .filter_map(|listener| Some(listener["name"].as_str()?.to_owned()))
            .collect()
    }

    /// The bootstrap for an Envoy that watches `listeners` for its listeners.
    #[must_use]
    pub fn bootstrap(&self, listeners: &Path) -> Value {
        let mut bootstrap = self.document.clone();
        if let Some(resources) = bootstrap["static_resources"].as_object_mut() {
            resources.remove("listeners");
        }
        bootstrap["dynamic_resources"] = json!({"lds_config": {
            "resource_api_version": "V3",
            "path_config_source": {"path": listeners},
        }});
        bootstrap
    }

    /// The listeners as a discovery response, for the file that Envoy watches.
    #[must_use]
    pub fn listeners(&self) -> Value {
        let resources: Vec<Value> = list(&self.document["static_resources"]["listeners"])
            .iter()
            .map(|listener| {
                let mut resource = listener.clone();
                resource["@type"] = json!(LISTENER_TYPE);
                resource
            })
            .collect();
        json!({"resources": resources})
    }
}

/// The HTTP connection managers of all listeners.
fn connection_managers(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    list_mut(&mut document["static_resources"]["listeners"])
        .iter_mut()
        .flat_map(|listener| list_mut(&mut listener["filter_chains"]))
        .flat_map(|chain| list_mut(&mut chain["filters"]))
        .map(|filter| &mut filter["typed_config"])
        .filter(|config| config["@type"].as_str().is_some_and(|kind| kind.ends_with(".HttpConnectionManager")))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn list_mut(value: &mut Value) -> &mut [Value] {
    value.as_array_mut().map_or(&mut [], Vec::as_mut_slice)
}
