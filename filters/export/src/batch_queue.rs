//! One policy's items of one signal, in order, one request at a time.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use careplane_exchange::{Host, HttpAnswer};

use crate::answer::ExportResult;
use crate::encode::Item;
use crate::signal::Signal;
use crate::target::ExportTarget;
use crate::{FAILED, RETRIED};

/// Of one request: collectors refuse larger bodies, and Envoy holds one in its buffers while it is sent.
const BATCH_BYTES: usize = 1024 * 1024;
/// The first pause before a request is sent again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// No pause is longer, unless the collector asks for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a batch is tried before it overflows.
const PATIENCE: Duration = Duration::from_secs(60);
/// The proxy's own timeout comes first; when not even that comes, the root that called is gone.
const OVERDUE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct BatchQueue {
    target: Rc<ExportTarget>,
    signal: Signal,
    waiting: VecDeque<(Item, Duration)>,
    /// Bytes of what waits and of the batch.
    held: usize,
    batch: Option<Batch>,
}

/// What is being sent, until it is acknowledged or given up.
#[derive(Debug)]
struct Batch {
    items: Vec<Item>,
    state: State,
    attempts: u32,
    /// When it was sent first. Times are [`Host::elapsed`]: the wall clock can jump.
    since: Duration,
}

#[derive(Debug)]
enum State {
    Sent { call: u32, until: Duration },
    Pausing { until: Duration },
}

// === impl BatchQueue ===

impl BatchQueue {
    pub(crate) fn new(target: Rc<ExportTarget>, signal: Signal) -> Self {
        Self { target, signal, waiting: VecDeque::new(), held: 0, batch: None }
    }

    pub(crate) fn is_for(&self, target: &Rc<ExportTarget>, signal: Signal) -> bool {
        Rc::ptr_eq(&self.target, target) && self.signal == signal
    }

    pub(crate) fn held(&self) -> usize {
        self.held
    }

    pub(crate) fn push(&mut self, item: Item, now: Duration, host: &dyn Host) {
        self.held = self.held.saturating_add(item.size());
        self.signal.queued(1, host);
        self.waiting.push_back((item, now));
        if self.batch.is_none() && self.is_full() {
            self.fill(now);
            self.send(now, host);
        }
    }

    /// Nothing left, and no plugin that could bring more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.batch.is_none() && self.waiting.is_empty() && Rc::strong_count(&self.target) == 1
    }

    pub(crate) fn has_sent(&self, sent: u32) -> bool {
        matches!(&self.batch, Some(Batch { state: State::Sent { call, .. }, .. }) if *call == sent)
    }

    pub(crate) fn work(&mut self, now: Duration, host: &dyn Host) {
        match &self.batch {
            Some(Batch { state: State::Sent { until, .. }, .. }) if *until <= now => {
                self.answered(&HttpAnswer::default(), now, host);
            }
            Some(Batch { state: State::Pausing { until }, .. }) if *until <= now => self.send(now, host),
            Some(_) => {}
            None if self.is_full() || self.is_old(now) => {
                self.fill(now);
                self.send(now, host);
            }
            None => {}
        }
    }

    pub(crate) fn answered(&mut self, answer: &HttpAnswer, now: Duration, host: &dyn Host) {
        let Some(mut batch) = self.batch.take() else { return };
        match ExportResult::of(answer) {
            ExportResult::Accepted { rejected } => {
                let count = u64::try_from(batch.items.len()).unwrap_or(u64::MAX);
                let rejected = rejected.min(count);
                host.count(self.signal.acknowledged(), count.saturating_sub(rejected));
                if rejected > 0 {
                    // Which ones, the collector does not say. It must not get them again, so the log gets all.
                    host.count(self.signal.rejected(), rejected);
                    for record in batch.items.iter().filter_map(Item::text) {
                        self.target.keep_copy(record, host);
                    }
                }
                self.release(&batch.items, host);
                // What came meanwhile need not wait for the next tick.
                if self.is_full() {
                    self.fill(now);
                    self.send(now, host);
                }
            }
            ExportResult::Retryable { not_before } if now < batch.since.saturating_add(PATIENCE) => {
                host.count(FAILED, 1);
                let until = now.saturating_add(not_before.max(pause(batch.attempts, host)));
                batch.state = State::Pausing { until };
                self.batch = Some(batch);
            }
            ExportResult::Retryable { .. } | ExportResult::Rejected => {
                host.count(FAILED, 1);
                self.release(&batch.items, host);
                batch.items.iter().for_each(|item| self.target.give_up(self.signal, item, host));
            }
        }
    }

    pub(crate) fn close(mut self, host: &dyn Host) {
        let sent = self.batch.take().map(|batch| batch.items).unwrap_or_default();
        let waiting: Vec<Item> = self.waiting.drain(..).map(|(item, _)| item).collect();
        for items in [sent, waiting] {
            self.release(&items, host);
            items.iter().for_each(|item| self.target.give_up(self.signal, item, host));
        }
    }

    fn is_full(&self) -> bool {
        u64::try_from(self.waiting.len()).unwrap_or(u64::MAX) >= self.target.export.batch_records
    }

    fn is_old(&self, now: Duration) -> bool {
        let age = |(_, since): &(Item, Duration)| now.saturating_sub(*since);
        self.waiting.front().is_some_and(|oldest| age(oldest) >= self.target.export.batch_interval)
    }

    /// Makes a batch of the oldest items.
    fn fill(&mut self, now: Duration) {
        let most = usize::try_from(self.target.export.batch_records).unwrap_or(usize::MAX);
        let mut items = Vec::new();
        let mut bytes = 0usize;
        while let Some((next, _)) = self.waiting.front() {
            bytes = bytes.saturating_add(next.size());
            if !items.is_empty() && (items.len() >= most || bytes > BATCH_BYTES) {
                break;
            }
            items.extend(self.waiting.pop_front().map(|(item, _)| item));
        }
        if !items.is_empty() {
            self.batch = Some(Batch { items, state: State::Pausing { until: now }, attempts: 0, since: now });
        }
    }

    fn send(&mut self, now: Duration, host: &dyn Host) {
        let Some(batch) = &mut self.batch else { return };
        let body = self.target.resource.request(&batch.items);
        if batch.attempts > 0 {
            host.count(RETRIED, 1);
        }
        batch.attempts = batch.attempts.saturating_add(1);
        match host.http_call(&self.target.call(self.signal, &body)) {
            Ok(call) => {
                let patience = self.target.export.timeout.saturating_add(OVERDUE);
                batch.state = State::Sent { call, until: now.saturating_add(patience) };
            }
            // There is no such cluster, now; there can be one later.
            Err(_) => self.answered(&HttpAnswer::default(), now, host),
        }
    }

    fn release(&mut self, items: &[Item], host: &dyn Host) {
        let bytes = items.iter().fold(0usize, |sum, item| sum.saturating_add(item.size()));
        self.held = self.held.saturating_sub(bytes);
        self.signal.queued(i64::try_from(items.len()).unwrap_or(i64::MAX).saturating_neg(), host);
    }
}

/// Exponential, with jitter: half to all of it.
fn pause(attempts: u32, host: &dyn Host) -> Duration {
    let longest =
        FIRST_PAUSE.saturating_mul(2u32.saturating_pow(attempts.saturating_sub(1).min(16))).min(LONGEST_PAUSE);
    let mut random = [0];
    // Without random numbers there is no jitter, and no harm.
    let _ = host.random(&mut random);
    let [random] = random;
    let half = longest.checked_div(2).unwrap_or_default();
    half.saturating_add(half.saturating_mul(random.into()).checked_div(255).unwrap_or_default())
}
