//! One filter that does everything, four plugins of one module, four modules: three ways to deploy, one behaviour.

mod support;

use std::collections::BTreeMap;

use anyhow::Result;
use careplane_exchange::SPAN_TAGS;
use careplane_integration::{EnvoyVersion, Lab, Plugins, Request, prerequisites, workspace};
use hyper::Method;
use serde_json::{Value, json};
use support::{Probe, STRANGER, Seen, TENANT, TRUSTED, USER, health::finish, observe_numbered, token};

const ARRANGEMENTS: [Plugins; 3] = [Plugins::Bundle, Plugins::SeparateFromOneModule, Plugins::PerFilterModules];

/// Requests of all kinds: allowed and refused, by careplane and by others, from outside and from the mesh.
fn requests(lab: &Lab) -> Result<Vec<(&'static str, Probe)>> {
    let own = token(lab)?;
    let of = |extra: Value| lab.identity().token(TENANT, USER, extra);
    let (outside, trusted, stranger) = (lab.gateway(), lab.sidecar(TRUSTED)?, lab.sidecar(STRANGER)?);
    let get = |path: &str| Request::get(path).bearer(&own);
    let bare = |path: &str| Request::get(path);
    let parent = |flags: &str| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
    let many = |name: &str, values: [&str; 2]| values.iter().fold(get("/elsewhere"), |r, v| r.header(name, v));
    let o = || outside.clone();
    let t = || trusted.clone();
    let s = || stranger.clone();
    Ok(vec![
        ("default context", (o(), get("/elsewhere"))),
        ("clinical", (o(), get("/api/v1/care-plans/7/goals"))),
        ("always", (o(), get("/api/v1/medications/7"))),
        ("critical", (o(), Request::post("/api/v1/medications/administer", "{}").bearer(&own))),
        ("critical, HTTP/2", (o().http2(), Request::post("/api/v1/medications/administer", "{}").bearer(&own))),
        ("spelt otherwise", (o(), get("/API//v1/%6dedications;x/"))),
        ("subject", (o(), get("/api/v1/residents/9434765919/notes?nhs=9434765919"))),
        ("another method", (o(), Request::new(Method::DELETE, "/api/v1/residents/7").bearer(&own))),
        ("an unknown method", (o(), Request::new(Method::from_bytes(b"BREW")?, "/api/v1/residents/7").bearer(&own))),
        ("HEAD", (o(), Request::new(Method::HEAD, "/api/v1/residents").bearer(&own))),
        ("flags", (o(), Request::post("/api/v1/compliance/violations", "{}").bearer(&own))),
        ("correlation kept", (o(), get("/elsewhere").header("x-correlation-id", "c-1"))),
        ("correlation replaced", (o(), get("/elsewhere").header("x-correlation-id", "not one"))),
        ("correlation with an NHS number", (o(), get("/elsewhere").header("x-correlation-id", "9434765919"))),
        ("correlation twice", (o(), many("x-correlation-id", ["c-1", "c-2"]))),
        ("correlation twice, neither good", (o(), many("x-correlation-id", ["no id", "c 2"]))),
        ("not audited", (o(), bare("/health"))),
        ("not audited, forged", (o(), bare("/health").header("x-tenant-id", "a").header("x-user-id", "b"))),
        ("not audited, refused", (o(), many("x-tenant-id", ["a", "b"]))),
        ("no tenant", (o(), bare("/api/v1/residents"))),
        ("forged by an outsider", (o(), get("/elsewhere").header("x-tenant-id", "other").header("x-user-id", "other"))),
        ("forged by an outsider, bytes", (o(), get("/elsewhere").header("x-tenant-id", b"\xff"))),
        ("forged by a stranger", (s(), get("/elsewhere").header("x-tenant-id", "other").header("x-user-id", "ann"))),
        ("said by a stranger", (s(), bare("/elsewhere").header("x-tenant-id", TENANT))),
        ("believed", (t(), bare("/elsewhere").header("x-tenant-id", "care-home-0042").header("x-user-id", "ann"))),
        ("believed, HTTP/2", (t().http2(), bare("/elsewhere").header("x-tenant-id", "care-home-0233"))),
        ("believed, empty user", (t(), bare("/elsewhere").header("x-tenant-id", TENANT).header("x-user-id", ""))),
        ("tenants disagree", (t(), get("/elsewhere").header("x-tenant-id", "care-home-0042"))),
        ("tenants disagree by path", (o(), get("/api/v1/tenants/care-home-0042/x"))),
        ("tenants agree by path", (o(), get("/api/v1/tenants/care-home-0107/x"))),
        ("users disagree", (t(), get("/elsewhere").header("x-user-id", "ann"))),
        ("users twice", (o(), many("x-user-id", ["ann", "ann"]))),
        ("malformed tenant", (t(), bare("/elsewhere").header("x-tenant-id", "a b"))),
        ("malformed tenant claim", (o(), bare("/elsewhere").bearer(&of(json!({"tenant_id": "a/b"}))?))),
        ("malformed user claim", (o(), bare("/elsewhere").bearer(&of(json!({"sub": "a\nb"}))?))),
        ("tenant as a number", (o(), bare("/elsewhere").bearer(&of(json!({"tenant_id": 42}))?))),
        ("tenant as a list", (o(), bare("/elsewhere").bearer(&of(json!({"tenant_id": ["a"]}))?))),
        ("no token where one is needed", (o(), bare("/secure"))),
        ("no token, correlation sent", (o(), bare("/secure").header("x-correlation-id", "c-1"))),
        ("no token, identity sent", (t(), bare("/secure").header("x-tenant-id", TENANT).header("x-user-id", "ann"))),
        ("a bad token", (o(), get("/elsewhere").header("authorization", "Bearer x"))),
        ("RBAC", (o(), get("/forbidden"))),
        ("RBAC, forged", (o(), get("/forbidden").header("x-tenant-id", "other"))),
        ("failing", (o(), get("/failing"))),
        ("an error of the application", (o(), get("/elsewhere").header("x-echo-status", "500"))),
        ("an upgrade", (o(), get("/elsewhere").header("connection", "upgrade").header("upgrade", "websocket"))),
        ("gRPC", (o().http2(), Request::post("/a.B/C", "").bearer(&own).header("content-type", "application/grpc"))),
        ("gRPC, refused", (o().http2(), Request::post("/a.B/C", "").header("content-type", "application/grpc"))),
        ("parent sampled", (t(), get("/elsewhere").header("traceparent", parent("01")))),
        ("parent not sampled", (t(), get("/api/v1/medications/7").header("traceparent", parent("00")))),
        (
            "our headers forged",
            (o(), get("/elsewhere").header("x-tenant-pool", "dedicated-a").header("x-compliance-level", "low")),
        ),
        ("our headers forged, no tenant", (o(), bare("/health").header("x-release-cohort", "canary"))),
    ])
}

