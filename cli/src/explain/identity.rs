//! Who a request is from: what each source said, and what was made of it.

use careplane_exchange::{Identity, Incoming};
use careplane_policy::document::{Document, TrustedPeers as Written};
use careplane_policy::id::{TenantId, UserId};
use careplane_policy::{Source, TrustedPeers};
use serde_json::Value;

use super::account::{IdentityAccount, PeerAccount, SourceAccount};
use super::context::rule;
use super::request::Request;
use crate::yaml::Node;

pub fn peer(incoming: &Incoming, identity: &Identity, document: &Document, node: &Node) -> PeerAccount {
    const PATH: &str = "identity.trustedPeers";
    let by = match (&incoming.policy().identity.trusted_peers, &document.identity.trusted_peers, &identity.peer) {
        (TrustedPeers::Any, _, _) => Some((PATH.to_owned(), "any".to_owned())),
        (TrustedPeers::Listed(patterns), Written::Listed(written), Some(peer)) => patterns
            .iter()
            .position(|pattern| pattern.matches(peer))
            .and_then(|index| Some((format!("{PATH}[{index}]"), written.get(index)?.clone()))),
        _ => None,
    };
    PeerAccount {
        id: identity.peer.as_deref().map(Into::into),
        trusted: identity.trusted,
        rule: rule(node, by.as_ref().map_or(PATH, |(path, _)| path)),
        pattern: by.map(|(_, pattern)| pattern),
    }
}

pub fn tenant(incoming: &Incoming, identity: &Identity, request: &Request, node: &Node) -> IdentityAccount {
    let known = |said: &str| TenantId::new(said.as_bytes()).is_some();
    let sources = &incoming.policy().identity.tenant_sources;
    let value = identity.tenant.as_ref().map(TenantId::as_str);
    account(incoming, identity, request, node, &Asked { part: "tenant", sources, value, can_be: &known })
}

pub fn user(incoming: &Incoming, identity: &Identity, request: &Request, node: &Node) -> IdentityAccount {
    let known = |said: &str| UserId::new(said.as_bytes()).is_some();
    let sources = &incoming.policy().identity.user_sources;
    let value = identity.user.as_ref().map(UserId::as_str);
    account(incoming, identity, request, node, &Asked { part: "user", sources, value, can_be: &known })
}

/// One part of an identity.
struct Asked<'a> {
    part: &'static str,
    sources: &'a [Source],
    /// What the filters took.
    value: Option<&'a str>,
    can_be: &'a dyn Fn(&str) -> bool,
}

fn account(
    incoming: &Incoming,
    identity: &Identity,
    request: &Request,
    node: &Node,
    asked: &Asked<'_>,
) -> IdentityAccount {
    let has_claim = asked.sources.iter().any(|source| matches!(source, Source::Claim(_)));
    let mut taken = false;
    let mut sources = Vec::with_capacity(asked.sources.len());
    for (index, source) in asked.sources.iter().enumerate() {
        let (name, said) = said(incoming, request, source);
        let only_asks = matches!(source, Source::Path(_)) && has_claim && !identity.trusted;
        let unbelieved = matches!(source, Source::Header(_)) && !identity.trusted;
        let repeated = matches!(source, Source::Header(name) if request.header(name).count() > 1);
        let verdict = match said.as_deref() {
            None => "says nothing".to_owned(),
            Some(_) if repeated => "sent more than once".to_owned(),
            Some(_) if unbelieved => "not believed: the peer is not trusted".to_owned(),
            Some(said) if !(asked.can_be)(said) => format!("cannot be a {}", asked.part),
            Some(said) if Some(said) != asked.value && only_asks => {
                "asked for, which is not enough without a claim".to_owned()
            }
            Some(said) if Some(said) != asked.value => "contradicts".to_owned(),
            Some(_) if taken || only_asks => "agrees".to_owned(),
            Some(_) => {
                taken = true;
                "taken".to_owned()
            }
        };
        let verdict = match &asked.value {
            Some(value) if verdict.starts_with("asked for") => format!("contradicts {value}"),
            _ => verdict,
        };
        let rule = rule(node, format!("identity.{}.sources[{index}]", asked.part));
        sources.push(SourceAccount { source: name, said, verdict, rule });
    }
    IdentityAccount { value: asked.value.map(Into::into), sources }
}

/// The name of a source, and what it says.
fn said(incoming: &Incoming, request: &Request, source: &Source) -> (String, Option<String>) {
    let not_empty = |text: String| Some(text).filter(|text| !text.is_empty());
    match source {
        Source::Claim(claim) => {
            let name = claim.path.join(".");
            let text = request.claims.get(&name).and_then(|claim| match claim {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            });
            (format!("claim {name}"), text.and_then(not_empty))
        }
        Source::Path(parameter) => {
            (format!("path {{{parameter}}}"), incoming.about().capture(parameter).map(Into::into).and_then(not_empty))
        }
        Source::Header(name) => {
            let values: Vec<_> = request.header(name).collect();
            (format!("header {name}"), not_empty(values.join(", ")))
        }
        Source::Host(_) | Source::Query(_) => (String::new(), None),
    }
}
