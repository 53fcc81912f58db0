use super::*;
use crate::verify::link::Reading;

const RECORD: &str = concat!(
    r#"{"chain":{"id":"019b76da-0001-7000-8000-000000000001","key":"abcdefgh","prev":"00","seq":12},"context":{"a":[1,-2,[],{}],"b":true},"#,
    r#""hash":"ab","kind":"head","proxy":{"id":"node","module":"0.1.0"},"schema":"careplane.audit/v1","text":"é \"b\" {\\","time":"2026-10-01T00:00:00.000000Z"}"#
);

/// The quick way says what the parser says, or nothing.
fn compare(text: &[u8]) -> bool {
    let Some(scanned) = scan(text) else { return false };
    let parsed = Reading::parse(text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text)));
    let link = parsed.members();
    assert_eq!((scanned.id, scanned.key, scanned.prev, scanned.seq), (link.0, link.1, link.2, link.3));
    assert_eq!((scanned.kind, scanned.time, scanned.hash), (link.4, link.5, link.6));
    let without = [&text[..scanned.covered[0]], &text[scanned.covered[1]..]];
    assert_eq!(parsed.without_hash(text), Some(without));
    true
}

#[test]
fn a_canonical_record_is_read() {
    assert!(compare(RECORD.as_bytes()));
    let scanned = scan(RECORD.as_bytes()).unwrap();
    assert_eq!((scanned.seq, scanned.key, scanned.hash), (12, Some("abcdefgh"), "ab"));
    assert_eq!(scanned.proxy.unwrap().id.as_deref(), Some("node"));
}

#[test]
fn what_is_not_canonical_is_left_to_the_parser() {
    for (from, to) in [
        (r#""seq":12"#, r#""seq":0"#),
        (r#""seq":12"#, r#""seq":012"#),
        (r#""seq":12"#, r#""seq":12.0"#),
        (r#"":"head""#, r#"": "head""#),
        (r#""kind":"head","#, ""),
        (r#""b":true"#, r#""b":truth"#),
        (r#"[1,-2,"#, r#"[1,,"#),
        (r#"[1,-2,"#, r#"[1,-,"#),
        (r#","b":true"#, ","),
        (r#""hash":"ab","#, ""),
        ("careplane.audit/v1", "careplane.audit/v2"),
        (r#""text":"#, r#""schema":"#),
        ("é", "\u{1}"),
        ("é", "\\x"),
        ("é", "\\u00e9"),
    ] {
        let text = RECORD.replacen(from, to, 1);
        assert_ne!(text, RECORD);
        let is_read = scan(text.as_bytes()).is_some();
        assert_eq!(is_read, from.starts_with(r#""kind""#), "{text}");
    }
    assert!(scan(&RECORD.as_bytes()[..RECORD.len() - 1]).is_none());
    assert!(scan(format!("{RECORD}}}").as_bytes()).is_none());
}

#[test]
fn damage_of_any_byte_is_never_read_otherwise_than_by_the_parser() {
    let mut text = RECORD.as_bytes().to_vec();
    let mut read = 0;
    for index in 0..text.len() {
        let byte = text[index];
        for value in (0..=255).filter(|value| *value != byte) {
            text[index] = value;
            read += u32::from(compare(&text));
        }
        text[index] = byte;
    }
    assert!(read > 1000, "{read}");
}
