//! SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104) for the request path.
//!
//! More than half of the instructions of a request are SHA-256. In WebAssembly with SIMD, the compression function here
//! takes an eighth fewer than that of the crate `sha2` (`make profile`), which computes everywhere else. The tests
//! compare both with `sha2` and `hmac`.

#![forbid(unsafe_code)]

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd;

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use simd::compress;

/// The size of a hash, in bytes.
pub const SIZE: usize = 32;
/// The size of a block, in bytes.
const BLOCK: usize = 64;
/// The first 32 bits of the fractional parts of the square roots of the first eight primes (FIPS 180-4 §5.3.3).
const INITIAL: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

type State = [u32; 8];
type Block = [u8; BLOCK];

/// A hash that is being computed. A clone goes on from where it is.
#[derive(Clone)]
pub struct Sha256 {
    state: State,
    /// What has not filled a block yet.
    rest: Block,
    /// How many bytes there were in all.
    length: usize,
}

/// A key that HMAC has taken in: each message costs two blocks less.
#[derive(Clone)]
pub struct HmacSha256 {
    inner: Sha256,
    outer: Sha256,
}

/// The hash of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; SIZE] {
    let mut hash = Sha256::new();
    hash.update(bytes);
    hash.finish()
}

/// Bytes as hex digits in lower case.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    let mut hex = vec![0; bytes.len().saturating_mul(2)];
    for (pair, byte) in hex.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    String::from_utf8(hex).unwrap_or_default()
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
fn compress(state: &mut State, blocks: &[Block]) {
    sha2::block_api::compress256(state, blocks);
}

// === impl Sha256 ===

impl Sha256 {
    /// The hash of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { state: INITIAL, rest: [0; BLOCK], length: 0 }
    }

    /// Takes in what follows.
    #[inline(never)]
    pub fn update(&mut self, mut bytes: &[u8]) {
        let filled = self.length % BLOCK;
        self.length = self.length.wrapping_add(bytes.len());
        if filled > 0 {
            let space = self.rest.get_mut(filled..).unwrap_or_default();
            let (now, later) = bytes.split_at_checked(space.len()).unwrap_or((bytes, &[]));
            let is_full = now.len() == space.len();
            space.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
            bytes = later;
            if !is_full {
                return;
            }
            compress(&mut self.state, &[self.rest]);
        }
        let (blocks, rest) = bytes.as_chunks();
        compress(&mut self.state, blocks);
        self.rest.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    }

    /// The hash.
    #[inline(never)]
    #[must_use]
    pub fn finish(mut self) -> [u8; SIZE] {
        let bits = (self.length as u64).wrapping_mul(8).to_be_bytes();
        let filled = self.length % BLOCK;
        // After the message a single bit, zeros, and at the end of a block how many bits it has (FIPS 180-4 §5.1.1).
        let padding = self.rest.get_mut(filled..).unwrap_or_default();
        padding.fill(0);
        if let Some(first) = padding.first_mut() {
            *first = 0x80;
        }
        let place = BLOCK.wrapping_sub(bits.len());
        if filled >= place {
            compress(&mut self.state, &[self.rest]);
            self.rest = [0; BLOCK];
        }
        self.rest.iter_mut().skip(place).zip(bits).for_each(|(to, from)| *to = from);
        compress(&mut self.state, &[self.rest]);
        let mut hash = [0; SIZE];
        hash.as_chunks_mut().0.iter_mut().zip(self.state).for_each(|(bytes, word)| *bytes = word.to_be_bytes());
        hash
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

// === impl HmacSha256 ===

impl HmacSha256 {
    /// Takes a key in, of any length.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        let hashed;
        let key = if key.len() > BLOCK {
            hashed = digest(key);
            &hashed
        } else {
            key
        };
        let padded = |with: u8| {
            let mut block = [with; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut hash = Sha256::new();
            hash.update(&block);
            hash
        };
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    /// The authentication code of `parts`, one after the other.
    #[must_use]
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; SIZE] {
        let mut inner = self.inner.clone();
        parts.iter().for_each(|part| inner.update(part));
        let mut outer = self.outer.clone();
        outer.update(&inner.finish());
        outer.finish()
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::Digest;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn message(length: usize, random: &mut fastrand::Rng) -> Vec<u8> {
        (0..length).map(|_| random.u8(..)).collect()
    }

    #[test]
    fn the_hash_of_abc_is_that_of_the_standard() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&digest(b"abc")), expected);
    }

    #[test]
    fn each_length_has_the_hash_of_the_crate_sha2() {
        let mut random = fastrand::Rng::with_seed(7);
        for length in (0..300).chain([1_000, 4_096, 70_001]) {
            let message = message(length, &mut random);
            let (first, second) = message.split_at(random.usize(..=length));
            let mut hash = Sha256::new();
            hash.update(first);
            let copy = hash.clone();
            for mut hash in [hash, copy] {
                hash.update(second);
                assert_eq!(hash.finish(), *sha2::Sha256::digest(&message), "{length} bytes, cut at {}", first.len());
            }
        }
    }

    #[test]
    fn each_key_has_the_code_of_the_crate_hmac() {
        let mut random = fastrand::Rng::with_seed(8);
        for length in (0..140).chain([1_000]) {
            let key = message(length, &mut random);
            let size = random.usize(..200);
            let message = message(size, &mut random);
            let (first, second) = message.split_at(random.usize(..=size));
            let mut expected = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
            expected.update(&message);
            let code = HmacSha256::new(&key).mac(&[first, second]);
            assert_eq!(code, *expected.finalize().into_bytes(), "a key of {length} bytes");
        }
    }
}
