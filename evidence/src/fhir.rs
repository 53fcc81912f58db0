//! Records as FHIR R4 `AuditEvent`s.
//!
//! `docs/fhir.md` maps members to elements. Only requests become events: intents repeat them, preflights use no data,
//! and the other records of a chain are about the chain itself. The same record always becomes the same event, with the
//! same id.
//!
//! Codes and agents are modelled on IHE's Basic Audit Log Patterns (BALP). Events claim none of its profiles, because
//! no test validates them.

mod codes;
mod event;
mod resource;
mod write;

use std::collections::BTreeMap;
use std::fmt;

use rangemap::RangeInclusiveSet;

pub use resource::{
    Agent, AuditEvent, Coding, Detail, Entity, Identifier, Network, Period, Purpose, Reference, Source,
};
pub use write::{Form, Writer};

use crate::{Kind, Record};

/// What `identifier.system` begins with for names that careplane gives: `user`, `subject`, `tenant`, `proxy`, and the
/// URI of a policy.
pub const SYSTEM: &str = "urn:careplane:";

/// Makes events of records, each once.
#[derive(Debug, Default)]
pub struct Exporter {
    /// The proxy of each chain.
    proxies: BTreeMap<String, String>,
    /// The records that events were made of.
    done: BTreeMap<String, RangeInclusiveSet<u64>>,
}

/// Why a record cannot be an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventError {
    /// The id of the chain and the number are no FHIR id together.
    Id(String),
    /// The time.
    Time(String),
}

// === impl Exporter ===

impl Exporter {
    /// Learns whose chain it is, where the record says so. Every record first, every event after: else events depend
    /// on the order.
    pub fn learn(&mut self, record: &Record<'_>) {
        if let Some(proxy) = record.proxy.as_ref().and_then(|proxy| proxy.id.as_deref()) {
            let known = self.proxies.entry(record.chain.id.to_string()).or_default();
            if **known < *proxy {
                *known = proxy.to_owned();
            }
        }
    }

    /// The event of a record; none when it is not of a request, is of a preflight, which uses no data, or was made
    /// before.
    ///
    /// # Errors
    /// When the record has a chain id or a time that it cannot have.
    pub fn event(&mut self, record: &Record<'_>) -> Result<Option<AuditEvent>, EventError> {
        let chain: &str = &record.chain.id;
        let is_preflight = record.request.as_ref().is_some_and(|request| request.preflight);
        if record.kind != Kind::Request
            || is_preflight
            || self.done.get(chain).is_some_and(|done| done.contains(&record.chain.seq))
        {
            return Ok(None);
        }
        let event = event::of(record, self.proxies.get(chain).map(String::as_str))?;
        self.done.entry(chain.to_owned()).or_default().insert(record.chain.seq..=record.chain.seq);
        Ok(Some(event))
    }
}

// === impl EventError ===

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(
                f,
                "chain and number make {id:?}, which is no FHIR id: expected a UUID as chain.id, at most 64 letters, \
                 digits, `-` and `.` together"
            ),
            Self::Time(time) => write!(f, "time {time:?} is not an RFC 3339 time such as 2026-10-31T06:00:00.000000Z"),
        }
    }
}

impl std::error::Error for EventError {}
