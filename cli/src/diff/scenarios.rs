//! Callers, and what they send: every case that the sources and the trusted peers of two policies distinguish.

use careplane_policy::document::Document;
use careplane_policy::{Claim, Grant, GrantedTenants, Policy, Source, Test, TrustedPeers};
use serde_json::Value;

use super::routes::RouteTemplate;
use crate::explain::Judged;
use crate::explain::request::{Request, request_id};

/// Two tenants without an entry.
const HOME: &str = "made-up-home-a";
const OTHER: &str = "made-up-home-b";
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
    /// Whether the last slash is sent as an escape.
    is_escaped: bool,
}

/// What a caller sends.
#[derive(Clone, Default)]
pub struct Sent {
    pub headers: Vec<(String, String)>,
    pub claims: Vec<(String, Value)>,
    /// The parameter of the path that names a tenant, and the tenant.
    pub parameter: Option<(String, String)>,
    pub query: Option<(String, String)>,
}

// === impl Sent ===

impl Sent {
    /// Lets a source say this.
    pub fn put(&mut self, source: &Source, value: &str) {
        match source {
            Source::Claim(claim) => self.claim(claim, value),
            Source::Header(name) => self.headers.push((name.to_string(), value.into())),
            Source::Path(name) => self.parameter = Some((name.to_string(), value.into())),
            Source::Host(pattern) => self.headers.push((":authority".into(), pattern.host(value))),
            Source::Query(name) => self.query = Some((name.to_string(), value.into())),
        }
    }

    /// Lets the first claim among sources be a list. None where there is no claim.
    pub fn put_list(&mut self, sources: &[Source], values: &[&str]) -> Option<()> {
        let claim = sources.iter().find_map(|source| match source {
            Source::Claim(claim) => Some(claim),
            _ => None,
        })?;
        self.claims.push((claim.path.join("."), values.iter().copied().map(Value::from).collect()));
        Some(())
    }

    fn claim(&mut self, claim: &Claim, value: &str) {
        self.claims.push((claim.path.join("."), value.into()));
        self.claims.extend(claim.issuer.iter().map(|issuer| ("iss".to_owned(), issuer.as_str().into())));
    }

    /// What a grant asks of a caller, and of the tenant that it is to reach.
    pub fn grant(&mut self, grant: &Grant, policy: &Policy, document: &Document, tenant: Option<&str>) {
        for condition in &grant.when {
            let value = match &condition.test {
                Test::Equals(value) => Some(value),
                Test::AnyOf(values) => values.first(),
            };
            value.into_iter().for_each(|value| self.claim(&condition.claim, value));
        }
        let entry = tenant.and_then(|tenant| document.tenants.entries.get(tenant));
        match &grant.tenants {
            GrantedTenants::Any => {}
            GrantedTenants::Jurisdiction(claim) => {
                let jurisdiction = entry.and_then(|entry| entry.jurisdiction);
                jurisdiction.into_iter().for_each(|jurisdiction| self.claim(claim, jurisdiction.as_str()));
            }
            GrantedTenants::Group(claim) => {
                let group = entry.and_then(|entry| entry.group.as_deref());
                group.into_iter().for_each(|group| self.claim(claim, group));
            }
        }
        if let (Some(purpose), Some(source)) = (grant.purposes.first(), policy.identity.purpose_sources.first()) {
            self.put(source, purpose.as_str());
        }
    }

    /// The request. Without a recorded tenant in it, the path of a route can name one by `parameter`.
    pub fn request(self, method: &str, path: &str, peer: Option<&str>) -> Request {
        let path = match &self.query {
            Some((name, value)) => format!("{path}?{name}={value}"),
            None => path.to_owned(),
        };
        let mut request = Request::new(method, &path, self.headers, Some(request_id(0)));
        request.claims = self.claims.into_iter().collect();
        request.peer = peer.map(Into::into);
        request
    }
}

// === impl Scenario ===

impl Scenario {
    fn new(caller: impl Into<String>) -> Self {
        Self { caller: caller.into(), sent: Sent::default(), peer: None, own: Vec::new(), is_escaped: false }
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
        let given = given.or_else(|| Some((self.own.iter().find(|name| route.has(name))?.as_str(), HOME)));
        let mut path = route.path(given);
        if self.is_escaped {
            let slash = path.rfind('/').filter(|slash| *slash > 0)?;
            path.replace_range(slash..=slash, "%2f");
        }
        Some(self.sent.clone().request(method, &path, self.peer.as_deref()))
    }
}

/// All callers that the two policies could distinguish. Where the path names a tenant, it is their own unless they say
/// otherwise.
pub fn all(old: &Judged, new: &Judged) -> Vec<Scenario> {
    let policies = [&old.rules.policy, &new.rules.policy];
    let sources = policies.into_iter().flat_map(|policy| &policy.identity.tenant_sources);
    let parameters = sources.filter_map(|source| match source {
        Source::Path(name) => Some(name.to_string()),
        _ => None,
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
    // Believed from trusted peers alone.
    let headers = || tenant.iter().filter(|source| matches!(source, Source::Header(_) | Source::Query(_)));
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
    all.extend(grants(old, new, &tenant));
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

/// Callers that a grant of either policy could let in: who they are, by what their claims say, and the tenant that they
/// name by a header, the host or the path.
fn grants(old: &Judged, new: &Judged, sources: &[&Source]) -> Vec<Scenario> {
    let mut found: Vec<Scenario> = Vec::new();
    for judged in [old, new] {
        let (policy, document) = (&judged.rules.policy, &judged.document);
        for grant in &policy.identity.grants {
            // A grant of a jurisdiction or a group reaches tenants with an entry alone.
            let reached = document.tenants.entries.iter().find_map(|(tenant, entry)| match &grant.tenants {
                GrantedTenants::Any => Some(OTHER),
                GrantedTenants::Jurisdiction(_) => entry.jurisdiction.map(|_| tenant.as_str()),
                GrantedTenants::Group(_) => entry.group.as_ref().map(|_| tenant.as_str()),
            });
            let tenant = reached.unwrap_or(OTHER);
            for selects in sources.iter().filter(|source| !matches!(source, Source::Claim(_) | Source::Query(_))) {
                let caller = format!("a caller under grant {}, another tenant in {}", grant.name, name(selects));
                if found.iter().any(|known| known.caller == caller) {
                    continue;
                }
                let mut scenario = Scenario::new(caller).with(selects, tenant);
                scenario.sent.grant(grant, policy, document, Some(tenant));
                found.push(scenario);
            }
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

fn name(source: &Source) -> String {
    match source {
        Source::Claim(claim) => format!("claim {}", claim.path.join(".")),
        Source::Path(name) => format!("path parameter {name}"),
        Source::Header(name) => format!("header {name}"),
        Source::Host(pattern) => format!("host {}", pattern.host("{tenant}")),
        Source::Query(name) => format!("query parameter {name}"),
    }
}
