//! `pluginName` → filters.

#[cfg(feature = "audit")]
use std::cell::RefCell;
use std::rc::Rc;
#[cfg(feature = "audit")]
use std::rc::Weak;

#[cfg(feature = "audit")]
use careplane_audit::{Audit, Delivery, Ledger};
use careplane_exchange::Filter;
use careplane_policy::Policy;
#[cfg(feature = "audit")]
use careplane_policy::document::ProxyLog;

#[cfg(feature = "audit")]
use crate::key;
use crate::outlet::Sender;

/// Filters in the order in which they see a request.
pub(crate) type Filters = Rc<[Box<dyn Filter>]>;

#[cfg(feature = "audit")]
thread_local! {
    /// The chain of this VM: its plugins run on one thread, and their records are in one order. It ends with the last of them.
    static LEDGER: RefCell<Weak<Ledger>> = RefCell::default();
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

/// Whether a plugin of this name has something to export.
pub(crate) fn export(name: &str) -> bool {
    matches!(name, "careplane" | "sampling" | "audit")
}

/// The filters of a plugin with this policy, which export through `sender`.
pub(crate) fn named(name: &str, policy: &Policy, sender: Option<&Sender>) -> Filters {
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
        filters.push(Box::new(careplane_sampling::Sampling::new(sender.map(Sender::exporter))));
    }
    #[cfg(feature = "audit")]
    if wanted("audit") {
        filters.push(Box::new(audit(&policy.audit, sender)));
    }
    filters.into()
}

#[cfg(feature = "audit")]
fn audit(policy: &careplane_policy::Audit, sender: Option<&Sender>) -> Audit {
    let mut audit = Audit::new(ledger());
    if let Some(key) = policy.chain_key_env.as_deref().and_then(key::chain) {
        audit = audit.keyed(key);
    }
    if let Some(sender) = sender.filter(|_| policy.otlp || !policy.write_ahead.is_empty()) {
        let has_witness = policy.proxy_log != ProxyLog::Off;
        audit = audit.delivered(Delivery::new(sender.exporter(), sender.proxy(), has_witness));
    }
    audit
}

#[cfg(feature = "audit")]
fn ledger() -> Rc<Ledger> {
    LEDGER.with_borrow_mut(|shared| {
        shared.upgrade().unwrap_or_else(|| {
            let ledger = Rc::default();
            *shared = Rc::downgrade(&ledger);
            ledger
        })
    })
}
