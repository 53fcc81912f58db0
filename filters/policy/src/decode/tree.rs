//! A JSON value, with its texts where they are in the document.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use crate::slots::Slots;

/// In maps with so few keys, each is compared with all others.
const FEW: usize = 32;

/// A JSON value in which no map has a key twice: `serde_json` alone would keep the last and forget the others.
///
/// Texts are borrowed but for those with escapes, and maps are lists: a large policy is taken in half of the time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree<'t> {
    Null,
    Bool(bool),
    Number(Number),
    String(Cow<'t, str>),
    Array(Vec<Self>),
    Object(Map<'t>),
}

/// Keys and values, in the order in which they are written.
type Map<'t> = Vec<(Cow<'t, str>, Tree<'t>)>;

// === impl Tree ===

impl Tree<'_> {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// The value under a key of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(map) => map.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }
}

/// For the tools, which have documents as JSON values.
impl<'t> From<&'t Value> for Tree<'t> {
    fn from(value: &'t Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::String(text.into()),
            Value::Array(list) => Self::Array(list.iter().map(Into::into).collect()),
            Value::Object(map) => Self::Object(map.iter().map(|(key, value)| (key.into(), value.into())).collect()),
        }
    }
}

impl From<&Tree<'_>> for Value {
    fn from(tree: &Tree<'_>) -> Self {
        match tree {
            Tree::Null => Self::Null,
            Tree::Bool(value) => Self::Bool(*value),
            Tree::Number(number) => Self::Number(number.clone()),
            Tree::String(text) => Self::String(text.clone().into_owned()),
            Tree::Array(list) => Self::Array(list.iter().map(Into::into).collect()),
            Tree::Object(map) => {
                // Not `collect`, which sorts first: 4 kB of the module.
                let mut values = serde_json::Map::new();
                for (key, value) in map {
                    values.insert(key.clone().into_owned(), value.into());
                }
                Self::Object(values)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Grow)
    }
}

struct Grow;

impl<'de> Visitor<'de> for Grow {
    type Value = Tree<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree<'de>, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree<'de>, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree<'de>, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree<'de>, E> {
        Ok(Number::from_f64(value).map_or(Tree::Null, Tree::Number))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Tree<'de>, E> {
        Ok(Tree::String(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree<'de>, E> {
        Ok(Tree::String(value.to_owned().into()))
    }

    fn visit_unit<E>(self) -> Result<Tree<'de>, E> {
        Ok(Tree::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree<'de>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Tree::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree<'de>, A::Error> {
        let twice = |key: &str| de::Error::custom(format_args!("the key {key:?} is given twice"));
        let mut values = Map::new();
        while let Some(Key(key)) = map.next_key()? {
            if values.len() < FEW && values.iter().any(|(known, _)| *known == key) {
                return Err(twice(&key));
            }
            values.push((key, map.next_value()?));
        }
        if values.len() > FEW {
            let key_of = |number: u32| {
                let key = usize::try_from(number).ok().and_then(|number| values.get(number));
                key.map_or(&[][..], |(key, _)| key.as_bytes())
            };
            let mut slots = Slots::for_texts(values.len());
            for ((key, _), number) in values.iter().zip(0..) {
                if slots.put(number, key.as_bytes(), &key_of).is_some() {
                    return Err(twice(key));
                }
            }
        }
        Ok(Tree::Object(values))
    }
}

/// The key of a map, borrowed but for one with escapes.
struct Key<'t>(Cow<'t, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Tree::deserialize(deserializer)? {
            Tree::String(text) => Ok(Self(text)),
            _ => Err(de::Error::custom("expected a text as key")),
        }
    }
}
