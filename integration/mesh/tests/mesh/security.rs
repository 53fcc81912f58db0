//! Which callers may do what.

use anyhow::{Result, ensure};
use careplane_integration::{Client, Request};
use careplane_mesh::{Mesh, mesh::HOSTS};
use serde_json::{Value, json};

use crate::services::{MEDICATION, NHS, SERVICES, TENANT, answer};

pub async fn plaintext_is_refused(mesh: &Mesh) -> Result<()> {
    for service in [SERVICES[0], MEDICATION, NHS] {
        let pod = mesh.pod(service.namespace, &format!("app={}", service.name)).await?;
        let plain = Client::plain((pod.address, service.port).into());
        let answer = plain.raw(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n", std::time::Duration::from_secs(2)).await?;
        ensure!(answer.is_empty(), "{} answered plain text: {}", service.name, answer.escape_ascii());
    }
    let response = mesh.send(TENANT, "nurse", Request::get("/api/v1/medications/1")).await?;
    ensure!(response.status == 200, "through the gateway: {}", response.text());
    Ok(())
}

pub async fn old_tls_is_refused(mesh: &Mesh) -> Result<()> {
    for host in HOSTS {
        let request = || Request::get("/").header("host", host);
        let old = mesh.outdated(host)?.send(request()).await;
        ensure!(old.is_err(), "{host} speaks TLS 1.2");
        mesh.outsider(host)?.send(request()).await?;
    }
    ensure!(mesh.outsider("elsewhere.example")?.send(Request::get("/")).await.is_err(), "another name is served");
    Ok(())
}

pub async fn http_is_redirected(mesh: &Mesh) -> Result<()> {
    for host in HOSTS {
        let response = mesh.plaintext().send(Request::get("/api/v1/medications/1").header("host", host)).await?;
        let location = response.header("location").unwrap_or_default();
        ensure!(response.status == 301, "{host}: {}", response.status);
        ensure!(location == format!("https://{host}/api/v1/medications/1"), "{host}: {location}");
    }
    Ok(())
}

pub async fn only_the_gateway_may_call(mesh: &Mesh) -> Result<()> {
    let foreign = mesh.pod("operational", "app=foreign").await?;
    let token = mesh.token(TENANT, "nurse")?;
    for service in [SERVICES[0], MEDICATION, NHS] {
        let path = service.path.unwrap_or("/api/v1/nhs");
        let url = format!("http://{}:{}{path}", service.host(), service.port);
        let ask = async || mesh.call(&foreign, &url, |path| Request::get(path).bearer(&token)).await;
        let response = answer(ask).await?;
        ensure!(response.status == 403, "{}: {} {}", service.name, response.status, response.text());
        ensure!(response.text().contains("RBAC"), "{}: {}", service.name, response.text());
    }
    let response = mesh.send(TENANT, "nurse", Request::get("/api/v1/medications/1")).await?;
    ensure!(response.status == 200, "through the gateway: {}", response.text());
    Ok(())
}

pub async fn prometheus_sees_metrics_only(mesh: &Mesh) -> Result<()> {
    let prometheus = mesh.pod("monitoring", "app=scraper").await?;
    let foreign = mesh.pod("operational", "app=foreign").await?;
    let url = |path: &str| format!("http://{}:{}{path}", MEDICATION.host(), MEDICATION.port);
    for (pod, path, method, expected) in [
        (&prometheus, "/metrics", "GET", 200),
        (&prometheus, "/health", "GET", 200),
        (&prometheus, "/metrics", "POST", 403),
        (&prometheus, "/api/v1/medications", "GET", 403),
        (&foreign, "/metrics", "GET", 403),
        (&foreign, "/health", "GET", 403),
    ] {
        let request = |path: String| Request::new(method.parse().unwrap_or_default(), path);
        let response = mesh.call(pod, &url(path), request).await?;
        ensure!(response.status == expected, "{} {method} {path}: {} {}", pod.name, response.status, response.text());
    }
    Ok(())
}

/// Acts on services with a sidecar, and the callers that are allowed.
const ACTS: &[(&str, &str, &[&str])] = &[
    ("GET", "/api/v1/residents", &["carer", "nurse", "manager", "inspector", "clinician"]),
    ("GET", "/api/v1/residents/7", &["carer", "nurse", "manager", "inspector", "clinician"]),
    ("POST", "/api/v1/residents", &["manager"]),
    ("PUT", "/api/v1/residents/7", &["nurse", "manager"]),
    ("DELETE", "/api/v1/residents/7", &["manager"]),
    ("GET", "/api/v1/medications", &["carer", "nurse", "manager", "inspector", "clinician"]),
    ("GET", "/api/v1/medications/7/stock", &["carer", "nurse", "manager", "inspector", "clinician"]),
    ("POST", "/api/v1/medications", &["nurse", "manager"]),
    ("POST", "/api/v1/medications/administer", &["nurse"]),
    ("PATCH", "/api/v1/medications/7", &["nurse", "manager"]),
    ("DELETE", "/api/v1/medications/7", &["manager"]),
    ("DELETE", "/api/v1/medications", &[]),
];

pub async fn each_role_may_do_its_own(mesh: &Mesh) -> Result<()> {
    let mut wrong = Vec::new();
    for (method, path, allowed) in ACTS {
        for role in ["carer", "nurse", "manager", "inspector", "clinician", "visitor"] {
            let request = Request::new(method.parse()?, *path);
            let status = mesh.send(TENANT, role, request).await?.status;
            let expected = if allowed.contains(&role) { 200 } else { 403 };
            if status != expected {
                wrong.push(format!("{role}: {method} {path}: {status}, expected {expected}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

pub async fn a_spelling_is_no_way_around(mesh: &Mesh) -> Result<()> {
    for path in [
        "/api/v1/medications/administer",
        "/api/v1/medications//administer",
        "/api/v1/medications/Administer",
        "/api/v1/medications/%61dminister",
        "/api/v1/medications/administer;v=1",
        "/api/v1/medications/x/../administer",
    ] {
        let carer = mesh.send(TENANT, "carer", Request::post(path, "{}")).await?;
        ensure!(carer.status == 403, "a carer: {path}: {}", carer.status);
        // A manager may write other things there, and so gets past the rules that go by path.
        let manager = mesh.send(TENANT, "manager", Request::post(path, "{}")).await?;
        ensure!(manager.status == 403, "a manager: {path}: {}", manager.status);
    }
    let nurse = mesh.send(TENANT, "nurse", Request::post("/api/v1/medications/administer", "{}")).await?;
    ensure!(nurse.status == 200, "a nurse: {}", nurse.status);
    Ok(())
}

pub async fn without_a_token_nobody_enters(mesh: &Mesh) -> Result<()> {
    let gateway = mesh.outsider(HOSTS[0])?;
    let good = mesh.token(TENANT, "nurse")?;
    let forged = {
        let (rest, signature) = good.rsplit_once('.').unwrap_or_default();
        format!("{rest}.{}", signature.chars().rev().collect::<String>())
    };
    let issuer = mesh.token_with(TENANT, "nurse", json!({"iss": "https://login.elsewhere.example"}))?;
    let expired = mesh.token_with(TENANT, "nurse", json!({"iat": 1, "exp": 2}))?;
    let audience = mesh.token_with(TENANT, "nurse", json!({"aud": "elsewhere"}))?;
    for (what, token, expected) in [
        ("none", None, 403),
        ("forged", Some(forged), 401),
        ("of another issuer", Some(issuer), 401),
        ("expired", Some(expired), 401),
        ("for another audience", Some(audience), 403),
        ("good", Some(good), 200),
    ] {
        let mut request = Request::get("/api/v1/medications/1").header("host", HOSTS[0]);
        if let Some(token) = token {
            request = request.bearer(&token);
        }
        let response = gateway.send(request).await?;
        ensure!(response.status == expected, "token {what}: {} {}", response.status, response.text());
    }
    Ok(())
}

pub async fn what_outsiders_say_of_themselves_is_not_believed(mesh: &Mesh) -> Result<()> {
    let forged = [
        ("x-user-id", "somebody-else"),
        ("x-tenant-pool", "dedicated-a"),
        ("x-release-cohort", "canary"),
        ("x-healthcare-context", "health-check"),
        ("x-compliance-level", "low"),
        ("x-compliance-flags", "none"),
        ("x-forwarded-client-cert", "By=spiffe://cluster.local/ns/core-healthcare/sa/api-gateway"),
    ];
    let correlation = "forged-identity-1";
    let mut request = Request::get("/api/v1/medications/1").header("x-correlation-id", correlation);
    for (name, value) in forged {
        request = request.header(name, value);
    }
    let response = mesh.send(TENANT, "nurse", request).await?;
    ensure!(response.status == 200, "{}", response.text());
    let headers = response.json()?["headers"].clone();
    let value_of = |name: &str| {
        let pairs = headers.as_array().into_iter().flatten();
        pairs
            .filter(|pair| pair[0] == name)
            .map(|pair| pair[1].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    for (name, value) in forged {
        ensure!(!value_of(name).iter().any(|found| found.contains(value)), "{name}: {:?}", value_of(name));
    }
    ensure!(value_of("x-tenant-id") == [TENANT], "{:?}", value_of("x-tenant-id"));
    ensure!(value_of("x-user-id") == ["nurse-1"], "{:?}", value_of("x-user-id"));
    let records = mesh.records(|record| record["request"]["correlationId"] == correlation, 2).await?;
    let gateway = records.iter().find(|record| record["who"]["peer"].is_null());
    let named = gateway.map(|record| record["who"]["forgedHeaders"].clone()).unwrap_or(Value::Null);
    ensure!(named == json!(["x-user-id"]), "{named}");
    // A tenant header selects among what a token or a grant allows, and nothing else.
    let other = Request::get("/api/v1/medications/1").header("x-tenant-id", "care-home-0107");
    let response = mesh.send(TENANT, "carer", other).await?;
    ensure!(response.status == 403, "{} {}", response.status, response.text());
    ensure!(response.json()?["type"] == "urn:problem-type:careplane:tenant-conflict", "{}", response.text());
    Ok(())
}

/// Acts beyond one home: role, other claims, method, path, the home, the purpose, and the answer.
type Beyond = (&'static str, Value, &'static str, &'static str, &'static str, &'static str, Answer);

/// A status, and the end of the type of a refusal.
type Answer = (u16, &'static str);

pub async fn people_reach_the_homes_of_their_grants(mesh: &Mesh) -> Result<()> {
    const MEDICATION: &str = "/api/v1/medications/7";
    // Two with pods of the medication service in their pools, and one of neither group nor nation.
    let (england, scotland, wales) = ("care-home-0001", "care-home-0042", "care-home-0107");
    let agency = || json!({"tenant_id": [scotland, england]});
    let inspector = || json!({"tenant_id": null, "jurisdiction": "scotland"});
    let group = || json!({"tenant_id": england, "roles": ["manager", "group-manager"], "group": "northern-care"});
    let none = || json!({"tenant_id": null});
    let acts: [Beyond; 13] = [
        ("nurse", agency(), "GET", MEDICATION, scotland, "", (200, "")),
        ("nurse", agency(), "PATCH", MEDICATION, england, "", (200, "")),
        ("nurse", agency(), "GET", MEDICATION, "", "", (403, "tenant-unselected")),
        ("inspector", inspector(), "GET", MEDICATION, scotland, "", (200, "")),
        ("inspector", inspector(), "PATCH", MEDICATION, scotland, "", (403, "grant-action")),
        ("inspector", inspector(), "GET", MEDICATION, wales, "", (403, "tenant-missing")),
        ("manager", group(), "PATCH", MEDICATION, scotland, "", (200, "")),
        ("manager", group(), "GET", MEDICATION, wales, "", (403, "tenant-conflict")),
        ("manager", group(), "DELETE", MEDICATION, scotland, "", (403, "grant-action")),
        ("clinician", none(), "GET", MEDICATION, scotland, "", (403, "grant-purpose")),
        ("clinician", none(), "GET", MEDICATION, scotland, "ETREAT", (200, "")),
        ("clinician", none(), "PATCH", MEDICATION, scotland, "ETREAT", (403, "grant-action")),
        // What a role may not do at a service, no grant allows.
        ("clinician", none(), "GET", "/api/v1/assessments/7", scotland, "ETREAT", (403, "")),
    ];
    let mut wrong = Vec::new();
    for (index, (role, claims, method, path, home, purpose, (status, reason))) in acts.into_iter().enumerate() {
        let mut request = Request::new(method.parse()?, path)
            .header("host", HOSTS[0])
            .header("x-correlation-id", format!("beyond-{index}"))
            .bearer(&mesh.token_with(TENANT, role, claims)?);
        for (name, value) in [("x-tenant-id", home), ("x-purpose-of-use", purpose)] {
            request = if value.is_empty() { request } else { request.header(name, value) };
        }
        let response = mesh.outsider(HOSTS[0])?.send(request).await?;
        let is_right = response.status == status
            && (reason.is_empty() || response.json()?["type"] == format!("urn:problem-type:careplane:{reason}"))
            && (status != 200
                || response.json()?["headers"].to_string().contains(&format!(r#"["x-tenant-id","{home}"]"#)));
        if !is_right {
            wrong.push(format!(
                "act {index}, {role}: {} {}, expected {status} {reason}",
                response.status,
                response.text()
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let records = mesh.records(|record| record["request"]["correlationId"] == "beyond-10", 2).await?;
    for record in records {
        let at = record["proxy"]["placement"].clone();
        ensure!(record["who"]["purpose"] == "ETREAT" && record["tenant"]["id"] == scotland, "{record}");
        // Behind the gateway, its word for the tenant is enough.
        ensure!(at != "gateway" || record["decision"]["grant"] == "emergency", "{record}");
    }
    Ok(())
}
