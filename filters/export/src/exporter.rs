//! The way out of one plugin.

use std::rc::Rc;

use careplane_exchange::{Host, HostError, HttpAnswer};

use crate::answer::ExportResult;
use crate::encode::Item;
use crate::queue::ExportQueue;
use crate::signal::Signal;
use crate::target::ExportTarget;
use crate::{ACKNOWLEDGED, FAILED, REJECTED};

/// What a filter exports through: the queue of its VM, with the target of its policy.
#[derive(Debug, Clone)]
pub struct Exporter {
    queue: Rc<ExportQueue>,
    target: Rc<ExportTarget>,
}

// === impl Exporter ===

impl Exporter {
    /// Exports to `target` through `queue`.
    pub fn new(queue: Rc<ExportQueue>, target: Rc<ExportTarget>) -> Self {
        Self { queue, target }
    }

    /// Takes an item along with others. What does not fit in `export.queueBytes` overflows.
    pub fn send(&self, signal: Signal, item: Item, host: &dyn Host) {
        self.queue.push(&self.target, signal, item, host);
    }

    /// Sends a record now and alone, in the stream that waits for the answer.
    ///
    /// # Errors
    /// When the proxy cannot send.
    pub fn send_now(&self, item: &Item, host: &dyn Host) -> Result<u32, HostError> {
        let body = self.target.resource.request(std::slice::from_ref(item));
        host.http_call(&self.target.call(Signal::Logs, &body))
    }

    /// The answer to a record that was sent alone. Says whether it was acknowledged; if it was not, it goes along with
    /// others when it can be sent again, and overflows when not.
    pub fn settle(&self, item: Item, answer: &HttpAnswer, host: &dyn Host) -> bool {
        match ExportResult::of(answer) {
            ExportResult::Accepted { rejected: 0 } => host.count(ACKNOWLEDGED, 1),
            ExportResult::Accepted { .. } => {
                host.count(REJECTED, 1);
                if let Some(record) = item.text() {
                    self.target.keep_copy(record, host);
                }
                return false;
            }
            ExportResult::Retryable { .. } => {
                host.count(FAILED, 1);
                self.send(Signal::Logs, item, host);
                return false;
            }
            ExportResult::Rejected => {
                host.count(FAILED, 1);
                self.target.give_up(Signal::Logs, &item, host);
                return false;
            }
        }
        true
    }
}
