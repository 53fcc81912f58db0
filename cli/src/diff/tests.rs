//! The promise of `careplane diff`: where no access widens, no request is let through that was refused.
//!
//! Random pairs of small policies, and random requests, by the pipeline that `explain` runs. A seed that fails is
//! printed; `CAREPLANE_DIFF_SEEDS=5000` tries more.

use fastrand::Rng;
use serde_json::{Value, json};

use super::access::{self, Outcome};
use super::routes;
use super::shape::ChangeKind;
use crate::explain::request::{Request, request_id};
use crate::explain::{Judged, Written};
use crate::yaml;

const SEEDS: u64 = 120;
const REQUESTS: usize = 150;
const ISSUER: &str = "https://id.example";
const PEERS: [&str; 3] = ["spiffe://a/ns/x/sa/one", "spiffe://a/ns/x/sa/two", "spiffe://b/ns/y/sa/three"];
const TENANTS: [&str; 5] = ["home-1", "home-2", "Home-3", "home-4", "no,tenant"];
const ROLES: [&str; 3] = ["nurse", "manager", "cleaner"];
const GROUPS: [&str; 3] = ["willow", "oak", "scotland"];
const PURPOSES: [&str; 2] = ["BTG", "TREAT"];

fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())].clone()
}

fn some<T: Clone>(rng: &mut Rng, from: &[T]) -> Vec<T> {
    let mut chosen: Vec<T> = from.iter().filter(|_| rng.bool()).cloned().collect();
    rng.shuffle(&mut chosen);
    chosen
}

fn claim(rng: &mut Rng, name: &str) -> Value {
    if rng.u8(..4) == 0 { json!({"claim": name, "issuer": ISSUER}) } else { json!({"claim": name}) }
}

/// The parts of a policy. Each is made on its own, so that a policy can change in one of them.
const PARTS: [&str; 11] = [
    "trustedPeers",
    "sources",
    "required",
    "case",
    "user",
    "purpose",
    "grants",
    "tenants",
    "paths",
    "contexts",
    "default",
];

fn part(rng: &mut Rng, name: &str) -> Value {
    match name {
        "trustedPeers" => match rng.u8(..5) {
            0 => json!("any"),
            1 => json!(["spiffe://a/ns/x/*"]),
            _ => json!(some(rng, &PEERS)),
        },
        "sources" => {
            let claims = [claim(rng, "home"), claim(rng, "homes")];
            let all = [
                claims[0].clone(),
                claims[1].clone(),
                json!({"header": "x-tenant-id"}),
                json!({"path": "tenant"}),
                json!({"host": "{tenant}.example.com"}),
                json!({"query": "tenant"}),
            ];
            let sources = some(rng, &all);
            if sources.is_empty() { json!([all[0]]) } else { json!(sources) }
        }
        "required" => json!(rng.u8(..4) > 0),
        "case" => json!(pick(rng, &["exact", "lower"])),
        "user" => json!(some(rng, &[json!({"claim": "sub"}), json!({"header": "x-user"})])),
        "purpose" => {
            let sources = some(rng, &[json!({"header": "x-purpose"}), json!({"claim": "purpose"})]);
            if sources.is_empty() { json!([{"header": "x-purpose"}]) } else { json!(sources) }
        }
        "grants" => (0..rng.u8(..3)).map(|number| grant(rng, number)).collect(),
        "tenants" => {
            let entry = |rng: &mut Rng| match rng.u8(..4) {
                0 => json!({}),
                1 => json!({"jurisdiction": "scotland"}),
                _ => json!({"group": pick(rng, &GROUPS)}),
            };
            let names = some(rng, &TENANTS[..3]);
            let entries: serde_json::Map<String, Value> =
                names.into_iter().map(|name| (name.to_owned(), entry(rng))).collect();
            json!({"unknown": pick(rng, &["route", "deny"]), "entries": entries})
        }
        "paths" => json!({"ambiguous": pick(rng, &["accept", "reject"])}),
        "default" => json!(pick(rng, &["required", "optional"])),
        _ => {
            let paths =
                ["/residents/{id}", "/residents/admit", "/tenants/{tenant}", "/tenants/{tenant}/{*rest}", "/records"];
            let mut contexts = Vec::new();
            for (number, path) in some(rng, &paths).into_iter().enumerate() {
                let mut matched = json!({"path": path});
                if rng.u8(..3) == 0 {
                    matched["methods"] = json!(pick(rng, &[vec!["GET"], vec!["GET", "POST"], vec!["DELETE"]]));
                }
                contexts.push(json!({
                    "name": format!("context-{number}"), "complianceLevel": "low", "match": [matched],
                    "tenant": pick(rng, &["required", "required", "optional"]),
                }));
            }
            json!(contexts)
        }
    }
}

