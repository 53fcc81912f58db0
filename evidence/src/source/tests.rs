use std::io::Write;

use super::*;

/// A place, and the text there, or what is wrong with it.
type Found = (String, Result<String, String>);

fn read(source: &Source) -> (Vec<Found>, Lines) {
    let mut all = Vec::new();
    let lines = source
        .read(|found| {
            all.push(match found {
                Ok(item) => (item.place.to_string(), Ok(String::from_utf8_lossy(item.text).into_owned())),
                Err(broken) => (broken.place.to_string(), Err(broken.why)),
            });
            Ok(())
        })
        .unwrap();
    (all, lines)
}

fn text(line: &str) -> Vec<Found> {
    read(&Source::text("s", line)).0
}

const RECORD: &str = r#"{"chain":{"id":"x"},"schema":"careplane.audit/v1","text":"a \"b\" {"}"#;

#[test]
fn a_record_is_found_wherever_a_line_has_it() {
    let escaped = serde_json::to_string(RECORD).unwrap();
    let newline = serde_json::to_string(&format!("{RECORD}\n")).unwrap();
    for (line, place) in [
        (RECORD.to_owned(), "s:1"),
        (format!("  {RECORD}\r\n"), "s:1"),
        (format!("2026-01-01T00:00:00Z\twarning\tcareplane-audit-record {RECORD}\tthread=7"), "s:1"),
        // As containerd keeps standard output, and as `kubectl logs --prefix` prints it.
        (format!("2026-01-01T00:00:00Z stdout F {RECORD}"), "s:1"),
        (format!("[pod/gateway-0/istio-proxy] {RECORD}"), "s:1"),
        (format!(r#"{{"log":{newline},"stream":"stdout"}}"#), "s:1 (record 1 of the line)"),
        (format!(r#"{{"a":[{{"body":{{"stringValue":{escaped}}}}}]}}"#), "s:1 (record 1 of the line)"),
    ] {
        assert_eq!(text(&line), [(place.to_owned(), Ok(RECORD.to_owned()))], "{line}");
    }
}

#[test]
fn what_has_no_record_is_skipped_and_counted() {
    let lines = concat!(
        "[info] careplane configured: policy 30f2ab91c4d7e655\n",
        "{\"level\":\"info\",\"msg\":\"careplane.audit.records\"}\n",
        "\n",
        "wasmcustom.careplane.audit.records: 3\n",
        "{\"schema\": not JSON either\n",
        "-"
    );
    assert_eq!(read(&Source::text("s", lines)), (vec![], Lines { read: 6, skipped: 6 }));
}

#[test]
fn what_is_left_of_a_record_is_not_passed_over() {
    for line in [
        format!("x{}", &RECORD[1..]),
        format!("[warning] careplane-audit-record x{}", &RECORD[1..]),
        format!("[warning] careplane-audit-record {}", &RECORD[..40]),
        RECORD[20..].to_owned(),
        format!(r#"{{"log":{},"stream":"#, serde_json::to_string(RECORD).unwrap()),
        format!(r#"{{"log":{}}}"#, serde_json::to_string(&RECORD[20..]).unwrap()),
    ] {
        let found = text(&line);
        assert!(found.last().is_some_and(|(_, found)| found.is_err()), "{line}: {found:?}");
    }
    // Read, so that whoever parses it says what is wrong.
    let damaged = RECORD.replacen("chain", "chaim", 1);
    assert_eq!(text(&damaged), [("s:1".to_owned(), Ok(damaged.clone()))]);
}

#[test]
fn a_line_that_is_too_long_is_named_and_the_next_one_is_read() {
    let lines = format!("{}\n{RECORD}\n", "x".repeat(LINE_MAX + 1));
    let (found, _) = read(&Source::text("s", lines));
    assert_eq!(found[0], ("s:1".to_owned(), Err("the line is longer than 64 MiB".to_owned())));
    assert_eq!(found[1], ("s:2".to_owned(), Ok(RECORD.to_owned())));
}

#[test]
fn folders_gzip_and_what_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("b/lost+found")).unwrap();
    for name in ["b/2.jsonl", "b/1.jsonl", "b/.hidden", "b/lost+found/x"] {
        std::fs::write(at(name), RECORD).unwrap();
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(RECORD.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    // Two members, as when rotated files are put together.
    std::fs::write(at("a.gz"), [gzip.as_slice(), &gzip].concat()).unwrap();
    std::fs::write(at("cut.gz"), &gzip[..gzip.len() - 9]).unwrap();

    let sources = Source::expand(&[at("b"), at("a.gz")]).unwrap();
    let names: Vec<&str> = sources.iter().map(|source| source.name().rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["1.jsonl", "2.jsonl", "a.gz"]);
    assert_eq!(read(&sources[0]).0.len(), 1);
    let twice = &read(&sources[2]).0[0].1;
    assert_eq!(twice.as_deref(), Ok([RECORD, RECORD].concat().as_str()));

    let cut = Source::file(at("cut.gz")).read(|_| Ok(())).unwrap_err().to_string();
    assert!(cut.contains("cut.gz: "), "{cut}");
    let missing = Source::expand(&[at("missing")]).unwrap_err().to_string();
    assert!(missing.contains("missing: No such file"), "{missing}");
    std::fs::create_dir(at("empty")).unwrap();
    let empty = Source::expand(&[at("empty")]).unwrap_err().to_string();
    assert!(empty.ends_with("empty: there is no file in this folder"), "{empty}");
}
