//! Writes that wait for the end of the request phase.

use std::cell::Cell;

/// A list that filters add to through a shared reference. Taking the list out and putting it back cannot fail, as
/// borrowing a `RefCell` can.
pub(crate) struct Writes<T>(Cell<Vec<T>>);

// === impl Writes ===

impl<T> Writes<T> {
    pub(crate) fn push(&self, write: T) {
        self.push_unless(write, |_| false);
    }

    /// Adds a write, unless `is_same` finds one that makes it superfluous.
    pub(crate) fn push_unless(&self, write: T, is_same: impl Fn(&T) -> bool) {
        let mut writes = self.0.take();
        if !writes.iter().any(is_same) {
            writes.push(write);
        }
        self.0.set(writes);
    }

    pub(crate) fn take(&self) -> Vec<T> {
        self.0.take()
    }
}

impl<T> Default for Writes<T> {
    fn default() -> Self {
        Self(Cell::default())
    }
}

impl<T> std::fmt::Debug for Writes<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writes")
    }
}
