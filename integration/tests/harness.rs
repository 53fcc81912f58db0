//! The harness without careplane: what tests rely on is true of Envoy alone.

use std::time::Duration;

use anyhow::Result;
use careplane_integration::{
    AuditLog, EnvoyVersion, Lab, Plugins, Reload, Request, audit_log::verify_chains, client::Load, prerequisites,
    workspace,
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

const PEER: &str = "spiffe://cluster.local/ns/core-healthcare/sa/api-gateway";

/// The versions that can be run here.
fn versions() -> impl Iterator<Item = EnvoyVersion> {
    workspace::versions().into_iter().filter(|version| prerequisites(*version, Plugins::None))
}

fn bare(version: EnvoyVersion) -> careplane_integration::lab::Builder {
    Lab::builder().version(version).plugins(Plugins::None)
}

#[tokio::test]
async fn the_gateway_routes_by_what_tenant_routing_would_have_written() -> Result<()> {
    for version in versions() {
        let lab = bare(version).start().await?;
        for (header, value, pool) in [
            ("x-tenant-pool", "pool-a", "pool-a"),
            ("x-tenant-pool", "pool-b", "pool-b"),
            ("x-tenant-pool", "pool-c", "pool-c"),
            ("x-tenant-pool", "dedicated-a", "dedicated-a"),
            ("x-tenant-pool", "pool-z", "pool-a"),
            ("x-release-cohort", "canary", "canary"),
        ] {
            let response = lab.gateway().send(Request::post("/x?q=1", "body").header(header, value)).await?;
            let echo = response.json()?;
            assert_eq!((response.status, echo["pool"].as_str()), (200, Some(pool)), "{version} {header}: {value}");
            assert_eq!(
                (&echo["method"], &echo["path"], &echo["bodyLength"]),
                (&json!("POST"), &json!("/x?q=1"), &json!(4))
            );
        }
        assert_eq!(lab.upstream().take().len(), 6);
        lab.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn bytes_outside_ascii_reach_the_application_as_they_were() -> Result<()> {
    for version in versions() {
        let lab = bare(version).start().await?;
        for client in [lab.gateway(), lab.gateway().http2()] {
            let response = client.send(Request::get("/").header("x-hostile", b"a\xff\x80b")).await?;
            assert_eq!(response.status, 200);
            let seen = lab.upstream().take().remove(0);
            assert_eq!(seen.headers.iter().find(|(name, _)| name == "x-hostile").unwrap().1, b"a\xff\x80b");
            assert_eq!(seen.header("x-hostile").unwrap(), r"a\xff\x80b");
        }
        let answer = lab.gateway().raw(b"NONSENSE\r\n\r\n", SOON).await?;
        assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", answer.escape_ascii());
        lab.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn spans_arrive_with_their_tags() -> Result<()> {
    for version in versions() {
        let lab = bare(version)
            .random_sampling(100.0)
            .patch(|document| filter_state_from_header(document, "wasm.careplane.user_id", "x-user-state"))
            .start()
            .await?;
        let request = Request::get("/api/v1/care-plans")
            .header("x-user-state", "s-1")
            .header("x-tenant-id", "care-home-0001")
            .header("x-correlation-id", "c-1")
            .header("x-user-pseudonym", "p-1");
        lab.gateway().send(request).await?;
        let spans = lab.otlp().wait_for_spans(1, SOON).await?;
        let span = &spans[0];
        assert_eq!(span.resource["service.name"], "careplane-gateway");
        assert_eq!((span.trace_id.len(), span.span_id.len(), span.kind), (32, 16, 2));
        assert!(span.start < span.end);
        let tag = |name: &str| span.attributes.get(name).map(String::as_str);
        // Only where a tag cannot come from filter state does it come from a header.
        let expected = match version.has_formatter_tags() {
            true => [None, None, Some("s-1")],
            false => [Some("care-home-0001"), Some("c-1"), Some("p-1")],
        };
        assert_eq!(["tenant_id", "correlation_id", "user_id"].map(tag), expected, "{version}");
        lab.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_sampled_by_chance_as_deployed() -> Result<()> {
    for version in versions() {
        let lab = bare(version).start().await?;
        // The reason in the request id ('9': sampled) is an outsider's to send, and Envoy's to ignore.
        lab.gateway().send(Request::get("/").header("x-request-id", "0b9e0bd5-6e14-9d2e-9bb5-0a6a6cd0c5a1")).await?;
        let traceparent = lab.upstream().take()[0].header("traceparent");
        assert!(traceparent.is_none_or(|value| value.ends_with("-00")), "{version}");
        lab.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_test_chooses_the_request_id_and_thereby_the_random_number() -> Result<()> {
    for version in versions() {
        let lab = bare(version).random_sampling(30.0).start().await?;
        let load = Load::new(300, 4);
        let report = lab
            .gateway()
            .load(
                load,
                |_| Request::get("/"),
                |answered| {
                    let headers = answered.response.json().unwrap()["headers"].as_array().unwrap().clone();
                    let value = |name: &str| {
                        let pair = headers.iter().find(|pair| pair[0] == name);
                        pair.map(|pair| pair[1].as_str().unwrap().to_owned()).unwrap_or_default()
                    };
                    let sampled = value("traceparent").ends_with("-01");
                    (answered.request_id.to_owned(), value("x-request-id"), sampled)
                },
            )
            .await?;
        assert_eq!((report.statuses[&200], report.failures), (300, 0));
        for (sent, arrived, sampled) in report.collected {
            // Nibble 14 carries the reason of the trace decision, the rest is kept.
            assert_eq!((&sent[..14], &sent[15..]), (&arrived[..14], &arrived[15..]));
            let number = u32::from_str_radix(&sent[..8], 16)? % 10_000;
            assert_eq!(sampled, number < 3_000, "{version}: {sent}");
        }
        lab.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_kind_of_refusal_can_be_provoked() -> Result<()> {
    for version in versions() {
        let lab = bare(version).start().await?;
        let gateway = lab.gateway();
        let token = lab.identity().token("care-home-0001", "user-1", json!({}))?;
        let expired = lab.identity().token("care-home-0001", "user-1", json!({"exp": 1}))?;
        for (request, status, why) in [
            (Request::get("/secure"), 401, "no token where one is required"),
            (Request::get("/secure").bearer(&token), 200, "a good token"),
            (Request::get("/open"), 200, "no token where none is required"),
            (Request::get("/open").bearer(&expired), 401, "a bad token anywhere"),
            (Request::get("/forbidden"), 403, "RBAC"),
            (Request::get("/limited"), 200, "the one request of the hour"),
            (Request::get("/limited"), 429, "the second request of the hour"),
            (Request::get("/failing"), 503, "no server upstream"),
            (Request::get("/slow").header("x-echo-delay-ms", "3000"), 504, "upstream is slower than the route allows"),
            (Request::get("/").header("x-echo-status", "418"), 418, "what the application says"),
        ] {
            assert_eq!(gateway.send(request).await?.status, status, "{version}: {why}");
        }
        lab.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_sidecar_knows_its_peers_by_certificate() -> Result<()> {
    for version in versions() {
        let lab = bare(version).start().await?;
        for client in [lab.sidecar(PEER)?, lab.sidecar(PEER)?.http2()] {
            assert_eq!(client.send(Request::get("/")).await?.status, 200);
            let certificate = lab.upstream().take()[0].header("x-forwarded-client-cert").unwrap();
            assert!(certificate.contains(&format!("URI={PEER}")), "{certificate}");
        }
        let stranger = lab.sidecar("spiffe://elsewhere.example/ns/core-healthcare/sa/api-gateway")?;
        assert!(stranger.send(Request::get("/")).await.is_err(), "{version}: another trust domain");
        assert!(lab.sidecar_without_certificate()?.send(Request::get("/")).await.is_err(), "{version}: no certificate");
        assert!(lab.upstream().take().is_empty());
        lab.stop().await?;
    }
    Ok(())
}

/// A filter that puts a request header into filter state, in careplane's place.
fn filter_state_from_header(document: &mut Value, key: &str, header: &str) {
    for listener in document["static_resources"]["listeners"].as_array_mut().unwrap() {
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        let filter = json!({
            "name": "filter-state-from-header",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
                "on_request_headers": [{
                    "object_key": key,
                    "factory_key": "envoy.string",
                    "format_string": {
                        "text_format_source": {"inline_string": format!("%REQ({header})%")},
                        "omit_empty_values": true,
                    },
                    "skip_if_empty": true,
                }],
            },
        });
        manager["http_filters"].as_array_mut().unwrap().insert(0, filter);
    }
}

fn record_from_header(document: &mut Value) {
    filter_state_from_header(document, "wasm.careplane.audit", "x-record");
}

#[tokio::test]
async fn the_audit_log_has_a_line_for_each_record_and_none_for_a_request_without() -> Result<()> {
    for version in versions() {
        let lab = bare(version).patch(record_from_header).start().await?;
        let gateway = lab.gateway();
        gateway.send(Request::get("/")).await?;
        gateway.send(Request::get("/").header("x-record", r#"{"n":1}"#)).await?;
        lab.sidecar(PEER)?.send(Request::get("/").header("x-record", r#"{"n":2}"#)).await?;
        gateway.send(Request::get("/")).await?;
        let records = lab.audit_log().wait_for(2, SOON).await?;
        assert_eq!(records, [json!({"n": 1}), json!({"n": 2})]);
        assert!(verify_chains(&records).is_err());

        // Stopping flushes what was not yet written.
        gateway.send(Request::get("/").header("x-record", r#"{"n":3}"#)).await?;
        let directory = lab.stop_keeping_files().await?;
        let log = AuditLog::new(directory.path().join("log/audit.jsonl"));
        assert_eq!(log.records()?.len(), 3, "{version}");
    }
    Ok(())
}

#[tokio::test]
async fn a_reload_is_accepted_or_refused_and_takes_effect_at_once() -> Result<()> {
    use std::sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    };

    for version in versions() {
        // Stands for a policy: the status of a route, which only 200–599 may be.
        let status = Arc::new(AtomicU16::new(0));
        let chosen = Arc::clone(&status);
        let lab = bare(version)
            .concurrency(2)
            .patch(move |document| {
                let status = chosen.load(Ordering::Relaxed);
                for listener in document["static_resources"]["listeners"].as_array_mut().unwrap() {
                    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
                    if status != 0 {
                        manager["route_config"]["virtual_hosts"][0]["routes"] =
                            json!([{"match": {"prefix": "/"}, "direct_response": {"status": status}}]);
                    }
                }
            })
            .start()
            .await?;
        let (address, policy) = (lab.gateway().address(), lab.policy().clone());
        assert_eq!(lab.gateway().send(Request::get("/")).await?.status, 200);

        for code in [201, 202, 203] {
            status.store(code, Ordering::Relaxed);
            assert_eq!(lab.reload(&policy).await?, Reload::Accepted);
            for _ in 0..8 {
                assert_eq!(lab.gateway().send(Request::get("/")).await?.status, code, "{version}");
            }
        }
        // The same again changes nothing, and is not waited for in vain.
        assert_eq!(lab.reload(&policy).await?, Reload::Accepted);

        status.store(7, Ordering::Relaxed);
        let Reload::Rejected(reason) = lab.reload(&policy).await? else {
            panic!("{version}: status 7 was accepted");
        };
        assert!(reason.contains("direct_response"), "{reason}");
        assert_eq!(lab.gateway().send(Request::get("/")).await?.status, 203, "{version}: the last good one stays");

        status.store(204, Ordering::Relaxed);
        assert_eq!(lab.reload(&policy).await?, Reload::Accepted);
        assert_eq!(lab.gateway().send(Request::get("/")).await?.status, 204);
        assert_eq!(lab.gateway().address(), address);
        lab.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_refused_configuration_fails_the_start_with_envoys_reason() -> Result<()> {
    for version in versions() {
        let break_it = |document: &mut Value| {
            let manager = &mut document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
            manager["typed_config"]["route_config"]["virtual_hosts"][0]["domains"] = json!([]);
        };
        let error = bare(version).patch(break_it).start().await.expect_err("a host without domains");
        assert!(format!("{error:#}").contains("omains"), "{version}: {error:#}");
    }
    Ok(())
}

#[tokio::test]
async fn direct_responses_need_no_upstream() -> Result<()> {
    for version in versions() {
        let lab = bare(version).direct_response().start().await?;
        let report = lab.gateway().http2().load(Load::new(200, 8), |_| Request::get("/"), |_| ()).await?;
        assert_eq!((report.statuses[&200], report.failures, report.collected.len()), (200, 0, 200));
        assert!(lab.upstream().received().is_empty());
        assert!(lab.envoy().stat("http.gateway.downstream_rq_2xx").await? >= 200);
        lab.stop().await?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_is_left_running() -> Result<()> {
    for version in versions() {
        let lab = bare(version).start().await?;
        let (pid, directory) = (lab.envoy().pid(), lab.directory().to_owned());
        let process = std::path::PathBuf::from(format!("/proc/{pid}"));
        assert!(process.exists() && directory.exists());
        drop(lab);
        assert!(!process.exists() && !directory.exists(), "{version}");
    }
    Ok(())
}

/// Not a test: what the next one starts and kills.
#[tokio::test]
#[ignore = "runs until it is killed"]
async fn helper_that_never_stops() -> Result<()> {
    let lab = bare(EnvoyVersion::V1_40_0).start().await?;
    println!("LAB {} {}", lab.envoy().pid(), lab.directory().display());
    std::future::pending().await
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_test_process_takes_its_envoy_along() -> Result<()> {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
        time::Instant,
    };

    if !prerequisites(EnvoyVersion::V1_40_0, Plugins::None) {
        return Ok(());
    }
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "helper_that_never_stops", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find_map(|line| line.split_once("LAB ").map(|(_, rest)| rest.to_owned()));
    child.kill()?;
    child.wait()?;
    let line = line.expect("the helper starts a lab");
    let (pid, directory) = line.split_once(' ').unwrap();

    // Gone, or a zombie that waits for its new parent.
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let running = || state().is_some_and(|stat| !stat.contains(") Z "));
    let end = Instant::now() + SOON;
    while running() && Instant::now() < end {
        std::thread::yield_now();
    }
    assert!(!running(), "Envoy {pid} is still running");
    // A killed process removes no files.
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
