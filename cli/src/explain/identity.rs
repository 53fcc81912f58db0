//! The identity of a request: what each source said, and what the filters made of it.

use careplane_exchange::{Identity, Incoming, query_value};
use careplane_policy::document::{Document, TrustedPeers as Written};
use careplane_policy::id::{TenantId, UserId};
use careplane_policy::{Claim, Source, TrustedPeers};
use serde_json::{Map, Value};

use super::context::rule;
use super::explanation::{IdentityExplanation, PeerExplanation, SourceExplanation};
use super::request::{Request, property};
use crate::yaml::Node;

pub fn peer(incoming: &Incoming, identity: &Identity, document: &Document, node: &Node) -> PeerExplanation {
    const PATH: &str = "identity.trustedPeers";
    let by = match (&incoming.policy().identity.trusted_peers, &document.identity.trusted_peers, &identity.peer) {
        (TrustedPeers::Any, _, _) => Some((PATH.to_owned(), "any".to_owned())),
        (TrustedPeers::Listed(patterns), Written::Listed(written), Some(peer)) => patterns
            .iter()
            .position(|pattern| pattern.matches(peer))
            .and_then(|index| Some((format!("{PATH}[{index}]"), written.get(index)?.clone()))),
        _ => None,
    };
    PeerExplanation {
        id: identity.peer.as_deref().map(Into::into),
        trusted: identity.trusted,
        rule: rule(node, by.as_ref().map_or(PATH, |(path, _)| path)),
        pattern: by.map(|(_, pattern)| pattern),
    }
}

pub fn tenant(incoming: &Incoming, identity: &Identity, request: &Request, node: &Node) -> IdentityExplanation {
    let known = |said: &str| TenantId::new(said.as_bytes()).is_some();
    let sources = &incoming.policy().identity.tenant_sources;
    let value = identity.tenant.as_ref().map(TenantId::as_str);
    let folds = incoming.policy().identity.fold_tenants;
    explain(incoming, identity, request, node, &IdentityPart { name: "tenant", folds, sources, value, can_be: &known })
}

pub fn user(incoming: &Incoming, identity: &Identity, request: &Request, node: &Node) -> IdentityExplanation {
    let known = |said: &str| UserId::new(said.as_bytes()).is_some();
    let sources = &incoming.policy().identity.user_sources;
    let value = identity.user.as_ref().map(UserId::as_str);
    explain(
        incoming,
        identity,
        request,
        node,
        &IdentityPart { name: "user", folds: false, sources, value, can_be: &known },
    )
}

/// One part of an identity.
struct IdentityPart<'a> {
    name: &'static str,
    sources: &'a [Source],
    /// Whether case does not matter.
    folds: bool,
    /// What the filters took.
    value: Option<&'a str>,
    can_be: &'a dyn Fn(&str) -> bool,
}

fn explain(
    incoming: &Incoming,
    identity: &Identity,
    request: &Request,
    node: &Node,
    part: &IdentityPart<'_>,
) -> IdentityExplanation {
    let has_claim = part.sources.iter().any(|source| matches!(source, Source::Claim(_)));
    let mut taken = false;
    let mut sources = Vec::with_capacity(part.sources.len());
    for (index, source) in part.sources.iter().enumerate() {
        let (name, said) = said(incoming, request, source);
        let is_tenant = part.name == "tenant";
        let said = said.map(|said| if is_tenant && part.folds { said.to_ascii_lowercase() } else { said });
        let only_asks = matches!(source, Source::Path(_) | Source::Host(_)) && has_claim && !identity.trusted;
        let unbelieved = matches!(source, Source::Header(_) | Source::Query(_)) && !identity.trusted;
        let is_value = said.as_deref().is_some_and(|said| Some(said) == part.value);
        let selects = is_tenant && is_value && identity.selected_by == Some(source.kind());
        let is_other = is_tenant
            && identity.other_tenant.as_ref().is_some_and(|other| said.as_deref() == Some(other.as_str()))
            && (identity.membership.is_some() || identity.grant.is_some());
        let is_name = !matches!(source, Source::Claim(claim) if claimed(request, claim).is_some_and(|it| !is_name(it)));
        let listed = is_tenant.then(|| listed(request, source)).flatten();
        let repeated = matches!(source, Source::Header(name) if request.header(name).count() > 1);
        let verdict = match said.as_deref() {
            None => "says nothing".to_owned(),
            Some(_) if repeated => "sent more than once".to_owned(),
            Some(_) if listed.is_some_and(|count| count != 1) => {
                format!("lists {}: what is selected has to be among them", listed.unwrap_or_default())
            }
            Some(_) if selects => "selects".to_owned(),
            Some(_) if is_other => "reaches beyond the caller's own".to_owned(),
            Some(_) if unbelieved => "not believed: the peer is not trusted".to_owned(),
            Some(said) if !is_name || !(part.can_be)(said) => format!("cannot be a {}", part.name),
            Some(said) if Some(said) != part.value && only_asks => {
                "asked for, which is not enough without a claim".to_owned()
            }
            Some(said) if Some(said) != part.value => "contradicts".to_owned(),
            Some(_) if taken || only_asks => "agrees".to_owned(),
            Some(_) => {
                taken = true;
                "taken".to_owned()
            }
        };
        let verdict = match &part.value {
            Some(value) if verdict.starts_with("asked for") => format!("contradicts {value}"),
            _ => verdict,
        };
        let rule = rule(node, format!("identity.{}.sources[{index}]", part.name));
        sources.push(SourceExplanation { source: name, said, verdict, rule });
    }
    IdentityExplanation { value: part.value.map(Into::into), sources }
}

