//! `pluginName` → filters.

use std::rc::Rc;
use std::sync::Arc;

#[cfg(feature = "audit")]
use careplane_audit::{Audit, Chain, Delivery};
use careplane_exchange::{Filter, Host, Rules};
use careplane_export::Exporter;
#[cfg(feature = "audit")]
use careplane_policy::document::ProxyLog;

/// Every filter has a name: the `pluginName` under which it is deployed alone.
type Named = (&'static str, Box<dyn Filter>);

/// The filters of a plugin, in the order in which they see a request.
#[derive(Clone)]
pub struct Filters {
    filters: Rc<[Named]>,
    /// Whether one of them wants to know how requests end.
    follows: bool,
}

/// A plugin: filters, and what they judge requests by. Cheap to clone: each stream has one.
#[derive(Clone)]
pub struct Plugin {
    /// Its filters.
    pub filters: Filters,
    /// What they judge by.
    pub rules: Arc<Rules>,
}

/// What filters are made with, beside the policy.
#[derive(Default)]
pub struct Parts {
    /// The way to the collector; none when the policy has no collector.
    pub exporter: Option<Exporter>,
    /// Which proxy this is.
    pub proxy: Option<Arc<str>>,
    /// The chain that records go into, of those of the VM.
    #[cfg(feature = "audit")]
    pub chain: Rc<Chain>,
}

// === impl Filters ===

impl Filters {
    /// All names of plugins that there are.
    pub const NAMES: &'static [&'static str] = &[
        #[cfg(all(feature = "tracing-tags", feature = "sampling", feature = "tenant-routing", feature = "audit"))]
        "careplane",
        #[cfg(feature = "tracing-tags")]
        "tracing-tags",
        #[cfg(feature = "tenant-routing")]
        "tenant-routing",
        #[cfg(feature = "sampling")]
        "sampling",
        #[cfg(feature = "audit")]
        "audit",
    ];

    /// Whether a plugin of this name has a filter of that name.
    pub fn includes(plugin: &str, filter: &str) -> bool {
        plugin == "careplane" || plugin == filter
    }

    /// Whether a plugin of this name has something to export.
    pub fn export(plugin: &str) -> bool {
        Self::includes(plugin, "sampling") || Self::includes(plugin, "audit")
    }

    /// The filters of a plugin of this name.
    #[cfg_attr(not(all(feature = "sampling", feature = "audit")), allow(unused_variables))]
    #[inline(never)]
    pub fn named(plugin: &str, rules: &Rules, parts: Parts) -> Self {
        let mut filters: Vec<Named> = Vec::new();
        #[cfg(feature = "tracing-tags")]
        if Self::includes(plugin, "tracing-tags") {
            filters.push(("tracing-tags", Box::new(careplane_tracing_tags::TracingTags)));
        }
        #[cfg(feature = "tenant-routing")]
        if Self::includes(plugin, "tenant-routing") {
            filters.push(("tenant-routing", Box::new(careplane_tenant_routing::TenantRouting)));
        }
        #[cfg(feature = "sampling")]
        if Self::includes(plugin, "sampling") {
            filters.push(("sampling", Box::new(careplane_sampling::Sampling::new(parts.exporter.clone()))));
        }
        #[cfg(feature = "audit")]
        if Self::includes(plugin, "audit") {
            filters.push(("audit", Box::new(audit(&rules.policy, parts))));
        }
        let follows = filters.iter().any(|(_, filter)| filter.follows());
        Self { filters: filters.into(), follows }
    }

    /// Each filter and its name, in the order in which they see a request.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &dyn Filter)> {
        self.filters.iter().map(|(name, filter)| (*name, &**filter))
    }

    /// Whether one of them wants to know how requests end.
    pub fn follows(&self) -> bool {
        self.follows
    }

    /// Time has passed.
    pub fn on_tick(&self, host: &dyn Host) {
        self.iter().for_each(|(_, filter)| filter.on_tick(host));
    }

    /// The plugin ends.
    pub fn on_end(&self, host: &dyn Host) {
        self.iter().for_each(|(_, filter)| filter.on_end(host));
    }
}

#[cfg(feature = "audit")]
fn audit(policy: &careplane_policy::Policy, parts: Parts) -> Audit {
    let audit = Audit::new(parts.chain);
    match parts.exporter.filter(|_| policy.delivers()) {
        Some(exporter) => {
            let proxy = parts.proxy.unwrap_or_else(|| "unknown".into());
            audit.delivered(Delivery::new(exporter, proxy, policy.audit.proxy_log != ProxyLog::Off))
        }
        None => audit,
    }
}
