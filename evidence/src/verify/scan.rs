//! The quick way through a record in canonical form: nothing of it is kept or copied.
//!
//! Vector instructions mark the characters that can end a text; the walk over the members then goes from mark to mark.
//!
//! It takes only what is JSON in the canonical form that proxies write: no white space, whole numbers, members of the
//! record in the order of their names. Whatever else there is, it leaves to the parser, which says what it is.

use uuid::Uuid;
use wide::u8x16;

use super::digest::{digest, unhex};
use super::keys::Keyring;
use super::link::{Link, Position, Role, State};
use super::pairs::Hashing;
use super::reading;
use super::time::Time;
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

/// How far a record has been read.
struct Cursor<'r> {
    text: &'r str,
    bytes: &'r [u8],
    at: usize,
    /// A bit for each special character that is left of the chunk that begins at `base`, the lowest for the first.
    specials: u64,
    base: usize,
    /// The chunks behind that one.
    rest: &'r [u8],
}

/// What is looked at together.
const CHUNK: usize = 64;

/// Reads a record that is plainly canonical; none for anything else.
pub(super) fn scan(text: &[u8]) -> Option<Scanned<'_>> {
    if !text.starts_with(BEGIN) {
        return None;
    }
    // Records are UTF-8; ASCII, which they nearly are, is checked many bytes at a time.
    let text = simdutf8::basic::from_utf8(text).ok()?;
    let (first, rest) = text.as_bytes().split_first_chunk()?;
    let specials = specials(first);
    Cursor { text, bytes: text.as_bytes(), at: 0, specials, base: 0, rest }.record()
}

const HASH: u64 = rank(b"hash\0\0\0\0", 4);
const KIND: u64 = rank(b"kind\0\0\0\0", 4);
const PROXY: u64 = rank(b"proxy\0\0\0", 5);
const SCHEMA: u64 = rank(b"schema\0\0", 6);
const TIME: u64 = rank(b"time\0\0\0\0", 4);

/// A number that is in the order of names: their first eight bytes, with zeros behind a short one. No name has a zero
/// in it, so those of less than eight bytes are the same when their numbers are.
const fn rank(eight: &[u8; 8], length: usize) -> u64 {
    let rank = u64::from_be_bytes(*eight);
    if length < 8 { rank & !(u64::MAX >> (8 * length)) } else { rank }
}

/// The special characters of a chunk: quotes, backslashes and control characters. With vector instructions.
#[inline]
fn specials(chunk: &[u8; CHUNK]) -> u64 {
    let marks = |chunk: &[u8; 16]| {
        let bytes = u8x16::new(*chunk);
        // With this bit changed, the quote is the one that follows the control characters.
        let quote_or_control = (bytes ^ u8x16::splat(0x02)).saturating_sub(u8x16::splat(0x20)).simd_eq(u8x16::ZERO);
        (quote_or_control | bytes.simd_eq(u8x16::splat(b'\\'))).to_bitmask()
    };
    let quarters = chunk.as_chunks::<16>().0;
    quarters.iter().rev().fold(0, |word, quarter| word << 16 | u64::from(marks(quarter)))
}

// === impl Scanned ===

