//! `tracing-tags` in Envoy: identity and context of a request, on the upstream request and on the span.

mod support;

use anyhow::Result;
use careplane_integration::{Lab, Request};
use hyper::{Method, header::HeaderValue};
use support::{Seen, TENANT, TRUSTED, USER, health::finish, observe, observe_one, token, versions};

/// Asserts that the application and the span know the five things about a request.
fn assert_five_tags(seen: &Seen, correlation: &str, context: &str, level: &str, about: &str) {
    for (header, expected) in [
        ("x-tenant-id", TENANT),
        ("x-user-id", USER),
        ("x-correlation-id", correlation),
        ("x-healthcare-context", context),
        ("x-compliance-level", level),
    ] {
        assert_eq!(seen.forwarded(header), [expected], "{about}: {header}");
    }
    let pseudonym = seen.record()["who"]["user"].as_str();
    assert!(pseudonym.is_some_and(|name| name.starts_with("p-") && !name.contains("neill")), "{about}: {pseudonym:?}");
    for (tag, expected) in [
        ("tenant_id", Some(TENANT)),
        ("user_id", pseudonym),
        ("correlation_id", Some(correlation)),
        ("healthcare_context", Some(context)),
        ("compliance_level", Some(level)),
    ] {
        assert_eq!(seen.tag(tag), expected, "{about}: {tag}");
    }
}

