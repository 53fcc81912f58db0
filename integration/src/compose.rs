//! What `docker-compose.yaml` mounts, apart from programs. All of it is in one directory, readable whatever the umask
//! is: the user ids of the images are not the one that owns this checkout.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{IdentityProvider, Pki, config::EnvoyConfig, workspace};

/// The workload that `trustedPeers` of the policy names first.
const GATEWAY_ID: &str = "spiffe://cluster.local/ns/core-healthcare/sa/api-gateway";

/// A composition is left running for longer than an hour.
const TOKEN_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Where the manifests keep what a composition needs too: these files are taken as they are.
const OBSERVABILITY: &str = "wasmplugin-manifests/base/observability";

/// A request that the page of the application has a button for.
#[derive(Clone, Debug, Serialize)]
pub struct Scene {
    /// The time of day in the story, `HH:MM`.
    pub at: String,
    /// Who wants what.
    pub story: String,
    /// The method.
    pub method: String,
    /// The path as it is sent.
    pub path: String,
    /// Headers, apart from the token and `x-request-id`.
    pub headers: Vec<[String; 2]>,
    /// The number that decides whether the trace is kept, 0 to 9999.
    pub draw: u16,
    /// Whose token it carries.
    #[serde(skip)]
    pub bearer: Option<Bearer>,
}

/// The person in a token.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// Its `tenant_id`.
    pub tenant: String,
    /// Its `sub`.
    pub user: String,
    /// Whether another key signed it than that of the identity provider.
    pub forged: bool,
}

/// The folder that the command line gives to [`write()`].
#[must_use]
pub fn directory() -> PathBuf {
    workspace::root().join(".run/compose")
}

/// Writes into `directory` what the composition mounts, and what a person needs to talk to it:
///
/// - `envoy.yaml`: the project's, with two changes for the page
/// - `tls/`: `ca.pem`, `server.pem`, `server.key`, and `client.pem`, `client.key` for the api-gateway
/// - `jwks.json`, and `tokens/<tenant>.jwt` for each tenant of the policy, valid for a week
/// - `scenes.json`: `scenes`, with tokens
/// - `collector.yaml`, `prometheus.yaml`, `rules/`, `grafana/`: what the manifests have
/// - `log/`, into which Envoy writes the audit trail, and `log/delivered/`, into which the collector does
///
/// Keys and tokens are new each time; restart the composition afterwards.
///
/// # Errors
///
/// When a file cannot be read or written.
pub fn write(directory: &Path, scenes: &[Scene]) -> Result<()> {
    let (identity, stranger, pki) = (IdentityProvider::new()?, IdentityProvider::new()?, Pki::new()?);
    let client = pki.client(GATEWAY_ID)?;
    let template = EnvoyConfig::load()?;

    put(directory, "envoy.yaml", &envoy(&template)?.to_string())?;
    put(directory, "tls/ca.pem", pki.ca())?;
    put(directory, "tls/server.pem", &pki.server().certificate)?;
    put(directory, "tls/server.key", &pki.server().key)?;
    put(directory, "tls/client.pem", &client.certificate)?;
    put(directory, "tls/client.key", &client.key)?;
    put(directory, "jwks.json", &identity.jwks().to_string())?;
    for tenant in tenants(&template)? {
        put(directory, &format!("tokens/{tenant}.jwt"), &token(&identity, &tenant, "user-1")?)?;
    }
    put(directory, "scenes.json", &with_tokens(scenes, &identity, &stranger)?.to_string())?;
    monitoring(directory)?;
    for name in ["log", "log/delivered"] {
        let path = directory.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        // For Envoy and for the collector, each under the user id of its image.
        mode(&path, 0o1777)?;
    }
    Ok(())
}

/// `envoy.yaml` for the composition: the page needs no tenant, and a 401 says how to get new tokens.
fn envoy(template: &EnvoyConfig) -> Result<Value> {
    let mut policy = template.policy()?;
    let page = json!({
        "name": "page", "complianceLevel": "low", "tier": "never", "audit": "none", "tenant": "optional",
        "match": [{"methods": ["GET"], "path": "/"}, {"methods": ["GET"], "path": "/demo/scenes.json"}],
    });
    policy["contexts"].as_array_mut().context("the policy has no contexts")?.push(page);

    let mut document = template.with_policy(&policy);
    let listeners = document["static_resources"]["listeners"].as_array_mut().context("there are no listeners")?;
    for listener in listeners {
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        let advice = "%LOCAL_REPLY_BODY% (tokens of .run/compose live a week: make compose writes new ones)\n";
        manager["local_reply_config"] = json!({"mappers": [{
            "filter": {"status_code_filter": {"comparison": {
                "op": "EQ", "value": {"default_value": 401, "runtime_key": "careplane.unauthorized"},
            }}},
            "body_format_override": {"text_format_source": {"inline_string": advice}},
        }]});
    }
    Ok(document)
}

