//! The ten services, as the platform's own table has them.

use std::time::Duration;

use anyhow::Result;
use careplane_integration::{Response, poll::until};

/// A tenant that the policy hashes into pool-a and leaves with the stable release.
pub const TENANT: &str = "care-home-0100";

/// A service and the numbers that were asked for.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    pub name: &'static str,
    pub namespace: &'static str,
    pub port: u16,
    /// Where outsiders reach it.
    pub path: Option<&'static str>,
    pub max_connections: u32,
    pub consecutive_errors: u32,
    pub ejection_seconds: u32,
}

impl Service {
    /// The name of its cluster in Envoy.
    pub fn cluster(&self, subset: &str) -> String {
        format!("outbound|{}|{subset}|{}", self.port, self.host())
    }

    /// Its name in the mesh.
    pub fn host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name, self.namespace)
    }
}

const fn service(
    (name, namespace, port): (&'static str, &'static str, u16),
    path: Option<&'static str>,
    (max_connections, consecutive_errors, ejection_seconds): (u32, u32, u32),
) -> Service {
    Service { name, namespace, port, path, max_connections, consecutive_errors, ejection_seconds }
}

pub const MEDICATION: Service = SERVICES[1];
pub const NHS: Service = SERVICES[9];

pub const SERVICES: [Service; 10] = [
    service(("resident-service", "core-healthcare", 3001), Some("/api/v1/residents"), (50, 3, 30)),
    service(("medication-service", "core-healthcare", 3002), Some("/api/v1/medications"), (100, 2, 15)),
    service(("care-planning-service", "core-healthcare", 3003), Some("/api/v1/care-plans"), (75, 3, 30)),
    service(("assessment-service", "core-healthcare", 3004), Some("/api/v1/assessments"), (60, 4, 45)),
    service(("health-records-service", "core-healthcare", 3005), Some("/api/v1/health-records"), (80, 3, 30)),
    service(("compliance-service", "compliance", 3006), Some("/api/v1/compliance"), (40, 3, 30)),
    service(("audit-service", "compliance", 3007), None, (60, 3, 30)),
    service(("financial-service", "operational", 3008), None, (40, 5, 60)),
    service(("hr-payroll-service", "operational", 3009), None, (30, 5, 60)),
    service(("nhs-integration-service", "integration", 3010), None, (20, 3, 120)),
];

/// The answer of a service. Asks again while the proxy knows no pod of it that is ready: on a busy machine a probe can
/// be late, and the pod is out of the endpoints until the next one.
pub async fn answer(ask: impl AsyncFn() -> Result<Response>) -> Result<Response> {
    until("an answer", Duration::from_secs(30), async || {
        let response = ask().await?;
        let reached = response.status != 503 || !response.text().contains("no healthy upstream");
        Ok(reached.then_some(response))
    })
    .await
}
