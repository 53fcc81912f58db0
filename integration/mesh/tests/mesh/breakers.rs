//! Circuit breakers: what Envoy was told, and what it then does.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use careplane_integration::{Request, poll::until};
use careplane_mesh::Mesh;
use serde_json::Value;

use crate::services::{MEDICATION, NHS, SERVICES};

const SUBSETS: [&str; 6] = ["pool-a", "pool-b", "pool-c", "dedicated-a", "stable", "canary"];
const DEADLINE: Duration = Duration::from_secs(20);
/// In pool-a, as careplane hashes it.
const TENANT: &str = "care-home-0001";

pub async fn each_service_has_its_numbers(mesh: &Mesh) -> Result<()> {
    let gateway = mesh.pod("core-healthcare", "istio=ingressgateway").await?;
    let dump: Value =
        serde_json::from_str(&mesh.envoy(&gateway, "config_dump?resource=dynamic_active_clusters").await?)?;
    let clusters = dump["configs"].as_array().context("no clusters")?;
    for service in SERVICES {
        for subset in SUBSETS.into_iter().chain([""]) {
            let name = service.cluster(subset);
            let cluster = clusters.iter().map(|one| &one["cluster"]).find(|cluster| cluster["name"] == *name);
            let cluster = cluster.with_context(|| format!("the gateway has no cluster {name}"))?;
            let thresholds = &cluster["circuit_breakers"]["thresholds"][0];
            let outliers = &cluster["outlier_detection"];
            ensure!(thresholds["max_connections"] == service.max_connections, "{name}: {thresholds}");
            ensure!(outliers["consecutive_5xx"] == service.consecutive_errors, "{name}: {outliers}");
            ensure!(outliers["base_ejection_time"] == format!("{}s", service.ejection_seconds), "{name}: {outliers}");
        }
    }
    Ok(())
}

pub async fn a_failing_pod_is_ejected(mesh: &Mesh) -> Result<()> {
    // Two of one pool: of one alone, Envoy ejects none.
    mesh.scale(MEDICATION.namespace, "medication-service-pool-a", 2).await?;
    let gateway = mesh.pod(MEDICATION.namespace, "istio=ingressgateway").await?;
    let ejected = format!("cluster.{};.outlier_detection.ejections_active", MEDICATION.cluster("pool-a"));
    let pods = mesh.pods(MEDICATION.namespace, "app=medication-service,pool=pool-a").await?;
    ensure!(pods.len() == 2, "{} pods in pool-a", pods.len());
    let sick = &pods[0];
    mesh.control(sick, Request::post("/fail?status=503&count=100000", "")).await?;
    until("the failing pod to be ejected", DEADLINE, async || {
        mesh.send(TENANT, "nurse", Request::get("/api/v1/medications/1")).await?;
        Ok((mesh.stat(&gateway, &ejected).await? == 1).then_some(()))
    })
    .await?;
    for _ in 0..20 {
        let response = mesh.send(TENANT, "nurse", Request::post("/api/v1/medications", "{}")).await?;
        ensure!(response.status == 200, "{}", response.status);
        ensure!(response.json()?["pod"] == *pods[1].name, "{}", response.text());
    }
    mesh.control(sick, Request::post("/fail?status=503&count=0", "")).await?;
    mesh.scale(MEDICATION.namespace, "medication-service-pool-a", 1).await
}

pub async fn too_much_overflows(mesh: &Mesh) -> Result<()> {
    let _ = NHS;
    let requests = (0..200)
        .map(|_| mesh.send(TENANT, "nurse", Request::get("/api/v1/medications/1").header("x-echo-delay-ms", "1500")));
    let answers = join_all(requests).await;
    let overflowed = answers.iter().flatten().filter(|response| response.status == 503).count();
    let served = answers.iter().flatten().filter(|response| response.status == 200).count();
    ensure!(served + overflowed == 200 && overflowed >= 50, "{served} served, {overflowed} overflowed");
    Ok(())
}

async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = futures.map(Box::pin).collect();
    let mut done = Vec::with_capacity(all.len());
    std::future::poll_fn(|context| {
        all.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}