fn tenants(template: &EnvoyConfig) -> Result<Vec<String>> {
    let policy = template.policy()?;
    let entries = policy["tenants"]["entries"].as_object().context("the policy has no tenants.entries")?;
    Ok(entries.keys().cloned().collect())
}

fn token(identity: &IdentityProvider, tenant: &str, user: &str) -> Result<String> {
    let end = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)? + TOKEN_LIFETIME;
    identity.token(tenant, user, json!({"exp": end.as_secs()}))
}

fn with_tokens(scenes: &[Scene], identity: &IdentityProvider, stranger: &IdentityProvider) -> Result<Value> {
    let mut described = Vec::new();
    for scene in scenes {
        let mut description = serde_json::to_value(scene)?;
        if let Some(Bearer { tenant, user, forged }) = &scene.bearer {
            description["who"] = json!(format!("{user} of {tenant}"));
            description["token"] = json!(token(if *forged { stranger } else { identity }, tenant, user)?);
        }
        described.push(description);
    }
    Ok(json!(described))
}

/// The collector's configuration, Prometheus' rules and Grafana's dashboards as shipped; what names addresses of a
/// mesh, for the composition.
fn monitoring(directory: &Path) -> Result<()> {
    let shipped = workspace::root().join(OBSERVABILITY);
    let read = |name: &str| {
        let path = shipped.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    put(directory, "collector.yaml", &read("tracing/collector-config.yaml")?)?;

    let mut prometheus: Value = serde_saphyr::from_str(&read("monitoring/prometheus/prometheus.yaml")?)?;
    let jobs = prometheus["scrape_configs"].as_array_mut().context("Prometheus scrapes nothing")?;
    jobs.retain(|job| job["job_name"] == "proxies" || job["job_name"] == "tracing");
    for job in jobs.iter_mut().filter_map(Value::as_object_mut) {
        for discovery in ["kubernetes_sd_configs", "relabel_configs"] {
            job.remove(discovery);
        }
        let (app, port) = if job["job_name"] == "proxies" { ("envoy", 9901) } else { ("otel-collector", 8888) };
        let labels = json!({"namespace": "compose", "pod": app, "app": app});
        job.insert("static_configs".to_owned(), json!([{"targets": [format!("{app}:{port}")], "labels": labels}]));
    }
    prometheus["global"]["scrape_interval"] = json!("5s");
    put(directory, "prometheus.yaml", &prometheus.to_string())?;
    for rules in ["careplane.yaml", "mesh.yaml", "slo.yaml"] {
        put(directory, &format!("rules/{rules}"), &read(&format!("monitoring/rules/{rules}"))?)?;
    }

    let sources = read("monitoring/grafana/datasources.yaml")?
        .replace("prometheus.monitoring.svc.cluster.local", "prometheus")
        .replace("writecarenotes-jaeger-query.tracing.svc.cluster.local", "jaeger");
    put(directory, "grafana/provisioning/datasources/datasources.yaml", &sources)?;
    put(directory, "grafana/provisioning/dashboards/dashboards.yaml", &read("monitoring/grafana/dashboards.yaml")?)?;
    // mesh.json shows what Istio's telemetry counts, and there is no Istio.
    for dashboard in ["audit.json", "careplane.json"] {
        put(directory, &format!("grafana/dashboards/{dashboard}"), &read(&format!("monitoring/grafana/{dashboard}"))?)?;
    }
    Ok(())
}

/// Writes a file that all users can read, and its folders likewise. The keys are those of a demonstration.
fn put(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    let folders: BTreeSet<&Path> =
        path.ancestors().skip(1).take_while(|folder| folder.starts_with(directory)).collect();
    for folder in folders {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        mode(folder, 0o755)?;
    }
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    mode(&path, 0o644)
}

fn mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot change the mode of {}", path.display()))
}
