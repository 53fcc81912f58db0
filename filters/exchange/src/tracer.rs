//! What requests have shown of the proxy's tracer.
//!
//! Whether a span is exported follows from `x-request-id` and the parent, unless the tracer has a sampler of its own, or the connection manager
//! does not sample by request id, or does not write into it. No attribute tells. But the upstream is told of each forwarded request
//! whether its span is kept, so what was expected can be compared. Where it has been wrong, requests that are not forwarded are not
//! guessed about.

use std::sync::atomic::{AtomicU8, Ordering};

/// Expectations that turned out wrong, a bit for each kind of request.
#[derive(Debug, Default)]
pub struct Tracer(AtomicU8);

// === impl Tracer ===

impl Tracer {
    /// Compares what became of a forwarded request with what was expected of it.
    pub(crate) fn observe(&self, has_parent: bool, expected: bool, kept: bool) {
        if expected != kept {
            self.0.fetch_or(bit(has_parent, expected), Ordering::Relaxed);
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
