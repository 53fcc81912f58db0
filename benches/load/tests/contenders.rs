//! The contenders do the same visible work, as far as they can. A comparison with one that does less says nothing.

use std::time::Duration;

use anyhow::{Context, Result};
use careplane_integration::{Client, Otlp, Plugins, Request, Upstream, poll::until, prerequisites};
use careplane_load::{
    calls,
    contender::{self, Contender, EMPTY, Places, ROUTER},
    running::{ENVOY, Running, nowhere},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const SOON: Duration = Duration::from_secs(20);
/// A block of SHA-256 and some more.
const REQUESTS: usize = 70;
const TAGS: [&str; 5] = ["tenant_id", "user_id", "correlation_id", "healthcare_context", "compliance_level"];

/// What one request shows of a contender's work.
#[derive(Debug, PartialEq, Eq)]
struct Visible {
    /// Headers that the upstream got.
    forwarded: Vec<&'static str>,
    /// Whether the caller gets the correlation id.
    echoed: bool,
    /// Tags of the span.
    tags: Vec<&'static str>,
    /// Whether the access log has a line about the tenant.
    recorded: bool,
}

#[tokio::test]
async fn every_contender_does_the_visible_work() -> Result<()> {
    if !prerequisites(ENVOY, Plugins::Bundle) {
        return Ok(());
    }
    contender::build_empty()?;
    let headers =
        ["x-tenant-id", "x-user-id", "x-correlation-id", "x-healthcare-context", "x-compliance-level", "x-tenant-pool"];
    for contender in contender::all() {
        // The filters alone do parts of it, and `vanilla` is the bundle.
        let expected = match contender.name {
            ROUTER | EMPTY => Visible { forwarded: vec![], echoed: false, tags: vec![], recorded: false },
            "native"
            | contender::LUA
            | contender::LUA_EVIDENCE
            | contender::EXT_PROC
            | contender::BUNDLE
            | contender::FOUR => {
                Visible { forwarded: headers.to_vec(), echoed: true, tags: TAGS.to_vec(), recorded: true }
            }
            _ => continue,
        };
        let name = contender.name;
        assert_eq!(look(contender, &headers).await.context(name)?, expected, "{name}");
    }
    Ok(())
}

/// What is called the same evidence is: `verify` finds the chain whole, and the pseudonym is the one that careplane
/// makes.
#[tokio::test]
async fn lua_writes_the_same_evidence() -> Result<()> {
    if !prerequisites(ENVOY, Plugins::Bundle) {
        return Ok(());
    }
    let upstream = Upstream::start(["upstream"]).await?;
    let mut users = Vec::new();
    for name in [contender::LUA_EVIDENCE, contender::BUNDLE] {
        let contender = contender::all().into_iter().find(|contender| contender.name == name).context(name)?;
        let directory = tempfile::tempdir()?;
        let log = directory.path().join("record.jsonl");
        let places = Places {
            upstream: Some(upstream.address("upstream")?),
            collector: nowhere(),
            ext_proc: nowhere(),
            log: log.clone(),
        };
        let running = Running::start(contender, &places).await?;
        let client = Client::plain(running.proxy.address());
        for length in 0..REQUESTS {
            // Records of every length modulo a block of SHA-256.
            let path = Request::get("/api/v1/residents").header("x-correlation-id", "c".repeat(1 + length));
            assert_eq!(client.send(path).await?.status, 200);
        }
        let records: Vec<Value> = until("the records", SOON, async || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            Ok((lines.len() == REQUESTS && text.ends_with('\n')).then_some(lines))
        })
        .await?
        .iter()
        .enumerate()
        .map(|(index, line)| {
            let record: Value = serde_json::from_str(line)?;
            let own = record["hash"].as_str().context("no hash")?.to_owned();
            let hashed = [b"\0", line.replacen(&format!(r#","hash":"{own}""#), "", 1).as_bytes()].concat();
            let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(&hashed));
            assert_eq!(own, hash, "{name}: {line}");
            assert_eq!(record["chain"]["seq"], index + 1, "{name}");
            assert_eq!(serde_json::to_string(&record)?, line.as_str(), "{name}: not canonical");
            Ok(record)
        })
        .collect::<Result<_>>()?;
        let linked = records.windows(2).all(|pair| pair[1]["chain"]["prev"] == pair[0]["hash"]);
        assert!(linked, "{name}: a broken link");
        users.push(records[0]["who"]["user"].clone());
    }
    assert_eq!(users[0], users[1]);
    Ok(())
}

#[tokio::test]
async fn every_call_that_is_priced_is_made() -> Result<()> {
    if !prerequisites(ENVOY, Plugins::Bundle) {
        return Ok(());
    }
    let upstream = Upstream::start(["upstream"]).await?;
    let address = upstream.address("upstream")?;
    let log = "/dev/null".into();
    let places = Places { upstream: Some(address), collector: nowhere(), ext_proc: nowhere(), log };
    for call in calls::ALL {
        let running = Running::start(Contender::of_module(call.name, call.about, call.build()?), &places).await?;
        // A module whose call fails ends there, and the request with it.
        let response = Client::plain(running.proxy.address()).send(Request::get("/")).await?;
        assert_eq!(response.status, 200, "{}: {}", call.name, call.about);
    }
    Ok(())
}

async fn look(contender: Contender, headers: &[&'static str]) -> Result<Visible> {
    let (upstream, collector) = (Upstream::start(["upstream"]).await?, Otlp::start().await?);
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("record.jsonl");
    let places = Places {
        upstream: Some(upstream.address("upstream")?),
        collector: collector.address(),
        ext_proc: nowhere(),
        log: log.clone(),
    };
    let logs = contender.name != ROUTER && contender.name != EMPTY;
    let running = Running::start_with(contender, &places, |bootstrap| {
        let manager =
            &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        manager["tracing"]["random_sampling"]["value"] = json!(100);
    })
    .await?;
    let client = Client::plain(running.proxy.address());
    let response = client.send(Request::get("/api/v1/residents/1732/notes")).await?;
    assert_eq!(response.status, 200);

    let received = upstream.wait_for(1, SOON).await?;
    let spans = collector.wait_until_spans("the span", SOON, |spans| !spans.is_empty()).await?;
    let record = if logs {
        until("the record", SOON, async || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            Ok(text.lines().next().and_then(|line| serde_json::from_str::<Value>(line).ok()))
        })
        .await?
    } else {
        Value::Null
    };
    let good = |name: &str, value: &str| match name {
        "x-tenant-id" | "tenant_id" => value == "care-home-0107",
        "x-healthcare-context" | "healthcare_context" => value == "resident",
        "x-compliance-level" | "compliance_level" => value == "high",
        "x-tenant-pool" => value.starts_with("pool-"),
        _ => !value.is_empty(),
    };
    Ok(Visible {
        forwarded: headers
            .iter()
            .copied()
            .filter(|name| received[0].header(name).is_some_and(|value| good(name, &value)))
            .collect(),
        echoed: response.header("x-correlation-id").is_some(),
        tags: TAGS
            .into_iter()
            .filter(|name| spans[0].attributes.get(*name).is_some_and(|value| good(name, value)))
            .collect(),
        recorded: record["tenant"]["id"] == "care-home-0107" && record["context"]["name"] == "resident",
    })
}
