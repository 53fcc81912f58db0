//! What waits for a collector, of all plugins of one VM.

use std::rc::Rc;
use std::time::SystemTime;

use careplane_exchange::{Host, HttpAnswer, HttpCall};
use careplane_policy::Export;

use crate::encode::{Item, Resource};
use crate::lane::Lane;

/// Where a policy wants its records and spans, and how.
#[derive(Debug)]
pub struct Collector {
    /// Section `export` of the policy.
    pub export: Export,
    /// Who sends.
    pub resource: Resource,
}

impl Collector {
    /// The request that brings `body` to it.
    pub(crate) fn call<'c>(&'c self, signal: Signal, body: &'c [u8]) -> HttpCall<'c> {
        let Export { cluster, authority, timeout, .. } = &self.export;
        HttpCall {
            cluster,
            authority,
            path: signal.path(),
            content_type: "application/x-protobuf",
            body,
            timeout: *timeout,
        }
    }
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Audit records.
    Logs,
    /// Late spans.
    Traces,
}

/// Records and spans on their way out.
///
/// One for a VM, so that its memory is bounded once however many plugins it has; within it, a lane for each policy and signal, so
/// that a batch never mixes what belongs to two policies.
#[derive(Debug, Default)]
pub struct Outbox {
    lanes: Vec<Lane>,
}

// === impl Outbox ===

impl Outbox {
    /// Takes an item for `collector`. What does not fit in `export.queueBytes` is given up at once: the older ones are nearer to
    /// being delivered.
    pub fn push(&mut self, collector: &Rc<Collector>, signal: Signal, item: Item, host: &dyn Host) {
        let held = self.lanes.iter().fold(0usize, |sum, lane| sum.saturating_add(lane.held()));
        let room = usize::try_from(collector.export.queue_bytes).unwrap_or(usize::MAX);
        if held.saturating_add(item.size()) > room {
            signal.give_up(&item, host);
            return;
        }
        let now = host.now().unwrap_or(SystemTime::UNIX_EPOCH);
        match self.lanes.iter_mut().find(|lane| lane.is_for(collector, signal)) {
            Some(lane) => lane.push(item, now, host),
            None => {
                let mut lane = Lane::new(Rc::clone(collector), signal);
                lane.push(item, now, host);
                self.lanes.push(lane);
            }
        }
    }

    /// Whether a full batch could go now.
    pub fn is_due(&self) -> bool {
        self.lanes.iter().any(Lane::is_full_and_free)
    }

    /// Sends what is due, and gives up on answers that are overdue. To be called where the proxy lets calls outlive a stream: in a
    /// root context.
    pub fn work(&mut self, host: &dyn Host) {
        let Ok(now) = host.now() else { return };
        self.lanes.iter_mut().for_each(|lane| lane.work(now, host));
        self.lanes.retain(|lane| !lane.is_forgotten());
    }

    /// The answer to an export request. Says whether it was one of these.
    pub fn answered(&mut self, call: u32, answer: &HttpAnswer, host: &dyn Host) -> bool {
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.has_sent(call)) else { return false };
        lane.answered(answer, host.now().unwrap_or(SystemTime::UNIX_EPOCH), host);
        true
    }

    /// Nobody will send any more: everything that has not been acknowledged goes to the proxy's log.
    pub fn close(&mut self, host: &dyn Host) {
        self.lanes.drain(..).for_each(|lane| lane.close(host));
    }
}
