//! A new policy for a running Envoy: refused as a whole or in effect as a whole, and no request without its record
//! meanwhile.

mod support;

use std::collections::BTreeMap;

use anyhow::Result;
use careplane_integration::EnvoyVersion;
use careplane_integration::{Lab, Plugins, Reload, Request, audit_log::verify_chains, client::Load, prerequisites};
use serde_json::{Value, json};
use support::{SOON, TRUSTED, health, health::finish, observe, ready, token, versions};

fn refusal(reload: Reload) -> String {
    match reload {
        Reload::Rejected(reason) => reason,
        Reload::Accepted => panic!("it was accepted"),
    }
}

#[tokio::test]
async fn a_policy_with_problems_is_refused_with_all_of_them_and_the_old_one_stays() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let mut bad = lab.policy().clone();
        bad["version"] = "careplane/v9".into();
        bad["contexts"][0]["tier"] = "sometimes".into();
        bad["contexts"][1]["match"][1]["path"] = "api/no-slash".into();
        bad["contexts"][2]["retention"] = "eight years".into();
        bad["sampling"]["tiers"]["clinical"] = 150.into();
        bad["tenants"]["entries"]["care-home-0042"]["pool"] = "pool-z".into();
        bad["identity"]["trustedPeers"] = json!(["http://not-spiffe"]);
        bad["unknownField"] = true.into();
        let reason = refusal(lab.reload(&bad).await?);
        for path in [
            "version: ",
            "contexts[0].tier: ",
            "contexts[1].match[1].path: ",
            "contexts[2].retention: ",
            "sampling.tiers.clinical: ",
            "tenants.entries.care-home-0042.pool: ",
            "identity.trustedPeers[0]: ",
            "unknownField",
        ] {
            assert!(reason.contains(path), "{version}: {path} is missing in\n{reason}");
        }
        let seen = observe(&lab, [(lab.gateway(), Request::get("/api/v1/medications/7").bearer(&token))]).await?;
        assert_eq!(
            (seen[0].response.status, seen[0].tag("healthcare_context")),
            (200, Some("medication")),
            "{version}"
        );
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_no_policy_at_all_is_refused() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        for bad in
            [json!(null), json!([]), json!({}), json!("{"), json!(7), json!({"version": "careplane/v1", "contexts": 1})]
        {
            let reason = refusal(lab.reload(&bad).await?);
            assert!(reason.contains("configuration refused"), "{version}: {bad}: {reason}");
        }
        assert_eq!(lab.gateway().send(Request::get("/health")).await?.status, 200, "{version}");
        finish(lab).await?;
    }
    Ok(())
}

