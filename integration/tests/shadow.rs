//! Policies in shadow in Envoy: nothing changes, and records, metrics and spans say what would have.

mod support;

use anyhow::{Context, Result};
use careplane_integration::{
    EnvoyVersion, Lab, Plugins, Request, lab::Builder, otlp::Span, poll::until, prerequisites, workspace,
};
use serde_json::{Value, json};
use support::{
    Probe, SOON, STRANGER, TENANT, TRUSTED, health::finish, request_id, shadow::records_of_shadow, token, versions,
    without_reason,
};

/// Where the shadow plugin stands, beside the one that enforces.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    First,
    Second,
}

/// Sends requests with ids of this random number, and returns the status, the arrivals and the records of each, with as
/// many records as `plugins`.
async fn observe(lab: &Lab, number: u16, plugins: usize, probes: Vec<Probe>) -> Result<Vec<(u16, bool, Vec<Value>)>> {
    let mut sent = Vec::new();
    for (client, request) in probes {
        let id = request_id(number);
        let response = client.send(request.header("x-request-id", &id)).await?;
        sent.push((without_reason(&id), response.status));
    }
    let is = |id: &str, other: Option<&str>| other.is_some_and(|other| without_reason(other) == id);
    let of = |records: &[Value], id: &str| -> Vec<Value> {
        records.iter().filter(|record| is(id, record["request"]["id"].as_str())).cloned().collect()
    };
    let records = until("the records", SOON, async || {
        let records = lab.audit_log().records()?;
        Ok(Some(records).filter(|records| sent.iter().all(|(id, _)| of(records, id).len() >= plugins)))
    })
    .await?;
    let received = lab.upstream().received();
    let arrived = |id: &str| received.iter().any(|one| is(id, one.header("x-request-id").as_deref()));
    Ok(sent.into_iter().map(|(id, status)| (status, arrived(&id), of(&records, &id))).collect())
}

fn in_shadow(version: EnvoyVersion, plugins: Plugins) -> Builder {
    let policy = |policy: &mut Value| {
        policy["enforcement"] = "shadow".into();
        policy["tenants"]["unknown"] = "deny".into();
    };
    Lab::builder().version(version).plugins(plugins).policy(policy).patch(records_of_shadow)
}

/// Requests, why each would be refused, and some of the headers that would change.
fn requests(lab: &Lab) -> Result<Vec<(Probe, Option<&'static str>, Value)>> {
    let (outside, trusted, stranger) = (lab.gateway(), lab.sidecar(TRUSTED)?, lab.sidecar(STRANGER)?);
    let own = token(lab)?;
    let get = |path: &str| Request::get(path).bearer(&own);
    let bare = |path: &str| Request::get(path);
    let usual = json!([
        "x-compliance-level",
        "x-correlation-id",
        "x-healthcare-context",
        "x-release-cohort",
        "x-tenant-id",
        "x-tenant-pool",
        "x-user-id"
    ]);
    Ok(vec![
        ((outside.clone(), get("/elsewhere")), None, usual),
        ((outside.clone(), bare("/api/v1/residents")), Some("tenant-missing"), Value::Null),
        ((outside.clone(), get("/api/v1/tenants/care-home-0042/x")), Some("tenant-conflict"), Value::Null),
        (
            (outside, bare("/elsewhere").header("x-tenant-id", "a").header("x-tenant-id", "b")),
            Some("identity-repeated"),
            Value::Null,
        ),
        (
            (trusted.clone(), bare("/elsewhere").header("x-tenant-id", "care-home-9999")),
            Some("tenant-unknown"),
            Value::Null,
        ),
        ((trusted, bare("/elsewhere").header("x-tenant-id", TENANT)), None, Value::Null),
        ((stranger, bare("/elsewhere").header("x-tenant-id", TENANT)), Some("tenant-missing"), Value::Null),
    ])
}

