//! A deserialiser over a JSON tree whose errors know their place.
//!
//! `serde_path_to_error` over `serde_json::Value` does the same; for every type of the document it brings code twice over, together
//! a quarter of what the module may weigh. Here the place is only put together when there is an error, on its way out.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value, map};

/// A value of the tree.
pub(super) struct At<'v>(pub(super) &'v Value);

/// A value that does not fit.
#[derive(Debug)]
pub(super) struct Misfit {
    pub(super) message: String,
    /// The way to it, innermost first.
    steps: Vec<Step>,
}

/// One step into the tree.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

// === impl Misfit ===

impl Misfit {
    /// The way from the root.
    pub(super) fn path(&self) -> Vec<Step> {
        self.steps.iter().rev().cloned().collect()
    }

    fn inside(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), steps: Vec::new() }
    }

    // serde's own wording, without its way of writing floats: that alone would weigh what a filter does.
    fn invalid_type(seen: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("invalid type: {}, expected {expected}", describe(&seen)))
    }

    fn invalid_value(seen: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("invalid value: {}, expected {expected}", describe(&seen)))
    }
}

fn describe(seen: &Unexpected<'_>) -> String {
    match seen {
        Unexpected::Bool(value) => format!("boolean `{value}`"),
        Unexpected::Unsigned(value) => format!("integer `{value}`"),
        Unexpected::Signed(value) => format!("integer `{value}`"),
        Unexpected::Float(value) => format!("number `{}`", Value::from(*value)),
        Unexpected::Str(text) => format!("string {text:?}"),
        Unexpected::Unit | Unexpected::Option => "null".into(),
        Unexpected::Seq => "list".into(),
        Unexpected::Map => "map".into(),
        _ => "something else".into(),
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misfit {}

/// `contexts[3].match[0].path`
pub(super) fn place(path: &[Step]) -> String {
    let mut place = String::new();
    for step in path {
        match step {
            Step::Index(index) => place.push_str(&format!("[{index}]")),
            Step::Key(key) if place.is_empty() => place.push_str(key),
            Step::Key(key) => place.push_str(&format!(".{key}")),
        }
    }
    place
}

// === impl At ===

impl<'v> At<'v> {
    fn unexpected(&self) -> Unexpected<'v> {
        match self.0 {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => Unexpected::Unsigned(value),
                (_, Some(value), _) => Unexpected::Signed(value),
                (_, _, value) => Unexpected::Float(value.unwrap_or_default()),
            },
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        }
    }
}

impl<'de> Deserializer<'de> for At<'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(_) => match self.unexpected() {
                Unexpected::Unsigned(value) => visitor.visit_u64(value),
                Unexpected::Signed(value) => visitor.visit_i64(value),
                Unexpected::Float(value) => visitor.visit_f64(value),
                other => Err(de::Error::invalid_type(other, &visitor)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(list) => visitor.visit_seq(Elements { rest: list.iter(), next: 0 }),
            Value::Object(map) => visitor.visit_map(Members::of(map)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// From a map alone: serde would also take a list as the fields in their order.
    // Each type is read in one place, so all would end up in one function, and V8 would need 10 MB more to compile it, for ever: Envoy's
    // allocator keeps them. The same goes for every `inline(never)` in this crate.
    #[inline(never)]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Object(map) => visitor.visit_map(Members::of(map)),
            _ => Err(de::Error::invalid_type(self.unexpected(), &"a map")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::String(word) => visitor.visit_enum(word.as_str().into_deserializer()),
            Value::Object(map) if map.len() == 1 => visitor.visit_enum(MapAccessDeserializer::new(Members::of(map))),
            _ => {
                let one = format!("one of {}", variants.join(", "));
                Err(de::Error::invalid_value(self.unexpected(), &one.as_str()))
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

struct Elements<'v> {
    rest: std::slice::Iter<'v, Value>,
    next: usize,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        let Some(value) = self.rest.next() else { return Ok(None) };
        let index = self.next;
        self.next = self.next.saturating_add(1);
        seed.deserialize(At(value)).map(Some).map_err(|misfit| misfit.inside(Step::Index(index)))
    }
}

struct Members<'v> {
    rest: map::Iter<'v>,
    value: Option<(&'v str, &'v Value)>,
}

impl<'v> Members<'v> {
    fn of(map: &'v Map<String, Value>) -> Self {
        Self { rest: map.iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some((key, value));
        // An unknown field is a fault of its key.
        let key: de::value::BorrowedStrDeserializer<'de, Misfit> = de::value::BorrowedStrDeserializer::new(key);
        let name = self.value.map(|(name, _)| name).unwrap_or_default();
        seed.deserialize(key).map(Some).map_err(|misfit| misfit.inside(Step::Key(name.into())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let (key, value) = self.value.take().ok_or_else(|| de::Error::custom("a value without a key"))?;
        seed.deserialize(At(value)).map_err(|misfit| misfit.inside(Step::Key(key.into())))
    }
}
