//! `pluginName` → filters.

use std::rc::Rc;

use careplane_exchange::Filter;

use crate::outlet::Sender;

/// Filters in the order in which they see a request.
pub(crate) type Filters = Rc<[Box<dyn Filter>]>;

#[cfg(feature = "audit")]
thread_local! {
    /// The chain of this VM: its plugins run on one thread, and their records are in one order.
    static LEDGER: Rc<careplane_audit::Ledger> = Rc::default();
}

/// All names that this module knows.
pub(crate) const NAMES: &[&str] = &[
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

/// The filters of a plugin, which export through `sender`.
pub(crate) fn named(name: &str, sender: Option<&Sender>) -> Filters {
    let wanted = |filter: &str| name == "careplane" || name == filter;
    let mut filters: Vec<Box<dyn Filter>> = Vec::new();
    #[cfg(feature = "tracing-tags")]
    if wanted("tracing-tags") {
        filters.push(Box::new(careplane_tracing_tags::TracingTags));
    }
    #[cfg(feature = "tenant-routing")]
    if wanted("tenant-routing") {
        filters.push(Box::new(careplane_tenant_routing::TenantRouting));
    }
    #[cfg(feature = "sampling")]
    if wanted("sampling") {
        filters.push(Box::new(careplane_sampling::Sampling));
    }
    #[cfg(feature = "audit")]
    if wanted("audit") {
        let exporter = sender.filter(|sender| sender.has_records).map(Sender::exporter);
        filters.push(Box::new(careplane_audit::Audit::new(LEDGER.with(Rc::clone), exporter)));
    }
    filters.into()
}
