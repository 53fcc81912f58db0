//! The hash of a record, and hex digits as records write it.

/// SHA-256 or a MAC of it.
pub(super) type Digest = [u8; 32];

/// What the first record of a chain has for the hash of the one before.
pub(super) const GENESIS: Digest = [0; 32];
/// What the hash of a record begins with: it is a leaf of RFC 6962 §2.1.
pub(super) const LEAF: [u8; 1] = [0];

/// 64 lower-case hex digits. Not of upper case: there is one way to write a hash, and a changed letter is a change.
pub(super) fn digest(text: &str) -> Option<Digest> {
    unhex::<64, 32>(text.as_bytes().try_into().ok()?)
}

/// The bytes that lower-case hex digits are; none where one of them is not. Without branches or tables, so that a
/// compiler makes vector instructions of it.
#[inline]
pub(super) fn unhex<const DIGITS: usize, const BYTES: usize>(digits: &[u8; DIGITS]) -> Option<[u8; BYTES]> {
    const { assert!(DIGITS == 2 * BYTES) }
    let mut nibbles = [0; DIGITS];
    let mut is_wrong = 0;
    for (nibble, digit) in nibbles.iter_mut().zip(digits) {
        let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
        is_wrong |= u8::from((number > 9) & (letter > 5));
        *nibble = if number > 9 { letter.wrapping_add(10) } else { number };
    }
    let mut bytes = [0; BYTES];
    for (byte, [high, low]) in bytes.iter_mut().zip(nibbles.as_chunks::<2>().0) {
        *byte = high << 4 | low;
    }
    (is_wrong == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_lower_case_digits() {
        assert_eq!(digest(&"0f".repeat(32)), Some([15; 32]));
        for text in ["0F".repeat(32), "0f".repeat(31), "0".repeat(65), "0g".repeat(32), "é".repeat(32)] {
            assert_eq!(digest(&text), None, "{text}");
        }
    }
}
