//! NHS numbers: ten digits of which the last is a check digit (NHS Data Dictionary, "NHS NUMBER").

use std::borrow::Cow;
use std::ops::Range;

use crate::path;

/// The digits of an NHS number.
pub(crate) const DIGITS: usize = 10;
/// The longest separator, in characters: two spaces on each side of a dash.
const SEPARATOR_MAX: usize = 5;
/// The same in bytes: a character of UTF-8 has at most four.
const SEPARATOR_BYTES_MAX: usize = 20;

/// Whether `digits` is a valid NHS number: weights 10 to 2, check digit 11 − (sum mod 11), where 11 is written 0 and 10
/// cannot occur.
fn is_valid(digits: &[u8; DIGITS]) -> bool {
    let [body @ .., check] = digits;
    let sum: u32 = body
        .iter()
        .zip((2..=10).rev())
        .map(|(digit, weight): (&u8, u32)| u32::from(*digit).wrapping_mul(weight))
        .fold(0, u32::wrapping_add);
    let expected = match 11_u32.wrapping_sub(sum % 11) {
        11 => 0,
        other => other,
    };
    expected == u32::from(*check)
}

/// An NHS number in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is written, in bytes.
    pub range: Range<usize>,
    /// Its ten digits, without separators.
    pub digits: String,
}

/// The first NHS number in `text`.
///
/// Found are ten digits of ASCII in a row and the written form 3-3-4, separated by up to five characters that are
/// neither letters nor digits of ASCII (or by `%20`), that no further digit touches.
pub fn find(text: &[u8]) -> Option<Found> {
    let mut start = 0_usize;
    while let Some(rest) = text.get(start..) {
        let offset = rest.iter().position(u8::is_ascii_digit)?;
        let candidate = rest.get(offset..)?;
        start = start.checked_add(offset)?;
        if let Some((digits, length)) = at_start(candidate) {
            let digits = digits.iter().map(|digit| char::from(digit.wrapping_add(b'0'))).collect();
            return Some(Found { range: start..start.checked_add(length)?, digits });
        }
        // A number can only begin where a run of digits begins.
        let run = candidate.iter().take_while(|byte| byte.is_ascii_digit()).count();
        start = start.checked_add(run)?;
    }
    None
}

/// The first NHS number that shows when percent-escapes are decoded, if there are any. Its range is of the decoded
/// text.
pub fn find_escaped(text: &[u8]) -> Option<Found> {
    // As often as it takes: an escape can be escaped.
    let mut decoded = text.contains(&b'%').then(|| path::percent_decode(text))?;
    loop {
        if let Some(found) = find(&decoded) {
            return Some(found);
        }
        let further = path::percent_decode(&decoded);
        // Decoding only ever shortens, so this ends.
        if further.len() == decoded.len() {
            return None;
        }
        decoded = further;
    }
}

/// Whether there is an NHS number in `text`.
pub fn contains(text: &[u8]) -> bool {
    find(text).is_some()
}

/// `text` with each NHS number replaced by what `replacement` makes of its ten digits.
pub fn replace(text: &str, replacement: impl Fn(&str) -> String) -> Cow<'_, str> {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(found) = find(rest.as_bytes()) {
        replaced.push_str(rest.get(..found.range.start).unwrap_or_default());
        replaced.push_str(&replacement(&found.digits));
        rest = rest.get(found.range.end..).unwrap_or_default();
    }
    if replaced.is_empty() {
        return Cow::Borrowed(text);
    }
    replaced.push_str(rest);
    Cow::Owned(replaced)
}

/// The number that `text` begins with and how many bytes it takes, if no digit follows it.
fn at_start(text: &[u8]) -> Option<([u8; DIGITS], usize)> {
    let mut digits = [0; DIGITS];
    let mut rest = text;
    let mut separated = false;
    for (position, slot) in digits.iter_mut().enumerate() {
        match position {
            3 => (rest, separated) = skip_separator(rest),
            // Separated once, separated twice: no form writes `943 4765919`.
            6 if separated => match skip_separator(rest) {
                (after, true) => rest = after,
                _ => return None,
            },
            _ => {}
        }
        let (digit, after) = rest.split_first()?;
        *slot = digit.is_ascii_digit().then(|| digit.wrapping_sub(b'0'))?;
        rest = after;
    }
    let ends = !rest.first().is_some_and(u8::is_ascii_digit);
    (ends && is_valid(&digits)).then(|| (digits, text.len().saturating_sub(rest.len())))
}

