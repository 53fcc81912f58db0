//! Filters that cache: they send requests by a router of their own, and answer for the application.

use anyhow::Result;
use careplane_integration::{EnvoyVersion, Request};
use serde_json::{Value, json};

use crate::{
    Run,
    application::{ACT, Application},
    chains::{Chain, filter},
    finish, lab, request,
    support::versions,
};

const PLACES: [&str; 2] = ["before", "behind"];

fn chains(version: EnvoyVersion) -> Vec<(bool, Chain)> {
    let simple = |name: &str, kind: &str| {
        let full_name = format!("envoy.extensions.http.{name}.simple_http_cache.v3.{kind}");
        json!({"typed_config": {"@type": format!("type.googleapis.com/{full_name}")}})
    };
    let first = filter("cache", "CacheConfig", &simple("cache", "SimpleHttpCacheConfig"));
    let second = filter("cache_v2", "CacheV2Config", &simple("cache_v2", "SimpleHttpCacheV2Config"));
    // The second came with 1.37.
    let filters = [("cache", false, first), ("cache_v2", true, second)];
    let known = filters.into_iter().filter(|(_, second, _)| !second || version >= EnvoyVersion::new(1, 37, 0));
    known
        .flat_map(|(name, second, filter)| {
            PLACES.map(|place| {
                let chain = Chain::new(format!("{name}-{place}"));
                (second, if place == "before" { chain.before(filter.clone()) } else { chain.behind(filter.clone()) })
            })
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cache_fetches_was_forwarded_and_of_what_it_keeps_nothing_is_claimed() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let chains = chains(version);
        let all: Vec<_> = chains.iter().map(|(_, chain)| chain.clone()).collect();
        let lab = lab(version, &application, &all).start().await?;
        let mut run = Run::new(&lab, &application);
        for (_, chain) in &chains {
            let get = |act: &str| {
                let path = format!("/api/v1/financial/{}/{act}?surname=Zz9canary", chain.name());
                // A cookie is no reason not to keep an answer.
                request(Request::get(path)).header("host", "care").header(ACT, act)
            };
            for act in ["cacheable", "cacheable", "status-404"] {
                run.send(chain.name(), get(act)).await?;
            }
        }
        let outcomes = run.finish().await?;
        for ((second, chain), seen) in chains.iter().zip(outcomes.chunks(3)) {
            let [fetched, kept, missing] = seen else { panic!("three requests") };
            let what = |seen: &crate::Outcome| format!("{version}: {}: {}", chain.name(), seen.record);
            assert_eq!([fetched.received, kept.received, missing.received], [1, 0, 1], "{}", what(kept));
            let words = if *second { "cache.insert_via_upstream" } else { "via_upstream" };
            assert_eq!(fetched.summary(), ["allowed", "upstream", words, "true"], "{}", what(fetched));
            // It is the application's answer, so a read all the same.
            let from_cache = ["allowed", "cache", "cache.response_from_cache_filter", "null"];
            assert_eq!(kept.summary(), from_cache, "{}", what(kept));
            assert_eq!(missing.summary(), ["allowed", "upstream", "via_upstream", "true"], "{}", what(missing));
            for seen in [fetched, kept, missing] {
                // The cache may have asked another cluster than the route's, and says not how often.
                assert_eq!(
                    (seen.outcome("cluster"), seen.outcome("attempts")),
                    (&Value::Null, &Value::Null),
                    "{}",
                    what(seen)
                );
                assert!(seen.spans.is_empty(), "{}: {:?}", what(seen), seen.spans);
            }
        }
        finish(lab).await?;
    }
    Ok(())
}
