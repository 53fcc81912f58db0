//! What a line holds: a record; JSON or CSV with records as texts in it; or a log line that a record follows. Read
//! where it is certain, and else an error: what has the marks of a record is never taken for something else.

use std::io;
use std::sync::LazyLock;

use memchr::memmem::{self, Finder};
use serde::de::IgnoredAny;

use super::{Sink, json};

/// How a record begins: in canonical form `chain` is its first member, and `id` that one's.
const BEGIN: &[u8] = br#"{"chain":{"id":""#;
/// The same within a text of JSON, and within a field of CSV.
const ESCAPED: &[u8] = br#"{\"chain\":{\"id\":\""#;
const DOUBLED: &[u8] = br#"{""chain"":{""id"":"""#;
/// The schema, which every record has once, as it is in any of these.
const SCHEMA: &[u8] = b"careplane.audit/v";
/// What is in a record, or before one, and in hardly anything else, in each of the ways in which it can be written.
/// More than one, so that a damaged byte cannot hide that there was a record.
static MARKS: LazyLock<Vec<Finder<'static>>> = LazyLock::new(|| {
    let marks: [&[u8]; 7] = [
        SCHEMA,
        br"careplane.audit\/v",
        br#"chain":{"id":"#,
        br#"chain\":{\"id\":"#,
        br#"chain"":{""id"":"#,
        b"99,97,114,101,112,108,97,110,101,46,97,117,100,105,116,47,118",
        b"99, 97, 114, 101, 112, 108, 97, 110, 101, 46, 97, 117, 100, 105, 116, 47, 118",
    ];
    marks.into_iter().map(Finder::new).collect()
});
/// How many texts can be within each other: JSON in a log line in JSON in what a store exports.
const NESTED: u32 = 4;

const NOT_AS_WRITTEN: &str = "there is a part of a record, or one that another program took apart: give the line as \
                              the proxy wrote it, neither parsed nor cut";
const UTF16_WITHIN: &str =
    "there is a record in UTF-16 within a file that is not: convert that part (iconv -f UTF-16LE -t UTF-8)";

/// Where the records of a line go to: the sink, and the text or what is wrong.
type Found<'f> = &'f mut dyn FnMut(Sink, Result<&[u8], String>) -> io::Result<()>;

/// Hands out the records of `line`: their number in it (0 where a number says nothing) and their text, or what is
/// wrong.
pub(super) fn read(
    line: &[u8],
    mut found: impl FnMut(u32, Sink, Result<&[u8], String>) -> io::Result<()>,
) -> io::Result<()> {
    let line = line.trim_ascii();
    if line.starts_with(BEGIN) {
        return found(0, Sink::AccessLog, Ok(line));
    }
    if !is_marked(line) {
        return if is_utf16(line) { found(0, Sink::ProxyLog, Err(UTF16_WITHIN.into())) } else { Ok(()) };
    }
    let is_json = line.starts_with(b"{");
    if is_json && !contains(line, BEGIN) && json::is_record(line) {
        // It is a record itself, and damaged; parsing it says how.
        return found(0, Sink::AccessLog, Ok(line));
    }
    let (mut number, mut schemas, mut is_wrong) = (0, 0, false);
    let mut numbered = |sink: Sink, text: Result<&[u8], String>| {
        number += 1;
        schemas += text.as_ref().map_or(0, |text| memmem::find_iter(text, SCHEMA).count());
        is_wrong |= text.is_err();
        // Nothing but damage brings a second record into a line of a log.
        found(if is_json && text.is_ok() || number > 1 { number } else { 0 }, sink, text)
    };
    read_marked(line, is_json, &mut numbered)?;
    // A record that was taken apart beside ones that were not, or in a way that nothing above knows.
    if !is_wrong && (number == 0 || memmem::find_iter(line, SCHEMA).count() > schemas) {
        let sink = if is_json { Sink::Collector } else { Sink::ProxyLog };
        return found(if number == 0 { 0 } else { number + 1 }, sink, Err(NOT_AS_WRITTEN.into()));
    }
    Ok(())
}

