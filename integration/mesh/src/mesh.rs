//! The whole mesh: a cluster, Istio and careplane deployed into it by the deploy script, workloads, and a caller
//! outside.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use careplane_integration::{
    Client, IdentityProvider, Pki, Request, Response, otlp::LogRecord, poll::until, workspace,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    cluster::{Cluster, REGISTRY},
    manifests,
};

/// The hosts of the ingress gateway.
pub const HOSTS: [&str; 3] = ["api.writecarenotes.com", "app.writecarenotes.com", "admin.writecarenotes.com"];

/// The issuer and the audience that the manifests expect in tokens.
const ISSUER: &str = "https://login.writecarenotes.com";
const AUDIENCE: &str = "writecarenotes";

/// Where the pods of the ingress gateway listen: the target ports of its Service.
const HTTPS: u16 = 8443;
const HTTP: u16 = 8080;
/// Where the echo application takes orders.
const CONTROL: u16 = 9900;
/// Where Jaeger answers.
const JAEGER: u16 = 16686;

/// Envoy sends its access log at most a second late.
const RECORDS_DEADLINE: Duration = Duration::from_secs(15);

/// The modules that the manifests name.
const MODULES: [&str; 5] =
    ["careplane", "careplane-tracing-tags", "careplane-tenant-routing", "careplane-sampling", "careplane-audit"];

/// Name of the file of certificate authorities.
const AUTHORITIES: &str = "ca-certificates.crt";

const DEADLINE: Duration = Duration::from_secs(120);

/// The least that Envoy takes for a filter, and `unreachable` for a request.
const CRASHING: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 1024)
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable))"#;

/// A mesh that runs.
#[derive(Debug)]
pub struct Mesh {
    /// Its cluster.
    pub cluster: Cluster,
    manifests: PathBuf,
    pki: Pki,
    identity: IdentityProvider,
    gateway: IpAddr,
    // Last: when it is removed, no process writes into it any more.
    directory: TempDir,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
}

