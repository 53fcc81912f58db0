//! What is applied, and which field manager applies it.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use careplane_mesh::{Mesh, manifests};
use serde_json::{Value, json};

const OVERLAYS: [&str; 7] = [
    "base",
    "overlays/traffic-extension",
    "overlays/ambient",
    "overlays/one-plugin-per-filter",
    "overlays/isolated",
    "overlays/audit-only",
    "overlays/tenant-directory",
];

/// What `istioctl analyze` says of a mesh that is as it should be.
const EXPECTED: [&str; 6] = [
    // These workloads are fewer than a platform's: pools without pods, services without sidecars, namespaces without
    // injection.
    "[IST0173]",
    "[IST0127]",
    "[IST0102]",
    // An EnvoyFilter is one; and the policy denies by method, which TCP does not have, nor does the mesh have TCP.
    "[IST0133] (EnvoyFilter",
    "[IST0133] (AuthorizationPolicy istio-system/inspectors-read-only)",
    "[IST0151] (EnvoyFilter istio-system/stock-envoy)",
];

/// How objects say that they are in the namespace that the overlay `tenant-directory` brings.
const NEW_NAMESPACE: &str = "namespace: tenant-directory\n";

pub async fn every_manifest_is_accepted(mesh: &Mesh) -> Result<()> {
    every_plugin_has_the_login_of_the_registry(mesh).await?;
    for overlay in OVERLAYS {
        let rendered = mesh.cluster.kubectl(&["kustomize", &mesh.path(overlay)]).await?;
        let file = mesh.path(&format!("rendered-{}.yaml", overlay.replace('/', "-")));
        fs::write(&file, &rendered)?;
        // Also where a revision injects the proxies.
        for injection in ["istio-injection: enabled", "istio.io/rev: stable"] {
            let idle = idle_selectors(&rendered, injection);
            ensure!(idle.is_empty(), "{overlay}: network policies select namespaces that there are not: {idle:?}");
        }
        mesh.cluster.istioctl(&["validate", "-f", &file]).await.context(overlay)?;
        mesh.careplane(&["check", &file]).await.context(overlay)?;
        // Without the Gateway API in the cluster, the API server knows no waypoint.
        if overlay != "overlays/ambient" {
            // A dry run creates no namespace, so what is in a new one is tried in one that is there.
            let tried = mesh.path(&format!("tried-{}.yaml", overlay.replace('/', "-")));
            fs::write(&tried, rendered.replace(NEW_NAMESPACE, "namespace: core-healthcare\n"))?;
            let arguments = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", &tried];
            mesh.cluster.kubectl(&arguments).await.context(overlay)?;
        }
    }
    // It exits with 79 when it has found something, so that is no failure yet.
    let said = match mesh.cluster.istioctl(&["analyze", "-A"]).await {
        Ok(said) => said,
        Err(error) => error.to_string(),
    };
    let findings = said.lines().filter(|line| line.contains("[IST"));
    let objections: Vec<&str> =
        findings.filter(|line| !EXPECTED.iter().any(|expected| line.contains(expected))).collect();
    ensure!(objections.is_empty(), "{objections:#?}");
    Ok(())
}

/// What base/careplane/README.md says of a registry that needs a login.
async fn every_plugin_has_the_login_of_the_registry(mesh: &Mesh) -> Result<()> {
    let folder = PathBuf::from(mesh.path("private-registry"));
    manifests::copy(&folder)?;
    let image = folder.join("base/careplane/policy/image.yaml");
    fs::write(&image, fs::read_to_string(&image)?.replacen("\n  url:", "\n  imagePullSecret: login\n  url:", 1))?;
    for overlay in OVERLAYS {
        let rendered = mesh.cluster.kubectl(&["kustomize", &folder.join(overlay).display().to_string()]).await?;
        let documents: Vec<Value> =
            rendered.split("\n---\n").filter_map(|document| serde_saphyr::from_str(document).ok()).collect();
        let mut plugins = 0;
        for plugin in documents.iter().filter(|one| one["kind"] == "WasmPlugin" || one["kind"] == "TrafficExtension") {
            let spec = &plugin["spec"];
            let (module, other) = if spec["wasm"].is_null() { (spec, &Value::Null) } else { (&spec["wasm"], spec) };
            let is_there = module["imagePullSecret"] == "login" && other["imagePullSecret"].is_null();
            ensure!(is_there, "{overlay}: {} has no login", plugin["metadata"]["name"]);
            plugins += 1;
        }
        ensure!(plugins > 0, "{overlay} has no plugin");
    }
    Ok(())
}

