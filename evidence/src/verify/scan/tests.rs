use serde_json::{Value, json};

use super::*;
use crate::source::Sink;
use crate::verify::checked::{Checked, Slots};
use crate::verify::keys::Key;
use crate::verify::pairs::Pairs;
use crate::verify::reading::Reading;

const POSITION: Position = Position { source: 0, line: 1, record: 0, sink: Sink::AccessLog };
const RECORD: &str = concat!(
    r#"{"chain":{"id":"019b76da-0001-7000-8000-000000000001","key":"abcdefgh","prev":"00","seq":12},"#,
    r#""context":{"a":[1,-2,[],{}],"b":true},"hash":"ab","kind":"head","proxy":{"id":"node","module":"0.1.0"},"#,
    r#""schema":"careplane.audit/v1","text":"é \"b\" {\\","time":"2026-10-01T00:00:00.000000Z"}"#
);

fn keys() -> Keyring {
    let mut keys = Keyring::default();
    keys.add(Key::new(b"a chain key of more than sixteen bytes").unwrap());
    keys
}

/// A canonical record that has its hash, with whatever members beside those that all have.
fn made_up(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut record = json!({
        "chain": {"id": "019b76da-0001-7000-8000-000000000001", "prev": "0f".repeat(32), "seq": random.u32(1..)},
        "kind": "request", "schema": "careplane.audit/v1", "time": "2026-10-01T00:00:00.000000Z",
    });
    let keys = keys();
    let key = match random.u8(..4) {
        0 => keys.ids().first().copied(),
        1 => Some("of-no-one"),
        _ => None,
    };
    if let Some(key) = key {
        record["chain"]["key"] = json!(key);
    }
    for name in ["a", "context", "long name of a member", "proxy", "request", "timer"] {
        if random.bool() {
            record[name] = if name == "proxy" { proxy(random) } else { value(random, 3) };
        }
    }
    let text = serde_jcs::to_vec(&record).unwrap();
    // What no key is for has any hash.
    let hash = keys.hash(key, [&text, b""]).unwrap_or([7; 32]);
    record["hash"] = json!(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    serde_jcs::to_vec(&record).unwrap()
}

fn proxy(random: &mut fastrand::Rng) -> Value {
    match random.u8(..4) {
        0 => json!({"id": "node", "module": "0.1.0"}),
        1 => json!({"placement": value(random, 0)}),
        2 => json!({"placement": "inbound", "zone": value(random, 1)}),
        _ => json!({"placement": "gateway"}),
    }
}

fn value(random: &mut fastrand::Rng, depth: u32) -> Value {
    let count = random.usize(..5);
    match random.u8(..if depth > 0 { 7 } else { 5 }) {
        0 => json!(random.i32(..)),
        1 => json!(random.bool()),
        2 => json!(null),
        3 | 4 => {
            let length = random.usize(..80);
            let alphabet: Vec<char> = "abcdefghijkl 0123456789-{}[]:,\"\\/\u{1}\n\té€🩺".chars().collect();
            // Most have no escapes.
            let size = if random.u8(..4) == 0 { alphabet.len() } else { 32 };
            json!((0..length).map(|_| alphabet[random.usize(..size)]).collect::<String>())
        }
        5 => (0..count).map(|_| value(random, depth - 1)).collect(),
        _ => (0..count).map(|index| (format!("m{index}"), value(random, depth - 1))).collect(),
    }
}

/// The quick way says what the parser says, or nothing.
fn compare(text: &[u8]) -> bool {
    let Some(scanned) = scan(text) else { return false };
    let parsed = Reading::parse(text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text)));
    let link = parsed.members();
    assert_eq!((scanned.id, scanned.key, scanned.prev, scanned.seq), (link.0, link.1, link.2, link.3));
    assert_eq!((scanned.kind, scanned.time, scanned.hash), (link.4, link.5, link.6));
    let without = [&text[..scanned.covered[0]], &text[scanned.covered[1]..]];
    assert_eq!(parsed.without_hash(text), Some(without));
    if let Some(chain) = scanned.chain() {
        let keys = keys();
        let (mut link, hashing) = scanned.link(chain, POSITION, 0, &keys);
        link.state = hashing.map_or(link.state, |hashing| hashing.state(text));
        assert_eq!(link, parsed.link(text, parsed.chain().unwrap(), POSITION, 0, &keys));
    }
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

#[test]
fn what_was_changed_in_many_ways_is_never_read_otherwise_than_by_the_parser() {
    let mut random = fastrand::Rng::with_seed(13);
    let (mut whole, mut read) = (0, 0);
    for _ in 0..3_000 {
        let text = made_up(&mut random);
        whole += u32::from(compare(&text));
        for _ in 0..20 {
            let mut text = text.clone();
            for _ in 0..random.usize(1..4) {
                let (at, other) = (random.usize(..text.len()), random.usize(..text.len()));
                let part = text[at..text.len().min(at + random.usize(1..40))].to_vec();
                match random.u8(..6) {
                    0 => text[at] = random.u8(..),
                    1 => text[at] = random.choice(*b"\"\\{}[]:,0-te\x1f ").unwrap(),
                    2 => text.swap(at, other),
                    3 => drop(text.drain(at..at + part.len())),
                    4 => drop(text.splice(other..other, part)),
                    _ => text.truncate(at.max(1)),
                }
                if text.is_empty() {
                    break;
                }
            }
            read += u32::from(compare(&text));
        }
    }
    // What the parser alone reads has escapes of other letters than these, or a text where there should be none.
    assert!(whole > 900 && read > 3_000, "{whole} {read}");
}

#[test]
fn two_records_at_a_time_have_the_hashes_of_each() {
    let (mut random, keys) = (fastrand::Rng::with_seed(14), keys());
    for count in 0..60 {
        let texts: Vec<Vec<u8>> = (0..count)
            .map(|_| {
                let mut text = made_up(&mut random);
                let last = text.len() - 3;
                // The last letter of the time: canonical still, and changed.
                text[last] = if random.bool() { b'Z' } else { b'z' };
                text
            })
            .collect();
        let (mut pairs, mut checked, mut expected) = (Pairs::default(), Checked::default(), Vec::new());
        for text in &texts {
            let Some(scanned) = scan(text) else { continue };
            let (link, hashing) = scanned.link(scanned.chain().unwrap(), POSITION, 0, &keys);
            let parsed = Reading::parse(text).unwrap();
            expected.push(parsed.link(text, parsed.chain().unwrap(), POSITION, 0, &keys).state);
            let slots = Slots { link: Some(checked.links.len()), record: None };
            checked.links.push(link);
            if let Some(hashing) = hashing {
                pairs.add(text, hashing, slots, &mut checked);
            }
        }
        pairs.finish(&mut checked);
        let states: Vec<State> = checked.links.iter().map(|link| link.state).collect();
        assert_eq!(states, expected);
    }
}
