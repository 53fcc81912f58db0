//! careplane in the mesh.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use careplane_integration::{Request, audit_log::verify_chains, poll::until};
use careplane_mesh::{Mesh, mesh::HOSTS};
use serde_json::{Value, json};

use crate::observability::{tags, traces};
use crate::routing::header;
use crate::services::{TENANT, answer};

const DEADLINE: Duration = Duration::from_secs(30);
/// Of the gateway's Envoy: its limit is two CPUs.
const WORKERS: usize = 2;

pub async fn crossing_a_tenant_is_refused_recorded_and_traced(mesh: &Mesh) -> Result<()> {
    let correlation = "crossing-1";
    let request = Request::get("/api/v1/tenants/care-home-0107/staff").header("x-correlation-id", correlation);
    let response = mesh.send(TENANT, "manager", request).await?;
    ensure!(response.status == 403, "{}", response.status);
    ensure!(response.json()?["type"] == "urn:problem-type:careplane:tenant-conflict", "{}", response.text());
    let records = mesh.records(|record| record["request"]["correlationId"] == correlation, 1).await?;
    ensure!(records.len() == 1, "{} records", records.len());
    let record = &records[0];
    ensure!(
        record["decision"] == json!({"by": "careplane", "reason": "tenant-conflict", "result": "denied"}),
        "{record}"
    );
    ensure!(record["tenant"]["id"] == TENANT && record["tenant"]["other"] == "care-home-0107", "{record}");
    let trace = until("the trace of the refusal", DEADLINE, async || {
        Ok(traces(mesh, "correlation_id", correlation).await?.into_iter().next())
    })
    .await?;
    let (_, tags) = tags(&trace).into_iter().next().context("a trace without spans")?;
    ensure!(tags.get("denial_reason").is_some_and(|reason| reason == "tenant-conflict"), "{tags:?}");
    Ok(())
}

pub async fn every_request_has_its_record(mesh: &Mesh) -> Result<()> {
    const REQUESTS: usize = 200;
    let correlation = "complete-1";
    for _ in 0..REQUESTS {
        let request = Request::get("/api/v1/medications/1").header("x-correlation-id", correlation);
        ensure!(mesh.send(TENANT, "nurse", request).await?.status == 200);
    }
    let ours = |record: &Value| record["request"]["correlationId"] == correlation;
    let records = mesh.records(ours, 2 * REQUESTS).await?;
    ensure!(records.len() == 2 * REQUESTS, "{} records of {REQUESTS} requests at two hops", records.len());
    let chains: std::collections::BTreeSet<_> =
        records.iter().map(|record| record["chain"]["id"].to_string()).collect();
    // A chain in which everything is there has no gap between any two of its records.
    let all = mesh.records(|record| chains.contains(&record["chain"]["id"].to_string()), 2 * REQUESTS).await?;
    let heads = verify_chains(&all).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    ensure!(heads.len() == chains.len(), "{heads:?}");
    Ok(())
}