/// Skips one separator: up to five characters that are neither letters nor digits, or an escaped space.
fn skip_separator(text: &[u8]) -> (&[u8], bool) {
    if let [b'%', b'2', b'0', rest @ ..] = text {
        return (rest, true);
    }
    let mut characters = 0_usize;
    let is_within = |byte: &&u8| {
        // All bytes of a character but its first are 10xxxxxx.
        characters = characters.saturating_add(usize::from(**byte & 0xc0 != 0x80));
        !byte.is_ascii_alphanumeric() && characters <= SEPARATOR_MAX
    };
    let length = text.iter().take(SEPARATOR_BYTES_MAX).take_while(is_within).count();
    (text.get(length..).unwrap_or_default(), length > 0)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn valid_numbers_are_found_in_every_spelling() {
        for text in [
            "9434765919",
            "943 476 5919",
            "943-476-5919",
            "943%20476%205919",
            "943+476+5919",
            "943:476:5919",
            "943--476--5919",
            "943 - 476 - 5919",
            "943 \u{2013} 476 \u{2013} 5919",
            "943\u{a0}\u{2014}\u{a0}476\u{2011}5919",
            "943    476    5919",
            "943  -  476  -  5919",
            "943\u{1f538}\u{1f538}\u{1f538}\u{1f538}\u{1f538}4765\u{1f538}919 943 476 5919",
            "(943) 476/5919",
            "nhs:9434765919;x",
            "/residents/9434765919/notes",
            "id_9434765919_x",
            "a1b22 9434765919",
            "12 943 476 5919",
        ] {
            assert_eq!(find(text.as_bytes()).map(|found| found.digits).as_deref(), Some("9434765919"), "{text}");
        }
    }

    #[test]
    fn other_digits_are_not() {
        for text in [
            "9434765918",  // wrong check digit
            "94347659190", // eleven digits
            "19434765919", // eleven digits
            "943476591",   // nine digits
            "943 4765919", // no form has this spacing
            "943      476 5919",
            "943\u{2013}\u{2013}\u{2013}\u{2013}\u{2013}\u{2013}476 5919",
            "９４３４７６５９１９", // digits that are not of ASCII
            "94 34765919",
            "",
            "2026-11-23T01:02:03Z",
        ] {
            assert_eq!(find(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn every_number_is_replaced_and_nothing_else() {
        let replaced = replace("a 943 476 5919, b=9434765919! 9434765918", |digits| format!("<{}>", digits.len()));
        assert_eq!(replaced, "a <10>, b=<10>! 9434765918");
        assert_eq!(replace("9434765919", |_| "x".into()), "x");
        assert!(matches!(replace("nothing 42", |_| "x".into()), Cow::Borrowed(_)));
    }

    #[test]
    fn bytes_that_are_no_characters_end_a_separator() {
        assert!(contains(b"943\x80\x80476\xff5919"));
        assert!(contains(&[b"943", &[0x80; 20][..], b"476 5919"].concat()));
        assert!(!contains(&[b"943", &[0x80; 21][..], b"476 5919"].concat()));
    }

    #[test]
    fn escaped_numbers_are_found_however_often_they_are_escaped() {
        for text in [
            "%39%34%33%34%37%36%35%39%31%39",
            "943%2D476%2D5919",
            "943%20%E2%80%93%20476%20%E2%80%93%205919",
            "%2539434765919",
        ] {
            assert_eq!(
                find_escaped(text.as_bytes()).map(|found| found.digits).as_deref(),
                Some("9434765919"),
                "{text}"
            );
        }
        for text in ["", "100%", "%39%34", "no escapes"] {
            assert_eq!(find_escaped(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_check_digit_of_ten_cannot_occur() {
        // The weighted sum of 100000001 is 12, so the check would be 10.
        for last in 0..=9 {
            assert!(!contains(format!("100000001{last}").as_bytes()));
        }
    }

    #[test]
    fn a_check_digit_of_eleven_is_written_zero() {
        // The weighted sum of 100000006 is 22.
        assert!(contains(b"1000000060"));
    }
}
