//! Identifiers that are valid by construction.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::nhs;

/// The longest tenant id, in bytes.
pub const TENANT_ID_MAX: usize = 128;
/// The longest user id, in bytes.
pub const USER_ID_MAX: usize = 256;
/// The longest correlation id, in bytes.
pub const CORRELATION_ID_MAX: usize = 128;

/// A tenant (care home): 1 to 128 characters of `[A-Za-z0-9._:-]`, and not an NHS number, for it goes on tags.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

/// A user as the application knows them: 1 to 256 bytes of UTF-8 without control characters or white space at the ends.
///
/// Personal data: not `Display`, so that it cannot slip into a log line.
#[derive(Clone, PartialEq, Eq)]
pub struct UserId(Arc<str>);

/// A correlation id: 1 to 128 characters of `[A-Za-z0-9._-]`, and without an NHS number, for it goes on tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorrelationId(Arc<str>);

// === impl TenantId ===

impl TenantId {
    /// What a tenant id looks like, for messages.
    pub const EXPECTED: &'static str = "1 to 128 characters of [A-Za-z0-9._:-], not an NHS number";

    /// The id that `bytes` is, if it is one.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if is_tenant_id(bytes) { Some(Self(std::str::from_utf8(bytes).ok()?.into())) } else { None }
    }

    /// The id in lower case.
    #[must_use]
    pub fn into_lower(self) -> Self {
        if self.0.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Self(self.0.to_ascii_lowercase().into())
        } else {
            self
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, to be shared.
    pub fn text(&self) -> &Arc<str> {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for TenantId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

// === impl UserId ===

impl UserId {
    /// The id that `bytes` is, if it is one.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let fits = (1..=USER_ID_MAX).contains(&text.len());
        let is_plain = match text.is_ascii() {
            // The same, by bytes.
            true => !bytes.iter().any(u8::is_ascii_control) && !text.starts_with(' ') && !text.ends_with(' '),
            false => !text.chars().any(char::is_control) && text.trim().len() == text.len(),
        };
        (fits && is_plain).then(|| Self(text.into()))
    }

    /// The id as text: for the upstream request and for the pseudonym.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, to be shared.
    pub fn text(&self) -> &Arc<str> {
        &self.0
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserId(…)")
    }
}

// === impl CorrelationId ===

impl CorrelationId {
    /// A UUID, which is one as it is.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self((&*uuid.as_hyphenated().encode_lower(&mut [0; Hyphenated::LENGTH])).into())
    }

    /// The id that `bytes` is, if it is one.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let id = word(bytes, CORRELATION_ID_MAX, b"._-")?;
        // The digits of a UUID or a trace id are not those of a person, whatever ten of them add up to.
        (is_uuid(bytes) || is_trace_id(bytes) || !nhs::contains(bytes)).then(|| Self(id.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, to be shared.
    pub fn text(&self) -> &Arc<str> {
        &self.0
    }
}

/// What a byte is in a tenant id: not allowed, [`ALLOWED`], or [`ALLOWED`] and a [`DIGIT`].
#[expect(clippy::indexing_slicing, reason = "the compiler would notice")]
const IN_TENANT_IDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        kinds[byte as usize] = match byte {
            b'0'..=b'9' => ALLOWED | DIGIT,
            b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'_' | b':' | b'-' => ALLOWED,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};
const DIGIT: u8 = 1;
const ALLOWED: u8 = 2;

/// Whether `bytes` is a tenant id. Quick, for a policy can have thousands.
pub(crate) fn is_tenant_id(bytes: &[u8]) -> bool {
    let (mut digits, mut all) = (0_usize, ALLOWED);
    for byte in bytes {
        let kind = IN_TENANT_IDS.get(usize::from(*byte)).copied().unwrap_or_default();
        digits = digits.wrapping_add(usize::from(kind & DIGIT));
        all &= kind;
    }
    all != 0 && (1..=TENANT_ID_MAX).contains(&bytes.len()) && (digits < nhs::DIGITS || !nhs::contains(bytes))
}

fn word<'a>(bytes: &'a [u8], max: usize, punctuation: &[u8]) -> Option<&'a str> {
    let fits = (1..=max).contains(&bytes.len());
    let plain = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || punctuation.contains(byte));
    if fits && plain { std::str::from_utf8(bytes).ok() } else { None }
}