impl Scanned<'_> {
    /// The chain that it says it is of; none for what is no UUID in lower case.
    pub(super) fn chain(&self) -> Option<Uuid> {
        let text: &[u8; 36] = self.id.as_bytes().try_into().ok()?;
        let mut digits = [0; 32];
        // Groups of digits, each but the first behind a dash.
        for (from, to, length) in [(0, 0, 8), (9, 8, 4), (14, 12, 4), (19, 16, 4), (24, 20, 12)] {
            digits[to..to + length].copy_from_slice(&text[from..from + length]);
        }
        let has_dashes = [8, 13, 18, 23].iter().all(|at| text[*at] == b'-');
        unhex::<32, 16>(&digits).filter(|_| has_dashes).map(Uuid::from_bytes)
    }

    /// The link that it is, and what remains to be done to know its state; until then, that is changed.
    pub(super) fn link<'k>(
        &self,
        chain: Uuid,
        position: Position,
        key: u32,
        keys: &'k Keyring,
    ) -> (Link, Option<Hashing<'k>>) {
        let hash = digest(self.hash);
        let (state, hashing) = match hash.map(|expected| (expected, keys.method(self.key))) {
            None => (State::Changed, None),
            Some((_, None)) => (State::Unverified, None),
            Some((expected, Some(method))) => {
                (State::Changed, Some(Hashing { method, expected, covered: self.covered }))
            }
        };
        let role = Role::of(Some(self.kind));
        let time = Time::parse(self.time);
        let link = Link { chain, seq: self.seq, position, prev: digest(self.prev), hash, state, role, key, time };
        (link, hashing)
    }
}

// === impl Cursor ===

