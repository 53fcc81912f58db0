//! Request paths as an application would read them, so that no spelling of a path escapes its context.
//!
//! | spelling | read as | why |
//! |---|---|---|
//! | `?…`, `#…` | cut off | not part of the path |
//! | `%61` | `a`, once | RFC 3986 §2.1; `%2561` is the text `%61`, never decoded again |
//! | `%zz`, `%` | itself | not an escape |
//! | `%2F`, `\`, `%5C` | `/` | some applications split there: the stricter reading |
//! | `//` | `/` | most routers merge slashes |
//! | `.`, `..`, `%2e%2e` | resolved, never above the root | RFC 3986 §5.2.4 |
//! | `;jsessionid=1` | dropped, before dots are resolved | servlet containers drop path parameters (`..;/` too) |
//! | `/residents/` | `/residents` | most routers ignore a trailing slash |
//! | `/API/V1` | matched without regard to case (ASCII) | Express and ASP.NET do by default |
//! | bytes that are not UTF-8 | U+FFFD each | no template contains it, so it matches parameters alone |
//!
//! Some applications read a path otherwise still. A policy with `paths: {ambiguous: reject}` refuses (400) what they
//! could take for another context; without it, the reading above decides:
//!
//! | spelling | another reading | refused |
//! |---|---|---|
//! | `/a%2Fb`, `/a%5Cb`, `/a\b` | one segment | always |
//! | `/a%252Fb`, any `%25` before two hex digits | decoded twice | always |
//! | `%00` to `%1F`, `%7F`, such bytes | cut off there, or dropped | always |
//! | `/a;v=1` | the parameter is text | if contexts differ |
//! | `/administer.json`, `/administer.json.gz` | `/administer`: the suffix chooses a format | if contexts differ |
//! | `/administer.`, `/administer%20` | `/administer`: Windows drops trailing dots and spaces | if contexts differ |
//!
//! Case is ignored when templates are compared; a captured parameter keeps the case that was sent.

use std::borrow::Cow;

/// How many suffixes are looked at: a route is searched for each, and a path can be of nothing but dots.
const SUFFIXES_MAX: usize = 8;

/// The normal form of the `:path` of a request: starts with `/`, no empty segment, no trailing slash (but `/` itself).
/// Case is kept. Borrows when there is nothing to change, which is nearly always.
pub fn normalise(raw: &[u8]) -> Cow<'_, str> {
    let (path, is_normal) = without_query(raw);
    match std::str::from_utf8(path) {
        Ok(text) if is_normal => Cow::Borrowed(text),
        _ => Cow::Owned(rebuild(path)),
    }
}

/// Whether `path` is its own normal form.
pub fn is_normal(path: &str) -> bool {
    without_query(path.as_bytes()) == (path.as_bytes(), true)
}

/// Whether an application may read the path `raw`, whose normal form is `normal`, as another path for which
/// `is_same_route` is false.
#[inline(never)]
pub(crate) fn is_ambiguous(raw: &[u8], normal: &str, is_same_route: impl Fn(&str) -> bool) -> bool {
    let (path, _) = without_query(raw);
    if has_hidden_text(path) {
        return true;
    }
    let decoded = percent_decode(path);
    let with_parameters =
        || decoded.contains(&b';').then(|| resolve(&String::from_utf8_lossy(&decoded), |segment| segment));
    let trimmed = normal.trim_end_matches(['.', ' ', '\t']);
    let last_segment = trimmed.rfind('/').unwrap_or_default();
    // `.json`, and each of `.json.gz`: some routers match `administer.*`.
    let stems = trimmed.match_indices('.').map(|(dot, _)| dot).filter(|dot| *dot > last_segment.saturating_add(1));
    let mut stems = stems.filter_map(|dot| trimmed.get(..dot)).enumerate();
    with_parameters().is_some_and(|other| !is_same_route(&other))
        || (trimmed != normal && !is_same_route(trimmed))
        || stems.any(|(number, stem)| number >= SUFFIXES_MAX || !is_same_route(stem))
}

/// Separators, escapes and control characters that show only when escapes are decoded; and backslashes.
fn has_hidden_text(path: &[u8]) -> bool {
    let decoded = percent_decode(path);
    let separators = |text: &[u8]| text.iter().filter(|byte| matches!(byte, b'/' | b'\\')).count();
    path.contains(&b'\\')
        || separators(&decoded) != separators(path)
        || decoded.iter().any(u8::is_ascii_control)
        || percent_decode(&decoded) != decoded
}

/// The path before a query or a fragment, and whether it is its own normal form. One look at each byte: this is on the
/// way of every request.
fn without_query(raw: &[u8]) -> (&[u8], bool) {
    // How long the present segment is, and how many of its bytes are dots.
    let (mut length, mut dots) = (0_usize, 0_usize);
    let is_name = |length: usize, dots: usize| length > 2 || length != dots;
    let mut is_normal = raw.first() == Some(&b'/');
    for (place, byte) in raw.iter().enumerate() {
        match byte {
            b'/' => {
                is_normal = is_normal && (place == 0 || is_name(length, dots));
                (length, dots) = (0, 0);
            }
            b'.' => {
                length = length.wrapping_add(1);
                dots = dots.wrapping_add(1);
            }
            b'?' | b'#' => {
                let path = raw.get(..place).unwrap_or_default();
                return (path, is_normal && (place == 1 || is_name(length, dots)));
            }
            b'%' | b'\\' | b';' => is_normal = false,
            _ => length = length.wrapping_add(1),
        }
    }
    (raw, is_normal && (raw.len() == 1 || is_name(length, dots)))
}

fn rebuild(path: &[u8]) -> String {
    let decoded = percent_decode(path);
    // Servlet containers drop path parameters before they resolve dots.
    resolve(&String::from_utf8_lossy(&decoded), |segment| segment.split(';').next().unwrap_or_default())
}

/// Puts the segments of a decoded path together anew, each as `read` reads it.
fn resolve(decoded: &str, read: impl Fn(&str) -> &str) -> String {
    let mut normal = String::with_capacity(decoded.len().saturating_add(1));
    for segment in decoded.split(['/', '\\']) {
        match read(segment) {
            "" | "." => {}
            ".." => normal.truncate(normal.rfind('/').unwrap_or_default()),
            name => {
                normal.push('/');
                normal.push_str(name);
            }
        }
    }
    if normal.is_empty() { "/".into() } else { normal }
}

/// Decodes each valid `%XX` once; anything else stays as it is.
pub(crate) fn percent_decode(raw: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escaped = match (byte, after) {
            (b'%', [high, low, tail @ ..]) => hex_pair(*high, *low).map(|value| (value, tail)),
            _ => None,
        };
        match escaped {
            Some((value, tail)) => {
                decoded.push(value);
                rest = tail;
            }
            None => decoded.push(byte),
        }
    }
    decoded
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let high = char::from(high).to_digit(16)?;
    let low = char::from(low).to_digit(16)?;
    u8::try_from((high << 4) | low).ok()
}

#[cfg(test)]
mod tests;
