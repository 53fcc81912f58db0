//! Persons × acts × homes: what each person may do in each home.
//!
//! A letter says what becomes of an act in a home: `o` allowed by the person's own membership; `i`, `m`, `e` allowed by
//! the grant for inspectors, managers, emergencies; `A`, `P` refused because the grant does not cover the act, or needs
//! a purpose; `C` refused as a conflict with what the token says; `M` refused because the token names no home.

use anyhow::Result;
use careplane_integration::{EnvoyVersion, Lab, Request};
use hyper::Method;
use serde_json::{Value, json};

use crate::{
    HOMES, configure,
    support::{Seen, health::finish, observe_numbered, versions},
    token,
};

struct Act {
    name: &'static str,
    request: fn(&str) -> Request,
    /// Which kind of source selects the home.
    selects: &'static str,
    purpose: Option<&'static str>,
}

fn at(method: Method, path: &str, home: &str) -> Request {
    Request::new(method, format!("/homes/{home}/{path}"))
}

const ACTS: [Act; 10] = [
    Act { name: "reads notes", request: |home| at(Method::GET, "notes", home), selects: "path", purpose: None },
    Act { name: "writes notes", request: |home| at(Method::POST, "notes", home), selects: "path", purpose: None },
    Act { name: "deletes notes", request: |home| at(Method::DELETE, "notes", home), selects: "path", purpose: None },
    Act { name: "reads the staff", request: |home| at(Method::GET, "staff", home), selects: "path", purpose: None },
    Act { name: "changes the staff", request: |home| at(Method::PUT, "staff", home), selects: "path", purpose: None },
    Act {
        name: "gives medication",
        request: |home| at(Method::POST, "medication", home),
        selects: "path",
        purpose: None,
    },
    Act {
        name: "reads notes, the home in a header",
        request: |home| Request::get("/notes").header("x-tenant-id", home),
        selects: "header",
        purpose: None,
    },
    Act {
        name: "reads notes, the home in the host",
        request: |home| Request::get("/notes").header("host", format!("{home}.app.care.example")),
        selects: "host",
        purpose: None,
    },
    Act {
        name: "breaks the glass",
        request: |home| at(Method::GET, "notes", home).header("x-purpose-of-use", "BTG"),
        selects: "path",
        purpose: Some("BTG"),
    },
    Act {
        name: "gives medication in an emergency",
        request: |home| at(Method::POST, "medication", home).header("x-purpose-of-use", "ETREAT"),
        selects: "path",
        purpose: Some("ETREAT"),
    },
];

