//! Where a policy wants its records and spans.

use careplane_exchange::HttpCall;
use careplane_policy::Export;

use crate::encode::Resource;
use crate::signal::Signal;

/// A collector, and who sends to it.
#[derive(Debug)]
pub struct ExportTarget {
    /// Section `export` of the policy.
    pub export: Export,
    /// Who sends.
    pub resource: Resource,
}

impl ExportTarget {
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
