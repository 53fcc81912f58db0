//! Gauges of what is not as it should be: each counts the plugins of all workers that are in that state.

use careplane_exchange::Host;

use crate::host::EnvoyHost;

/// States of one plugin. They end with it, so that a change of policy, or a plugin of the main thread that serves nothing, leaves no trace.
#[derive(Default)]
pub(crate) struct States(Vec<&'static str>);

// === impl States ===

impl States {
    /// Notes whether the plugin is in a state. The gauge is there in either case, so that an alert can tell 0 from nothing.
    pub(crate) fn note(&mut self, gauge: &'static str, is_so: bool) {
        EnvoyHost.add_to_gauge(gauge, is_so.into());
        if is_so {
            self.0.push(gauge);
        }
    }
}

impl Drop for States {
    fn drop(&mut self) {
        self.0.iter().for_each(|gauge| EnvoyHost.add_to_gauge(gauge, -1));
    }
}
