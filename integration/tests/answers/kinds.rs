//! Requests that are not a caller's own act: preflights, mirrored copies, and redirects that Envoy follows by itself.

use anyhow::{Context, Result};
use careplane_integration::Request;
use hyper::Method;
use serde_json::{Value, json};

use crate::{
    Run,
    application::{ACT, Application},
    by_request,
    chains::{APPLICATION, Chain, FAILING, client, cluster_of},
    finish, get, lab, request,
    support::{SOON, USER, request_id, token, versions, without_reason},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_says_so_and_names_no_resident_whoever_answers_it() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &[Chain::new("plain")]).start().await?;
        let preflight = |method: Method| {
            request(Request::new(method, "/api/v1/residents/9434765919"))
                .header("origin", "https://care.example")
                .header("access-control-request-method", "GET")
                .bearer(&token(&lab).unwrap_or_default())
        };
        let mut run = Run::new(&lab, &application);
        run.send("plain", preflight(Method::OPTIONS)).await?;
        run.send("plain", preflight(Method::GET)).await?;
        let [preflight, read] = &run.finish().await?[..] else { panic!("two requests") };
        assert_eq!(preflight.record["request"]["preflight"], true, "{version}: {}", preflight.record);
        assert!(preflight.record["context"]["subject"].is_null(), "{version}: {}", preflight.record);
        assert_eq!((preflight.received, preflight.outcome("forwarded")), (1, &json!(true)), "{version}");
        assert!(read.record["request"]["preflight"].is_null(), "{version}: {}", read.record);
        assert!(read.record["context"]["subject"].is_string(), "{version}: {}", read.record);
        finish(lab).await?;
    }
    Ok(())
}

