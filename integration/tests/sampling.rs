//! `sampling` in Envoy: which traces are kept, and that everyone agrees on it.

mod support;

use anyhow::Result;
use careplane_integration::{EnvoyVersion, Lab, Request, client::Load, otlp::Span};
use serde_json::{Value, json};
use support::{
    SOON, TRUSTED,
    health::finish,
    observe_numbered, observe_one, ready,
    reflect::{reflected, reflecting},
    request_id, settle_records, token, versions, without_reason,
};

/// The reason in a request id that Envoy would trace: sampled, forced, or asked for by the client.
fn is_traced(request_id: &str) -> bool {
    matches!(request_id.as_bytes().get(14), Some(b'9' | b'a' | b'b'))
}

/// Asserts that the application, the record and the spans agree, and returns whether the trace was kept.
fn kept(seen: &support::Seen, about: &str) -> bool {
    let kept = seen.span.is_some();
    if let Some(upstream) = &seen.upstream {
        let flags = upstream.header("traceparent").map(|value| value.ends_with("-01"));
        assert_eq!(flags, Some(kept), "{about}: traceparent");
        assert_eq!(is_traced(&upstream.header("x-request-id").unwrap_or_default()), kept, "{about}: x-request-id");
    }
    if let Some(record) = &seen.record {
        assert_eq!(record["trace"]["sampled"], kept, "{about}: the record");
    }
    kept
}

/// A path of each tier, and the number from which on it is not kept.
const TIERS: [(&str, u16); 5] = [
    ("/api/v1/medications/7", 10_000),
    ("/api/v1/care-plans/7", 5_000),
    ("/api/v1/assessments", 3_000),
    ("/elsewhere", 1_000),
    ("/health", 0),
];

