//! What does not fit in a document, and where it is.

use std::fmt;

use super::tree::Tree;

/// A value that does not fit.
#[derive(Debug)]
pub(crate) struct LocatedError {
    pub(super) message: String,
    /// The way to it, innermost first.
    steps: Vec<Step>,
}

/// One step into the tree.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

// === impl LocatedError ===

impl LocatedError {
    pub(crate) fn new(message: String) -> Self {
        Self { message, steps: Vec::new() }
    }

    /// The value has another type than what is expected.
    pub(crate) fn invalid_type(seen: &Tree<'_>, expected: &str) -> Self {
        Self::new(["invalid type: ", &describe(seen), ", expected ", expected].concat())
    }

    /// The type is good and the value is not.
    pub(crate) fn invalid_value(seen: &Tree<'_>, expected: &str) -> Self {
        Self::new(["invalid value: ", &describe(seen), ", expected ", expected].concat())
    }

    /// A name that is none of `known`; `kind` is what it would be the name of.
    pub(crate) fn unknown(kind: &str, name: &str, known: &[&str]) -> Self {
        let expected = match known {
            [one, other] => ["`", one, "` or `", other, "`"].concat(),
            [one] => ["`", one, "`"].concat(),
            _ => ["one of `", &known.join("`, `"), "`"].concat(),
        };
        Self::new(["unknown ", kind, " `", name, "`, expected ", &expected].concat())
    }

    /// The way from the root.
    pub(super) fn path(&self) -> Vec<Step> {
        self.steps.iter().rev().cloned().collect()
    }

    pub(crate) fn inside(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl fmt::Display for LocatedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

fn describe(seen: &Tree<'_>) -> String {
    match seen {
        Tree::Null => "null".into(),
        Tree::Bool(value) => format!("boolean `{value}`"),
        Tree::Number(number) if number.is_f64() => format!("number `{number}`"),
        Tree::Number(number) => format!("integer `{number}`"),
        Tree::String(text) => format!("string {text:?}"),
        Tree::Array(_) => "list".into(),
        Tree::Object(_) => "map".into(),
    }
}

/// `contexts[3].match[0].path`
pub(super) fn place(path: &[Step]) -> String {
    let mut place = String::new();
    for step in path {
        match step {
            Step::Index(index) => place.push_str(&format!("[{index}]")),
            Step::Key(key) => {
                if !place.is_empty() {
                    place.push('.');
                }
                place.push_str(key);
            }
        }
    }
    place
}
