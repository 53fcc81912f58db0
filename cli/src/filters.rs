//! `pluginName` → filters: the same ones that the module has.

use std::rc::Rc;

use careplane_audit::Audit;
use careplane_exchange::Filter;
use careplane_sampling::Sampling;
use careplane_tenant_routing::TenantRouting;
use careplane_tracing_tags::TracingTags;

/// The name of all filters together.
pub const ALL: &str = "careplane";
pub const TRACING_TAGS: &str = "tracing-tags";
pub const TENANT_ROUTING: &str = "tenant-routing";
pub const SAMPLING: &str = "sampling";
pub const AUDIT: &str = "audit";

/// Every `pluginName` that the module knows.
pub const NAMES: [&str; 5] = [ALL, TRACING_TAGS, TENANT_ROUTING, SAMPLING, AUDIT];

/// Whether a plugin of this name has a filter.
pub fn includes(plugin: &str, filter: &str) -> bool {
    plugin == ALL || plugin == filter
}

/// The filters of a plugin by name, in the order in which they see a request.
pub fn named(plugin: &str) -> Vec<(&'static str, Box<dyn Filter>)> {
    let all: [(&'static str, Box<dyn Filter>); 4] = [
        (TRACING_TAGS, Box::new(TracingTags)),
        (TENANT_ROUTING, Box::new(TenantRouting)),
        (SAMPLING, Box::new(Sampling::default())),
        (AUDIT, Box::new(Audit::new(Rc::default()))),
    ];
    all.into_iter().filter(|(name, _)| includes(plugin, name)).collect()
}