#[tokio::test]
async fn a_trace_is_kept_if_its_number_is_below_the_rate_of_its_tier() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        for number in [0, 999, 1_000, 2_999, 3_000, 4_999, 5_000, 9_999] {
            let probes = TIERS.map(|(path, _)| (lab.gateway(), Request::get(path).bearer(&token)));
            for ((path, limit), seen) in TIERS.iter().zip(observe_numbered(&lab, number, probes).await?) {
                let about = format!("{version}: {path} with {number}");
                assert_eq!(kept(&seen, &about), number < *limit, "{about}");
                if let Some(record) = &seen.record {
                    assert_eq!(record["trace"]["reason"], "tier", "{about}");
                }
            }
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn refusals_are_kept_against_their_tier_and_not_when_the_policy_does_not_want_them() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let probe = || {
            let request = Request::get("/health").header("x-tenant-id", "a").header("x-tenant-id", "b");
            [(lab.gateway(), request), (lab.gateway(), Request::get("/elsewhere"))]
        };
        for seen in observe_numbered(&lab, 9_999, probe()).await? {
            assert!(kept(&seen, &version.to_string()), "{version}");
            assert_eq!(seen.record()["trace"]["reason"], "denied", "{version}");
            let tag = |name| version.has_formatter_tags().then(|| seen.tag(name)).flatten();
            let shown = |value| version.has_formatter_tags().then_some(value);
            assert_eq!(tag("sampling_reason"), shown("denied"), "{version}");
            // All refusals are kept: a span stands for one.
            assert_eq!(tag("sampling_rate"), shown("100"), "{version}");
            assert_eq!(tag("denial_reason"), tag("denial_reason").and(seen.record()["decision"]["reason"].as_str()));
        }
        let mut policy = lab.policy().clone();
        policy["sampling"]["late"]["denied"] = false.into();
        lab.reload(&policy).await?;
        for seen in observe_numbered(&lab, 9_999, probe()).await? {
            assert!(!kept(&seen, &version.to_string()), "{version}");
            assert_eq!(seen.record()["trace"]["reason"], "tier", "{version}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn refusals_by_others_follow_the_tier() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let probes = || [(lab.gateway(), Request::get("/forbidden").bearer(&token))];
        assert!(kept(&observe_numbered(&lab, 999, probes()).await?[0], "below"), "{version}");
        assert!(!kept(&observe_numbered(&lab, 1_000, probes()).await?[0], "above"), "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_the_hop_before_has_decided_stands() -> Result<()> {
    let trace = |flags: &str| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let (peer, outside) = (lab.sidecar(TRUSTED)?, lab.gateway());
        let token = token(&lab)?;
        // Which client, with which reason in its request id and which flags, asks for what; kept, and why.
        let rows = [
            (&peer, "9", Some("01"), "/elsewhere", true, "inherited"),
            (&peer, "a", Some("01"), "/elsewhere", true, "inherited"),
            (&peer, "9", Some("01"), "/api/v1/medications/7", true, "tier"),
            (&peer, "4", Some("00"), "/elsewhere", false, "tier"),
            // An unsampled parent cannot be overruled, and the record does not claim that it was.
            (&peer, "4", Some("00"), "/api/v1/medications/7", false, "parent"),
            // An outsider's reason counts for nothing.
            (&outside, "9", None, "/elsewhere", false, "tier"),
            (&outside, "a", None, "/elsewhere", false, "tier"),
        ];
        for (index, (client, reason, flags, path, expected, why)) in rows.into_iter().enumerate() {
            let id = format!("0000270f-0000-{reason}000-8000-{index:012x}");
            let mut request = Request::get(path).bearer(&token).header("x-request-id", &id);
            if let Some(flags) = flags {
                request = request.header("traceparent", trace(flags));
            }
            let about = format!("{version}, row {index}");
            client.send(request).await?;
            let records = lab.audit_log().wait_for(index + 1, SOON).await?;
            assert_eq!(records[index]["trace"]["sampled"], expected, "{about}: {}", records[index]["trace"]);
            assert_eq!(records[index]["trace"]["reason"], why, "{about}: {}", records[index]["trace"]);
            let onwards = lab.upstream().take()[0].header("traceparent").unwrap_or_default();
            assert_eq!(onwards.ends_with("-01"), expected, "{about}: {onwards}");
        }
        finish(lab).await?;
    }
    Ok(())
}

/// Trace parents (W3C Trace Context §3.2): one that is sampled, one that is not, and some that are none.
const TRACE_PARENTS: [&str; 9] = [
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
    "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-from-the-future",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
    "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "00-00000000000000000000000000000000-b7ad6b7169203331-01",
    "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
    "00",
    "caf\u{e9}",
];

#[tokio::test]
async fn a_record_claims_a_span_only_where_envoy_made_one() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let mut sent = Vec::new();
        for trace_parent in TRACE_PARENTS {
            let allowed = Request::get("/api/v1/medications/7").bearer(&token);
            let refused = Request::get("/api/v1/tenants/care-home-0042/x").bearer(&token);
            let by_others = Request::get("/forbidden").bearer(&token);
            for (what, request) in [("allowed", allowed), ("refused", refused), ("refused by RBAC", by_others)] {
                let id = request_id(0);
                lab.gateway().send(request.header("traceparent", trace_parent).header("x-request-id", &id)).await?;
                sent.push((format!("{what}, {trace_parent}"), without_reason(&id)));
            }
        }
        let records = settle_records(&lab).await?;
        let last = records.last().and_then(|record| record["request"]["id"].as_str()).expect("a record").to_owned();
        let has = |spans: &[Span], id: &str| {
            spans.iter().any(|span| span.attributes.get("guid:x-request-id").is_some_and(|of| without_reason(of) == id))
        };
        let last = without_reason(&last);
        let spans = lab.otlp().wait_until_spans("the last span", SOON, |spans| has(spans, &last)).await?;
        // Before 1.39 Envoy keeps what a sampled parent kept, whatever it decided at first (envoyproxy/envoy#45830):
        // there, records of refusals claim too little.
        let is_exact = version >= EnvoyVersion::new(1, 39, 0);
        let wrong: Vec<String> = sent
            .iter()
            .zip(&records)
            .map(|((about, id), record)| (about, &record["trace"], record["trace"]["sampled"] == true, has(&spans, id)))
            .filter(|(_, _, claimed, has)| if is_exact { claimed != has } else { *claimed && !has })
            .map(|(about, trace, _, has)| format!("{about}: {trace}, span: {has}"))
            .collect();
        assert!(wrong.is_empty(), "{version}:\n{}", wrong.join("\n"));
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_request_id_that_is_no_uuid_is_not_traced_and_the_record_says_so() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        for (index, id) in
            ["not-a-uuid", "00000000", "00000000-0000-4000-8000-00000000000g", "9434765919"].iter().enumerate()
        {
            let request = Request::get("/api/v1/medications/7").bearer(&token).header("x-request-id", id);
            assert_eq!(lab.gateway().send(request).await?.status, 200, "{version}: {id}");
            let record = &lab.audit_log().wait_for(index + 1, SOON).await?[index];
            assert_eq!(record["trace"]["sampled"], false, "{version}: {id}");
            assert_eq!(record["trace"]["reason"], "no-request-id", "{version}: {id}");
            assert_eq!(record["request"]["id"], Value::Null, "{version}: {id}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn outsiders_cannot_force_a_trace() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let request = Request::get("/health").header("x-envoy-force-trace", "true");
        let seen = observe_one(&lab, &lab.gateway(), request).await?;
        assert!(!kept(&seen, "forced"), "{version}");
        assert_eq!(seen.forwarded("x-envoy-force-trace"), [""; 0], "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn envoys_own_base_rate_nests_with_the_tiers() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).random_sampling(20.0).start().await?;
        let token = token(&lab)?;
        for (number, expected, why) in [(999, true, "tier"), (1_500, true, "inherited"), (2_000, false, "tier")] {
            let probes = [(lab.gateway(), Request::get("/elsewhere").bearer(&token))];
            let seen = observe_numbered(&lab, number, probes).await?;
            assert_eq!(kept(&seen[0], "base"), expected, "{version}: {number}");
            assert_eq!(seen[0].record()["trace"]["reason"], why, "{version}: {number}");
        }
        finish(lab).await?;
    }
    Ok(())
}

/// The rates whose statistics are tested, in percent.
const RATES: [u16; 5] = [100, 50, 30, 10, 0];

const REQUESTS: usize = 10_000;

#[tokio::test]
async fn of_ten_thousand_requests_each_tier_keeps_its_share_and_all_that_a_lower_tier_keeps() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let lab = reflecting(Lab::builder(), &["x-request-id"])
        .policy(|policy| {
            policy["sampling"]["tiers"] = RATES
                .iter()
                .map(|rate| (format!("tier-{rate}"), json!(rate)))
                .collect::<serde_json::Map<_, _>>()
                .into();
            policy["contexts"] = RATES
                .iter()
                .map(|rate| {
                    json!({
                        "name": format!("rate-{rate}"), "complianceLevel": "low", "tier": format!("tier-{rate}"),
                        "tenant": "optional", "audit": "none", "match": [{"path": format!("/{rate}")}],
                    })
                })
                .collect();
            policy["defaultContext"]["tier"] = "tier-0".into();
        })
        .start()
        .await?;

    let mut lower: Option<Vec<bool>> = None;
    for rate in RATES.into_iter().rev() {
        // The same ids for each tier.
        let make = move |_| Request::get(format!("/{rate}"));
        let report = lab
            .gateway()
            .load(Load::new(REQUESTS, 8), make, |answered| {
                is_traced(&answered.response.header(&reflected("x-request-id")).unwrap_or_default())
            })
            .await?;
        assert_eq!((report.statuses.get(&200), report.failures), (Some(&REQUESTS), 0), "{rate} %");
        let keeps = report.collected;
        let (share, expected) =
            (keeps.iter().filter(|kept| **kept).count() as f64 / REQUESTS as f64, f64::from(rate) / 100.0);
        let error = (expected * (1.0 - expected) / REQUESTS as f64).sqrt();
        // For 0 and 100 % the standard error is 0: exact.
        assert!((share - expected).abs() <= 4.0 * error, "{rate} %: {share} kept");
        if let Some(lower) = lower {
            assert!(
                lower.iter().zip(&keeps).all(|(lower, kept)| !lower || *kept),
                "{rate} % drops what a lower tier keeps"
            );
        }
        lower = Some(keeps);
    }
    finish(lab).await
}

#[tokio::test]
async fn what_the_record_calls_kept_has_a_span_and_nothing_else_has() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let paths = ["/api/v1/medications/7", "/api/v1/care-plans/7", "/api/v1/assessments", "/elsewhere"];
        let make = move |index: usize| Request::get(paths[index % 4]).bearer(&token);
        let gateway = lab.gateway();
        let report = gateway.load(Load::new(600, 4), make, |answered| {
            let echo = answered.response.json().unwrap_or_default();
            let headers = echo["headers"].as_array().cloned().unwrap_or_default();
            headers.iter().any(|pair| pair[0] == "traceparent" && pair[1].as_str().is_some_and(|v| v.ends_with("-01")))
        });
        let sampled = report.await?.collected.into_iter().filter(|sampled| *sampled).count();
        let records = lab.audit_log().wait_for(600, SOON).await?;
        let mut recorded: Vec<&str> = records
            .iter()
            .filter(|record| record["trace"]["sampled"] == true)
            .filter_map(|record| record["trace"]["id"].as_str())
            .collect();
        assert_eq!(recorded.len(), sampled, "{version}: records and traceparents");
        let spans = lab.otlp().wait_for_spans(sampled, SOON).await?;
        let mut traces: Vec<&str> = spans.iter().map(|span| span.trace_id.as_str()).collect();
        recorded.sort_unstable();
        traces.sort_unstable();
        assert_eq!(recorded, traces, "{version}: records and spans");
        finish(lab).await?;
    }
    Ok(())
}