pub async fn a_bad_policy_is_refused_at_the_door(mesh: &Mesh) -> Result<()> {
    let good = mesh.cluster.get(&["wasmplugin", "careplane-gateway", "-n", "istio-system"]).await?;
    let bad: [(&str, Value, &str); 11] = [
        ("/spec/url", json!("registry.example/careplane:1"), "oci://"),
        ("/spec/pluginName", json!("trace-tags"), "tracing-tags"),
        ("/spec/phase", json!("AUTHN"), "AUTHZ"),
        ("/spec/priority", Value::Null, "priority"),
        ("/spec/failStrategy", json!("FAIL_OPEN"), "FAIL_RELOAD"),
        ("/spec/pluginConfig/version", json!("careplane/v2"), "careplane/v1"),
        ("/spec/pluginConfig/contextz", json!([]), "contextz"),
        ("/spec/pluginConfig/sampling/tiers/clinical", json!(150), "0 to 100"),
        ("/spec/pluginConfig/identity/trustedPeers", json!("any"), "trustedPeers"),
        ("/spec/pluginConfig/tenants/entries/care-home-0042/pool", json!("pool-z"), "care-home-0042"),
        ("/spec/pluginConfig/identity/grants/0/when", Value::Null, "inspector"),
    ];
    let metadata =
        json!({"name": "careplane-gateway", "namespace": "istio-system", "labels": good["metadata"]["labels"]});
    let good = json!({
        "apiVersion": good["apiVersion"], "kind": good["kind"], "metadata": metadata, "spec": good["spec"],
    });
    let arguments = ["replace", "--dry-run=server", "-f", "-"];
    let mut whole = good.clone();
    whole["spec"]["pluginConfig"]["enforcement"] = json!("shadow");
    whole["spec"]["pluginConfig"]["paths"] = json!({"ambiguous": "reject"});
    mesh.cluster.feed("kubectl", &arguments, &whole.to_string()).await.context("a policy that the module takes")?;
    for (pointer, value, expected) in bad {
        let mut plugin = good.clone();
        let (parent, member) = pointer.rsplit_once('/').context("no pointer")?;
        let parent =
            plugin.pointer_mut(parent).and_then(Value::as_object_mut).with_context(|| format!("no {pointer}"))?;
        if value.is_null() {
            parent.remove(member)
        } else {
            parent.insert(member.to_owned(), value)
        };
        let refusal = match mesh.cluster.feed("kubectl", &arguments, &plugin.to_string()).await {
            Ok(_) => anyhow::bail!("{pointer}: taken"),
            Err(error) => error.to_string(),
        };
        ensure!(refusal.contains(expected), "{pointer}: {refusal}");
    }
    // A gateway, whatever the label by which it is selected.
    let labels = [("app", "istio-ingressgateway"), ("gateway.networking.k8s.io/gateway-name", "edge")];
    for (label, value) in labels {
        let mut plugin = good.clone();
        plugin["spec"]["selector"] = json!({"matchLabels": {label: value}});
        plugin["spec"]["pluginConfig"]["identity"]["trustedPeers"] = json!("any");
        let taken = mesh.cluster.feed("kubectl", &arguments, &plugin.to_string()).await;
        let refusal = taken.err().with_context(|| format!("{label}: {value} is taken"))?.to_string();
        ensure!(refusal.contains("trustedPeers"), "{label}: {refusal}");
    }
    Ok(())
}

pub async fn a_policy_changes_without_losing_a_request(mesh: &Mesh) -> Result<()> {
    let plugin = ["wasmplugin", "careplane-gateway", "-n", "istio-system"];
    let token = mesh.token(TENANT, "nurse")?;
    let client = mesh.outsider(HOSTS[0])?;
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let load = tokio::spawn(async move {
        let (mut good, mut bad) = (0usize, Vec::new());
        while !*stopped.borrow_and_update() {
            let request = Request::get("/api/v1/medications/1").header("host", HOSTS[0]).bearer(&token);
            match client.send(request).await {
                Ok(response) if response.status == 200 => good += 1,
                Ok(response) => bad.push(response.status.to_string()),
                Err(error) => bad.push(format!("{error:#}")),
            }
        }
        (good, bad)
    });
    let mut policies = vec![policy_at_the_gateway(mesh).await?];
    let mut result = Ok(());
    for percent in [6, 7, 8, 9, 5] {
        let patch = json!({"spec": {"pluginConfig": {"routing": {"canary": {"percent": percent}}}}}).to_string();
        mesh.cluster.kubectl(&[&["patch"], &plugin[..], &["--type=merge", "-p", &patch]].concat()).await?;
        result = until("a record of the new policy", DEADLINE, async || {
            let policy = policy_at_the_gateway(mesh).await?;
            Ok((policies.last() != Some(&policy)).then(|| policies.push(policy)))
        })
        .await;
    }
    let _ = stop.send(true);
    let (good, bad) = load.await?;
    result?;
    ensure!(bad.is_empty() && good > 0, "{good} answers of 200, and {bad:?}");
    Ok(())
}

/// The digest of the policy that the gateway judges by, from the record of a request.
async fn policy_at_the_gateway(mesh: &Mesh) -> Result<String> {
    let correlation = format!("policy-{}", uuid::Uuid::new_v4());
    let request = Request::get("/api/v1/medications/1").header("x-correlation-id", &correlation);
    ensure!(mesh.send(TENANT, "nurse", request).await?.status == 200);
    let ours = |record: &Value| record["request"]["correlationId"] == *correlation && record["who"]["peer"].is_null();
    let records = mesh.records(ours, 1).await?;
    Ok(records[0]["context"]["policy"].to_string())
}

