//! Envoy's admin interface.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    client::{Client, Request},
    poll::until,
};

/// The admin interface of one Envoy.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

impl Admin {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { client: Client::plain(address) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.client.address()
    }

    /// The body of GET `path`.
    ///
    /// # Errors
    ///
    /// When there is no answer, or one other than 200.
    pub async fn get(&self, path: &str) -> Result<String> {
        let response = self.client.send(Request::get(path)).await?;
        ensure!(response.status == 200, "admin {path} answered {}: {}", response.status, response.text());
        Ok(response.text())
    }

    /// The body of POST `path`, with which Envoy changes something.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn post(&self, path: &str) -> Result<String> {
        let response = self.client.send(Request::post(path, "")).await?;
        ensure!(response.status == 200, "admin {path} answered {}: {}", response.status, response.text());
        Ok(response.text())
    }

    /// GET `path` as JSON.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), or when the answer is not JSON.
    pub async fn json(&self, path: &str) -> Result<Value> {
        serde_json::from_str(&self.get(path).await?).with_context(|| format!("admin {path} did not answer JSON"))
    }

    /// Whether `/ready` says that Envoy is live. An admin interface that does not answer is not.
    pub async fn is_live(&self) -> bool {
        self.get("/ready").await.is_ok()
    }

    /// The value of the counter or gauge `name`; 0 when Envoy does not have it (yet: some appear at first use).
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn stat(&self, name: &str) -> Result<u64> {
        Ok(self.stats(name).await?.get(name).copied().unwrap_or(0))
    }

    /// All counters and gauges whose names begin with `prefix`.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn stats(&self, prefix: &str) -> Result<BTreeMap<String, u64>> {
        let text = self.get("/stats").await?;
        let stats = text.lines().filter_map(|line| line.rsplit_once(": "));
        // Histograms and text readouts are not numbers.
        let numbers = stats.filter_map(|(name, value)| Some((name, value.parse().ok()?)));
        Ok(numbers.filter(|(name, _)| name.starts_with(prefix)).map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Waits until the counter or gauge `name` is at least `least`, and returns it.
    ///
    /// # Errors
    ///
    /// When it is less after `deadline`, or there is no answer.
    pub async fn wait_for_stat(&self, name: &str, least: u64, deadline: Duration) -> Result<u64> {
        let what = format!("{name} to be at least {least}");
        until(&what, deadline, async || Ok(Some(self.stat(name).await?).filter(|value| *value >= least))).await
    }

    /// The address on which the listener `name` accepts connections, if it does.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn listener(&self, name: &str) -> Result<Option<SocketAddr>> {
        let listeners = self.json("/listeners?format=json").await?;
        let statuses = listeners["listener_statuses"].as_array().cloned().unwrap_or_default();
        let Some(status) = statuses.iter().find(|status| status["name"] == name) else {
            return Ok(None);
        };
        let socket = &status["local_address"]["socket_address"];
        let (host, port) = (socket["address"].as_str(), socket["port_value"].as_u64());
        let (Some(host), Some(port)) = (host, port) else {
            return Ok(None);
        };
        Ok(Some(SocketAddr::new(host.parse()?, u16::try_from(port)?)))
    }
}
