//! Tokens that are none, and good tokens whose claims are of every type that JSON has.

use anyhow::Result;
use careplane_integration::{
    IdentityProvider,
    identity_provider::{AUDIENCE, ISSUER},
};
use serde_json::{Value, json};

use crate::{
    Hostile,
    http1::{self, Header},
};

/// No token is any of these.
const NONSENSE: [&[u8]; 16] = [
    b"",
    b"Bearer",
    b"Bearer ",
    b"Bearer .",
    b"Bearer ..",
    b"Bearer ...",
    b"Bearer a.b.c",
    b"Bearer eyJhbGciOiJub25lIn0.eyJ0ZW5hbnRfaWQiOiJhIn0.",
    b"bearer bearer bearer",
    b"Bearer \xff\xfe.\x80.\x80",
    b"Basic dXNlcjpwYXNzd29yZA==",
    b"Bearer {\"alg\":\"ES256\"}",
    b"Bearer a b c",
    b"Bearer,Bearer",
    b"Negotiate",
    b"%00",
];

/// One of each kind, and the corners of each.
fn values() -> Vec<Value> {
    let mut deep = json!("bottom");
    for _ in 0..60 {
        deep = json!([{"a": deep}]);
    }
    vec![
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(42),
        json!(9_007_199_254_740_993_u64),
        json!(1e308),
        json!(-1e-308),
        json!(""),
        json!(" "),
        json!("eightchr"),
        json!("12345678"),
        json!("eight\u{0}\u{1}\u{2}"),
        json!("\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}E@"),
        json!("\u{0}"),
        json!("a\nb"),
        json!("café"),
        json!("\u{1f600}"),
        json!("\u{fffd}"),
        json!("943 476 5919"),
        json!("t".repeat(129)),
        json!("t".repeat(20_000)),
        json!([]),
        json!(["care-home-0001"]),
        json!(["a", 1, "b"]),
        json!({}),
        json!({"user": "ann"}),
        json!({"user": {"user": 1}}),
        json!({"": ""}),
        deep,
    ]
}

/// Claims with a null somewhere, which Envoy cannot hand over to a filter.
pub fn nulls(identity: &IdentityProvider) -> Result<Vec<Hostile>> {
    let values = [json!(null), json!([null]), json!(["a", 1, null]), json!({"user": null})];
    let crossed = ["tenant_id", "realm"].into_iter().flat_map(|claim| values.clone().map(|value| (claim, value)));
    crossed.map(|(claim, value)| claiming(identity, format!("{claim} is {value}"), claim, value)).collect()
}

/// A request with a good token in which `claim` is `value`.
fn claiming(identity: &IdentityProvider, name: String, claim: &str, value: Value) -> Result<Hostile> {
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "tenant_id": "care-home-0107", "exp": 4_102_444_800_u64,
    });
    claims[claim] = value;
    let bearer = format!("Bearer {}", identity.sign(&claims)?);
    let header: Header<'_> = (b"authorization", bearer.as_bytes());
    Ok(http1::get(name, "/elsewhere", &[header]))
}

pub fn all(identity: &IdentityProvider) -> Result<Vec<Hostile>> {
    let mut all: Vec<Hostile> = NONSENSE
        .iter()
        .map(|value| {
            http1::get(format!("a token: {}", value.escape_ascii()), "/elsewhere", &[(b"authorization", value)])
        })
        .collect();
    for claim in ["tenant_id", "sub", "realm", "aud", "exp"] {
        for value in values() {
            let shown: String = value.to_string().chars().take(40).collect();
            all.push(claiming(identity, format!("{claim} is {shown}"), claim, value)?);
        }
    }
    Ok(all)
}
