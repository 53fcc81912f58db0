//! `tenant-routing`: which pool and which release serve a tenant.
//!
//! Writes two headers, and the proxy's own routes match on them: a VirtualService or a route table stays the one place that says
//! where traffic goes. What callers write into these headers is replaced.

#![forbid(unsafe_code)]

use std::sync::Arc;

use careplane_exchange::{Denial, Filter, Host, Incoming};

/// The filter.
#[derive(Debug, Clone, Copy, Default)]
pub struct TenantRouting;

impl Filter for TenantRouting {
    fn on_request(&self, request: &Incoming, host: &dyn Host) {
        // Alone in its plugin, it is this filter that has to see to the boundary.
        if let Some(denial) = request.violation(host) {
            return request.deny(denial);
        }
        request.remove_unwanted(host);
        let Ok(placement) = request.placement(host) else {
            return request.deny(Denial::TenantUnknown);
        };
        let routing = &request.policy().routing;
        let (pool, cohort) = placement.map_or((None, None), |placement| (placement.pool.as_ref(), placement.cohort));
        match pool {
            Some(pool) => request.set_header(&routing.pool_header, Arc::clone(pool)),
            None => request.remove_header(&routing.pool_header),
        }
        if let Some(header) = &routing.cohort_header {
            match cohort {
                Some(cohort) => request.set_header(header, cohort.as_str()),
                None => request.remove_header(header),
            }
        }
    }
}

#[cfg(test)]
mod tests;
