//! The way out of one plugin.

use std::cell::Cell;
use std::rc::Rc;

use careplane_exchange::{Host, HostError, HttpAnswer};

use crate::answer::Verdict;
use crate::encode::Item;
use crate::outbox::{Collector, Outbox, Signal};
use crate::{ACKNOWLEDGED, FAILED, REJECTED};

/// The outbox of a VM, which its plugins share: they run on one thread.
#[derive(Default)]
pub struct Outlet(Cell<Outbox>);

/// What a filter exports through: the outbox of its VM, with the collector of its policy.
#[derive(Debug, Clone)]
pub struct Exporter {
    outlet: Rc<Outlet>,
    collector: Rc<Collector>,
}

// === impl Outlet ===

impl Outlet {
    /// See [`Outbox::work`].
    pub fn work(&self, host: &dyn Host) {
        self.with(|outbox| outbox.work(host));
    }

    /// See [`Outbox::is_due`].
    pub fn is_due(&self) -> bool {
        self.with(|outbox| outbox.is_due())
    }

    /// See [`Outbox::answered`].
    pub fn answered(&self, call: u32, answer: &HttpAnswer, host: &dyn Host) -> bool {
        self.with(|outbox| outbox.answered(call, answer, host))
    }

    /// See [`Outbox::close`].
    pub fn close(&self, host: &dyn Host) {
        self.with(|outbox| outbox.close(host));
    }

    fn with<T>(&self, act: impl FnOnce(&mut Outbox) -> T) -> T {
        let mut outbox = self.0.take();
        let result = act(&mut outbox);
        self.0.set(outbox);
        result
    }
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outlet")
    }
}

// === impl Exporter ===

impl Exporter {
    /// Exports to `collector` through `outlet`.
    pub fn new(outlet: Rc<Outlet>, collector: Rc<Collector>) -> Self {
        Self { outlet, collector }
    }

    /// Takes an item along with others: see [`Outbox::push`].
    pub fn send(&self, signal: Signal, item: Item, host: &dyn Host) {
        self.outlet.with(|outbox| outbox.push(&self.collector, signal, item, host));
    }

    /// Sends a record now and alone, in the stream that waits for the answer.
    ///
    /// # Errors
    /// When the proxy cannot send.
    pub fn send_now(&self, item: &Item, host: &dyn Host) -> Result<u32, HostError> {
        let body = self.collector.resource.request(std::slice::from_ref(item));
        host.http_call(&self.collector.call(Signal::Logs, &body))
    }

    /// The answer to a record that was sent alone. Says whether it was acknowledged; if it was not, it goes along with others when it
    /// can be sent again, and into the proxy's log when not.
    pub fn settle(&self, item: Item, answer: &HttpAnswer, host: &dyn Host) -> bool {
        match Verdict::of(answer) {
            Verdict::Taken { rejected: 0 } => host.count(ACKNOWLEDGED, 1),
            Verdict::Taken { .. } => {
                host.count(REJECTED, 1);
                Signal::Logs.write_down(std::slice::from_ref(&item));
                return false;
            }
            Verdict::Retry { .. } => {
                host.count(FAILED, 1);
                self.send(Signal::Logs, item, host);
                return false;
            }
            Verdict::Refused => {
                host.count(FAILED, 1);
                Signal::Logs.give_up(&item, host);
                return false;
            }
        }
        true
    }
}
