//! What the requests of one plugin are judged by.

use careplane_policy::Policy;

use crate::grants::GrantUses;
use crate::pseudonym::Pseudonyms;
use crate::tracer::Tracer;

/// A policy, the pseudonyms under the key of this proxy, and what is known of its tracer.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The policy.
    pub policy: Policy,
    /// The pseudonyms.
    pub pseudonyms: Pseudonyms,
    /// The proxy's tracer.
    pub tracer: Tracer,
    /// How often grants have been used.
    pub grant_uses: GrantUses,
}

// === impl Rules ===

impl Rules {
    /// Rules before any request.
    pub fn new(policy: Policy, pseudonyms: Pseudonyms) -> Self {
        Self { policy, pseudonyms, tracer: Tracer::default(), grant_uses: GrantUses::default() }
    }
}
