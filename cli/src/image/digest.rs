//! The digest by which a registry, a layout and a manifest know a blob.

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// `sha256:` and 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(bytes)))
}

/// Whether it is a digest that [`sha256`] could have returned. What is not would be a path out of a layout.
pub fn is_sha256(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')))
}
