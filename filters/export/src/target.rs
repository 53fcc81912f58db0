//! Where a policy wants its records and spans.

use careplane_exchange::{Host, HttpCall};
use careplane_policy::Export;

use crate::LOST;
use crate::encode::Resource;
use crate::overflow::{overflow, write_to_log};
use crate::signal::Signal;

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
    /// Ends the way of a record that the collector will not get.
    pub(crate) fn give_up(&self, record: &str, host: &dyn Host) {
        match self.overflow_in_proxy_log {
            true => overflow(record, host),
            false => host.count(LOST, 1),
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
