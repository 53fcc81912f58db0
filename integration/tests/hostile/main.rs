//! Nothing that a caller can send ends a VM, fails a request that Envoy alone would have served, or leaves a hole in
//! the audit trail: hundreds of requests that no well-meaning client sends, through every arrangement of the filters.

mod bulk;
mod corpus;
mod framing;
mod http1;
mod http2;
mod shadow;
mod tokens;

#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use anyhow::{Context, Result};
use careplane_integration::{
    EnvoyVersion, Lab, Plugins, Request,
    audit_log::verify_chains,
    health::{CREATED, complaints},
    prerequisites, workspace,
};
use serde_json::{Value, json};
use support::{SOON, TENANT, health, token, versions};
use tokio::time::timeout;

/// A hostile request, as the bytes that are sent.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// What is hostile about it.
    pub name: String,
    /// The bytes.
    pub wire: Wire,
}

/// What goes over a connection of its own.
#[derive(Clone, Debug)]
pub enum Wire {
    /// HTTP/1: the bytes.
    Http1(Vec<u8>),
    /// HTTP/1 bytes after which the caller has no more to say: half a request, or one and a half.
    Http1Cut(Vec<u8>),
    /// HTTP/2: frames after the preface and the settings. The answer is awaited on stream 1.
    Http2(Vec<u8>),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With this status, from Envoy or from upstream.
    Status(u16),
    /// Refused by careplane.
    Refused(u16),
    /// With a reset or a closed connection, and no answer.
    Closed,
}

/// Limits on headers, and whose identity headers are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exposure {
    /// Envoy's default limits and the policy as deployed.
    AsDeployed,
    /// Megabytes of headers reach the filters, which believe every caller.
    WideOpen,
}

async fn send(address: SocketAddr, hostile: &Hostile) -> Result<End> {
    let exchange = async {
        match &hostile.wire {
            Wire::Http1(bytes) => http1::exchange(address, bytes, false).await,
            Wire::Http1Cut(bytes) => http1::exchange(address, bytes, true).await,
            Wire::Http2(frames) => http2::exchange(address, frames).await,
        }
    };
    timeout(SOON, exchange).await.with_context(|| format!("{}: neither an answer nor an end", hostile.name))?
}

fn open(policy: &mut Value) {
    policy["identity"]["trustedPeers"] = "any".into();
    policy["identity"]["tenant"]["required"] = false.into();
    policy["identity"]["user"]["sources"] =
        json!([{"claim": "sub"}, {"claim": ["realm", "user"]}, {"header": "x-user-id"}]);
}

fn configure(document: &mut Value, exposure: Exposure) {
    for listener in document["static_resources"]["listeners"].as_array_mut().expect("listeners") {
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        // Where what no upstream would take is answered by Envoy itself.
        let direct = json!({"match": {"prefix": "/direct"}, "direct_response": {"status": 200}});
        manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().expect("routes").insert(0, direct);
        // A connection that Envoy gives up is closed soon, and not after a second.
        manager["delayed_close_timeout"] = "0.02s".into();
        if exposure == Exposure::WideOpen {
            manager["max_request_headers_kb"] = 8192.into();
            manager["common_http_protocol_options"]["max_headers_count"] = 50_000.into();
        }
    }
}

async fn start(version: EnvoyVersion, plugins: Plugins, exposure: Exposure) -> Result<Lab> {
    let builder = Lab::builder().version(version).plugins(plugins).patch(move |document| configure(document, exposure));
    match exposure {
        Exposure::AsDeployed => builder.start().await,
        Exposure::WideOpen => builder.policy(open).start().await,
    }
}

/// Sends the whole corpus, and returns how each request ended.
async fn run(lab: &Lab) -> Result<Vec<(String, End)>> {
    let mut ends = Vec::new();
    for hostile in corpus::all(lab.identity())? {
        let end = send(lab.gateway().address(), &hostile).await?;
        ends.push((hostile.name, end));
    }
    Ok(ends)
}

/// Envoy may close before it has read all of a request that it refuses for its size; its answer is then lost or not.
fn same(one: &End, other: &End) -> bool {
    let cut = |end: &End| matches!(end, End::Closed | End::Status(431 | 413));
    one == other || (cut(one) && cut(other))
}

/// Whether careplane has a reason to refuse. Where every caller is believed and no tenant is needed, that is an
/// identity which cannot be one.
fn may_be_refused(exposure: Exposure, name: &str, end: &End) -> bool {
    const IDENTITY: [&str; 9] = [
        "x-tenant-id",
        "x-user-id",
        "tenant_id",
        "sub ",
        "realm",
        "/tenants/",
        "a thousand tenants",
        "without end",
        "a folded header",
    ];
    match end {
        End::Refused(400) => IDENTITY.iter().any(|word| name.contains(word)),
        End::Refused(403) => exposure == Exposure::AsDeployed,
        _ => false,
    }
}