impl Mesh {
    /// Sets everything up as an operator would: with the deploy script.
    ///
    /// # Errors
    ///
    /// When something does not come up: what, and what was said.
    pub async fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("careplane-mesh-").tempdir()?;
        let (pki, identity) = (Pki::new()?, IdentityProvider::new()?);
        trust(directory.path(), &pki)?;
        let cluster = Cluster::start(directory.path()).await?;
        let manifests = manifests::prepare(directory.path(), &identity.jwks())?;
        let mut mesh = Self { cluster, manifests, pki, identity, gateway: IpAddr::from([0, 0, 0, 0]), directory };
        mesh.publish_images().await?;
        mesh.cluster.kubectl(&["apply", "-k", &mesh.path("base/namespaces")]).await?;
        mesh.cluster.apply(&mesh.tls_secret("core-healthcare", "writecarenotes-tls", &HOSTS)?).await?;
        mesh.deploy(&["--apply", "--yes", "--timeout", "120s"]).await?;
        mesh.work().await?;
        mesh.gateway = mesh.pod("core-healthcare", "istio=ingressgateway").await?.address;
        mesh.settle().await?;
        Ok(mesh)
    }

    /// Ends it and everything in it.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub async fn stop(self) -> Result<()> {
        self.cluster.stop().await
    }

    /// The address of the ingress gateway's pod.
    #[must_use]
    pub fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// The certificates that all programs of the sandbox trust.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join(AUTHORITIES)
    }

    /// A path in the manifests that were deployed.
    #[must_use]
    pub fn path(&self, relative: &str) -> String {
        self.manifests.join(relative).display().to_string()
    }

    /// Runs `deploy-service-mesh.sh` with these options.
    ///
    /// # Errors
    ///
    /// When it exits with anything but 0: what it said.
    pub async fn deploy(&self, options: &[&str]) -> Result<String> {
        let (status, output) = self.try_deploy(options).await?;
        ensure!(status == 0, "deploy-service-mesh.sh {} exited with {status}:\n{output}", options.join(" "));
        Ok(output)
    }

    /// Runs `deploy-service-mesh.sh` with these options: its exit code, and what it said.
    ///
    /// # Errors
    ///
    /// When it cannot be run.
    pub async fn try_deploy(&self, options: &[&str]) -> Result<(i32, String)> {
        let script = workspace::root().join("wasmplugin-manifests/deploy-service-mesh.sh");
        let mut command = self.cluster.command(script);
        command.arg("--manifests").arg(&self.manifests).args(options).env("CAREPLANE", careplane());
        let output = command.output().await.context("running deploy-service-mesh.sh")?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned()))
    }

    /// A pod with these labels.
    ///
    /// # Errors
    ///
    /// When there is none that runs.
    pub async fn pod(&self, namespace: &str, selector: &str) -> Result<Pod> {
        let pods = self.pods(namespace, selector).await?;
        pods.into_iter().next().with_context(|| format!("no pod with {selector} in {namespace}"))
    }

    /// All pods with these labels that run and are to stay.
    ///
    /// # Errors
    ///
    /// When the API server does not answer.
    pub async fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>> {
        let list = self.cluster.get(&["pods", "-n", namespace, "-l", selector]).await?;
        let stays =
            |pod: &&Value| pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pods = list["items"].as_array().into_iter().flatten().filter(stays).map(|pod| {
            Ok(Pod {
                namespace: namespace.to_owned(),
                name: text(&pod["metadata"]["name"]),
                address: text(&pod["status"]["podIP"]).parse().context("the pod has no address")?,
            })
        });
        pods.collect()
    }

    /// Has a Deployment run so many pods, and waits until they are ready.
    ///
    /// # Errors
    ///
    /// When they do not become ready.
    pub async fn scale(&self, namespace: &str, deployment: &str, replicas: u32) -> Result<()> {
        let name = format!("deployment/{deployment}");
        self.cluster.kubectl(&["scale", "-n", namespace, &name, &format!("--replicas={replicas}")]).await?;
        self.cluster.kubectl(&["rollout", "status", "-n", namespace, &name, "--timeout=60s"]).await?;
        Ok(())
    }

    /// Has a Deployment replace its pods, and waits until the new ones are ready.
    ///
    /// # Errors
    ///
    /// When they do not become ready.
    pub async fn restart(&self, namespace: &str, deployment: &str) -> Result<()> {
        let name = format!("deployment/{deployment}");
        self.cluster.kubectl(&["rollout", "restart", "-n", namespace, &name]).await?;
        self.cluster.kubectl(&["rollout", "status", "-n", namespace, &name, "--timeout=60s"]).await?;
        Ok(())
    }

    /// The audit records at the collector that `wanted` picks, once there are `count` of them.
    ///
    /// # Errors
    ///
    /// When there are fewer after some time.
    pub async fn records(&self, wanted: impl Fn(&Value) -> bool, count: usize) -> Result<Vec<Value>> {
        let volume = self.cluster.volume("tracing", "audit-otel-collector").await?;
        let mut seen = 0;
        let what = format!("{count} records at the collector");
        let found = until(&what, RECORDS_DEADLINE, async || {
            let records: Vec<Value> = collected(&volume)?.into_iter().filter(&wanted).collect();
            seen = records.len();
            Ok((seen >= count).then_some(records))
        })
        .await;
        found.with_context(|| format!("there are {seen} in {}", volume.display()))
    }

    /// A client outside of the mesh that calls `host` over TLS.
    ///
    /// # Errors
    ///
    /// When the certificate authority cannot be read.
    pub fn outsider(&self, host: &str) -> Result<Client> {
        Ok(Client::tls(self.gateway_address(), &self.pki, None)?.server_name(host))
    }

    /// The same with a TLS that is too old.
    ///
    /// # Errors
    ///
    /// When the certificate authority cannot be read.
    pub fn outdated(&self, host: &str) -> Result<Client> {
        Ok(Client::tls_1_2(self.gateway_address(), &self.pki)?.server_name(host))
    }

    /// A client outside of the mesh, without TLS.
    #[must_use]
    pub fn plaintext(&self) -> Client {
        Client::plain((self.gateway, HTTP).into())
    }

    fn gateway_address(&self) -> SocketAddr {
        (self.gateway, HTTPS).into()
    }

    /// Sends `request` with a token for a person of `tenant` with `role`, to api.writecarenotes.com.
    ///
    /// # Errors
    ///
    /// When no answer comes.
    pub async fn send(&self, tenant: &str, role: &str, request: Request) -> Result<Response> {
        let request = request.header("host", HOSTS[0]).bearer(&self.token(tenant, role)?);
        self.outsider(HOSTS[0])?.send(request).await
    }

    /// A token for a person of `tenant` with `role`.
    ///
    /// # Errors
    ///
    /// When signing fails.
    pub fn token(&self, tenant: &str, role: &str) -> Result<String> {
        self.token_with(tenant, role, json!({}))
    }

    /// The same with other claims, which replace the usual ones.
    ///
    /// # Errors
    ///
    /// When signing fails.
    pub fn token_with(&self, tenant: &str, role: &str, other: Value) -> Result<String> {
        let mut claims = json!({"iss": ISSUER, "aud": AUDIENCE, "roles": [role]});
        for (name, value) in other.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        self.identity.token(tenant, &format!("{role}-1"), claims)
    }

    /// What an Envoy answers at its admin port.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub async fn envoy(&self, pod: &Pod, path: &str) -> Result<String> {
        let arguments =
            ["exec", "-n", &pod.namespace, &pod.name, "-c", "istio-proxy", "--", "pilot-agent", "request", "GET", path];
        self.cluster.kubectl(&arguments).await
    }

    /// One of an Envoy's counters or gauges; 0 when it does not have it.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub async fn stat(&self, pod: &Pod, name: &str) -> Result<u64> {
        let stats = self.envoy(pod, "stats").await?;
        let value = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
        Ok(value.unwrap_or_default())
    }

    /// Orders something of the echo application in `pod`.
    ///
    /// # Errors
    ///
    /// When no answer comes.
    pub async fn control(&self, pod: &Pod, request: Request) -> Result<Response> {
        Client::plain((pod.address, CONTROL).into()).send(request).await
    }

    /// Has the application in `pod` send a request to `url`, through its own sidecar if it listens for it.
    ///
    /// # Errors
    ///
    /// When no answer comes.
    pub async fn call(&self, pod: &Pod, url: &str, request: impl Fn(String) -> Request) -> Result<Response> {
        self.control(pod, request(format!("/call?url={url}"))).await
    }

    /// The answer of Jaeger's HTTP API.
    ///
    /// # Errors
    ///
    /// When there is none, or it is not JSON.
    pub async fn jaeger(&self, path: &str) -> Result<Value> {
        let pod = self.pod("tracing", "app=writecarenotes-jaeger").await?;
        Client::plain((pod.address, JAEGER).into()).send(Request::get(path)).await?.json()
    }

    /// Runs the command line of careplane, which cargo builds beside the tests.
    ///
    /// # Errors
    ///
    /// When it fails: what it said.
    pub async fn careplane(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.run(&careplane().display().to_string(), arguments).await
    }

    /// The address of a module that crashes on every request.
    ///
    /// # Errors
    ///
    /// When it cannot be pushed.
    pub async fn crashing_module(&self) -> Result<String> {
        let file = self.directory.path().join("crashing.wasm");
        fs::write(&file, wat::parse_str(CRASHING)?)?;
        self.publish("crashing", &file).await
    }

    async fn publish_images(&self) -> Result<()> {
        for module in MODULES {
            let pinned = self.publish(module, &workspace::dist().join(format!("{module}.wasm"))).await?;
            self.careplane(&["image", "pin", "--manifests", &self.path(""), &pinned]).await?;
        }
        Ok(())
    }

    async fn publish(&self, name: &str, module: &Path) -> Result<String> {
        publish(&self.cluster, self.directory.path(), name, module).await
    }

    /// Starts the workloads and waits for them.
    async fn work(&self) -> Result<()> {
        let nhs = self.tls_secret("outside", "nhs-tls", &["api.service.nhs.uk", "sandbox.api.service.nhs.uk"])?;
        let workloads = workspace::root().join("integration/mesh/workloads");
        self.cluster.kubectl(&["create", "namespace", "outside"]).await?;
        self.cluster.apply(&nhs).await?;
        self.cluster.kubectl(&["apply", "-k", &workloads.display().to_string()]).await?;
        // First the Deployments: their pods may not even be there yet.
        let available = ["wait", "deployment", "--all", "-A", "--for=condition=Available", "--timeout=120s"];
        self.cluster.kubectl(&available).await?;
        until("all pods to be ready", DEADLINE, async || {
            let pods = self.cluster.get(&["pods", "-A"]).await?;
            let ready = |pod: &Value| {
                let conditions = pod["status"]["conditions"].as_array();
                conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
            };
            let pods = pods["items"].as_array().map_or(&[][..], Vec::as_slice);
            Ok((!pods.is_empty() && pods.iter().all(ready)).then_some(()))
        })
        .await
    }

    /// Waits until each proxy knows the endpoints of the others: a pod is ready before the rest of the mesh has heard
    /// of it.
    async fn settle(&self) -> Result<()> {
        let foreign = self.pod("operational", "app=foreign").await?;
        let services = [
            "resident-service.core-healthcare:3001",
            "medication-service.core-healthcare:3002",
            "nhs-integration-service.integration:3010",
        ];
        for service in services {
            until(&format!("{service} to be known"), DEADLINE, async || {
                let response = self.call(&foreign, &format!("http://{service}/"), Request::get).await?;
                Ok((response.status == 403).then_some(()))
            })
            .await?;
        }
        until("the gateway to serve", DEADLINE, async || {
            let response = self.send("care-home-0100", "nurse", Request::get("/api/v1/medications/1")).await?;
            Ok((response.status == 200).then_some(()))
        })
        .await
    }

    fn tls_secret(&self, namespace: &str, name: &str, hosts: &[&str]) -> Result<String> {
        let certificate = self.pki.server_of(hosts)?;
        Ok(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"namespace": namespace, "name": name},
            "data": {
                "tls.crt": BASE64_STANDARD.encode(&certificate.certificate),
                "tls.key": BASE64_STANDARD.encode(&certificate.key),
            },
        })
        .to_string())
    }
}

