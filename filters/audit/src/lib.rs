//! `audit`: one record per request, complete, in order, tamper-evident, delivered.
//!
//! ```text
//! stream ends ─▶ Ending (what became of it) ─▶ record (canonical JSON) ─▶ chain (number, hash) ─▶ sinks
//! ```
//!
//! What the policy calls for is recorded twice: its intent, before it goes on, and its outcome. The record is described
//! in `docs/audit-record.md`.

#![forbid(unsafe_code)]

mod canonical;
mod chain;
mod record;
mod sinks;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use careplane_exchange::{Decision, Denial, Ending, Filter, Host, HttpAnswer, Identity, Incoming, Intent};
use careplane_export::{ACKNOWLEDGED, Exporter, Item, QUEUED, REJECTED, Signal, write_to_log};

pub use careplane_export::{LOST, OVERFLOW};
pub use chain::{Chain, Chains};
pub use record::SCHEMA;
pub use sinks::{FILTER_STATE, SHADOW_FILTER_STATE};

use record::Kind;

/// Counts records.
pub const RECORDS: &str = "careplane.audit.records";
/// Counts requests under a grant, by its name.
const GRANTS: &str = "careplane.grants.";
/// Counts requests under grants in an emergency.
pub const EMERGENCIES: &str = "careplane.emergency_access";
/// Counts requests that say a purpose of use which is none.
pub const INVALID_PURPOSES: &str = "careplane.purposes_invalid";
/// Counts chains that were begun.
pub const CHAINS: &str = "careplane.audit.chains";
/// When the present chain was begun: seconds since 1970.
pub const CHAIN_EPOCH: &str = "careplane.audit.chain_epoch";

/// How often a chain says how far it has come. Also when it has come no further: a chain that falls silent has lost its
/// proxy, or its tail.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// The filter. Those of one VM with the same key share a chain if all or none of them have a way to a collector: they
/// run on one thread.
pub struct Audit {
    chain: Rc<Chain>,
    delivery: Option<Delivery>,
}

/// The way to the collector.
pub struct Delivery {
    exporter: Exporter,
    /// Which proxy this is.
    proxy: Arc<str>,
    /// Whether checkpoints are written to the proxy's log as well: another store, should the collector's lose its tail.
    checkpoints_in_proxy_log: bool,
    /// Intents that are not acknowledged yet, by their numbers in the chain.
    intents: Cell<Vec<(u64, Item)>>,
}

// === impl Audit ===

impl Audit {
    /// A filter that continues `chain`.
    pub fn new(chain: Rc<Chain>) -> Self {
        Self { chain, delivery: None }
    }

    /// Brings its records to a collector.
    #[must_use]
    pub fn delivered(self, delivery: Delivery) -> Self {
        Self { delivery: Some(delivery), ..self }
    }

    /// Records something about the chain itself, for the collector.
    fn checkpoint(&self, kind: Kind, host: &dyn Host) {
        let Some(delivery) = &self.delivery else { return };
        let now = host.now().unwrap_or(UNIX_EPOCH);
        let entry = self.chain.append(host, |link| record::checkpoint(kind, &delivery.proxy, now, link));
        host.count(RECORDS, 1);
        self.chain.checkpointed(host.elapsed().unwrap_or_default());
        if delivery.checkpoints_in_proxy_log {
            // The collector has it; this is a copy.
            let _ = write_to_log(&entry.text, host);
        }
        delivery.exporter.send(Signal::Logs, sinks::item(&entry, kind, now, None), host);
    }

    /// Begins the chain with a record of its own, so that a missing first record shows.
    fn begin(&self, host: &dyn Host) {
        if self.chain.length() == 0 {
            self.checkpoint(Kind::Start, host);
        }
    }
}

impl Filter for Audit {
    /// Computes the identity while what was sent is still there: as the first plugin of a chain it sees forged headers
    /// too. Holds the request where the policy wants its intent acknowledged first.
    fn on_request(&self, request: &Incoming, host: &dyn Host) {
        let identity = request.identity(host);
        request.correlation(host);
        if request.is_shadow() {
            return request.rehearse(host);
        }
        let level = request.about().context.compliance_level;
        let is_ahead = request.policy().audit.write_ahead.contains(&level) || identity.writes_ahead();
        if !is_ahead || request.denial().is_some() {
            return;
        }
        let Some(delivery) = &self.delivery else { return };
        self.begin(host);
        let now = host.now().unwrap_or(UNIX_EPOCH);
        let entry = self.chain.append(host, |link| record::intent(&request.handled(host), now, link));
        host.count(RECORDS, 1);
        let item = sinks::item(&entry, Kind::Intent, now, None);
        let sent = delivery.exporter.send_now(&item, host);
        request.hold(Intent { number: entry.number, call: sent.unwrap_or_default(), answered: sent.is_err() });
        match sent {
            Ok(_) => delivery.keep(entry.number, item, host),
            Err(_) => {
                delivery.exporter.send(Signal::Logs, item, host);
                refuse(request, host);
            }
        }
    }

