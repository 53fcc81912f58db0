//! `tenants.entries` read from the text of a document, without a tree of values: there can be many thousands.
//!
//! This reader takes only what is plainly good. At anything else, even if it is allowed (an escape, a null), it gives
//! up, and the document is read with care, which finds the words for what is wrong.

use crate::document::{Cohort, Jurisdiction};
use crate::id;
use crate::tenants::{Entry, TenantsBuilder};

/// Reads the entries of a document. Returns them, and the document without them.
///
/// The rest of the document is not checked here. It is read as JSON next; if it is, then the entries were where they
/// seemed to be.
#[inline(never)]
pub(crate) fn take_out(document: &[u8]) -> Option<(Vec<u8>, TenantsBuilder)> {
    let mut text = Text(document);
    text.enter(b"tenants")?;
    text.enter(b"entries")?;
    let (before, entries) = document.split_at_checked(document.len().checked_sub(text.0.len())?)?;
    let mut tenants = TenantsBuilder::for_text(entries.len());
    text.entries(&mut tenants)?;
    tenants.shrink();
    Some(([before, b"{}", text.0].concat(), tenants))
}

/// What has not been read yet.
struct Text<'t>(&'t [u8]);

/// How many bytes come before the first that ends a string, begins an escape, or is a control character.
fn plain(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
    const ESCAPES: u64 = u64::from_ne_bytes([b'\\'; 8]);
    const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);
    // Sets the highest bit of the first byte that is 0; those of bytes before it stay unset.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let mut rest = text;
    let mut length = 0_usize;
    while let Some((eight, after)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*eight);
        let control = word.wrapping_sub(ONES << 5) & !word & TOPS;
        let found = control | zero(word ^ QUOTES) | zero(word ^ ESCAPES);
        if found != 0 {
            return length.saturating_add(usize::try_from(found.trailing_zeros() >> 3).unwrap_or_default());
        }
        rest = after;
        length = length.saturating_add(8);
    }
    length.saturating_add(rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..b' ')).count())
}

// === impl Text ===

impl<'t> Text<'t> {
    /// The next byte that is not white space.
    #[inline(always)]
    fn token(&mut self) -> Option<u8> {
        if let [first, rest @ ..] = self.0
            && *first > b' '
        {
            self.0 = rest;
            return Some(*first);
        }
        self.token_after_space()
    }

    #[inline(never)]
    fn token_after_space(&mut self) -> Option<u8> {
        let length = self.0.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
        let (first, rest) = self.0.get(length..)?.split_first()?;
        self.0 = rest;
        // What else serves as white space elsewhere does not here.
        (*first > b' ').then_some(*first)
    }

    #[inline(always)]
    fn accept(&mut self, token: u8) -> Option<()> {
        (self.token()? == token).then_some(())
    }

