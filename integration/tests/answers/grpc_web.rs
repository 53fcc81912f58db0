//! The status of gRPC, with and without the filter that translates gRPC-Web.

use anyhow::Result;
use careplane_integration::Request;
use serde_json::{Value, json};

use crate::{
    Run,
    application::Application,
    chains::{Chain, GRPC, filter},
    finish, lab, request,
    support::{token, versions},
};

const METHODS: [&str; 3] = ["Well", "Fails", "Refuses"];

fn chains() -> [Chain; 3] {
    let web = || filter("grpc_web", "GrpcWeb", &json!({}));
    let to = json!({"match": {"prefix": "/care.v1."}, "route": {"cluster": GRPC}});
    [
        Chain::new("native").route(to.clone()),
        Chain::new("behind").behind(web()).route(to.clone()),
        Chain::new("before").before(web()).route(to),
    ]
}

fn call(method: &str, content_type: &str, token: &str) -> Request {
    request(Request::post(format!("/care.v1.Residents/{method}"), &b"\0\0\0\0\0"[..]))
        .header("content-type", content_type)
        .header("te", "trailers")
        .bearer(token)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_a_grpc_call_is_the_applications() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &chains()).start().await?;
        let token = token(&lab)?;
        let mut run = Run::new(&lab, &application);
        // A filter that has nothing to translate changes nothing.
        let calls: Vec<_> =
            ["native", "behind", "before"].iter().flat_map(|chain| METHODS.map(|method| (chain, method))).collect();
        for (chain, method) in &calls {
            run.send_http2(chain, call(method, "application/grpc", &token)).await?;
        }
        for ((chain, method), seen) in calls.iter().zip(run.finish().await?) {
            let expected = if *method == "Well" { 0 } else { 5 };
            assert_eq!(seen.outcome("grpcStatus"), &json!(expected), "{version}: {chain} {method}: {}", seen.record);
            assert_eq!(seen.summary(), ["allowed", "upstream", "via_upstream", "true"], "{version}: {}", seen.record);
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_a_grpc_web_call_is_right_or_left_out_and_no_failure_is_made_of_it() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &chains()).start().await?;
        let token = token(&lab)?;
        let mut run = Run::new(&lab, &application);
        let calls: Vec<_> =
            ["behind", "before"].iter().flat_map(|chain| METHODS.map(|method| (chain, method))).collect();
        for (chain, method) in &calls {
            run.send(chain, call(method, "application/grpc-web+proto", &token)).await?;
        }
        for ((chain, method), seen) in calls.iter().zip(run.finish().await?) {
            let what = format!("{version}: {chain} {method}: {}", seen.record);
            // The filter moves trailers into the body; the proxy reports a status in the headers only.
            let expected = if *method == "Refuses" { json!(5) } else { Value::Null };
            assert_eq!(seen.outcome("grpcStatus"), &expected, "{what}");
            assert_eq!((seen.received, seen.outcome("status")), (1, &json!(200)), "{what}");
            assert!(seen.spans.is_empty(), "{what}: {:?}", seen.spans);
        }
        finish(lab).await?;
    }
    Ok(())
}
