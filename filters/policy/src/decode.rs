//! Bytes → [`Document`], with every problem of shape at once.
//!
//! Reading stops at the first problem. So when there is one, it is noted, the value it is about is taken out, and the
//! rest is read again, until what is left can be read: one more pass for each problem, and none for a good document.

mod entries;
mod located;
mod read;
mod tree;

use std::fmt;

use serde::de::{self, Deserialize, Deserializer};
use serde_json::Value;

pub(crate) use entries::take_out as take_out_entries;
pub(crate) use located::{LocatedError, Step};
pub(crate) use read::{Read, fields, fill_fields, word, words};
pub(crate) use tree::Tree;

use crate::document::Document;
use crate::problem::Problems;

/// A document with more problems of shape than this is not a policy document, and its list would help no reader.
const PASSES: usize = 200;

/// Reads a document as the proxy hands it over: JSON.
///
/// Beside the document: every problem of shape, such as fields that do not exist and values of the wrong type. When
/// there are some, the document is what could be read.
pub(crate) fn from_json(bytes: &[u8]) -> (Document, Problems) {
    match serde_json::from_slice(bytes) {
        Ok(tree) => from_tree(tree),
        Err(error) => {
            let message = format!("not the JSON of a policy document: {error}");
            (Document::default(), Problems::one("", message))
        }
    }
}

fn from_tree(tree: Tree<'_>) -> (Document, Problems) {
    if !matches!(tree, Tree::Object(_)) {
        let message = format!("{} is not a policy document: expected a map with `version`", Seen(&Value::from(&tree)));
        return (Document::default(), Problems::one("", message));
    }
    if let Ok(document) = Document::read(&tree) {
        return (document, Problems::default());
    }
    // Problems are in the order of names, whatever the order in which the proxy hands them over.
    let sorted = Value::from(&tree);
    let mut tree = Tree::from(&sorted);
    let mut problems = Problems::default();
    for _ in 0..PASSES {
        match Document::read(&tree) {
            Ok(document) => return (document, problems),
            Err(misfit) => {
                let path = misfit.path();
                let place = located::place(&path);
                if !problems.covers(&place) {
                    problems.add(place, misfit.message);
                }
                if !take_out(&mut tree, &path) {
                    break;
                }
            }
        }
    }
    // About the whole document, so that the meaning of what was not read is not checked.
    problems.add("", "there are too many problems to read on: the rest of the document has not been looked at");
    (Document::default(), problems)
}

/// Removes what `path` leads to, so that the next pass sees what comes after it. False when there is nothing to remove.
///
/// An element of a list is emptied rather than removed, so that the numbers of the others stay what the author counts.
fn take_out(tree: &mut Tree<'_>, mut path: &[Step]) -> bool {
    while let Some((last, way)) = path.split_last() {
        let parent = way.iter().try_fold(&mut *tree, |node, step| match (node, step) {
            (Tree::Object(map), Step::Key(key)) => map.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value),
            (Tree::Array(list), Step::Index(index)) => list.get_mut(*index),
            _ => None,
        });
        let removed = match (parent, last) {
            (Some(Tree::Object(map)), Step::Key(key)) => {
                map.iter().position(|(name, _)| name == key).map(|place| map.remove(place)).is_some()
            }
            (Some(Tree::Array(list)), Step::Index(index)) => list.get_mut(*index).is_some_and(|element| {
                let empty = Tree::Object(Vec::new());
                // Emptied before, and still refused: not a list of maps, so the whole list goes.
                *element != empty && {
                    *element = empty;
                    true
                }
            }),
            _ => false,
        };
        if removed {
            return true;
        }
        path = way;
    }
    false
}

/// A value as a problem shows it: short, on one line.
pub(crate) struct Seen<'a>(pub(crate) &'a Value);

impl fmt::Display for Seen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Object(_) => f.write_str("a map"),
            Value::Array(_) => f.write_str("a list"),
            // Not as JSON, whose writer is 5 kB of the module.
            Value::String(text) => write!(f, "{text:?}"),
            Value::Number(number) => write!(f, "{number}"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Null => f.write_str("null"),
        }
    }
}

/// For the tools, which have documents as JSON values.
impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&Tree::from(&Value::deserialize(deserializer)?)).map_err(de::Error::custom)
    }
}