struct Person {
    name: &'static str,
    claims: Value,
    /// How many homes the token lists, where it is a list.
    membership: Option<usize>,
    /// A line for each act, a letter for each home.
    expected: [&'static str; ACTS.len()],
}

#[rustfmt::skip]
fn persons() -> Vec<Person> {
    let person = |name, claims, membership, expected| Person { name, claims, membership, expected };
    vec![
        person("a nurse of one home", json!({"homes": "glasgow-1"}), None, ["oCCCCC"; 10]),
        person("a nurse whose list is of one home", json!({"homes": ["york-1"]}), Some(1), ["CoCCCC"; 10]),
        person("an agency nurse of three homes", json!({
            "homes": ["glasgow-1", "york-1", "cardiff-1"],
        }), Some(3), ["ooCoCC"; 10]),
        person("a nurse of an unlisted home", json!({"homes": ["unlisted-9", "york-1"]}), Some(2), ["CoCCCo"; 10]),
        person("a member of no home", json!({"homes": []}), Some(0), ["CCCCCC"; 10]),
        person("a person without a home", json!({}), None, ["MMMMMM"; 10]),
        person("a manager of the north", json!({
            "homes": ["york-1"], "roles": ["manager"], "groups": ["north"]
        }), Some(1), [
            "AoCCCC", "AoCCCC", "AoCCCC", "moCCCC", "moCCCC", "AoCCCC", "AoCCCC", "AoCCCC", "AoCCCC", "AoCCCC",
        ]),
        person("an inspector of Scotland", json!({"roles": ["inspector"], "jurisdiction": "scotland"}), None, [
            "iMMMMM", "AMMMMM", "AMMMMM", "iMMMMM", "AMMMMM", "AMMMMM", "iMMMMM", "iMMMMM", "iMMMMM", "AMMMMM",
        ]),
        person("an inspector of England and Wales", json!({
            "roles": "inspector", "jurisdiction": ["england", "wales"]
        }), None, [
            "MiiiMM", "MAAAMM", "MAAAMM", "MiiiMM", "MAAAMM", "MAAAMM", "MiiiMM", "MiiiMM", "MiiiMM", "MAAAMM",
        ]),
        person("a doctor of one home", json!({"homes": "london-1", "realm_access": {"roles": ["doctor"]}}), None, [
            "PPoPPP", "PPoPPP", "PPoPPP", "PPoPPP", "PPoPPP", "PPoPPP", "PPoPPP", "PPoPPP", "eeoeee", "eeoeee",
        ]),
        person("an agency nurse for emergencies", json!({
            "homes": ["york-1", "cardiff-1"], "realm_access": {"roles": ["staff", "nurse"]}
        }), Some(2), [
            "PoPoPP", "PoPoPP", "PoPoPP", "PoPoPP", "PoPoPP", "PoPoPP", "PoPoPP", "PoPoPP", "eoeoee", "eoeoee",
        ]),
        person("a nurse who manages the south", json!({
            "homes": "london-1", "roles": ["manager"], "groups": ["south", "west"],
            "realm_access": {"roles": ["nurse"]},
        }), None, [
            "PPoAPP", "PPoAPP", "PPoAPP", "PPomPP", "PPomPP", "PPoAPP", "PPoAPP", "PPoAPP", "eeoeee", "eeoeee",
        ]),
        person("a nurse with roles of another claim", json!({
            "homes": "glasgow-1", "role": "inspector", "jurisdiction": "england"
        }), None, ["oCCCCC"; 10]),
    ]
}

/// What a letter means.
fn meaning(letter: char) -> (Option<&'static str>, Option<&'static str>) {
    match letter {
        'o' => (None, None),
        'i' => (Some("inspector"), None),
        'm' => (Some("manager"), None),
        'e' => (Some("emergency"), None),
        'A' => (None, Some("grant-action")),
        'P' => (None, Some("grant-purpose")),
        'C' => (None, Some("tenant-conflict")),
        'M' => (None, Some("tenant-missing")),
        other => panic!("{other} means nothing"),
    }
}

fn assert_seen(seen: &Seen, person: &Person, act: &Act, home: &str, letter: char, version: EnvoyVersion) {
    let about = format!("{version}: {} {} of {home}: {letter}", person.name, act.name);
    let (grant, refusal) = meaning(letter);
    let shown = |value| version.has_formatter_tags().then_some(value).flatten();
    let record = seen.record();
    assert_eq!(seen.refusal().as_deref(), refusal, "{about}");
    assert_eq!(record["who"]["purpose"].as_str(), act.purpose, "{about}");
    assert_eq!(record["tenant"]["membership"].as_u64(), person.membership.map(|count| count as u64), "{about}");
    if let Some(reason) = refusal {
        assert_eq!(seen.response.status, 403, "{about}");
        assert!(seen.upstream.is_none(), "{about}: it went upstream");
        let decision = &record["decision"];
        assert_eq!((&decision["result"], &decision["reason"]), (&json!("denied"), &json!(reason)), "{about}");
        // A grant that refuses is named: of the manager, of the inspector, or of emergencies.
        assert_eq!(decision["grant"].is_string(), reason.starts_with("grant-"), "{about}: {decision}");
        assert_eq!(seen.tag("grant"), shown(decision["grant"].as_str()), "{about}");
        assert_eq!(seen.tag("denial_reason"), shown(Some(reason)), "{about}");
        if reason != "tenant-missing" || act.selects != "header" {
            assert_eq!(record["tenant"]["other"], home, "{about}");
        }
        let problem = seen.response.json().expect("a problem");
        let accepted = if reason == "grant-purpose" { json!(["BTG", "ETREAT"]) } else { Value::Null };
        assert_eq!(problem["acceptedPurposes"], accepted, "{about}");
        return;
    }
    assert_eq!(seen.response.status, 200, "{about}");
    assert_eq!(seen.forwarded("x-tenant-id"), [home], "{about}");
    let context_flag = record["context"]["name"] == "notes";
    let grant_flag = match grant {
        Some("inspector") => Some("inspection"),
        Some("emergency") => Some("emergency"),
        _ => None,
    };
    let flags: Vec<&str> = context_flag.then_some("clinical").into_iter().chain(grant_flag).collect();
    let header: Vec<String> = if flags.is_empty() { Vec::new() } else { vec![flags.join(",")] };
    assert_eq!(seen.forwarded("x-compliance-flags"), header, "{about}");
    assert_eq!(record["context"]["flags"], if flags.is_empty() { Value::Null } else { json!(flags) }, "{about}");
    assert_eq!(record["decision"]["grant"].as_str(), grant, "{about}");
    assert_eq!(record["decision"]["result"], "allowed", "{about}");
    assert_eq!(record["tenant"]["id"], home, "{about}");
    let selected = grant.is_some() || person.membership.is_some_and(|count| count > 1);
    let selected_by = selected.then_some(act.selects);
    assert_eq!(record["tenant"]["selectedBy"].as_str(), selected_by, "{about}");
    let source = if grant.is_some() { act.selects } else { "claim" };
    assert_eq!(record["tenant"]["source"], source, "{about}");
    assert_eq!(seen.tag("grant"), shown(grant), "{about}");
    assert_eq!(seen.tag("purpose_of_use"), shown(act.purpose), "{about}");
    assert_eq!(seen.tag("tenant_id"), Some(home), "{about}");
    let reason = if grant == Some("emergency") { "emergency" } else { "tier" };
    assert_eq!(record["trace"]["reason"], reason, "{about}");
}

#[tokio::test]
async fn each_person_may_do_in_each_home_what_the_policy_says() -> Result<()> {
    for version in versions() {
        let lab: Lab = Lab::builder().version(version).policy(configure).start().await?;
        let mut counts = 0_usize;
        for person in persons() {
            let token = token(&lab, "ann", person.claims.clone())?;
            let cells: Vec<_> = ACTS
                .iter()
                .zip(person.expected)
                .flat_map(|(act, line)| {
                    HOMES.into_iter().zip(line.chars()).map(move |(home, letter)| (act, home, letter))
                })
                .collect();
            assert_eq!(cells.len(), ACTS.len() * HOMES.len(), "{}", person.name);
            let probes = cells.iter().map(|(act, home, _)| (lab.gateway(), (act.request)(home).bearer(&token)));
            for ((act, home, letter), seen) in cells.iter().zip(observe_numbered(&lab, 0, probes).await?) {
                assert_seen(&seen, &person, act, home, *letter, version);
                counts += 1;
            }
        }
        assert!(counts >= 12 * 10 * 6, "{counts}");
        let stat = async |name: &str| lab.envoy().stat(&format!("wasmcustom.careplane.{name}")).await;
        let expected = |letter| {
            let lines = persons().into_iter().flat_map(|person| person.expected);
            lines.map(|line| line.matches(letter).count() as u64).sum::<u64>()
        };
        assert_eq!(stat("grants.inspector").await?, expected('i'), "{version}");
        assert_eq!(stat("grants.manager").await?, expected('m'), "{version}");
        assert_eq!(stat("grants.emergency").await?, expected('e'), "{version}");
        assert_eq!(stat("emergency_access").await?, expected('e'), "{version}");
        assert_eq!(stat("denials.grant-purpose").await?, expected('P'), "{version}");
        finish(lab).await?;
    }
    Ok(())
}

/// Rails, Django and others believe these before `Host`, and would act for another home than the one that was checked.
#[tokio::test]
async fn no_outsider_tells_the_application_another_host_than_the_one_that_selects_the_home() -> Result<()> {
    const HOSTS: [&str; 4] = ["x-forwarded-host", "X_Forwarded_Host", "forwarded", "x-original-host"];
    for version in versions() {
        let lab = Lab::builder().version(version).policy(configure).start().await?;
        let nurse = token(&lab, "ann", json!({"homes": ["york-1", "cardiff-1"]}))?;
        let york = Request::get("/notes").header("host", "york-1.app.care.example").bearer(&nurse);
        let request = HOSTS.iter().fold(york, |request, name| request.header(*name, "host=cardiff-1.app.care.example"));
        let [seen] = &observe_numbered(&lab, 0, [(lab.gateway(), request)]).await?[..] else { panic!("one request") };
        assert_eq!((seen.response.status, seen.record()["tenant"]["id"].as_str()), (200, Some("york-1")), "{version}");
        for name in HOSTS {
            assert!(seen.forwarded(&name.to_ascii_lowercase()).is_empty(), "{version}: {name}");
        }
        let removed = json!(["x-forwarded-host", "forwarded", "x-original-host"]);
        assert_eq!(seen.record()["who"]["overrideHeaders"], removed, "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn nothing_selected_of_several_homes_is_an_answer_of_its_own() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).policy(configure).start().await?;
        let several = token(&lab, "ann", json!({"homes": ["york-1", "cardiff-1"]}))?;
        let one = token(&lab, "ann", json!({"homes": ["york-1", "york-1"]}))?;
        let gateway = lab.gateway();
        let notes = |token: &str| Request::get("/notes").bearer(token);
        let probes = [
            notes(&several),
            notes(&one),
            notes(&several).header("x-tenant-id", "york-1").header("host", "cardiff-1.app.care.example"),
            // A query parameter is a trusted peer's to send.
            Request::get("/notes?home=york-1").bearer(&several),
            Request::get("/health").bearer(&several),
        ];
        let seen = observe_numbered(&lab, 0, probes.into_iter().map(|request| (gateway.clone(), request))).await?;
        let codes: Vec<_> = seen.iter().map(|seen| (seen.response.status, seen.refusal())).collect();
        let refused = |code: &str| (403, Some(code.to_owned()));
        let expected = [
            refused("tenant-unselected"),
            (200, None),
            refused("tenant-conflict"),
            refused("tenant-unselected"),
            (200, None),
        ];
        assert_eq!(codes, expected, "{version}");
        assert_eq!(seen[0].record()["tenant"], json!({"membership": 2}), "{version}");
        assert_eq!(seen[1].forwarded("x-tenant-id"), ["york-1"], "{version}");
        assert!(seen[4].forwarded("x-tenant-id").is_empty(), "{version}");
        finish(lab).await?;
    }
    Ok(())
}
