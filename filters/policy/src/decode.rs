//! Bytes → [`Document`], with every problem of shape at once.
//!
//! serde stops at the first error. So when there is one, it is noted, the value it is about is taken out, and the rest
//! is read again, until what is left can be read: one more pass for each problem, and none for a good document.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::document::Document;
use crate::problem::Problems;

/// A document with more problems of shape than this is not a policy document: reading on would help nobody.
const PASSES: usize = 200;

/// Reads a document as the proxy hands it over: JSON.
///
/// Beside the document: every problem of shape, such as fields that do not exist and values of the wrong type. When there are
/// some, the document is what could be read.
pub(crate) fn from_json(bytes: &[u8]) -> (Document, Problems) {
    // The good case first, without a tree between the bytes and the types: ten thousand tenants are common.
    let refused = match serde_json::from_slice::<Document>(bytes) {
        // serde would read a list as the fields in their order.
        Ok(document) if bytes.trim_ascii_start().starts_with(b"{") => return (document, Problems::default()),
        Ok(_) => None,
        Err(refused) => Some(refused),
    };
    let tree = match serde_json::from_slice::<Value>(bytes) {
        Ok(tree) => tree,
        Err(error) => {
            let message = format!("not JSON: {error} (Istio and Envoy turn YAML into JSON on the way)");
            return (Document::default(), Problems::one("", message));
        }
    };
    match (from_value(tree), refused) {
        // Only what a tree cannot show, such as a key given twice.
        ((document, problems), Some(refused)) if problems.is_empty() => {
            (document, Problems::one("", refused.to_string()))
        }
        (decoded, _) => decoded,
    }
}

/// Reads a document as people write it: YAML, or JSON, which is YAML too.
///
/// Returns what [`from_json`] does.
#[cfg(feature = "yaml")]
pub(crate) fn from_yaml(text: &str) -> (Document, Problems) {
    match serde_saphyr::from_str::<Value>(text) {
        Ok(tree) => from_value(tree),
        Err(error) => (Document::default(), Problems::one("", format!("not YAML: {error}"))),
    }
}

fn from_value(mut tree: Value) -> (Document, Problems) {
    if !tree.is_object() {
        let message = format!("{} is not a policy document: expected a map with `version`", Seen(&tree));
        return (Document::default(), Problems::one("", message));
    }
    let mut problems = Problems::default();
    for _ in 0..PASSES {
        match read::<Document>(&tree) {
            Ok(document) => return (document, problems),
            Err((path, message)) => {
                let place = path.to_string();
                if !problems.covers(&place) {
                    problems.add(place, message);
                }
                if !take_out(&mut tree, &path) {
                    break;
                }
            }
        }
    }
    (Document::default(), problems)
}

fn read<T: DeserializeOwned>(tree: &Value) -> Result<T, (Path, String)> {
    serde_path_to_error::deserialize(tree).map_err(|error| {
        let path = error.path().clone();
        (path, error.into_inner().to_string())
    })
}

/// Removes what `path` leads to, so that the next pass sees what comes after it. False when there is nothing to remove.
///
/// An element of a list is emptied rather than removed, so that the numbers of the others stay what the author counts.
fn take_out(tree: &mut Value, path: &Path) -> bool {
    let mut steps: Vec<&Segment> =
        path.iter().filter(|segment| matches!(segment, Segment::Map { .. } | Segment::Seq { .. })).collect();
    while let Some(last) = steps.pop() {
        let parent = steps.iter().try_fold(&mut *tree, |node, step| match step {
            Segment::Map { key } => node.get_mut(key),
            Segment::Seq { index } => node.get_mut(index),
            _ => None,
        });
        let removed = match (parent, last) {
            (Some(Value::Object(map)), Segment::Map { key }) => map.remove(key).is_some(),
            (Some(Value::Array(list)), Segment::Seq { index }) => list.get_mut(*index).is_some_and(|element| {
                let empty = Value::Object(serde_json::Map::new());
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
    }
    false
}

/// A value as a problem shows it: short, on one line.
pub(crate) struct Seen<'a>(pub(crate) &'a Value);

impl std::fmt::Display for Seen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Value::Object(_) => f.write_str("a map"),
            Value::Array(_) => f.write_str("a list"),
            other => write!(f, "{other}"),
        }
    }
}