async fn assert_harmless(version: EnvoyVersion, plugins: Plugins, exposure: Exposure) -> Result<()> {
    if !prerequisites(version, plugins) {
        return Ok(());
    }
    let bare = start(version, Plugins::None, exposure).await?;
    let alone = run(&bare).await?;
    bare.stop().await?;

    let lab = start(version, plugins, exposure).await?;
    let token = token(&lab)?;
    let serve = async || {
        let response = lab.gateway().send(Request::get("/elsewhere").bearer(&token)).await?;
        let echo = response.json()?;
        let tenant = echo["headers"].as_array().is_some_and(|all| all.contains(&json!(["x-tenant-id", TENANT])));
        anyhow::ensure!(response.status == 200 && tenant, "it does not serve: {echo}");
        Ok(())
    };
    serve().await?;
    let created = lab.envoy().stat(CREATED).await?;
    let through = run(&lab).await?;
    assert!(through.len() >= 300, "only {} hostile requests", through.len());

    let unequal: Vec<String> = alone
        .iter()
        .zip(&through)
        .filter(|((_, alone), (name, through))| !same(alone, through) && !may_be_refused(exposure, name, through))
        .map(|((name, alone), (_, through))| format!("{name}: {through:?}, but Envoy alone: {alone:?}"))
        .collect();
    assert!(unequal.is_empty(), "{version}, {plugins:?}, {exposure:?}: requests fail\n{}", unequal.join("\n"));

    assert_eq!(lab.envoy().stat(CREATED).await?, created, "{version}, {plugins:?}: a VM was made again");
    serve().await?;
    support::settle_records(&lab).await?;
    assert_complete(&lab, version, &format!("{version}, {plugins:?}, {exposure:?}")).await?;
    health::finish(lab).await
}

fn is_uuid(id: &str) -> bool {
    // What `uuid` reads beyond that (braces, URNs, no dashes) neither Envoy nor careplane does.
    id.len() == 36 && uuid::Uuid::parse_str(id).is_ok()
}

/// Whatever reached careplane is counted, and recorded if it is to be.
async fn assert_complete(lab: &Lab, version: EnvoyVersion, about: &str) -> Result<()> {
    let records = lab.audit_log().records()?;
    verify_chains(&records).with_context(|| about.to_owned())?;
    let stats = lab.envoy().stats("wasmcustom.careplane.").await?;
    let judged: BTreeMap<&str, u64> = stats
        .iter()
        .filter_map(|(name, count)| Some((name.strip_prefix("wasmcustom.careplane.requests.")?, *count)))
        .collect();
    // Allowed and not audited: the one context that says so.
    let unaudited = judged.get("health-check.allowed").copied().unwrap_or_default();
    let total: u64 = judged.values().sum();
    assert_eq!(records.len() as u64, total - unaudited, "{about}: {judged:?}");
    // What reached the application has a record, and so has each refusal.
    let ids: BTreeSet<&str> = records.iter().filter_map(|record| record["request"]["id"].as_str()).collect();
    let unrecorded = lab.upstream().received().into_iter().filter_map(|received| received.header("x-request-id"));
    let unrecorded: Vec<String> = unrecorded.filter(|id| is_uuid(id) && !ids.contains(id.as_str())).collect();
    assert!(unrecorded.is_empty(), "{about}: {unrecorded:?} reached the application without a record");
    let refused = records.iter().filter(|record| record["decision"]["by"] == "careplane").count();
    let counted = stats.iter().filter(|(name, _)| name.contains(".denials.")).filter(|(name, _)| name.contains('-'));
    assert_eq!(refused as u64, counted.map(|(_, count)| count).sum::<u64>(), "{about}");
    // No caller spoils the spans of others: a collector refuses a whole batch for one text that is not UTF-8. (Envoy
    // 1.36 lets the bytes of an HTTP/2 `:scheme` into its own tag `http.url`; no filter can help that.)
    let spoilt: Vec<_> = lab.otlp().exports().into_iter().filter_map(|export| export.error).collect();
    assert!(spoilt.is_empty() || version < EnvoyVersion::V1_40_0, "{about}: {spoilt:?}");
    Ok(())
}

#[tokio::test]
async fn the_bundle_survives_everything() -> Result<()> {
    for version in workspace::versions() {
        assert_harmless(version, Plugins::Bundle, Exposure::WideOpen).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_bundle_survives_everything_as_deployed() -> Result<()> {
    for version in workspace::versions() {
        assert_harmless(version, Plugins::Bundle, Exposure::AsDeployed).await?;
    }
    Ok(())
}

#[tokio::test]
async fn four_plugins_of_one_module_survive_everything() -> Result<()> {
    assert_harmless(EnvoyVersion::V1_40_0, Plugins::SeparateFromOneModule, Exposure::WideOpen).await
}

#[tokio::test]
async fn four_modules_survive_everything() -> Result<()> {
    assert_harmless(EnvoyVersion::V1_40_0, Plugins::PerFilterModules, Exposure::WideOpen).await
}

#[tokio::test]
async fn a_claim_that_is_null_is_no_failure_of_the_proxy() -> Result<()> {
    for version in versions() {
        let lab = start(version, Plugins::Bundle, Exposure::WideOpen).await?;
        for hostile in tokens::nulls(lab.identity())? {
            let end = send(lab.gateway().address(), &hostile).await?;
            assert!(matches!(end, End::Status(200) | End::Refused(400)), "{version}: {}: {end:?}", hostile.name);
            let complaints = complaints(lab.envoy()).await?;
            assert!(complaints.is_empty(), "{version}: {}:\n{}", hostile.name, complaints.join("\n"));
        }
        health::finish(lab).await?;
    }
    Ok(())
}
