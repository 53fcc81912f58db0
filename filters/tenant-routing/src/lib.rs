//! `tenant-routing`: which pool and which release serve a tenant.
//!
//! Writes two headers, and the proxy's own routes match on them: a VirtualService or a route table stays the one place that says
//! where traffic goes. What callers write into these headers is replaced.

#![forbid(unsafe_code)]

use std::sync::Arc;

use careplane_exchange::{Denial, Exchange, Filter, Host};

/// The filter.
#[derive(Debug, Clone, Copy, Default)]
pub struct TenantRouting;

impl Filter for TenantRouting {
    fn on_request(&self, exchange: &Exchange, host: &dyn Host) {
        // Alone in its plugin, it is this filter that has to see to the boundary.
        if let Some(denial) = exchange.identity(host).denial {
            return exchange.deny(denial);
        }
        let Ok(placement) = exchange.placement(host) else {
            return exchange.deny(Denial::TenantUnknown);
        };
        let routing = &exchange.policy().routing;
        let (pool, cohort) = placement.map_or((None, None), |placement| (placement.pool.as_ref(), placement.cohort));
        match pool {
            Some(pool) => exchange.set_header(&routing.pool_header, Arc::clone(pool)),
            None => exchange.remove_header(&routing.pool_header),
        }
        if let Some(header) = &routing.cohort_header {
            match cohort {
                Some(cohort) => exchange.set_header(header, cohort.as_str()),
                None => exchange.remove_header(header),
            }
        }
    }
}

#[cfg(test)]
mod tests;
