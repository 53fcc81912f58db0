//! Header names as applications fold them.
//!
//! CGI (RFC 3875 §4.1.18), WSGI and PHP hand headers to an application as variables: `x-tenant-id`, `x_tenant_id` and
//! `X.Tenant.Id` are all `HTTP_X_TENANT_ID` there. Older Apache servers fold every character that is not a letter or a
//! digit. So names are compared like that here: letters without case, all punctuation alike.

use std::sync::Arc;

/// Headers that are looked for under every name that an application may take for theirs.
#[derive(Debug, Clone, Default)]
pub struct WatchedHeaders {
    headers: Vec<(Arc<str>, Watched)>,
    /// One bit for each length that a name has, and one for each last letter: most headers are passed over by these
    /// alone.
    lengths: u64,
    last_letters: u64,
}

/// Why a header is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// careplane writes it, or believes it: it says who a request is from, what it is about, or where it goes.
    Protected,
    /// careplane writes it, but it says nothing about anyone: the caller's is believed, under no other spelling.
    Spelling,
    /// It changes the method or the URL for the application.
    Override,
}

// === impl WatchedHeaders ===

impl WatchedHeaders {
    pub(crate) fn new(headers: impl IntoIterator<Item = (Arc<str>, Watched)>) -> Self {
        let headers: Vec<_> = headers.into_iter().collect();
        let bits = |bit: fn(&[u8]) -> u64| headers.iter().fold(0, |bits, (name, _)| bits | bit(name.as_bytes()));
        Self { lengths: bits(length_bit), last_letters: bits(watched_letter_bit), headers }
    }

    /// The header that `sent` is taken for.
    #[inline]
    pub fn find(&self, sent: &[u8]) -> Option<(&Arc<str>, Watched)> {
        if self.lengths & length_bit(sent) == 0 || self.last_letters & letter_bit(sent) == 0 {
            return None;
        }
        let found = self.headers.iter().find(|(name, _)| name.len() == sent.len() && is_same(name.as_bytes(), sent));
        found.map(|(name, watched)| (name, *watched))
    }
}

fn length_bit(name: &[u8]) -> u64 {
    1_u64.wrapping_shl(u32::try_from(name.len()).unwrap_or_default())
}

/// A watched name that ends in punctuation is found by its length alone: all punctuation is one.
fn watched_letter_bit(name: &[u8]) -> u64 {
    if name.last().is_some_and(u8::is_ascii_alphanumeric) { letter_bit(name) } else { u64::MAX }
}

/// A letter has one bit in either case.
fn letter_bit(name: &[u8]) -> u64 {
    1_u64.wrapping_shl(u32::from(name.last().copied().unwrap_or_default() & 0x1f))
}

/// Whether two header names are one to an application that folds them.
#[inline(never)]
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    let fold = |byte: &u8| match byte {
        letter if letter.is_ascii_alphanumeric() => letter.to_ascii_lowercase(),
        punctuation if punctuation.is_ascii() => b'-',
        other => *other,
    };
    // Nearly always the very same, or of another length.
    one == other || one.len() == other.len() && one.iter().map(fold).eq(other.iter().map(fold))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn every_spelling_that_an_application_folds_is_found() {
        let long = "x".repeat(70);
        let names = WatchedHeaders::new([
            ("x-tenant-id".into(), Watched::Protected),
            (long.as_str().into(), Watched::Override),
        ]);
        for sent in ["x-tenant-id", "x_tenant_id", "X-Tenant_ID", "x.tenant.id", "x-tenant~id"] {
            assert_eq!(
                names.find(sent.as_bytes()).map(|(name, watched)| (&**name, watched)),
                Some(("x-tenant-id", Watched::Protected)),
                "{sent}"
            );
        }
        for sent in ["x-tenant", "x-tenant-idx", "x-tenantid", "xxtenantxid", "", "x-tenant-1d"] {
            assert_eq!(names.find(sent.as_bytes()), None, "{sent}");
        }
        let ends = WatchedHeaders::new([("x-tenant-".into(), Watched::Protected)]);
        assert!(["x-tenant-", "x_tenant_", "x.tenant."].iter().all(|sent| ends.find(sent.as_bytes()).is_some()));
        assert!(names.find(long.as_bytes()).is_some_and(|(_, watched)| watched == Watched::Override));
    }
}