/// Whether `text` is written like a UUID: 8-4-4-4-12 hex digits.
pub fn is_uuid(text: &[u8]) -> bool {
    let Ok(
        [
            a @ ..,
            b'-',
            b0,
            b1,
            b2,
            b3,
            b'-',
            c0,
            c1,
            c2,
            c3,
            b'-',
            d0,
            d1,
            d2,
            d3,
            b'-',
            e0,
            e1,
            e2,
            e3,
            f0,
            f1,
            f2,
            f3,
            f4,
            f5,
            f6,
            f7,
        ],
    ) = <&[u8; 36]>::try_from(text)
    else {
        return false;
    };
    let groups = [
        *a,
        [*b0, *b1, *b2, *b3, *c0, *c1, *c2, *c3],
        [*d0, *d1, *d2, *d3, *e0, *e1, *e2, *e3],
        [*f0, *f1, *f2, *f3, *f4, *f5, *f6, *f7],
    ];
    is_hex(groups.as_flattened())
}

/// Whether there are hex digits and nothing else, in either case.
pub fn is_hex(text: &[u8]) -> bool {
    are_hex(text, 0x20)
}

/// Whether there are hex digits in lower case and nothing else.
pub fn is_lower_hex(text: &[u8]) -> bool {
    are_hex(text, 0)
}

/// Ids are in each request, so this looks at eight bytes at once. `fold` is the bit that tells letters of one case from
/// those of the other.
fn are_hex(text: &[u8], fold: u8) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [b'0'; 8];
    last.iter_mut().zip(rest).for_each(|(padded, byte)| *padded = *byte);
    words.iter().chain([&last]).all(|word| eight_are_hex(u64::from_ne_bytes(*word), fold))
}

/// The highest bit of a byte says that it is at least as large as a limit.
fn eight_are_hex(word: u64, fold: u8) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const fn each(byte: u8) -> u64 {
        EACH.wrapping_mul(byte as u64)
    }
    let is_ascii = word & each(0x80) == 0;
    let at_least = |word: u64, limit: u8| word.wrapping_add(each(0x80_u8.wrapping_sub(limit)));
    let lower = word | each(fold);
    let digits = at_least(word, b'0') & !at_least(word, b'9' + 1);
    let letters = at_least(lower, b'a') & !at_least(lower, b'f' + 1);
    is_ascii && (digits | letters) & each(0x80) == each(0x80)
}

fn is_trace_id(text: &[u8]) -> bool {
    text.len() == 32 && is_hex(text)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn hex_digits_are_seen_wherever_they_are() {
        for byte in 0..=u8::MAX {
            for place in 0..19 {
                let mut text = [b'a'; 19];
                text[place] = byte;
                assert_eq!(is_hex(&text), byte.is_ascii_hexdigit(), "{byte:#x} at {place}");
                let is_lower = byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase();
                assert_eq!(is_lower_hex(&text), is_lower, "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn tenant_ids_are_words() {
        for good in ["care-home-0042", "a", "T.1_2:3", "9434765918", "Az09", &"x".repeat(128)] {
            assert!(TenantId::new(good.as_bytes()).is_some(), "{good}");
        }
        for bad in ["", "a b", "a,b", "a/b", "é", "9434765919", "h-943-476-5919", &"x".repeat(129)] {
            assert!(TenantId::new(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn user_ids_are_text_without_control_characters() {
        for good in ["auth0|1234", "siân.o'neill@care.example", "Ann Other", &"x".repeat(256)] {
            assert!(UserId::new(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [&b""[..], b"a\nb", b"a\0", b" a", b"\xff\xfe", "x".repeat(257).as_bytes()] {
            assert!(UserId::new(bad).is_none(), "{bad:?}");
        }
        assert_eq!(format!("{:?}", UserId::new(b"ann").unwrap()), "UserId(…)");
    }

    #[test]
    fn correlation_ids_carry_no_nhs_number() {
        for good in [
            "x",
            "order.17_b-2",
            "4f3c9434-7659-19ab-8000-943476591900",
            "9434765919abcdef9434765919abcdef",
            "9434765918",
        ] {
            assert!(CorrelationId::new(good.as_bytes()).is_some(), "{good}");
        }
        for bad in ["", "9434765919", "r-943-476-5919", "a b", "é", &"x".repeat(129)] {
            assert!(CorrelationId::new(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
