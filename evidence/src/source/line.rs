//! What a line holds: a record; JSON with records as texts in it (OTLP, a log in JSON); or a log line that a record follows.

use std::io;

use super::Way;
use memchr::memmem;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// How a record begins: in canonical form `chain` is its first member, and `id` that one's.
const BEGIN: &[u8] = br#"{"chain":{"id":""#;
/// What is in a record, or before one, and in hardly anything else, also where its quotes are escaped. More than one, so that a
/// damaged byte cannot hide that there was a record.
const MARKS: [&[u8]; 3] = [b"careplane.audit/v", br#"chain":{"id":"#, br#"chain\":{\"id\":"#];

/// Hands out the records of `line`: their number in it (0 where a number says nothing) and their text, or what is wrong.
pub(super) fn read(
    line: &[u8],
    mut found: impl FnMut(u32, Way, Result<&[u8], String>) -> io::Result<()>,
) -> io::Result<()> {
    let line = line.trim_ascii();
    if line.starts_with(BEGIN) {
        return found(0, Way::AccessLog, Ok(line));
    }
    if !is_marked(line) {
        return Ok(());
    }
    let is_json = line.starts_with(b"{");
    let mut number = 0;
    let mut numbered = |way: Way, text: Result<&[u8], String>| {
        number += 1;
        // Nothing but damage brings a second record into a line of a log.
        found(if is_json || number > 1 { number } else { 0 }, way, text)
    };
    if !is_json {
        return follow(line, &mut |text| numbered(Way::ProxyLog, text));
    }
    let mut failed = None;
    let mut json = serde_json::Deserializer::from_slice(line);
    let walked = Texts(&mut |text: &str| {
        let text = text.trim_ascii().as_bytes();
        let done = if text.starts_with(BEGIN) {
            numbered(Way::Collector, Ok(text))
        } else {
            follow(text, &mut |text| numbered(Way::ProxyLog, text))
        };
        failed = done.err().or(failed.take());
    });
    let walked = walked.deserialize(&mut json).and_then(|()| json.end());
    match (failed, walked) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => found(0, Way::Collector, Err(format!("this is not JSON as it stands: {error}"))),
        // No text in it is a record: then it is one itself, and damaged.
        (None, Ok(())) if number == 0 => found(0, Way::AccessLog, Ok(line)),
        (None, Ok(())) => Ok(()),
    }
}

fn is_marked(text: &[u8]) -> bool {
    MARKS.iter().any(|mark| memmem::find(text, mark).is_some())
}

/// The records in a text that says something before them, and perhaps behind.
fn follow(text: &[u8], found: &mut impl FnMut(Result<&[u8], String>) -> io::Result<()>) -> io::Result<()> {
    let mut rest = text;
    while let Some(begin) = memmem::find(rest, BEGIN) {
        let record = &rest[begin..];
        let mut values = serde_json::Deserializer::from_slice(record).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(_)) => found(Ok(&record[..values.byte_offset()]))?,
            Some(Err(error)) => return found(Err(format!("this is not JSON as it stands: {error}"))),
            None => return Ok(()),
        }
        rest = &record[values.byte_offset()..];
    }
    // A name alone is no record: there has to be JSON around it.
    if is_marked(rest) && rest.contains(&b'"') {
        return found(Err("there is a part of a record, without its beginning".into()));
    }
    Ok(())
}

/// Every text in a JSON value, at any depth, names of members aside. None is kept: a line can be long.
struct Texts<'f, F>(&'f mut F);

impl<'de, F: FnMut(&str)> DeserializeSeed<'de> for Texts<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(&str)> Visitor<'de> for Texts<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        (self.0)(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Texts(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while members.next_key::<IgnoredAny>()?.is_some() {
            members.next_value_seed(Texts(&mut *self.0))?;
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