/// The name of a source, and what it says.
fn said(incoming: &Incoming, request: &Request, source: &Source) -> (String, Option<String>) {
    let not_empty = |text: String| Some(text).filter(|text| !text.is_empty());
    match source {
        Source::Claim(claim) => {
            let name = claim.path.join(".");
            let text = claimed(request, claim).map(|claim| match claim {
                Value::Array(items) if items.len() == 1 && items[0] != "" => shown(&items[0]),
                Value::Object(members) if members.len() == 1 && is_list(members) => members.keys().cloned().collect(),
                other => shown(other),
            });
            let issuer = claim.issuer.as_ref().map(|issuer| format!(" of {issuer}")).unwrap_or_default();
            (format!("claim {name}{issuer}"), text.and_then(not_empty))
        }
        Source::Path(parameter) => {
            (format!("path {{{parameter}}}"), incoming.about().capture(parameter).map(Into::into).and_then(not_empty))
        }
        Source::Header(name) => {
            let values: Vec<_> = request.header(name).collect();
            (format!("header {name}"), not_empty(values.join(", ")))
        }
        Source::Host(pattern) => {
            let host = request.header(":authority").next().unwrap_or_default();
            let tenant = pattern.tenant(host.as_bytes()).map(|tenant| String::from_utf8_lossy(tenant).into_owned());
            (format!("host {}", pattern.host("{tenant}")), tenant)
        }
        Source::Query(parameter) => {
            let value = query_value(request.path.as_bytes(), parameter);
            let value = value.map(|value| String::from_utf8_lossy(&value).into_owned());
            (format!("query {parameter}"), value.and_then(not_empty))
        }
    }
}

fn shown(claim: &Value) -> String {
    match claim {
        Value::String(text) => text.clone(),
        // As the filters have it: 42.0 is 42.
        Value::Number(number) => number.as_f64().unwrap_or_default().to_string(),
        other => other.to_string(),
    }
}

/// Whether the filters take a claim for a name: not a truth, and no number but those that are whole and exact.
fn is_name(claim: &Value) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    match claim {
        Value::Bool(_) => false,
        Value::Number(number) => number.as_f64().is_some_and(|it| it.fract() == 0.0 && (0.0..EXACT).contains(&it)),
        Value::Array(items) => items.len() != 1 || items.iter().all(is_name),
        Value::Null | Value::String(_) | Value::Object(_) => true,
    }
}

/// Whether an object is a list to Envoy: of its names, for they have empty values.
fn is_list(members: &Map<String, Value>) -> bool {
    members.values().all(|value| value == "")
}

/// A claim of the token, if the right issuer made that, and Envoy hands it over.
fn claimed<'r>(request: &'r Request, claim: &Claim) -> Option<&'r Value> {
    let issuer = request.claims.get(&["iss".to_owned()][..]).and_then(Value::as_str);
    let is_right = claim.issuer.as_deref().is_none_or(|wanted| issuer == Some(wanted));
    request.claims.get(&claim.path).filter(|claim| is_right && property(claim).is_some())
}

/// How many tenants a claim lists that is a list.
fn listed(request: &Request, source: &Source) -> Option<usize> {
    let Source::Claim(claim) = source else { return None };
    match claimed(request, claim)? {
        Value::Array(items) => Some(items.len()),
        Value::Object(members) => is_list(members).then_some(members.len()),
        _ => None,
    }
}