fn read_marked(line: &[u8], is_json: bool, found: Found<'_>) -> io::Result<()> {
    if is_json && !contains(line, BEGIN) {
        return read_json(line, NESTED, found);
    }
    if line.starts_with(b"[") && serde_json::from_slice::<IgnoredAny>(line).is_ok() {
        return read_json(line, NESTED, found);
    }
    if contains(line, BEGIN) {
        return follow(line, if is_json { Sink::Collector } else { Sink::ProxyLog }, found);
    }
    if contains(line, DOUBLED) {
        return read_csv(line, found);
    }
    quoted(line, found)
}

/// The records that are texts of a JSON value, or are in texts of it.
fn read_json(bytes: &[u8], nested: u32, found: Found<'_>) -> io::Result<()> {
    let mut failed = None;
    let walked = json::texts(bytes, &mut |text| {
        let text = text.trim_ascii();
        let done = if text.starts_with(BEGIN) {
            found(Sink::Collector, Ok(text))
        } else if contains(text, BEGIN) {
            follow(text, Sink::ProxyLog, found)
        } else if nested > 0 && text.starts_with(b"{") && is_marked(text) {
            read_json(text, nested - 1, found)
        } else if is_marked(text) {
            found(Sink::ProxyLog, Err(NOT_AS_WRITTEN.into()))
        } else {
            Ok(())
        };
        failed = done.err().or(failed.take());
    });
    match (failed, walked) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => found(Sink::Collector, Err(format!("this is not JSON as it stands: {error}"))),
        (None, Ok(())) => Ok(()),
    }
}

/// The records in a text that says something before them, and perhaps behind.
fn follow(text: &[u8], sink: Sink, found: Found<'_>) -> io::Result<()> {
    let mut rest = text;
    while let Some(begin) = memmem::find(rest, BEGIN) {
        let record = &rest[begin..];
        let mut values = serde_json::Deserializer::from_slice(record).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(_)) => found(sink, Ok(&record[..values.byte_offset()]))?,
            Some(Err(error)) => return found(sink, Err(format!("this is not JSON as it stands: {error}"))),
            None => return Ok(()),
        }
        rest = &record[values.byte_offset()..];
    }
    if is_marked(rest) { found(sink, Err(NOT_AS_WRITTEN.into())) } else { Ok(()) }
}

/// The records in the fields of a line of CSV, where they have no line ends.
fn read_csv(line: &[u8], found: Found<'_>) -> io::Result<()> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(line);
    let mut fields = csv::ByteRecord::new();
    if !reader.read_byte_record(&mut fields).is_ok_and(|is_some| is_some) {
        return Ok(());
    }
    for field in fields.iter().map(<[u8]>::trim_ascii) {
        if field.starts_with(BEGIN) {
            found(Sink::Collector, Ok(field))?;
        } else if contains(field, BEGIN) {
            follow(field, Sink::ProxyLog, found)?;
        }
    }
    Ok(())
}

/// The records in quoted texts of a line: of JSON that is spread over lines, as command lines of clouds print it, and
/// of logfmt.
fn quoted(line: &[u8], found: Found<'_>) -> io::Result<()> {
    let mut rest = line;
    while let Some(begin) = memmem::find(rest, ESCAPED) {
        let is_open = |quote: &usize| *quote == 0 || rest[quote - 1] != b'\\';
        let quote = memchr::memrchr_iter(b'"', &rest[..begin]).find(is_open);
        let Some((quote, (text, length))) = quote.and_then(|quote| Some((quote, json::text(&rest[quote..])?))) else {
            return Ok(());
        };
        let text = text.trim_ascii().as_bytes();
        if text.starts_with(BEGIN) {
            found(Sink::Collector, Ok(text))?;
        } else {
            follow(text, Sink::ProxyLog, found)?;
        }
        rest = &rest[quote + length..];
    }
    Ok(())
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memmem::find(text, part).is_some()
}

fn is_marked(text: &[u8]) -> bool {
    MARKS.iter().any(|mark| mark.find(text).is_some())
}

/// Whether it has the marks of a record between bytes that are none.
fn is_utf16(line: &[u8]) -> bool {
    memchr::memchr(0, line).is_some() && {
        let text: Vec<u8> = line.iter().copied().filter(|byte| *byte != 0).collect();
        is_marked(&text)
    }
}
