use std::io::Write;

use super::*;

/// A place, and the text there, or what is wrong with it.
type Found = (String, Result<String, String>);

fn read(source: &Source) -> (Vec<Found>, Lines) {
    let mut all = Vec::new();
    let lines = source
        .read(|found| {
            all.push(match found {
                Ok(item) => (item.location.to_string(), Ok(String::from_utf8_lossy(item.text).into_owned())),
                Err(broken) => (broken.location.to_string(), Err(broken.why)),
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
        // A list of JSON on one line.
        (format!(r#"[{{"message":{escaped}}}]"#), "s:1"),
        // What Loki answers: over HTTP, and `logcli --output jsonl`, `raw` and `default`.
        (
            format!(r#"{{"data":{{"result":[{{"stream":{{}},"values":[["1790812800000000000",{escaped}]]}}]}}}}"#),
            "s:1 (record 1 of the line)",
        ),
        (format!(r#"{{"labels":{{}},"line":{escaped},"timestamp":"t"}}"#), "s:1 (record 1 of the line)"),
        (format!(r#"2026-10-01T00:00:00Z {{app="careplane"}} {RECORD}"#), "s:1"),
        // What Elasticsearch answers, in one line and spread over several.
        (format!(r#"{{"hits":{{"hits":[{{"_source":{{"message":{escaped}}}}}]}}}}"#), "s:1 (record 1 of the line)"),
        (format!(r#"          "message" : {escaped},"#), "s:1"),
        (format!(r#"          {escaped}"#), "s:1"),
        // CloudWatch: `filter-log-events`, and CSV of Logs Insights; a log line of a proxy in CSV.
        (format!(r#"            "message": {escaped}"#), "s:1"),
        (format!("2026-10-01 00:00:00.000,\"{}\"", RECORD.replace('"', "\"\"")), "s:1"),
        (format!("1,\"[warning] careplane-audit-record {} thread=7\",x", RECORD.replace('"', "\"\"")), "s:1"),
        // logfmt.
        (format!("level=warn msg={escaped} thread=7"), "s:1"),
        // JSON in JSON: a container's log of a proxy that logs in JSON.
        (
            format!(r#"{{"log":{}}}"#, serde_json::to_string(&format!(r#"{{"msg":{escaped}}}"#)).unwrap()),
            "s:1 (record 1 of the line)",
        ),
        // journald: as a text, as bytes, and in its export format.
        (format!(r#"{{"_PID":"7","MESSAGE":{escaped}}}"#), "s:1 (record 1 of the line)"),
        (format!(r#"{{"MESSAGE":{:?},"_PID":"7"}}"#, RECORD.as_bytes()), "s:1 (record 1 of the line)"),
        (
            format!(r#"{{"MESSAGE":{}}}"#, serde_json::to_string(RECORD.as_bytes()).unwrap()),
            "s:1 (record 1 of the line)",
        ),
        (format!("MESSAGE={RECORD}"), "s:1"),
        // A store that keeps the record as an object, byte for byte.
        (format!(r#"{{"_source":{RECORD}}}"#), "s:1 (record 1 of the line)"),
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
    let taken_apart = r#"{"body":{"chain":{"seq":1,"id":"x"},"schema":"careplane.audit/v1"}}"#;
    let escaped = serde_json::to_string(RECORD).unwrap();
    for line in [
        // Parsed by a store, and written again: alone, beside one that was not, and spread over lines.
        taken_apart.to_owned(),
        format!(r#"{{"a":{escaped},"b":{taken_apart}}}"#),
        r#"    "schema" : "careplane.audit/v1","#.to_owned(),
        r#"    "schema": "careplane.audit\/v1","#.to_owned(),
        // Beside one that is read, in other ways of writing.
        format!(r#"level=warn msg={escaped} {{"MESSAGE":{:?}}}"#, RECORD.as_bytes()),
        format!(r#"{{"log":{}}} [warning] careplane-audit-record {RECORD}"#, escaped.replace("audit/", r"audit\/")),
        // Escaped in ways that nothing here knows.
        format!("<msg>{}</msg>", RECORD.replace('"', "&quot;")),
        format!("a;'{}'", RECORD.replace('"', "\\\"")),
        "careplane.audit/v1".to_owned(),
        // UTF-16 behind lines that are not: what `>>` of PowerShell appends.
        "a line in UTF-8\n".chars().chain(RECORD.chars().flat_map(|char| [char, '\0'])).collect(),
    ] {
        let found = text(&line);
        assert!(found.last().is_some_and(|(_, found)| found.is_err()), "{line}: {found:?}");
    }
    // Read, so that parsing it says what is wrong.
    let damaged = RECORD.replacen("chain", "chaim", 1);
    assert_eq!(text(&damaged), [("s:1".to_owned(), Ok(damaged.clone()))]);
}

#[test]
fn lines_in_utf8_behind_utf16_are_not_taken_for_nothing() {
    let lines = |count: usize| {
        let utf16 = "a line in UTF-16\r\n".repeat(count).encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        [b"\xff\xfe".to_vec(), utf16, RECORD.as_bytes().to_vec(), b"\n".to_vec()].concat()
    };
    // Also where the mark is on both sides of what is read at a time.
    for count in [1, 7281, 7282] {
        let error = Source::text("s", lines(count)).read(|_| Ok(())).unwrap_err().to_string();
        assert!(error.starts_with("s: there is a record in UTF-8 within a file in UTF-16"), "{error}");
    }
}

#[test]
fn a_writer_that_ended_within_a_line_costs_its_own_record_alone() {
    let exported = format!(r#"{{"a":[{{"body":{}}}]}}"#, serde_json::to_string(RECORD).unwrap());
    let log = format!(r#"{{"log":{}}}"#, serde_json::to_string(RECORD).unwrap());
    for whole in [RECORD, exported.as_str(), log.as_str()] {
        // Before the line end alone, and so twice: the records are whole.
        for times in [2, 3] {
            let found = text(&whole.repeat(times));
            assert_eq!(found.len(), times, "{found:?}");
            assert!(found.iter().all(|(_, found)| found.as_deref() == Ok(RECORD)), "{found:?}");
        }
        // White space between JSON values says nothing; carriage returns alone are the line ends of some programs.
        for space in [" ", "\r", "\t \r"] {
            let found = text(&[whole, whole, whole].join(space));
            let records: Vec<_> = found.iter().map(|(_, found)| found.as_deref()).collect();
            assert_eq!(records, [Ok(RECORD); 3], "{space:?}");
        }
        // Anywhere: that one is reported, and the next one read.
        for cut in 1..whole.len() {
            let line = [&whole[..cut], whole].concat();
            let found = text(&line);
            assert_eq!(found.last().and_then(|(_, found)| found.as_deref().ok()), Some(RECORD), "{line}: {found:?}");
        }
    }
}

#[test]
fn lines_that_are_too_long_are_named_and_those_behind_them_are_read() {
    let long = "x".repeat(LINE_MAX + (2 << 20));
    let (found, lines) = read(&Source::text("s", format!("{long}\n{RECORD}\n{RECORD}\n{long}\n{RECORD}\n")));
    let too_long = Err("the line is longer than 64 MiB".to_owned());
    let record = Ok(RECORD.to_owned());
    let expected = [&too_long, &record, &record, &too_long, &record];
    assert_eq!(found.iter().map(|(_, found)| found).collect::<Vec<_>>(), expected);
    assert_eq!((found[4].0.as_str(), lines.read), ("s:5", 5));
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
    // Filled up to whole blocks, and put together then.
    std::fs::write(at("padded.gz"), [gzip.as_slice(), &[0; 300], &gzip, &[0; 70_000]].concat()).unwrap();
    std::fs::write(at("more.gz"), [gzip.as_slice(), b"\0\0more"].concat()).unwrap();
    std::fs::write(at("cut.gz"), &gzip[..gzip.len() - 9]).unwrap();
    // The name says nothing.
    std::fs::write(at("packed.jsonl"), &gzip).unwrap();
    std::fs::write(at("plain.gz"), RECORD).unwrap();

    let sources = Source::expand(&[at("b"), at("a.gz")]).unwrap();
    let names: Vec<&str> = sources.iter().map(|source| source.name().rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["1.jsonl", "2.jsonl", "a.gz"]);
    assert_eq!(read(&sources[0]).0.len(), 1);
    // The first had no line end: both are in one line.
    let twice = [("1 of the line", RECORD), ("2 of the line", RECORD)];
    for source in [&sources[2], &Source::file(at("padded.gz"))] {
        let found = read(source).0;
        assert_eq!(found.len(), twice.len());
        for ((location, found), (record, expected)) in found.iter().zip(twice) {
            assert!(location.contains(record), "{location}");
            assert_eq!(found.as_deref(), Ok(expected));
        }
    }

    for name in ["packed.jsonl", "plain.gz"] {
        assert_eq!(read(&Source::file(at(name))).0[0].1.as_deref(), Ok(RECORD), "{name}");
    }

    let cut = Source::file(at("cut.gz")).read(|_| Ok(())).unwrap_err().to_string();
    assert!(cut.contains("cut.gz: "), "{cut}");
    let more = Source::file(at("more.gz")).read(|_| Ok(())).unwrap_err().to_string();
    assert!(more.contains("more.gz: "), "{more}");
    let missing = Source::expand(&[at("missing")]).unwrap_err().to_string();
    assert!(missing.contains("missing: No such file"), "{missing}");
    std::fs::create_dir(at("empty")).unwrap();
    let empty = Source::expand(&[at("empty")]).unwrap_err().to_string();
    assert!(empty.ends_with("empty: there is no file in this folder"), "{empty}");
}

#[test]
fn packings_and_encodings_are_known_by_their_bytes() {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    let lines = format!("{RECORD}\n").repeat(1000) + &RECORD.replace("a \\\"b", "é \\\"b");
    let utf16 = |to: fn(u16) -> [u8; 2]| lines.encode_utf16().flat_map(to).collect::<Vec<u8>>();
    let zstd = compress_to_vec(lines.as_bytes(), CompressionLevel::Fastest);
    let skipped = [b"\x50\x2a\x4d\x18\x03\0\0\0abc".as_slice(), &zstd].concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&zstd).unwrap();
    for (what, bytes) in [
        ("UTF-8 with a mark", [b"\xef\xbb\xbf".as_slice(), lines.as_bytes()].concat()),
        ("UTF-16LE with a mark", [b"\xff\xfe".to_vec(), utf16(u16::to_le_bytes)].concat()),
        ("UTF-16BE with a mark", [b"\xfe\xff".to_vec(), utf16(u16::to_be_bytes)].concat()),
        ("UTF-16LE", utf16(u16::to_le_bytes)),
        ("UTF-16BE", utf16(u16::to_be_bytes)),
        ("zstd", zstd.clone()),
        ("zstd behind a frame to skip", skipped),
        ("zstd in gzip", gzip.finish().unwrap()),
    ] {
        let (found, _) = read(&Source::text("s", bytes));
        let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_deref().unwrap()).collect();
        assert_eq!(texts, lines.lines().collect::<Vec<_>>(), "{what}");
    }
    let twice = read(&Source::text("s", [zstd.as_slice(), b"", &zstd].concat()));
    assert_eq!(twice.0.len(), 2002, "the last record of the first frame is in the line of the first of the second");
    let refused = |bytes: &[u8]| Source::text("s", bytes).read(|_| Ok(())).unwrap_err().to_string();
    assert_eq!(refused(b"\xfd7zXZ\0..."), "s: this is xz, which is not read: unpack it first (xz -dc)");
    assert!(refused(b"PK\x03\x04").contains("zip"));
    assert!(refused(&zstd[..zstd.len() - 5]).starts_with("s: "));
    assert!(refused(&[zstd.as_slice(), b"more"].concat()).contains("something else behind the last frame"));
}

#[test]
fn a_log_is_no_packing_whatever_its_first_word_is() {
    let log = format!("{RECORD}\n");
    for begin in ["ORCA load report\n", "\u{1b}[33mORC\n", "BZh9 is a word\n", "PAR1\n", "LPKSHHRH"] {
        let (found, _) = read(&Source::text("s", format!("{begin}\n{log}")));
        assert_eq!(found.len(), 1, "{begin}");
    }
    // Where a tar archive has its mark.
    let custard = format!("{}custard\n{log}", "x".repeat(256));
    assert_eq!(read(&Source::text("s", custard)).0.len(), 1);
    for packed in [
        b"BZh91AY&SY\x94\x1f\x2b\x07".as_slice(),
        b"BZh9\x17rE8P\x90\0\0\0\0",
        b"PAR1\x15\x04",
        b"ORC\x0a\x03\x08",
        b"LPKSHHRH\0\0",
    ] {
        let error = Source::text("s", packed).read(|_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("which is not read: unpack it first"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn what_keeps_nothing_is_left_out_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("records.jsonl"), RECORD).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    let sources = Source::expand(&[folder.path().to_owned()]).unwrap();
    let names: Vec<&str> = sources.iter().map(|source| source.name().rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["records.jsonl"]);
}
