//! One request that is traced in any case: refused for want of a tenant; with a token, of a context that is always
//! traced.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ChildStdout;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue};
use reqwest::{Client, Url};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::Checks;
use crate::mesh::Context;
use crate::mesh::failure::{Code, Failure};
use crate::mesh::keys::random_bytes;
use crate::mesh::manifests::GATEWAY_NAMESPACE;
use crate::mesh::programs::Beside;

const PATH: &str = "/api/v1/medications";
const JAEGER_TIME: Duration = Duration::from_secs(60);

pub fn trace(checks: &Checks<'_, '_>) -> Result<(), Failure> {
    let Context { settings, printer, .. } = checks.context;
    // Without one named, the TLS library would not know which cryptography to use.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Code::Prerequisite, error))?;
    let host = host(checks.context);
    // Letters only: ten digits could be taken for an NHS number.
    let letters = random_bytes::<16>()?.map(|byte| char::from(b'a' + byte % 16));
    let correlation = format!("verify-{}", String::from_iter(letters));

    let headers = headers(&host, &correlation, settings.token.as_deref())?;
    let gateway = match &settings.gateway_url {
        Some(url) => Address { address: resolve(url)?, _forward: None },
        None => forward(checks.context, GATEWAY_NAMESPACE, "istio-ingressgateway", 443)?,
    };
    let waiting = printer.waiting("sending a request");
    let answer = runtime.block_on(send(&host, gateway.address, headers));
    drop(waiting);
    let shown = format!("GET https://{host}{PATH}");
    let (status, body) = match answer {
        Ok(answer) => answer,
        Err(error) => {
            checks.fail("trace", &format!("the gateway does not answer at {}: {}", gateway.address, reason(&error)));
            for secret in checks.context.manifests.certificates() {
                if !checks.context.cluster.exists(&["secret", secret, "-n", GATEWAY_NAMESPACE])? {
                    checks.more(&format!("it has no certificate: Secret {secret} is not in {GATEWAY_NAMESPACE}"));
                }
            }
            return Ok(());
        }
    };
    if let Some(objection) = objection(status, &body, settings.token.is_some()) {
        checks.fail("trace", &format!("{shown} {objection}"));
        return Ok(());
    }

    let (jaeger, _forward) = match &settings.jaeger_url {
        Some(url) => (url.trim_end_matches('/').to_owned(), None),
        None => {
            let forward = forward(checks.context, "tracing", "writecarenotes-jaeger-query", 16686)?;
            (format!("http://{}", forward.address), Some(forward))
        }
    };
    let waiting = printer.waiting("looking for its trace in Jaeger");
    let found = await_trace(&runtime, &jaeger, &correlation);
    drop(waiting);
    match found {
        Ok(()) => {
            checks.passed(
                "trace",
                &format!("{shown} was a {status}, and Jaeger has its trace: correlation_id={correlation}"),
            );
        }
        Err(last) => {
            checks.fail(
                "trace",
                &format!(
                    "{shown} was a {status}, and after 60 s Jaeger has no trace with correlation_id={correlation}{last}"
                ),
            );
            checks.more("see docs/troubleshooting.md, No traces");
        }
    }
    Ok(())
}

/// Why this is not the answer that such a request has to get. What the service behind the gateway makes of an accepted
/// one is its own affair: it may not be there yet.
fn objection(status: u16, body: &str, has_token: bool) -> Option<String> {
    let body: String = body.chars().take(200).collect();
    match status {
        500 => Some("is a 500: was the policy refused when the proxy started? See docs/troubleshooting.md".to_owned()),
        400 | 401 | 403 if has_token => Some(format!("with the token is {status}, so it was refused: {body}")),
        403 if body.contains("\"correlation") => None,
        _ if has_token => None,
        _ => Some(format!("without a token is {status}, and not careplane's 403: {body}")),
    }
}

/// The first host of the ingress Gateway, whatever it has been renamed to.
fn host(context: &Context<'_>) -> String {
    let lists = context.manifests.servers().filter_map(|server| server["hosts"].as_array());
    let mut hosts = lists.flatten().filter_map(Value::as_str);
    let host = hosts.find(|host| !host.contains('*')).unwrap_or("api.writecarenotes.com");
    host.rsplit_once('/').map_or(host, |(_, host)| host).to_owned()
}

