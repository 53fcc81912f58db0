//! Text for a person: coloured on a terminal, plain elsewhere.

use std::{
    env,
    fmt::Display,
    io::{IsTerminal, stdout},
};

/// The columns that output is laid out for.
pub const WIDTH: usize = 140;

/// What a piece of text is, which decides how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The title of a section.
    Heading,
    /// As it should be, or let through.
    Good,
    /// A refusal.
    Refused,
    /// A failure.
    Bad,
    /// Of the highest compliance level.
    Critical,
    /// Detail.
    Quiet,
    /// Nothing in particular.
    Plain,
}

/// Writes text in a style, or not.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    colour: bool,
}

impl Paint {
    /// For standard output: colour when it is a terminal with colours, and the environment does not object
    /// (<https://no-color.org>).
    #[must_use]
    pub fn for_stdout() -> Self {
        let objected = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        Self { colour: stdout().is_terminal() && !objected && !dumb }
    }

    /// Never colour.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self { colour: false }
    }

    /// `text` in `style`.
    #[must_use]
    pub fn paint(self, style: Style, text: impl Display) -> String {
        match (self.colour, style.code()) {
            (true, Some(code)) => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_string(),
        }
    }
}

impl Style {
    /// The parameter of SGR (ECMA-48 §8.3.117).
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Heading => Some("1"),
            Self::Good => Some("32"),
            Self::Refused => Some("33"),
            Self::Bad => Some("31"),
            Self::Critical => Some("35"),
            Self::Quiet => Some("2"),
            Self::Plain => None,
        }
    }
}

/// `text` in lines of at most `width` columns, broken at spaces. A word that is longer has a line of its own.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    fill(text.split(' '), width)
}

/// Puts `parts` with a space between them into lines of at most `width` columns. A part that is longer has a line of
/// its own.
#[must_use]
pub fn fill<S: AsRef<str>>(parts: impl IntoIterator<Item = S>, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        let part = part.as_ref();
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(part) <= width => {
                line.push(' ');
                line.push_str(part);
            }
            _ => lines.push(part.to_owned()),
        }
    }
    lines
}

/// How many columns `text` takes: everything printed here is one column a character.
#[must_use]
pub fn columns(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_long_words_stand_alone() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a incomprehensible b", 5), ["a", "incomprehensible", "b"]);
        assert_eq!(wrap("", 5), [""]);
    }

    #[test]
    fn plain_text_has_no_escapes() {
        assert_eq!(Paint::plain().paint(Style::Bad, "x"), "x");
        assert_eq!(Paint { colour: true }.paint(Style::Bad, "x"), "\x1b[31mx\x1b[0m");
    }
}
