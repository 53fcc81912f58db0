//! What the upstream reads of a request: its headers, as the policy has them.
//!
//! Each of the filters calls its part. What all of them would have done to a request in shadow is computed in one
//! place, so that a record says it in every arrangement of the filters.

use std::sync::Arc;

use crate::denial::Denial;
use crate::host::Host;
use crate::incoming::Incoming;

impl Incoming {
    /// Makes the identity headers say who the request is from, whatever they said before.
    ///
    /// The outcome depends on the identity alone, so that several plugins in one chain can each see to it.
    pub fn write_identity(&self, host: &dyn Host) {
        let policy = self.policy();
        let identity = self.identity(host);
        let written = [&policy.headers.tenant_id, &policy.headers.user_id];
        let others = if identity.trusted { &[][..] } else { &*policy.identity.identity_headers };
        let others = others.iter().filter(|name| !written.contains(name) && self.has_header(name));
        for name in written.into_iter().chain(others) {
            match identity.upstream_value(policy, name) {
                Some(value) => self.set_header(name, Arc::clone(value)),
                None => self.remove_header(name),
            }
        }
        self.remove_unwanted(host);
        if let Some(header) = &policy.headers.user_pseudonym {
            match self.user(host) {
                Some(user) => self.set_header(header, Arc::clone(user)),
                None => self.remove_header(header),
            }
        }
    }

    /// Says what the request is about.
    pub fn write_context(&self, host: &dyn Host) {
        let names = &self.policy().headers;
        let context = &self.about().context;
        self.set_header(&names.healthcare_context, Arc::clone(&context.name));
        self.set_header(&names.compliance_level, context.compliance_level.as_str());
        let more = self.identity(host).grant_flags();
        match &context.flags_header {
            _ if !more.is_empty() => {
                let flags: Vec<&str> = context.flags.iter().chain(more).map(|flag| &**flag).collect();
                self.set_header(&names.compliance_flags, flags.join(","));
            }
            Some(flags) => self.set_header(&names.compliance_flags, Arc::clone(flags)),
            None => self.remove_header(&names.compliance_flags),
        }
    }

    /// Says where its tenant is sent, for routes to match on.
    ///
    /// # Errors
    /// When the policy refuses the tenant.
    pub fn write_placement(&self, host: &dyn Host) -> Result<(), Denial> {
        let placement = self.placement(host).map_err(|_| Denial::TenantUnknown)?;
        let routing = &self.policy().routing;
        let (pool, cohort) = placement.map_or((None, None), |placement| (placement.pool.as_ref(), placement.cohort));
        match pool {
            Some(pool) => self.set_header(&routing.pool_header, Arc::clone(pool)),
            None => self.remove_header(&routing.pool_header),
        }
        if let Some(header) = &routing.cohort_header {
            match cohort {
                Some(cohort) => self.set_header(header, cohort.as_str()),
                None => self.remove_header(header),
            }
        }
        Ok(())
    }

    /// Decides on a request in shadow as all filters would, also where they are in other plugins or in none.
    pub fn rehearse(&self, host: &dyn Host) {
        self.write_identity(host);
        self.write_context(host);
        match self.violation(host).map_or_else(|| self.write_placement(host), Err) {
            Ok(()) => self.force_trace(self.trace_decision()),
            Err(denial) => self.deny(denial),
        }
    }
}
