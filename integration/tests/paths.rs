//! No spelling of a path escapes its context: neither when Envoy normalises paths, nor when it leaves them as they
//! came.

mod support;

use anyhow::{Context, Result};
use careplane_integration::{EnvoyVersion, Lab};
use serde_json::Value;
use support::{SOON, health::finish, status, token, versions};

const ADMINISTER: &str = "medication-administration";

/// Spellings that an application could read as `/api/v1/medications/administer`, and a few that none would.
const TARGETS: [(&str, &str); 40] = [
    ("/api/v1/medications/administer", ADMINISTER),
    ("/api/v1/medications/administer/", ADMINISTER),
    ("/api/v1/medications/administer?x=1", ADMINISTER),
    ("/api/v1/medications/administer?x=/../..", ADMINISTER),
    ("/api/v1/medications/administer;jsessionid=1", ADMINISTER),
    ("/api/v1/medications;a=b/administer;c", ADMINISTER),
    ("/api/v1/medications/%61dminister", ADMINISTER),
    ("/api/v1/medications/%61%64%6D%69%6e%69%73%74%65%72", ADMINISTER),
    ("/%61pi/v%31/medications/administer", ADMINISTER),
    ("//api/v1/medications/administer", ADMINISTER),
    ("/api//v1///medications////administer//", ADMINISTER),
    ("/api/v1/./medications/./administer/.", ADMINISTER),
    ("/api/v1/residents/../medications/administer", ADMINISTER),
    ("/x/../api/v1/medications/administer", ADMINISTER),
    ("/../../api/v1/medications/administer", ADMINISTER),
    ("/api/v1/%2e/medications/administer", ADMINISTER),
    ("/api/v1/x/%2e%2e/medications/administer", ADMINISTER),
    ("/api/v1/x/.%2E/medications/administer", ADMINISTER),
    ("/api/v1/x/..;/medications/administer", ADMINISTER),
    ("/api/v1/x/..;a=b/medications/administer", ADMINISTER),
    ("/api/v1/medications%2Fadminister", ADMINISTER),
    ("/api/v1%2fmedications%2fadminister", ADMINISTER),
    ("/api/v1/x%2F..%2Fmedications/administer", ADMINISTER),
    ("/api\\v1\\medications\\administer", ADMINISTER),
    ("/api/v1/medications%5Cadminister", ADMINISTER),
    ("/API/V1/MEDICATIONS/ADMINISTER", ADMINISTER),
    ("/Api/v1/Medications/%41dminister", ADMINISTER),
    // Decoded once, never twice: to an application that decodes once, this is the medication "%61dminister".
    ("/api/v1/medications/%2561dminister", "medication"),
    ("/api/v1/medications/administer%20", "medication"),
    ("/api/v1/medications/administer.", "medication"),
    ("/api/v1/medications/administer/x", "medication"),
    ("/api/v1/medications/\u{e4}dminister", "medication"),
    ("/api/v1/medications/%E4dminister", "medication"),
    ("/api/v1/medications/%zz", "medication"),
    ("/api/v1/medications/%", "medication"),
    ("/api/v1/medications/administer/..", "medication"),
    ("/api/v1/medications", "medication"),
    ("/api/v1/medication/administer", "general"),
    ("/api/v1/medications/administer/../../..", "general"),
    ("/", "general"),
];

/// The context in the application's headers for a POST to `target`; none when Envoy itself refuses the request.
async fn context(lab: &Lab, target: &str) -> Result<Option<String>> {
    let token = token(lab)?;
    let request = format!(
        "POST {target} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-length: 0\r\n\
         connection: close\r\n\r\n"
    );
    let answer = lab.gateway().raw(request.as_bytes(), SOON).await?;
    match status(&answer) {
        Some(400) => Ok(None),
        Some(200) => {
            let body = answer.windows(4).position(|end| end == b"\r\n\r\n").context("no end of headers")? + 4;
            let echo: Value = serde_json::from_slice(&answer[body..])?;
            let headers = echo["headers"].as_array().context("no headers")?;
            let context = headers.iter().find(|pair| pair[0] == "x-healthcare-context").context("no context")?;
            Ok(Some(context[1].as_str().context("not a text")?.to_owned()))
        }
        _ => anyhow::bail!("{target}: {}", answer.escape_ascii()),
    }
}

async fn assert_contexts(version: EnvoyVersion, envoy_normalises: bool) -> Result<()> {
    let lab = Lab::builder()
        .version(version)
        .patch(move |document| {
            for listener in document["static_resources"]["listeners"].as_array_mut().expect("listeners") {
                let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
                manager["normalize_path"] = envoy_normalises.into();
            }
        })
        .start()
        .await?;
    let mut refused = Vec::new();
    for (target, expected) in TARGETS {
        match context(&lab, target).await? {
            Some(context) => assert_eq!(context, expected, "{version}, normalize_path {envoy_normalises}: {target}"),
            None => refused.push(target),
        }
    }
    // Envoy does not take bytes outside ASCII in a path, nor, when it normalises, every escape. The rest reaches
    // careplane.
    assert!(refused.len() <= 3, "{version}, normalize_path {envoy_normalises}: {refused:?}");
    finish(lab).await
}

#[tokio::test]
async fn every_spelling_of_a_path_is_in_its_context() -> Result<()> {
    for version in versions() {
        assert_contexts(version, true).await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_spelling_of_a_path_is_in_its_context_without_help_from_envoy() -> Result<()> {
    for version in versions() {
        assert_contexts(version, false).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_path_that_an_application_may_read_as_another_one_is_refused_where_the_policy_says_so() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder()
            .version(version)
            .policy(|policy| policy["paths"] = serde_json::json!({"ambiguous": "reject"}))
            .patch(|document| {
                for listener in document["static_resources"]["listeners"].as_array_mut().expect("listeners") {
                    listener["filter_chains"][0]["filters"][0]["typed_config"]["normalize_path"] = false.into();
                }
            })
            .start()
            .await?;
        for (target, expected) in [
            ("/api/v1/medications/administer", Some(ADMINISTER)),
            ("/api/v1/medications/administer/", Some(ADMINISTER)),
            ("/api/v1/medications/7.json", Some("medication")),
            ("/api/v1/medications/a%20b", Some("medication")),
            ("/api/v1/medications/administer.json", None),
            ("/api/v1/medications/administer.", None),
            ("/api/v1/medications/administer%20", None),
            ("/api/v1/medications/administer;v=1", None),
            ("/api/v1/medications%2Fadminister", None),
            ("/api/v1/medications/x%5c..%5cadminister", None),
            ("/api/v1/medications/%2561dminister", None),
        ] {
            assert_eq!(context(&lab, target).await?.as_deref(), expected, "{version}: {target}");
        }
        let seen = support::observe_one(&lab, &lab.gateway(), {
            careplane_integration::Request::get("/api/v1/medications/administer.json").bearer(&token(&lab)?)
        })
        .await?;
        // `GET` has no context of its own at `/administer`, so a suffix changes nothing.
        assert_eq!(seen.response.status, 200, "{version}");
        let post = careplane_integration::Request::post("/api/v1/medications/administer.json", &b""[..]);
        let seen = support::observe_one(&lab, &lab.gateway(), post.bearer(&token(&lab)?)).await?;
        assert_eq!(seen.refusal().as_deref(), Some("path-ambiguous"), "{version}");
        assert!(seen.upstream.is_none() && seen.span.is_some(), "{version}");
        finish(lab).await?;
    }
    Ok(())
}
