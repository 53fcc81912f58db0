//! Callers, and what they send: every case that the sources and the trusted peers of two policies distinguish.

mod callers;
mod grants;
mod peers;

use std::collections::HashSet;

use careplane_policy::{Policy, Source};

use super::homes::Homes;
use super::routes::RouteTemplate;
use super::sent::Sent;
use crate::explain::Judged;
use crate::explain::request::Request;
use callers::Sources;
use peers::Peer;

/// One kind of caller.
#[derive(Clone)]
pub struct Scenario {
    /// As it is printed: `a caller without identity`.
    pub caller: String,
    sent: Sent,
    peer: Option<String>,
    /// The parameters that name the caller's own tenant where a route has them.
    own: Vec<String>,
    home: String,
    pub spelling: Spelling,
}

/// How the path is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    Plain,
    /// The last slash is an escape.
    EscapedSlash,
    /// A suffix, which some applications do not take for a part of the path.
    Suffix,
}

// === impl Scenario ===

impl Scenario {
    fn new(caller: impl Into<String>) -> Self {
        Self {
            caller: caller.into(),
            sent: Sent::default(),
            peer: None,
            own: Vec::new(),
            home: String::new(),
            spelling: Spelling::Plain,
        }
    }

    fn with(mut self, source: &Source, value: &str) -> Self {
        self.sent.put(source, value);
        self
    }

    fn of(self, peer: &Peer) -> Self {
        Self { peer: peer.id.clone(), ..self }
    }

    fn called(self, caller: String) -> Self {
        Self { caller, ..self }
    }

    /// More words for who it is.
    fn and(mut self, more: &str) -> Self {
        self.caller += more;
        self
    }

    fn spelled(self, spelling: Spelling) -> Self {
        Self { spelling, ..self }
    }

    /// The request of this caller at a route. None where the route has not what it takes.
    pub fn request(&self, route: &RouteTemplate, method: &str) -> Option<Request> {
        let given = self.sent.parameter.as_ref().map(|(name, value)| (name.as_str(), value.as_str()));
        if given.is_some_and(|(name, _)| !route.has(name)) {
            return None;
        }
        let own = || Some((self.own.iter().find(|name| route.has(name))?.as_str(), self.home.as_str()));
        let given = given.or_else(own);
        let mut path = route.path(given);
        match self.spelling {
            Spelling::Plain => {}
            Spelling::EscapedSlash => match path.rfind('/')? {
                // One more slash, where there is only the first.
                0 => path.insert_str(1, "%2f"),
                slash => path.replace_range(slash..=slash, "%2f"),
            },
            Spelling::Suffix => path.push_str(".json"),
        }
        Some(self.sent.clone().request(method, &path, self.peer.as_deref()))
    }
}

/// All callers that the two policies could distinguish, and what was left out. Where the path names a tenant, it is
/// their own unless they say otherwise.
pub fn all(old: &Judged, new: &Judged) -> (Vec<Scenario>, Vec<String>) {
    let policies = [&old.rules.policy, &new.rules.policy];
    let sources = policies.into_iter().flat_map(|policy| &policy.identity.tenant_sources);
    let parameters = sources.filter_map(|source| match source {
        Source::Path(name) => Some(name.to_string()),
        _ => None,
    });
    let own: Vec<String> = parameters.collect();
    let homes = Homes::new([old, new]);
    let mut left_out: Vec<String> = homes.left_out([old, new]).into_iter().collect();
    let [home, other] = homes.pair();
    let of = |home: &str, scenario: Scenario| Scenario { own: own.clone(), home: home.into(), ..scenario };
    let peers = peers::all([old, new]);
    let sources = Sources {
        tenant: either(policies, |policy| &policy.identity.tenant_sources),
        user: either(policies, |policy| &policy.identity.user_sources),
        purpose: either(policies, |policy| &policy.identity.purpose_sources),
        is_granting_changed: policies[0].identity.grants.is_empty() != policies[1].identity.grants.is_empty(),
        is_case_changed: old.rules.policy.identity.fold_tenants != new.rules.policy.identity.fold_tenants,
    };
    let callers = |home: &str| callers::all(&sources, &peers, home, other);
    let mut scenarios: Vec<Scenario> = callers(home).into_iter().map(|scenario| of(home, scenario)).collect();
    // The same of tenants that one of the policies refuses.
    for unlike in homes.unlike(home) {
        let named = |scenario: Scenario| scenario.and(&format!(", of {unlike}"));
        scenarios.extend(callers(unlike).into_iter().map(|scenario| of(unlike, named(scenario))));
    }
    let grants = grants::all([old, new], &sources, &peers, &homes, &mut left_out);
    scenarios.extend(grants.into_iter().map(|scenario| of(home, scenario)));
    left_out.dedup();
    // What two grants ask for can be the same.
    let mut seen = HashSet::new();
    scenarios.retain(|Scenario { sent, peer, own, home, spelling, .. }| {
        seen.insert(format!("{:?}", (sent, peer, spelling, Some(home).filter(|_| !own.is_empty()))))
    });
    (scenarios, left_out)
}

/// The sources of two policies, each once.
fn either<'p>(policies: [&'p Policy; 2], sources: impl Fn(&'p Policy) -> &'p Vec<Source>) -> Vec<&'p Source> {
    let mut found: Vec<&Source> = Vec::new();
    for source in policies.into_iter().flat_map(sources) {
        if !found.iter().any(|known| is_same(known, source)) {
            found.push(source);
        }
    }
    found
}

fn is_same(one: &Source, other: &Source) -> bool {
    match (one, other) {
        (Source::Claim(one), Source::Claim(other)) => one == other,
        (Source::Path(one), Source::Path(other))
        | (Source::Header(one), Source::Header(other))
        | (Source::Query(one), Source::Query(other)) => one == other,
        (Source::Host(one), Source::Host(other)) => one == other,
        _ => false,
    }
}

/// Whether one request can say something by both sources, and something else by each.
fn are_together(one: &Source, other: &Source) -> bool {
    match (one, other) {
        // A request has one host; of the others, one is enough to try.
        (Source::Host(_), Source::Host(_))
        | (Source::Path(_), Source::Path(_))
        | (Source::Query(_), Source::Query(_)) => false,
        (Source::Claim(one), Source::Claim(other)) => {
            let is_one_issuer = one.issuer.is_none() || other.issuer.is_none() || one.issuer == other.issuer;
            one.path != other.path && is_one_issuer
        }
        _ => true,
    }
}

fn name(source: &Source) -> String {
    match source {
        Source::Claim(claim) => {
            let issuer = claim.issuer.as_ref().map(|issuer| format!(" of {issuer}")).unwrap_or_default();
            format!("claim {}{issuer}", claim.path.join("."))
        }
        Source::Path(name) => format!("path parameter {name}"),
        Source::Header(name) => format!("header {name}"),
        Source::Host(pattern) => format!("host {}", pattern.host("{tenant}")),
        Source::Query(name) => format!("query parameter {name}"),
    }
}
