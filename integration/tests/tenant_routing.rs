//! `tenant-routing` in Envoy: the pool and the release that a tenant's requests arrive at.

mod support;

use std::collections::BTreeMap;

use anyhow::Result;
use careplane_integration::{EnvoyVersion, Lab, Reload, Request, client::Load};
use serde_json::{Value, json};
use support::{
    TRUSTED,
    health::finish,
    observe, ready,
    reflect::{reflected, reflecting},
    versions,
};

/// Requests of these tenants, from a peer that is believed.
fn of(lab: &Lab, tenants: &[&str]) -> Result<Vec<support::Probe>> {
    let peer = lab.sidecar(TRUSTED)?;
    Ok(tenants.iter().map(|tenant| (peer.clone(), Request::get("/elsewhere").header("x-tenant-id", tenant))).collect())
}

#[tokio::test]
async fn requests_arrive_where_their_tenant_is_served() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder()
            .version(version)
            .policy(|policy| {
                policy["routing"]["canary"]["percent"] = 0.into();
                policy["tenants"]["entries"] = json!({
                    "pinned-dedicated": {"pool": "dedicated-a"},
                    "pinned-b": {"pool": "pool-b"},
                    "pinned-canary": {"cohort": "canary"},
                    "pinned-both": {"pool": "dedicated-a", "cohort": "canary"},
                    "pinned-stable": {"cohort": "stable"},
                    "known": {"jurisdiction": "england"},
                });
            })
            .start()
            .await?;
        let tenants =
            ["pinned-dedicated", "pinned-b", "pinned-canary", "pinned-both", "pinned-stable", "known", "unknown"];
        for (tenant, seen) in tenants.iter().zip(observe(&lab, of(&lab, &tenants)?).await?) {
            let about = format!("{version}: {tenant}");
            let (pools, cohorts) = (seen.forwarded("x-tenant-pool"), seen.forwarded("x-release-cohort"));
            assert_eq!((pools.len(), cohorts.len()), (1, 1), "{about}");
            let cohort = if matches!(*tenant, "pinned-canary" | "pinned-both") { "canary" } else { "stable" };
            assert_eq!(cohorts[0], cohort, "{about}");
            match *tenant {
                "pinned-dedicated" | "pinned-both" => assert_eq!(pools[0], "dedicated-a", "{about}"),
                "pinned-b" => assert_eq!(pools[0], "pool-b", "{about}"),
                // No tenant is hashed into a dedicated pool.
                _ => assert!(["pool-a", "pool-b", "pool-c"].contains(&pools[0].as_str()), "{about}: {pools:?}"),
            }
            let arrived = if cohort == "canary" { "canary" } else { pools[0].as_str() };
            assert_eq!(seen.upstream.as_ref().map(|up| up.pool.as_str()), Some(arrived), "{about}");
            assert_eq!(seen.record()["outcome"]["cluster"], arrived, "{about}");
            assert_eq!(seen.record()["tenant"]["pool"], pools[0], "{about}");
            assert_eq!(seen.record()["tenant"]["cohort"], cohort, "{about}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_request_without_tenant_has_no_pool_whatever_it_says() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let forged =
            Request::get("/health").header("x-tenant-pool", "dedicated-a").header("x-release-cohort", "canary");
        for client in [lab.gateway(), lab.sidecar(TRUSTED)?] {
            let seen = observe(&lab, [(client, forged.clone())]).await?;
            assert_eq!(seen[0].forwarded("x-tenant-pool"), [""; 0], "{version}");
            assert_eq!(seen[0].forwarded("x-release-cohort"), [""; 0], "{version}");
            assert_eq!(
                seen[0].upstream.as_ref().map(|up| up.pool.as_str()),
                Some("pool-a"),
                "{version}: the default route"
            );
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn tenants_that_the_policy_does_not_know_are_refused_if_it_says_so() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder()
            .version(version)
            .policy(|policy| policy["tenants"]["unknown"] = "deny".into())
            .start()
            .await?;
        let tenants = ["care-home-0001", "care-home-0002", "Care-Home-0001"];
        let seen = observe(&lab, of(&lab, &tenants)?).await?;
        assert_eq!(seen[0].response.status, 200, "{version}");
        for stranger in &seen[1..] {
            assert_eq!(stranger.response.status, 403, "{version}");
            assert_eq!(stranger.refusal().as_deref(), Some("tenant-unknown"), "{version}");
            assert!(stranger.upstream.is_none(), "{version}");
            assert_eq!(stranger.record()["decision"]["reason"], "tenant-unknown", "{version}");
            assert_eq!(stranger.record()["trace"]["sampled"], true, "{version}");
        }
        // Without a tenant there is none to be unknown.
        assert_eq!(lab.gateway().send(Request::get("/health")).await?.status, 200, "{version}");
        finish(lab).await?;
    }
    Ok(())
}

const TENANTS: usize = 5_000;

fn reflecting_lab() -> careplane_integration::lab::Builder {
    reflecting(Lab::builder(), &["x-tenant-pool", "x-release-cohort"]).policy(|policy| {
        policy["identity"]["trustedPeers"] = "any".into();
        policy["audit"]["sinks"] = json!({"accessLog": false, "otlp": false, "proxyLog": "off"});
        policy["tenants"]["entries"] = json!({});
    })
}

/// The pool and the cohort of each of `count` tenants; tenants come round again after [`TENANTS`].
async fn placements(lab: &Lab, count: usize) -> Result<Vec<(String, String)>> {
    let make = |index: usize| Request::get("/x").header("x-tenant-id", format!("home-{:04}", index % TENANTS));
    let report = lab
        .gateway()
        .load(Load::new(count, 8), make, |answered| {
            let value = |name: &str| answered.response.header(&reflected(name)).unwrap_or_default();
            (value("x-tenant-pool"), value("x-release-cohort"))
        })
        .await?;
    assert_eq!((report.statuses.get(&200), report.failures), (Some(&count), 0));
    Ok(report.collected)
}

fn shares<'a>(values: impl Iterator<Item = &'a String>) -> BTreeMap<&'a str, f64> {
    let mut shares = BTreeMap::new();
    values.for_each(|value| *shares.entry(value.as_str()).or_default() += 1.0 / TENANTS as f64);
    shares
}

