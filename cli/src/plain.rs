//! Texts of records and requests for people. An attacker who can write a line into a log can make a record, one who can
//! write into an archive names its files, and a path is what its caller wrote. A line end or an escape sequence in
//! their texts would look like output of this tool.

use std::borrow::Cow;

/// A text in one line: control characters and ends of lines are written as escapes.
pub fn plain(text: &str) -> Cow<'_, str> {
    let breaks = |char: char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}');
    if !text.contains(breaks) {
        return text.into();
    }
    let escaped = |char: char| if breaks(char) { char.escape_default().to_string() } else { char.to_string() };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_text_stays_in_its_line_and_changes_no_colour() {
        for (text, written) in [
            ("gateway~1 · Älter", "gateway~1 · Älter"),
            ("x\nchain 1: complete", "x\\nchain 1: complete"),
            ("\u{1b}[32mcomplete\r", "\\u{1b}[32mcomplete\\r"),
            ("a\u{85}b\u{2028}c", "a\\u{85}b\\u{2028}c"),
        ] {
            assert_eq!(plain(text), written);
        }
    }
}
