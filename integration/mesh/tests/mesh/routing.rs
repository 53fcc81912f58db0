//! Where requests go, how often, and for how long.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use careplane_integration::{Request, poll::until};
use careplane_mesh::Mesh;
use serde_json::Value;

use crate::services::{MEDICATION, TENANT};

/// The pod that answers for a tenant.
async fn answering(mesh: &Mesh, tenant: &str) -> Result<Value> {
    let response = mesh.send(tenant, "nurse", Request::get("/api/v1/medications/1")).await?;
    ensure!(response.status == 200, "{tenant}: {} {}", response.status, response.text());
    response.json()
}

pub async fn a_read_is_tried_again_and_a_write_is_not(mesh: &Mesh) -> Result<()> {
    // A tenant, and so a pod, of its own: no other test's requests get the failures that are ordered here.
    let tenant = tenant_in(mesh, "pool-b").await?;
    let pod = mesh.pod(MEDICATION.namespace, "app=medication-service,pool=pool-b").await?;
    let fail_once = || Request::post("/fail?status=503&count=1", "");
    mesh.control(&pod, fail_once()).await?;
    let read = mesh.send(&tenant, "nurse", Request::get("/api/v1/medications/read-once")).await?;
    ensure!(read.status == 200, "GET: {}", read.status);
    mesh.control(&pod, fail_once()).await?;
    let path = "/api/v1/medications/administer?dose=only-one";
    let write = mesh.send(&tenant, "nurse", Request::post(path, "{}")).await?;
    ensure!(write.status == 503, "POST: {}", write.status);
    let seen = mesh.control(&pod, Request::get("/requests")).await?.json()?;
    let times = |path: &str| seen.as_array().into_iter().flatten().filter(|request| request["path"] == path).count();
    ensure!(times("/api/v1/medications/read-once") == 2, "{seen}");
    ensure!(times(path) == 1, "{seen}");
    Ok(())
}

/// A tenant that careplane hashes into `pool`.
async fn tenant_in(mesh: &Mesh, pool: &str) -> Result<String> {
    for number in 1000..1100 {
        let tenant = format!("care-home-{number}");
        let response = mesh.send(&tenant, "nurse", Request::get("/api/v1/medications/1")).await?;
        if response.status == 200 && response.json()?["pool"] == pool {
            return Ok(tenant);
        }
    }
    anyhow::bail!("of a hundred tenants, none is in {pool}")
}

pub async fn timeouts_are_as_asked(mesh: &Mesh) -> Result<()> {
    let gateway = mesh.pod("core-healthcare", "istio=ingressgateway").await?;
    let dump: Value = serde_json::from_str(&mesh.envoy(&gateway, "config_dump?resource=dynamic_route_configs").await?)?;
    let (mut reads, mut writes) = (0, 0);
    for config in dump["configs"].as_array().context("no routes")? {
        for host in config["route_config"]["virtual_hosts"].as_array().into_iter().flatten() {
            for route in host["routes"].as_array().into_iter().flatten() {
                let Some(name) = route["name"].as_str().filter(|_| !route["route"].is_null()) else { continue };
                let (timeout, retries) = (&route["route"]["timeout"], &route["route"]["retry_policy"]);
                ensure!(timeout == "30s", "{name}: timeout {timeout}");
                ensure!(retries["num_retries"] == 3, "{name}: {retries}");
                if name.contains("read") {
                    ensure!(retries["per_try_timeout"] == "10s", "{name}: {retries}");
                    reads += 1;
                } else {
                    let on = retries["retry_on"].as_str().unwrap_or_default();
                    ensure!(!on.contains("5xx") && !on.split(',').any(|word| word == "reset"), "{name}: {on}");
                    writes += 1;
                }
            }
        }
    }
    // Six public services, three hosts, exact and prefix, six routes each.
    ensure!(reads >= 6 * 6 && writes >= 6 * 6, "{reads} reads, {writes} writes");
    Ok(())
}

