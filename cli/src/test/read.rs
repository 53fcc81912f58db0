//! Values of a file with tests, and what is wrong with them.

use annotate_snippets::{AnnotationKind, Level, Renderer};

use crate::snippet;
use crate::yaml::{Location, Node, Value};

/// What is wrong, with places.
#[derive(Default)]
pub struct Problems(Vec<(Location, String)>);

/// Reads the members of one map.
pub struct Reader<'n, 'p> {
    node: &'n Node,
    problems: &'p mut Problems,
}

/// The name of the type of a value.
pub fn kind(node: &Node) -> &'static str {
    match node.value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::Text(_) => "a text",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    }
}

/// A text, or a number, as a text. None for everything else.
pub fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        // The reader has `0042` as a number with a fraction, 42.0.
        Value::Number(number) => Some(
            number
                .as_f64()
                .filter(|it| it.fract() == 0.0 && it.abs() < 9e15)
                .map_or_else(|| number.to_string(), |whole| whole.to_string()),
        ),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

// === impl Problems ===

impl Problems {
    pub fn add(&mut self, place: &Location, message: impl Into<String>) {
        let problem = (place.clone(), message.into());
        // Rows of a table have the same.
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As a compiler prints them.
    pub fn text(&self, source: &str) -> String {
        let renderer = Renderer::plain();
        let mut text = String::new();
        for (place, message) in &self.0 {
            let (wrong, expected) = match message.split_once(": expected ") {
                Some((wrong, expected)) => (wrong, Some(format!("expected {expected}"))),
                None => (message.as_str(), None),
            };
            let lines = snippet::lines(Some(source.into()), place, AnnotationKind::Primary, None);
            let mut group = Level::ERROR.primary_title(wrong).element(lines);
            if let Some(expected) = &expected {
                group = group.element(Level::HELP.message(expected.as_str()));
            }
            text += &(renderer.render(&[group]) + "\n\n");
        }
        text
    }
}

// === impl Reader ===

impl<'n, 'p> Reader<'n, 'p> {
    /// A reader of a map with some of these keys. Others are problems.
    pub fn new(node: &'n Node, what: &str, keys: &[&str], problems: &'p mut Problems) -> Self {
        match &node.value {
            Value::Map(entries) => {
                for entry in entries.iter().filter(|entry| !keys.contains(&entry.key.as_str())) {
                    let known = keys.join(", ");
                    problems.add(&entry.key_place, format!("{what} has no {:?}: expected one of {known}", entry.key));
                }
            }
            _ => problems.add(&node.place, format!("{} is not {what}: expected a map", kind(node))),
        }
        Self { node, problems }
    }

    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.node.get(&[key])
    }

    /// Where problems go.
    pub fn problems(&mut self) -> &mut Problems {
        self.problems
    }

    pub fn wrong(&mut self, node: &Node, message: impl Into<String>) {
        self.problems.add(&node.place, message);
    }

    /// A text, if there is a value.
    pub fn text(&mut self, key: &str) -> Option<String> {
        let node = self.get(key)?;
        let text = scalar(node);
        if text.is_none() {
            self.wrong(node, format!("{key} is {}: expected a text", kind(node)));
        }
        text
    }

    /// One word of some.
    pub fn word(&mut self, key: &str, words: &[&str]) -> Option<String> {
        let text = self.text(key)?;
        if words.contains(&text.as_str()) {
            return Some(text);
        }
        let node = self.get(key)?;
        self.wrong(node, format!("{key} is {text:?}: expected one of {}", words.join(", ")));
        None
    }

    /// A text or a list of texts.
    pub fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let found = texts(node);
        if found.is_none() {
            self.wrong(node, format!("{key} is {}: expected a text, or a list of texts", kind(node)));
        }
        found.unwrap_or_default()
    }

    /// The elements of a list.
    pub fn list(&mut self, key: &str) -> Vec<&'n Node> {
        match self.get(key) {
            None => Vec::new(),
            Some(node) if matches!(node.value, Value::List(_)) => node.elements().iter().collect(),
            Some(node) => {
                self.wrong(node, format!("{key} is {}: expected a list", kind(node)));
                Vec::new()
            }
        }
    }

    /// A whole number up to a limit.
    pub fn number(&mut self, key: &str, range: std::ops::RangeInclusive<u16>) -> Option<u16> {
        let node = self.get(key)?;
        let number = match &node.value {
            Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (from, to) = range.into_inner();
            let found = scalar(node).unwrap_or_else(|| kind(node).into());
            self.wrong(node, format!("{key} is {found}: expected a number from {from} to {to}"));
        }
        number
    }
}

/// A text or a list of texts.
pub fn texts(node: &Node) -> Option<Vec<String>> {
    match &node.value {
        Value::List(elements) => elements.iter().map(scalar).collect(),
        _ => Some(vec![scalar(node)?]),
    }
}