/// Pushes a module to the cluster's registry, and returns its address with its digest.
///
/// # Errors
///
/// When it cannot be built or pushed: what was said.
pub async fn publish(cluster: &Cluster, directory: &Path, name: &str, module: &Path) -> Result<String> {
    let layout = directory.join("image").join(name).display().to_string();
    let address = format!("oci://{REGISTRY}/careplane/{name}:0.1.0");
    let careplane = careplane().display().to_string();
    let build = ["image", "build", "--module", &module.display().to_string(), "--output", &layout];
    cluster.run(&careplane, &build).await?;
    let push = ["image", "push", "--plain-http", "--layout", &layout, &address];
    Ok(cluster.run(&careplane, &push).await?.trim().to_owned())
}

/// The audit records in the collector's file: OTLP in JSON, a line for each batch.
fn collected(volume: &Path) -> Result<Vec<Value>> {
    let body = |record: LogRecord| {
        serde_json::from_str(&record.body).with_context(|| format!("not a record: {}", record.body))
    };
    LogRecord::from_file(&volume.join("audit.jsonl"))?.into_iter().map(body).collect()
}

/// The command line (`cargo build -p careplane-cli`).
#[must_use]
pub fn careplane() -> PathBuf {
    // Programs are in target/debug, tests in target/debug/deps.
    let this = std::env::current_exe().unwrap_or_default();
    let places = this.ancestors().skip(1).take(2).map(|folder| folder.join("careplane"));
    places.into_iter().find(|place| place.is_file()).unwrap_or_else(|| "careplane".into())
}

/// Makes all programs of the sandbox trust `pki` as they trust public authorities.
fn trust(directory: &Path, pki: &Pki) -> Result<()> {
    const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
    let bundle = directory.join(AUTHORITIES);
    fs::write(&bundle, format!("{}\n{}", fs::read_to_string(BUNDLE).unwrap_or_default(), pki.ca()))?;
    rustix::mount::mount_bind(&bundle, BUNDLE).context("adding a certificate authority")
}
