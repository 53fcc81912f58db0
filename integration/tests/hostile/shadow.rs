//! In shadow, applications, routes and callers see what they see without careplane: the whole corpus through an Envoy
//! with careplane in shadow and through the same Envoy without it, answers and arrivals held against each other.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use careplane_integration::{EnvoyVersion, Lab, Plugins, prerequisites, upstream::Received, workspace};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    Exposure, Hostile, Wire, configure, corpus, http1, http2,
    support::{SOON, STRANGER, TRUSTED, health, shadow::records_of_shadow},
};

/// One request, and what the caller got: status, headers and body. The application answers with what it got: pool,
/// method, path, headers.
struct Sight {
    name: String,
    answer: Value,
}

/// Refuses, writes and holds as much as a policy can.
fn strict(policy: &mut Value) {
    policy["enforcement"] = "shadow".into();
    policy["paths"] = json!({"ambiguous": "reject"});
    policy["tenants"]["unknown"] = "deny".into();
    policy["identity"]["user"]["sources"] =
        json!([{"claim": "sub"}, {"claim": ["realm", "user"]}, {"header": "x-user-id"}]);
    policy["headers"]["userPseudonym"] = "x-user-pseudonym".into();
    policy["audit"]["writeAhead"] = json!(["critical", "high", "standard", "low"]);
    // There is no collector to acknowledge an intent.
    policy["export"] = json!({"cluster": "failing"});
}

async fn start(version: EnvoyVersion, plugins: Plugins) -> Result<Lab> {
    let patch = |document: &mut Value| {
        configure(document, Exposure::WideOpen);
        records_of_shadow(document);
    };
    Lab::builder().version(version).plugins(plugins).policy(strict).patch(patch).start().await
}

/// Sends the corpus to the gateway, and what of it is HTTP/1 to the sidecar, as a peer that is trusted and as one that
/// is not by turns.
async fn run(lab: &Lab) -> Result<Vec<Sight>> {
    let mut sights = Vec::new();
    let peers = [("trusted", lab.sidecar(TRUSTED)?), ("a stranger", lab.sidecar(STRANGER)?)];
    for Hostile { name, wire } in corpus::all(lab.identity())? {
        let gateway = lab.gateway().address();
        let exchange = async {
            Ok::<_, anyhow::Error>(match &wire {
                Wire::Http1(bytes) => http1_answer(&http1::answer(gateway, bytes, false).await?),
                Wire::Http1Cut(bytes) => http1_answer(&http1::answer(gateway, bytes, true).await?),
                Wire::Http2(frames) => {
                    let (status, body) = http2::answer(gateway, frames).await?;
                    json!({"status": status, "body": self::body(&body)})
                }
            })
        };
        let answer =
            timeout(SOON, exchange).await.with_context(|| format!("{name}: neither an answer nor an end"))??;
        sights.push(Sight { name: format!("gateway: {name}"), answer });
        if let Wire::Http1(bytes) = &wire {
            let (who, peer) = &peers[sights.len() / 2 % 2];
            let answer = http1_answer(&peer.raw(bytes, SOON).await?);
            sights.push(Sight { name: format!("sidecar, {who}: {name}"), answer });
        }
    }
    Ok(sights)
}

fn http1_answer(bytes: &[u8]) -> Value {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(end) = end else { return json!({"bytes": bytes.escape_ascii().to_string()}) };
    let (head, rest) = (String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end + 4..]);
    // An interim answer comes before the final one.
    if head.starts_with("HTTP/1.1 100") {
        return http1_answer(rest);
    }
    let lines = head.lines().filter_map(|line| match line.split_once(": ") {
        Some(("date" | "x-envoy-upstream-service-time", _)) => None,
        Some((name, value)) => Some(header(name, value)),
        None => Some(line.into()),
    });
    json!({"head": lines.collect::<Value>(), "body": body(rest)})
}

/// The application echoes what it got, with the names and ids of this lab.
fn body(bytes: &[u8]) -> Value {
    let Ok(mut echo) = serde_json::from_slice::<Value>(bytes) else { return bytes.escape_ascii().to_string().into() };
    for pair in echo["headers"].as_array_mut().into_iter().flatten() {
        *pair = header(pair[0].as_str().unwrap_or_default(), pair[1].as_str().unwrap_or_default());
    }
    echo
}

