//! Values of the document, read from a JSON tree.
//!
//! serde's derive brings 2 to 8 kB of code for each struct, together an eighth of what the module may weigh. Here a
//! struct is a list of names and fields, and one function reads them all.

use std::collections::BTreeMap;

use serde_json::Value;

use super::located::{LocatedError, Step};
use super::tree::Tree;

/// What can be read from JSON.
pub(crate) trait Read: Sized {
    fn read(value: &Tree<'_>) -> Result<Self, LocatedError>;
}

/// A field of a document, whatever its type.
pub(crate) trait Field {
    fn fill(&mut self, value: &Tree<'_>) -> Result<(), LocatedError>;
}

impl<T: Read> Field for T {
    fn fill(&mut self, value: &Tree<'_>) -> Result<(), LocatedError> {
        *self = T::read(value)?;
        Ok(())
    }
}

/// Fills the fields of a struct from a map. `names` and `fields` are in the same order.
// ARCHITECTURE.md says why, of every `inline(never)`.
#[inline(never)]
pub(crate) fn fill_fields(names: &[&str], fields: &mut [&mut dyn Field], value: &Tree<'_>) -> Result<(), LocatedError> {
    let Tree::Object(map) = value else { return Err(LocatedError::invalid_type(value, "a map")) };
    for (name, value) in map {
        let index = names.iter().position(|known| known == name);
        let filled = match index.and_then(|index| fields.get_mut(index)) {
            Some(field) => field.fill(value),
            None => Err(LocatedError::unknown("field", name, names)),
        };
        filled.map_err(|misfit| misfit.inside(Step::Key(name.to_string())))?;
    }
    Ok(())
}

/// Which of `words` is written.
#[inline(never)]
pub(crate) fn word(words: &[&str], value: &Tree<'_>) -> Result<usize, LocatedError> {
    let Tree::String(word) = value else {
        return Err(LocatedError::invalid_value(value, &["one of ", &words.join(", ")].concat()));
    };
    words.iter().position(|known| known == word).ok_or_else(|| LocatedError::unknown("word", word, words))
}

/// Structs by the names of their fields. What the document does not say is the struct's default.
macro_rules! fields {
    ($($type:ident { $($name:literal: $field:ident),+ $(,)? })+) => {$(
        impl crate::decode::Read for $type {
            fn read(value: &crate::decode::Tree<'_>) -> Result<Self, crate::decode::LocatedError> {
                let mut read = Self::default();
                // Without `..`: a field without a name does not compile.
                let Self { $($field),+ } = &mut read;
                crate::decode::fill_fields(&[$($name),+], &mut [$($field),+], value)?;
                Ok(read)
            }
        }
    )+};
}

/// Enums by the words for their variants.
macro_rules! words {
    ($($type:ident { $($word:literal: $variant:ident),+ $(,)? })+) => {$(
        impl $type {
            /// The word in the document; where there is one, also in headers, on tags and on records.
            pub fn as_str(self) -> &'static str {
                // A variant without a word does not compile.
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl crate::decode::Read for $type {
            fn read(value: &crate::decode::Tree<'_>) -> Result<Self, crate::decode::LocatedError> {
                let index = crate::decode::word(&[$($word),+], value)?;
                // There are as many variants as words.
                [$(Self::$variant),+].get(index).copied().ok_or_else(|| crate::decode::LocatedError::new(String::new()))
            }
        }
    )+};
}

pub(crate) use {fields, words};

impl Read for String {
    fn read(value: &Tree<'_>) -> Result<Self, LocatedError> {
        match value {
            Tree::String(text) => Ok(text.clone().into_owned()),
            other => Err(LocatedError::invalid_type(other, "a string")),
        }
    }
}

impl Read for bool {
    fn read(value: &Tree<'_>) -> Result<Self, LocatedError> {
        match value {
            Tree::Bool(value) => Ok(*value),
            other => Err(LocatedError::invalid_type(other, "a boolean")),
        }
    }
}

impl Read for u64 {
    fn read(value: &Tree<'_>) -> Result<Self, LocatedError> {
        const WHOLE: &str = "a whole number, 0 or more";
        value.as_u64().ok_or_else(|| match value {
            Tree::Number(number) if number.is_i64() => LocatedError::invalid_value(value, WHOLE),
            _ => LocatedError::invalid_type(value, WHOLE),
        })
    }
}

impl Read for f64 {
    fn read(value: &Tree<'_>) -> Result<Self, LocatedError> {
        match value {
            Tree::Number(number) => number.as_f64(),
            _ => None,
        }
        .ok_or_else(|| LocatedError::invalid_type(value, "a number"))
    }
}

impl Read for Value {
    fn read(value: &Tree<'_>) -> Result<Self, LocatedError> {
        Ok(value.into())
    }
}

impl<T: Read> Read for Option<T> {
    fn read(value: &Tree<'_>) -> Result<Self, LocatedError> {
        if *value == Tree::Null { Ok(None) } else { T::read(value).map(Some) }
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(value: &Tree<'_>) -> Result<Self, LocatedError> {
        let Tree::Array(list) = value else { return Err(LocatedError::invalid_type(value, "a list")) };
        let mut read = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            read.push(T::read(value).map_err(|misfit| misfit.inside(Step::Index(index)))?);
        }
        Ok(read)
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(value: &Tree<'_>) -> Result<Self, LocatedError> {
        let Tree::Object(map) = value else { return Err(LocatedError::invalid_type(value, "a map")) };
        let mut read = BTreeMap::new();
        for (name, value) in map {
            read.insert(name.to_string(), T::read(value).map_err(|misfit| misfit.inside(Step::Key(name.to_string())))?);
        }
        Ok(read)
    }
}
