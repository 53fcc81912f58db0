//! JSON in the canonical form of RFC 8785, written in one go.
//!
//! The members of an object have to be written in the order of their names; numbers are integers below 2^53 (what is
//! more becomes the largest), so there is only one way to write each. What the writer makes is compared with an
//! implementation of RFC 8785 in the tests.

use std::fmt::{Display, Write};

/// The largest integer that every reader of JSON reads exactly (RFC 8785, appendix D): 2^53 − 1.
const LARGEST: u64 = 9_007_199_254_740_991;

/// The name of a member as it stands in the text, with the comma before it: one piece to write in place of four.
pub(crate) struct Name(pub(crate) &'static str);

/// The name of a member. Names are ours: nothing in them needs an escape.
macro_rules! name {
    ($name:literal) => {
        $crate::canonical::Name(concat!(",\"", $name, "\":"))
    };
}
pub(crate) use name;

/// Writes an object.
pub(crate) fn object(out: &mut String, members: impl FnOnce(&mut Object<'_>)) {
    let mut object = Object { out, is_empty: true };
    members(&mut object);
    if object.is_empty {
        object.out.push('{');
    }
    object.out.push('}');
}

/// An object that is being written.
pub(crate) struct Object<'o> {
    out: &'o mut String,
    is_empty: bool,
}

// === impl Object ===

impl Object<'_> {
    #[inline(never)]
    fn name(&mut self, Name(name): Name) {
        if self.is_empty {
            self.is_empty = false;
            self.out.push('{');
            self.out.push_str(name.get(1..).unwrap_or_default());
        } else {
            self.out.push_str(name);
        }
    }

    /// Where in the output the next member would begin.
    pub(crate) fn position(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn text(&mut self, name: Name, value: &str) {
        self.name(name);
        string(self.out, value);
    }

    pub(crate) fn optional_text(&mut self, name: Name, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    #[inline(never)]
    pub(crate) fn number(&mut self, name: Name, value: u64) {
        self.name(name);
        // Only a proxy that is wrong says more, of a duration of 285 years.
        self.out.push_str(itoa::Buffer::new().format(value.min(LARGEST)));
    }

    pub(crate) fn optional_number(&mut self, name: Name, value: Option<u64>) {
        if let Some(value) = value {
            self.number(name, value);
        }
    }

    /// A text in which nothing needs an escape: a word of ours, an id, hex digits.
    #[inline(never)]
    pub(crate) fn unescaped(&mut self, name: Name, value: &str) {
        debug_assert!(is_plain(value.as_bytes()), "{value:?} needs an escape");
        self.name(name);
        quoted(self.out, value);
    }

    pub(crate) fn optional_unescaped(&mut self, name: Name, value: Option<&str>) {
        if let Some(value) = value {
            self.unescaped(name, value);
        }
    }

    /// The same of something that can be written.
    pub(crate) fn displayed(&mut self, name: Name, value: impl Display) {
        self.name(name);
        let _ = write!(self.out, "\"{value}\"");
    }

    pub(crate) fn flag(&mut self, name: Name, value: bool) {
        self.name(name);
        self.out.push_str(if value { "true" } else { "false" });
    }

    /// A list of texts; nothing when it is empty.
    pub(crate) fn texts<'t>(&mut self, name: Name, values: impl IntoIterator<Item = &'t str>) {
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

    pub(crate) fn object(&mut self, name: Name, members: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        object(self.out, members);
    }
}

#[inline(never)]
fn quoted(out: &mut String, text: &str) {
    out.push('"');
    out.push_str(text);
    out.push('"');
}

/// RFC 8785 §3.2.2.2: the two-character escapes where there are some, `\u00xx` for other control characters, nothing
/// else.
fn string(out: &mut String, text: &str) {
    if is_plain(text.as_bytes()) {
        return quoted(out, text);
    }
    out.push('"');
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
    out.push('"');
}

/// Whether nothing in it needs an escape. Nearly every byte of a record passes here, so it looks at eight at once.
fn is_plain(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [b' '; 8];
    last.iter_mut().zip(rest).for_each(|(padded, byte)| *padded = *byte);
    words.iter().chain([&last]).fold(0, |found, word| found | escapes(u64::from_ne_bytes(*word))) == 0
}

/// Not 0 when one of eight bytes needs an escape: below a space, a quote, or a backslash. Each byte that does sets its
/// highest bit; a byte above one that does may set it too, which changes nothing (Anderson, "Bit Twiddling Hacks", "has
/// a byte less than n").
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
            object.texts(name!("a"), ["x", &all]);
            object.texts(name!("b"), []);
            object.number(name!("c"), LARGEST);
            object.number(name!("d"), u64::MAX);
            object.flag(name!("e"), true);
        });
        let parsed: serde_json::Value = serde_json::from_str(&ours).unwrap();
        assert_eq!(serde_jcs::to_string(&parsed).unwrap(), ours);
    }
}