    /// The rest of a string whose first quote has been read. `None` when it has escapes.
    fn string(&mut self) -> Option<&'t [u8]> {
        let (string, rest) = self.0.split_at_checked(plain(self.0))?;
        let (b'"', rest) = rest.split_first()? else { return None };
        self.0 = rest;
        Some(string)
    }

    /// Goes into the map that comes next, to the value under `key`.
    fn enter(&mut self, key: &[u8]) -> Option<()> {
        self.accept(b'{')?;
        loop {
            self.accept(b'"')?;
            let found = self.string()? == key;
            self.accept(b':')?;
            if found {
                return Some(());
            }
            self.skip()?;
            self.accept(b',')?;
        }
    }

    /// Goes behind a value.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0_u32;
        loop {
            match self.token()? {
                b'{' | b'[' => depth = depth.saturating_add(1),
                b'}' | b']' => depth = depth.checked_sub(1)?,
                b'"' => self.skip_string()?,
                _ => {}
            }
            if depth == 0 {
                // A number or a word has more characters.
                let more = self.0.iter().position(|byte| matches!(byte, b',' | b'}' | b']'))?;
                self.0 = self.0.get(more..)?;
                return Some(());
            }
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        loop {
            let (found, rest) = self.0.get(plain(self.0)..)?.split_first()?;
            match found {
                b'"' => {
                    self.0 = rest;
                    return Some(());
                }
                b'\\' => self.0 = rest.get(1..)?,
                _ => return None,
            }
        }
    }

    /// Reads the map of all entries.
    fn entries(&mut self, tenants: &mut TenantsBuilder) -> Option<()> {
        self.accept(b'{')?;
        let mut token = self.token()?;
        while token != b'}' {
            let id = self.key(token)?;
            if !id::is_tenant_id(id) {
                return None;
            }
            let entry = self.entry()?;
            tenants.push(id, entry)?;
            token = self.next()?;
        }
        Some(())
    }

    fn entry(&mut self) -> Option<Entry<'t>> {
        self.accept(b'{')?;
        let mut entry = Entry::default();
        let mut token = self.token()?;
        while token != b'}' {
            let key = self.key(token)?;
            self.accept(b'"')?;
            let value = self.string()?;
            let again = match key {
                b"pool" => entry.pool.replace(value).is_some(),
                b"jurisdiction" => entry.jurisdiction.replace(Jurisdiction::from_word(value)?).is_some(),
                b"cohort" => entry.cohort.replace(Cohort::from_word(value)?).is_some(),
                b"group" => entry.group.replace(value).is_some(),
                _ => return None,
            };
            if again {
                return None;
            }
            token = self.next()?;
        }
        Some(entry)
    }

    /// The key that `token` begins, with the colon after it.
    fn key(&mut self, token: u8) -> Option<&'t [u8]> {
        if token != b'"' {
            return None;
        }
        let key = self.string()?;
        self.accept(b':')?;
        Some(key)
    }

    /// What comes after a value of a map: the first byte of the next key, or the end.
    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        match self.token()? {
            b',' => self.token().filter(|token| *token == b'"'),
            b'}' => Some(b'}'),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn taken(document: &str) -> Option<String> {
        take_out(document.as_bytes()).map(|(rest, _)| String::from_utf8(rest).unwrap())
    }

    #[test]
    fn entries_are_found_wherever_they_are() {
        for (document, rest) in [
            (r#"{"tenants":{"entries":{}}}"#, r#"{"tenants":{"entries":{}}}"#),
            (r#"{"tenants":{"entries":{"a":{}}}}"#, r#"{"tenants":{"entries":{}}}"#),
            (
                r#" { "a": ["\"}\\", {"tenants": "}"}], "n": -1.5e3 , "t": true,
                    "tenants" : { "unknown": "deny" , "entries" : { "a-1" : { "pool" : "p" , "group" : "§" } ,
                    "b" : { "jurisdiction" : "wales" , "cohort" : "canary" } } , "x": null } , "y": {} } "#,
                r#" { "a": ["\"}\\", {"tenants": "}"}], "n": -1.5e3 , "t": true,
                    "tenants" : { "unknown": "deny" , "entries" :{} , "x": null } , "y": {} } "#,
            ),
        ] {
            assert_eq!(taken(document).as_deref(), Some(rest), "{document}");
        }
    }

    #[test]
    fn the_plain_beginning_of_a_text_ends_at_the_first_byte_that_is_not() {
        for end in [b'"', b'\\', 0, 0x1f, b'\n'] {
            for length in 0..40 {
                for after in 0..20 {
                    let mut text = vec![b'a'; length];
                    text.push(end);
                    text.extend(vec![if after % 2 == 0 { b'"' } else { 0xff }; after]);
                    assert_eq!(plain(&text), length, "{text:?}");
                }
            }
        }
        for plainly in [&b" !#[]~\x7f\x80\xff\xe2\x80\xa2 !#[]~\x7f\x80\xff"[..], b"short", b""] {
            assert_eq!(plain(plainly), plainly.len());
        }
    }

    #[test]
    fn what_is_not_plainly_good_is_left_to_care() {
        for document in [
            "",
            "{}",
            "[]",
            r#"{"tenants":{}}"#,
            r#"{"tenants":{"entries":null}}"#,
            r#"{"tenants":{"entries":[]}}"#,
            r#"{"t\u0065nants":{"entries":{}}}"#,
            r#"{"a":{"tenants":{"entries":{}}}}"#,
            r#"{"tenants":{"entries":{"a":{}"#,
        ] {
            assert_eq!(taken(document), None, "{document}");
        }
        for entries in [
            r#"{"a":{},}"#,
            r#"{"a":{}"b":{}}"#,
            r#"{"a" {}}"#,
            r#"{"a":null}"#,
            r#"{"a b":{}}"#,
            r#"{"":{}}"#,
            r#"{"9434765919":{}}"#,
            r#"{"a":{"pool":null}}"#,
            r#"{"a":{"pool":"\u0061"}}"#,
            r#"{"a":{"pool":1}}"#,
            r#"{"a":{"pool":"p","pool":"p"}}"#,
            r#"{"a":{"colour":"red"}}"#,
            r#"{"a":{"jurisdiction":"france"}}"#,
            r#"{"a":{"cohort":""}}"#,
            "{\"a\":{\"group\":\"\u{1}\"}}",
            "{\"a\":{\"pool\":\u{b}\"p\"}}",
            r#"{"a":{"pool":"p",}}"#,
        ] {
            let document = format!(r#"{{"tenants":{{"entries":{entries}}}}}"#);
            assert_eq!(taken(&document), None, "{document}");
        }
    }
}
