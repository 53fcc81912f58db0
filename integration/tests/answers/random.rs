//! Random chains of filters, and requests that meet them in any state. What the application received decides.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use careplane_integration::{Request, client::Caller};
use hyper::Method;
use serde_json::{Value, json};

use crate::{
    CANARY,
    application::{ACT, Application, SERVICE},
    by_request,
    chains::{APPLICATION, Chain, EMPTY, FAILING, FULL, GRPC, client, filter},
    finish, lab,
    support::{SOON, request_id, versions, without_reason},
};

const CHAINS: usize = 120;
const REQUESTS: usize = 25;
/// Another seed is another test: `CAREPLANE_ANSWERS_SEED`.
const SEED: u64 = 12;

fn seed() -> u64 {
    std::env::var("CAREPLANE_ANSWERS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED)
}

/// Where the application takes longer than Envoy waits.
const SLOW: &str = "/api/v1/financial/slow";

/// Numbers that can be had again: SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

// === impl Dice ===

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `limit`.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or_default()
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

/// Filters that let most requests pass, and refuse those that ask for it.
fn filters() -> Vec<Value> {
    let all = json!({"default_value": {"numerator": 100}});
    let lua = format!(
        "function envoy_on_request(handle)\n\
         if handle:headers():get('x-lua') then handle:respond({{[':status'] = '403'}}, '{CANARY}') end end"
    );
    let external = json!({
        "server_uri": {"uri": "http://authorize", "cluster": APPLICATION, "timeout": "5s"}, "path_prefix": "/authorize"
    });
    let grpc = json!({"envoy_grpc": {"cluster_name": GRPC}, "timeout": "5s"});
    let named = |header: &str| json!([{"header": {"name": header, "present_match": true}}]);
    vec![
        filter("lua", "Lua", &json!({"default_source_code": {"inline_string": lua}})),
        filter(
            "ext_authz",
            "ExtAuthz",
            &json!({
                "transport_api_version": "V3", "allowed_headers": {"patterns": [{"exact": SERVICE}]},
                "http_service": external,
            }),
        ),
        filter(
            "rbac",
            "RBAC",
            &json!({"rules": {"action": "DENY", "policies": {"hours": {
                "permissions": named("x-rbac"), "principals": [{"any": true}],
            }}}}),
        ),
        filter(
            "fault",
            "HTTPFault",
            &json!({
                "abort": {"http_status": 418, "percentage": {"numerator": 100}},
                "headers": [{"name": "x-fault", "present_match": true}],
            }),
        ),
        filter(
            "fault",
            "HTTPFault",
            &json!({
                "delay": {"fixed_delay": "0.002s", "percentage": {"numerator": 100}},
                "headers": [{"name": "x-slow", "present_match": true}],
            }),
        ),
        filter("csrf", "CsrfPolicy", &json!({"filter_enabled": all})),
        filter("buffer", "Buffer", &json!({"max_request_bytes": 100})),
        filter("cors", "Cors", &json!({})),
        filter("cdn_loop", "CdnLoopConfig", &json!({"cdn_id": "care"})),
        filter("grpc_web", "GrpcWeb", &json!({})),
        filter(
            "api_key_auth",
            "ApiKeyAuth",
            &json!({"credentials": [{"key": "key", "client": "care"}], "key_sources": [{"header": "x-api-key"}]}),
        ),
        filter("ext_proc", "ExternalProcessor", &json!({"grpc_service": grpc, "message_timeout": "5s"})),
        filter("ext_authz", "ExtAuthz", &json!({"transport_api_version": "V3", "grpc_service": grpc})),
    ]
}

/// A chain, and how many copies of each request it mirrors.
fn chain(dice: &mut Dice, number: usize) -> (Chain, usize) {
    let filters = filters();
    let mut chain = Chain::new(format!("random-{number}"));
    for _ in 0..dice.below(3) {
        chain = chain.before(dice.of(&filters).clone());
    }
    for _ in 0..dice.below(4) {
        chain = chain.behind(dice.of(&filters).clone());
    }
    let copies = if dice.one_in(4) { dice.below(3) } else { 0 };
    let mirrors = vec![json!({"cluster": APPLICATION}); copies];
    let mut route = json!({"cluster": APPLICATION, "timeout": "10s", "request_mirror_policies": mirrors});
    if dice.one_in(2) {
        route["retry_policy"] = json!({
            "retry_on": "5xx,reset", "num_retries": dice.below(3), "retry_back_off": {"base_interval": "0.001s"},
        });
    }
    for (prefix, cluster) in [("failing", FAILING), ("empty", EMPTY), ("full", FULL), ("absent", "no-such-cluster")] {
        let prefix = format!("/api/v1/financial/{prefix}");
        chain = chain.route(json!({"match": {"prefix": prefix}, "route": {"cluster": cluster}}));
    }
    let direct = json!({"match": {"prefix": "/api/v1/financial/direct"}, "direct_response": {"status": 204}});
    let cors = json!({"envoy.filters.http.cors": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": "https://care.example"}], "allow_methods": "GET",
    }});
    let slow = json!({"match": {"prefix": SLOW}, "route": {"cluster": APPLICATION, "timeout": "0.1s"}});
    let chain = chain
        .route(direct)
        .route(slow)
        .route(json!({"match": {"prefix": "/"}, "route": route}))
        .virtual_host(&json!({"typed_per_filter_config": cors}));
    (chain, copies)
}

