//! Memberships and grants under any policy, beside a model that goes through all of it for each request.
//!
//! Input: bytes, each of which chooses the next thing: the homes, up to four grants, the claims, the request.

use careplane_exchange::memory::{MemoryHost, list, rules};
use careplane_exchange::{Denial, Incoming};
use serde_json::{Value, json};

const PEER: &str = "spiffe://cluster.local/ns/core/sa/gateway";
const HOMES: [&str; 6] = ["home-0", "home-1", "home-2", "home-3", "42", "Home-1"];
const NATIONS: [&str; 4] = ["england", "scotland", "wales", "northern-ireland"];
const GROUPS: [&str; 3] = ["north", "south", "42"];
const WORDS: [&str; 8] = ["nurse", "manager", "42", "true", "north", "scotland", "england", "home-1"];
const CLAIMS: [&str; 4] = ["homes", "roles", "groups", "where"];
const CONTEXTS: [&str; 2] = ["notes", "staff"];
const METHODS: [(&str, &str); 4] = [("GET", "read"), ("POST", "create"), ("PUT", "update"), ("DELETE", "delete")];
const PURPOSES: [&str; 4] = ["BTG", "ETREAT", "TREAT", "because"];

/// Choices, in the order of the input. After the end of the input, each choice is the first option.
struct Choices<'d>(std::slice::Iter<'d, u8>);

impl Choices<'_> {
    fn below(&mut self, count: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or_default()) % count
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn some<T: Copy>(&mut self, all: &[T]) -> Vec<T> {
        let chosen = self.below(1 << all.len());
        all.iter().enumerate().filter(|(bit, _)| chosen & (1 << bit) != 0).map(|(_, one)| *one).collect()
    }
}

fn claim_value(choices: &mut Choices<'_>, words: &[&str]) -> Option<Value> {
    Some(match choices.below(9) {
        0 => return None,
        1 | 2 => json!(choices.of(words)),
        3 => json!([choices.of(words)]),
        4 | 5 => json!((0..choices.below(5)).map(|_| choices.of(words)).collect::<Vec<_>>()),
        6 => json!([42, choices.of(words), true]),
        7 => json!([[choices.of(words)], choices.of(words)]),
        _ => [json!(42), json!(true), json!({"nurse": "x"}), json!([["home-1"]]), json!("a b"), json!([])]
            [choices.below(6)]
        .clone(),
    })
}

fn grant(choices: &mut Choices<'_>, index: usize) -> Value {
    let condition = |choices: &mut Choices<'_>| {
        let claim = choices.of(&CLAIMS);
        match choices.below(3) {
            0 => json!({"claim": claim, "equals": choices.of(&WORDS)}),
            1 => json!({"claim": claim, "contains": choices.of(&WORDS)}),
            _ => json!({"claim": claim, "anyOf": [choices.of(&WORDS), choices.of(&WORDS)]}),
        }
    };
    let tenants = match choices.below(3) {
        0 => json!("any"),
        1 => json!({"jurisdiction": {"claim": choices.of(&CLAIMS)}}),
        _ => json!({"group": {"claim": choices.of(&CLAIMS)}}),
    };
    json!({
        "name": format!("grant-{index}"),
        "when": (0..=choices.below(2)).map(|_| condition(choices)).collect::<Vec<_>>(),
        "tenants": tenants,
        "actions": choices.some(&METHODS.map(|(_, action)| action)),
        "contexts": choices.some(&CONTEXTS),
        "requires": {"purpose": choices.some(&["BTG", "ETREAT"])},
    })
}

/// A claim as Envoy hands it over.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Bool(value) => vec![u8::from(*value)],
        Value::Number(number) => number.as_f64().unwrap_or_default().to_le_bytes().to_vec(),
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(items) => list(items.iter().map(bytes)),
        Value::Object(members) => {
            let map: careplane_exchange::HeaderMap = members.iter().map(|(name, value)| (name, bytes(value))).collect();
            map.serialise()
        }
        Value::Null => Vec::new(),
    }
}

