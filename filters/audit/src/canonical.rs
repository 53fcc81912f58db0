//! JSON in the canonical form of RFC 8785, written in one go.
//!
//! The members of an object have to be written in the order of their names; numbers are integers below 2^53 (what is more becomes
//! the largest), so there is only one way to write each. What the writer makes is compared with an implementation of RFC 8785 in the tests.

use std::fmt::{Display, Write};

/// The largest integer that every reader of JSON reads exactly (RFC 8785, appendix D): 2^53 − 1.
const LARGEST: u64 = 9_007_199_254_740_991;

/// Writes an object.
pub(crate) fn object(out: &mut String, members: impl FnOnce(&mut Object<'_>)) {
    out.push('{');
    let mut object = Object { out, empty: true };
    members(&mut object);
    out.push('}');
}

/// An object that is being written.
pub(crate) struct Object<'o> {
    out: &'o mut String,
    empty: bool,
}

// === impl Object ===

impl Object<'_> {
    fn name(&mut self, name: &str) {
        self.out.push_str(if self.empty { "\"" } else { ",\"" });
        self.empty = false;
        // Names are ours: nothing in them needs an escape.
        self.out.push_str(name);
        self.out.push_str("\":");
    }

    /// Where in the output the next member would begin.
    pub(crate) fn position(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        string(self.out, value);
    }

    pub(crate) fn optional_text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        // Only a proxy that is wrong says more, of a duration of 285 years.
        let _ = write!(self.out, "{}", value.min(LARGEST));
    }

    pub(crate) fn optional_number(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(name, value);
        }
    }

    /// A text in which nothing needs an escape, of something that can be written.
    pub(crate) fn unescaped(&mut self, name: &str, value: impl Display) {
        self.name(name);
        let _ = write!(self.out, "\"{value}\"");
    }

    pub(crate) fn flag(&mut self, name: &str, value: bool) {
        self.name(name);
        self.out.push_str(if value { "true" } else { "false" });
    }

    /// A list of texts; nothing when it is empty.
    pub(crate) fn texts<'t>(&mut self, name: &str, values: impl IntoIterator<Item = &'t str>) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return;
        }
        self.name(name);
        for (index, value) in values.enumerate() {
            self.out.push(if index == 0 { '[' } else { ',' });
            string(self.out, value);
        }
        self.out.push(']');
    }

    pub(crate) fn object(&mut self, name: &str, members: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        object(self.out, members);
    }
}

/// RFC 8785 §3.2.2.2: the two-character escapes where there are some, `\u00xx` for other control characters, nothing else.
fn string(out: &mut String, text: &str) {
    out.push('"');
    if is_plain(text.as_bytes()) {
        out.push_str(text);
    } else {
        text.chars().for_each(|character| match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        });
    }
    out.push('"');
}

/// Whether nothing in it needs an escape. Nearly every byte of a record passes here, so it looks at eight at once.
fn is_plain(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [b' '; 8];
    last.iter_mut().zip(rest).for_each(|(padded, byte)| *padded = *byte);
    words.iter().chain([&last]).fold(0, |found, word| found | escapes(u64::from_ne_bytes(*word))) == 0
}

/// Not 0 when one of eight bytes needs an escape: below a space, a quote, or a backslash. Each byte that does sets its highest bit; a byte
/// above one that does may set it too, which changes nothing (Anderson, "Bit Twiddling Hacks", "has a byte less than n").
fn escapes(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const fn each(byte: u8) -> u64 {
        EACH.wrapping_mul(byte as u64)
    }
    let below = |word: u64, limit: u8| word.wrapping_sub(each(limit)) & !word;
    let is = |byte: u8| below(word ^ each(byte), 1);
    (below(word, b' ') | is(b'"') | is(b'\\')) & each(0x80)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn what_needs_an_escape_is_seen_wherever_it_is() {
        for byte in 0..=u8::MAX {
            for place in 0..19 {
                let mut text = [b'x'; 19];
                text[place] = byte;
                let expected = byte >= b' ' && byte != b'"' && byte != b'\\';
                assert_eq!(is_plain(&text), expected, "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn every_character_is_written_as_rfc_8785_says() {
        let all: String = (0_u32..0x250).chain([0x2028, 0xfffd, 0x1f600]).filter_map(char::from_u32).collect();
        let mut ours = String::new();
        object(&mut ours, |object| {
            object.texts("a", ["x", &all]);
            object.texts("b", []);
            object.number("c", LARGEST);
            object.number("d", u64::MAX);
            object.flag("e", true);
        });
        let parsed: serde_json::Value = serde_json::from_str(&ours).unwrap();
        assert_eq!(serde_jcs::to_string(&parsed).unwrap(), ours);
    }
}
