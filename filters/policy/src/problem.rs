//! What is wrong with a policy document: every problem at once, each with the place in the document.

use std::fmt;

/// More problems than this are counted, not listed: a log line has to stay readable.
const LISTED: usize = 100;

/// One thing to change in the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `contexts[3].match[0].path`; empty for the document as a whole.
    pub path: String,
    /// The value seen, and what would be accepted instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

/// All problems of one document, in the order of its sections. Never empty when returned as an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

// === impl Problems ===

impl Problems {
    /// Adds a problem at `path`.
    pub(crate) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into() });
    }

    pub(crate) fn one(path: impl Into<String>, message: impl Into<String>) -> Self {
        let mut problems = Self::default();
        problems.add(path, message);
        problems
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The problems in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// Whether a problem is already known at `path` or above it: a value that could not even be read
    /// needs no second complaint about what it means.
    pub(crate) fn covers(&self, path: &str) -> bool {
        self.0.iter().any(|known| {
            path.strip_prefix(known.path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    pub(crate) fn extend_uncovered(&mut self, other: Problems) {
        for problem in other.0 {
            if !self.covers(&problem.path) {
                self.0.push(problem);
            }
        }
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(LISTED).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        match self.0.len().checked_sub(LISTED) {
            Some(more) if more > 0 => write!(f, "\nand {more} more"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Problems {}