/// The words of a claim. A value that is not a word matches nothing in the policy.
fn words(value: Option<&Value>) -> Vec<String> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items.iter().map(word).collect(),
        Some(one) => vec![word(one)],
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => "\u{0}".into(),
    }
}

struct Request {
    action: &'static str,
    context: &'static str,
    path: Option<&'static str>,
    header: Option<&'static str>,
    trusted: bool,
    purpose: Option<&'static str>,
}

/// Who may act, and why not: tenant, grant, refusal.
type Answer = (Option<String>, Option<String>, Option<Denial>);

fn model(policy: &Value, claims: &Value, request: &Request) -> Answer {
    let refused = |denial| (None, None, Some(denial));
    let grants = policy["identity"]["grants"].as_array().expect("a list");
    let homes = claims.get("homes");
    // A home is a word or a number, alone or in a list; `true` is not a home.
    let is_home = |home: &Value| home.is_number() || home.as_str().is_some_and(|home| !home.contains(' '));
    let listed: Option<&Vec<Value>> = homes.and_then(Value::as_array);
    let members: Vec<String> = match listed {
        Some(items) => items.iter().filter(|home| is_home(home)).map(word).collect(),
        None => homes.filter(|home| is_home(home)).map(word).into_iter().collect(),
    };
    let only = listed.is_none_or(|items| !items.is_empty() && items.iter().all(|item| *item == items[0]));
    if homes.is_some() && only && members.is_empty() {
        return refused(Denial::TenantMalformed);
    }

    let header_counts = request.trusted || listed.is_some() || !grants.is_empty();
    let asks: Vec<&str> = request.path.into_iter().chain(request.header.filter(|_| header_counts)).collect();
    let own = || members.first().cloned().filter(|_| homes.is_some() && only);
    let Some(home) = asks.first().copied() else {
        return match (own(), listed) {
            (Some(own), _) => (Some(own), None, None),
            (None, Some(items)) if !items.is_empty() => refused(Denial::TenantUnselected),
            (None, _) => refused(Denial::TenantMissing),
        };
    };
    let not_reached = || match homes.is_some() || (request.trusted && asks.iter().any(|other| *other != home)) {
        true => (None, None, Some(Denial::TenantConflict)),
        false => refused(Denial::TenantMissing),
    };
    if asks.iter().any(|other| *other != home) {
        return not_reached();
    }
    if members.iter().any(|member| member == home) || (homes.is_none() && request.trusted) {
        return (Some(home.into()), None, None);
    }

    let entry = &policy["tenants"]["entries"][home];
    let says = |claim: &Value, word: &Value| {
        word.is_string()
            && words(claims.get(claim.as_str().unwrap())).iter().any(|said| *said == *word.as_str().unwrap())
    };
    let mut first_refusal = None;
    for grant in grants {
        let is_mine = grant["when"].as_array().expect("a list").iter().all(|condition| {
            let claim = &condition["claim"];
            if condition["equals"].is_string() {
                words(claims.get(claim.as_str().unwrap())) == [condition["equals"].as_str().unwrap()]
            } else if condition["contains"].is_string() {
                says(claim, &condition["contains"])
            } else {
                condition["anyOf"].as_array().expect("a list").iter().any(|word| says(claim, word))
            }
        });
        let tenants = &grant["tenants"];
        let reaches = tenants == "any"
            || (tenants["jurisdiction"].is_object() && says(&tenants["jurisdiction"]["claim"], &entry["jurisdiction"]))
            || (tenants["group"].is_object() && says(&tenants["group"]["claim"], &entry["group"]));
        if !is_mine || !reaches {
            continue;
        }
        let name = grant["name"].as_str().map(Into::into);
        let has = |list: &Value, word: &str| {
            let list = list.as_array().expect("a list");
            list.is_empty() || list.iter().any(|one| one == word)
        };
        let denial = if !has(&grant["actions"], request.action) || !has(&grant["contexts"], request.context) {
            Denial::GrantAction
        } else if !has(&grant["requires"]["purpose"], request.purpose.unwrap_or_default()) {
            Denial::GrantPurpose
        } else {
            return (Some(home.into()), name, None);
        };
        first_refusal.get_or_insert((own(), name, Some(denial)));
    }
    first_refusal.unwrap_or_else(not_reached)
}

