//! Where records go. The collector (`audit.sinks.otlp`) will be one more here.

use careplane_exchange::Host;
use careplane_policy::Audit;
use careplane_policy::document::ProxyLog;

use crate::{LOST, SPILLED};

/// The filter state that holds the record when Envoy's access loggers run: `%FILTER_STATE(wasm.careplane.audit:PLAIN)%`.
pub const FILTER_STATE: &str = "careplane.audit";
/// What each record in the proxy's log follows, so that it can be found there.
pub const SPILL_PREFIX: &str = "careplane-audit-record ";

/// Hands a record to every sink of the policy. What none of them took goes to the proxy's log, whole.
pub(crate) fn deliver(record: &str, sinks: &Audit, host: &dyn Host) {
    let taken = sinks.access_log && host.set_property(FILTER_STATE, record.as_bytes()).is_ok();
    match (sinks.proxy_log, taken) {
        (ProxyLog::All, _) => to_proxy_log(record),
        (ProxyLog::Overflow, false) => {
            to_proxy_log(record);
            host.count(SPILLED, 1);
        }
        (ProxyLog::Off, false) => host.count(LOST, 1),
        (ProxyLog::Overflow | ProxyLog::Off, true) => {}
    }
}

/// As a warning: the level that Istio's proxies log at unless told otherwise.
fn to_proxy_log(record: &str) {
    log::warn!("{SPILL_PREFIX}{record}");
}
