//! Callers, and what they send: everything that the sources and the trusted peers of two policies tell apart.

use careplane_exchange::REQUEST_ID;
use careplane_policy::{Source, TrustedPeers};
use serde_json::Value;

use super::routes::Place;
use crate::explain::Judged;
use crate::explain::request::{Request, request_id};

/// Two tenants without an entry.
const HOME: &str = "made-up-home-a";
const OTHER: &str = "made-up-home-b";
const USER: &str = "made-up-user-a";
const OTHER_USER: &str = "made-up-user-b";

/// One kind of caller.
pub struct Scenario {
    /// As it is told: `a caller without identity`.
    pub caller: String,
    headers: Vec<(String, String)>,
    claims: Vec<(String, String)>,
    peer: Option<String>,
    /// The parameter that names a tenant, and the tenant; only for places that have it.
    parameter: Option<(String, String)>,
    /// The parameters that name the caller's own tenant where a place has them.
    own: Vec<String>,
    /// Whether the last slash is sent as an escape.
    is_escaped: bool,
}

// === impl Scenario ===

impl Scenario {
    fn new(caller: impl Into<String>) -> Self {
        Self {
            caller: caller.into(),
            headers: Vec::new(),
            claims: Vec::new(),
            peer: None,
            parameter: None,
            own: Vec::new(),
            is_escaped: false,
        }
    }

    fn with(mut self, source: &Source, value: &str) -> Self {
        match source {
            Source::Claim(names) => self.claims.push((names.join("."), value.into())),
            Source::Header(name) => self.headers.push((name.to_string(), value.into())),
            Source::Path(name) => self.parameter = Some((name.to_string(), value.into())),
        }
        self
    }

    fn peer(mut self, peer: Option<&str>) -> Self {
        self.peer = peer.map(Into::into);
        self
    }

    /// The request of this caller at a place. None where the place has not what it takes.
    pub fn request(&self, place: &Place, method: &str) -> Option<Request> {
        let given = self.parameter.as_ref().map(|(name, value)| (name.as_str(), value.as_str()));
        if given.is_some_and(|(name, _)| !place.has(name)) {
            return None;
        }
        let given = given.or_else(|| Some((self.own.iter().find(|name| place.has(name))?.as_str(), HOME)));
        let mut path = place.path(given);
        if self.is_escaped {
            let slash = path.rfind('/').filter(|slash| *slash > 0)?;
            path.replace_range(slash..=slash, "%2f");
        }
        let mut request = Request::new(method, &path, self.headers.clone(), Some(request_id(0)));
        request.claims = self.claims.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        request.peer.clone_from(&self.peer);
        debug_assert!(request.header(REQUEST_ID).count() == 1);
        Some(request)
    }
}

/// All callers that the two policies could tell apart. Where the path names a tenant, it is their own unless they say
/// otherwise.
pub fn all(old: &Judged, new: &Judged) -> Vec<Scenario> {
    let policies = [&old.rules.policy, &new.rules.policy];
    let sources = policies.into_iter().flat_map(|policy| &policy.identity.tenant_sources);
    let parameters = sources.filter_map(|source| match source {
        Source::Path(name) => Some(name.to_string()),
        Source::Claim(_) | Source::Header(_) => None,
    });
    let own: Vec<String> = parameters.collect();
    callers(old, new).into_iter().map(|scenario| Scenario { own: own.clone(), ..scenario }).collect()
}