pub async fn a_timeout_takes_effect(mesh: &Mesh) -> Result<()> {
    let slow = || Request::get("/api/v1/medications/1").header("x-echo-delay-ms", "1500");
    let began = Instant::now();
    ensure!(mesh.send(TENANT, "nurse", slow()).await?.status == 200, "as shipped");
    ensure!(began.elapsed() >= Duration::from_millis(1500), "the application does not wait");
    let name = ["virtualservice", "medication-service.pools", "-n", MEDICATION.namespace];
    let before = mesh.cluster.get(&name).await?;
    let routes = before["spec"]["http"].as_array().context("no routes")?.len();
    let scaled: Vec<Value> = (0..routes)
        .map(|index| format!("/spec/http/{index}/timeout"))
        .map(|path| serde_json::json!({"op": "replace", "path": path, "value": "300ms"}))
        .collect();
    let patch = Value::from(scaled).to_string();
    mesh.cluster.kubectl(&[&["patch"], &name[..], &["--type=json", "-p", &patch]].concat()).await?;
    let seen = until("the shorter timeout", Duration::from_secs(10), async || {
        let response = mesh.send(TENANT, "nurse", slow()).await?;
        Ok((response.status == 504).then_some(()))
    })
    .await;
    let whole = patch.replace("300ms", "30s");
    mesh.cluster.kubectl(&[&["patch"], &name[..], &["--type=json", "-p", &whole]].concat()).await?;
    seen?;
    until("the timeout as it was", Duration::from_secs(10), async || {
        let response = mesh.send(TENANT, "nurse", slow()).await?;
        Ok((response.status == 200).then_some(()))
    })
    .await
}

pub async fn a_canary_gets_its_share(mesh: &Mesh) -> Result<()> {
    const REQUESTS: u64 = 2000;
    // Not the gateway: careplane gives every request a pool there. The answer is 403; the test looks at its route.
    let foreign = mesh.pod("operational", "app=foreign").await?;
    let sent = async |subset: &str| -> Result<u64> {
        // Of each pod of the cluster: `<cluster>::<address>::rq_total::<count>`.
        let clusters = mesh.envoy(&foreign, "clusters").await?;
        let cluster = format!("{}::", MEDICATION.cluster(subset));
        let counts = clusters
            .lines()
            .filter_map(|line| line.strip_prefix(&cluster)?.split_once("::rq_total::")?.1.parse::<u64>().ok());
        Ok(counts.sum())
    };
    let stats = async || -> Result<(u64, u64)> { Ok((sent("stable").await?, sent("canary").await?)) };
    let url = format!("http://{}:{}/api/v1/medications", MEDICATION.host(), MEDICATION.port);
    let before = stats().await?;
    for _ in 0..REQUESTS {
        mesh.call(&foreign, &url, Request::get).await?;
    }
    let after = stats().await?;
    let (stable, canary) = (after.0 - before.0, after.1 - before.1);
    ensure!(stable + canary >= REQUESTS, "{stable} + {canary} of {REQUESTS}");
    let (count, share) = ((stable + canary) as f64, 0.05);
    let error = (share * (1.0 - share) / count).sqrt();
    let measured = canary as f64 / count;
    ensure!((measured - share).abs() <= 4.0 * error, "{canary} of {count} went to the canary");
    Ok(())
}

pub async fn a_tenant_has_its_pool(mesh: &Mesh) -> Result<()> {
    let mut pools: BTreeMap<String, u32> = BTreeMap::new();
    for number in 2000..2040 {
        let tenant = format!("care-home-{number}");
        let request = || Request::get("/api/v1/medications/1");
        let first = mesh.send(&tenant, "nurse", request()).await?;
        let again = mesh.send(&tenant, "nurse", request()).await?;
        ensure!(first.status == again.status, "{tenant}: {} and {}", first.status, again.status);
        if first.status == 503 {
            // pool-c has only a canary pod here: its tenants never reach the pods of another pool.
            *pools.entry("none".to_owned()).or_default() += 1;
            continue;
        }
        let (first, again) = (first.json()?, again.json()?);
        ensure!(first["pod"] == again["pod"], "{tenant}: {} and {}", first["pod"], again["pod"]);
        let named = header(&first, "x-tenant-pool");
        if header(&first, "x-release-cohort") == "canary" {
            ensure!(first["release"] == "canary", "{tenant}: {first}");
        } else {
            ensure!(first["pool"] == named && first["release"] == "stable", "{tenant}: {first}");
        }
        *pools.entry(named).or_default() += 1;
    }
    ensure!(pools.len() >= 3 && pools.values().all(|count| *count >= 4), "{pools:?}");
    let pinned = answering(mesh, "care-home-0042").await?;
    ensure!(header(&pinned, "x-tenant-pool") == "dedicated-a" && pinned["release"] == "canary", "{pinned}");
    Ok(())
}

/// The first header of a name that the application received.
pub fn header(answer: &Value, name: &str) -> String {
    let pairs = answer["headers"].as_array().into_iter().flatten();
    let mut values = pairs.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap_or_default().to_owned());
    values.next().unwrap_or_default()
}