    fn on_answer(&self, request: &Incoming, answer: &HttpAnswer, host: &dyn Host) {
        let (Some(intent), Some(delivery)) = (request.intent(), &self.delivery) else { return };
        let acknowledged = match delivery.take(intent.number, host) {
            // It is a link of the chain, so it has to arrive somewhere, although too late for this request.
            Some(item) => delivery.exporter.settle(item, answer, host),
            None => false,
        };
        if !acknowledged {
            refuse(request, host);
        }
    }

    fn follows(&self) -> bool {
        true
    }

    fn on_log(&self, ending: &Ending<'_>, host: &dyn Host) {
        let request = ending.request();
        let decision = ending.decision();
        count(&request.context.name, decision, host);
        count_grant(&request.identity, decision, host);
        if let Some(denial) = request.shadow_denial() {
            host.count(&["careplane.shadow.denials.", denial.code()].concat(), 1);
        }
        if let (Some(intent), Some(delivery)) = (request.intent, &self.delivery)
            && let Some(item) = delivery.take(intent.number, host)
        {
            // The stream ended while it waited for the answer, which will find no request any more.
            delivery.exporter.send(Signal::Logs, item, host);
        }
        // A refusal is evidence whatever the context says.
        let is_refusal = decision.is_denied() || request.shadow_denial().is_some();
        if request.context.audited || is_refusal || request.intent.is_some() {
            self.begin(host);
            let entry = self.chain.append(host, |link| record::request(ending, link));
            host.count(RECORDS, 1);
            let exporter = self.delivery.as_ref().map(|delivery| &delivery.exporter);
            let item = || sinks::item(&entry, Kind::Request, ending.time(), ending.trace().own.as_ref());
            sinks::deliver(&entry, item, request.policy(), exporter, host);
        }
    }

    /// Says that the chain ends here, in good order; unless another filter goes on with it, as after a change of
    /// policy.
    fn on_end(&self, host: &dyn Host) {
        if Rc::strong_count(&self.chain) == 1 && self.chain.length() > 0 {
            self.checkpoint(Kind::End, host);
        }
    }

    fn on_tick(&self, host: &dyn Host) {
        let is_due = |now: Duration| now.saturating_sub(self.chain.last_checkpoint()) >= CHECKPOINT_INTERVAL;
        if self.chain.length() > 0 && host.elapsed().is_ok_and(is_due) {
            self.checkpoint(Kind::Head, host);
        }
    }
}

// === impl Delivery ===

impl Delivery {
    /// By way of `exporter`, from the proxy of this id.
    pub fn new(exporter: Exporter, proxy: Arc<str>, checkpoints_in_proxy_log: bool) -> Self {
        Self { exporter, proxy, checkpoints_in_proxy_log, intents: Cell::default() }
    }

    /// Keeps an intent until its answer comes, or its stream ends. Until then it counts as queued.
    fn keep(&self, number: u64, item: Item, host: &dyn Host) {
        host.add_to_gauge(QUEUED, 1);
        let mut intents = self.intents.take();
        intents.push((number, item));
        self.intents.set(intents);
    }

    fn take(&self, number: u64, host: &dyn Host) -> Option<Item> {
        let mut intents = self.intents.take();
        let index = intents.iter().position(|(kept, _)| *kept == number);
        let item = index.map(|index| intents.swap_remove(index).1);
        self.intents.set(intents);
        if item.is_some() {
            host.add_to_gauge(QUEUED, -1);
        }
        item
    }
}

/// Makes the counters that add up, of records and of what became of each. Where another module follows this one, the
/// proxy drops those that the new one has not made by then.
pub fn make_delivery_counters(host: &dyn Host) {
    [RECORDS, ACKNOWLEDGED, OVERFLOW, REJECTED, LOST].iter().for_each(|counter| host.count(counter, 0));
}

/// Refuses a request that cannot be recorded now. As the first plugin of a chain, this filter also holds what a later
/// one refuses for good: then the reason is that one's.
fn refuse(request: &Incoming, host: &dyn Host) {
    request.deny(request.violation(host).unwrap_or(Denial::EvidenceUnavailable));
}

fn count(context: &str, decision: Decision, host: &dyn Host) {
    host.count(&["careplane.requests.", context, ".", decision.as_str()].concat(), 1);
    // Envoy's filters give reasons of any text; their names are a short list, as our reasons are.
    let reason = match decision {
        Decision::Allowed | Decision::Undecided => return,
        Decision::Denied(denial) => denial.code(),
        Decision::DeniedBy(filter) => filter,
    };
    host.count(&["careplane.denials.", reason].concat(), 1);
}

fn count_grant(identity: &Identity, decision: Decision, host: &dyn Host) {
    if identity.invalid_purpose {
        host.count(INVALID_PURPOSES, 1);
    }
    // One that the caller or the proxy ended first has passed nowhere.
    let passed = decision == Decision::Allowed && identity.is_granted();
    if let Some(grant) = identity.grant.as_ref().filter(|_| passed) {
        host.count(&[GRANTS, &grant.name].concat(), 1);
        if identity.is_emergency() {
            host.count(EMERGENCIES, 1);
        }
    }
}

#[cfg(test)]
mod tests;