/// The record of each request in shadow, without what differs from run to run.
async fn decisions(version: EnvoyVersion, plugins: Plugins) -> Result<Vec<Value>> {
    let lab = in_shadow(version, plugins).start().await?;
    let (probes, expected): (Vec<_>, Vec<_>) =
        requests(&lab)?.into_iter().map(|(probe, reason, written)| (probe, (reason, written))).unzip();
    let mut decisions = Vec::new();
    // 9,999: only a tier of 100 % keeps it.
    for ((status, arrived, records), (reason, written)) in
        observe(&lab, 9_999, 1, probes).await?.into_iter().zip(expected)
    {
        let about = format!("{version}, {plugins:?}: {records:?}");
        assert_eq!((status, arrived, records.len()), (200, true, 1), "{about}");
        let decision = records[0]["decision"].clone();
        assert_eq!(decision["result"], "allowed", "{about}");
        assert_eq!(decision["shadow"]["reason"].as_str(), reason, "{about}");
        assert_eq!(decision["shadow"]["result"], if reason.is_some() { "denied" } else { "allowed" }, "{about}");
        if let Value::Array(mut written) = written {
            // Where Envoy has no formatter tags, the harness has the pseudonym in a header for the span.
            if !version.has_formatter_tags() {
                written.push(json!("x-user-pseudonym"));
            }
            assert_eq!(decision["shadow"]["headersWritten"], Value::Array(written), "{about}");
        }
        decisions.push(decision);
    }
    let stats = lab.envoy().stats("wasmcustom.careplane.").await?;
    let count = |name: &str| stats.get(&format!("wasmcustom.careplane.{name}")).copied().unwrap_or_default();
    assert_eq!([count("shadow.denials.tenant-missing"), count("denials.tenant-missing")], [2, 0], "{stats:?}");
    assert_eq!([count("shadow.identity_headers_removed"), count("identity_headers_removed")], [2, 0], "{stats:?}");
    finish(lab).await?;
    Ok(decisions)
}

#[tokio::test]
async fn the_record_says_what_would_have_been_in_each_arrangement() -> Result<()> {
    for version in workspace::versions() {
        if !prerequisites(version, Plugins::Bundle) {
            continue;
        }
        let bundle = decisions(version, Plugins::Bundle).await?;
        for plugins in [Plugins::SeparateFromOneModule, Plugins::PerFilterModules] {
            if prerequisites(version, plugins) {
                assert_eq!(decisions(version, plugins).await?, bundle, "{version}, {plugins:?}");
            }
        }
    }
    Ok(())
}

/// An old policy that is enforced, and a new one in shadow that lets outsiders without a tenant in and refuses unknown
/// tenants.
fn two_plugins(version: EnvoyVersion, order: Order) -> Builder {
    Lab::builder().version(version).patch(records_of_shadow).patch(move |document| {
        for listener in document["static_resources"]["listeners"].as_array_mut().expect("listeners") {
            let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
            let filters = manager["http_filters"].as_array_mut().expect("filters");
            let index = filters.iter().position(|filter| filter["name"] == "careplane").expect("careplane");
            let mut shadow = filters[index].clone();
            shadow["name"] = "careplane-next".into();
            let config = &mut shadow["typed_config"]["config"];
            config["name"] = "careplane-next".into();
            let text = config["configuration"]["value"].as_str().expect("a policy");
            let mut policy: Value = serde_json::from_str(text).expect("JSON");
            policy["enforcement"] = "shadow".into();
            policy["identity"]["tenant"]["required"] = false.into();
            policy["tenants"]["unknown"] = "deny".into();
            config["configuration"]["value"] = policy.to_string().into();
            filters.insert(if order == Order::First { index } else { index + 1 }, shadow);
        }
    })
}