/// Hashes of both kinds in one chain would be a broken one to who verifies it.
#[tokio::test]
async fn a_chain_has_one_key_and_with_another_one_another_chain_begins() -> Result<()> {
    const KEY: &str = "a key of the chain, long enough";
    for version in versions() {
        let lab = Lab::builder()
            .version(version)
            .patch(|document| {
                for listener in document["static_resources"]["listeners"].as_array_mut().expect("listeners") {
                    let filters = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
                    for filter in filters.as_array_mut().expect("filters") {
                        let variables = "/typed_config/config/vm_config/environment_variables/key_values";
                        if let Some(variables) = filter.pointer_mut(variables) {
                            variables["CAREPLANE_AUDIT_KEY"] = json!(KEY);
                        }
                    }
                }
            })
            .start()
            .await?;
        let token = token(&lab)?;
        let mut keyed = lab.policy().clone();
        keyed["audit"]["chainKeyEnv"] = "CAREPLANE_AUDIT_KEY".into();
        let plain = lab.policy().clone();
        for policy in [None, Some(&keyed), Some(&plain), Some(&keyed)] {
            if let Some(policy) = policy {
                assert_eq!(lab.reload(policy).await?, Reload::Accepted, "{version}");
            }
            for _ in 0..3 {
                lab.gateway().send(Request::get("/elsewhere").bearer(&token)).await?;
            }
        }
        let records = support::settle_records(&lab).await?;
        let mut keys: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for record in &records {
            keys.entry(record["chain"]["id"].as_str().expect("a chain")).or_default().push(&record["chain"]["key"]);
        }
        assert!(keys.len() >= 2, "{version}: {keys:?}");
        for (chain, keys) in &keys {
            assert!(keys.iter().all(|key| *key == keys[0]), "{version}: {chain}: {keys:?}");
        }
        let (with, without): (Vec<Value>, Vec<Value>) =
            records.into_iter().partition(|record| record["chain"]["key"].is_string());
        assert!(
            with.len() >= 6 && without.len() >= 6,
            "{version}: {} with a key, {} without",
            with.len(),
            without.len()
        );
        verify_chains(&without)?;
        lab.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_start_with_a_bad_policy_is_refused_with_the_reason() -> Result<()> {
    for version in versions() {
        let start =
            Lab::builder().version(version).policy(|policy| policy["defaultContext"]["tier"] = "x".into()).start();
        let error = format!("{:#}", start.await.expect_err("a policy with an unknown tier"));
        assert!(error.contains("defaultContext.tier: "), "{version}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_plugin_name_is_refused_and_the_known_ones_are_listed() -> Result<()> {
    let all = "expected one of careplane, tracing-tags, tenant-routing, sampling, audit";
    for (plugins, name, expected) in [
        (Plugins::Bundle, "routing", all),
        (Plugins::Bundle, "", all),
        (Plugins::Bundle, "Careplane", all),
        // A module of one filter knows no other name.
        (Plugins::PerFilterModules, "careplane", "expected one of audit"),
    ] {
        for version in versions().filter(|version| prerequisites(*version, plugins)) {
            let rename = move |document: &mut Value| {
                let filters = &mut document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
                let filters = filters["typed_config"]["http_filters"].as_array_mut().expect("filters");
                let wasm = filters
                    .iter_mut()
                    .find(|filter| filter["name"].as_str().is_some_and(|n| n.starts_with("careplane")));
                wasm.expect("a Wasm filter")["typed_config"]["config"]["root_id"] = name.into();
            };
            let start = Lab::builder().version(version).plugins(plugins).patch(rename).start();
            let error = format!("{:#}", start.await.expect_err("an unknown name"));
            assert!(
                error.contains(&format!("pluginName {name:?} is not a filter of this module")),
                "{version}: {error}"
            );
            assert!(error.contains(expected), "{version}: {error}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_good_policy_takes_effect_and_its_records_say_so() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).concurrency(1).start().await?;
        let token = token(&lab)?;
        let probe = || [(lab.gateway(), Request::get("/elsewhere").bearer(&token))];
        let before = observe(&lab, probe()).await?;
        let mut policy = lab.policy().clone();
        policy["defaultContext"]["name"] = "another".into();
        policy["headers"] = json!({"healthcareContext": "x-about"});
        assert_eq!(lab.reload(&policy).await?, Reload::Accepted, "{version}");
        let after = observe(&lab, probe()).await?;
        assert_eq!(after[0].forwarded("x-about"), ["another"], "{version}");
        assert_eq!(after[0].forwarded("x-healthcare-context"), [""; 0], "{version}");
        let digests = [&before[0], &after[0]].map(|seen| seen.record()["context"]["policy"].clone());
        assert_ne!(digests[0], digests[1], "{version}");
        // The VM is the same, and so is its chain.
        let chains = [&before[0], &after[0]].map(|seen| seen.record()["chain"]["id"].clone());
        assert_eq!(chains[0], chains[1], "{version}");
        finish(lab).await?;
    }
    Ok(())
}

const REQUESTS: usize = 20_000;

#[tokio::test]
async fn twenty_thousand_requests_have_twenty_thousand_records_while_the_policy_changes() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let lab = Lab::builder().concurrency(2).direct_response().start().await?;
    let token = token(&lab)?;
    let gateway = lab.gateway();
    let request = Request::get("/elsewhere").bearer(&token);
    let make = request.clone();
    let load = gateway.load(Load::new(REQUESTS, 16), move |_| make.clone(), |_| ());
    let received = "http.gateway.downstream_rq_total";
    let reloads = async {
        for tenth in 1..=8_u64 {
            // Spread over the load, whatever the machine is worth.
            lab.envoy().admin().wait_for_stat(received, tenth * REQUESTS as u64 / 10, SOON).await?;
            let mut policy = lab.policy().clone();
            policy["defaultContext"]["name"] = format!("general-{tenth}").into();
            let is_bad = tenth % 4 == 0;
            if is_bad {
                policy["defaultContext"]["tier"] = "unknown".into();
            }
            assert_eq!(lab.reload(&policy).await? != Reload::Accepted, is_bad, "policy {tenth}");
            // A connection of its own: those of the load keep what they had until they are drained.
            assert_eq!(gateway.send(request.clone()).await?.status, 200);
        }
        anyhow::Ok(())
    };
    let (report, reloads) = tokio::join!(load, reloads);
    reloads?;
    let report = report?;
    assert_eq!(report.statuses.keys().collect::<Vec<_>>(), [&200]);
    let answered = report.statuses[&200] + 8;
    assert_eq!(answered + report.failures, REQUESTS + 8);

    // A connection that is closed for a reload may take a request along that Envoy has not read.
    let reached = usize::try_from(lab.envoy().stat(received).await?)?;
    assert!((answered..=REQUESTS + 8).contains(&reached), "{answered} answered, {reached} received");
    let records = lab.audit_log().wait_for(reached, SOON).await?;
    assert_eq!(records.len(), reached, "records and requests");
    let heads = verify_chains(&records)?;
    assert_eq!(heads.len(), 2, "a chain for each worker, through all reloads: {heads:?}");

    let mut under: BTreeMap<&str, usize> = BTreeMap::new();
    for record in &records {
        *under.entry(record["context"]["name"].as_str().unwrap_or_default()).or_default() += 1;
    }
    let policies = ["general", "general-1", "general-2", "general-3", "general-5", "general-6", "general-7"];
    assert_eq!(under.keys().copied().collect::<Vec<_>>(), policies, "{under:?}");
    assert!(under.values().filter(|count| **count > 100).count() >= 2, "the load met one policy alone: {under:?}");
    assert_eq!(lab.envoy().stat("wasmcustom.careplane.audit.records").await?, reached as u64);
    health::finish_without_chains(lab).await
}

#[tokio::test]
async fn ten_thousand_pinned_tenants_and_five_hundred_contexts_are_loaded_and_found() -> Result<()> {
    for plugins in [Plugins::Bundle, Plugins::SeparateFromOneModule] {
        if !prerequisites(EnvoyVersion::V1_40_0, plugins) {
            continue;
        }
        let lab = Lab::builder()
            .plugins(plugins)
            .policy(|policy| {
                let pools = ["pool-a", "pool-b", "pool-c", "dedicated-a"];
                policy["tenants"]["entries"] = (0..10_000)
                    .map(|n| (format!("home-{n:05}"), json!({"pool": pools[n % 4], "cohort": "stable"})))
                    .collect::<serde_json::Map<_, _>>()
                    .into();
                policy["contexts"] = (0..500)
                    .map(|n| {
                        json!({
                            "name": format!("service-{n}"), "complianceLevel": "high", "tier": "always",
                            "match": [
                                {"methods": ["GET"], "path": format!("/api/v{}/service-{n}/{{id}}", n % 7)},
                                {"path": format!("/api/v{}/service-{n}/{{id}}/{{*rest}}", n % 7)},
                            ],
                        })
                    })
                    .collect();
            })
            .start()
            .await?;
        let peer = lab.sidecar(TRUSTED)?;
        let rows = [(0, 0), (1, 1), (4_998, 250), (9_999, 499)];
        let probes = rows.map(|(tenant, service)| {
            let path = format!("/api/v{}/service-{service}/7/x", service % 7);
            (peer.clone(), Request::get(path).header("x-tenant-id", format!("home-{tenant:05}")))
        });
        for ((tenant, service), seen) in rows.into_iter().zip(observe(&lab, probes).await?) {
            let pool = ["pool-a", "pool-b", "pool-c", "dedicated-a"][tenant % 4];
            assert_eq!(seen.upstream.as_ref().map(|up| up.pool.as_str()), Some(pool), "{plugins:?}: {tenant}");
            assert_eq!(seen.tag("healthcare_context"), Some(format!("service-{service}").as_str()), "{plugins:?}");
        }
        finish(lab).await?;
    }
    Ok(())
}
