//! A secret of the proxy, and what is made with it: HMAC-SHA-256 (RFC 2104).

use careplane_sha256::HmacSha256;

/// The shortest key, in bytes: 128 bits. A shorter one could be guessed.
pub const KEY_MIN: usize = 16;
/// Bytes of the key id.
const ID: usize = 4;

/// A key that is long enough.
#[derive(Clone)]
pub struct Key {
    /// After it has taken the key in.
    keyed: HmacSha256,
    id: String,
}

impl Key {
    /// `None` when the key is shorter than [`KEY_MIN`].
    pub fn new(key: &[u8]) -> Option<Self> {
        if key.len() < KEY_MIN {
            return None;
        }
        Some(Self::keyed(HmacSha256::new(key)))
    }

    /// A key whose length is right by its type: a random one.
    pub fn from_bytes(key: [u8; 32]) -> Self {
        Self::keyed(HmacSha256::new(&key))
    }

    fn keyed(keyed: HmacSha256) -> Self {
        let mut key = Self { keyed, id: String::new() };
        key.id = letters(&key.mac(&[b"key", &[0]]), ID);
        key
    }

    /// The id: eight letters, made with the key itself, so that rotated keys can be told apart without being known.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The MAC of `parts`, one after the other.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.keyed.mac(parts)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// The first `count` bytes as letters of `a`…`p`, one for each four bits.
pub(crate) fn letters(bytes: &[u8], count: usize) -> String {
    let letter = |nibble: u8| b'a'.wrapping_add(nibble);
    let mut text = vec![0; count.min(bytes.len()).saturating_mul(2)];
    for (pair, byte) in text.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = [letter(byte >> 4), letter(byte & 0x0f)];
    }
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn short_keys_are_refused() {
        assert!(Key::new(b"fifteen bytes..").is_none());
        assert!(Key::new(b"sixteen bytes ..").is_some());
    }

    #[test]
    fn a_key_of_full_length_is_the_same_either_way() {
        assert_eq!(Key::from_bytes([7; 32]).id(), Key::new(&[7; 32]).unwrap().id());
        assert_ne!(Key::from_bytes([7; 32]).id(), Key::from_bytes([8; 32]).id());
    }

    #[test]
    fn the_mac_is_that_of_rfc_4231() {
        // Test case 2 has a shorter key than is allowed here; this is test case 1.
        let mac = Key::new(&[0x0b; 20]).unwrap().mac(&[b"Hi ", b"There"]);
        assert_eq!(letters(&mac, 4), "ladeemgb");
    }
}