/// A request, and whether the application will take longer than Envoy waits.
fn request(dice: &mut Dice, token: &str) -> (Request, bool) {
    const PLACES: [&str; 12] = [
        "/api/v1/financial",
        "/api/v1/financial",
        "/api/v1/financial",
        "/api/v1/financial/failing",
        "/api/v1/financial/empty",
        "/api/v1/financial/full",
        "/api/v1/financial/absent",
        "/api/v1/financial/direct",
        "/api/v1/residents",
        "/api/v1/care-plans/Zz9canary",
        "/api/v1/tenants/care-home-0001/rooms/Zz9canary",
        "/elsewhere/Zz9canary",
    ];
    const ACTS: [&str; 8] = ["", "", "", "status-404", "status-500", "fail-1", "reset-1", "fail-9"];
    // What makes one of the filters refuse.
    const MARKS: [(&str, &str); 8] = [
        ("x-lua", CANARY),
        ("x-rbac", CANARY),
        ("x-fault", CANARY),
        ("x-slow", CANARY),
        ("cdn-loop", "care"),
        (SERVICE, "deny"),
        (SERVICE, "deny-late"),
        (SERVICE, "fail"),
    ];
    let slow = dice.one_in(40);
    let place = if slow { SLOW } else { *dice.of(&PLACES) };
    let path = format!("{place}?surname={CANARY}");
    let mut request = match dice.below(10) {
        0 => Request::new(Method::OPTIONS, path)
            .header("origin", "https://care.example")
            .header("access-control-request-method", "GET"),
        1 => Request::post(path, CANARY.repeat(1 + dice.below(30))).header("origin", "http://api.care.example"),
        2 => Request::post(path, CANARY).header("origin", format!("https://{CANARY}")),
        _ => Request::get(path),
    };
    let act = match slow {
        true => "hang",
        // Envoy takes a second to close a connection whose answer was cut off.
        false if dice.one_in(300) => "half",
        false => *dice.of(&ACTS),
    };
    request = crate::request(request).header(ACT, act);
    if !dice.one_in(5) {
        request = request.header("x-api-key", "key");
    }
    if dice.one_in(3) {
        let (name, value) = dice.of(&MARKS);
        request = request.header(*name, *value);
    }
    let request = match dice.below(4) {
        0 => request,
        1 => request.header("x-tenant-id", "care-home-0107").header("x-tenant-id", CANARY),
        _ => request.bearer(token),
    };
    (request, slow)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_chain_a_record_says_forwarded_exactly_when_the_application_received_the_request() -> Result<()> {
    for version in versions() {
        let mut dice = Dice(seed());
        let application = Application::start().await?;
        let (chains, copies): (Vec<_>, Vec<_>) = (0..CHAINS).map(|number| chain(&mut dice, number)).unzip();
        let lab = lab(version, &application, &chains).start().await?;
        let token = lab.identity().token("care-home-0107", CANARY, json!({"name": CANARY}))?;
        let mut sent = Vec::new();
        for (chain, copies) in chains.iter().zip(copies) {
            let client = client(&lab, chain.name()).await?;
            let mut caller = Caller::new(if dice.one_in(4) { client.http2() } else { client });
            for _ in 0..REQUESTS {
                let id = request_id(u16::try_from(dice.below(10_000))?);
                let (request, slow) = request(&mut dice, &token);
                let answer = caller.send(request.header("x-request-id", &id)).await;
                let status = answer.ok().map(|response| response.status);
                // The route of what is slow has no mirrors.
                sent.push((without_reason(&id), status, chain.name(), if slow { 0 } else { copies }));
            }
        }

        let mut records = by_request(&lab).await?;
        let wanted = |received: &BTreeMap<&str, (usize, usize)>, records: &BTreeMap<String, Vec<Value>>| {
            sent.iter().all(|(id, .., copies)| {
                let Some(attempts) = records.get(id).and_then(|records| records[0]["outcome"]["attempts"].as_u64())
                else {
                    return true;
                };
                received.get(id.as_str()).is_some_and(|(acts, mirrored)| *acts as u64 >= attempts && mirrored >= copies)
            })
        };
        // Copies are sent beside the request; Envoy waits for none.
        careplane_integration::poll::until("the mirrored copies", SOON, async || {
            let received = application.received();
            Ok(wanted(&count(&received), &records).then_some(()))
        })
        .await?;
        let received = application.received();
        let received = count(&received);
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for (id, status, chain, copies) in &sent {
            let (acts, mirrored) = received.get(id.as_str()).copied().unwrap_or_default();
            let found = records.remove(id).with_context(|| format!("{chain}: no record of {id}"))?;
            let [record] = &found[..] else { panic!("{version}: {chain}: {found:?}") };
            let (outcome, result) = (&record["outcome"], &record["decision"]["result"]);
            let what = format!("{version}: {chain} (seed {}): received {acts} times: {record}", seed());
            assert_eq!(outcome["forwarded"], acts > 0, "{what}");
            assert_eq!(outcome["attempts"], if acts > 0 { json!(acts) } else { Value::Null }, "{what}");
            assert_eq!(outcome["cluster"], if acts > 0 { json!(APPLICATION) } else { Value::Null }, "{what}");
            assert_eq!(mirrored, if acts > 0 { *copies } else { 0 }, "{what}");
            assert!(acts == 0 || *result == "allowed", "{what}");
            // An answer that is cut off is none to the caller.
            assert!(status.is_none() || outcome["status"] == json!(status), "{what}");
            assert_eq!(result == "denied", !record["decision"]["by"].is_null(), "{what}");
            let by = outcome["answeredBy"].as_str().unwrap_or_default();
            *kinds.entry(format!("{} by {by}", result.as_str().unwrap_or_default())).or_default() += 1;
        }
        assert!(kinds.len() >= 10, "{version}: the requests met too little: {kinds:?}");
        finish(lab).await?;
    }
    Ok(())
}

/// How often each request was received as an act, and how often as a mirrored copy.
fn count(received: &[crate::application::Received]) -> BTreeMap<&str, (usize, usize)> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for received in received {
        let count = counts.entry(&received.id).or_default();
        match received.host.ends_with("-shadow") {
            true => count.1 += 1,
            false => count.0 += 1,
        }
    }
    counts
}
