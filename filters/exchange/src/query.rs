//! Query parameters (URL Standard, "application/x-www-form-urlencoded parsing").

use std::borrow::Cow;

/// What is in no identity: the value of a parameter that comes with two values.
const NEITHER: &[u8] = b"?";

/// The value of a parameter in the query of a `:path`, decoded. One that comes with different values has none that can
/// be meant.
pub fn value<'p>(path: &'p [u8], parameter: &str) -> Option<Cow<'p, [u8]>> {
    let path = path.split(|byte| *byte == b'#').next()?;
    let start = path.iter().position(|byte| *byte == b'?')?.saturating_add(1);
    let mut found: Option<Cow<'p, [u8]>> = None;
    for pair in path.get(start..)?.split(|byte| *byte == b'&') {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let (Some(name), value) = (parts.next(), parts.next().unwrap_or_default()) else { continue };
        if *decode(name) != *parameter.as_bytes() {
            continue;
        }
        let value = decode(value);
        match &found {
            Some(first) if *first != value => return Some(Cow::Borrowed(NEITHER)),
            _ => found = Some(value),
        }
    }
    found
}

/// `+` is a space, `%41` is a byte, and what is not an escape is itself.
fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after.split_first_chunk()) {
            (b'+', _) => decoded.push(b' '),
            (b'%', Some(([high, low], after))) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push((digit(*high) << 4) | digit(*low));
                rest = after;
            }
            _ => decoded.push(*byte),
        }
    }
    Cow::Owned(decoded)
}

/// Of a hex digit.
fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte.wrapping_sub(b'0'),
        _ => (byte | 0x20).wrapping_sub(b'a').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_parameter_is_found_under_every_spelling() {
        for (path, expected) in [
            ("/x?tenant=a", Some("a")),
            ("/x?a=b&tenant=home-1&c", Some("home-1")),
            ("/x?%74enant=%61%2d1", Some("a-1")),
            ("/x?tenant=a+b%zz%4", Some("a b%zz%4")),
            ("/x?tenant", Some("")),
            ("/x?tenant=a&tenant=a", Some("a")),
            ("/x?tenant=a&tenant=b", Some("?")),
            ("/x?tenants=a", None),
            ("/x#?tenant=a", None),
            ("/x?q=1#&tenant=a", None),
            ("/tenant=a", None),
            ("", None),
        ] {
            let found = value(path.as_bytes(), "tenant");
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{path}");
        }
    }
}