/// What must be the same: everything but times, the chain, keys of the lab, and ids that were made up on the way.
fn comparable(seen: &Seen) -> Value {
    let answer = headers(seen.response.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
    let problem = seen.refusal().and_then(|_| seen.response.json().ok());
    let upstream = seen.upstream.as_ref().map(|up| {
        let headers = headers(up.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
        json!({"pool": up.pool, "method": up.method, "path": up.path, "headers": headers})
    });
    let tags: BTreeMap<&str, Option<&str>> = SPAN_TAGS.into_iter().map(|tag| (tag, seen.tag(tag))).collect();
    let mut record = seen.record.clone().unwrap_or_default();
    for (section, member) in [
        ("chain", None),
        ("hash", None),
        ("time", None),
        ("outcome", Some("durationMicros")),
        ("request", Some("id")),
        ("trace", Some("id")),
        ("trace", Some("spanId")),
    ] {
        let parent = if member.is_some() { record.get_mut(section) } else { Some(&mut record) };
        if let Some(members) = parent.and_then(Value::as_object_mut) {
            members.remove(member.unwrap_or(section));
        }
    }
    let mut all = json!({
        "status": seen.response.status, "answer": answer, "problem": problem, "upstream": upstream, "tags": tags,
        "span": seen.span.is_some(), "record": record,
    });
    forget_generated(&mut all);
    all
}

/// Headers in order, without those that belong to the lab; of ids is left why Envoy traces, and whether.
fn headers<'a>(all: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<(&'a str, String)> {
    let mut kept: Vec<_> = all
        .filter(|(name, _)| {
            !matches!(*name, "date" | "x-envoy-upstream-service-time" | "authorization" | "x-forwarded-client-cert")
        })
        .map(|(name, value)| (name, value.escape_ascii().to_string()))
        .map(|(name, value)| match name {
            "x-request-id" => (name, value[14..15].to_owned()),
            "traceparent" => (name, value[53..].to_owned()),
            _ => (name, value),
        })
        .collect();
    kept.sort();
    kept
}

/// Replaces correlation ids that careplane made up: they are the only UUIDs of version 7.
fn forget_generated(value: &mut Value) {
    let is_generated = |text: &str| uuid::Uuid::parse_str(text).is_ok_and(|id| id.get_version_num() == 7);
    match value {
        Value::String(text) => {
            let found = (0..text.len()).find(|start| text.get(*start..start + 36).is_some_and(is_generated));
            if let Some(start) = found {
                text.replace_range(start..start + 36, "<generated>");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(forget_generated),
        Value::Object(members) => members.values_mut().for_each(forget_generated),
        _ => {}
    }
}

/// Where two values differ, as lines of `path: one, other`.
fn differences(path: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                differences(&format!("{path}.{name}"), &one[name], &other[name], found);
            }
        }
        _ if one == other => {}
        _ => found.push(format!("{path}: {one}, not {other}")),
    }
}