pub(crate) fn run(data: &[u8]) {
    let choices = &mut Choices(data.iter());
    let entries: serde_json::Map<String, Value> = HOMES[..choices.below(HOMES.len() + 1)]
        .iter()
        .map(|home| {
            let mut entry = json!({});
            if choices.below(4) > 0 {
                entry["jurisdiction"] = choices.of(&NATIONS).into();
            }
            if choices.below(4) > 0 {
                entry["group"] = choices.of(&GROUPS).into();
            }
            ((*home).into(), entry)
        })
        .collect();
    let grants: Vec<Value> = (0..choices.below(5)).map(|index| grant(choices, index)).collect();
    let policy = json!({
        "version": "careplane/v1",
        "identity": {
            "trustedPeers": [PEER],
            "tenant": {"sources": [{"claim": "homes"}, {"path": "tenant"}, {"header": "x-tenant-id"}]},
            "purpose": {"sources": [{"header": "x-purpose-of-use"}]},
            "grants": grants,
        },
        "contexts": CONTEXTS.map(|name| json!({
            "name": name, "complianceLevel": "high",
            "match": [{"path": format!("/homes/{{tenant}}/{name}")}, {"path": format!("/{name}")}],
        })),
        "tenants": {"entries": entries},
    });
    let mut claims = json!({});
    for claim in CLAIMS {
        let words = if claim == "homes" { &HOMES[..] } else { &WORDS[..] };
        if let Some(value) = claim_value(choices, words) {
            claims[claim] = value;
        }
    }
    let (method, action) = choices.of(&METHODS);
    let context = choices.of(&CONTEXTS);
    let home = |choices: &mut Choices<'_>| (choices.below(3) > 0).then(|| choices.of(&HOMES));
    let (path, header) = (home(choices), home(choices));
    let purpose = (choices.below(2) > 0).then(|| choices.of(&PURPOSES));
    let request = Request { action, context, path, header, trusted: choices.below(4) == 0, purpose };

    let rules = rules(&policy.to_string()).unwrap_or_else(|problems| panic!("{problems}\n{policy}"));
    let path = path.map_or_else(|| format!("/{context}"), |home| format!("/homes/{home}/{context}"));
    let mut sent = vec![(":method", method), (":path", &*path)];
    sent.extend(header.map(|home| ("x-tenant-id", home)));
    sent.extend(purpose.map(|purpose| ("x-purpose-of-use", purpose)));
    let mut host = MemoryHost::with_request(sent);
    for (name, value) in claims.as_object().expect("a map") {
        host = host.with_claim(name, bytes(value));
    }
    if request.trusted {
        host = host.with_peer(PEER);
    }
    let incoming = Incoming::open(rules, &host);
    let identity = incoming.identity(&host);

    let (tenant, grant, denial) = model(&policy, &claims, &request);
    let about =
        || format!("{policy}\n{claims}\n{method} {path}, {header:?}, {purpose:?}, trusted: {}", request.trusted);
    assert_eq!(identity.denial, denial, "{}", about());
    assert_eq!(identity.grant.as_ref().map(|grant| grant.name.to_string()), grant, "{}", about());
    if denial.is_none() || denial.is_some_and(Denial::is_of_grant) {
        assert_eq!(identity.tenant.as_ref().map(ToString::to_string), tenant, "{}", about());
    }
    // The filters read only claims that the policy names, and each of them once.
    let mut asked: Vec<_> = host.asked().into_iter().filter(|path| path.contains(".payload.")).collect();
    let total = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), total, "{}", about());
}
