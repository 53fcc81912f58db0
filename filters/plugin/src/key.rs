//! The pseudonym key: from the environment of the VM, or an ephemeral one.

use std::cell::OnceCell;

use careplane_exchange::{Host, HostError, KEY_MIN, Pseudonyms};

use crate::host::EnvoyHost;

/// 1 while pseudonyms are made with a key that nobody else has.
const EPHEMERAL: &str = "careplane.pseudonym_key_ephemeral";

thread_local! {
    /// One for the VM, so that the plugins in it agree at least with each other.
    static EPHEMERAL_KEY: OnceCell<[u8; 32]> = const { OnceCell::new() };
}

/// The pseudonyms under the key in the environment variable `name`.
///
/// Without one (or with one too short to protect anything) an ephemeral key serves: no person can be found out, but nobody is
/// the same person to two workers or after a restart. That is said, not hidden.
///
/// # Errors
/// When there is no key and no random number either.
pub(crate) fn pseudonyms(name: &str) -> Result<Pseudonyms, HostError> {
    let key = std::env::var(name).ok();
    let from_environment = key.as_deref().and_then(|key| Pseudonyms::new(key.as_bytes()));
    EnvoyHost.gauge(EPHEMERAL, from_environment.is_none().into());
    if let Some(pseudonyms) = from_environment {
        return Ok(pseudonyms);
    }
    let why = match key {
        None => format!("{name} is not set in vmConfig.env"),
        Some(key) => format!("{name} has {} bytes, fewer than {KEY_MIN}", key.len()),
    };
    log::warn!(
        "careplane: {why}: pseudonyms are made with an ephemeral key and cannot be linked between proxies or after a restart"
    );
    let mut fresh = [0; 32];
    EnvoyHost.random(&mut fresh)?;
    Ok(Pseudonyms::from_key(EPHEMERAL_KEY.with(|key| *key.get_or_init(|| fresh))))
}