async fn reload(lab: &Lab, policy: &Value) -> Result<()> {
    assert_eq!(lab.reload(policy).await?, Reload::Accepted);
    Ok(())
}

#[tokio::test]
async fn five_thousand_tenants_fill_three_pools_evenly_and_a_fourth_takes_its_share_of_each() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let lab = reflecting_lab().start().await?;
    let three = placements(&lab, TENANTS).await?;
    let shares = shares(three.iter().map(|(pool, _)| pool));
    assert_eq!(shares.keys().collect::<Vec<_>>(), [&"pool-a", &"pool-b", &"pool-c"]);
    for (pool, share) in shares {
        let off = share * 3.0 - 1.0;
        assert!(off.abs() <= 0.06, "{pool} is {:.1} % off its share", off * 100.0);
    }

    let mut policy = lab.policy().clone();
    policy["routing"]["pools"] = json!(["pool-d", "pool-b", "pool-c", "pool-a"]);
    reload(&lab, &policy).await?;
    let four = placements(&lab, TENANTS).await?;
    let moved: Vec<_> = three.iter().zip(&four).filter(|((before, _), (after, _))| before != after).collect();
    assert!(moved.iter().all(|(_, (after, _))| after == "pool-d"), "a tenant moved between old pools");
    let share = moved.len() as f64 / TENANTS as f64;
    assert!((share - 0.25).abs() <= 0.03, "{:.1} % moved", share * 100.0);
    // Each old pool gave its part.
    for pool in ["pool-a", "pool-b", "pool-c"] {
        let gave = moved.iter().filter(|((before, _), _)| before == pool).count();
        assert!(gave > TENANTS / 20, "{pool} gave {gave}");
    }
    finish(lab).await
}

#[tokio::test]
async fn a_cohort_is_of_whole_tenants_and_a_higher_percentage_takes_none_out() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let lab = reflecting_lab().start().await?;
    // Each tenant twice, over many connections.
    let five = placements(&lab, TENANTS * 2).await?;
    assert_eq!(five[..TENANTS], five[TENANTS..], "a tenant was in two cohorts");
    let canaries = |placed: &[(String, String)]| {
        placed.iter().take(TENANTS).filter(|(_, cohort)| cohort == "canary").count() as f64 / TENANTS as f64
    };
    // Four standard errors of a share of 5,000.
    let off = canaries(&five) - 0.05;
    assert!(off.abs() <= 4.0 * (0.05_f64 * 0.95 / TENANTS as f64).sqrt(), "{off}");

    let mut policy = lab.policy().clone();
    policy["routing"]["canary"]["percent"] = 20.into();
    reload(&lab, &policy).await?;
    let twenty = placements(&lab, TENANTS).await?;
    let off = canaries(&twenty) - 0.20;
    assert!(off.abs() <= 4.0 * (0.2_f64 * 0.8 / TENANTS as f64).sqrt(), "{off}");
    for ((_, before), (_, after)) in five.iter().zip(&twenty) {
        assert!(before != "canary" || after == "canary", "a tenant left the canary cohort");
    }
    finish(lab).await
}

#[tokio::test]
async fn a_tenant_is_in_the_same_pool_on_every_envoy_and_through_every_plugin() -> Result<()> {
    use careplane_integration::{Plugins, prerequisites, workspace};

    let mut expected: Option<Vec<(String, String)>> = None;
    let bundles = workspace::versions().into_iter().map(|version| (version, Plugins::Bundle));
    let newest = [Plugins::SeparateFromOneModule, Plugins::PerFilterModules];
    for (version, plugins) in bundles.chain(newest.map(|plugins| (EnvoyVersion::V1_40_0, plugins))) {
        if !prerequisites(version, plugins) {
            continue;
        }
        let lab = reflecting_lab().version(version).plugins(plugins).concurrency(2).start().await?;
        let placed = placements(&lab, 300).await?;
        assert_eq!(&placed, expected.get_or_insert_with(|| placed.clone()), "{version}, {plugins:?}");
        finish(lab).await?;
    }
    Ok(())
}