/// What network policies select namespaces by and no namespace of the rendering has, when this label injects proxies.
/// (`kube-system` is not rendered.)
fn idle_selectors(rendered: &str, injection: &str) -> Vec<String> {
    /// How a namespace is in the mesh: of these, one that selects is enough.
    const WAYS: [&str; 3] = ["istio-injection", "istio.io/rev", "istio.io/dataplane-mode"];
    fn selectors<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("namespaceSelector"));
                object.values().for_each(|value| selectors(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| selectors(value, found)),
            _ => {}
        }
    }
    let documents = rendered.split("\n---\n").map(|document| match document.contains("kind: Namespace\n") {
        true => document.replace("istio-injection: enabled", injection),
        false => document.to_owned(),
    });
    let documents: Vec<Value> = documents.filter_map(|document| serde_saphyr::from_str(&document).ok()).collect();
    let mut labels = vec![json!({"kubernetes.io/metadata.name": "kube-system"})];
    for namespace in documents.iter().filter(|one| one["kind"] == "Namespace") {
        let mut own = namespace["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        own.insert("kubernetes.io/metadata.name".to_owned(), namespace["metadata"]["name"].clone());
        labels.push(Value::Object(own));
    }
    let selects = |selector: &Value| {
        let (equal, expressions) = (selector["matchLabels"].as_object(), selector["matchExpressions"].as_array());
        let exist = |labels: &Value, one: &Value| {
            one["operator"] == "Exists" && one["key"].as_str().is_some_and(|label| !labels[label].is_null())
        };
        labels.iter().any(|labels| {
            equal.into_iter().flatten().all(|(label, value)| labels[label] == *value)
                && expressions.into_iter().flatten().all(|one| exist(labels, one))
        })
    };
    let is_way = |selector: &Value| WAYS.iter().any(|way| selector.to_string().contains(way));
    let mut idle = Vec::new();
    for policy in documents.iter().filter(|one| one["kind"] == "NetworkPolicy") {
        let mut found = Vec::new();
        selectors(&policy["spec"], &mut found);
        let is_reached = found.iter().any(|selector| is_way(selector) && selects(selector));
        found.retain(|selector| !(selects(selector) || is_way(selector) && is_reached));
        let metadata = &policy["metadata"];
        idle.extend(found.iter().map(|wanted| format!("{}/{}: {wanted}", metadata["namespace"], metadata["name"])));
    }
    idle
}

