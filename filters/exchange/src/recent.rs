//! Pseudonyms that were made lately: of users, and of the subject of care that each asked for last.

use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh64::xxh64;

/// Users that a table remembers, at most. A worker has fewer at work within minutes, and all of them take less than 100
/// kB.
const SLOTS: u64 = 256;
/// The longest id of a subject that is remembered, in bytes: a path can have any.
const SUBJECT_MAX: usize = 128;

/// A pseudonym, and what it was made for.
#[derive(Clone)]
struct Known {
    user: Arc<str>,
    /// None: it is the user's own.
    subject: Option<Arc<str>>,
    pseudonym: Arc<str>,
}

/// A table with one place for each remainder of a user's hash: a user takes the place of another one.
///
/// By user, because the time of an answer tells a caller whether the pseudonym was remembered. It was made in the
/// caller's own requests, so that says nothing about other users.
#[derive(Default)]
pub(crate) struct Recent(Mutex<Vec<Option<Known>>>);

// === impl Recent ===

impl Recent {
    /// The pseudonym of the subject that a user asks for, or of the user: the one that is known, or else what `make`
    /// returns.
    pub(crate) fn get_or_make(
        &self,
        user: &Arc<str>,
        subject: Option<&str>,
        make: impl FnOnce() -> String,
    ) -> Arc<str> {
        let slot =
            usize::try_from(xxh64(user.as_bytes(), 0).checked_rem(SLOTS).unwrap_or_default()).unwrap_or_default();
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Some(known)) = slots.get(slot)
            && known.subject.as_deref() == subject
            && *known.user == **user
        {
            return Arc::clone(&known.pseudonym);
        }
        let pseudonym: Arc<str> = make().into();
        if slots.is_empty() {
            slots.resize(usize::try_from(SLOTS).unwrap_or_default(), None);
        }
        if let Some(known) = slots.get_mut(slot)
            && subject.is_none_or(|subject| subject.len() <= SUBJECT_MAX)
        {
            let (user, pseudonym) = (Arc::clone(user), Arc::clone(&pseudonym));
            *known = Some(Known { user, subject: subject.map(Into::into), pseudonym });
        }
        pseudonym
    }
}

/// Another key has other pseudonyms, and the same key makes them again.
impl Clone for Recent {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Whom it knows is not for logs.
impl std::fmt::Debug for Recent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recent")
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn each_user_has_the_own_pseudonym_however_many_there_are() {
        let recent = Recent::default();
        for round in 0..3 {
            for number in 0..2 * SLOTS {
                let user: Arc<str> = format!("user-{number}").into();
                let pseudonym = recent.get_or_make(&user, None, || format!("p-{number}"));
                assert_eq!(*pseudonym, format!("p-{number}"), "round {round}");
            }
        }
        assert_eq!(recent.0.lock().unwrap().len(), 256);
    }

    #[test]
    fn whom_a_user_asked_for_last_is_not_computed_again() {
        let recent = Recent::default();
        let user: Arc<str> = "nurse-7".into();
        recent.get_or_make(&user, Some("resident-1"), || "p-1".into());
        let again: Arc<str> = "nurse-7".into();
        assert_eq!(*recent.get_or_make(&again, Some("resident-1"), || panic!("computed again")), *"p-1");
        assert_eq!(*recent.get_or_make(&user, Some("resident-2"), || "p-2".into()), *"p-2", "another subject");
        assert_eq!(
            *recent.clone().get_or_make(&user, Some("resident-2"), || "p-3".into()),
            *"p-3",
            "a clone begins anew"
        );
    }

    #[test]
    fn a_subject_with_a_long_id_is_not_kept() {
        let recent = Recent::default();
        let (user, subject) = ("nurse-7".into(), "r".repeat(SUBJECT_MAX + 1));
        recent.get_or_make(&user, Some(&subject), || "p-1".into());
        assert!(recent.0.lock().unwrap().iter().all(Option::is_none));
        assert_eq!(*recent.get_or_make(&user, Some(&subject), || "p-1".into()), *"p-1");
    }

    #[test]
    fn whom_one_user_asked_for_shows_no_other_user() {
        let recent = Recent::default();
        for number in 0..2 * SLOTS {
            let mut is_computed = false;
            let user: Arc<str> = format!("user-{number}").into();
            recent.get_or_make(&user, Some("resident-1"), || {
                is_computed = true;
                "p-1".into()
            });
            assert!(is_computed, "{user}");
        }
    }
}