fn grant(rng: &mut Rng, number: u8) -> Value {
    let condition = |rng: &mut Rng| {
        let name = pick(rng, &["roles", "team"]);
        let mut condition = claim(rng, name);
        let (test, value) = match rng.u8(..3) {
            0 => ("equals", json!(pick(rng, &ROLES))),
            1 => ("contains", json!(pick(rng, &ROLES))),
            _ => ("anyOf", json!([pick(rng, &ROLES), pick(rng, &ROLES)])),
        };
        condition[test] = value;
        condition
    };
    let when: Vec<Value> = (0..=rng.u8(..2)).map(|_| condition(rng)).collect();
    let tenants = match rng.u8(..3) {
        0 => json!("any"),
        1 => json!({"group": claim(rng, "groups")}),
        _ => json!({"jurisdiction": claim(rng, "groups")}),
    };
    let purposes = some(rng, &PURPOSES);
    let mut grant = json!({
        "name": format!("grant-{number}"), "when": when, "tenants": tenants, "requires": {"purpose": purposes},
    });
    if rng.u8(..3) == 0 {
        grant["contexts"] = json!(["general"]);
    }
    if rng.u8(..3) == 0 {
        grant["actions"] = json!(pick(rng, &[vec!["read"], vec!["read", "delete"]]));
    }
    grant
}

/// None where the parts do not make a policy.
fn judged(parts: &[Value]) -> Option<Judged> {
    let [peers, sources, required, case, user, purpose, grants, tenants, paths, contexts, default] = parts else {
        return None;
    };
    let policy = json!({
        "version": "careplane/v1",
        "identity": {
            "trustedPeers": peers, "tenant": {"sources": sources, "required": required, "case": case},
            "user": {"sources": user}, "purpose": {"sources": purpose}, "grants": grants,
        },
        "tenants": tenants, "paths": paths, "contexts": contexts,
        "defaultContext": {
            "name": "general", "complianceLevel": "low", "tier": "never", "audit": "none", "tenant": default,
        },
    });
    let node = yaml::read(&"policy".into(), &policy.to_string()).ok()?.pop()?;
    Judged::new(Written { node, plugin: None }, "a random policy").ok()
}