/// UUIDs as version 7 has them, of one moment: the first twelve digits are its milliseconds.
fn uuid_v7(serial: u64) -> String {
    let mut hash = serial.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^= hash >> 29;
    format!("019b7ca9-8f2e-7{:03x}-8{:03x}-{:012x}", serial % 4096, (hash >> 48) % 4096, hash % (1 << 48))
}

#[tokio::test]
async fn request_ids_that_begin_with_the_time_are_kept_by_their_tier_and_at_each_hop_alike() -> Result<()> {
    const SENT: u64 = 300;
    for version in versions() {
        let lab = Lab::builder()
            .version(version)
            .patch(|document| {
                for listener in document["static_resources"]["listeners"].as_array_mut().expect("listeners") {
                    listener["filter_chains"][0]["filters"][0]["typed_config"]["preserve_external_request_id"] =
                        true.into();
                }
            })
            .start()
            .await?;
        let (token, sidecar) = (token(&lab)?, lab.sidecar(TRUSTED)?);
        let mut lower: Option<Vec<bool>> = None;
        for (path, below) in TIERS.into_iter().rev() {
            let mut kept = Vec::new();
            for serial in 0..SENT {
                // What the first hop has written into the id changes nothing for the second.
                let mut id = uuid_v7(serial);
                let response =
                    lab.gateway().send(Request::get(path).bearer(&token).header("x-request-id", &id)).await?;
                assert_eq!(response.status, 200, "{version}: {path}");
                let received = lab.upstream().take();
                let first = received.last().and_then(|one| one.header("x-request-id")).unwrap_or_default();
                id.replace_range(14..15, "4");
                let peer = Request::get(path).header("x-tenant-id", support::TENANT).header("x-request-id", &id);
                sidecar.send(peer).await?;
                let received = lab.upstream().take();
                let second = received.last().and_then(|one| one.header("x-request-id")).unwrap_or_default();
                assert_eq!(is_traced(&first), is_traced(&second), "{version}: {path} {id}");
                kept.push(is_traced(&first));
            }
            let share = kept.iter().filter(|kept| **kept).count() as f64 / SENT as f64;
            let expected = f64::from(below) / 10_000.0;
            let error = (expected * (1.0 - expected) / SENT as f64).sqrt();
            assert!((share - expected).abs() <= 4.0 * error, "{version}: {path} keeps {share}, not {expected}");
            if let Some(lower) = lower {
                assert!(
                    lower.iter().zip(&kept).all(|(lower, kept)| !lower || *kept),
                    "{version}: {path} does not nest"
                );
            }
            lower = Some(kept);
        }
        finish(lab).await?;
    }
    Ok(())
}
