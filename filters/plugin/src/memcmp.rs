//! Comparing bytes, eight at a time: libc's function, which all comparisons of texts call, takes one after the other.

// The name is libc's, and the bytes are where callers say.
#![allow(unsafe_code)]

use std::slice;

/// # Safety
/// `size` bytes have to be at both addresses.
// Once, and not in each of its callers.
#[inline(never)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(first: *const u8, second: *const u8, size: usize) -> i32 {
    // SAFETY: that is what callers promise; Rust passes an address also where there are no bytes.
    let (first, second) = unsafe { (slice::from_raw_parts(first, size), slice::from_raw_parts(second, size)) };
    let ((words, rest), (other_words, other_rest)) = (first.as_chunks::<8>(), second.as_chunks::<8>());
    for (word, other) in words.iter().zip(other_words) {
        let (word, other) = (u64::from_ne_bytes(*word), u64::from_ne_bytes(*other));
        if word != other {
            return if word.swap_bytes() < other.swap_bytes() { -1 } else { 1 };
        }
    }
    for (byte, other) in rest.iter().zip(other_rest) {
        if byte != other {
            return i32::from(*byte).wrapping_sub(i32::from(*other));
        }
    }
    0
}
