//! The names of the filters, which are `pluginName`s.

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
    careplane_pipeline::Filters::includes(plugin, filter)
}
