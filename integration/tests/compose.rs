//! What can be known about `docker-compose.yaml` without a container engine: that it names what exists, and fits
//! `envoy.yaml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result};
use careplane_integration::{compose, config::Template, workspace};
use serde_json::Value;

/// What builds and `careplane-lab compose-files` make.
const BUILT: &str = "dist/careplane.wasm";
const GENERATED: &str = ".run/compose/";

fn composition() -> Result<Value> {
    let text = fs::read_to_string(workspace::root().join("integration/docker-compose.yaml"))?;
    Ok(serde_saphyr::from_str(&text)?)
}

fn services(composition: &Value) -> impl Iterator<Item = (&String, &Value)> {
    composition["services"].as_object().expect("services").iter()
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().map_or(&[][..], Vec::as_slice).iter().map(|item| item.as_str().expect("a string"))
}

/// `(host path relative to the repository, container path)` of every bind mount.
fn mounts(service: &Value) -> Vec<(String, String)> {
    texts(&service["volumes"])
        .map(|mount| {
            let mut parts = mount.split(':');
            let (host, container) = (parts.next().unwrap(), parts.next().expect("host:container"));
            // Relative to integration/.
            let host = match host.strip_prefix("../") {
                Some(rest) => rest.to_owned(),
                None => format!("integration/{}", host.strip_prefix("./").expect("a relative path")),
            };
            (host, container.to_owned())
        })
        .collect()
}

/// Every string in `value`.
fn strings(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => drop(found.insert(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(members) => members.values().for_each(|member| strings(member, found)),
        _ => {}
    }
}

#[test]
fn every_image_is_pinned_to_a_version() -> Result<()> {
    for (name, service) in services(&composition()?) {
        let image = service["image"].as_str().with_context(|| format!("{name} has no image"))?;
        let (_, tag) = image.rsplit_once(':').with_context(|| format!("{image} has no tag"))?;
        let numbers: Vec<&str> = tag.trim_start_matches('v').split('.').collect();
        assert!(numbers.len() == 3 && numbers.iter().all(|n| n.parse::<u32>().is_ok()), "{image} is not pinned");
    }
    Ok(())
}

#[test]
fn every_mounted_file_is_committed_built_or_generated() -> Result<()> {
    let generated = tempfile::tempdir()?;
    compose::write(generated.path())?;
    for (name, service) in services(&composition()?) {
        for (host, _) in mounts(service) {
            let exists = match host.strip_prefix(GENERATED) {
                Some(rest) => generated.path().join(rest).exists(),
                None => host == BUILT || workspace::root().join(&host).exists(),
            };
            assert!(exists, "{name} mounts {host}, which nothing makes");
        }
    }
    Ok(())
}

#[test]
fn every_file_that_envoy_reads_or_writes_is_mounted() -> Result<()> {
    let composition = composition()?;
    let mounts = mounts(&composition["services"]["envoy"]);
    let mut found = BTreeSet::new();
    strings(Template::load()?.document(), &mut found);
    let files = found.iter().filter(|text| text.starts_with("/etc/careplane/") || text.starts_with("/var/log/"));
    for file in files {
        assert!(mounts.iter().any(|(_, container)| Path::new(file).starts_with(container)), "{file} is not mounted");
    }
    Ok(())
}

#[test]
fn every_cluster_is_a_service_and_its_port_one_that_the_service_has() -> Result<()> {
    let composition = composition()?;
    let ports: BTreeMap<&String, Vec<String>> = services(&composition)
        .map(|(name, service)| {
            let mut ports: Vec<String> = texts(&service["expose"]).map(str::to_owned).collect();
            // whoami is told its port.
            let command: Vec<&str> = texts(&service["command"]).collect();
            ports.extend(command.windows(2).filter(|pair| pair[0] == "--port").map(|pair| pair[1].to_owned()));
            (name, ports)
        })
        .collect();

    let template = Template::load()?;
    for cluster in template.document()["static_resources"]["clusters"].as_array().unwrap() {
        let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        let socket = &endpoint["address"]["socket_address"];
        let (host, port) = (socket["address"].as_str().unwrap(), socket["port_value"].to_string());
        let open = ports.get(&host.to_owned()).with_context(|| format!("no service is called {host}"))?;
        // `failing` is the cluster behind which nobody listens.
        assert_eq!(open.contains(&port), cluster["name"] != "failing", "{}: {host}:{port}", cluster["name"]);
    }
    Ok(())
}

#[test]
fn every_door_of_envoy_is_published_on_loopback() -> Result<()> {
    let composition = composition()?;
    let published: Vec<&str> = texts(&composition["services"]["envoy"]["ports"]).collect();
    let template = Template::load()?;
    let document = template.document();
    let listeners = document["static_resources"]["listeners"].as_array().unwrap();
    for door in listeners.iter().chain([&document["admin"]]) {
        let port = &door["address"]["socket_address"]["port_value"];
        assert!(published.contains(&format!("127.0.0.1:{port}:{port}").as_str()), "{port} is not published");
    }
    let jaeger: Vec<&str> = texts(&composition["services"]["jaeger"]["ports"]).collect();
    assert_eq!(jaeger, ["127.0.0.1:16686:16686"]);
    Ok(())
}