#[tokio::test]
async fn a_new_policy_in_shadow_says_what_it_would_do_otherwise_than_the_one_that_is_enforced() -> Result<()> {
    for version in versions() {
        for order in [Order::First, Order::Second] {
            let lab = two_plugins(version, order).start().await?;
            let trusted = lab.sidecar(TRUSTED)?;
            let probes = vec![
                // Both let it in.
                (trusted.clone(), Request::get("/elsewhere").header("x-tenant-id", TENANT)),
                // The old policy lets it in, the new one would not.
                (trusted, Request::get("/elsewhere").header("x-tenant-id", "care-home-9999")),
                // The old policy refuses it, the new one would not.
                (lab.gateway(), Request::get("/elsewhere")),
            ];
            let seen = observe(&lab, 9_999, 2, probes).await?;
            let about = format!("{version}, {order:?}: {seen:?}");
            let statuses: Vec<_> = seen.iter().map(|(status, arrived, _)| (*status, *arrived)).collect();
            assert_eq!(statuses, [(200, true), (200, true), (403, false)], "{about}");
            let mut found = Vec::new();
            for (_, _, records) in &seen {
                let of = |is_shadow| records.iter().find(|it| it["decision"]["shadow"].is_object() == is_shadow);
                let (old, new) = of(false).zip(of(true)).with_context(|| format!("two records: {about}"))?;
                let decision = &new["decision"];
                assert_eq!(old["decision"]["result"], decision["result"], "{about}");
                // By these, a report knows that both are of one request.
                for member in ["/time", "/outcome/durationMicros", "/trace/spanId"] {
                    assert_eq!(old.pointer(member), new.pointer(member), "{about}");
                }
                assert_ne!(old["context"]["policy"], new["context"]["policy"], "{about}");
                found.push(json!([
                    decision["by"],
                    decision["reason"],
                    decision["shadow"]["result"],
                    decision["shadow"]["reason"]
                ]));
                // The tenant was sent where the old policy says.
                assert_eq!(
                    (&old["decision"]["shadow"], &new["tenant"]["pool"]),
                    (&Value::Null, &Value::Null),
                    "{about}"
                );
            }
            let refused = if order == Order::First { "allowed" } else { "none" };
            let expected = json!([
                [null, null, "allowed", null],
                [null, null, "denied", "tenant-unknown"],
                ["careplane", "tenant-missing", refused, null],
            ]);
            assert_eq!(json!(found), expected, "{about}");
            // Second, it sees what the first has written, and would write nothing else.
            let shadow = seen[0].2.iter().find(|it| it["decision"]["shadow"].is_object()).context("there is one")?;
            let written = shadow["decision"]["shadow"]["headersWritten"].as_array().map_or(0, Vec::len);
            assert_eq!(written > 0, order == Order::First, "{about}");
            // Both are links of one chain, and in one file.
            finish(lab).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_tier_keeps_by_a_late_span_what_envoy_does_not_and_envoy_is_not_asked() -> Result<()> {
    for version in versions() {
        let lab = in_shadow(version, Plugins::Bundle)
            .policy(|policy| policy["export"] = json!({"cluster": "otel"}))
            .start()
            .await?;
        let own = token(&lab)?;
        let get = |path: &str| (lab.gateway(), Request::get(path).bearer(&own));
        let probes = vec![get("/api/v1/medications/7"), get("/elsewhere"), (lab.gateway(), Request::get("/elsewhere"))];
        let seen = observe(&lab, 9_999, 1, probes).await?;
        let spans: Vec<(Option<String>, Value)> = seen
            .iter()
            .map(|(_, _, records)| (records[0]["request"]["id"].as_str().map(Into::into), records[0]["trace"].clone()))
            .collect();
        let is = |span: &Span, id: &Option<String>| span.attributes.get("guid:x-request-id") == id.as_ref();
        let kept = lab
            .otlp()
            .wait_until_spans("two late spans", SOON, |all| {
                [0, 2].iter().all(|index| all.iter().any(|span| is(span, &spans[*index].0)))
            })
            .await?;
        let tags = |index: usize| {
            let span = kept.iter().find(|span| is(span, &spans[index].0));
            span.map(|span| {
                ["late_reason", "sampling_rate", "shadow_denial_reason", "denial_reason"]
                    .map(|name| span.attributes.get(name).cloned())
            })
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(tags(0), Some([text("shadow"), text("100"), None, None]), "{version}: its tier keeps all");
        assert_eq!(tags(1), None, "{version}: its tier keeps 10 %");
        assert_eq!(tags(2), Some([text("shadow"), None, text("tenant-missing"), None]), "{version}: refusals are kept");
        let traces: Vec<_> = spans.iter().map(|(_, trace)| (&trace["reason"], &trace["sampled"])).collect();
        let expected =
            [(&json!("shadow"), &json!(false)), (&json!("tier"), &json!(false)), (&json!("shadow"), &json!(false))];
        assert_eq!(traces, expected, "{version}");
        finish(lab).await?;
    }
    Ok(())
}