pub async fn a_key_is_rotated(mesh: &Mesh) -> Result<()> {
    let pod = mesh.pod("core-healthcare", "app=resident-service").await?;
    ensure!(mesh.stat(&pod, "wasmcustom.careplane.pseudonym_key_ephemeral").await? == 0, "the sidecar made up a key");
    let old = pseudonym_at_residents(mesh).await?;
    let rotated = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "careplane-pseudonym-key", "namespace": "core-healthcare"},
        "stringData": {"key": uuid::Uuid::new_v4().to_string()},
    });
    mesh.cluster.apply(&rotated.to_string()).await?;
    ensure!(pseudonym_at_residents(mesh).await? == old, "a key that no proxy has read yet is in use");
    mesh.restart("core-healthcare", "resident-service").await?;
    let new = until("a record under the new key", DEADLINE, async || {
        let new = pseudonym_at_residents(mesh).await?;
        Ok((new != old).then_some(new))
    })
    .await?;
    let key_id = |pseudonym: &str| pseudonym.split('-').nth(1).map(str::to_owned);
    ensure!(key_id(&new).is_some() && key_id(&new) != key_id(&old), "{old} became {new}");
    Ok(())
}

/// The nurse's pseudonym in the record of resident-service's sidecar.
async fn pseudonym_at_residents(mesh: &Mesh) -> Result<String> {
    let correlation = format!("pseudonym-{}", uuid::Uuid::new_v4());
    let request = || Request::get("/api/v1/residents/1").header("x-correlation-id", &correlation);
    let response = answer(async || mesh.send(TENANT, "nurse", request()).await).await?;
    ensure!(response.status == 200, "{}", response.text());
    let sidecar =
        |record: &Value| record["request"]["correlationId"] == *correlation && !record["who"]["peer"].is_null();
    let records = mesh.records(sidecar, 1).await?;
    Ok(records[0]["who"]["user"].as_str().unwrap_or_default().to_owned())
}

/// Puts the plugins of an overlay in place of base's, lets `act` look at that, and puts base's back.
async fn rearranged<T>(mesh: &Mesh, overlay: &str, sign: &str, act: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    let (base, other) = (plugins(mesh, "base/careplane").await?, plugins(mesh, overlay).await?);
    replace(mesh, &base, &other).await?;
    let gateway = mesh.pod("core-healthcare", "istio=ingressgateway").await?;
    let settled = until("the overlay's plugins in the gateway", DEADLINE, async || {
        // What the listeners name: the list of filters keeps those that are gone.
        let listeners = mesh.envoy(&gateway, "config_dump?resource=dynamic_listeners").await?;
        let old = "istio-system.careplane-gateway~istio-translated-wasmplugin";
        Ok((listeners.contains(sign) && !listeners.contains(old)).then_some(()))
    })
    .await;
    let seen = match settled {
        Ok(()) => act().await,
        Err(error) => Err(error),
    };
    replace(mesh, &other, &base).await?;
    seen
}

/// What of a folder's manifests loads careplane.
async fn plugins(mesh: &Mesh, folder: &str) -> Result<Vec<Value>> {
    let mut documents = rendered(mesh, folder).await?;
    documents.retain(|document| matches!(document["kind"].as_str(), Some("WasmPlugin" | "TrafficExtension")));
    Ok(documents)
}

async fn rendered(mesh: &Mesh, folder: &str) -> Result<Vec<Value>> {
    let rendered = mesh.cluster.kubectl(&["kustomize", &mesh.path(folder)]).await?;
    Ok(serde_saphyr::from_multiple(&rendered)?)
}

/// Applies `new`, and removes of `old` what `new` does not have.
async fn replace(mesh: &Mesh, old: &[Value], new: &[Value]) -> Result<()> {
    let list = |items: &[Value]| json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    if !new.is_empty() {
        mesh.cluster.apply(&list(new)).await?;
    }
    let named = |one: &Value, other: &Value| {
        one["kind"] == other["kind"] && one["metadata"]["name"] == other["metadata"]["name"]
    };
    let gone: Vec<Value> = old.iter().filter(|one| !new.iter().any(|other| named(one, other))).cloned().collect();
    if !gone.is_empty() {
        mesh.cluster.feed("kubectl", &["delete", "-f", "-"], &list(&gone)).await?;
    }
    Ok(())
}

