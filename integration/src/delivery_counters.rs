//! The proxy's counters of the records that it made.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{Envoy, poll::until};

/// A batch is retried for a minute before it overflows.
const SETTLED: Duration = Duration::from_secs(90);

/// The metrics of delivery, summed over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounters {
    /// Records made.
    pub recorded: u64,
    /// Those that the collector took.
    pub acknowledged: u64,
    /// Those that are in the proxy's log, as overflow.
    pub overflow: u64,
    /// Those that the collector rejected.
    pub rejected: u64,
    /// Those that wait, or are being sent.
    pub queued: u64,
}

impl DeliveryCounters {
    /// Reads the counters now.
    ///
    /// # Errors
    ///
    /// When the admin interface does not answer.
    pub async fn read(envoy: &Envoy) -> Result<Self> {
        let stats = envoy.stats("wasmcustom.careplane.audit.").await?;
        let of = |name: &str| stats.get(&format!("wasmcustom.careplane.audit.{name}")).copied().unwrap_or_default();
        Ok(Self {
            recorded: of("records"),
            acknowledged: of("acknowledged"),
            overflow: of("overflow"),
            rejected: of("rejected"),
            queued: of("queued"),
        })
    }

    /// Waits until the queue is empty and nothing moves, and reads the counters.
    ///
    /// A reading of several metrics is not of one moment: a batch that is acknowledged meanwhile can be missing from
    /// both its counter and the queue's gauge. So a reading counts when the one before it was the same.
    ///
    /// # Errors
    ///
    /// When something still waits after a minute and a half.
    pub async fn settled(envoy: &Envoy) -> Result<Self> {
        let mut before = Self::default();
        until("an empty queue", SETTLED, async || {
            let counters = Self::read(envoy).await?;
            let still = counters == std::mem::replace(&mut before, counters);
            Ok((still && counters.recorded > 0 && counters.queued == 0).then_some(counters))
        })
        .await
    }

    /// Checks that every record is counted in one place.
    ///
    /// # Errors
    ///
    /// When the sum differs from the number of records.
    pub fn balanced(self) -> Result<()> {
        let sum = self.acknowledged + self.overflow + self.rejected + self.queued;
        ensure!(self.recorded == sum, "the counters do not add up: {self:?}");
        Ok(())
    }
}
