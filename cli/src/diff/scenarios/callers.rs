//! Callers without grants: what peers say by each source, and by two sources at once.

use careplane_policy::{Claim, Source};

use super::peers::{Peer, unlike};
use super::{Scenario, Spelling, are_together, name};

/// Of tokens that no policy names the issuer of.
const OTHER_ISSUER: &str = "https://made-up.example";
const USER: &str = "made-up-user-a";
const OTHER_USER: &str = "made-up-user-b";
/// What is no tenant, and what is no user.
const NO_TENANT: &str = "a,b";
const NO_USER: &str = "a\tb";

/// Where two policies look for an identity.
pub struct Sources<'s> {
    pub tenant: Vec<&'s Source>,
    pub user: Vec<&'s Source>,
    pub purpose: Vec<&'s Source>,
    /// Whether case matters to one of the policies and not to the other.
    pub is_case_changed: bool,
    /// Whether one of the policies alone has grants.
    pub is_granting_changed: bool,
}

/// Callers of the tenant `home`, who may name another one as well.
pub fn all(sources: &Sources<'_>, peers: &[Peer], home: &str, elsewhere: &str) -> Vec<Scenario> {
    let mut all = vec![Scenario::new("a caller without identity")];
    for source in &sources.tenant {
        one(source, peers, home, elsewhere, &mut all);
    }
    let capitals = home.to_ascii_uppercase();
    if sources.is_case_changed {
        for (source, peer) in
            sources.tenant.iter().flat_map(|source| unlike(peers).into_iter().map(move |it| (source, it)))
        {
            all.push(says(peer, source).and(" in capitals").with(source, &capitals));
        }
    }
    for (index, source) in sources.tenant.iter().enumerate() {
        for other in sources.tenant.iter().skip(index + 1).filter(|other| are_together(source, other)) {
            two(sources, [source, other], peers, [home, elsewhere], &mut all);
            for peer in trusted_alike(peers).filter(|_| sources.is_case_changed) {
                let scenario = says(peer, source).and(", the same in capitals in ").and(&name(other));
                all.push(scenario.with(source, home).with(other, &capitals));
            }
        }
    }
    // Their tenant is clear, so that the rest decides.
    for peer in unlike(peers) {
        let clear = clear(&sources.tenant, peer, home);
        for (index, source) in sources.user.iter().enumerate() {
            let of_user = |what: &str| clear.clone().called(format!("{}, {what} {}", clear.caller, name(source)));
            all.push(of_user("a user in").with(source, USER));
            if peer.trust[0] != peer.trust[1] {
                continue;
            }
            all.push(of_user("what cannot be a user in").with(source, NO_USER));
            for other in sources.user.iter().skip(index + 1).filter(|other| are_together(source, other)) {
                let scenario = of_user("a user in").with(source, USER);
                let caller = format!("{}, another one in {}", scenario.caller, name(other));
                all.push(scenario.called(caller).with(other, OTHER_USER));
            }
        }
        for header in sources.tenant.iter().chain(&sources.user).filter(|it| matches!(it, Source::Header(_))) {
            let twice = clear.clone().and(&format!(", {} twice", name(header)));
            all.push(twice.with(header, home).with(header, elsewhere));
        }
        all.push(clear.clone().and(", a slash of the path as %2f").spelled(Spelling::EscapedSlash));
        all.push(clear.and(", a suffix at the path").spelled(Spelling::Suffix));
    }
    all
}

/// Callers that name a tenant by one source.
fn one(source: &Source, peers: &[Peer], home: &str, elsewhere: &str, all: &mut Vec<Scenario>) {
    let Source::Claim(claim) = source else {
        // Where a path names the tenant, a caller without identity does so too.
        let is_path = matches!(source, Source::Path(_));
        for peer in peers.iter().filter(|peer| !is_path || peer.trust != [false, false]) {
            all.push(says(peer, source).with(source, home));
        }
        for peer in trusted_alike(peers) {
            all.push(says(peer, source).and(" that cannot be a tenant").with(source, NO_TENANT));
        }
        return;
    };
    let caller = || Scenario::new(format!("a caller with {}", name(source)));
    all.push(caller().with(source, home));
    if claim.issuer.is_none() {
        let mut scenario = caller().and(" of another issuer").with(source, home);
        scenario.sent.claims.insert(vec!["iss".into()], OTHER_ISSUER.into());
        all.push(scenario);
    }
    let cannot = format!("a caller whose {} cannot be a tenant", name(source));
    all.push(Scenario::new(cannot).with(source, NO_TENANT));
    all.push(listed(caller(), claim, home, elsewhere));
}

/// Callers that two sources contradict each other about, and those who select one tenant of a list.
fn two(
    sources: &Sources<'_>,
    [one, other]: [&Source; 2],
    peers: &[Peer],
    [home, elsewhere]: [&str; 2],
    all: &mut Vec<Scenario>,
) {
    // Without a claim, only what is believed contradicts; with grants in the policy, each header.
    let is_claimed = [one, other].iter().any(|source| matches!(source, Source::Claim(_)));
    let counts = |peer: &&Peer| is_claimed || sources.is_granting_changed || peer.trust == [true, true];
    for peer in trusted_alike(peers).filter(counts) {
        for (one, other) in [(one, other), (other, one)] {
            let says = says(peer, one).and(", another tenant in ").and(&name(other));
            all.push(says.with(one, home).with(other, elsewhere));
        }
    }
    for (claim, asks) in [(one, other), (other, one)] {
        let Source::Claim(list) = claim else { continue };
        for peer in unlike(peers).into_iter().filter(|_| !matches!(asks, Source::Claim(_))) {
            let selects = says(peer, claim).and(", one of them in ").and(&name(asks)).with(asks, home);
            all.push(listed(selects, list, home, elsewhere));
        }
    }
}

/// Peers that contradict themselves. One that a policy believes and the other does not can leave out what is not
/// believed, so that its contradictions are no access.
fn trusted_alike(peers: &[Peer]) -> impl Iterator<Item = &Peer> {
    unlike(peers).into_iter().filter(|peer| peer.trust[0] == peer.trust[1])
}

/// A caller that says the same tenant by every source that one request can say it by.
fn clear(sources: &[&Source], peer: &Peer, home: &str) -> Scenario {
    let mut said: Vec<&Source> = Vec::new();
    let mut scenario = Scenario::new(format!("{} with its tenant in each source", peer.label)).of(peer);
    for source in sources {
        if said.iter().all(|known| are_together(known, source)) && !matches!(source, Source::Path(_)) {
            scenario = scenario.with(source, home);
            said.push(source);
        }
    }
    scenario
}

fn listed(scenario: Scenario, claim: &Claim, home: &str, elsewhere: &str) -> Scenario {
    let caller = scenario.caller.replacen("claim", "two tenants in claim", 1);
    let mut scenario = scenario.called(caller);
    [home, elsewhere].into_iter().for_each(|tenant| scenario.sent.add(claim, &tenant.into()));
    scenario
}

/// A peer that says something by a source. Of claims, the certificate does not matter.
fn says(peer: &Peer, source: &Source) -> Scenario {
    let label = match (&peer.id, source) {
        (None, Source::Claim(_)) => "a caller",
        _ => &peer.label,
    };
    Scenario::new(format!("{label} with {}", name(source))).of(peer)
}
