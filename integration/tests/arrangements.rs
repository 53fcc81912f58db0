//! One filter that does everything, four plugins of one module, four modules: three ways to deploy, one behaviour.

mod support;

use std::collections::BTreeMap;

use anyhow::Result;
use careplane_exchange::SPAN_TAGS;
use careplane_integration::{EnvoyVersion, Lab, Plugins, Request, otlp::Span, prerequisites, workspace};
use hyper::Method;
use serde_json::{Value, json};
use support::{
    Probe, SOON, STRANGER, Seen, TENANT, TRUSTED, USER, health::finish, observe_numbered, request_id, token,
    without_reason,
};

const ARRANGEMENTS: [Plugins; 3] = [Plugins::Bundle, Plugins::SeparateFromOneModule, Plugins::PerFilterModules];

/// People who may act beyond their own tenant: inspectors of a jurisdiction, managers of a group, nurses in an
/// emergency.
fn grants(policy: &mut Value) {
    policy["identity"]["purpose"] = json!({"sources": [{"header": "x-purpose-of-use"}]});
    policy["identity"]["grants"] = json!([
        {
            "name": "inspector", "when": {"claim": "roles", "contains": "inspector"}, "actions": ["read"],
            "tenants": {"jurisdiction": {"claim": "jurisdiction"}}, "flags": ["inspection"],
        },
        {
            "name": "manager", "when": {"claim": "roles", "contains": "manager"},
            "tenants": {"group": {"claim": "groups"}}
        },
        {
            "name": "emergency", "when": {"claim": "roles", "contains": "nurse"}, "tenants": "any",
            "requires": {"purpose": ["BTG"]}, "atMost": {"perUser": 3, "within": "1h"},
        },
    ]);
    policy["tenants"]["entries"][OTHER] = json!({"pool": "dedicated-a", "jurisdiction": "scotland", "group": "north"});
}

/// A tenant that is not the callers' own.
const OTHER: &str = "care-home-0042";

/// Requests under these grants.
fn granted(lab: &Lab) -> Result<Vec<(&'static str, Probe)>> {
    let own = |user, claims: Value| lab.identity().token(TENANT, user, claims);
    let inspector = lab.identity().token(
        "",
        USER,
        json!({
            "tenant_id": null, "roles": ["inspector"], "jurisdiction": ["scotland", "wales"],
        }),
    )?;
    let manager = own(USER, json!({"roles": ["manager"], "groups": ["north"]}))?;
    let stranger = own(USER, json!({"roles": ["manager"], "groups": ["south"]}))?;
    let nurse = own("nurse-9", json!({"roles": ["nurse"]}))?;
    let staff = format!("/api/v1/tenants/{OTHER}/staff");
    let of = |request: Request, token: &str| (lab.gateway(), request.bearer(token));
    let glass = |token: &str| of(Request::get(&staff).header("x-purpose-of-use", "BTG"), token);
    Ok(vec![
        ("an inspector reads", of(Request::get(&staff), &inspector)),
        ("an inspector writes", of(Request::post(&staff, "{}"), &inspector)),
        ("an inspector of nowhere", of(Request::get("/api/v1/tenants/care-home-0001/staff"), &inspector)),
        ("a manager of the group", of(Request::get(&staff), &manager)),
        ("a manager of another", of(Request::get(&staff), &stranger)),
        ("an emergency", glass(&nurse)),
        ("an emergency without a purpose", of(Request::get(&staff), &nurse)),
        ("no emergency at home", of(Request::get("/api/v1/residents/7").header("x-purpose-of-use", "BTG"), &nurse)),
        ("a purpose that is none", of(Request::get(&staff).header("x-purpose-of-use", "Zz9"), &nurse)),
        ("an emergency once more", glass(&nurse)),
        ("an emergency too often", glass(&nurse)),
    ])
}