impl<'r> Cursor<'r> {
    fn record(mut self) -> Option<Scanned<'r>> {
        self.take(br#"{"chain":{"id":"#, 4).then_some(())?;
        let id = self.plain()?;
        let key = if self.take(br#","key":"#, 2) { Some(self.plain()?) } else { None };
        self.take(br#","prev":"#, 2).then_some(())?;
        let prev = self.plain()?;
        self.take(br#","seq":"#, 2).then_some(())?;
        let begin = self.at;
        self.number()?;
        let seq = self.text.get(begin..self.at)?.parse().ok().filter(|seq| *seq > 0)?;
        self.take(b"}", 0).then_some(())?;
        let mut scanned = Scanned { id, key, prev, seq, hash: "", kind: "", time: "", proxy: None, covered: [0; 2] };
        let (mut last, mut last_rank, mut is_ours) = ("chain", rank(b"chain\0\0\0", 5), false);
        while self.next() == Some(b',') {
            let comma = self.at;
            self.at += 1;
            // Names have no more than eight bytes, mostly, and are compared as numbers.
            let eight = self.bytes.get(self.at + 1..)?.first_chunk()?;
            let name = self.plain()?;
            let rank = rank(eight, name.len());
            if rank <= last_rank && name <= last {
                return None;
            }
            self.take(b":", 0).then_some(())?;
            match rank {
                HASH => {
                    scanned.hash = self.plain()?;
                    scanned.covered = [comma, self.at];
                }
                KIND => scanned.kind = self.plain()?,
                PROXY => scanned.proxy = Some(self.proxy()?),
                SCHEMA => is_ours = self.plain()? == reading::SCHEMA,
                TIME => scanned.time = self.plain()?,
                _ => self.value(DEPTH_MAX)?,
            }
            (last, last_rank) = (name, rank);
        }
        (self.bytes.get(self.at..) == Some(b"}") && is_ours && !scanned.hash.is_empty()).then_some(scanned)
    }

    /// The proxy. That of requests has its placement alone, and needs no parser.
    fn proxy(&mut self) -> Option<Proxy<'r>> {
        let begin = self.at;
        let is_of_request = self.take(br#"{"placement":"#, 2);
        if is_of_request {
            let placement = self.plain()?;
            self.take(b"}", 0).then_some(())?;
            return Some(Proxy { id: None, module: None, placement: Some(placement.into()) });
        }
        self.value(DEPTH_MAX)?;
        serde_json::from_str(self.text.get(begin..self.at)?).ok()
    }

    #[inline(always)]
    fn next(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Takes `literal`, in which there are so many quotes, where it is next.
    #[inline(always)]
    fn take(&mut self, literal: &[u8], quotes: u32) -> bool {
        let is_next = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(literal));
        if is_next {
            self.at += literal.len();
            for _ in 0..quotes {
                self.special();
            }
        }
        is_next
    }

    /// Where the next special character is; the end when there are no more.
    ///
    /// It is found without regard to `at`, so that a processor need not wait for what was read before it.
    #[inline(always)]
    fn special(&mut self) -> usize {
        while self.specials == 0 {
            self.base += CHUNK;
            if let Some((chunk, rest)) = self.rest.split_first_chunk() {
                self.specials = specials(chunk);
                self.rest = rest;
            } else if self.base <= self.bytes.len() {
                // The end is as good as a control character.
                let mut chunk = [0; CHUNK];
                chunk[..self.rest.len()].copy_from_slice(self.rest);
                self.specials = specials(&chunk);
            } else {
                return self.bytes.len();
            }
        }
        let special = self.base + self.specials.trailing_zeros() as usize;
        self.specials &= self.specials - 1;
        special
    }

    /// A text without escapes.
    #[inline(always)]
    fn plain(&mut self) -> Option<&'r str> {
        let begin = self.quote()?;
        let end = self.special();
        self.at = end + 1;
        self.text.get(begin + 1..end).filter(|_| self.bytes.get(end) == Some(&b'"'))
    }

    /// A text.
    #[inline(always)]
    fn string(&mut self) -> Option<()> {
        self.quote()?;
        let end = self.special();
        self.at = end + 1;
        if self.bytes.get(end) == Some(&b'"') { Some(()) } else { self.escaped(end) }
    }

    /// The quote that is next. It is the next special character, because all before it were taken.
    #[inline(always)]
    fn quote(&mut self) -> Option<usize> {
        (self.next()? == b'"').then(|| {
            let quote = self.special();
            debug_assert_eq!(quote, self.at, "a special character was passed by");
            self.at
        })
    }

    /// The rest of a text, from a special character on that does not end it.
    #[cold]
    fn escaped(&mut self, mut at: usize) -> Option<()> {
        loop {
            match self.bytes.get(at)? {
                b'"' => {
                    self.at = at + 1;
                    return Some(());
                }
                b'\\' => match self.bytes.get(at + 1)? {
                    b'"' | b'\\' => {
                        self.special();
                    }
                    b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    // Which of these are halves of a pair, the parser knows.
                    _ => return None,
                },
                _ => return None,
            }
            at = self.special();
        }
    }

    fn value(&mut self, depth: u32) -> Option<()> {
        match self.next()? {
            b'"' => self.string(),
            b'{' => self.list(depth.checked_sub(1)?, b'}', |cursor| {
                cursor.string()?;
                cursor.take(b":", 0).then_some(())
            }),
            b'[' => self.list(depth.checked_sub(1)?, b']', |_| Some(())),
            b'-' | b'0'..=b'9' => self.number(),
            _ => [b"true".as_slice(), b"false", b"null"].into_iter().any(|word| self.take(word, 0)).then_some(()),
        }
    }

    /// An object or a list, of whose items `name` takes what is before the value.
    #[inline(always)]
    fn list(&mut self, depth: u32, end: u8, name: impl Fn(&mut Self) -> Option<()>) -> Option<()> {
        self.at += 1;
        if self.next()? == end {
            self.at += 1;
            return Some(());
        }
        loop {
            name(self)?;
            // Most are texts.
            if self.next()? == b'"' {
                self.string()?
            } else {
                self.value(depth)?
            }
            let next = self.next()?;
            self.at += 1;
            if next != b',' {
                return (next == end).then_some(());
            }
        }
    }

    /// A whole number. Others are not in records; the parser knows them.
    fn number(&mut self) -> Option<()> {
        let digits = self.at + usize::from(self.next()? == b'-');
        let length = self.bytes.get(digits..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_zero = length > 1 && self.bytes[digits] == b'0';
        self.at = digits + length;
        let is_whole = !matches!(self.next(), Some(b'.' | b'e' | b'E'));
        (length > 0 && !is_zero && is_whole).then_some(())
    }
}

#[cfg(test)]
mod tests;
