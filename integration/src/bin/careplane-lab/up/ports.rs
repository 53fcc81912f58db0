//! Where the lab is to be found: on the ports that its configuration names, where they are free.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
};

use careplane_integration::lab::{GATEWAY, SIDECAR};
use serde_json::{Value, json};

/// The ports of `envoy.yaml`.
const GATEWAY_PORT: u16 = 10_000;
const SIDECAR_PORT: u16 = 10_001;
const ADMIN_PORT: u16 = 9_901;

/// Ports, 0 for any, and the file of records.
#[derive(Clone, Debug)]
pub struct Ports {
    gateway: u16,
    sidecar: u16,
    admin: u16,
    /// Where records are appended.
    pub records: PathBuf,
}

impl Ports {
    /// The well-known ports, where they are free.
    pub fn choose(records: PathBuf) -> Self {
        Self { gateway: or_any(GATEWAY_PORT), sidecar: or_any(SIDECAR_PORT), admin: or_any(ADMIN_PORT), records }
    }

    /// Moves the Envoy of `document` there.
    pub fn apply(&self, document: &mut Value) {
        document["admin"]["address"]["socket_address"]["port_value"] = json!(self.admin);
        for listener in items(&mut document["static_resources"]["listeners"]) {
            let port = match listener["name"].as_str() {
                Some(GATEWAY) => self.gateway,
                Some(SIDECAR) => self.sidecar,
                _ => 0,
            };
            listener["address"]["socket_address"]["port_value"] = json!(port);
            for chain in items(&mut listener["filter_chains"]) {
                for filter in items(&mut chain["filters"]) {
                    for log in items(&mut filter["typed_config"]["access_log"]) {
                        log["typed_config"]["path"] = json!(self.records);
                    }
                }
            }
        }
    }
}

fn items(list: &mut Value) -> impl Iterator<Item = &mut Value> {
    list.as_array_mut().into_iter().flatten()
}

/// `port` if it is free, else 0.
fn or_any(port: u16) -> u16 {
    if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() { port } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_not_asked_for() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(or_any(port), 0);
    }

    #[test]
    fn every_listener_moves_and_logs_to_the_file() {
        let filter = json!({"typed_config": {"access_log": [{"typed_config": {"path": "elsewhere"}}]}});
        let listener = |name| json!({"name": name, "address": {}, "filter_chains": [{"filters": [filter]}]});
        let mut document = json!({"static_resources": {"listeners": [listener(GATEWAY), listener(SIDECAR)]}});
        Ports { gateway: 1, sidecar: 2, admin: 3, records: "here".into() }.apply(&mut document);
        let port = |pointer: &str| document.pointer(&format!("{pointer}/address/socket_address/port_value")).cloned();
        assert_eq!(port("/static_resources/listeners/0"), Some(json!(1)));
        assert_eq!(port("/static_resources/listeners/1"), Some(json!(2)));
        assert_eq!(port("/admin"), Some(json!(3)));
        let log = "/static_resources/listeners/1/filter_chains/0/filters/0/typed_config/access_log/0/typed_config/path";
        assert_eq!(document.pointer(log), Some(&json!("here")));
    }
}
