//! Peers: one for each thing that two policies can make of one.

use careplane_policy::TrustedPeers;
use careplane_policy::document::TrustedPeers as Written;

use crate::explain::Judged;

/// A peer that no policy names.
const STRANGER: &str = "spiffe://made-up.example/ns/made-up/sa/stranger";

pub struct Peer {
    /// As it is printed, with what is sent after it.
    pub label: String,
    /// None is a peer without a certificate.
    pub id: Option<String>,
    /// Whether each policy believes it.
    pub trust: [bool; 2],
}

/// A caller without certificate, a peer of no policy, one that both policies trust, and each that only one trusts.
pub fn all(judged: [&Judged; 2]) -> Vec<Peer> {
    let trust = |peer: Option<&str>| judged.map(|judged| judged.rules.policy.identity.trusted_peers.trust(peer));
    let peer = |label: &str, id: Option<&str>| Peer { label: label.into(), id: id.map(Into::into), trust: trust(id) };
    let mut all = vec![peer("a caller without certificate,", None), peer("a peer of no policy,", Some(STRANGER))];
    let listed = listed(judged);
    all.extend(listed.iter().find(|id| trust(Some(id)) == [true, true]).map(|id| peer("a trusted peer", Some(id))));
    let differs = |id: &&String| trust(Some(id)).iter().any(|trusted| *trusted) && trust(Some(id)) != [true, true];
    all.extend(listed.iter().filter(differs).map(|id| peer(id, Some(id))));
    all
}

/// The first of those that the policies trust alike.
pub fn unlike(all: &[Peer]) -> Vec<&Peer> {
    let mut found: Vec<&Peer> = Vec::new();
    for peer in all {
        if !found.iter().any(|known| known.trust == peer.trust) {
            found.push(peer);
        }
    }
    found
}

/// A peer for each pattern of the two policies.
fn listed(judged: [&Judged; 2]) -> Vec<String> {
    let mut peers: Vec<String> = Vec::new();
    for judged in judged {
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
