//! Gauges of what is not as it should be: each counts the plugins of all workers that are in that state.

use std::cell::Cell;

use careplane_exchange::Host;

use crate::host::EnvoyHost;

/// States of one plugin. They count from its first request or tick until it ends. A configuration is also tried on a VM
/// that serves nothing, which Envoy removes without a callback: what counted there would count for ever.
#[derive(Default)]
pub(crate) struct States {
    gauges: Vec<&'static str>,
    counted: Cell<bool>,
}

// === impl States ===

impl States {
    /// Notes whether the plugin is in a state. The gauge is there in either case, so that an alert can tell 0 from
    /// nothing.
    pub(crate) fn note(&mut self, gauge: &'static str, is_so: bool) {
        EnvoyHost.add_to_gauge(gauge, 0);
        if is_so {
            self.gauges.push(gauge);
        }
    }

    /// The plugin is in use.
    pub(crate) fn count(&self) {
        if !self.gauges.is_empty() && !self.counted.replace(true) {
            self.add(1);
        }
    }

    fn add(&self, change: i64) {
        self.gauges.iter().for_each(|gauge| EnvoyHost.add_to_gauge(gauge, change));
    }
}

impl Drop for States {
    fn drop(&mut self) {
        if self.counted.get() {
            self.add(-1);
        }
    }
}