pub async fn a_panic_stays_alone(mesh: &Mesh) -> Result<()> {
    let module = mesh.crashing_module().await?;
    rearranged(mesh, "overlays/isolated", "careplane-gateway-sampling~", async || crash_one(mesh, &module).await).await
}

/// Gives one filter of the isolated overlay a module that crashes, and looks at the others.
async fn crash_one(mesh: &Mesh, module: &str) -> Result<()> {
    let patch = json!({"spec": {"url": module}}).to_string();
    let plugin = ["wasmplugin", "careplane-gateway-sampling", "-n", "istio-system"];
    mesh.cluster.kubectl(&[&["patch"], &plugin[..], &["--type=merge", "-p", &patch]].concat()).await?;
    let gateway = mesh.pod("core-healthcare", "istio=ingressgateway").await?;
    until("the module to crash", DEADLINE, async || {
        // Each worker has a VM of its own, and each loses the request that it crashes on.
        for _ in 0..20 {
            mesh.send(TENANT, "nurse", Request::get("/api/v1/medications/1")).await?;
        }
        let log = mesh.cluster.kubectl(&["logs", "-n", &gateway.namespace, &gateway.name, "--tail=200"]).await?;
        Ok((log.matches("unreachable").count() >= WORKERS).then_some(()))
    })
    .await?;
    for number in 0..20 {
        let request = Request::get("/api/v1/medications/1").header("x-correlation-id", format!("beside-{number}"));
        let response = mesh.send(TENANT, "nurse", request).await?;
        ensure!(response.status == 200, "{} {}", response.status, response.text());
        for header in ["x-tenant-pool", "x-healthcare-context"] {
            ensure!(response.text().contains(header), "no {header}: {}", response.text());
        }
    }
    let beside =
        |record: &Value| record["request"]["correlationId"].as_str().is_some_and(|id| id.starts_with("beside-"));
    mesh.records(beside, 40).await?;
    Ok(())
}

pub async fn a_traffic_extension_does_the_same(mesh: &Mesh) -> Result<()> {
    let observe = async || -> Result<Vec<String>> {
        let mut seen = Vec::new();
        for number in 0..20 {
            let tenant = format!("care-home-{}", 3000 + number);
            let response = mesh.send(&tenant, "nurse", Request::get("/api/v1/medications/1")).await?;
            let ours = |pair: &&Value| {
                pair[0].as_str().is_some_and(|name| {
                    name.starts_with("x-tenant")
                        || name.starts_with("x-release")
                        || name.starts_with("x-compliance")
                        || name.starts_with("x-healthcare")
                })
            };
            let headers = response.json().unwrap_or_default()["headers"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(ours)
                .map(Value::to_string)
                .collect::<Vec<_>>();
            seen.push(format!("{tenant}: {} {headers:?}", response.status));
        }
        Ok(seen)
    };
    // Twice the same: other tests have restarted and ejected pods.
    let settled = async || {
        until("twenty requests to be answered alike twice", DEADLINE, async || {
            let seen = observe().await?;
            Ok((seen == observe().await?).then_some(seen))
        })
        .await
    };
    let before = settled().await?;
    let sign = "trafficextension/istio-system.careplane-gateway\"";
    let after = rearranged(mesh, "overlays/traffic-extension", sign, settled).await?;
    ensure!(before == after, "before: {before:#?}\nafter: {after:#?}");
    Ok(())
}

/// So many homes are in the directory.
const HOMES: usize = 300;

pub async fn proxies_fetch_the_directory(mesh: &Mesh) -> Result<()> {
    let documents = rendered(mesh, "overlays/tenant-directory").await?;
    let of = |wanted: &dyn Fn(&Value) -> bool| -> Vec<Value> {
        documents.iter().filter(|document| wanted(document)).cloned().collect()
    };
    let other = of(&|document| document["kind"] == "WasmPlugin");
    let namespace =
        of(&|document| document["kind"] == "Namespace" && document["metadata"]["name"] == "tenant-directory");
    let network = of(&|document| {
        document["kind"] == "NetworkPolicy"
            && document["metadata"]["name"] == "tenant-directory"
            && document["metadata"]["namespace"] != "tenant-directory"
    });
    let server = of(&|document| document["metadata"]["namespace"] == "tenant-directory");
    ensure!(namespace.len() == 1 && !network.is_empty() && !server.is_empty(), "the overlay has other parts");

    let base = plugins(mesh, "base/careplane").await?;
    let seen = async {
        // The files first, as docs/directory.md publishes them: a pod that is there already sees them a minute later.
        replace(mesh, &[], &namespace).await?;
        mesh.cluster.apply(&published(mesh).await?).await?;
        replace(mesh, &[], &[network.clone(), server].concat()).await?;
        let rollout = ["rollout", "status", "-n", "tenant-directory", "deployment/tenant-directory", "--timeout=60s"];
        mesh.cluster.kubectl(&rollout).await?;
        replace(mesh, &base, &other).await?;
        directory_is_used(mesh).await
    }
    .await;
    let restored = async {
        replace(mesh, &other, &base).await?;
        replace(mesh, &[&namespace[..], &network].concat(), &[]).await
    }
    .await;
    seen?;
    restored?;
    pool_becomes(mesh, "pool-a").await
}

/// The ConfigMap of a directory that pins [`TENANT`] to another pool than its hash does.
async fn published(mesh: &Mesh) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let (table, site) = (folder.path().join("tenants.csv"), folder.path().join("site").display().to_string());
    let homes: String = (1..HOMES).map(|number| format!("care-home-{},,england\n", 5000 + number)).collect();
    std::fs::write(&table, format!("tenant,pool,jurisdiction\n{TENANT},pool-b,scotland\n{homes}"))?;
    mesh.careplane(&["directory", "build", &table.display().to_string(), "--output", &site]).await?;
    let [index, parts] = ["index.json", "parts"].map(|name| format!("--from-file={site}/{name}"));
    let create = ["create", "configmap", "tenant-directory", "-n", "tenant-directory", &index, &parts];
    mesh.cluster.kubectl(&[&create[..], &["--dry-run=client", "-o", "json"]].concat()).await
}

