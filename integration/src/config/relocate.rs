//! From a container's addresses and paths to this machine's.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Locations, connection_managers, list_mut};

/// Moves the listeners to free loopback ports and the clusters to where `clusters` says.
pub(super) fn addresses(document: &mut Value, clusters: &BTreeMap<String, SocketAddr>) -> Result<()> {
    let anywhere = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
    document["admin"]["address"] = anywhere.clone();
    for listener in list_mut(&mut document["static_resources"]["listeners"]) {
        listener["address"] = anywhere.clone();
    }
    for cluster in list_mut(&mut document["static_resources"]["clusters"]) {
        let name = cluster["name"].as_str().context("a cluster has no name")?.to_owned();
        let place = clusters.get(&name).with_context(|| format!("nothing stands for cluster {name:?}"))?;
        // A static address needs no resolver, and no time to ask it.
        cluster["type"] = json!("STATIC");
        for locality in list_mut(&mut cluster["load_assignment"]["endpoints"]) {
            for endpoint in list_mut(&mut locality["lb_endpoints"]) {
                endpoint["endpoint"]["address"]["socket_address"] =
                    json!({"address": place.ip(), "port_value": place.port()});
            }
        }
    }
    Ok(())
}

/// Moves every file that the configuration names.
pub(super) fn files(document: &mut Value, locations: &Locations) {
    let directory = locations.directory.to_string_lossy();
    // The longest prefix comes first.
    let moves = [
        ("/etc/careplane/wasm/", format!("{}/", locations.modules.display())),
        ("/etc/careplane/", format!("{directory}/")),
        ("/var/log/careplane/", format!("{directory}/log/")),
    ];
    each_text(document, &mut |text| {
        if let Some((from, to)) = moves.iter().find(|(from, _)| text.starts_with(from)) {
            text.replace_range(..from.len(), to);
        }
    });
}

/// Answers every route that would go to an upstream with 200 and no body.
pub(super) fn answer_directly(document: &mut Value) {
    for manager in connection_managers(document) {
        for host in list_mut(&mut manager["route_config"]["virtual_hosts"]) {
            for route in list_mut(&mut host["routes"]) {
                if let Some(route) = route.as_object_mut()
                    && route.remove("route").is_some()
                {
                    route.insert("direct_response".to_owned(), json!({"status": 200}));
                }
            }
        }
    }
}

fn each_text(value: &mut Value, change: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, change)),
        Value::Object(members) => members.values_mut().for_each(|member| each_text(member, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
