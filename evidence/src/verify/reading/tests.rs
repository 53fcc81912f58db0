use super::*;
use crate::source::Sink;

/// The hash is that of `(printf '\0'; printf '{"chain":…,"kind":…}') | sha256sum`.
const RECORD: &str = concat!(
    r#"{"chain":{"id":"019b76da-0001-7000-8000-000000000001","#,
    r#""prev":"0000000000000000000000000000000000000000000000000000000000000000","seq":1},"#,
    r#""hash":"0c1d9559fef7408f05593835e3c2c0790a81d0d8c162665fa0721a3d2962563f","#,
    r#""kind":"end","schema":"careplane.audit/v1","time":"2026-01-01T00:00:00.000001Z"}"#
);

fn link(text: &str) -> Result<Link, String> {
    let reading = Reading::parse(text.as_bytes())?;
    let position = Position { source: 1, line: 2, record: 3, sink: Sink::AccessLog };
    Ok(reading.link(text.as_bytes(), reading.chain()?, position, 4, &Keyring::default()))
}

#[test]
fn a_record_is_a_link_of_its_chain() {
    let link = link(RECORD).unwrap();
    assert_eq!(
        (link.role, link.state, link.time),
        (Role::End, State::Valid, Some(Time::from_micros(1_767_225_600_000_001)))
    );
}

#[test]
fn a_hash_in_another_place_or_spelling_is_a_change() {
    let record = RECORD;
    let (before, rest) = record.split_once(r#","hash":"#).unwrap();
    let (hash, after) = rest.split_at(66);
    assert_eq!(link(record).unwrap().state, State::Valid);
    for changed in [
        format!(r#"{before}{}"hash":{hash}}}"#, after.replace('}', ",")),
        format!(r#"{before},"hash": {hash}{after}"#),
        format!(r#"{before},"h\u0061sh":{hash}{after}"#),
        format!(r#"{before},"hash":{}{after}"#, hash.to_uppercase()),
        format!(r#"{before},"hash":{hash},"hash":{hash}{after}"#),
    ] {
        assert_eq!(link(&changed).unwrap().state, State::Changed, "{changed}");
    }
}

#[test]
fn what_is_no_record_is_told_so() {
    let record = RECORD;
    for (from, to, why) in [
        (r#""seq":1"#, r#""seq":0"#, "counts from 1"),
        (r#""seq":1"#, r#""seq":1e0"#, "invalid type"),
        ("019b76da", "x19b76da", "no UUID"),
        ("audit/v1", "audit/v2", "\"careplane.audit/v2\", which is not careplane.audit/v1"),
        (r#""schema""#, r#""scheme""#, "missing field `schema`"),
        (r#"Z"}"#, r#"Z"}}"#, "trailing characters"),
    ] {
        let error = link(&record.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}
