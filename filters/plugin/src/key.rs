//! The keys of this proxy: from the environment of the VM.

use std::cell::OnceCell;

use careplane_exchange::{Host, HostError, KEY_MIN, Key, Pseudonyms};

use crate::host::EnvoyHost;
use crate::state::States;

/// Counts the plugins whose pseudonyms are made with a key that no other proxy has.
const EPHEMERAL: &str = "careplane.pseudonym_key_ephemeral";
/// Counts the plugins whose policy wants a keyed chain while there is no key.
const CHAIN_KEY_MISSING: &str = "careplane.audit.chain_key_missing";

thread_local! {
    /// One for the VM, so that the plugins in it agree at least with each other.
    static EPHEMERAL_KEY: OnceCell<[u8; 32]> = const { OnceCell::new() };
}

/// The pseudonyms under the key in the environment variable `name`.
///
/// Without one (or with one too short to protect anything) an ephemeral key serves: no person can be found out, but a
/// person is another one to each worker and after a restart. That is said, not hidden.
///
/// # Errors
/// When there is no key and no random number either.
#[inline(never)]
pub(crate) fn pseudonyms(name: &str, states: &mut States) -> Result<Pseudonyms, HostError> {
    let found = from_environment(name);
    states.note(EPHEMERAL, found.is_err());
    let key = match found {
        Ok(key) => key,
        Err(why) => {
            log::warn!(
                "careplane: {why}: pseudonyms are made with an ephemeral key and cannot be linked between proxies or \
                 after a restart"
            );
            let mut fresh = [0; 32];
            EnvoyHost.random(&mut fresh)?;
            Key::from_bytes(EPHEMERAL_KEY.with(|key| *key.get_or_init(|| fresh)))
        }
    };
    Ok(Pseudonyms::new(key))
}

/// The key of the chain in the environment variable `name`.
///
/// Without one the chain is not keyed: records go on, and each says that its hash proves less.
pub(crate) fn chain(name: &str, states: &mut States) -> Option<Key> {
    let found = from_environment(name);
    states.note(CHAIN_KEY_MISSING, found.is_err());
    found.inspect_err(|why| log::warn!("careplane: {why}: the hashes of audit records are not keyed")).ok()
}

/// The key, or why there is none.
fn from_environment(name: &str) -> Result<Key, String> {
    let Ok(key) = std::env::var(name) else { return Err(format!("{name} is not set in vmConfig.env")) };
    Key::new(key.as_bytes()).ok_or_else(|| format!("{name} has {} bytes, fewer than {KEY_MIN}", key.len()))
}
