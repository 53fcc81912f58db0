//! A mesh that is not ours, and its traffic.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use careplane_integration::{Client, IdentityProvider, Request, Response, poll, workspace};
use careplane_mesh::{Cluster, mesh};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub const ISSUER: &str = "https://accounts.shop.example";
pub const TENANT: &str = "branch-7";

const DEADLINE: Duration = Duration::from_secs(60);
/// Where the gateway's pods listen for port 80 of its Service, and for port 443.
const HTTP: u16 = 8080;
const REDIRECT: u16 = 8443;
const CONTROL: u16 = 9900;

pub struct Shop {
    cluster: Cluster,
    identity: IdentityProvider,
    image: String,
    /// Each pod of the gateway.
    gateways: [IpAddr; 2],
    orders: IpAddr,
    directory: TempDir,
}

/// Calls without an identity that bypass the gateway, until they are stopped.
pub struct Intruder {
    is_over: Arc<AtomicBool>,
    calls: JoinHandle<BTreeMap<u16, usize>>,
}

/// Requests without pause, until they are stopped.
pub struct Traffic {
    is_over: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    callers: Vec<JoinHandle<()>>,
}

impl Shop {
    /// Installs Istio as they did, and waits until the shop serves.
    pub async fn open() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("careplane-existing-").tempdir()?;
        let identity = IdentityProvider::new()?;
        let cluster = Cluster::start(directory.path()).await?;
        fs::create_dir(directory.path().join("work"))?;
        let istio = directory.path().join("work/istio.yaml");
        fs::write(&istio, crate::theirs("istio.yaml")?)?;
        let module = workspace::dist().join("careplane.wasm");
        let image = mesh::publish(&cluster, directory.path(), "careplane", &module).await?;
        cluster.kubectl(&["create", "namespace", "edge"]).await?;
        cluster.kubectl(&["create", "namespace", "shop"]).await?;
        cluster.kubectl(&["label", "namespace", "shop", "istio-injection=enabled"]).await?;
        cluster.istioctl(&["install", "-f", &istio.display().to_string(), "--skip-confirmation"]).await?;
        let stock = workspace::root().join("integration/mesh/stock-envoy.yaml");
        cluster.kubectl(&["apply", "-f", &stock.display().to_string()]).await?;
        cluster.kubectl(&["scale", "deployment/edge", "-n", "edge", "--replicas=2"]).await?;
        cluster.apply(&crate::theirs("shop.yaml")?).await?;
        cluster.apply(&crate::request_authentication(&identity.jwks())).await?;
        let available = ["wait", "deployment", "--all", "-A", "--for=condition=Available", "--timeout=120s"];
        cluster.kubectl(&available).await?;
        let gateways = addresses(&cluster, "edge", "edge").await?;
        let [orders] = addresses(&cluster, "shop", "orders").await?;
        let shop = Self { cluster, identity, image, gateways, orders, directory };
        shop.until("the shop to serve", async || {
            let statuses =
                [shop.send(shop.request("/api/products")?).await, shop.send(shop.request("/api/orders")?).await];
            Ok(statuses.iter().all(|it| it.as_ref().is_ok_and(|it| it.status == 200)).then_some(()))
        })
        .await?;
        Ok(shop)
    }

    pub async fn close(self) -> Result<()> {
        self.cluster.stop().await
    }

    /// The folder that a person works in.
    pub fn folder(&self) -> std::path::PathBuf {
        self.directory.path().join("work")
    }

    /// What the page asks for.
    pub fn assignments(&self) -> Result<String> {
        let values = [
            ("CHECKOUT", workspace::root().display().to_string()),
            ("IMAGE", self.image.clone()),
            ("GATEWAY_NAMESPACE", "edge".into()),
            ("GATEWAY", "edge".into()),
            ("GATEWAY_LABEL", "edge".into()),
            ("GATEWAY_ACCOUNT", "edge-service-account".into()),
            ("GATEWAY_PORT", HTTP.to_string()),
            ("ACCESS_LOG", "envoy".into()),
            ("ISTIO", "istio.yaml".into()),
            ("URL", format!("http://{}:{HTTP}/api/products", self.gateways[0])),
            ("TOKEN", self.token()?),
        ];
        Ok(values.map(|(name, value)| format!("{name}='{value}'")).join("\n"))
    }

    /// Runs a block of the page.
    pub async fn shell(&self, block: &str) -> Result<()> {
        let mut command = self.cluster.command("bash");
        let path = command.as_std().get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value);
        let path = path.unwrap_or_default().to_owned();
        let careplane = mesh::careplane();
        let folder = careplane.parent().unwrap_or(Path::new("."));
        let path = std::env::join_paths([folder.to_owned()].into_iter().chain(std::env::split_paths(&path)))?;
        let running =
            command.args(["-euo", "pipefail", "-c", block]).current_dir(self.folder()).env("PATH", path).output();
        let output = tokio::time::timeout(Duration::from_secs(180), running).await.context(block.to_owned())??;
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {block}\n{said}", output.status);
        Ok(())
    }

    fn token(&self) -> Result<String> {
        self.identity.token(TENANT, "clerk-1", json!({"iss": ISSUER}))
    }

    /// With a token that the gateway accepts.
    pub fn request(&self, path: &str) -> Result<Request> {
        Ok(Request::get(path).bearer(&self.token()?))
    }

    pub async fn send(&self, request: Request) -> Result<Response> {
        Client::plain((self.gateways[0], HTTP).into()).send(request.header("host", "shop.example")).await
    }

    /// The status at the port that redirects to HTTPS.
    pub async fn redirect(&self) -> Result<u16> {
        let request = Request::get("/api/products").header("host", "shop.example");
        Ok(Client::plain((self.gateways[0], REDIRECT).into()).send(request).await?.status)
    }

    /// What each pod of the gateway has logged.
    pub async fn gateway_logs(&self) -> Result<Vec<String>> {
        let pods = self.cluster.get(&["pods", "-n", "edge", "-l", "app=edge"]).await?;
        let mut logs = Vec::new();
        for pod in pods["items"].as_array().into_iter().flatten() {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            logs.push(self.cluster.kubectl(&["logs", "-n", "edge", name, "-c", "istio-proxy", "--tail=-1"]).await?);
        }
        Ok(logs)
    }

    /// The status that the application of `orders` gets from `catalog`, without an identity.
    pub async fn call_catalog_directly(&self) -> Result<u16> {
        let client = Client::plain((self.orders, CONTROL).into());
        let request = Request::get("/call?url=http://catalog.shop:8080/api/products").header("host", "orders");
        Ok(client.send(request).await?.status)
    }

    /// Calls `catalog` as [`call_catalog_directly`](Self::call_catalog_directly) does, all the time.
    pub fn intruder(&self) -> Intruder {
        let is_over = Arc::<AtomicBool>::default();
        let (address, until) = (SocketAddr::new(self.orders, CONTROL), Arc::clone(&is_over));
        let calls = tokio::spawn(async move {
            let mut statuses = BTreeMap::new();
            while !until.load(Ordering::Relaxed) {
                let request = Request::get("/call?url=http://catalog.shop:8080/api/products").header("host", "orders");
                let status = Client::plain(address).send(request).await.map_or(0, |response| response.status);
                *statuses.entry(status).or_default() += 1;
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            statuses
        });
        Intruder { is_over, calls }
    }

    /// How many of a kind there are.
    pub async fn count(&self, kind: &str) -> Result<usize> {
        let list = self.cluster.get(&[kind, "-A"]).await?;
        Ok(list["items"].as_array().map_or(0, Vec::len))
    }

    /// Waits until the proxy of an application has logged something, while requests go on.
    pub async fn until_logged(&self, namespace: &str, app: &str, text: &str) -> Result<()> {
        let selector = format!("app={app}");
        self.until(&format!("{text:?} in the log of {app}"), async || {
            let log = ["logs", "-n", namespace, "-l", &selector, "-c", "istio-proxy", "--tail=-1"];
            Ok(self.cluster.kubectl(&log).await?.contains(text).then_some(()))
        })
        .await
    }

    pub async fn until(&self, what: &str, probe: impl AsyncFnMut() -> Result<Option<()>>) -> Result<()> {
        poll::until(what, DEADLINE, probe).await
    }

    /// Customers, each with a connection for each request.
    pub fn traffic(&self) -> Result<Traffic> {
        let traffic =
            Traffic { is_over: Arc::default(), count: Arc::default(), failures: Arc::default(), callers: Vec::new() };
        let mut callers = Vec::new();
        let paths = ["/api/products", "/api/products/7", "/api/orders", "/api/orders/12"];
        for (path, gateway) in paths.into_iter().zip(self.gateways.into_iter().cycle()) {
            let (is_over, count, failures) =
                (Arc::clone(&traffic.is_over), Arc::clone(&traffic.count), Arc::clone(&traffic.failures));
            let (client, token) = (Client::plain((gateway, HTTP).into()), self.token()?);
            callers.push(tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let request = Request::get(path).bearer(&token).header("host", "shop.example");
                    let failure = match client.send(request).await {
                        Ok(response) if response.status == 200 => None,
                        Ok(response) => Some(format!("{path}: {} {}", response.status, response.text())),
                        Err(error) => Some(format!("{path}: {error:#}")),
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                    if let (Some(failure), Ok(mut failures)) = (failure, failures.lock()) {
                        failures.push(failure);
                    }
                    // Each leaves a record in a log that the kubelet would rotate at 10 MB.
                    tokio::time::sleep(Duration::from_millis(150)).await;
                }
            }));
        }
        Ok(Traffic { callers, ..traffic })
    }
}

impl Intruder {
    /// How many calls got which status.
    pub async fn stop(self) -> Result<BTreeMap<u16, usize>> {
        self.is_over.store(true, Ordering::Relaxed);
        Ok(self.calls.await?)
    }
}

impl Traffic {
    /// How many there were, and which of them failed.
    pub async fn stop(self) -> (usize, Vec<String>) {
        self.is_over.store(true, Ordering::Relaxed);
        for caller in self.callers {
            let _ = caller.await;
        }
        let failures = self.failures.lock().map(|failures| failures.clone()).unwrap_or_default();
        (self.count.load(Ordering::Relaxed), failures)
    }
}

/// Of each pod of an application.
async fn addresses<const N: usize>(cluster: &Cluster, namespace: &str, app: &str) -> Result<[IpAddr; N]> {
    let pods = cluster.get(&["pods", "-n", namespace, "-l", &format!("app={app}")]).await?;
    let address = |pod: &serde_json::Value| pod["status"]["podIP"].as_str()?.parse().ok();
    let addresses: Vec<IpAddr> = pods["items"].as_array().into_iter().flatten().filter_map(address).collect();
    let count = addresses.len();
    addresses.try_into().map_err(|_| anyhow!("{count} pods of {app}, expected {N}"))
}
