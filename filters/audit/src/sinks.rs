//! Where records go.

use std::time::SystemTime;

use careplane_exchange::{Host, TraceContext};
use careplane_export::{Exporter, Item, LOST, Signal, overflow, write_to_log};
use careplane_policy::Policy;
use careplane_policy::document::ProxyLog;

use crate::chain::Entry;
use crate::record::Kind;

/// The filter state that holds the record when Envoy's access loggers run:
/// `%FILTER_STATE(wasm.careplane.audit:PLAIN)%`.
pub const FILTER_STATE: &str = "careplane.audit";
/// The same, for a policy that is in shadow: another plugin beside it may enforce one, and filter state holds one
/// record.
pub const SHADOW_FILTER_STATE: &str = "careplane.shadow";

/// Hands the record of a request to every sink of the policy. What none of them took goes to the proxy's log, whole.
pub(crate) fn deliver(
    entry: &Entry,
    item: impl FnOnce() -> Item,
    policy: &Policy,
    exporter: Option<&Exporter>,
    host: &dyn Host,
) {
    let sinks = &policy.audit;
    let state = if policy.shadow { SHADOW_FILTER_STATE } else { FILTER_STATE };
    let logged = sinks.access_log && host.set_property(state, entry.text.as_bytes()).is_ok();
    let exporter = exporter.filter(|_| sinks.otlp);
    if let Some(exporter) = exporter {
        // From here on it is the exporter's: acknowledged, or written down.
        exporter.send(Signal::Logs, item(), host);
    }
    let taken = logged || exporter.is_some();
    match (sinks.proxy_log, taken) {
        (ProxyLog::All, true) => {
            let _ = write_to_log(&entry.text, host);
        }
        (ProxyLog::All, false) => {
            if write_to_log(&entry.text, host).is_err() {
                host.count(LOST, 1);
            }
        }
        (ProxyLog::Overflow, false) => overflow(&entry.text, host),
        (ProxyLog::Off, false) => host.count(LOST, 1),
        (ProxyLog::Overflow | ProxyLog::Off, true) => {}
    }
}

/// The record as the collector gets it.
pub(crate) fn item(entry: &Entry, kind: Kind, time: SystemTime, trace: Option<&TraceContext>) -> Item {
    let event = match kind {
        Kind::Request => "careplane.audit.request",
        Kind::Intent => "careplane.audit.intent",
        Kind::Start => "careplane.audit.start",
        Kind::Head => "careplane.audit.head",
        Kind::End => "careplane.audit.end",
    };
    Item::record(&entry.text, event, &entry.id(), time, trace.map(|trace| (&*trace.trace_id, &*trace.span_id)))
}
