//! A second Envoy that takes over from the first.

use std::{fs, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{GATEWAY, Lab, SIDECAR, builder::wait_for_listeners, reload};
use crate::{
    Envoy,
    envoy::{HotRestart, Launch},
    workspace,
};

/// See [`Lab::hot_restart`].
pub(super) async fn hot(lab: &mut Lab) -> Result<Envoy> {
    let derivation = &lab.derivation;
    let base_id = lab.envoy.base_id().context("this lab was not started as one that can be restarted")?;
    let directory = lab.directory.path().join("successor");
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;

    let mut configuration = derivation.configuration(&lab.policy)?;
    // A socket is handed over to a successor that asks for exactly this address.
    for (name, address) in [(GATEWAY, lab.gateway), (SIDECAR, lab.sidecar)] {
        listen(configuration.document_mut(), name, address)?;
    }
    let listeners = reload::listeners_file(&directory);
    reload::replace(&listeners, &configuration.listeners())?;
    let bootstrap = directory.join("envoy.json");
    fs::write(&bootstrap, configuration.bootstrap(&listeners).to_string())?;

    let successor = Envoy::start(Launch {
        binary: &workspace::envoy_binary(derivation.variation.version),
        bootstrap: &bootstrap,
        directory: &directory,
        concurrency: derivation.concurrency,
        log_level: &derivation.log_level,
        drain: derivation.drain,
        hot_restart: HotRestart::Second { base_id },
    })
    .await?;
    let workers = configuration.listener_names().len() as u64 * u64::from(derivation.concurrency);
    let listeners = wait_for_listeners(&successor, workers).await?;
    ensure!(listeners == (lab.gateway, lab.sidecar), "the successor listens on {listeners:?}");
    Ok(std::mem::replace(&mut lab.envoy, successor))
}

fn listen(document: &mut Value, name: &str, address: SocketAddr) -> Result<()> {
    let listeners = document["static_resources"]["listeners"].as_array_mut().context("there are no listeners")?;
    let listener = listeners.iter_mut().find(|listener| listener["name"] == name);
    let listener = listener.with_context(|| format!("there is no listener {name:?}"))?;
    listener["address"] = json!({"socket_address": {"address": address.ip(), "port_value": address.port()}});
    Ok(())
}
