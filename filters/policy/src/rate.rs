//! Sampling rates on Envoy's own random number.

use std::fmt;

use serde_json::Value;
use xxhash_rust::xxh64::xxh64;

/// Where in the UUID Envoy keeps why it traces (`UUIDRequestIDExtension`, "TRACE_BYTE_POSITION").
const TRACE_REASON: usize = 14;

/// A percentage with two decimals, as hundredths of a percent: 0 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u16);

/// The number behind a sampling decision: 0 to 9,999, the same at every hop, for it comes from `x-request-id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Random(u16);

// === impl Rate ===

impl Rate {
    /// Nothing is kept.
    pub const ZERO: Self = Self(0);
    /// Everything is kept.
    pub const ALL: Self = Self(10_000);
    pub(crate) const EXPECTED: &'static str = "a percentage: 0 to 100, at most two decimals";

    /// The rate that a percentage says, if it is one with at most two decimals.
    pub fn from_percent(percent: f64) -> Option<Self> {
        let hundredths = (percent * 100.0).round();
        let exact = (percent * 100.0 - hundredths).abs() < 1e-6;
        if !exact || !(0.0..=10_000.0).contains(&hundredths) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10,000, checked above")]
        Some(Self(hundredths as u16))
    }

    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        value.as_f64().and_then(Self::from_percent)
    }

    /// Whether a request with this number is kept. Nested: what a rate keeps, each higher one keeps too.
    pub fn keeps(self, random: Random) -> bool {
        random.0 < self.0
    }
}

/// Whether a UUID that begins with these digits is one of version 6 or 7 that was made between 2022 and 2040. The
/// version itself is not there to be read: Envoy writes over it. One in 140 random UUIDs begins like that too, which
/// only gives it another random number.
fn begins_with_time(first: u32) -> bool {
    // The first 32 of 48 bits of milliseconds since 1970 (RFC 9562 §5.7), and of the 60 bits of 100 ns since 1582
    // (§5.6).
    matches!(first >> 20, 0x017..=0x01f | 0x1ec..=0x1ff)
}

/// Of the digits in lower case, without dashes and without the one in which Envoy keeps why it traces.
fn hash(id: &[u8]) -> u64 {
    let mut digits = [0; 31];
    let random = id.iter().enumerate().filter(|(place, byte)| *place != TRACE_REASON && **byte != b'-');
    digits.iter_mut().zip(random).for_each(|(digit, (_, byte))| *digit = byte.to_ascii_lowercase());
    xxh64(&digits, 0)
}

impl fmt::Display for Rate {
    /// The percentage: `50`, `0.25`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, hundredths) = (self.0 / 100, self.0 % 100);
        match (hundredths, hundredths % 10) {
            (0, _) => write!(f, "{whole}"),
            (_, 0) => write!(f, "{whole}.{}", hundredths / 10),
            _ => write!(f, "{whole}.{hundredths:02}"),
        }
    }
}

// === impl Random ===

impl Random {
    /// The number of a request, from its `x-request-id`: the first eight hex digits, mod 10,000. That is what Envoy
    /// compares its own `random_sampling` with (`UUIDRequestIDExtension::getInteger`), so tiers and base rate nest.
    ///
    /// UUIDs of versions 6 and 7 begin with the time, so all requests of a minute would share one number. Theirs is a
    /// hash of all digits but the one that Envoy writes into, so each hop finds the same.
    pub fn from_request_id(id: &[u8]) -> Option<Self> {
        if !crate::id::is_uuid(id) {
            return None;
        }
        let digits = std::str::from_utf8(id.get(..8)?).ok()?;
        let first = u32::from_str_radix(digits, 16).ok()?;
        if begins_with_time(first) {
            return Some(Self::from_hash(hash(id)));
        }
        u16::try_from(first % 10_000).ok().map(Self)
    }

    /// The number itself: 0 to 9,999, hundredths of a percent.
    pub fn hundredths(self) -> u16 {
        self.0
    }

    /// The number of something that has no request: uniform when `hash` is.
    pub(crate) fn from_hash(hash: u64) -> Self {
        Self(u16::try_from(hash % 10_000).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn percentages_have_at_most_two_decimals() {
        for (percent, text) in
            [(0.0, "0"), (100.0, "100"), (0.25, "0.25"), (33.3, "33.3"), (0.01, "0.01"), (5.05, "5.05")]
        {
            assert_eq!(Rate::from_percent(percent).unwrap().to_string(), text);
        }
        for bad in [-1.0, 100.01, 0.001, 33.333, f64::NAN, f64::INFINITY] {
            assert_eq!(Rate::from_percent(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_uuid_that_begins_with_the_time_has_a_number_all_the_same() {
        let numbers = |ids: &dyn Fn(u64) -> String| {
            let rate = Rate::from_percent(10.0).unwrap();
            (0..10_000).filter(|at| rate.keeps(Random::from_request_id(ids(*at).as_bytes()).unwrap())).count()
        };
        // Version 7, all of one millisecond, counted up; version 6 of one node.
        let seven = numbers(&|at| format!("019b7ca9-8f2e-7{:03x}-8{:03x}-{:012x}", at % 4096, at / 4096, at * 7));
        let six = numbers(&|at| format!("1f0e6a4d-{at:04x}-6c3c-8000-02420a000001"));
        for share in [seven, six] {
            assert!((850..1150).contains(&share), "{share}");
        }
        // Whatever Envoy writes into it, and however it is written.
        let number = |id: &str| Random::from_request_id(id.as_bytes()).unwrap();
        let first = number("019b7ca9-8f2e-7abc-8def-0123456789ab");
        for same in ["019b7ca9-8f2e-9abc-8def-0123456789ab", "019B7CA9-8F2E-4ABC-8DEF-0123456789AB"] {
            assert_eq!(number(same), first);
        }
        assert_ne!(number("019b7ca9-8f2e-7abc-8def-0123456789ac"), first);
    }

    #[test]
    fn nothing_and_everything_are_exact() {
        for number in [0, 1, 4_999, 9_999] {
            assert!(!Rate::ZERO.keeps(Random(number)));
            assert!(Rate::ALL.keeps(Random(number)));
        }
        assert!(Rate::from_percent(50.0).unwrap().keeps(Random(4_999)));
        assert!(!Rate::from_percent(50.0).unwrap().keeps(Random(5_000)));
    }

    #[test]
    fn the_number_is_the_first_eight_hex_digits() {
        let random = Random::from_request_id(b"0000270f-0000-4000-8000-000000000000");
        assert_eq!(random, Some(Random(9_999)));
        let random = Random::from_request_id(b"ffffffff-0000-4000-8000-000000000000");
        assert_eq!(random, Some(Random(7_295))); // 4,294,967,295 mod 10,000
        for bad in [&b""[..], b"not-a-uuid", b"0000270f", b"0000270g-0000-4000-8000-000000000000"] {
            assert_eq!(Random::from_request_id(bad), None);
        }
    }
}
