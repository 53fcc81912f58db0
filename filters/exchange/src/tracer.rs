//! What requests have shown of the proxy's tracer.
//!
//! Whether a span is exported follows from `x-request-id` and the parent, unless the tracer has a sampler of its own,
//! or the connection manager does not sample by request id, or does not write into it. No attribute tells. But the
//! upstream is told of each forwarded request whether its span is kept, so what was expected can be compared. Where it
//! has been wrong, requests that are not forwarded are not guessed about.

use std::sync::atomic::{AtomicU8, Ordering};

/// Expectations that turned out wrong, a bit for each kind of request; and what requests went upstream with that came
/// without B3.
#[derive(Debug, Default)]
pub struct Tracer(AtomicU8);

const WROTE_B3: u8 = 1 << 4;
const WROTE_NO_B3: u8 = 1 << 5;

// === impl Tracer ===

impl Tracer {
    /// Compares what became of a forwarded request with what was expected of it.
    pub(crate) fn observe(&self, has_parent: bool, expected: bool, kept: bool) {
        if expected != kept {
            self.0.fetch_or(bit(has_parent, expected), Ordering::Relaxed);
        }
    }

    /// Notes whether a request that came without B3 went upstream with it.
    pub(crate) fn observe_b3(&self, wrote: bool) {
        self.0.fetch_or(if wrote { WROTE_B3 } else { WROTE_NO_B3 }, Ordering::Relaxed);
    }

    /// Whether B3 that a caller has sent is the tracer's own in the end: Zipkin can keep the caller's ids, other
    /// tracers do not look at them. None where plugins of listeners with different tracers share this.
    pub(crate) fn owns_b3(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) & (WROTE_B3 | WROTE_NO_B3) {
            WROTE_NO_B3 => Some(false),
            0 | WROTE_B3 => Some(true),
            _ => None,
        }
    }

    /// Whether the tracer keeps a request of which that is expected; none where it has been otherwise.
    pub(crate) fn keeps(&self, has_parent: bool, expected: bool) -> Option<bool> {
        (self.0.load(Ordering::Relaxed) & bit(has_parent, expected) == 0).then_some(expected)
    }
}

/// What is known stays known under a policy that is cloned.
impl Clone for Tracer {
    fn clone(&self) -> Self {
        Self(AtomicU8::new(self.0.load(Ordering::Relaxed)))
    }
}

fn bit(has_parent: bool, expected: bool) -> u8 {
    1 << (u8::from(has_parent) | (u8::from(expected) << 1))
}
