//! Claims that no well-meaning issuer makes: each ends in the answer that is written here, and no host call fails.

use anyhow::Result;
use careplane_integration::{Lab, Request};
use serde_json::Value;

use crate::{
    answers::rows,
    configure,
    support::{health::finish, observe_numbered, versions},
    token,
};

/// Tokens of a megabyte reach the filters.
fn open(document: &mut Value) {
    for listener in document["static_resources"]["listeners"].as_array_mut().expect("listeners") {
        listener["filter_chains"][0]["filters"][0]["typed_config"]["max_request_headers_kb"] = 8192.into();
    }
}

#[tokio::test]
async fn hostile_claims_end_in_the_answer_that_is_written_down() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).policy(configure).patch(open).start().await?;
        let rows = rows();
        let mut probes = Vec::new();
        for (claims, path, _) in &rows {
            let token = token(&lab, "ann", claims.clone())?;
            probes.push((lab.gateway(), Request::get(path).bearer(&token)));
        }
        for ((claims, path, answer), seen) in rows.iter().zip(observe_numbered(&lab, 0, probes).await?) {
            let claims: String = claims.to_string().chars().take(100).collect();
            let about = format!("{version}: {claims} at {path}");
            let status = match *answer {
                "200" => 200,
                "tenant-malformed" => 400,
                _ => 403,
            };
            let refusal = (status != 200).then_some(*answer);
            assert_eq!(seen.refusal().as_deref(), refusal, "{about}");
            // The application has a limit of its own on what it takes.
            let too_large = status == 200 && seen.response.status == 431;
            assert!(seen.response.status == status || too_large, "{about}: {}", seen.response.status);
            let result = if status == 200 { "allowed" } else { "denied" };
            assert_eq!(seen.record()["decision"]["result"], result, "{about}");
        }
        finish(lab).await?;
    }
    Ok(())
}
