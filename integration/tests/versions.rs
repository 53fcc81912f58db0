//! What each Envoy supports: `docs/versions.md`, looked at.

mod support;

use std::fs;

use anyhow::{Context, Result};
use careplane_integration::{EnvoyVersion, Lab, Reload, Request, otlp::Answer, workspace};
use serde_json::json;
use support::{observe_numbered, versions};

/// The columns after version and Istio, in order.
const QUESTIONS: [&str; 8] =
    ["records", "tiers", "refusals", "span tags", "after `-00`", "updates", "delivery", "write-ahead"];
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// The answers of a running Envoy, in the order of [`QUESTIONS`].
async fn look(version: EnvoyVersion) -> Result<[bool; QUESTIONS.len()]> {
    let lab = Lab::builder()
        .version(version)
        .policy(|policy| {
            policy["audit"] = json!({"sinks": {"otlp": true}, "writeAhead": ["critical"]});
            policy["export"] = json!({"cluster": "otel", "timeout": "500ms", "batch": {"interval": "100ms"}});
        })
        .start()
        .await?;
    let token = lab.identity().token(support::TENANT, support::USER, json!({"roles": ["nurse"]}))?;
    let gateway = || lab.gateway();
    let administer = || Request::post("/api/v1/medications/administer", "{}").bearer(&token);
    let probes = [
        (gateway(), administer()),
        (gateway(), Request::get("/elsewhere")),
        (gateway(), administer().header("traceparent", UNSAMPLED)),
    ];
    let [kept, refused, after] = <[_; 3]>::try_from(observe_numbered(&lab, 9_999, probes).await?).unwrap();
    let sampled = |seen: &support::Seen| seen.forwarded("traceparent").iter().any(|parent| parent.ends_with("-01"));
    let recorded = [&kept, &refused, &after].iter().all(|seen| seen.record.is_some());
    let refusal_kept = refused.response.status == 403 && refused.span.is_some();

    let unreadable = json!({"version": "careplane/v2"});
    let update_refused = matches!(lab.reload(&unreadable).await?, Reload::Rejected(_));
    let goes_on = gateway().send(Request::get("/elsewhere").bearer(&token)).await?.status == 200;
    let arrived = |kind: &str| {
        let kind = format!(r#""kind":"{kind}""#);
        lab.otlp().logs().iter().any(|record| record.body.contains(&kind))
    };
    let delivered = careplane_integration::poll::until("records at the collector", support::SOON, async || {
        Ok(arrived("request").then_some(true))
    });
    let delivered = delivered.await?;
    lab.otlp().answer(Answer::Refuse(503));
    let unrecorded = gateway().send(administer()).await?.status;
    let write_ahead = kept.response.status == 200 && arrived("intent") && unrecorded == 503;
    let answers = [
        recorded,
        sampled(&kept),
        refusal_kept,
        kept.tag("path_template").is_some(),
        sampled(&after),
        update_refused && goes_on,
        delivered,
        write_ahead,
    ];
    lab.stop().await?;
    Ok(answers)
}

fn table() -> Result<String> {
    let file = workspace::root().join("docs/versions.md");
    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

#[tokio::test]
async fn each_envoy_does_what_the_table_says() -> Result<()> {
    let table = table()?;
    let mut wrong = Vec::new();
    for version in versions() {
        let answers = look(version).await?;
        let is = |yes: &bool| if *yes { "yes" } else { "no" };
        let seen: Vec<&str> = answers.iter().map(is).collect();
        let row = table.lines().map(cells).find(|cells| cells[0] == version.to_string());
        let row = row.with_context(|| format!("docs/versions.md has no row for {version}"))?;
        if row[2..] != seen {
            wrong.push(format!("{version}: the row should end in | {} |", seen.join(" | ")));
        }
    }
    assert!(wrong.is_empty(), "docs/versions.md is not what was seen:\n{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn the_table_has_every_version_that_is_tested() -> Result<()> {
    let table = table()?;
    let head: Vec<Vec<&str>> = table.lines().filter(|line| line.starts_with('|')).map(cells).collect();
    assert_eq!(head[0][2..], QUESTIONS);
    let listed: Vec<&str> = head[2..].iter().map(|cells| cells[0]).collect();
    assert_eq!(listed, EnvoyVersion::TESTED.map(|version| version.to_string()));
    Ok(())
}
