//! The way out of this VM: what its plugins have for their collectors, and who sends it.
//!
//! A call of a stream ends with the stream, so exports are sent by root contexts, when they are called: at the pace of their tick, and at
//! once when a batch is full. Any root sends for all: the one whose record it is may be gone, after a change of policy.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use careplane_exchange::HttpAnswer;
use careplane_export::{Collector, Exporter, Outlet, Resource};
use careplane_policy::Policy;

use crate::abi;
use crate::host::EnvoyHost;

/// Retries are this exact, and batches no older than their interval and this.
const PACE: Duration = Duration::from_millis(200);
/// As soon as possible.
const NOW: Duration = Duration::from_millis(1);

thread_local! {
    static OUTLET: Rc<Outlet> = Rc::default();
    /// Roots that can send.
    static SENDERS: Cell<usize> = const { Cell::new(0) };
    /// Whether a root has been asked to come at once.
    static HURRIED: Cell<bool> = const { Cell::new(false) };
}

/// A root that sends for this VM, as long as it lives.
pub(crate) struct Sender {
    exporter: Exporter,
    proxy: Arc<str>,
}

impl Sender {
    /// For a plugin whose policy has a collector.
    pub(crate) fn new(policy: &Policy) -> Option<Self> {
        let export = policy.export.clone()?;
        let text = |path: &[&str]| {
            let bytes = abi::property(path).ok().flatten()?;
            String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
        };
        let proxy: Arc<str> = text(&["xds", "node", "id"]).unwrap_or_else(|| "unknown".into()).into();
        let service = text(&["xds", "node", "cluster"]).unwrap_or_else(|| "careplane".into());
        let attributes = [
            ("service.name", &*service),
            ("service.instance.id", &*proxy),
            ("careplane.policy.digest", &*policy.digest),
        ];
        let resource = Resource::new(attributes, "careplane", env!("CARGO_PKG_VERSION"));
        let collector = Rc::new(Collector { export, resource });
        SENDERS.set(SENDERS.get().saturating_add(1));
        EnvoyHost.tick_every(PACE);
        Some(Self { exporter: Exporter::new(OUTLET.with(Rc::clone), collector), proxy })
    }

    /// What a filter of this plugin exports through.
    pub(crate) fn exporter(&self) -> Exporter {
        self.exporter.clone()
    }

    /// Which proxy this is.
    pub(crate) fn proxy(&self) -> Arc<str> {
        Arc::clone(&self.proxy)
    }

    /// Sends what is due.
    pub(crate) fn work(&self) {
        HURRIED.set(false);
        // Always: another root of this VM may have been called since this one was hurried.
        EnvoyHost.tick_every(PACE);
        OUTLET.with(|outlet| outlet.work(&EnvoyHost));
    }

    /// The answer to something that was sent.
    pub(crate) fn answered(&self, call: u32, answer: &HttpAnswer) {
        OUTLET.with(|outlet| outlet.answered(call, answer, &EnvoyHost));
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let left = SENDERS.get().saturating_sub(1);
        SENDERS.set(left);
        if left == 0 {
            OUTLET.with(|outlet| outlet.close(&EnvoyHost));
        }
    }
}

/// Has the root of this stream called at once, when a full batch waits.
pub(crate) fn hurry() {
    if !HURRIED.get() && OUTLET.with(|outlet| outlet.is_due()) {
        HURRIED.set(true);
        EnvoyHost.tick_every(NOW);
    }
}
