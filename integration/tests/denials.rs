//! The answer to a caller that careplane refuses: it says why, in the caller's protocol, and nothing that was
//! not theirs.

mod support;

use anyhow::Result;
use careplane_integration::{Lab, Request};
use hyper::Method;
use serde_json::json;
use support::{TRUSTED, health::finish, observe_one, token, versions};

#[tokio::test]
async fn a_denial_is_a_problem_with_the_correlation_id() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let gateway = lab.gateway();
        for (sent, client) in [("c-1", gateway.clone()), ("c-2", gateway.http2()), ("c-3", lab.sidecar(TRUSTED)?)] {
            let response = client.send(Request::get("/api/v1/residents").header("x-correlation-id", sent)).await?;
            assert_eq!(response.status, 403, "{version}");
            assert_eq!(response.header("content-type").as_deref(), Some("application/problem+json"), "{version}");
            assert_eq!(response.header("cache-control").as_deref(), Some("no-store"), "{version}");
            assert_eq!(response.header("x-correlation-id").as_deref(), Some(sent), "{version}");
            let expected = json!({
                "type": "urn:problem-type:careplane:tenant-missing",
                "title": "The request names no tenant",
                "status": 403,
                "correlationId": sent,
            });
            assert_eq!(response.json()?, expected, "{version}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_denial_without_correlation_id_is_given_one_that_the_record_has_too() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        for sent in [&b"no id"[..], b"9434765919", b""] {
            let request = Request::get("/api/v1/residents").header("x-correlation-id", sent);
            let seen = observe_one(&lab, &lab.gateway(), request).await?;
            let id = seen.response.header("x-correlation-id").unwrap_or_default();
            assert_eq!(uuid::Uuid::parse_str(&id)?.get_version_num(), 7, "{version}");
            assert_eq!(seen.response.json()?["correlationId"], id, "{version}");
            assert_eq!(seen.record()["request"]["correlationId"], id, "{version}");
            assert_eq!(seen.tag("correlation_id"), Some(id.as_str()), "{version}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_denial_names_nothing_that_the_caller_sent() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let request = Request::get("/api/v1/tenants/care-home-0042/rooms?q=secret").bearer(&token(&lab)?);
        let response = lab.gateway().send(request).await?;
        let answer = format!("{:?} {}", response.headers, response.text());
        assert_eq!(response.status, 403, "{version}");
        for word in ["care-home", "secret", "rooms", "neill"] {
            assert!(!answer.contains(word), "{version}: {answer}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_denied_head_request_has_no_body() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let response = lab.gateway().send(Request::new(Method::HEAD, "/api/v1/residents")).await?;
        assert_eq!((response.status, response.body.len()), (403, 0), "{version}");
        assert_eq!(response.header("content-type").as_deref(), Some("application/problem+json"), "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_denied_grpc_request_gets_a_grpc_status() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let call = || {
            Request::post("/care.v1.Residents/Get", &b"\0\0\0\0\0"[..])
                .header("content-type", "application/grpc")
                .header("te", "trailers")
        };
        for (request, grpc_status, reason) in [
            (call(), "7", "tenant-missing"),
            (call().header("x-tenant-id", "a").header("x-tenant-id", "b"), "3", "identity-repeated"),
        ] {
            let seen = observe_one(&lab, &lab.gateway().http2(), request).await?;
            assert_eq!(seen.response.status, 200, "{version}: the status of gRPC is in grpc-status");
            assert_eq!(seen.response.header("grpc-status").as_deref(), Some(grpc_status), "{version}");
            assert_eq!(seen.response.header("content-type").as_deref(), Some("application/grpc"), "{version}");
            assert!(seen.response.header("x-correlation-id").is_some(), "{version}");
            assert_eq!(seen.record()["decision"]["reason"], reason, "{version}");
            assert_eq!(seen.record()["outcome"]["grpcStatus"].to_string(), grpc_status, "{version}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_denied_request_with_a_body_is_answered_and_the_connection_serves_on() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let mut connection = lab.gateway().connect().await?;
        let body = vec![b'x'; 200_000];
        assert_eq!(connection.send(Request::post("/api/v1/residents", body.clone())).await?.status, 403, "{version}");
        let mut connection = lab.gateway().http2().connect().await?;
        for _ in 0..3 {
            assert_eq!(
                connection.send(Request::post("/api/v1/residents", body.clone())).await?.status,
                403,
                "{version}"
            );
            let good = Request::post("/api/v1/residents", body.clone()).bearer(&token);
            assert_eq!(connection.send(good).await?.status, 200, "{version}");
        }
        finish(lab).await?;
    }
    Ok(())
}
