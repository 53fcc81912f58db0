//! The pseudonyms of users who were seen lately.

use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh64::xxh64;

/// Users that are remembered, at most. A worker has fewer at work within minutes, and all of them take less than 100
/// kB.
const SLOTS: u64 = 256;

/// A user and the pseudonym.
type Known = (Arc<str>, Arc<str>);

/// A table with one place for each remainder of a user's hash: a user takes the place of another one.
///
/// For users only: how long an answer takes tells a caller whether a name was seen lately. Of themselves they know
/// that; of a subject of care it would say that someone else reads the record.
#[derive(Default)]
pub(crate) struct RecentUsers(Mutex<Vec<Option<Known>>>);

// === impl RecentUsers ===

impl RecentUsers {
    /// The pseudonym of a user: the one that is known, or else what `make` returns.
    pub(crate) fn get_or_make(&self, user: &Arc<str>, make: impl FnOnce() -> String) -> Arc<str> {
        let slot =
            usize::try_from(xxh64(user.as_bytes(), 0).checked_rem(SLOTS).unwrap_or_default()).unwrap_or_default();
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Some((known, pseudonym))) = slots.get(slot)
            && **known == **user
        {
            return Arc::clone(pseudonym);
        }
        let pseudonym: Arc<str> = make().into();
        if slots.is_empty() {
            slots.resize(usize::try_from(SLOTS).unwrap_or_default(), None);
        }
        if let Some(known) = slots.get_mut(slot) {
            *known = Some((Arc::clone(user), Arc::clone(&pseudonym)));
        }
        pseudonym
    }
}

/// Another key has other pseudonyms, and the same key makes them again.
impl Clone for RecentUsers {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Whom it knows is not for logs.
impl std::fmt::Debug for RecentUsers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecentUsers")
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn each_user_has_the_own_pseudonym_however_many_there_are() {
        let recent = RecentUsers::default();
        for round in 0..3 {
            for number in 0..2 * SLOTS {
                let user: Arc<str> = format!("user-{number}").into();
                let pseudonym = recent.get_or_make(&user, || format!("p-{number}"));
                assert_eq!(*pseudonym, format!("p-{number}"), "round {round}");
            }
        }
        assert_eq!(recent.0.lock().unwrap().len(), 256);
    }

    #[test]
    fn a_user_who_was_seen_lately_is_not_computed_again() {
        let recent = RecentUsers::default();
        let user: Arc<str> = "nurse-7".into();
        recent.get_or_make(&user, || "p-7".into());
        let again: Arc<str> = "nurse-7".into();
        assert_eq!(*recent.get_or_make(&again, || panic!("computed again")), *"p-7");
        assert_eq!(*recent.clone().get_or_make(&user, || "p-8".into()), *"p-8", "a clone begins anew");
    }
}