async fn directory_is_used(mesh: &Mesh) -> Result<()> {
    let proxies = [
        ("core-healthcare", "istio=ingressgateway"),
        ("core-healthcare", "app=medication-service"),
        ("operational", "app=foreign"),
        ("tenant-directory", "app=tenant-directory"),
    ];
    for (namespace, selector) in proxies {
        let pod = mesh.pod(namespace, selector).await?;
        // One that had no endpoint of the server yet asks again a minute later.
        until(&format!("the directory in {}", pod.name), Duration::from_secs(100), async || {
            let tenants = mesh.stat(&pod, "wasmcustom.careplane.directory.tenants").await?;
            Ok((tenants == HOMES as u64).then_some(()))
        })
        .await?;
    }
    pool_becomes(mesh, "pool-b").await?;
    // Each worker of each pod asks for itself, and one that came too early asks again a minute later.
    let attempts = Cell::new(0);
    until("the regulator in the records of both hops", Duration::from_secs(100), async || {
        attempts.set(attempts.get() + 1);
        let correlation = format!("directory-{}", attempts.get());
        let request = || Request::get("/api/v1/medications/1").header("x-correlation-id", &correlation);
        ensure!(answer(async || mesh.send(TENANT, "nurse", request()).await).await?.status == 200);
        let records = mesh.records(|record| record["request"]["correlationId"] == *correlation, 2).await?;
        Ok(records.iter().all(|record| record["tenant"]["regulator"] == "Care Inspectorate").then_some(()))
    })
    .await?;
    let foreign = mesh.pod("operational", "app=foreign").await?;
    for (path, method, expected) in [
        ("/directory/index.json", "GET", 200),
        ("/directory/index.json", "PUT", 403),
        ("/health", "GET", 403),
        ("/", "GET", 403),
    ] {
        let url = format!("http://tenant-directory.tenant-directory{path}");
        let request = |path: String| Request::new(method.parse().unwrap_or_default(), path);
        let response = mesh.call(&foreign, &url, request).await?;
        ensure!(response.status == expected, "{method} {path}: {}", response.status);
    }
    Ok(())
}

async fn pool_becomes(mesh: &Mesh, pool: &str) -> Result<()> {
    until(&format!("{TENANT} in {pool}"), DEADLINE, async || {
        let response = mesh.send(TENANT, "nurse", Request::get("/api/v1/medications/1")).await?;
        let body = response.json().unwrap_or_default();
        Ok((header(&body, "x-tenant-pool") == pool).then_some(()))
    })
    .await
}
