//! A registry in memory: as much of the OCI distribution specification as a push needs.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};

/// A registry on loopback, until the test ends.
pub struct Registry {
    address: SocketAddr,
    store: Arc<Store>,
}

/// What it holds, and the `authorization` that it wants.
struct Store {
    password: Option<&'static str>,
    /// By upload, digest or tag.
    content: Mutex<HashMap<String, Vec<u8>>>,
}

impl Registry {
    pub fn start(password: Option<&'static str>) -> Self {
        let store = Arc::new(Store { password, content: Mutex::default() });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Arc::clone(&store);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(listener, serving));
        });
        Self { address, store }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn manifest(&self, tag: &str) -> Option<Vec<u8>> {
        self.blob(tag)
    }

    pub fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        self.store.content.lock().unwrap().get(digest).cloned()
    }
}

async fn serve(listener: std::net::TcpListener, store: Arc<Store>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (connection, _) = listener.accept().await.unwrap();
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let store = Arc::clone(&store);
                async move { Ok::<_, Infallible>(store.answer(request).await) }
            });
            // A client that hangs up is no concern of the registry.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
        });
    }
}

impl Store {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let given = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        if self.password.is_some_and(|password| given != Some(password)) {
            let challenge = Response::builder().status(StatusCode::UNAUTHORIZED);
            return challenge.header("www-authenticate", "Basic realm=\"care\"").body(Full::default()).unwrap();
        }
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        let path = parts.uri.path().to_owned();
        let name = path.rsplit('/').next().unwrap().to_owned();
        let mut content = self.content.lock().unwrap();
        let (status, found) = match parts.method {
            Method::POST => (StatusCode::ACCEPTED, Vec::new()),
            Method::PATCH => {
                content.entry(path.clone()).or_default().extend(body);
                (StatusCode::ACCEPTED, Vec::new())
            }
            Method::PUT if path.contains("/manifests/") => {
                content.insert(name, body);
                (StatusCode::CREATED, Vec::new())
            }
            Method::PUT => {
                let mut blob = content.remove(&path).unwrap_or_default();
                blob.extend(body);
                let digest = parts.uri.query().unwrap().split_once("digest=").unwrap().1.replace("%3A", ":");
                if digest == sha256(&blob) {
                    content.insert(digest, blob);
                    (StatusCode::CREATED, Vec::new())
                } else {
                    (StatusCode::BAD_REQUEST, Vec::new())
                }
            }
            _ if path == "/v2/" => (StatusCode::OK, Vec::new()),
            _ => {
                content.get(&name).map_or((StatusCode::NOT_FOUND, Vec::new()), |found| (StatusCode::OK, found.clone()))
            }
        };
        let location = if parts.method == Method::POST { format!("{path}1") } else { path };
        Response::builder()
            .status(status)
            .header("location", location)
            .header("docker-content-digest", sha256(&found))
            .body(Full::from(found))
            .unwrap()
    }
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)))
}
