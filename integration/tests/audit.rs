//! `audit` in Envoy: one record for each request, however it ended.

mod support;

use std::{collections::BTreeSet, io::Write};

use anyhow::{Context, Result};
use careplane_integration::{
    AuditLog, Lab, Request, audit_log::verify_chains, client::Load, health::complaints, poll::until,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use support::{SOON, STRANGER, TENANT, TRUSTED, health::finish, observe, observe_one, settle, token, versions};

/// A request, its status, who refused it and why, and the details and flags that Envoy adds.
type Row = (Request, u16, Option<(&'static str, &'static str)>, &'static str, Value);

#[tokio::test]
async fn a_request_has_a_record_whoever_refused_it_or_answered_it() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let expired = lab.identity().token(TENANT, "ann", json!({"exp": 1}))?;
        let get = |path: &str| Request::get(path).bearer(&token);
        let rows: [Row; 12] = [
            (get("/elsewhere"), 200, None, "via_upstream", json!(null)),
            (get("/elsewhere").header("x-echo-status", "418"), 418, None, "via_upstream", json!(null)),
            (get("/elsewhere").header("x-echo-status", "500"), 500, None, "via_upstream", json!(null)),
            (
                Request::get("/elsewhere"),
                403,
                Some(("careplane", "tenant-missing")),
                "careplane{tenant-missing}",
                json!(null),
            ),
            (
                Request::get("/secure"),
                401,
                Some(("jwt_authn", "jwt_authn_access_denied{Jwt_is_missing}")),
                "jwt_authn_access_denied{Jwt_is_missing}",
                json!(null),
            ),
            (
                Request::get("/health").bearer(&expired),
                401,
                Some(("jwt_authn", "jwt_authn_access_denied{Jwt_is_expired}")),
                "jwt_authn_access_denied{Jwt_is_expired}",
                json!(null),
            ),
            (
                get("/forbidden"),
                403,
                Some(("rbac", "rbac_access_denied_matched_policy[forbidden]")),
                "rbac_access_denied_matched_policy[forbidden]",
                json!(null),
            ),
            (get("/limited"), 200, None, "via_upstream", json!(null)),
            (get("/limited"), 429, Some(("rate_limit", "local_rate_limited")), "local_rate_limited", json!(["RL"])),
            (get("/failing"), 503, None, "upstream_reset_before_response_started{", json!(["UF"])),
            (get("/slow").header("x-echo-delay-ms", "30000"), 504, None, "response_timeout", json!(["UT"])),
            (
                get("/elsewhere").header("connection", "upgrade").header("upgrade", "websocket"),
                403,
                None,
                "upgrade_failed",
                json!(null),
            ),
        ];
        let requests = rows.iter().map(|(request, ..)| (lab.gateway(), request.clone()));
        for ((.., status, refused, details, flags), seen) in rows.iter().zip(observe(&lab, requests).await?) {
            let about = format!("{version}: {status} {details}");
            assert_eq!(seen.response.status, *status, "{about}");
            let record = seen.record();
            let decision = match refused {
                // No filter had decided yet.
                None if *details == "upgrade_failed" => json!({"result": "none"}),
                None => json!({"result": "allowed"}),
                Some((by, reason)) => json!({"by": by, "reason": reason, "result": "denied"}),
            };
            assert_eq!(record["decision"], decision, "{about}");
            let outcome = &record["outcome"];
            assert_eq!((&outcome["status"], &outcome["flags"]), (&json!(status), flags), "{about}");
            assert!(outcome["details"].as_str().is_some_and(|text| text.starts_with(details)), "{about}: {outcome}");
            assert!(outcome["durationMicros"].is_u64(), "{about}");
            // What the record says is what the application saw.
            assert_eq!(outcome["forwarded"], seen.upstream.is_some(), "{about}: {outcome}");
            assert_eq!(outcome["cluster"].is_string(), seen.upstream.is_some(), "{about}: {outcome}");
            assert_eq!(outcome["attempts"].is_u64(), seen.upstream.is_some(), "{about}: {outcome}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_times_of_a_record_are_those_of_the_span() -> Result<()> {
    /// A machine can be busy between the moments that both note. In nanoseconds.
    const APART: u64 = 1_000_000_000;
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let request = Request::get("/api/v1/medications").bearer(&token(&lab)?).header("x-echo-delay-ms", "3000");
        let seen = observe_one(&lab, &lab.gateway(), request).await?;
        let (record, span) = (seen.record(), seen.span.as_ref().context("no span")?);
        let began: Timestamp = record["time"].as_str().context("no time")?.parse()?;
        let began = u64::try_from(began.as_nanosecond())?;
        assert!(began.abs_diff(span.start) < APART, "{version}: {began} is not {}", span.start);
        let took = record["outcome"]["durationMicros"].as_u64().context("no duration")? * 1_000;
        assert!(took.abs_diff(span.end - span.start) < APART, "{version}: {took} is not {}", span.end - span.start);
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_caller_who_hangs_up_leaves_a_record() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let mut caller = std::net::TcpStream::connect(lab.gateway().address())?;
        write!(
            caller,
            "GET /elsewhere HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\nx-echo-delay-ms: 60000\r\n\r\n"
        )?;
        lab.upstream().wait_for(1, SOON).await?;
        drop(caller);
        let records = lab.audit_log().wait_for(1, SOON).await?;
        assert_eq!(records[0]["outcome"]["flags"], json!(["DC"]), "{version}");
        assert_eq!(records[0]["decision"]["result"], "allowed", "{version}");
        assert_eq!(records[0]["tenant"]["id"], TENANT, "{version}");

        // And one that hangs up in the middle of a body, before any answer.
        let mut caller = std::net::TcpStream::connect(lab.gateway().address())?;
        write!(
            caller,
            "POST /api/v1/residents HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-length: 10\r\n\r\n\
             half"
        )?;
        until("the request to be in Envoy", SOON, async || {
            Ok((lab.envoy().stat("http.gateway.downstream_rq_total").await? >= 2).then_some(()))
        })
        .await?;
        drop(caller);
        let records = lab.audit_log().wait_for(2, SOON).await?;
        assert_eq!(records[1]["context"]["name"], "resident-admission", "{version}");
        assert_eq!(records[1]["outcome"]["flags"], json!(["DC"]), "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_context_that_is_not_audited_has_no_records_but_of_its_denials() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let probes = [
            Request::get("/health"),
            Request::get("/metrics"),
            Request::get("/health").header("x-echo-status", "500"),
            Request::get("/health").header("x-tenant-id", "a").header("x-tenant-id", "b"),
            Request::get("/health").bearer("nonsense"),
        ];
        let seen = observe(&lab, probes.map(|request| (lab.gateway(), request))).await?;
        let decisions: Vec<_> =
            seen.iter().map(|one| one.record.as_ref().map(|r| r["decision"]["by"].clone())).collect();
        assert_eq!(decisions, [None, None, None, Some(json!("careplane")), Some(json!("jwt_authn"))], "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_record_says_who_did_what_to_what_for_whom_and_how_long_to_keep_it() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let request = Request::post("/api/v1/medications/administer", "{}")
            .bearer(&lab.identity().token("care-home-0042", "ann", json!({}))?)
            .header("x-correlation-id", "c-1");
        let seen = observe_one(&lab, &lab.sidecar(STRANGER)?, request).await?;
        let record = seen.record();
        let policy = record["context"]["policy"].as_str().unwrap_or_default();
        assert!(policy.len() == 16 && policy.bytes().all(|byte| byte.is_ascii_hexdigit()), "{version}: {policy}");
        assert_eq!(
            record["context"],
            json!({
                "action": "execute", "complianceLevel": "critical", "flags": ["controlled-drug"],
                "name": "medication-administration", "policy": policy, "resource": "MedicationAdministration",
                "retention": "P8Y",
            }),
            "{version}"
        );
        assert_eq!(
            record["tenant"],
            json!({
                "cohort": "canary", "id": "care-home-0042", "jurisdiction": "scotland", "pool": "dedicated-a",
                "regulator": "Care Inspectorate", "source": "claim",
            }),
            "{version}"
        );
        let span = seen.span.as_ref().expect("critical requests are kept");
        assert_eq!(
            record["trace"],
            json!({
                "id": span.trace_id, "spanId": record["trace"]["spanId"], "rate": "100", "reason": "tier",
                "sampled": true, "tier": "always",
            }),
            "{version}"
        );
        assert_eq!(
            record["request"],
            json!({
                "correlationId": "c-1", "id": span.attributes["guid:x-request-id"], "method": "POST",
                "pathTemplate": "/api/v1/medications/administer",
            }),
            "{version}"
        );
        assert_eq!(record["who"]["peer"], STRANGER, "{version}");
        assert_eq!(record["schema"], "careplane.audit/v1", "{version}");
        // The trace and span of the record are those in the application's headers.
        let parent = format!("{}-{}", span.trace_id, record["trace"]["spanId"].as_str().unwrap_or_default());
        assert!(seen.forwarded("traceparent")[0].contains(&parent), "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_jurisdiction_has_its_regulator() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        for (tenant, regulator) in [
            ("care-home-0001", json!("CQC")),
            ("care-home-0042", json!("Care Inspectorate")),
            ("care-home-0107", json!("CIW")),
            ("care-home-0233", json!("RQIA")),
            ("care-home-9999", json!(null)),
        ] {
            let request = Request::get("/elsewhere").header("x-tenant-id", tenant);
            let seen = observe_one(&lab, &lab.sidecar(TRUSTED)?, request).await?;
            assert_eq!(seen.record()["tenant"]["regulator"], regulator, "{version}: {tenant}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn records_are_canonical_json_in_one_chain_for_each_worker() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).concurrency(2).start().await?;
        let token = token(&lab)?;
        let make = move |index: usize| Request::get(format!("/elsewhere/{index}")).bearer(&token);
        let report = lab.gateway().load(Load::new(1000, 16), make, |_| ()).await?;
        assert_eq!((report.statuses[&200], report.failures), (1000, 0), "{version}");
        lab.audit_log().wait_for(1000, SOON).await?;
        let directory = lab.stop_keeping_files().await?;
        let log = AuditLog::new(directory.path().join("log/audit.jsonl"));
        for (line, record) in log.lines()?.iter().zip(log.records()?) {
            assert_eq!(&serde_jcs::to_string(&record)?, line, "{version}");
        }
        let records = log.records()?;
        let made: BTreeSet<&str> =
            records.iter().filter_map(|record| record["request"]["correlationId"].as_str()).collect();
        assert_eq!(
            made.len(),
            1000,
            "{version}: no two requests are given one correlation id, whichever worker they met"
        );
        let heads = verify_chains(&records)?;
        assert!((1..=2).contains(&heads.len()), "{version}: {heads:?}");
        assert_eq!(heads.values().map(|head| head.length).sum::<u64>(), 1000, "{version}");
    }
    Ok(())
}

#[tokio::test]
async fn what_no_sink_takes_is_in_the_log_and_counted_or_lost_and_counted() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder()
            .version(version)
            .policy(|policy| {
                policy["audit"]["sinks"] = json!({"accessLog": false, "otlp": false, "proxyLog": "overflow"})
            })
            .start()
            .await?;
        let token = token(&lab)?;
        let logged = async |count: usize| {
            until("records in the log", SOON, async || {
                let text = lab.envoy().log().text()?;
                let lines = text.lines().filter_map(|line| line.split_once("careplane-audit-record "));
                let records: Vec<Value> = lines.filter_map(|(_, record)| serde_json::from_str(record).ok()).collect();
                Ok(Some(records).filter(|records| records.len() >= count))
            })
            .await
        };
        for _ in 0..3 {
            lab.gateway().send(Request::get("/elsewhere").bearer(&token)).await?;
        }
        let records = logged(3).await?;
        verify_chains(&records)?;
        assert_eq!(lab.envoy().stat("wasmcustom.careplane.audit.overflow").await?, 3, "{version}");

        let mut off = lab.policy().clone();
        off["audit"]["sinks"]["proxyLog"] = "off".into();
        lab.reload(&off).await?;
        lab.gateway().send(Request::get("/elsewhere").bearer(&token)).await?;
        lab.envoy().admin().wait_for_stat("wasmcustom.careplane.audit.lost", 1, SOON).await?;
        assert_eq!(logged(3).await?.len(), 3, "{version}");
        assert_eq!(lab.audit_log().lines()?, [""; 0], "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_the_log_level_drops_is_counted_as_lost_and_that_is_said_when_the_plugin_starts() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder()
            .version(version)
            .log_level("info,wasm:error")
            .policy(|policy| {
                policy["audit"]["sinks"] = json!({"accessLog": false, "otlp": false, "proxyLog": "overflow"})
            })
            .start()
            .await?;
        // One worker, and the main thread, which ticks too.
        lab.envoy().admin().wait_for_stat("wasmcustom.careplane.audit.overflow_unlogged", 2, SOON).await?;
        let token = token(&lab)?;
        for _ in 0..3 {
            lab.gateway().send(Request::get("/elsewhere").bearer(&token)).await?;
        }
        lab.envoy().admin().wait_for_stat("wasmcustom.careplane.audit.lost", 3, SOON).await?;
        assert_eq!(lab.envoy().stat("wasmcustom.careplane.audit.spilled").await?, 0, "{version}");
        let log = lab.envoy().log().text()?;
        assert!(log.contains("the log level of wasm drops warnings"), "{version}: {log}");
        assert!(!log.contains("careplane-audit-record "), "{version}: {log}");
        lab.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn without_a_key_pseudonyms_are_ephemeral_and_that_is_said() -> Result<()> {
    for version in versions() {
        for (key, why) in [(None, "is not set in vmConfig.env"), (Some("too short"), "fewer than 16")] {
            let lab = Lab::builder().version(version).patch(move |document| set_key(document, key)).start().await?;
            let seen = observe_one(&lab, &lab.gateway(), Request::get("/elsewhere").bearer(&token(&lab)?)).await?;
            let user = seen.record()["who"]["user"].as_str().unwrap_or_default().to_owned();
            assert!(user.starts_with("p-") && !user.contains("neill"), "{version}: {user}");
            // Each plugin, of each worker, is in that state; a change of policy leaves nothing behind.
            let gauge = "wasmcustom.careplane.pseudonym_key_ephemeral";
            // One worker, and the main thread, which ticks too.
            let before = lab.envoy().admin().wait_for_stat(gauge, 2, SOON).await?;
            assert_eq!(before, 2, "{version}");
            for percent in [7, 8] {
                let mut policy = lab.policy().clone();
                policy["routing"]["canary"]["percent"] = percent.into();
                lab.reload(&policy).await?;
                lab.gateway().send(Request::get("/elsewhere")).await?;
                let as_before = async || Ok((lab.envoy().stat(gauge).await? == before).then_some(()));
                until("the gauge to be as before", SOON, as_before).await?;
            }
            assert!(lab.envoy().log().warnings(0)?.contains(why), "{version}: {why}");
            finish(lab).await?;
        }
    }
    Ok(())
}

fn set_key(document: &mut Value, key: Option<&str>) {
    for listener in document["static_resources"]["listeners"].as_array_mut().expect("listeners") {
        let filters = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
        for filter in filters.as_array_mut().expect("filters") {
            if let Some(variables) = filter.pointer_mut("/typed_config/config/vm_config/environment_variables") {
                variables["key_values"] = key.map_or(json!({}), |key| json!({"CAREPLANE_PSEUDONYM_KEY": key}));
            }
        }
    }
}

#[tokio::test]
async fn what_happened_can_be_counted() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let gateway = lab.gateway();
        for request in [
            Request::get("/elsewhere").bearer(&token),
            Request::get("/api/v1/residents/7").bearer(&token).header("x-user-id", "forged"),
            Request::get("/api/v1/residents/7"),
            Request::get("/forbidden").bearer(&token),
            Request::get("/secure"),
            Request::get("/health"),
        ] {
            gateway.send(request).await?;
        }
        settle(&lab).await?;
        let stats = lab.envoy().stats("wasmcustom.careplane.").await?;
        let begun = stats["wasmcustom.careplane.audit.chain_epoch"];
        let expected = [
            ("audit.chain_epoch", begun),
            ("audit.chains", 1),
            ("audit.overflow_unlogged", 0),
            ("audit.records", 6),
            ("denials.identity-repeated", 1),
            ("denials.jwt_authn", 1),
            ("denials.rbac", 1),
            ("denials.tenant-missing", 1),
            ("identity_headers_removed", 2),
            ("pseudonym_key_ephemeral", 0),
            ("requests.general.allowed", 1),
            ("requests.general.denied", 3),
            ("requests.health-check.allowed", 1),
            ("requests.resident.allowed", 1),
            ("requests.resident.denied", 1),
        ];
        let seen: Vec<(&str, u64)> =
            stats.iter().map(|(name, value)| (&name["wasmcustom.careplane.".len()..], *value)).collect();
        assert_eq!(seen, expected, "{version}");
        let prometheus = lab.envoy().admin().get("/stats/prometheus").await?;
        let exported = prometheus.lines().any(|line| line.contains("careplane_audit_records") && line.ends_with(" 6"));
        assert!(
            exported,
            "{version}: {:?}",
            prometheus.lines().filter(|l| l.contains("careplane")).collect::<Vec<_>>()
        );
        assert!(complaints(lab.envoy()).await?.is_empty(), "{version}");
        finish(lab).await?;
    }
    Ok(())
}
