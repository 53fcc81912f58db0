//! Texts as numbers, so that facts have one size.

use std::collections::HashMap;
use std::sync::Arc;

/// How many different texts are kept. A platform has some thousand people, tenants and contexts; only a caller that
/// tries one name after another makes more, and these become one.
const NAMES_MAX: usize = 4_000_000;
/// What stands for the texts beyond.
const BEYOND: &str = "…";

/// The number of a text; 0 for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(pub(super) u32);

/// The texts.
#[derive(Debug, Default)]
pub(crate) struct Names {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Names {
    /// The name of a text.
    pub(crate) fn of(&mut self, text: &str) -> Name {
        if let Some(number) = self.numbers.get(text) {
            return Name(*number);
        }
        let text = if self.texts.len() < NAMES_MAX { text } else { BEYOND };
        if let Some(number) = self.numbers.get(text) {
            return Name(*number);
        }
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.numbers.insert(text, number);
        Name(number)
    }

    /// The name of a text that may be absent.
    pub(crate) fn optional(&mut self, text: Option<&str>) -> Name {
        text.map_or(Name::default(), |text| self.of(text))
    }

    /// The text of a name; none for no name.
    pub(crate) fn text(&self, name: Name) -> Option<&str> {
        self.texts.get((name.0 as usize).checked_sub(1)?).map(|text| &**text)
    }
}

impl Name {
    /// This one, or `other` where there is none.
    pub(crate) fn or(self, other: Self) -> Self {
        if self.0 == 0 { other } else { self }
    }

    pub(crate) fn is_some(self) -> bool {
        self.0 != 0
    }
}
