//! What can be known about `docker-compose.yaml` without a container engine: that it names what exists, and fits
//! `envoy.yaml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, Result};
use careplane_integration::{
    compose::{self, Bearer, Scene},
    config::EnvoyConfig,
    workspace,
};
use serde_json::Value;

/// Folders with programs, which `make compose-files` copies.
const PROGRAMS: [&str; 2] = ["wasm", "application"];
/// Where everything is mounted from, unless a test says otherwise.
const MOUNTED: &str = "${CAREPLANE_MOUNTED:-../.run/compose}/";

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

/// `(path below .run/compose, container path)` of every bind mount.
fn mounts(service: &Value) -> Vec<(String, String)> {
    let volumes = service["volumes"].as_array().map_or(&[][..], Vec::as_slice);
    let mount = |volume: &Value| {
        let source = volume["source"].as_str().and_then(|source| source.strip_prefix(MOUNTED));
        let source = source.unwrap_or_else(|| panic!("{volume} is not below {MOUNTED}"));
        (source.to_owned(), volume["target"].as_str().expect("a target").to_owned())
    };
    volumes.iter().map(mount).collect()
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
fn every_mounted_file_is_made_and_everybody_can_read_it() -> Result<()> {
    let generated = tempfile::tempdir()?;
    compose::write(generated.path(), &[])?;
    for (name, service) in services(&composition()?) {
        for (source, _) in mounts(service) {
            let path = generated.path().join(&source);
            assert!(
                path.exists() || PROGRAMS.contains(&source.as_str()),
                "{name} mounts {source}, which nothing makes"
            );
        }
    }
    let mut folders = vec![generated.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let mode = path.metadata()?.permissions().mode();
            let readable = if path.is_dir() { 0o005 } else { 0o004 };
            assert_eq!(mode & readable, readable, "{}: {mode:o}", path.display());
            folders.extend(path.is_dir().then_some(path));
        }
    }
    Ok(())
}

#[test]
fn a_mount_that_is_missing_is_an_error_and_not_a_folder() -> Result<()> {
    for (name, service) in services(&composition()?) {
        for volume in service["volumes"].as_array().map_or(&[][..], Vec::as_slice) {
            assert_eq!(volume["bind"]["create_host_path"], false, "{name}: {volume}");
            let writable = volume["read_only"] != true;
            assert_eq!(writable, volume["source"].as_str().is_some_and(|s| s.contains("/log")), "{name}: {volume}");
        }
    }
    Ok(())
}

#[test]
fn scenes_carry_tokens_and_tell_whose() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let bearer = Bearer { tenant: "care-home-0001".into(), user: "nurse".into(), forged: false };
    let scene = Scene {
        at: "08:00".into(),
        story: "A nurse reads".into(),
        method: "GET".into(),
        path: "/api/v1/residents".into(),
        headers: Vec::new(),
        draw: 17,
        bearer: Some(bearer),
    };
    compose::write(directory.path(), &[scene])?;
    let scenes: Value = serde_json::from_str(&fs::read_to_string(directory.path().join("scenes.json"))?)?;
    assert_eq!(scenes[0]["who"], "nurse of care-home-0001");
    assert_eq!(scenes[0]["token"].as_str().map(|token| token.split('.').count()), Some(3));
    Ok(())
}

#[test]
fn every_file_that_envoy_reads_or_writes_is_mounted() -> Result<()> {
    let composition = composition()?;
    let mounts = mounts(&composition["services"]["envoy"]);
    let mut found = BTreeSet::new();
    let generated = tempfile::tempdir()?;
    compose::write(generated.path(), &[])?;
    let configuration = fs::read_to_string(generated.path().join("envoy.yaml"))?;
    strings(&serde_json::from_str(&configuration)?, &mut found);
    let files = found.iter().filter(|text| text.starts_with("/etc/careplane/") || text.starts_with("/var/log/"));
    for file in files {
        assert!(mounts.iter().any(|(_, container)| Path::new(file).starts_with(container)), "{file} is not mounted");
    }
    Ok(())
}

#[test]
fn every_cluster_is_a_service_and_its_port_one_that_the_service_has() -> Result<()> {
    let composition = composition()?;
    let ports: BTreeMap<&String, Vec<&str>> =
        services(&composition).map(|(name, service)| (name, texts(&service["expose"]).collect())).collect();

    let generated = tempfile::tempdir()?;
    compose::write(generated.path(), &[])?;
    let document: Value = serde_json::from_str(&fs::read_to_string(generated.path().join("envoy.yaml"))?)?;
    for cluster in document["static_resources"]["clusters"].as_array().unwrap() {
        let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        let socket = &endpoint["address"]["socket_address"];
        let (host, port) = (socket["address"].as_str().unwrap(), socket["port_value"].to_string());
        let open = ports.get(&host.to_owned()).with_context(|| format!("no service is called {host}"))?;
        // `failing` is the cluster behind which nothing listens.
        assert_eq!(open.contains(&port.as_str()), cluster["name"] != "failing", "{}: {host}:{port}", cluster["name"]);
    }
    Ok(())
}

#[test]
fn every_listener_is_published_and_nothing_beyond_loopback() -> Result<()> {
    let composition = composition()?;
    let published: Vec<&str> = texts(&composition["services"]["envoy"]["ports"]).collect();
    let template = EnvoyConfig::load()?;
    let document = template.document();
    let listeners = document["static_resources"]["listeners"].as_array().unwrap();
    for listener in listeners.iter().chain([&document["admin"]]) {
        let port = &listener["address"]["socket_address"]["port_value"];
        assert!(published.contains(&format!("127.0.0.1:{port}:{port}").as_str()), "{port} is not published");
    }
    for (name, service) in services(&composition) {
        assert!(texts(&service["ports"]).all(|port| port.starts_with("127.0.0.1:")), "{name}");
    }
    Ok(())
}

#[test]
fn images_are_those_of_the_manifests() -> Result<()> {
    let shipped = workspace::root().join("wasmplugin-manifests/base/observability");
    for (service, manifest) in [
        ("otel-collector", "tracing/collector.yaml"),
        ("jaeger", "tracing/jaeger.yaml"),
        ("prometheus", "monitoring/prometheus.yaml"),
        ("grafana", "monitoring/grafana.yaml"),
    ] {
        let image = composition()?["services"][service]["image"].as_str().context("no image")?.to_owned();
        let manifest = fs::read_to_string(shipped.join(manifest))?;
        assert!(manifest.contains(&format!("image: docker.io/{image}\n")), "{service}: {image}");
    }
    Ok(())
}
