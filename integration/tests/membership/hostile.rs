//! Claims that no well-meaning issuer makes: each ends in the answer that is written here, and no host call fails.

use anyhow::Result;
use careplane_integration::{Lab, Request};
use serde_json::{Value, json};

use crate::{
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

/// A list as Envoy would hand it over, in a text.
fn pretended(home: &str) -> String {
    let length = u8::try_from(home.len()).expect("short");
    format!("\u{1}\0\0\0{}\0\0\0\0\0\0\0{home}\0\0", char::from(length))
}

/// The claim of the homes, the home that the path selects, and the answer: 200, or a code.
fn homes() -> Vec<(Value, &'static str, &'static str)> {
    let many = |count: usize| json!((0..count).map(|number| format!("home-{number}")).collect::<Vec<_>>());
    let mut deep = json!("home-1");
    for _ in 0..60 {
        deep = json!([deep]);
    }
    vec![
        (many(1_000), "home-999", "200"),
        (many(1_000), "home-1000", "tenant-conflict"),
        (many(1_001), "home-1", "tenant-malformed"),
        (many(10_000), "home-1", "tenant-malformed"),
        (json!("h".repeat(1_000_000)), "home-1", "tenant-malformed"),
        (json!(["h".repeat(1_000_000), "home-1"]), "home-1", "200"),
        (json!(["h".repeat(1_000_000)]), "home-1", "tenant-malformed"),
        (json!([["home-1"]]), "home-1", "tenant-malformed"),
        (json!([["home-1"], "home-2"]), "home-1", "tenant-conflict"),
        (json!([["home-1"], "home-2"]), "home-2", "200"),
        (deep, "home-1", "tenant-malformed"),
        (json!([1, 2, 3]), "2", "200"),
        (json!([1.5, -1, 1e300]), "1", "tenant-conflict"),
        (json!([42]), "42", "200"),
        (json!([true, false]), "true", "tenant-conflict"),
        (json!(true), "true", "tenant-malformed"),
        // What has a null in it Envoy does not hand over.
        (json!([null, "home-1"]), "home-1", "tenant-missing"),
        (json!([null]), "home-1", "tenant-missing"),
        (json!(["", "home-1"]), "home-1", "200"),
        (json!([""]), "home-1", "tenant-malformed"),
        (json!(["home-1", "home-1"]), "home-1", "200"),
        (json!(["home-1\u{0}", "home 1"]), "home-1", "tenant-conflict"),
        (json!({}), "home-1", "tenant-conflict"),
        (json!({"home-1": {"role": "nurse"}}), "home-1", "tenant-malformed"),
        (json!({"home-1": "nurse"}), "home-1", "tenant-malformed"),
        // To Envoy these are the same as the list.
        (json!({"home-1": ""}), "home-1", "200"),
        (json!(pretended("home-1")), "home-1", "200"),
        (json!("\u{0}\u{0}\u{0}\u{0}"), "home-1", "tenant-conflict"),
        (json!("\u{2}\u{0}\u{0}\u{0}home"), "home-1", "tenant-malformed"),
    ]
}

/// The claim of the roles, and whether the person is an inspector by it.
fn roles() -> Vec<(Value, bool)> {
    let many = |last: &str| {
        let all: Vec<String> = (0..999).map(|number| format!("role-{number}")).chain([last.to_owned()]).collect();
        json!(all)
    };
    vec![
        (json!("inspector"), true),
        (json!(["inspector"]), true),
        (many("inspector"), true),
        (many("inspectors"), false),
        (json!((0..10_000).map(|_| "inspector").collect::<Vec<_>>()), false),
        (json!("inspector".repeat(100_000)), false),
        (json!([["inspector"]]), false),
        (json!("not an inspector"), false),
        (json!("inspector,manager"), false),
        (json!(["Inspector", " inspector", "inspector\u{0}"]), false),
        (json!([null, "inspector"]), false),
        (json!({"inspector": true}), false),
        (json!({"roles": ["inspector"]}), false),
        (json!(1), false),
        (json!(true), false),
        (json!(null), false),
        (json!([]), false),
    ]
}

#[tokio::test]
async fn hostile_claims_end_in_the_answer_that_is_written_down() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).policy(configure).patch(open).start().await?;
        let mut rows = Vec::new();
        for (claim, home, answer) in homes() {
            rows.push((json!({"homes": claim}), format!("/homes/{home}/notes"), answer));
        }
        for (claim, is_inspector) in roles() {
            let answer = if is_inspector { "200" } else { "tenant-missing" };
            let claims = json!({"roles": claim, "jurisdiction": "scotland"});
            rows.push((claims, "/homes/glasgow-1/notes".into(), answer));
        }
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
