//! What a line holds: a record; JSON or CSV with records as texts in it; or a log line that a record follows. Read
//! where it is certain, and else an error: what has the marks of a record is never taken for something else.

use std::fmt::Display;
use std::io;
use std::sync::LazyLock;

use memchr::memmem::{self, Finder};
use serde::de::IgnoredAny;

use super::{Sink, json};

/// How a record begins: in canonical form `chain` is its first member, and `id` that one's.
const BEGIN: &[u8] = br#"{"chain":{"id":""#;
/// Made once: to make it takes longer than to look through a record.
static BEGINS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(BEGIN));
/// The same within a text of JSON, and within a field of CSV.
const ESCAPED: &[u8] = br#"{\"chain\":{\"id\":\""#;
const DOUBLED: &[u8] = br#"{""chain"":{""id"":"""#;
/// The schema, which every record has once, as it is in any of these.
pub(super) const SCHEMA: &[u8] = b"careplane.audit/v";
/// How many of the marks are the schema.
const SCHEMAS: usize = 4;
/// What is in a record, or before one, and in hardly anything else, in each of the ways in which it can be written: the
/// schema first. More than one, so that a damaged byte cannot hide that there was a record.
static MARKS: LazyLock<Vec<Finder<'static>>> = LazyLock::new(|| {
    let marks: [&[u8]; 7] = [
        SCHEMA,
        br"careplane.audit\/v",
        b"99,97,114,101,112,108,97,110,101,46,97,117,100,105,116,47,118",
        b"99, 97, 114, 101, 112, 108, 97, 110, 101, 46, 97, 117, 100, 105, 116, 47, 118",
        br#"chain":{"id":"#,
        br#"chain\":{\"id\":"#,
        br#"chain"":{""id"":"#,
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
    if line.starts_with(BEGIN) && !has_record(&line[1..]) {
        return found(0, Sink::AccessLog, Ok(line));
    }
    if !is_marked(line) {
        return if is_utf16(line) { found(0, Sink::ProxyLog, Err(UTF16_WITHIN.into())) } else { Ok(()) };
    }
    let is_json = line.starts_with(b"{");
    if is_json && !has_record(line) && json::is_record(line) {
        // It is a record itself, and damaged; parsing it says how.
        return found(0, Sink::AccessLog, Ok(line));
    }
    let (mut number, mut schemas, mut is_wrong) = (0, 0, false);
    let mut numbered = |sink: Sink, text: Result<&[u8], String>| {
        number += 1;
        schemas += text.as_ref().map_or(0, |text| memmem::find_iter(text, SCHEMA).count());
        is_wrong |= text.is_err();
        // Nothing but damage brings a second record into a line of a log; what is between records is in none of them.
        let is_in_one = if text.is_ok() { is_json || number > 1 } else { number > 1 && sink != Sink::AccessLog };
        found(if is_in_one { number } else { 0 }, sink, text)
    };
    read_marked(line, is_json, &mut numbered)?;
    // A record that was taken apart beside ones that were not, or in a way that nothing above knows.
    if !is_wrong && (number == 0 || schemas_in(line) > schemas) {
        let sink = if is_json { Sink::Collector } else { Sink::ProxyLog };
        return found(if number == 0 { 0 } else { number + 1 }, sink, Err(NOT_AS_WRITTEN.into()));
    }
    Ok(())
}

fn read_marked(line: &[u8], is_json: bool, found: Found<'_>) -> io::Result<()> {
    if is_json && !has_record(line) {
        return read_json(line, NESTED, found);
    }
    if line.starts_with(b"[") && serde_json::from_slice::<IgnoredAny>(line).is_ok() {
        return read_json(line, NESTED, found);
    }
    if has_record(line) {
        let sink = match line {
            _ if line.starts_with(BEGIN) => Sink::AccessLog,
            _ if is_json => Sink::Collector,
            _ => Sink::ProxyLog,
        };
        return follow(line, sink, found);
    }
    if contains(line, DOUBLED) {
        return read_csv(line, found);
    }
    quoted(line, found)
}

/// The records that are texts of JSON values, or are in texts of them: of one value, or of several where a writer
/// ended before the end of a line and its successor went on in it.
fn read_json(bytes: &[u8], nested: u32, found: Found<'_>) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut failed = None;
        let read = json::texts(rest, &mut |text| {
            let text = text.trim_ascii();
            let done = if text.starts_with(BEGIN) {
                found(Sink::Collector, Ok(text))
            } else if has_record(text) {
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
        if let Some(error) = failed {
            return Err(error);
        }
        rest = match read.map(<[u8]>::trim_ascii_start) {
            Ok(behind) if behind.is_empty() || behind.starts_with(b"{") => behind,
            Ok(_) => return found(Sink::Collector, Err(not_json(&"something else is behind it"))),
            Err(error) => {
                found(Sink::Collector, Err(not_json(&error)))?;
                let head = memchr::memchr(b':', rest).map_or(rest, |end| &rest[..=end]);
                let begin = memmem::rfind(head, br#"{""#).map_or(head, |begin| &head[begin..]);
                last_begun(rest, begin)
            }
        };
    }
    Ok(())
}

/// What the last writer of a line wrote into it behind a value that an earlier one could not end: it begins as that
/// one does. Only the last one ended the line, so what is between them was never acknowledged.
fn last_begun<'t>(cut: &'t [u8], begin: &[u8]) -> &'t [u8] {
    memmem::rfind(cut, begin).filter(|at| *at > 0).map_or(&[], |at| &cut[at..])
}

fn not_json(error: &dyn Display) -> String {
    format!("this is not JSON as it stands: {error}")
}

/// The records in a text that says something before them, and perhaps behind.
fn follow(text: &[u8], sink: Sink, found: Found<'_>) -> io::Result<()> {
    let mut rest = text;
    while let Some(begin) = BEGINS.find(rest) {
        let record = &rest[begin..];
        let mut values = serde_json::Deserializer::from_slice(record).into_iter::<IgnoredAny>();
        rest = match values.next() {
            Some(Ok(_)) => {
                let (record, behind) = record.split_at(values.byte_offset());
                let behind = behind.trim_ascii_start();
                found(sink, Ok(record))?;
                if sink == Sink::AccessLog && !behind.is_empty() && !behind.starts_with(BEGIN) {
                    found(sink, Err(NOT_AS_WRITTEN.into()))?;
                }
                behind
            }
            Some(Err(error)) => {
                found(sink, Err(not_json(&error)))?;
                last_begun(record, BEGIN)
            }
            None => return Ok(()),
        };
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
        } else if has_record(field) {
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

fn has_record(text: &[u8]) -> bool {
    BEGINS.find(text).is_some()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memmem::find(text, part).is_some()
}

fn is_marked(text: &[u8]) -> bool {
    MARKS.iter().any(|mark| mark.find(text).is_some())
}

/// How often it says the schema, in whatever way.
fn schemas_in(line: &[u8]) -> usize {
    MARKS.iter().take(SCHEMAS).map(|mark| mark.find_iter(line).count()).sum()
}

/// Whether it has the marks of a record between bytes that are none.
fn is_utf16(line: &[u8]) -> bool {
    memchr::memchr(0, line).is_some() && {
        let text: Vec<u8> = line.iter().copied().filter(|byte| *byte != 0).collect();
        is_marked(&text)
    }
}
