//! The texts in a JSON value, at any depth, without keeping the value: a line can be long.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Hands out every text in the JSON value that `bytes` begin with, names of members aside, and every list of bytes as
/// the text that it is: so journald writes what has control characters in it. Returns the bytes behind the value.
pub(super) fn texts<'b>(bytes: &'b [u8], each: &mut dyn FnMut(&[u8])) -> serde_json::Result<&'b [u8]> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    Texts(each).deserialize(&mut json)?;
    if json.end().is_ok() {
        return Ok(&[]);
    }
    // That parser does not tell where it is.
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
    values.next();
    Ok(&bytes[values.byte_offset()..])
}

/// The text that a JSON string at the beginning of `bytes` is, and how many bytes it takes there.
pub(super) fn text(bytes: &[u8]) -> Option<(Cow<'_, str>, usize)> {
    #[derive(Deserialize)]
    struct Text<'t>(#[serde(borrow)] Cow<'t, str>);
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Text<'_>>();
    let text = values.next()?.ok()?.0;
    Some((text, values.byte_offset()))
}

/// Whether a JSON object has a member `schema` that is one of records.
pub(super) fn is_record(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Top<'t> {
        #[serde(borrow)]
        schema: Option<Cow<'t, str>>,
    }
    let top = serde_json::from_slice::<Top<'_>>(bytes);
    top.is_ok_and(|top| top.schema.is_some_and(|schema| schema.starts_with("careplane.audit/v")))
}

struct Texts<'f>(&'f mut dyn FnMut(&[u8]));

/// The number that a value is, where it can be a byte.
type Byte = Option<u8>;

impl<'de> DeserializeSeed<'de> for Texts<'_> {
    type Value = Byte;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Byte, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Texts<'_> {
    type Value = Byte;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Byte, E> {
        (self.0)(text.as_bytes());
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Byte, A::Error> {
        let mut bytes = Some(Vec::new());
        while let Some(byte) = items.next_element_seed(Texts(&mut *self.0))? {
            match (&mut bytes, byte) {
                (Some(bytes), Some(byte)) => bytes.push(byte),
                _ => bytes = None,
            }
        }
        if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
            (self.0)(&bytes);
        }
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Byte, A::Error> {
        while members.next_key::<IgnoredAny>()?.is_some() {
            members.next_value_seed(Texts(&mut *self.0))?;
        }
        Ok(None)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Byte, E> {
        Ok(u8::try_from(number).ok())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Byte, E> {
        // Some journals are written with signed bytes.
        Ok(i8::try_from(number).ok().map(|byte| byte as u8))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Byte, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Byte, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Byte, E> {
        Ok(None)
    }
}
