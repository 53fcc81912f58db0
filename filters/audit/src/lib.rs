//! `audit`: one record per request, complete, in order, tamper-evident.
//!
//! ```text
//! stream ends ─▶ Outcome (what became of it) ─▶ record (canonical JSON) ─▶ Chain (number, hash) ─▶ sinks
//! ```
//!
//! The record is described in `docs/audit-record.md`.

#![forbid(unsafe_code)]

mod canonical;
mod chain;
mod outcome;
mod record;
mod sinks;

use std::rc::Rc;

use careplane_exchange::{Exchange, Filter, Host};

pub use chain::Ledger;
pub use record::SCHEMA;
pub use sinks::{FILTER_STATE, SPILL_PREFIX};

use outcome::{Outcome, Verdict};

/// Counts records.
pub const RECORDS: &str = "careplane.audit.records";
/// Counts chains that were begun.
pub const CHAINS: &str = "careplane.audit.chains";
/// When the present chain was begun: seconds since 1970.
pub const CHAIN_EPOCH: &str = "careplane.audit.chain_epoch";
/// Counts records that no sink took, so that they were written to the proxy's log.
pub const SPILLED: &str = "careplane.audit.spilled";
/// Counts records that nothing took, because the policy switched the proxy's log off.
pub const LOST: &str = "careplane.audit.lost";

/// The filter. All of one VM share a ledger: they run on one thread, and a chain is of a thread.
#[derive(Debug, Clone)]
pub struct Audit {
    ledger: Rc<Ledger>,
}

impl Audit {
    /// A filter that continues `ledger`.
    pub fn new(ledger: Rc<Ledger>) -> Self {
        Self { ledger }
    }
}

impl Filter for Audit {
    /// Writes nothing. It finds out here what the record will say about the request, for nobody else may know: as the first
    /// plugin of a chain it sees what was sent, forged headers included.
    fn on_request(&self, exchange: &Exchange, host: &dyn Host) {
        exchange.identity(host);
        exchange.correlation(host);
    }

    fn on_log(&self, exchange: &Exchange, host: &dyn Host) {
        let outcome = Outcome::read(exchange, host);
        if let Verdict::Denied(denial) = outcome.verdict {
            // Another plugin of the chain may have refused: this one learns it here.
            exchange.deny(denial);
        }
        let context = &exchange.about().context;
        count(&context.name, &outcome.verdict, host);
        // A refusal is evidence whatever the context says.
        if context.audited || outcome.verdict.is_denied() {
            let record = self.ledger.append(host, |link| record::compose(exchange, &outcome, link, host));
            host.count(RECORDS, 1);
            sinks::deliver(&record, &exchange.policy().audit, host);
        }
    }
}

fn count(context: &str, verdict: &Verdict, host: &dyn Host) {
    host.count(&format!("careplane.requests.{context}.{}", verdict.as_str()), 1);
    // Envoy's filters give reasons of any text; their names are a short list, as our reasons are.
    let reason = match verdict {
        Verdict::Allowed => return,
        Verdict::Denied(denial) => denial.code(),
        Verdict::DeniedBy(filter) => filter,
    };
    host.count(&format!("careplane.denials.{reason}"), 1);
}

#[cfg(test)]
mod tests;
