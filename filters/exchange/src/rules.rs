//! What the requests of one plugin are judged by.

use std::sync::Arc;

use careplane_policy::directory::{Directory, DirectoryView};
use careplane_policy::id::TenantId;
use careplane_policy::{Placement, Policy, UnknownTenant};

use crate::grants::GrantUses;
use crate::pseudonym::Pseudonyms;
use crate::tracer::Tracer;

/// A policy, the pseudonyms under the key of this proxy, what is known of its tracer, and the tenants of the policy's
/// directory.
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
    /// The directory of tenants, which others replace while requests go on.
    pub directory: Arc<DirectoryView>,
}

// === impl Rules ===

impl Rules {
    /// Rules before any request.
    #[inline(never)]
    pub fn new(policy: Policy, pseudonyms: Pseudonyms) -> Self {
        Self {
            policy,
            pseudonyms,
            tracer: Tracer::default(),
            grant_uses: GrantUses::default(),
            directory: Arc::default(),
        }
    }

    /// The directory of tenants, if the policy has one and it has come.
    pub(crate) fn directory(&self) -> Option<Arc<Directory>> {
        self.policy.routing.directory.as_ref().and_then(|_| self.directory.get())
    }

    /// Where a tenant is sent.
    ///
    /// # Errors
    /// When the policy refuses tenants that neither it nor the directory knows.
    pub fn place(&self, tenant: &TenantId) -> Result<Placement, UnknownTenant> {
        self.policy.routing.place(tenant, self.directory().as_deref())
    }
}
