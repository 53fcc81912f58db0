//! The way out.

use std::time::Duration;

use anyhow::{Result, ensure};
use careplane_integration::{Request, poll::until};
use careplane_mesh::Mesh;

use crate::services::{MEDICATION, NHS};

const DEADLINE: Duration = Duration::from_secs(20);

pub async fn only_the_nhs_is_outside(mesh: &Mesh) -> Result<()> {
    let integration = mesh.pod(NHS.namespace, "app=nhs-integration-service").await?;
    let medication = mesh.pod(MEDICATION.namespace, "app=medication-service,pool=pool-a").await?;
    for host in ["api.service.nhs.uk", "sandbox.api.service.nhs.uk"] {
        let url = format!("http://{host}/personal-demographics/FHIR/R4/Patient");
        let request = |path: String| {
            let request = Request::get(path).header("x-correlation-id", "to-the-nhs-1");
            request
                .header("x-tenant-id", "care-home-0001")
                .header("x-user-id", "nurse-1")
                .header("x-tenant-pool", "pool-a")
        };
        // The gateway looks the name up every few seconds, and there was none when it began.
        let answer = until(&format!("an answer of {host}"), DEADLINE, async || {
            let response = mesh.call(&integration, &url, request).await?;
            ensure!(matches!(response.status, 200 | 503), "{} {}", response.status, response.text());
            if response.status == 200 { response.json().map(Some) } else { Ok(None) }
        })
        .await?;
        ensure!(answer["namespace"] == "outside" && answer["host"] == host, "{answer}");
        let names: Vec<&str> =
            answer["headers"].as_array().into_iter().flatten().filter_map(|pair| pair[0].as_str()).collect();
        for ours in ["x-tenant-id", "x-user-id", "x-tenant-pool", "x-forwarded-client-cert"] {
            ensure!(!names.contains(&ours), "{ours} left the mesh: {names:?}");
        }
        ensure!(names.contains(&"x-correlation-id"), "{names:?}");
        let response = mesh.call(&medication, &url, Request::get).await?;
        ensure!(response.status == 502, "medication-service reaches {host}: {}", response.status);
    }
    let response = mesh.call(&integration, "http://elsewhere.example/", Request::get).await?;
    ensure!(response.status == 502, "elsewhere: {} {}", response.status, response.text());
    // By the egress gateway it went, not past it.
    let gateway = mesh.pod("istio-system", "istio=egressgateway").await?;
    let clusters = mesh.envoy(&gateway, "clusters").await?;
    let passed = clusters.lines().filter(|line| line.contains("service.nhs.uk::") && line.contains("::rq_success::"));
    let passed: Vec<&str> = passed.filter(|line| !line.ends_with("::0")).collect();
    ensure!(passed.len() == 2, "{passed:?} of {clusters}");
    Ok(())
}
