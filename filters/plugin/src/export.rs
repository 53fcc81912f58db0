//! The way out of this VM: the queue that its plugins share, and what drives it.
//!
//! Calls belong to the plugin that makes them, so the tick of any plugin sends for all: the one whose record it is may
//! be gone, after a change of policy.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use careplane_export::{ExportQueue, ExportTarget, Exporter, Resource};
use careplane_policy::Policy;
use careplane_policy::document::ProxyLog;

use crate::abi;
use crate::host::EnvoyHost;

/// How often the queue is looked at: no batch is older than its interval and this.
pub(crate) const TICK: Duration = Duration::from_millis(200);
/// The longest node id or cluster that is repeated, in bytes: twice what Istio can put together of Kubernetes' names.
const NODE_NAME_MAX: usize = 2048;

thread_local! {
    /// The queue of this VM. Its memory is bounded once, however many plugins there are.
    static QUEUE: Rc<ExportQueue> = Rc::default();
}

/// A plugin that drives the queue as long as it lives.
pub(crate) struct ExportDriver {
    queue: Rc<ExportQueue>,
}

// === impl ExportDriver ===

impl ExportDriver {
    #[inline(never)]
    pub(crate) fn attach() -> Self {
        let queue = QUEUE.with(Rc::clone);
        queue.attach();
        EnvoyHost.tick_every(TICK);
        Self { queue }
    }

    /// What the filters of a plugin with this policy export through; none when the policy has no collector.
    #[inline(never)]
    pub(crate) fn exporter(&self, policy: &Policy, proxy: &str) -> Option<Exporter> {
        let export = policy.export.clone()?;
        let service = text("xds\0node\0cluster").unwrap_or_else(|| "careplane".into());
        let attributes =
            [("service.name", &*service), ("service.instance.id", proxy), ("careplane.policy.digest", &*policy.digest)];
        let resource = Resource::new(attributes, "careplane", env!("CARGO_PKG_VERSION"));
        let overflow_in_proxy_log = policy.audit.proxy_log != ProxyLog::Off;
        let target = ExportTarget { export, resource, overflow_in_proxy_log };
        Some(Exporter::new(Rc::clone(&self.queue), Rc::new(target)))
    }

    pub(crate) fn queue(&self) -> &ExportQueue {
        &self.queue
    }
}

impl Drop for ExportDriver {
    fn drop(&mut self) {
        self.queue.detach(&EnvoyHost);
    }
}

/// The answer to a batch, of whichever plugin.
#[cfg(feature = "sdk")]
pub(crate) fn answered(call: u32, headers: usize, body: usize) {
    QUEUE.with(|queue| queue.answered(call, &EnvoyHost.collector_answer(headers, body), &EnvoyHost));
}

/// Which proxy this is: Envoy's node id.
#[inline(never)]
pub(crate) fn proxy() -> Arc<str> {
    text("xds\0node\0id").unwrap_or_else(|| "unknown".into()).into()
}

fn text(path: &str) -> Option<String> {
    let bytes = abi::property(path).ok().flatten()?;
    String::from_utf8(bytes).ok().filter(|text| (1..=NODE_NAME_MAX).contains(&text.len()))
}
