//! What the proxy says of the records that it made.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{Envoy, poll::until};

/// A batch is tried for a minute before it is given up.
const SETTLED: Duration = Duration::from_secs(90);

/// The metrics of delivery, summed over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Records made.
    pub recorded: u64,
    /// Those that the collector took.
    pub acknowledged: u64,
    /// Those that are in the proxy's log.
    pub spilled: u64,
    /// Those that the collector said it did not take.
    pub rejected: u64,
    /// Those that wait, or are on their way.
    pub queued: u64,
}

impl Ledger {
    /// As it is now.
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
            spilled: of("spilled"),
            rejected: of("rejected"),
            queued: of("queued"),
        })
    }

    /// Once nothing waits any more.
    ///
    /// # Errors
    ///
    /// When something still does after a minute and a half.
    pub async fn settled(envoy: &Envoy) -> Result<Self> {
        until("an empty queue", SETTLED, async || {
            let ledger = Self::read(envoy).await?;
            Ok((ledger.recorded > 0 && ledger.queued == 0).then_some(ledger))
        })
        .await
    }

    /// Whether every record has one fate.
    ///
    /// # Errors
    ///
    /// When not.
    pub fn balanced(self) -> Result<()> {
        let told = self.acknowledged + self.spilled + self.rejected + self.queued;
        ensure!(self.recorded == told, "the ledger is not exact: {self:?}");
        Ok(())
    }
}