fn headers(host: &str, correlation: &str, token: Option<&str>) -> Result<HeaderMap, Failure> {
    let value = |what: &str, value: &str| {
        let failed = |_| Failure::usage(format!("the {what} has characters that a header cannot have"));
        HeaderValue::from_str(value).map_err(failed)
    };
    let mut headers = HeaderMap::new();
    // By its name, whatever the port is that it is reached at.
    headers.insert(HOST, value("host of the Gateway", host)?);
    headers.insert("x-correlation-id", value("correlation id", correlation)?);
    // A file that a token comes from ends in a line feed.
    if let Some(token) = token.map(str::trim) {
        let mut value = value("token", &format!("Bearer {token}"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// Status and body.
async fn send(host: &str, address: SocketAddr, headers: HeaderMap) -> reqwest::Result<(u16, String)> {
    // The certificate may be of an authority that only its clients know.
    let client = Client::builder()
        .danger_accept_invalid_certs(true)
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .resolve(host, address)
        .timeout(Duration::from_secs(30))
        .build()?;
    let answer = client.get(format!("https://{host}:{}{PATH}", address.port())).headers(headers).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// Jaeger searches one service at a time.
fn await_trace(runtime: &Runtime, jaeger: &str, correlation: &str) -> Result<(), String> {
    let deadline = Instant::now() + JAEGER_TIME;
    loop {
        let last = match runtime.block_on(search(jaeger, correlation)) {
            Ok(true) => return Ok(()),
            Ok(false) => String::new(),
            Err(error) => format!(": {}", reason(&error)),
        };
        if Instant::now() >= deadline {
            return Err(last);
        }
        thread::sleep(Duration::from_secs(1));
    }
}

async fn search(jaeger: &str, correlation: &str) -> reqwest::Result<bool> {
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    let services: Value = client.get(format!("{jaeger}/api/services")).send().await?.error_for_status()?.json().await?;
    let names = services["data"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for service in names.filter(|name| name.contains("ingressgateway")) {
        let tags = serde_json::json!({"correlation_id": correlation}).to_string();
        let query = [("service", service), ("limit", "1"), ("tags", &tags)];
        let found = client.get(format!("{jaeger}/api/traces")).query(&query).send().await?.error_for_status()?;
        let found: Value = found.json().await?;
        if found["data"].as_array().is_some_and(|traces| !traces.is_empty()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where something is reached, and the port-forward that makes it so.
struct Address {
    address: SocketAddr,
    _forward: Option<(Beside, Lines)>,
}

/// What kubectl prints. It ends when it can print no more, so the pipe stays open as long as it is needed.
type Lines = std::io::Lines<BufReader<ChildStdout>>;

fn resolve(url: &str) -> Result<SocketAddr, Failure> {
    let with_scheme = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
    let failed = |why: String| Failure::usage(format!("--gateway-url {url}: {why}"));
    let parsed = Url::parse(&with_scheme).map_err(|error| failed(error.to_string()))?;
    let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = parsed.port_or_known_default().unwrap_or(443);
    let mut addresses = (host, port).to_socket_addrs().map_err(|error| failed(error.to_string()))?;
    addresses.next().ok_or_else(|| failed("it has no address".to_owned()))
}

/// Forwards a free local port.
fn forward(context: &Context<'_>, namespace: &str, service: &str, port: u16) -> Result<Address, Failure> {
    let (target, ports) = (format!("svc/{service}"), format!(":{port}"));
    let arguments = ["--context", &context.cluster.context, "-n", namespace, "port-forward", &target, &ports];
    let mut child = Beside::start("kubectl", &arguments)?;
    // It says where it listens, or ends.
    let mut lines = child.0.stdout.take().map(|out| BufReader::new(out).lines());
    let line = lines.as_mut().and_then(Iterator::next).and_then(Result::ok).unwrap_or_default();
    let address = line.strip_prefix("Forwarding from ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    match (address, lines) {
        (Some(address), Some(lines)) => Ok(Address { address, _forward: Some((child, lines)) }),
        _ => {
            let mut said = String::new();
            if let Some(mut err) = child.0.stderr.take() {
                let _ = std::io::Read::read_to_string(&mut err, &mut said);
            }
            let why = said.lines().next_back().unwrap_or("it said nothing");
            Err(Failure::new(
                Code::Unreachable,
                format!(
                    "no port-forward to {namespace}/{service}: {why}; where port-forward does not work, give \
                     --gateway-url and --jaeger-url"
                ),
            ))
        }
    }
}

/// An error and what caused it.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_refused_accepts_nothing() {
        const DENIAL: &str = r#"{"type":"urn:problem-type:careplane:tenant-missing","correlationId":"verify-a"}"#;
        for (status, body, has_token, expected) in [
            (403, DENIAL, false, None),
            (200, "", false, Some("without a token is 200, and not careplane's 403: ")),
            (
                403,
                "RBAC: access denied",
                false,
                Some("without a token is 403, and not careplane's 403: RBAC: access denied"),
            ),
            (200, "[]", true, None),
            (503, "no healthy upstream", true, None),
            (401, "Jwt is expired", true, Some("with the token is 401, so it was refused: Jwt is expired")),
            (403, "RBAC: access denied", true, Some("with the token is 403, so it was refused: RBAC: access denied")),
            (403, DENIAL, true, Some(&*format!("with the token is 403, so it was refused: {DENIAL}"))),
        ] {
            assert_eq!(objection(status, body, has_token).as_deref(), expected, "{status} {body}");
        }
        assert!(objection(500, "", true).is_some() && objection(500, "", false).is_some());
    }

    #[test]
    fn a_token_is_sent_or_refused_and_never_left_out() {
        let sent = headers("api.example", "verify-a", Some("abc.def.ghi\n")).unwrap();
        assert_eq!(sent[AUTHORIZATION], "Bearer abc.def.ghi");
        let refused = headers("api.example", "verify-a", Some("abc\ndef")).unwrap_err();
        assert_eq!(refused.message(), "the token has characters that a header cannot have");
        assert!(!headers("api.example", "verify-a", None).unwrap().contains_key(AUTHORIZATION));
    }
}