#[tokio::test]
async fn five_tags_reach_the_application_and_the_span() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let (outside, peer) = (lab.gateway(), lab.sidecar(TRUSTED)?);
        let get = || Request::get("/api/v1/medications/7").header("x-correlation-id", "order.17");
        let rows = [
            ("claims", outside.clone(), get().bearer(&token)),
            ("claims, HTTP/2", outside.http2(), get().bearer(&token)),
            ("headers", peer.clone(), get().header("x-tenant-id", TENANT).header("x-user-id", USER)),
            ("claims and headers", peer.http2(), get().bearer(&token).header("x-tenant-id", TENANT)),
        ];
        let names = rows.each_ref().map(|(name, ..)| *name);
        let seen = observe(&lab, rows.map(|(_, client, request)| (client, request))).await?;
        for (name, seen) in names.into_iter().zip(&seen) {
            assert_eq!(seen.response.status, 200);
            assert_five_tags(seen, "order.17", "medication", "high", &format!("{version}, {name}"));
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_was_decided_beside_the_five_tags_is_on_the_span_where_envoy_can_read_filter_state() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let request = Request::get("/api/v1/care-plans/7/goals").bearer(&token(&lab)?);
        let seen = observe_one(&lab, &lab.gateway(), request).await?;
        for (tag, value) in [
            ("path_template", "/api/v1/care-plans/{id}/{*rest}"),
            ("sampling_tier", "clinical"),
            ("sampling_rate", "50"),
            ("sampling_reason", "tier"),
        ] {
            assert_eq!(seen.tag(tag), version.has_formatter_tags().then_some(value), "{version}: {tag}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_context_is_named_with_its_level_and_its_flags() -> Result<()> {
    let rows = [
        (Method::POST, "/api/v1/medications/administer", "medication-administration", "critical", "controlled-drug"),
        // What only POST is, GET is not: it is the medication called "administer".
        (Method::GET, "/api/v1/medications/administer", "medication", "high", ""),
        (Method::PATCH, "/api/v1/medications/7/doses/3", "medication", "high", ""),
        (Method::POST, "/api/v1/residents", "resident-admission", "high", "admission"),
        (Method::GET, "/api/v1/residents", "resident-search", "high", ""),
        (Method::HEAD, "/api/v1/residents", "resident-search", "high", ""),
        (Method::DELETE, "/api/v1/residents", "resident-search", "high", ""),
        (Method::PUT, "/api/v1/residents/7", "resident", "high", ""),
        (Method::GET, "/api/v1/care-plans/7", "care-plan", "high", ""),
        (Method::POST, "/api/v1/assessments", "assessment", "standard", ""),
        (Method::GET, "/api/v1/health-records/7/letters", "health-record", "high", ""),
        (Method::POST, "/api/v1/compliance/violations", "compliance-violation", "high", "violation"),
        (Method::GET, "/api/v1/compliance/violations/7", "compliance", "high", ""),
        (Method::GET, "/api/v1/tenants/care-home-0107/rooms", "tenant-administration", "standard", ""),
        (Method::GET, "/health", "health-check", "low", ""),
        (Method::POST, "/health", "general", "standard", ""),
        (Method::GET, "/elsewhere", "general", "standard", ""),
        (Method::OPTIONS, "/api/v1/residents/7", "resident", "high", ""),
    ];
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let probes = rows.clone().map(|(method, path, ..)| (lab.gateway(), Request::new(method, path).bearer(&token)));
        let seen = observe(&lab, probes).await?;
        for ((method, path, context, level, flags), seen) in rows.iter().zip(seen) {
            let about = format!("{version}: {method} {path}");
            assert_eq!(seen.response.status, 200, "{about}");
            assert_eq!(seen.forwarded("x-healthcare-context"), [*context], "{about}");
            assert_eq!(seen.forwarded("x-compliance-level"), [*level], "{about}");
            assert_eq!(seen.forwarded("x-compliance-flags").join("|"), *flags, "{about}");
            // Nothing of tier `never` has a span.
            assert_eq!(seen.tag("healthcare_context"), (*context != "health-check").then_some(*context), "{about}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_callers_write_into_headers_of_careplane_is_replaced() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let names = [
            "x-healthcare-context",
            "x-compliance-level",
            "x-compliance-flags",
            "x-tenant-pool",
            "x-release-cohort",
            "x-envoy-force-trace",
        ];
        let with_forgeries = |times: usize| {
            let request = Request::get("/elsewhere").bearer(&token);
            names
                .iter()
                .cycle()
                .take(names.len() * times)
                .fold(request, |request, name| request.header(*name, "forged"))
        };
        let peer = lab.sidecar(TRUSTED)?;
        let probes = [(lab.gateway(), with_forgeries(1)), (peer.clone(), with_forgeries(1)), (peer, with_forgeries(2))];
        for (row, seen) in observe(&lab, probes).await?.iter().enumerate() {
            assert_eq!(seen.response.status, 200);
            for (name, expected) in [
                ("x-healthcare-context", "general"),
                ("x-compliance-level", "standard"),
                ("x-release-cohort", "stable"),
            ] {
                assert_eq!(seen.forwarded(name), [expected], "{version}, row {row}: {name}");
            }
            assert_eq!(seen.forwarded("x-compliance-flags"), [""; 0], "{version}, row {row}");
            assert_eq!(seen.forwarded("x-tenant-pool").len(), 1, "{version}, row {row}");
            assert!(seen.forwarded("x-tenant-pool")[0].starts_with("pool-"), "{version}, row {row}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_correlation_id_is_kept_if_it_can_be_one_and_replaced_if_not() -> Result<()> {
    let long = "x".repeat(129);
    let rows: [(&[&[u8]], bool); 14] = [
        (&[b"order.17_b-2"], true),
        (&[b"4f3c9434-7659-19ab-8000-943476591900"], true),
        (&[b"0AF7651916CD43DD8448EB211C80319C"], true),
        (&[&long.as_bytes()[1..]], true),
        (&[], false),
        (&[b""], false),
        (&[long.as_bytes()], false),
        (&[b"a b"], false),
        (&[b"a,b"], false),
        (&[b"a/../b"], false),
        (&[b"caf\xc3\xa9"], false),
        (&[b"\xff\x80"], false),
        (&[b"9434765919"], false),
        (&[b"ref-943-476-5919"], false),
    ];
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let probes = rows.iter().map(|(values, _)| {
            let request = Request::get("/api/v1/medications/7").bearer(&token);
            (lab.gateway(), values.iter().fold(request, |request, value| request.header("x-correlation-id", value)))
        });
        for ((sent, kept), seen) in rows.iter().zip(observe(&lab, probes).await?) {
            let shown: Vec<String> = sent.iter().map(|value| value.escape_ascii().to_string()).collect();
            let id = seen.response.header("x-correlation-id").unwrap_or_default();
            match kept {
                true => assert_eq!(shown, [id.as_str()], "{version}"),
                false => {
                    assert!(uuid::Uuid::parse_str(&id).is_ok_and(|id| id.get_version_num() == 7), "{shown:?} {id}")
                }
            }
            assert_eq!(seen.forwarded("x-correlation-id"), [id.as_str()], "{version}: {shown:?}");
            assert_eq!(seen.tag("correlation_id"), Some(id.as_str()), "{version}: {shown:?}");
            assert_eq!(seen.record()["request"]["correlationId"], id, "{version}: {shown:?}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn of_several_correlation_ids_one_is_left_everywhere() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let request = Request::get("/api/v1/medications/7")
            .bearer(&token(&lab)?)
            .header("x-correlation-id", "first")
            .header("x-correlation-id", "9434765919");
        let seen = observe_one(&lab, &lab.gateway(), request).await?;
        let id = seen.response.header("x-correlation-id").unwrap_or_default();
        assert_eq!(seen.forwarded("x-correlation-id"), [id.as_str()], "{version}: the application");
        assert_eq!(seen.tag("correlation_id"), Some(id.as_str()), "{version}: the span");
        assert_eq!(seen.record()["request"]["correlationId"], id, "{version}: the record");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_correlation_id_is_echoed_whatever_the_answer_and_not_when_the_policy_says_so() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let gateway = lab.gateway();
        let with_id = |request: Request| request.bearer(&token).header("x-correlation-id", "c-1");
        for (request, status) in [
            (Request::get("/").header("x-echo-status", "500"), 500),
            (Request::get("/forbidden"), 403),
            (Request::get("/failing"), 503),
            (Request::get("/api/v1/tenants/care-home-0042/x"), 403),
        ] {
            let response = gateway.send(with_id(request)).await?;
            let echoed: Vec<_> = response.headers.get_all("x-correlation-id").iter().collect();
            assert_eq!((response.status, echoed), (status, vec![&"c-1".parse::<HeaderValue>()?]), "{version}");
        }

        let mut quiet = lab.policy().clone();
        quiet["identity"]["correlation"]["echo"] = false.into();
        lab.reload(&quiet).await?;
        let response = gateway.send(with_id(Request::get("/"))).await?;
        assert_eq!(response.header("x-correlation-id"), None, "{version}");
        let refused = gateway.send(with_id(Request::get("/api/v1/tenants/care-home-0042/x"))).await?;
        assert_eq!(refused.header("x-correlation-id").as_deref(), Some("c-1"), "{version}: denials always do");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_trace_that_a_caller_is_in_goes_on() -> Result<()> {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let probe = |path: &str, flags: &str| {
            let request = Request::get(path)
                .bearer(&token)
                .header("traceparent", format!("00-{trace}-b7ad6b7169203331-{flags}"))
                .header("tracestate", "vendor=1");
            (lab.gateway(), request)
        };
        let probes = ["/health", "/api/v1/medications/7"].iter().flat_map(|path| ["00", "01"].map(|f| probe(path, f)));
        for seen in observe(&lab, probes).await? {
            let onwards = seen.forwarded("traceparent");
            assert_eq!(onwards.len(), 1, "{version}: {onwards:?}");
            assert_eq!(&onwards[0][3..35], trace, "{version}");
            assert_eq!(seen.forwarded("tracestate"), ["vendor=1"], "{version}");
            if let Some(span) = &seen.span {
                assert_eq!((span.trace_id.as_str(), span.parent_span_id.as_str()), (trace, "b7ad6b7169203331"));
            }
            if let Some(record) = &seen.record {
                assert_eq!(record["trace"]["id"], trace, "{version}");
                assert_eq!(record["trace"]["spanId"], onwards[0][36..52], "{version}");
            }
        }
        finish(lab).await?;
    }
    Ok(())
}