/// A header without what belongs to one lab: keys, and random ids. Of ids that Envoy makes is left why it traces, and
/// whether.
fn header(name: &str, value: &str) -> Value {
    let value = match name {
        "authorization" | "x-forwarded-client-cert" => format!("{} bytes", value.len()),
        "x-request-id" if uuid::Uuid::parse_str(value).is_ok() && value.len() == 36 => value[14..15].to_owned(),
        "traceparent" if value.len() == 55 && value.is_ascii() => value[52..].to_owned(),
        _ => value.to_owned(),
    };
    json!([name, value])
}

/// Envoy may close before it has read all of a request that it refuses for its size; its answer is then lost or not.
fn is_cut(sight: &Sight) -> bool {
    let text = sight.answer.to_string();
    text == r#"{"bytes":""}"# || ["HTTP/1.1 431", "HTTP/1.1 413"].iter().any(|head| text.contains(head))
}

/// Whether the application answered.
fn is_echo(sight: &Sight) -> bool {
    sight.answer["body"]["pool"].is_string()
}

/// Whether careplane wrote into a request: what arrived and was cut off before it was answered is compared with nothing
/// else. No caller of the corpus knows the name of a context.
fn is_changed(received: &Received, policy: &Value) -> bool {
    let names = policy["contexts"].as_array().into_iter().flatten().chain([&policy["defaultContext"]]);
    let context = received.header("x-healthcare-context");
    context.is_some_and(|context| names.into_iter().any(|it| it["name"] == context.as_str()))
        || received.header("x-user-pseudonym").is_some()
}

async fn assert_invisible(version: EnvoyVersion, plugins: Plugins) -> Result<()> {
    if !prerequisites(version, plugins) {
        return Ok(());
    }
    let (bare, lab) = (start(version, Plugins::None).await?, start(version, plugins).await?);
    let (alone, through) = tokio::try_join!(run(&bare), run(&lab))?;
    bare.stop().await?;

    let answered = through.iter().filter(|sight| is_echo(sight)).count();
    assert!(through.len() >= 1_000 && answered >= 500, "{} hostile requests, {answered} arrived", through.len());
    let unequal: Vec<String> = alone
        .iter()
        .zip(&through)
        .filter(|(alone, through)| !(is_cut(alone) && is_cut(through)))
        .filter(|(alone, through)| alone.answer != through.answer)
        .map(|(alone, through)| format!("{}:\n  alone  {}\n  shadow {}", through.name, alone.answer, through.answer))
        .collect();
    assert!(unequal.is_empty(), "{version}, {plugins:?}: {} differ\n{}", unequal.len(), unequal.join("\n"));

    let arrived = lab.upstream().received();
    let changed = arrived.iter().find(|received| is_changed(received, lab.policy()));
    assert!(changed.is_none(), "{version}, {plugins:?}: {changed:?}");

    // It was awake all the time: it saw what it would have refused, and refused nothing.
    let stats = lab.envoy().stats("wasmcustom.careplane.").await?;
    let counted = |prefix: &str| -> BTreeMap<String, u64> {
        let named = stats.iter().filter_map(|(name, count)| Some((name.strip_prefix(prefix)?, *count)));
        named.filter(|(name, _)| name.contains('-')).map(|(name, count)| (name.to_owned(), count)).collect()
    };
    let denials = counted("wasmcustom.careplane.shadow.denials.");
    for reason in ["identity-repeated", "path-ambiguous", "tenant-missing", "tenant-malformed", "tenant-unknown"] {
        assert!(denials.contains_key(reason), "{version}, {plugins:?}: {reason} is not among {denials:?}");
    }
    assert_eq!(counted("wasmcustom.careplane.denials."), BTreeMap::new(), "{version}, {plugins:?}");
    let records = lab.audit_log().records()?;
    let denied = records.iter().filter(|record| record["decision"]["shadow"]["result"] == "denied").count();
    assert!(denied > 0 && records.iter().all(|record| record["decision"]["shadow"].is_object()));
    let is_refusal = |record: &&Value| record["decision"]["by"] == "careplane" || record["kind"] == "intent";
    assert_eq!(records.iter().find(is_refusal), None, "{version}, {plugins:?}");
    health::finish_without_chains(lab).await
}

#[tokio::test]
async fn nothing_that_a_caller_or_an_application_sees_tells_that_the_bundle_is_there_in_shadow() -> Result<()> {
    for version in workspace::versions() {
        assert_invisible(version, Plugins::Bundle).await?;
    }
    Ok(())
}

#[tokio::test]
async fn nor_do_four_plugins_in_shadow_show() -> Result<()> {
    assert_invisible(workspace::version(), Plugins::SeparateFromOneModule).await
}
