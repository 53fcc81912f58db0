//! Keyed pseudonyms: the same person has the same one everywhere the key is, and nobody without it can go back.

use std::borrow::Cow;
use std::sync::Arc;

use careplane_policy::id::UserId;
use careplane_policy::nhs;

use crate::key::{Key, letters};
use crate::recent::Recent;

/// Bytes of the MAC that a pseudonym shows: 128 bits never collide in practice.
const SHOWN: usize = 16;

/// What a pseudonym stands for. The same text is another pseudonym in another role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Who acts.
    User,
    /// Who is cared for.
    Subject,
}

/// Makes pseudonyms: HMAC-SHA-256 (RFC 2104), key by environment.
///
/// Written `p-<key id>-<mac>`, eight and thirty-two letters of `a`…`p`, one for each four bits: letters alone, so that
/// no pseudonym can be taken for an NHS number.
#[derive(Debug, Clone)]
pub struct Pseudonyms {
    key: Key,
    users: Recent,
    subjects: Recent,
}

// === impl Pseudonyms ===

impl Pseudonyms {
    /// Pseudonyms under `key`.
    pub fn new(key: Key) -> Self {
        Self { key, users: Recent::default(), subjects: Recent::default() }
    }

    /// The id of the key, eight letters.
    pub fn key_id(&self) -> &str {
        self.key.id()
    }

    /// The pseudonym of a user: that of [`Self::of`], which is remembered for users who were seen lately.
    pub fn of_user(&self, user: &UserId) -> Arc<str> {
        self.users.get_or_make(user.text(), None, || self.of(Role::User, user.as_str()))
    }

    /// The pseudonym of a subject of care: that of [`Self::of`], which is remembered for the last one of a user.
    pub fn of_subject(&self, subject: &str, user: Option<&UserId>) -> Arc<str> {
        let make = || self.of(Role::Subject, subject);
        match user {
            Some(user) => self.subjects.get_or_make(user.text(), Some(subject), make),
            None => make().into(),
        }
    }

    /// The pseudonym of a person. An NHS number has one pseudonym in all its spellings.
    pub fn of(&self, role: Role, person: &str) -> String {
        match nhs::find(person.as_bytes()).or_else(|| nhs::find_escaped(person.as_bytes())) {
            Some(found) => self.nhs_number(&found.digits),
            None => self.make(role.as_str(), person),
        }
    }

    /// `text` without NHS numbers: each is replaced by its pseudonym. Where one shows only when escapes are decoded,
    /// all of the text is.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let redacted = nhs::replace(text, |digits| self.nhs_number(digits));
        match nhs::find_escaped(redacted.as_bytes()) {
            Some(found) => Cow::Owned(self.nhs_number(&found.digits)),
            None => redacted,
        }
    }

    /// One pseudonym whatever the role: the number means the same person.
    fn nhs_number(&self, digits: &str) -> String {
        self.make("nhs-number", digits)
    }

    fn make(&self, role: &str, text: &str) -> String {
        // Roles hold no NUL, so no two of (role, text) run together into the same bytes.
        let mac = self.key.mac(&[role.as_bytes(), &[0], text.as_bytes()]);
        ["p-", self.key_id(), "-", &letters(&mac, SHOWN)].concat()
    }
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Subject => "subject",
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn pseudonyms() -> Pseudonyms {
        Pseudonyms::new(Key::new(b"a key of at least sixteen bytes").unwrap())
    }

    #[test]
    fn a_person_is_the_same_and_a_role_is_not() {
        let one = pseudonyms();
        assert_eq!(one.of(Role::User, "ann"), one.of(Role::User, "ann"));
        assert_ne!(one.of(Role::User, "ann"), one.of(Role::Subject, "ann"));
        assert_ne!(one.of(Role::User, "ann"), one.of(Role::User, "bob"));
        let other = Pseudonyms::new(Key::new(b"another key of sixteen bytes").unwrap());
        assert_ne!(one.of(Role::User, "ann"), other.of(Role::User, "ann"));
        assert_ne!(one.key_id(), other.key_id());
    }

    #[test]
    fn an_nhs_number_has_one_pseudonym_in_all_spellings() {
        let one = pseudonyms();
        let expected = one.of(Role::Subject, "9434765919");
        for spelling in ["943 476 5919", "943-476-5919", "nhs:9434765919"] {
            assert_eq!(one.of(Role::User, spelling), expected);
        }
        assert_eq!(one.redact("at 943 476 5919."), format!("at {expected}."));
        let escaped = "%39%34%33%34%37%36%35%39%31%39";
        assert_eq!((one.of(Role::User, escaped), one.redact(escaped).into_owned()), (expected.clone(), expected));
    }

    #[test]
    fn a_pseudonym_has_no_digit() {
        let pseudonym = pseudonyms().of(Role::User, "ann");
        assert_eq!(pseudonym.len(), 2 + 8 + 1 + 32);
        assert!(!pseudonym.bytes().any(|byte| byte.is_ascii_digit()));
    }
}