pub async fn the_installation_is_as_asked(mesh: &Mesh) -> Result<()> {
    let file = careplane_integration::workspace::root().join("wasmplugin-manifests/install/istio.yaml");
    let rendered = mesh.cluster.istioctl(&["manifest", "generate", "-f", &file.display().to_string()]).await?;
    let documents: Vec<Value> =
        rendered.split("\n---\n").filter_map(|document| serde_saphyr::from_str(document).ok()).collect();
    let find = |kind: &str, name: &str| {
        let found = documents.iter().find(|one| one["kind"] == kind && one["metadata"]["name"] == name);
        found.with_context(|| format!("no {kind} {name}"))
    };
    let container = |deployment: &Value| deployment["spec"]["template"]["spec"]["containers"][0].clone();
    let pilot = container(find("Deployment", "istiod")?);
    ensure!(pilot["resources"]["requests"] == json!({"cpu": "200m", "memory": "128Mi"}), "{}", pilot["resources"]);
    ensure!(pilot["image"] == "docker.io/istio/pilot:1.31.0", "{}", pilot["image"]);
    for gateway in ["istio-ingressgateway", "istio-egressgateway"] {
        let container = container(find("Deployment", gateway)?);
        let requests = &container["resources"]["requests"];
        ensure!(*requests == json!({"cpu": "100m", "memory": "128Mi"}), "{gateway}: {requests}");
    }
    let ingress = find("Deployment", "istio-ingressgateway")?;
    ensure!(ingress["metadata"]["namespace"] == "core-healthcare");
    ensure!(ingress["spec"]["template"]["spec"]["serviceAccountName"] == "api-gateway");
    let mesh_config: Value =
        serde_saphyr::from_str(find("ConfigMap", "istio")?["data"]["mesh"].as_str().unwrap_or_default())?;
    ensure!(mesh_config["meshMTLS"]["minProtocolVersion"] == "TLSV1_3", "{mesh_config}");
    ensure!(mesh_config["outboundTrafficPolicy"]["mode"] == "REGISTRY_ONLY", "{mesh_config}");
    ensure!(mesh_config["defaultConfig"]["meshId"] == "writecarenotes-mesh", "{mesh_config}");
    let injector = find("ConfigMap", "istio-sidecar-injector")?["data"]["values"].as_str().unwrap_or_default();
    let values: Value = serde_json::from_str(injector)?;
    let resources = &values["global"]["proxy"]["resources"];
    let expected = json!({"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "100m", "memory": "256Mi"}});
    ensure!(*resources == expected, "{resources}");
    Ok(())
}

pub async fn nobody_objects(mesh: &Mesh) -> Result<()> {
    let mut proxies = 0;
    for namespace in ["core-healthcare", "operational", "integration", "istio-system", "monitoring"] {
        for pod in mesh
            .pods(namespace, "security.istio.io/tlsMode=istio")
            .await?
            .into_iter()
            .chain(mesh.pods(namespace, "istio in (ingressgateway,egressgateway)").await?)
        {
            let stats = mesh.envoy(&pod, "stats?filter=update_rejected|config_reload_fail|config_fail").await?;
            let objections: Vec<&str> =
                stats.lines().filter(|line| !line.is_empty() && !line.ends_with(": 0")).collect();
            ensure!(objections.is_empty(), "{}: {objections:?}", pod.name);
            proxies += 1;
        }
    }
    ensure!(proxies >= 11, "{proxies} proxies");
    let log = mesh.cluster.kubectl(&["logs", "-n", "istio-system", "deployment/istiod"]).await?;
    let objections: Vec<&str> = log.lines().filter(|line| line.contains("ACK ERROR")).collect();
    ensure!(objections.is_empty(), "{objections:?}");
    Ok(())
}

pub async fn a_second_run_changes_nothing(mesh: &Mesh) -> Result<()> {
    let said = mesh.deploy(&["--apply", "--yes", "--timeout", "120s"]).await?;
    let expected = [
        "nothing was changed: the cluster was as the manifests say",
        // And then it verifies.
        "pods, each with a proxy",
        "STRICT for the whole mesh",
        "proxies have what istiod sent",
        "Jaeger has its trace",
    ];
    for words in expected {
        ensure!(said.contains(words), "no {words:?}:\n{said}");
    }
    Ok(())
}

pub async fn drift_is_set_right(mesh: &Mesh) -> Result<()> {
    let rule = ["destinationrule", "medication-service", "-n", "core-healthcare"];
    let service = ["virtualservice", "medication-service.pools", "-n", "core-healthcare"];
    mesh.cluster.kubectl(&[&["delete"], &rule[..]].concat()).await?;
    let patch = r#"[{"op": "replace", "path": "/spec/http/0/timeout", "value": "7s"}]"#;
    mesh.cluster.kubectl(&[&["patch"], &service[..], &["--type=json", "-p", patch]].concat()).await?;
    let plan = mesh.careplane(&["mesh", "plan", "--manifests", &mesh.path(""), "-o", "json"]).await?;
    let plan: Value = serde_json::from_str(&plan)?;
    let traffic = plan["steps"].as_array().into_iter().flatten().find(|step| step["step"] == "traffic");
    let traffic = traffic.context("no step traffic")?;
    ensure!(traffic["new"] == json!(["DestinationRule core-healthcare/medication-service"]), "{plan:#}");
    let field = json!({"path": "spec.http[0].timeout", "is": "7s", "becomes": "30s"});
    let conflict = json!({"manager": "kubectl-patch", "fields": [".spec.http"]});
    let object = "VirtualService core-healthcare/medication-service.pools";
    let changed = json!([{"object": object, "fields": [field], "conflicts": [conflict]}]);
    ensure!(traffic["changed"] == changed && plan["conflicts"] == 1, "{plan:#}");
    // What others have set is theirs, until it is taken on purpose.
    let (code, said) = mesh.try_deploy(&["--apply", "--yes", "--timeout", "120s"]).await?;
    ensure!(code == 5 && said.contains("! belongs to kubectl-patch: .spec.http"), "exit code {code}: {said}");
    ensure!(mesh.cluster.get(&service).await?["spec"]["http"][0]["timeout"] == "7s", "it was taken: {said}");
    mesh.deploy(&["--apply", "--yes", "--force-conflicts", "--timeout", "120s"]).await?;
    let mended = mesh.cluster.get(&service).await?;
    ensure!(mended["spec"]["http"][0]["timeout"] == "30s", "{}", mended["spec"]["http"][0]);
    mesh.cluster.get(&rule).await?;
    Ok(())
}

pub async fn undo_takes_it_out(mesh: &Mesh) -> Result<()> {
    let said = mesh.deploy(&["--undo", "--yes", "--timeout", "120s"]).await?;
    for kind in ["wasmplugins", "virtualservices", "destinationrules", "authorizationpolicies"] {
        let left = mesh.cluster.get(&[kind, "-A"]).await;
        let count = left.map_or(0, |left| left["items"].as_array().map_or(0, Vec::len));
        ensure!(count == 0, "{count} {kind} are left:\n{said}");
    }
    mesh.cluster
        .get(&["secret", "careplane-pseudonym-key", "-n", "core-healthcare"])
        .await
        .context("the key is gone")?;
    mesh.deploy(&["--undo", "--yes", "--timeout", "120s"]).await?;
    Ok(())
}