fn callers(old: &Judged, new: &Judged) -> Vec<Scenario> {
    let policies = [&old.rules.policy, &new.rules.policy];
    let mut tenant: Vec<&Source> = Vec::new();
    let mut user: Vec<&Source> = Vec::new();
    for policy in policies {
        for (found, sources) in
            [(&mut tenant, &policy.identity.tenant_sources), (&mut user, &policy.identity.user_sources)]
        {
            for source in sources {
                if !found.iter().any(|known| name(known) == name(source)) {
                    found.push(source);
                }
            }
        }
    }
    let trust = |peer: Option<&str>| policies.map(|policy| policy.identity.trusted_peers.trust(peer));
    let peers = peers(old, new);
    let trusted = peers.iter().find(|peer| trust(Some(peer)) == [true, true]);
    let headers = || tenant.iter().filter(|source| matches!(source, Source::Header(_)));
    let claims = || tenant.iter().filter(|source| matches!(source, Source::Claim(_)));
    let mut all = vec![Scenario::new("a caller without identity")];
    for claim in claims() {
        all.push(Scenario::new(format!("a caller with {}", name(claim))).with(claim, HOME));
        all.push(Scenario::new(format!("a caller whose {} cannot be a tenant", name(claim))).with(claim, "a b"));
    }
    for parameter in tenant.iter().filter(|source| matches!(source, Source::Path(_))) {
        all.extend(trusted.map(|peer| {
            Scenario::new(format!("a trusted peer, {}", name(parameter))).with(parameter, HOME).peer(Some(peer))
        }));
        all.extend(claims().map(|claim| {
            let caller = format!("a caller with {}, another tenant in the {}", name(claim), name(parameter));
            Scenario::new(caller).with(claim, HOME).with(parameter, OTHER)
        }));
    }
    for header in headers() {
        all.push(Scenario::new(format!("a caller without certificate, with {}", name(header))).with(header, HOME));
        let stranger = "spiffe://made-up.example/ns/made-up/sa/stranger";
        all.push(
            Scenario::new(format!("a peer of no policy, with {}", name(header)))
                .with(header, HOME)
                .peer(Some(stranger)),
        );
        for peer in peers.iter().filter(|peer| trust(Some(peer))[0] != trust(Some(peer))[1]) {
            all.push(Scenario::new(format!("{peer} with {}", name(header))).with(header, HOME).peer(Some(peer)));
        }
        let Some(peer) = trusted else { continue };
        all.push(Scenario::new(format!("a trusted peer with {}", name(header))).with(header, HOME).peer(Some(peer)));
        all.push(
            Scenario::new(format!("a trusted peer with {} twice", name(header)))
                .with(header, HOME)
                .with(header, OTHER)
                .peer(Some(peer)),
        );
        all.extend(claims().map(|claim| {
            let caller = format!("a trusted peer with {}, another tenant in {}", name(claim), name(header));
            Scenario::new(caller).with(claim, HOME).with(header, OTHER).peer(Some(peer))
        }));
    }
    for (index, claim) in claims().enumerate() {
        all.extend(claims().skip(index + 1).map(|other| {
            let caller = format!("a caller with {}, another tenant in {}", name(claim), name(other));
            Scenario::new(caller).with(claim, HOME).with(other, OTHER)
        }));
    }
    // A caller whose tenant is clear, so that the user decides.
    let Some(claim) = claims().next() else { return all };
    for (index, source) in user.iter().enumerate() {
        let caller = format!("a caller with {} and {} of a user", name(claim), name(source));
        all.push(Scenario::new(caller).with(claim, HOME).with(source, USER));
        for other in user.iter().skip(index + 1) {
            let caller = format!("a trusted peer with {} of a user, another one in {}", name(source), name(other));
            let scenario = Scenario::new(caller).with(claim, HOME).with(source, USER).with(other, OTHER_USER);
            all.extend(trusted.map(|peer| scenario.peer(Some(peer))));
        }
    }
    let escaped = Scenario::new(format!("a caller with {}, a slash of the path as %2f", name(claim))).with(claim, HOME);
    all.push(Scenario { is_escaped: true, ..escaped });
    all
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

fn name(source: &Source) -> String {
    match source {
        Source::Claim(names) => format!("claim {}", names.join(".")),
        Source::Path(name) => format!("path parameter {name}"),
        Source::Header(name) => format!("header {name}"),
    }
}
