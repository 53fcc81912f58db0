//! `audit`: one record per request, complete, in order, tamper-evident, delivered.
//!
//! ```text
//! stream ends ─▶ Outcome (what became of it) ─▶ record (canonical JSON) ─▶ chain (number, hash) ─▶ sinks
//! ```
//!
//! What the policy calls for is recorded twice: its intent, before it goes on, and its outcome. The record is described in
//! `docs/audit-record.md`.

#![forbid(unsafe_code)]

mod canonical;
mod chain;
mod record;
mod sinks;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use careplane_exchange::{Denial, Exchange, Filter, Host, HttpAnswer, Intent, Key, Verdict};
use careplane_export::{Exporter, Item, Signal, spill};

pub use chain::Ledger;
pub use record::SCHEMA;
pub use sinks::FILTER_STATE;

use record::Kind;

/// Counts records.
pub const RECORDS: &str = "careplane.audit.records";
/// Counts chains that were begun.
pub const CHAINS: &str = "careplane.audit.chains";
/// When the present chain was begun: seconds since 1970.
pub const CHAIN_EPOCH: &str = "careplane.audit.chain_epoch";
/// Counts records that no sink took, so that they were written to the proxy's log.
pub const SPILLED: &str = careplane_export::SPILLED;
/// Counts records that nothing took, because the policy switched the proxy's log off.
pub const LOST: &str = "careplane.audit.lost";

/// How often a chain says how far it has come. Also when it has come no further: a chain that falls silent has lost its proxy, or its tail.
const HEAD_INTERVAL: Duration = Duration::from_secs(60);

/// The filter. All of one VM share a ledger: they run on one thread, and a chain is of a thread.
pub struct Audit {
    ledger: Rc<Ledger>,
    /// The key of the hashes.
    key: Option<Key>,
    delivery: Option<Delivery>,
}

/// The way to the collector.
pub struct Delivery {
    exporter: Exporter,
    /// Which proxy this is.
    proxy: Arc<str>,
    /// Whether milestones are written to the proxy's log as well: a witness in another store, should the collector's lose its tail.
    has_witness: bool,
    /// Intents that nobody has acknowledged yet, by their numbers in the chain.
    intents: Cell<Vec<(u64, Item)>>,
}

impl Audit {
    /// A filter that continues `ledger`.
    pub fn new(ledger: Rc<Ledger>) -> Self {
        Self { ledger, key: None, delivery: None }
    }

    /// Makes its hashes with a key.
    #[must_use]
    pub fn keyed(self, key: Key) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Brings its records to a collector.
    #[must_use]
    pub fn delivered(self, delivery: Delivery) -> Self {
        Self { delivery: Some(delivery), ..self }
    }

    /// Records something about the chain itself, for the collector.
    fn milestone(&self, kind: Kind, host: &dyn Host) {
        let Some(delivery) = &self.delivery else { return };
        let now = host.now().unwrap_or(UNIX_EPOCH);
        let entry =
            self.ledger.append(self.key.as_ref(), host, |link| record::milestone(kind, &delivery.proxy, now, link));
        host.count(RECORDS, 1);
        self.ledger.tell(now);
        if delivery.has_witness {
            spill(&entry.text);
        }
        delivery.exporter.send(Signal::Logs, sinks::item(&entry, kind, now, None), host);
    }

    /// Begins the chain with a record of its own, so that a missing first record shows.
    fn begin(&self, host: &dyn Host) {
        if self.ledger.length() == 0 {
            self.milestone(Kind::Start, host);
        }
    }
}

impl Filter for Audit {
    /// Finds out what the record will say about the request, for nobody else may know: as the first plugin of a chain it sees what was
    /// sent, forged headers included. Holds the request where the policy wants its intent acknowledged first.
    fn on_request(&self, exchange: &Exchange, host: &dyn Host) {
        exchange.identity(host);
        exchange.correlation(host);
        let level = exchange.about().context.compliance_level;
        if !exchange.policy().audit.write_ahead.contains(&level) || exchange.denial().is_some() {
            return;
        }
        let Some(delivery) = &self.delivery else { return };
        self.begin(host);
        let now = host.now().unwrap_or(UNIX_EPOCH);
        let entry = self.ledger.append(self.key.as_ref(), host, |link| record::intent(exchange, now, link, host));
        host.count(RECORDS, 1);
        let item = sinks::item(&entry, Kind::Intent, now, None);
        let sent = delivery.exporter.send_now(&item, host);
        exchange.hold(Intent { number: entry.number, call: sent.unwrap_or_default(), answered: sent.is_err() });
        match sent {
            Ok(_) => delivery.keep(entry.number, item),
            Err(_) => {
                delivery.exporter.send(Signal::Logs, item, host);
                exchange.deny(Denial::EvidenceUnavailable);
            }
        }
    }

