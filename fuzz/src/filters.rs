//! The filters as the module has them.

use careplane_audit::{Audit, Delivery};
use careplane_exchange::Filter;
use careplane_export::Exporter;
use careplane_sampling::Sampling;
use careplane_tenant_routing::TenantRouting;
use careplane_tracing_tags::TracingTags;

/// `audit` alone, with a chain of its own.
pub fn audit(exporter: Option<Exporter>) -> Audit {
    let audit = Audit::new(Default::default());
    match exporter {
        Some(exporter) => audit.delivered(Delivery::new(exporter, "proxy".into(), false)),
        None => audit,
    }
}

/// All four, in the order in which they see a request.
pub fn all(exporter: Option<Exporter>) -> [Box<dyn Filter>; 4] {
    let sampling = Sampling::new(exporter.clone());
    [Box::new(TracingTags), Box::new(TenantRouting), Box::new(sampling), Box::new(audit(exporter))]
}
