//! Where a policy wants its records and spans.

use careplane_exchange::{Host, HttpCall};
use careplane_policy::Export;

use crate::encode::{Item, Resource};
use crate::overflow::{overflow, write_to_log};
use crate::signal::Signal;
use crate::{LOST, SPANS_DROPPED};

/// A collector, and who sends to it.
#[derive(Debug)]
pub struct ExportTarget {
    /// Section `export` of the policy.
    pub export: Export,
    /// Who sends.
    pub resource: Resource,
    /// Whether what the collector does not take goes to the proxy's log: not under `proxyLog: off`.
    pub overflow_in_proxy_log: bool,
}

impl ExportTarget {
    /// Ends the way of an item that the collector will not get: a record overflows to the proxy's log, if the policy
    /// lets it; a span is not evidence, and is counted.
    pub(crate) fn give_up(&self, signal: Signal, item: &Item, host: &dyn Host) {
        match (signal, item.text()) {
            (Signal::Logs, Some(record)) if self.overflow_in_proxy_log => overflow(record, host),
            (Signal::Logs, Some(_)) => host.count(LOST, 1),
            _ => host.count(SPANS_DROPPED, 1),
        }
    }

    /// Keeps a copy of a record that the collector may have rejected, and that counts as rejected.
    pub(crate) fn keep_copy(&self, record: &str, host: &dyn Host) {
        if self.overflow_in_proxy_log {
            let _ = write_to_log(record, host);
        }
    }

    /// The request that brings `body` to it.
    pub(crate) fn call<'c>(&'c self, signal: Signal, body: &'c [u8]) -> HttpCall<'c> {
        let Export { cluster, authority, timeout, .. } = &self.export;
        HttpCall {
            cluster,
            authority,
            method: "POST",
            path: signal.path(),
            headers: &[("content-type", "application/x-protobuf")],
            body,
            timeout: *timeout,
        }
    }
}