    fn on_answer(&self, exchange: &Exchange, answer: &HttpAnswer, host: &dyn Host) {
        let (Some(intent), Some(delivery)) = (exchange.intent(), &self.delivery) else { return };
        let acknowledged = match delivery.take(intent.number) {
            // It is a link of the chain, so it has to arrive somewhere, although too late for this request.
            Some(item) => delivery.exporter.settle(item, answer, host),
            None => false,
        };
        if !acknowledged {
            exchange.deny(Denial::EvidenceUnavailable);
        }
    }

    fn on_log(&self, exchange: &Exchange, host: &dyn Host) {
        let outcome = exchange.outcome(host);
        let context = &exchange.about().context;
        count(&context.name, &outcome.verdict, host);
        if let (Some(intent), Some(delivery)) = (exchange.intent(), &self.delivery)
            && let Some(item) = delivery.take(intent.number)
        {
            // The caller has gone while it waited, and the proxy has given up the call.
            delivery.exporter.send(Signal::Logs, item, host);
        }
        // A refusal is evidence whatever the context says.
        if context.audited || outcome.verdict.is_denied() || exchange.intent().is_some() {
            self.begin(host);
            let entry =
                self.ledger.append(self.key.as_ref(), host, |link| record::request(exchange, outcome, link, host));
            host.count(RECORDS, 1);
            let exporter = self.delivery.as_ref().map(|delivery| &delivery.exporter);
            let item = || sinks::item(&entry, Kind::Request, outcome.time, outcome.trace.as_ref());
            sinks::deliver(&entry, item, &exchange.policy().audit, exporter, host);
        }
    }

    /// Says that the chain ends here, in good order; unless another filter goes on with it, as after a change of policy.
    fn on_end(&self, host: &dyn Host) {
        if Rc::strong_count(&self.ledger) == 1 && self.ledger.length() > 0 {
            self.milestone(Kind::End, host);
        }
    }

    fn on_tick(&self, host: &dyn Host) {
        let elapsed = |now: SystemTime| now.duration_since(self.ledger.told()).unwrap_or_default();
        if self.ledger.length() > 0 && host.now().is_ok_and(|now| elapsed(now) >= HEAD_INTERVAL) {
            self.milestone(Kind::Head, host);
        }
    }
}

// === impl Delivery ===

impl Delivery {
    /// By way of `exporter`, from the proxy of this id. With a witness, milestones go to the proxy's log too.
    pub fn new(exporter: Exporter, proxy: Arc<str>, has_witness: bool) -> Self {
        Self { exporter, proxy, has_witness, intents: Cell::default() }
    }

    fn keep(&self, number: u64, item: Item) {
        let mut intents = self.intents.take();
        intents.push((number, item));
        self.intents.set(intents);
    }

    fn take(&self, number: u64) -> Option<Item> {
        let mut intents = self.intents.take();
        let index = intents.iter().position(|(kept, _)| *kept == number);
        let item = index.map(|index| intents.swap_remove(index).1);
        self.intents.set(intents);
        item
    }
}

fn count(context: &str, verdict: &Verdict, host: &dyn Host) {
    host.count(&["careplane.requests.", context, ".", verdict.as_str()].concat(), 1);
    // Envoy's filters give reasons of any text; their names are a short list, as our reasons are.
    let reason = match verdict {
        Verdict::Allowed => return,
        Verdict::Denied(denial) => denial.code(),
        Verdict::DeniedBy(filter) => filter,
    };
    host.count(&["careplane.denials.", reason].concat(), 1);
}

#[cfg(test)]
mod tests;
