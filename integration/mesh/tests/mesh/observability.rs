//! What is seen of requests.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use careplane_integration::{Request, poll::until};
use careplane_mesh::Mesh;
use serde_json::Value;

use crate::services::TENANT;

const DEADLINE: Duration = Duration::from_secs(30);

/// The traces in Jaeger with this tag.
pub async fn traces(mesh: &Mesh, tag: &str, value: &str) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for service in ["istio-ingressgateway.core-healthcare", "medication-service.core-healthcare"] {
        let tags = format!("%7B%22{tag}%22%3A%22{value}%22%7D");
        let path = format!("/api/traces?service={service}&tags={tags}&limit=1500&lookback=1h");
        let answer = mesh.jaeger(&path).await?;
        found.extend(answer["data"].as_array().cloned().unwrap_or_default());
    }
    found.sort_by_key(|trace| trace["traceID"].to_string());
    found.dedup_by_key(|trace| trace["traceID"].to_string());
    Ok(found)
}

/// The tags of each span of a trace, by service.
pub fn tags(trace: &Value) -> Vec<(String, BTreeMap<String, String>)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let spans = trace["spans"].as_array().into_iter().flatten().map(|span| {
        let process = span["processID"].as_str().unwrap_or_default();
        let tags = span["tags"].as_array().into_iter().flatten();
        let tags = tags.map(|tag| (text(&tag["key"]), text(&tag["value"]))).collect();
        (text(&trace["processes"][process]["serviceName"]), tags)
    });
    spans.collect()
}

pub async fn five_tags_are_in_jaeger(mesh: &Mesh) -> Result<()> {
    let correlation = "five-tags-1";
    let request = Request::post("/api/v1/medications/administer", "{}").header("x-correlation-id", correlation);
    let response = mesh.send(TENANT, "nurse", request).await?;
    ensure!(response.status == 200, "{}", response.text());
    let trace = until("the trace in Jaeger, with the spans of both hops", DEADLINE, async || {
        let traces = traces(mesh, "correlation_id", correlation).await?;
        ensure!(traces.len() <= 1, "{} traces of one request", traces.len());
        Ok(traces.into_iter().next().filter(|trace| {
            let services: std::collections::BTreeSet<String> =
                tags(trace).into_iter().map(|(service, _)| service).collect();
            services.len() >= 2
        }))
    })
    .await?;
    for (service, tags) in tags(&trace) {
        for (tag, expected) in [
            ("tenant_id", TENANT),
            ("correlation_id", correlation),
            ("healthcare_context", "medication-administration"),
            ("compliance_level", "critical"),
            ("sampling_tier", "always"),
        ] {
            ensure!(tags.get(tag).is_some_and(|value| value == expected), "{service}: {tag}: {tags:?}");
        }
        ensure!(tags.get("user_id").is_some_and(|user| user.starts_with("p-")), "{service}: {tags:?}");
    }
    Ok(())
}

pub async fn tiers_are_kept(mesh: &Mesh) -> Result<()> {
    const REQUESTS: usize = 400;
    for (path, share) in [("/api/v1/medications/1", 1.0), ("/api/v1/residents/1", 0.5)] {
        let correlation = format!("tier-{}", path.trim_start_matches("/api/v1/").replace('/', "-"));
        for _ in 0..REQUESTS {
            let request = Request::get(path).header("x-correlation-id", &correlation);
            let response = mesh.send(TENANT, "nurse", request).await?;
            ensure!(response.status == 200, "{path}: {}", response.status);
        }
        let error = (share * (1.0 - share) / REQUESTS as f64).sqrt();
        let (least, most) = (share - 4.0 * error, share + 4.0 * error);
        let mut seen = 0.0;
        until(&format!("{path}: a share of {least:.2} to {most:.2}"), DEADLINE, async || {
            seen = traces(mesh, "correlation_id", &correlation).await?.len() as f64 / REQUESTS as f64;
            Ok((least <= seen && seen <= most).then_some(()))
        })
        .await
        .map_err(|error| error.context(format!("seen {seen}")))?;
    }
    Ok(())
}
