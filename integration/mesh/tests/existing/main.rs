//! `docs/existing-mesh.md` in a mesh that has nothing of ours: its commands, in their order, under traffic, there and
//! back.

mod page;
mod shop;

use std::{fs, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use careplane_integration::{Request, workspace};
use careplane_mesh::{cluster, sandbox};
use serde_json::{Value, json};

use page::Block;
use shop::Shop;

/// What the filters write, where they do more than record.
const WRITTEN: [&str; 4] = ["x-tenant-id", "x-healthcare-context", "x-compliance-level", "x-correlation-id"];

#[tokio::main]
async fn main() -> ExitCode {
    // cargo asks for a list before it runs anything.
    if std::env::args().any(|argument| argument == "--list") {
        println!("the_page_leads_there_and_back: test");
        return ExitCode::SUCCESS;
    }
    if let Some(missing) = cluster::missing(&cluster::PROGRAMS).or_else(|| sandbox::available().err()) {
        eprintln!("SKIPPED: careplane in an existing mesh: {missing}");
        return ExitCode::from(u8::from(std::env::var("CI").as_deref() == Ok("true")));
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("careplane: docs/existing-mesh.md: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    sandbox::enter()?;
    sandbox::end_when_asked()?;
    let shop = Shop::open().await?;
    let traffic = shop.traffic()?;
    let done = follow(&shop).await;
    let (requests, failures) = traffic.stop().await;
    done.with_context(|| format!("{} of {requests} requests failed: {failures:?}", failures.len()))?;
    ensure!(failures.is_empty(), "{} of {requests} requests failed: {failures:#?}", failures.len());
    ensure!(requests > 100, "{requests} requests are no traffic");
    println!("docs/existing-mesh.md: there and back, {requests} requests, none failed");
    shop.close().await
}

async fn follow(shop: &Shop) -> Result<()> {
    let mut assignments = String::new();
    for section in page::read()? {
        println!("## {}", section.heading);
        // Once the sidecars enforce, no step may open a gap.
        let intruder = section.heading.starts_with('7').then(|| shop.intruder());
        for block in &section.blocks {
            match block {
                // What a person fills in.
                Block::Shell(text) if assignments.is_empty() => {
                    assignments = shop.assignments()?;
                    ensure!(page::assigned(text) == page::assigned(&assignments), "the page asks for {text}");
                }
                Block::Shell(text) => shop.shell(&format!("{assignments}\n{text}")).await?,
                Block::Yaml(text) => add_to_mesh_config(shop, text)?,
            }
        }
        if let Some(intruder) = intruder {
            tokio::time::sleep(Duration::from_secs(10)).await;
            let statuses = intruder.stop().await?;
            println!("calls without an identity, by status: {statuses:?}");
            ensure!(statuses.keys().all(|status| *status != 200), "calls without an identity pass: {statuses:?}");
        }
        let number = section.heading.split(['.', ' ']).next().unwrap_or_default();
        let holds = match number {
            "Say" => Ok(()),
            "1" | "2" => nothing_has_changed(shop).await,
            "3" => the_gateway_records_and_changes_nothing(shop).await,
            "4" => the_gateway_enforces(shop).await,
            "5" => the_sidecars_record_and_deny_nothing(shop).await,
            "6" => the_sidecars_enforce(shop).await,
            "7" => records_are_in_the_access_log(shop).await,
            "Back" => nothing_is_left(shop).await,
            other => bail!("no test knows what holds after {other}: {:?}", section.heading),
        };
        holds.with_context(|| format!("after {:?}", section.heading))?;
        let redirect = shop.redirect().await?;
        ensure!(redirect == 301, "after {:?}: the port that redirects answers {redirect}", section.heading);
    }
    Ok(())
}

/// As a person would, in the file that they install Istio with.
fn add_to_mesh_config(shop: &Shop, text: &str) -> Result<()> {
    let addition: Value = serde_saphyr::from_str(text)?;
    let path = shop.folder().join("istio.yaml");
    let mut file: Value = serde_saphyr::from_str(&fs::read_to_string(&path)?)?;
    let theirs = file["spec"]["meshConfig"]["extensionProviders"].as_array_mut().context("they have no providers")?;
    theirs.extend(addition["extensionProviders"].as_array().context("no extensionProviders")?.iter().cloned());
    fs::write(path, file.to_string())?;
    Ok(())
}

async fn nothing_has_changed(shop: &Shop) -> Result<()> {
    ensure!(shop.count("wasmplugins").await? == 0 && shop.count("telemetries").await? == 0, "something was applied");
    Ok(())
}

/// What the application sees of a request, and the status.
async fn seen(shop: &Shop, request: Request) -> Result<(u16, Value)> {
    let response = shop.send(request).await?;
    Ok((response.status, response.json().unwrap_or_default()))
}

/// The values of a header that the application got.
fn values<'s>(seen: &'s Value, name: &str) -> Vec<&'s str> {
    let headers = seen["headers"].as_array().into_iter().flatten();
    headers.filter(|header| header[0] == name).filter_map(|header| header[1].as_str()).collect()
}

async fn no_request_is_changed(shop: &Shop) -> Result<()> {
    let (status, request) = seen(shop, shop.request("/api/products/7")?).await?;
    ensure!(status == 200 && request["headers"].is_array(), "{status}: {request}");
    for name in WRITTEN {
        ensure!(values(&request, name).is_empty(), "{name}: {request}");
    }
    let anonymous = shop.send(Request::get("/api/products/7")).await?;
    ensure!(anonymous.status == 200, "without a token: {}", anonymous.status);
    Ok(())
}

async fn the_gateway_records_and_changes_nothing(shop: &Shop) -> Result<()> {
    no_request_is_changed(shop).await?;
    let read = fs::read_to_string(shop.folder().join("gateway.log"))?;
    for log in shop.gateway_logs().await? {
        let first =
            log.lines().find(|line| line.contains("careplane-audit-record ")).context("a pod without records")?;
        ensure!(read.contains(first), "the page does not read the records of each pod: {first}");
    }
    Ok(())
}

async fn the_sidecars_record_and_deny_nothing(shop: &Shop) -> Result<()> {
    the_gateway_enforces(shop).await?;
    shop.until_logged("shop", "catalog", "careplane-audit-record ").await
}

async fn records_are_in_the_access_log(shop: &Shop) -> Result<()> {
    the_sidecars_enforce(shop).await?;
    // Their own access log stays.
    let (status, _) = seen(shop, shop.request("/api/products/after-step-7")?).await?;
    ensure!(status == 200, "through the gateway: {status}");
    shop.until_logged("edge", "edge", "/api/products/after-step-7").await?;
    for (namespace, name) in [("edge", "edge"), ("shop", "catalog")] {
        shop.until_logged(namespace, name, "\n{\"").await?;
    }
    Ok(())
}

async fn the_gateway_enforces(shop: &Shop) -> Result<()> {
    let (status, request) = seen(shop, shop.request("/api/products/7")?.header("x-tenant-id", "forged")).await?;
    ensure!(status == 200 && values(&request, "x-tenant-id") == [shop::TENANT], "{status}: {request}");
    for name in WRITTEN {
        ensure!(values(&request, name).len() == 1, "{name}: {request}");
    }
    let anonymous = shop.send(Request::get("/api/products/7")).await?;
    ensure!(anonymous.status == 403, "without a token: {}", anonymous.status);
    ensure!(shop.call_catalog_directly().await? == 200, "the sidecars enforce already");
    Ok(())
}

async fn the_sidecars_enforce(shop: &Shop) -> Result<()> {
    let (status, _) = seen(shop, shop.request("/api/products/7")?).await?;
    ensure!(status == 200, "through the gateway: {status}");
    let direct = shop.call_catalog_directly().await?;
    ensure!(direct == 403, "a caller without a tenant gets {direct}");
    Ok(())
}

async fn nothing_is_left(shop: &Shop) -> Result<()> {
    nothing_has_changed(shop).await?;
    shop.until("requests to be as before", async || Ok(no_request_is_changed(shop).await.is_ok().then_some(())))
        .await?;
    let direct = shop.call_catalog_directly().await?;
    ensure!(direct == 200, "a service that calls another one gets {direct}");
    Ok(())
}

/// The manifests of the mesh that is not ours.
fn theirs(name: &str) -> Result<String> {
    let path = workspace::root().join("integration/mesh/shop").join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Tokens are verified at the gateway and passed on, as many have it.
fn request_authentication(jwks: &Value) -> String {
    let rule = json!({"issuer": shop::ISSUER, "jwks": jwks.to_string(), "forwardOriginalToken": true});
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication",
        "metadata": {"name": "accounts", "namespace": "edge"},
        "spec": {"selector": {"matchLabels": {"istio": "edge"}}, "jwtRules": [rule]},
    })
    .to_string()
}
