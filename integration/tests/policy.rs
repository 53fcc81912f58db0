//! The policy in `envoy.yaml` is one that careplane accepts, with the services of the mesh in it.

use anyhow::Result;
use careplane_integration::config::EnvoyConfig;
use careplane_policy::{Method, Policy};

#[test]
fn the_policy_is_valid_and_knows_the_services_of_the_mesh() -> Result<()> {
    let document = EnvoyConfig::load()?.policy()?;
    let policy = Policy::from_json(document.to_string().as_bytes())?;
    for (method, path, context) in [
        (Method::Post, "/api/v1/medications/administer", "medication-administration"),
        (Method::Get, "/api/v1/medications", "medication"),
        (Method::Get, "/api/v1/medications/7/history", "medication"),
        (Method::Post, "/api/v1/residents", "resident-admission"),
        (Method::Get, "/api/v1/residents", "resident-search"),
        (Method::Get, "/api/v1/residents/7", "resident"),
        (Method::Get, "/api/v1/care-plans/7", "care-plan"),
        (Method::Post, "/api/v1/assessments", "assessment"),
        (Method::Get, "/api/v1/health-records/7/letters", "health-record"),
        (Method::Post, "/api/v1/compliance/violations", "compliance-violation"),
        (Method::Get, "/api/v1/compliance/violations", "compliance"),
        (Method::Post, "/api/v1/audit/records", "audit-trail"),
        (Method::Get, "/api/v1/financial/invoices/7", "finance"),
        (Method::Get, "/api/v1/payroll", "payroll"),
        (Method::Get, "/api/v1/nhs/patients/7", "nhs-exchange"),
        (Method::Get, "/api/v1/tenants/care-home-0042/rooms", "tenant-administration"),
        (Method::Get, "/health", "health-check"),
        (Method::Get, "/elsewhere", "general"),
    ] {
        let about = policy.classify(method, path.as_bytes());
        assert_eq!(&*about.context.name, context, "{path}");
    }
    Ok(())
}
