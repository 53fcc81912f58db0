//! Bytes → [`Document`], with every problem of shape at once.
//!
//! Reading stops at the first problem. So when there is one, it is noted, the value it is about is taken out, and the
//! rest is read again, until what is left can be read: one more pass for each problem, and none for a good document.

mod entries;
mod located;
mod read;

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};

pub(crate) use entries::take_out as take_out_entries;
pub(crate) use located::{LocatedError, Step};
pub(crate) use read::{Read, fields, fill_fields, word, words};

use crate::document::Document;
use crate::problem::Problems;

/// A document with more problems of shape than this is not a policy document, and its list would help no reader.
const PASSES: usize = 200;

/// Reads a document as the proxy hands it over: JSON.
///
/// Beside the document: every problem of shape, such as fields that do not exist and values of the wrong type. When
/// there are some, the document is what could be read.
pub(crate) fn from_json(bytes: &[u8]) -> (Document, Problems) {
    match serde_json::from_slice::<Tree>(bytes) {
        Ok(Tree(tree)) => from_value(tree),
        Err(error) => {
            let message = format!("not the JSON of a policy document: {error}");
            (Document::default(), Problems::one("", message))
        }
    }
}

fn from_value(mut tree: Value) -> (Document, Problems) {
    if !tree.is_object() {
        let message = format!("{} is not a policy document: expected a map with `version`", Seen(&tree));
        return (Document::default(), Problems::one("", message));
    }
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
fn take_out(tree: &mut Value, mut path: &[Step]) -> bool {
    while let Some((last, way)) = path.split_last() {
        let parent = way.iter().try_fold(&mut *tree, |node, step| match step {
            Step::Key(key) => node.get_mut(key),
            Step::Index(index) => node.get_mut(index),
        });
        let removed = match (parent, last) {
            (Some(Value::Object(map)), Step::Key(key)) => map.remove(key).is_some(),
            (Some(Value::Array(list)), Step::Index(index)) => list.get_mut(*index).is_some_and(|element| {
                let empty = Value::Object(Map::new());
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
            other => write!(f, "{other}"),
        }
    }
}

/// For the tools, which have documents as JSON values.
impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// A JSON value in which no map has a key twice: `serde_json` alone would keep the last and forget the others.
pub(crate) struct Tree(pub(crate) Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Grow;
        impl<'de> Visitor<'de> for Grow {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
                let mut values = Vec::new();
                while let Some(Tree(value)) = list.next_element()? {
                    values.push(value);
                }
                Ok(Value::Array(values))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut values = Map::new();
                while let Some((key, Tree(value))) = map.next_entry::<String, Tree>()? {
                    match values.entry(key) {
                        Entry::Vacant(place) => place.insert(value),
                        Entry::Occupied(place) => {
                            return Err(de::Error::custom(format_args!("the key {:?} is given twice", place.key())));
                        }
                    };
                }
                Ok(Value::Object(values))
            }
        }
        deserializer.deserialize_any(Grow).map(Tree)
    }
}
