//! What waits for a collector, of all plugins of one VM.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use careplane_exchange::{Host, HttpAnswer};

use crate::batch_queue::BatchQueue;
use crate::encode::Item;
use crate::signal::Signal;
use crate::target::ExportTarget;

/// Records and spans on their way out.
///
/// One for a VM, whose plugins run on one thread: its memory is bounded once, however many plugins there are. Within
/// it, a queue for each policy and signal, so that a batch never mixes what belongs to two policies.
///
/// A full batch is sent at once, by the stream whose record fills it: calls belong to the plugin, and outlive their
/// stream. Then each answer sends the next, and the ticks of the plugins send what is old.
#[derive(Debug, Default)]
pub struct ExportQueue {
    queues: RefCell<Vec<BatchQueue>>,
    /// Plugins that drive it.
    drivers: Cell<usize>,
}

// === impl ExportQueue ===

impl ExportQueue {
    /// A plugin drives it from now on.
    pub fn attach(&self) {
        self.drivers.set(self.drivers.get().saturating_add(1));
    }

    /// A plugin that drove it ends. With the last one, everything that has not been acknowledged overflows, and so does
    /// what comes later.
    pub fn detach(&self, host: &dyn Host) {
        self.drivers.set(self.drivers.get().saturating_sub(1));
        if self.drivers.get() == 0
            && let Ok(mut queues) = self.queues.try_borrow_mut()
        {
            queues.drain(..).for_each(|queue| queue.close(host));
        }
    }

    /// Takes an item for `target`. What does not fit in `export.queueBytes` overflows at once: the older items are
    /// nearer to being delivered.
    pub(crate) fn push(&self, target: &Rc<ExportTarget>, signal: Signal, item: Item, host: &dyn Host) {
        let Ok(mut queues) = self.queues.try_borrow_mut() else { return target.give_up(signal, &item, host) };
        let held = queues.iter().fold(0usize, |sum, queue| sum.saturating_add(queue.held()));
        let room = usize::try_from(target.export.queue_bytes).unwrap_or(usize::MAX);
        if self.drivers.get() == 0 || held.saturating_add(item.size()) > room {
            return target.give_up(signal, &item, host);
        }
        let now = host.elapsed().unwrap_or_default();
        if !queues.iter().any(|queue| queue.is_for(target, signal)) {
            queues.push(BatchQueue::new(Rc::clone(target), signal));
        }
        if let Some(queue) = queues.iter_mut().find(|queue| queue.is_for(target, signal)) {
            queue.push(item, now, host);
        }
    }

    /// Sends what is due, and gives up on answers that are overdue.
    pub fn tick(&self, host: &dyn Host) {
        let (Ok(now), Ok(mut queues)) = (host.elapsed(), self.queues.try_borrow_mut()) else { return };
        queues.iter_mut().for_each(|queue| queue.work(now, host));
        queues.retain(|queue| !queue.is_abandoned());
    }

    /// The answer to an export request. Says whether it was one of these.
    pub fn answered(&self, call: u32, answer: &HttpAnswer, host: &dyn Host) -> bool {
        let Ok(mut queues) = self.queues.try_borrow_mut() else { return false };
        let Some(queue) = queues.iter_mut().find(|queue| queue.has_sent(call)) else { return false };
        queue.answered(answer, host.elapsed().unwrap_or_default(), host);
        true
    }
}
