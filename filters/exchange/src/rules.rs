//! What the requests of one plugin are judged by.

use careplane_policy::Policy;

use crate::pseudonym::Pseudonyms;

/// A policy, and the pseudonyms under the key of this proxy.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The policy.
    pub policy: Policy,
    /// The pseudonyms.
    pub pseudonyms: Pseudonyms,
}