fn following(path: &str) -> Value {
    json!({
        "match": {"prefix": format!("/api/v1/financial/{path}")},
        "route": {"cluster": APPLICATION, "internal_redirect_policy": {"max_internal_redirects": 2}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_passes_of_a_redirect_that_envoy_follows_can_be_told() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let chain = Chain::new("redirects").route(following("start"));
        let lab = lab(version, &application, &[chain]).start().await?;
        let (id, plain) = (request_id(9_999), request_id(9_999));
        let start =
            request(Request::get("/api/v1/financial/start")).header(ACT, "redirect").header("x-request-id", &id);
        let client = client(&lab, "redirects").await?;
        assert_eq!(client.send(start).await?.status, 200, "{version}");
        // A caller cannot say that its request is the second pass of another.
        let forged = get().header("x-envoy-original-url", "http://care/").header("x-request-id", &plain);
        assert_eq!(client.send(forged).await?.status, 200, "{version}");

        let records = by_request(&lab).await?;
        let passes = records.get(&without_reason(&id)).context("records")?;
        let [first, second] = &passes[..] else { panic!("{version}: two passes, not {passes:?}") };
        assert!(first["request"]["redirects"].is_null(), "{version}: {first}");
        assert_eq!(second["request"]["redirects"], 1, "{version}: {second}");
        assert_eq!(first["outcome"]["details"], "internal_redirect", "{version}: {first}");
        assert_eq!(first["outcome"]["status"], 302, "{version}: {first}");
        for pass in passes {
            assert_eq!(pass["decision"]["result"], "allowed", "{version}: {pass}");
            assert_eq!(
                (&pass["outcome"]["forwarded"], &pass["outcome"]["attempts"]),
                (&json!(true), &json!(1)),
                "{version}: {pass}"
            );
        }
        // Envoy names the cluster of the pass that follows.
        assert!(first["outcome"]["cluster"].is_null(), "{version}: {first}");
        assert_eq!(second["outcome"]["cluster"], APPLICATION, "{version}: {second}");
        assert_eq!(application.counts()[&without_reason(&id)], 2, "{version}");
        let forged = &records[&without_reason(&plain)][0];
        assert!(forged["request"]["redirects"].is_null(), "{version}: {forged}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_pass_of_a_redirect_acts_for_the_tenant_that_a_header_selected() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let lab = lab(version, &application, &[Chain::new("redirects").route(following("start"))])
            .policy(|policy| {
                policy["identity"]["tenant"]["sources"] = json!([{"claim": "tenant_id"}, {"header": "x-home"}]);
                policy["identity"]["purpose"] = json!({"sources": [{"header": "x-purpose-of-use"}]});
                policy["identity"]["grants"] = json!([{
                    "name": "emergency", "when": {"claim": "roles", "contains": "nurse"}, "tenants": "any",
                    "requires": {"purpose": ["BTG"]},
                }]);
            })
            .start()
            .await?;
        let client = client(&lab, "redirects").await?;
        let homes = ["care-home-0001", "care-home-0042"];
        let agency = lab.identity().token("", USER, json!({"tenant_id": homes}))?;
        let nurse = lab.identity().token(homes[0], USER, json!({"roles": ["nurse"]}))?;
        let mut ids = Vec::new();
        for token in [agency, nurse] {
            let id = request_id(9_999);
            let start = request(Request::get("/api/v1/financial/start"))
                .header(ACT, "redirect")
                .header("x-home", homes[1])
                .header("x-purpose-of-use", "BTG")
                .header("x-request-id", &id)
                .bearer(&token);
            assert_eq!(client.send(start).await?.status, 200, "{version}");
            ids.push(without_reason(&id));
        }
        let records = by_request(&lab).await?;
        for id in &ids {
            let tenants: Vec<_> = records[id].iter().map(|pass| &pass["tenant"]["id"]).collect();
            assert_eq!(tenants, [homes[1]; 2], "{version}: {:?}", records[id]);
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_redirect_the_new_path_selects_the_tenant() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let homes = json!({"name": "homes", "complianceLevel": "high", "match": [
            {"path": "/api/v1/financial/{home}"}, {"path": "/api/v1/financial/{home}/{*rest}"},
        ]});
        let lab = lab(version, &application, &[Chain::new("redirects").route(following("start"))])
            .policy(move |policy| {
                policy["identity"]["tenant"]["sources"] =
                    json!([{"claim": "tenant_id"}, {"path": "home"}, {"header": "x-tenant-id"}]);
                policy["contexts"] = json!([homes]);
            })
            .start()
            .await?;
        let token = lab.identity().token("", USER, json!({"tenant_id": ["start", "landed"]}))?;
        let id = request_id(9_999);
        let start = request(Request::get("/api/v1/financial/start"))
            .header(ACT, "redirect")
            .header("x-request-id", &id)
            .bearer(&token);
        assert_eq!(client(&lab, "redirects").await?.send(start).await?.status, 200, "{version}");
        let records = by_request(&lab).await?;
        let passes = &records[&without_reason(&id)];
        let tenants: Vec<_> = passes.iter().map(|pass| &pass["tenant"]["id"]).collect();
        assert_eq!(tenants, ["start", "landed"], "{version}: {passes:?}");
        assert!(passes.iter().all(|pass| pass["who"]["forgedHeaders"].is_null()), "{version}: {passes:?}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_pass_of_a_redirect_is_kept_as_its_tier_says_and_exported_once() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let landed = json!({"name": "landed", "complianceLevel": "critical", "tier": "always", "tenant": "optional",
            "match": [{"path": "/api/v1/financial/landed"}, {"path": "/api/v1/financial/start"}]});
        let lab = lab(version, &application, &[Chain::new("redirects").route(following("start"))])
            .policy(move |policy| {
                policy["contexts"].as_array_mut().expect("contexts").insert(0, landed);
            })
            .start()
            .await?;
        let client = client(&lab, "redirects").await?;
        let mut ids = Vec::new();
        for _ in 0..5 {
            let id = request_id(9_999);
            let start =
                request(Request::get("/api/v1/financial/start")).header(ACT, "redirect").header("x-request-id", &id);
            assert_eq!(client.send(start).await?.status, 200, "{version}");
            ids.push(without_reason(&id));
        }
        let of = |spans: &[careplane_integration::otlp::Span], id: &str| {
            let is_it = |span: &&careplane_integration::otlp::Span| {
                span.attributes.get("guid:x-request-id").is_some_and(|it| without_reason(it) == id)
            };
            spans.iter().filter(is_it).count()
        };
        let all_there = |spans: &[careplane_integration::otlp::Span]| ids.iter().all(|id| of(spans, id) >= 2);
        let spans = lab.otlp().wait_until_spans("a span for each pass", SOON, all_there).await?;
        for id in &ids {
            assert_eq!(of(&spans, id), 2, "{version}: {id}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirrored_copy_is_told_from_the_act_and_counts_no_attempt() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        // The second Envoy stands where requests are mirrored to: the caller is the first one, and believed.
        let copies = Application::start().await?;
        let second = lab(version, &copies, &[Chain::new("mirror")])
            .policy(|policy| policy["identity"]["trustedPeers"] = json!("any"))
            .start()
            .await?;
        let address = client(&second, "mirror").await?.address();
        let mirrored = |prefix: &str, suffix: bool| {
            json!({
                "match": {"prefix": format!("/api/v1/financial/{prefix}")},
                "route": {
                    "cluster": APPLICATION,
                    "request_mirror_policies": [{"cluster": "mirror", "disable_shadow_host_suffix_append": !suffix}],
                },
            })
        };
        let chain = Chain::new("mirrored").route(mirrored("marked", true)).route(mirrored("unmarked", false));
        let first = lab(version, &application, &[chain])
            .patch(move |document| {
                let clusters = document["static_resources"]["clusters"].as_array_mut().expect("clusters");
                clusters.push(cluster_of("mirror", address));
            })
            .start()
            .await?;
        let client = client(&first, "mirrored").await?;
        let mut ids = Vec::new();
        for path in ["/api/v1/financial/marked", "/api/v1/financial/unmarked"] {
            let id = request_id(9_999);
            assert_eq!(
                client.send(request(Request::get(path)).header("x-request-id", &id)).await?.status,
                200,
                "{version}"
            );
            ids.push(without_reason(&id));
        }
        careplane_integration::poll::until("the copies", SOON, async || {
            Ok((copies.received().len() == 2).then_some(()))
        })
        .await?;
        let (acts, mirrors) = (by_request(&first).await?, by_request(&second).await?);
        for (id, marked) in ids.iter().zip([true, false]) {
            let (act, copy) = (&acts[id][..], &mirrors[id][..]);
            let ([act], [copy]) = (act, copy) else { panic!("{version}: {act:?} {copy:?}") };
            assert_eq!(
                (&act["outcome"]["attempts"], &copy["outcome"]["attempts"]),
                (&json!(1), &json!(1)),
                "{version}"
            );
            assert!(act["request"]["shadow"].is_null(), "{version}: {act}");
            // Without the suffix nothing shows it.
            assert_eq!(copy["request"]["shadow"], if marked { json!(true) } else { Value::Null }, "{version}: {copy}");
            assert_eq!(application.counts()[id], 1, "{version}");
        }
        finish(first).await?;
        finish(second).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_whose_target_cannot_be_reached_was_forwarded_in_its_first_pass_only() -> Result<()> {
    for version in versions() {
        let application = Application::start().await?;
        let dead = json!({"match": {"prefix": "/api/v1/financial/landed"}, "route": {"cluster": FAILING}});
        let chain = Chain::new("redirects").route(following("start")).route(dead);
        let lab = lab(version, &application, &[chain]).start().await?;
        let id = request_id(9_999);
        let start =
            request(Request::get("/api/v1/financial/start")).header(ACT, "redirect").header("x-request-id", &id);
        assert_eq!(client(&lab, "redirects").await?.send(start).await?.status, 503, "{version}");
        let records = by_request(&lab).await?;
        let passes = &records[&without_reason(&id)];
        let forwarded: Vec<_> = passes.iter().map(|pass| &pass["outcome"]["forwarded"]).collect();
        assert_eq!(forwarded, [true, false], "{version}: {passes:?}");
        assert!(passes.iter().all(|pass| pass["outcome"]["cluster"].is_null()), "{version}: {passes:?}");
        assert_eq!(application.counts()[&without_reason(&id)], 1, "{version}");
        finish(lab).await?;
    }
    Ok(())
}
