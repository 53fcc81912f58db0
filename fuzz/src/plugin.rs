//! The plugins as the module has them.

use std::sync::Arc;

use careplane_exchange::Rules;
use careplane_export::Exporter;
use careplane_pipeline::{Filters, Parts, Plugin};

/// A plugin of this name, with a chain of its own.
pub fn named(name: &str, rules: &Arc<Rules>, exporter: Option<Exporter>) -> Plugin {
    let parts = Parts { exporter, proxy: Some("proxy".into()), ..Parts::default() };
    Plugin { filters: Filters::named(name, rules, parts), rules: Arc::clone(rules) }
}
