//! `tenant-routing`: which pool and which release serve a tenant.
//!
//! Writes two headers, and the proxy's own routes match on them: a VirtualService or a route table stays the one place
//! that says where traffic goes. What callers write into these headers is replaced.

#![forbid(unsafe_code)]

use careplane_exchange::{Filter, Host, Incoming};

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
        if let Err(denial) = request.write_placement(host) {
            request.deny(denial);
        }
    }
}

#[cfg(test)]
mod tests;