fn request(rng: &mut Rng) -> Request {
    let tenant = |rng: &mut Rng| pick(rng, &TENANTS);
    let paths = [
        "/residents/1",
        "/residents/admit",
        "/residents/admit.json",
        "/tenants/{}",
        "/tenants/{}/staff",
        "/tenants/{}%2fstaff",
        "/records",
        "/elsewhere",
        "/",
        "/a/b/c",
    ];
    let mut path = pick(rng, &paths).replace("{}", tenant(rng));
    if rng.u8(..3) == 0 {
        path += &format!("?tenant={}", tenant(rng));
    }
    let mut headers = Vec::new();
    for _ in 0..pick(rng, &[0, 0, 1, 1, 1, 2]) {
        headers.push(("x-tenant-id".to_owned(), tenant(rng).to_owned()));
    }
    if rng.u8(..3) == 0 {
        headers.push((":authority".to_owned(), format!("{}.example.com", tenant(rng))));
    }
    if rng.bool() {
        headers.push(("x-purpose".to_owned(), pick(rng, &PURPOSES).to_owned()));
    }
    for _ in 0..pick(rng, &[0, 0, 0, 0, 1, 1, 2]) {
        headers.push(("x-user".to_owned(), pick(rng, &["ann", "bob"]).to_owned()));
    }
    let method = pick(rng, &["GET", "GET", "POST", "DELETE", "OPTIONS", "PROPFIND"]);
    let mut request = Request::new(method, &path, headers, Some(request_id(0)));
    let mut claim = |rng: &mut Rng, name: &str, from: &[&str]| {
        let value = match rng.u8(..6) {
            0..=2 => return,
            3 => json!([pick(rng, from), pick(rng, from)]),
            _ => json!(pick(rng, from)),
        };
        request.claims.insert(vec![name.into()], value);
    };
    claim(rng, "home", &TENANTS);
    claim(rng, "homes", &TENANTS);
    claim(rng, "roles", &ROLES);
    claim(rng, "team", &ROLES);
    claim(rng, "groups", &GROUPS);
    claim(rng, "sub", &["ann", "bob"]);
    claim(rng, "purpose", &PURPOSES);
    claim(rng, "iss", &[ISSUER, "https://other.example"]);
    request.peer = rng.bool().then(|| pick(rng, &PEERS).to_owned());
    request
}

/// Whether the old policy refused the request for what a peer says that the new policy no longer believes: the peer
/// could have left it out.
fn is_self_inflicted(old: &Judged, new: &Judged, request: &Request, denial: &str) -> bool {
    let [before, after] =
        [old, new].map(|judged| judged.rules.policy.identity.trusted_peers.trust(request.peer.as_deref()));
    let contradicts = ["tenant-conflict", "tenant-malformed", "user-conflict", "user-malformed", "identity-repeated"]
        .contains(&denial);
    before && !after && contradicts
}

#[test]
fn where_no_access_widens_no_refused_request_is_let_through() {
    let seeds = std::env::var("CAREPLANE_DIFF_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let (mut narrower, mut failed) = (0, Vec::new());
    for seed in 0..seeds {
        let mut rng = Rng::with_seed(seed);
        let parts: Vec<Value> = PARTS.iter().map(|name| part(&mut rng, name)).collect();
        let mut changed = parts.clone();
        let which = rng.usize(..PARTS.len());
        changed[which] = part(&mut rng, PARTS[which]);
        let (Some(old), Some(new)) = (judged(&parts), judged(&changed)) else { continue };
        let (templates, _) = routes::templates(&old, &new);
        let (access, _) = access::compare(&old, &new, &templates);
        if access.iter().any(|change| change.kind == ChangeKind::Gained) {
            continue;
        }
        narrower += 1;
        for _ in 0..REQUESTS {
            let request = request(&mut rng);
            let [before, after] = [&old, &new].map(|judged| Outcome::of(judged, &request));
            let (Outcome::Denied(denial), Outcome::Allowed { .. }) = (&before, &after) else { continue };
            if !is_self_inflicted(&old, &new, &request, denial) {
                failed.push(format!(
                    "seed {seed}, {}: {} → {}\n{before:?} → {after:?}\n{} {:?} {:?} {:?}\n{}",
                    PARTS[which],
                    parts[which],
                    changed[which],
                    request.path,
                    request.headers,
                    request.claims,
                    request.peer,
                    json!(parts)
                ));
                break;
            }
        }
    }
    assert!(failed.is_empty(), "{} of {narrower}:\n{}", failed.len(), failed.join("\n\n"));
    assert!(narrower * 4 > seeds, "only {narrower} of {seeds} pairs were compared");
}