/// A header of a name of its own selects the tenant, of several or under a grant.
fn selecting(policy: &mut Value) {
    grants(policy);
    policy["identity"]["tenant"]["sources"] = json!([{"claim": "tenant_id"}, {"header": "x-home"}]);
}

/// Requests that select, and that do not.
fn selections(lab: &Lab) -> Result<Vec<(&'static str, Probe)>> {
    let agency = lab.identity().token("", USER, json!({"tenant_id": [TENANT, OTHER]}))?;
    let nurse = lab.identity().token(TENANT, "nurse-9", json!({"roles": ["nurse"]}))?;
    let get = |token: &str| Request::get("/elsewhere").bearer(token);
    let of = |request: Request| (lab.gateway(), request);
    Ok(vec![
        ("one of a list", of(get(&agency).header("x-home", OTHER))),
        ("none of a list", of(get(&agency))),
        ("another than those of a list", of(get(&agency).header("x-home", "care-home-0001"))),
        ("under a grant", of(get(&nurse).header("x-home", OTHER).header("x-purpose-of-use", "BTG"))),
        ("beyond a grant", of(get(&nurse).header("x-home", OTHER))),
        ("the own one", of(get(&nurse).header("x-home", TENANT))),
    ])
}

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

type Probes = fn(&Lab) -> Result<Vec<(&'static str, Probe)>>;

async fn run(version: EnvoyVersion, plugins: Plugins, policy: fn(&mut Value), probes: Probes) -> Result<Observed> {
    let lab = Lab::builder().version(version).plugins(plugins).policy(policy).start().await?;
    let mut observed = Vec::new();
    // Kept by every tier, and by none below 100 %.
    for number in [0, 9_999] {
        let (names, probes): (Vec<_>, Vec<_>) = probes(&lab)?.into_iter().unzip();
        let seen = observe_numbered(&lab, number, probes).await?;
        observed.extend(names.iter().zip(&seen).map(|(name, seen)| (format!("{name} ({number})"), comparable(seen))));
    }
    let mut metrics = lab.envoy().stats("wasmcustom.careplane.").await?;
    // When a chain began, and which batches of late spans have been sent by now.
    metrics.retain(|name, _| !name.ends_with(".audit.chain_epoch") && !name.contains(".late_spans."));
    finish(lab).await?;
    Ok(Observed { requests: observed, metrics })
}

/// Returns what was observed of the bundle, or nothing when an arrangement cannot run.
async fn assert_same_behaviour(
    version: EnvoyVersion,
    policy: fn(&mut Value),
    probes: Probes,
) -> Result<Option<Observed>> {
    if !ARRANGEMENTS.into_iter().all(|plugins| prerequisites(version, plugins)) {
        return Ok(None);
    }
    let bundle = run(version, Plugins::Bundle, policy, probes).await?;
    let mut found = Vec::new();
    for plugins in [Plugins::SeparateFromOneModule, Plugins::PerFilterModules] {
        let other = run(version, plugins, policy, probes).await?;
        for ((name, expected), (_, actual)) in bundle.requests.iter().zip(&other.requests) {
            differences(&format!("{plugins:?}: {name}"), actual, expected, &mut found);
        }
        let metrics = [&other.metrics, &bundle.metrics].map(|metrics| json!(metrics));
        differences(&format!("{plugins:?}: metric"), &metrics[0], &metrics[1], &mut found);
    }
    assert!(found.is_empty(), "{version}: {} differences from the bundle\n{}", found.len(), found.join("\n"));
    Ok(Some(bundle))
}

#[tokio::test]
async fn all_arrangements_of_the_filters_behave_alike_on_every_envoy() -> Result<()> {
    let probes = |lab: &Lab| Ok(requests(lab)?.into_iter().chain(granted(lab)?).collect());
    for version in workspace::versions() {
        let Some(bundle) = assert_same_behaviour(version, grants, probes).await? else { continue };
        assert!(bundle.requests.len() >= 100);
        let limited = bundle.requests.iter().filter(|(_, seen)| seen["record"]["decision"]["reason"] == "grant-limit");
        assert_eq!(limited.count(), 3, "{version}: of six emergencies, three are too many");
    }
    Ok(())
}

/// What one plugin has written or removed is what the next one reads.
#[tokio::test]
async fn every_plugin_acts_for_the_tenant_that_a_header_selected() -> Result<()> {
    for version in workspace::versions() {
        let Some(bundle) = assert_same_behaviour(version, selecting, selections).await? else { continue };
        let tenants: Vec<_> = bundle.requests.iter().take(6).map(|(_, seen)| &seen["tags"]["tenant_id"]).collect();
        assert_eq!(tenants, [OTHER, "unknown", "unknown", OTHER, TENANT, TENANT], "{version}");
    }
    Ok(())
}

/// What late spans say, by the name of the request; without its id and the correlation ids that careplane makes.
async fn late_spans(version: EnvoyVersion, plugins: Plugins) -> Result<BTreeMap<&'static str, Value>> {
    let lab = Lab::builder()
        .version(version)
        .plugins(plugins)
        .policy(|policy| {
            for (_, rate) in policy["sampling"]["tiers"].as_object_mut().expect("tiers") {
                *rate = json!(0);
            }
            policy["export"] = json!({"cluster": "otel", "batch": {"interval": "100ms"}});
        })
        .start()
        .await?;
    let own = token(&lab)?;
    let get = |path: &str| Request::get(path).bearer(&own).header("x-correlation-id", "c-1");
    let mut sent = BTreeMap::new();
    for (name, request) in [
        ("RBAC", get("/forbidden").header("x-tenant-id", "forged")),
        ("no token", Request::get("/secure").header("x-user-id", "forged")),
        ("failed", get("/api/v1/residents/9434765919").header("x-echo-status", "500")),
        ("unreachable", get("/failing")),
        ("good", get("/elsewhere")),
    ] {
        let id = request_id(9_999);
        lab.gateway().send(request.header("x-request-id", &id)).await?;
        sent.insert(without_reason(&id), name);
    }
    let is_late = |span: &&Span| span.attributes.contains_key("late_reason");
    let spans = lab.otlp().wait_until_spans("late spans", SOON, |all| all.iter().filter(is_late).count() >= 4).await?;
    let mut found = BTreeMap::new();
    for span in spans.iter().filter(is_late) {
        let mut attributes = span.attributes.clone();
        let id = attributes.remove("guid:x-request-id").unwrap_or_default();
        let name = sent[&without_reason(&id)];
        let mut attributes = json!(attributes);
        forget_generated(&mut attributes);
        assert_eq!(found.insert(name, attributes), None, "{version}, {plugins:?}: two late spans of {name}");
    }
    lab.stop().await?;
    Ok(found)
}

/// At the end of a stream its headers are gone: a filter alone has to have asked before.
#[tokio::test]
async fn late_spans_say_the_same_in_each_arrangement() -> Result<()> {
    for version in workspace::versions() {
        if !ARRANGEMENTS.into_iter().all(|plugins| prerequisites(version, plugins)) {
            continue;
        }
        let bundle = late_spans(version, Plugins::Bundle).await?;
        assert_eq!(bundle.keys().collect::<Vec<_>>(), [&"RBAC", &"failed", &"no token", &"unreachable"], "{version}");
        for name in ["failed", "unreachable"] {
            let tags = ["tenant_id", "correlation_id"].map(|tag| &bundle[name][tag]);
            assert_eq!(tags, [TENANT, "c-1"], "{version}: {name}: {}", bundle[name]);
        }
        for plugins in [Plugins::SeparateFromOneModule, Plugins::PerFilterModules] {
            let mut found = Vec::new();
            differences("late", &json!(late_spans(version, plugins).await?), &json!(bundle), &mut found);
            assert!(found.is_empty(), "{version}: {plugins:?}\n{}", found.join("\n"));
        }
    }
    Ok(())
}
