//! Circuit breakers: Envoy's configuration, and its behaviour.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use careplane_integration::{Request, Response, poll::until};
use careplane_mesh::{Mesh, Pod};
use futures_util::future::join_all;
use hyper::Method;
use serde_json::Value;

use crate::services::{MEDICATION, NHS, SERVICES, Service, TENANT};

const SUBSETS: [&str; 6] = ["pool-a", "pool-b", "pool-c", "dedicated-a", "stable", "canary"];
const DEADLINE: Duration = Duration::from_secs(20);

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

/// A service with a tripped breaker: its caller, and its two pods.
struct Tripped<'m> {
    mesh: &'m Mesh,
    service: Service,
    deployment: &'static str,
    caller: Pod,
}

impl<'m> Tripped<'m> {
    async fn both(mesh: &'m Mesh) -> Result<[Self; 2]> {
        let gateway = mesh.pod("core-healthcare", "istio=ingressgateway").await?;
        let medication = mesh.pod("core-healthcare", "app=medication-service,pool=pool-b").await?;
        Ok([
            Self { mesh, service: MEDICATION, deployment: "medication-service-pool-a", caller: gateway },
            Self { mesh, service: NHS, deployment: "nhs-integration-service", caller: medication },
        ])
    }

    /// Sends a request to it, of a tenant in pool-a.
    async fn send(&self, method: &str, delay: Duration) -> Result<Response> {
        let delay = delay.as_millis().to_string();
        let method: Method = method.parse()?;
        let request = |path: String| Request::new(method.clone(), path).header("x-echo-delay-ms", &delay);
        if let Some(path) = self.service.path {
            return self.mesh.send(TENANT, "nurse", request(format!("{path}/1"))).await;
        }
        let url = format!("http://{}:{}/api/v1/nhs/1", self.service.host(), self.service.port);
        let request =
            request(format!("/call?url={url}")).header("x-tenant-id", TENANT).header("x-tenant-pool", "pool-a");
        self.mesh.control(&self.caller, request).await
    }

    /// A counter or gauge of the cluster in the caller's Envoy.
    async fn stat(&self, name: &str) -> Result<u64> {
        self.mesh.stat(&self.caller, &format!("cluster.{};.{name}", self.service.cluster("pool-a"))).await
    }
}

pub async fn a_failing_pod_is_ejected(mesh: &Mesh) -> Result<()> {
    for tripped in Tripped::both(mesh).await? {
        let (namespace, deployment) = (tripped.service.namespace, tripped.deployment);
        // Two of one pool: of one alone, Envoy ejects none.
        mesh.scale(namespace, deployment, 2).await?;
        let selector = format!("app={},pool=pool-a", tripped.service.name);
        let pods = mesh.pods(namespace, &selector).await?;
        ensure!(pods.len() == 2, "{} pods with {selector}", pods.len());
        let (sick, well) = (&pods[0], &pods[1]);
        mesh.control(sick, Request::post("/fail?status=503&count=100000", "")).await?;
        let seen = eject(&tripped, well).await;
        mesh.scale(namespace, deployment, 1).await?;
        // New pods, which no proxy has ejected.
        mesh.restart(namespace, deployment).await?;
        seen.with_context(|| format!("of {}", tripped.service.name))?;
    }
    Ok(())
}

async fn eject(tripped: &Tripped<'_>, well: &Pod) -> Result<()> {
    until("the failing pod to be ejected", DEADLINE, async || {
        tripped.send("GET", Duration::ZERO).await?;
        Ok((tripped.stat("outlier_detection.ejections_active").await? == 1).then_some(()))
    })
    .await?;
    // Envoy's workers learn of ejections once a second.
    until("twenty writes past the ejected pod", DEADLINE, async || {
        for _ in 0..20 {
            let response = tripped.send("POST", Duration::ZERO).await?;
            if response.status != 200 {
                return Ok(None);
            }
            ensure!(response.json()?["pod"] == *well.name, "{}", response.text());
        }
        Ok(Some(()))
    })
    .await
}

pub async fn too_much_overflows(mesh: &Mesh) -> Result<()> {
    for tripped in Tripped::both(mesh).await? {
        let before = tripped.stat("upstream_rq_pending_overflow").await?;
        // Twice what connections and queue hold.
        let requests = tripped.service.max_connections as usize * 3;
        // Writes are not tried again, so each answer is of one attempt.
        let answers = join_all((0..requests).map(|_| tripped.send("POST", Duration::from_secs(2)))).await;
        let count = |status| answers.iter().flatten().filter(|response| response.status == status).count();
        let (served, overflowed) = (count(200), count(503));
        let name = tripped.service.name;
        ensure!(served + overflowed == requests, "{name}: {served} served, {overflowed} overflowed, of {requests}");
        ensure!(served > 0 && overflowed > 0, "{name}: {served} served, {overflowed} overflowed");
        ensure!(tripped.stat("upstream_rq_pending_overflow").await? > before, "{name}: Envoy counted no overflow");
    }
    Ok(())
}
