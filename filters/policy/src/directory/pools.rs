//! The pools that a policy knows, for the entries of a directory.

use std::sync::Arc;

/// The pools that entries can name under a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownPools(Arc<Known>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    names: Vec<Arc<str>>,
    /// Whether each `dedicated-…` is one: the policy declares none.
    any_dedicated: bool,
}

/// A pool of this name says itself that only pinned tenants are in it, so it need not be declared. Once one is, all
/// have to be.
pub(crate) const DEDICATED: &str = "dedicated-";

// === impl KnownPools ===

impl KnownPools {
    pub(crate) fn new(names: Vec<Arc<str>>, any_dedicated: bool) -> Self {
        Self(Arc::new(Known { names, any_dedicated }))
    }

    /// Their names.
    pub fn names(&self) -> &[Arc<str>] {
        &self.0.names
    }

    /// The pool of this name. Under a policy without pools there is none: it places no tenants.
    ///
    /// A name that the policy does not know is taken as it is: the pools of a policy can change under a directory
    /// that was taken before, and a pinned tenant is never sent to other tenants' pools.
    pub(crate) fn pool(&self, name: &str) -> Option<Arc<str>> {
        if self.0.names.is_empty() {
            return None;
        }
        Some(self.0.names.iter().find(|known| &***known == name).cloned().unwrap_or_else(|| name.into()))
    }

    /// Whether entries of a policy can name this pool.
    pub(crate) fn has(&self, name: &str) -> bool {
        let known = self.0.names.iter().any(|known| &**known == name);
        known || (self.0.any_dedicated && name.starts_with(DEDICATED) && self.check(name).is_ok())
    }

    /// Whether entries can name this pool; or what is expected.
    pub(super) fn check(&self, name: &str) -> Result<(), &'static str> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=63).contains(&name.len()) || !name.bytes().all(plain) || name.starts_with('-') || name.ends_with('-') {
            return Err("the name of a pool: 1 to 63 of [a-z0-9-], a letter or digit first and last");
        }
        let known = self.0.names.is_empty()
            || self.0.names.iter().any(|known| &**known == name)
            || (self.0.any_dedicated && name.starts_with(DEDICATED));
        if known { Ok(()) } else { Err("a pool of the policy") }
    }
}
