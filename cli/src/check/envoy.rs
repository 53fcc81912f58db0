//! A stock Envoy that answers by itself, for tests that hold what `check` thinks of Envoy against it.

use std::path::Path;
use std::time::Duration;

use careplane_integration::Envoy;
use careplane_integration::envoy::{HotRestart, Launch};
use careplane_integration::workspace::{envoy_binary, version};
use serde_json::{Value, json};

const TYPES: &str = "type.googleapis.com/envoy.extensions.filters";

/// A running Envoy, and the folder that it writes into.
pub struct RunningEnvoy {
    pub envoy: Envoy,
    _folder: tempfile::TempDir,
}

/// Starts Envoy with one listener for each connection manager, all on ports of their own.
pub async fn start(managers: &[(&str, Value)]) -> RunningEnvoy {
    let loopback = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
    let listener = |(name, manager): &(&str, Value)| {
        let mut manager = manager.clone();
        manager["@type"] = json!(format!("{TYPES}.network.http_connection_manager.v3.HttpConnectionManager"));
        manager["stat_prefix"] = json!(name);
        manager["http_filters"] = json!([{
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": format!("{TYPES}.http.router.v3.Router")},
        }]);
        let filter = json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
        json!({"name": name, "address": loopback, "filter_chains": [{"filters": [filter]}]})
    };
    let listeners: Vec<Value> = managers.iter().map(listener).collect();
    let bootstrap = json!({"admin": {"address": loopback}, "static_resources": {"listeners": listeners}});
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bootstrap.json");
    std::fs::write(&file, bootstrap.to_string()).unwrap();
    RunningEnvoy { envoy: run(&file, folder.path()).await, _folder: folder }
}

async fn run(bootstrap: &Path, directory: &Path) -> Envoy {
    let launch = Launch {
        binary: &envoy_binary(version()),
        bootstrap,
        directory,
        concurrency: 1,
        log_level: "warn",
        drain: Duration::from_secs(1),
        hot_restart: HotRestart::Off,
    };
    Envoy::start(launch).await.unwrap()
}
