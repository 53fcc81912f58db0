//! Callers, and what they send: every case that the sources and the trusted peers of two policies distinguish.

mod grants;

use std::collections::HashSet;

use careplane_policy::{Claim, Policy, Source, TrustedPeers};

use super::homes::Homes;
use super::routes::RouteTemplate;
use super::sent::Sent;
use crate::explain::Judged;
use crate::explain::request::Request;

/// Of tokens that no policy names the issuer of.
const OTHER_ISSUER: &str = "https://made-up.example";
const USER: &str = "made-up-user-a";
const OTHER_USER: &str = "made-up-user-b";

/// One kind of caller.
pub struct Scenario {
    /// As it is printed: `a caller without identity`.
    pub caller: String,
    sent: Sent,
    peer: Option<String>,
    /// The parameters that name the caller's own tenant where a route has them.
    own: Vec<String>,
    home: String,
    /// Whether the last slash is sent as an escape.
    is_escaped: bool,
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
            is_escaped: false,
        }
    }

    fn with(mut self, source: &Source, value: &str) -> Self {
        self.sent.put(source, value);
        self
    }

    fn peer(mut self, peer: Option<&str>) -> Self {
        self.peer = peer.map(Into::into);
        self
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
        if self.is_escaped {
            let slash = path.rfind('/').filter(|slash| *slash > 0)?;
            path.replace_range(slash..=slash, "%2f");
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
    let mut scenarios: Vec<Scenario> =
        callers(old, new, home, other).into_iter().map(|scenario| of(home, scenario)).collect();
    // The same of tenants that one of the policies refuses.
    for unlike in homes.unlike(home) {
        let named = |scenario: Scenario| Scenario { caller: format!("{}, of {unlike}", scenario.caller), ..scenario };
        let callers = callers(old, new, unlike, other).into_iter();
        scenarios.extend(callers.map(|scenario| of(unlike, named(scenario))));
    }
    let tenant = either(policies, |policy| &policy.identity.tenant_sources);
    let purpose = either(policies, |policy| &policy.identity.purpose_sources);
    let grants = grants::all([old, new], &tenant, &purpose, &homes, &mut left_out);
    scenarios.extend(grants.into_iter().map(|scenario| of(home, scenario)));
    left_out.dedup();
    // What two grants ask for can be the same.
    let mut seen = HashSet::new();
    scenarios.retain(|Scenario { sent, peer, own, home, is_escaped, .. }| {
        seen.insert(format!("{:?}", (sent, peer, is_escaped, Some(home).filter(|_| !own.is_empty()))))
    });
    (scenarios, left_out)
}

/// Callers of a tenant, who may name another one as well.
fn callers(old: &Judged, new: &Judged, home: &str, elsewhere: &str) -> Vec<Scenario> {
    let policies = [&old.rules.policy, &new.rules.policy];
    let tenant = either(policies, |policy| &policy.identity.tenant_sources);
    let user = either(policies, |policy| &policy.identity.user_sources);
    let trust = |peer: Option<&str>| policies.map(|policy| policy.identity.trusted_peers.trust(peer));
    let peers = peers(old, new);
    let trusted = peers.iter().find(|peer| trust(Some(peer)) == [true, true]);
    // Believed from trusted peers alone.
    let headers = || tenant.iter().filter(|source| matches!(source, Source::Header(_) | Source::Query(_)));
    let claims = || tenant.iter().filter(|source| matches!(source, Source::Claim(_)));
    let mut all = vec![Scenario::new("a caller without identity")];
    for claim in claims() {
        all.push(Scenario::new(format!("a caller with {}", name(claim))).with(claim, home));
        if matches!(claim, Source::Claim(Claim { issuer: None, .. })) {
            let mut scenario =
                Scenario::new(format!("a caller with {} of another issuer", name(claim))).with(claim, home);
            scenario.sent.claims.insert("iss".into(), OTHER_ISSUER.into());
            all.push(scenario);
        }
        all.push(Scenario::new(format!("a caller whose {} cannot be a tenant", name(claim))).with(claim, "a b"));
    }
    for parameter in tenant.iter().filter(|source| matches!(source, Source::Path(_))) {
        all.extend(trusted.map(|peer| {
            Scenario::new(format!("a trusted peer, {}", name(parameter))).with(parameter, home).peer(Some(peer))
        }));
        all.extend(claims().map(|claim| {
            let caller = format!("a caller with {}, another tenant in the {}", name(claim), name(parameter));
            Scenario::new(caller).with(claim, home).with(parameter, elsewhere)
        }));
    }
    for header in headers() {
        all.push(Scenario::new(format!("a caller without certificate, with {}", name(header))).with(header, home));
        let stranger = "spiffe://made-up.example/ns/made-up/sa/stranger";
        all.push(
            Scenario::new(format!("a peer of no policy, with {}", name(header)))
                .with(header, home)
                .peer(Some(stranger)),
        );
        for peer in peers.iter().filter(|peer| trust(Some(peer))[0] != trust(Some(peer))[1]) {
            all.push(Scenario::new(format!("{peer} with {}", name(header))).with(header, home).peer(Some(peer)));
        }
        let Some(peer) = trusted else { continue };
        all.push(Scenario::new(format!("a trusted peer with {}", name(header))).with(header, home).peer(Some(peer)));
        all.push(
            Scenario::new(format!("a trusted peer with {} twice", name(header)))
                .with(header, home)
                .with(header, elsewhere)
                .peer(Some(peer)),
        );
        all.extend(claims().map(|claim| {
            let caller = format!("a trusted peer with {}, another tenant in {}", name(claim), name(header));
            Scenario::new(caller).with(claim, home).with(header, elsewhere).peer(Some(peer))
        }));
    }
    for (index, claim) in claims().enumerate() {
        all.extend(claims().skip(index + 1).filter(|other| are_together(claim, other)).map(|other| {
            let caller = format!("a caller with {}, another tenant in {}", name(claim), name(other));
            Scenario::new(caller).with(claim, home).with(other, elsewhere)
        }));
    }
    // A caller whose tenant is clear, so that the user decides.
    let Some(claim) = claims().next() else { return all };
    for (index, source) in user.iter().enumerate() {
        let caller = format!("a caller with {} and {} of a user", name(claim), name(source));
        all.push(Scenario::new(caller).with(claim, home).with(source, USER));
        for other in user.iter().skip(index + 1).filter(|other| are_together(source, other)) {
            let caller = format!("a trusted peer with {} of a user, another one in {}", name(source), name(other));
            let scenario = Scenario::new(caller).with(claim, home).with(source, USER).with(other, OTHER_USER);
            all.extend(trusted.map(|peer| scenario.peer(Some(peer))));
        }
    }
    let escaped = Scenario::new(format!("a caller with {}, a slash of the path as %2f", name(claim))).with(claim, home);
    all.push(Scenario { is_escaped: true, ..escaped });
    all
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

/// A peer for each pattern of the two policies.
fn peers(old: &Judged, new: &Judged) -> Vec<String> {
    use careplane_policy::document::TrustedPeers as Written;
    let mut peers: Vec<String> = Vec::new();
    for judged in [old, new] {
        let (TrustedPeers::Listed(_), Written::Listed(patterns)) =
            (&judged.rules.policy.identity.trusted_peers, &judged.document.identity.trusted_peers)
        else {
            continue;
        };
        for pattern in patterns {
            let peer = pattern.strip_suffix('*').map_or_else(|| pattern.clone(), |start| format!("{start}made-up"));
            if !peers.contains(&peer) {
                peers.push(peer);
            }
        }
    }
    peers
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

/// Whether one token can say something by both claims, and something else by each.
fn are_together(one: &Source, other: &Source) -> bool {
    match (one, other) {
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
