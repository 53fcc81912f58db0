//! The quick way through a record in canonical form: one pass over its bytes, nothing kept, nothing allocated.
//!
//! It takes only what is JSON in the canonical form that proxies write: no white space, whole numbers, members of the
//! record in the order of
//! their names. Whatever else there is, it leaves to the parser, which says what it is.

use crate::record::Proxy;

/// What a record begins with.
const BEGIN: &[u8] = br#"{"chain":{"id":""#;
/// The deepest nesting; records have three levels.
const DEPTH_MAX: u32 = 16;

/// A record as far as its chain needs it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scanned<'r> {
    pub(super) id: &'r str,
    pub(super) key: Option<&'r str>,
    pub(super) prev: &'r str,
    pub(super) seq: u64,
    pub(super) hash: &'r str,
    pub(super) kind: &'r str,
    pub(super) time: &'r str,
    pub(super) proxy: Option<Proxy<'r>>,
    /// Where the member `hash` begins and ends, with the comma before it: what no hash covers.
    pub(super) covered: [usize; 2],
}

/// Reads a record that is plainly canonical; none for anything else.
pub(super) fn scan(text: &[u8]) -> Option<Scanned<'_>> {
    // Records are UTF-8; ASCII, which they nearly are, is checked many bytes at a time.
    let text = std::str::from_utf8(text).ok()?;
    let bytes = text.as_bytes();
    let mut at = BEGIN.len();
    if !bytes.starts_with(BEGIN) {
        return None;
    }
    let id = plain(text, &mut at)?;
    let key = if take(bytes, &mut at, br#","key":""#) { Some(plain(text, &mut at)?) } else { None };
    take(bytes, &mut at, br#","prev":""#).then_some(())?;
    let prev = plain(text, &mut at)?;
    take(bytes, &mut at, br#","seq":"#).then_some(())?;
    let seq_begin = at;
    at = number(bytes, at)?;
    let seq = text.get(seq_begin..at)?.parse().ok().filter(|seq| *seq > 0)?;
    take(bytes, &mut at, b"}").then_some(())?;
    let mut scanned = Scanned { id, key, prev, seq, hash: "", kind: "", time: "", proxy: None, covered: [0; 2] };
    let (mut last, mut is_ours) = ("chain", false);
    while bytes.get(at) == Some(&b',') {
        let comma = at;
        take(bytes, &mut at, b",\"").then_some(())?;
        let name = plain(text, &mut at)?;
        take(bytes, &mut at, b":").then_some(())?;
        if name <= last {
            return None;
        }
        let begin = at;
        at = value(bytes, at, DEPTH_MAX)?;
        let is_plain = || bytes[begin] == b'"' && next_special(bytes, begin + 1) == at - 1;
        let quoted = || text.get(begin + 1..at - 1).filter(|_| is_plain());
        match name {
            "hash" => {
                scanned.hash = quoted()?;
                scanned.covered = [comma, at];
            }
            "kind" => scanned.kind = quoted()?,
            "proxy" => scanned.proxy = Some(serde_json::from_str(text.get(begin..at)?).ok()?),
            "schema" => is_ours = quoted()? == super::link::SCHEMA,
            "time" => scanned.time = quoted()?,
            _ => {}
        }
        last = name;
    }
    (text.get(at..) == Some("}") && is_ours && !scanned.hash.is_empty()).then_some(scanned)
}

/// Takes `literal`, where it is next.
#[inline(always)]
fn take(bytes: &[u8], at: &mut usize, literal: &[u8]) -> bool {
    let is_next = bytes.get(*at..).is_some_and(|rest| rest.starts_with(literal));
    *at += if is_next { literal.len() } else { 0 };
    is_next
}

/// The rest of a text without escapes, behind its first quote.
fn plain<'r>(text: &'r str, at: &mut usize) -> Option<&'r str> {
    let begin = *at;
    let end = next_special(text.as_bytes(), begin);
    *at = end + 1;
    text.get(begin..end).filter(|_| text.as_bytes().get(end) == Some(&b'"'))
}

/// Behind a value.
fn value(bytes: &[u8], at: usize, depth: u32) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string(bytes, at + 1),
        b'{' => list(bytes, at, depth.checked_sub(1)?, b'}', |at| {
            let colon = string(bytes, at + 1).filter(|_| bytes[at] == b'"')?;
            (bytes.get(colon) == Some(&b':')).then_some(colon + 1)
        }),
        b'[' => list(bytes, at, depth.checked_sub(1)?, b']', Some),
        b'-' | b'0'..=b'9' => number(bytes, at),
        _ => [b"true".as_slice(), b"false", b"null"]
            .into_iter()
            .find_map(|word| bytes.get(at..)?.starts_with(word).then_some(at + word.len())),
    }
}

/// Behind an object or a list, whose items begin where `begin` says.
fn list(bytes: &[u8], at: usize, depth: u32, end: u8, begin: impl Fn(usize) -> Option<usize>) -> Option<usize> {
    let mut at = at + 1;
    if bytes.get(at) == Some(&end) {
        return Some(at + 1);
    }
    loop {
        bytes.get(at)?;
        at = value(bytes, begin(at)?, depth)?;
        match bytes.get(at)? {
            b',' => at += 1,
            other => return (*other == end).then_some(at + 1),
        }
    }
}

/// Behind a whole number. Others are not in records; the parser knows them.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = at + usize::from(bytes.get(at) == Some(&b'-'));
    let length = bytes.get(digits..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_zero = length > 1 && bytes[digits] == b'0';
    let is_whole = !matches!(bytes.get(digits + length), Some(b'.' | b'e' | b'E'));
    (length > 0 && !is_zero && is_whole).then_some(digits + length)
}

/// Behind the closing quote of a text that begins at `at`.
fn string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = next_special(bytes, at);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at = escape(bytes, at + 1)?,
            _ => return None,
        }
    }
}

/// The next quote, backslash or control character, or the end: eight bytes at a time.
#[inline(always)]
fn next_special(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let special = special(u64::from_le_bytes(*chunk));
        if special != 0 {
            return at + (special.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len())
}

/// Behind an escape.
fn escape(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        // Which of these are halves of a pair, the parser knows.
        _ => None,
    }
}

/// The high bit of each byte that is a quote, a backslash or a control character. Behind the first one, bits can be
/// wrong.
#[inline(always)]
fn special(chunk: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    // With this bit changed, the quote is the one that follows the control characters.
    let control_or_quote = (chunk ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
    let backslash = (chunk ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
    (control_or_quote | backslash) & !chunk & HIGH
}

#[cfg(test)]
mod tests;