struct Observed {
    requests: Vec<(String, Value)>,
    metrics: BTreeMap<String, u64>,
}

async fn run(version: EnvoyVersion, plugins: Plugins) -> Result<Observed> {
    let lab = Lab::builder().version(version).plugins(plugins).start().await?;
    let mut observed = Vec::new();
    // Kept by every tier, and by none below 100 %.
    for number in [0, 9_999] {
        let (names, probes): (Vec<_>, Vec<_>) = requests(&lab)?.into_iter().unzip();
        let seen = observe_numbered(&lab, number, probes).await?;
        observed.extend(names.iter().zip(&seen).map(|(name, seen)| (format!("{name} ({number})"), comparable(seen))));
    }
    let mut metrics = lab.envoy().stats("wasmcustom.careplane.").await?;
    // When a chain began, and which batches of late spans have been sent by now.
    metrics.retain(|name, _| !name.ends_with(".audit.chain_epoch") && !name.contains(".late_spans."));
    finish(lab).await?;
    Ok(Observed { requests: observed, metrics })
}

async fn assert_same_behaviour(version: EnvoyVersion) -> Result<()> {
    if !ARRANGEMENTS.into_iter().all(|plugins| prerequisites(version, plugins)) {
        return Ok(());
    }
    let bundle = run(version, Plugins::Bundle).await?;
    assert!(bundle.requests.len() >= 80);
    let mut found = Vec::new();
    for plugins in [Plugins::SeparateFromOneModule, Plugins::PerFilterModules] {
        let other = run(version, plugins).await?;
        for ((name, expected), (_, actual)) in bundle.requests.iter().zip(&other.requests) {
            differences(&format!("{plugins:?}: {name}"), actual, expected, &mut found);
        }
        let metrics = [&other.metrics, &bundle.metrics].map(|metrics| json!(metrics));
        differences(&format!("{plugins:?}: metric"), &metrics[0], &metrics[1], &mut found);
    }
    assert!(found.is_empty(), "{version}: {} differences from the bundle\n{}", found.len(), found.join("\n"));
    Ok(())
}

#[tokio::test]
async fn all_arrangements_of_the_filters_behave_alike_on_every_envoy() -> Result<()> {
    for version in workspace::versions() {
        assert_same_behaviour(version).await?;
    }
    Ok(())
}
