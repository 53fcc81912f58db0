//! What each command says when records were tampered with: the table in `docs/audit-attacks.md`, row by row.
//!
//! `CAREPLANE_ACCEPT=1` writes the table as it was seen.

#[path = "../../evidence/tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::{KEY, Writer, hash};

/// Records of a chain, and seconds that it lives.
const LENGTH: u64 = 600;

/// What an archive has, by the names of its files.
type Files = Vec<(&'static str, Vec<u8>)>;

struct Attack {
    name: &'static str,
    /// Whether what was done changes what happened; else nothing needs to be found.
    harms: bool,
    /// Whether a list of proxies is given.
    list: bool,
    /// Whether the records are keyed, and the key is given.
    keyed: bool,
    change: fn(&mut Files),
}

/// Two proxies: what each sent to the collector, and its log with `start`, `head` and `end`.
fn archive(keyed: bool) -> Files {
    let key = Some(KEY).filter(|_| keyed);
    let mut files = Files::new();
    for (number, name, log) in [(1, "gateway.jsonl", "gateway.log"), (2, "sidecar.jsonl", "sidecar.log")] {
        let lines = Writer::new(number).key(key).complete(LENGTH);
        let is_of_chain = |line: &&String| !line.contains(r#""kind":"request""#);
        let said: Vec<String> =
            lines.iter().filter(is_of_chain).map(|line| format!("[warning] careplane-audit-record {line}")).collect();
        files.push((name, (lines.join("\n") + "\n").into_bytes()));
        files.push((log, (said.join("\n") + "\n").into_bytes()));
    }
    files
}

fn edit(files: &mut Files, name: &str, change: impl FnOnce(&mut Vec<String>)) {
    let bytes = &mut files.iter_mut().find(|(file, _)| *file == name).unwrap().1;
    let mut lines: Vec<String> = String::from_utf8(bytes.clone()).unwrap().lines().map(str::to_owned).collect();
    change(&mut lines);
    *bytes = (lines.join("\n") + "\n").into_bytes();
}

/// The number of the record in a line.
fn seq(line: &str) -> u64 {
    let rest = line.split_once("\"seq\":").unwrap().1;
    rest.split('}').next().unwrap().parse().unwrap()
}

fn rehash(line: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut record: Value = serde_json::from_str(line).unwrap();
    change(&mut record);
    record["hash"] = hash(&record, None).into();
    serde_jcs::to_string(&record).unwrap()
}

/// Computes a chain anew from one record on.
fn forge(lines: &mut [String], from: usize) {
    let mut prev = None;
    for (index, line) in lines.iter_mut().enumerate().skip(from) {
        *line = rehash(line, |record| {
            if index == from {
                record["outcome"]["status"] = json!(403);
            }
            if let Some(prev) = prev.take() {
                record["chain"]["prev"] = prev;
            }
        });
        prev = Some(serde_json::from_str::<Value>(line).unwrap()["hash"].clone());
    }
}

const ATTACKS: &[Attack] = &[
    Attack { name: "nothing", harms: false, list: true, keyed: false, change: |_| {} },
    Attack {
        name: "a record edited",
        harms: true,
        list: false,
        keyed: false,
        change: |files| {
            edit(files, "gateway.jsonl", |lines| lines[40] = lines[40].replace("\"status\":200", "\"status\":403"));
        },
    },
    Attack {
        name: "a record edited, its hash computed anew",
        harms: true,
        list: false,
        keyed: false,
        change: |files| {
            edit(files, "gateway.jsonl", |lines| {
                lines[40] = rehash(&lines[40], |record| record["outcome"]["status"] = json!(403))
            });
        },
    },
    Attack {
        name: "a chain computed anew from one record on; its head is in the proxy's log",
        harms: true,
        list: false,
        keyed: false,
        change: |files| {
            edit(files, "gateway.jsonl", |lines| forge(lines, 40));
        },
    },
    Attack {
        name: "the same in a keyed chain, without the key",
        harms: true,
        list: false,
        keyed: true,
        change: |files| {
            edit(files, "gateway.jsonl", |lines| forge(lines, 40));
        },
    },
    Attack {
        name: "a record deleted",
        harms: true,
        list: false,
        keyed: false,
        change: |files| {
            edit(files, "gateway.jsonl", |lines| drop(lines.remove(40)));
        },
    },
    Attack {
        name: "two records swapped",
        harms: false,
        list: false,
        keyed: false,
        change: |files| {
            edit(files, "gateway.jsonl", |lines| lines.swap(40, 41));
        },
    },
    Attack {
        name: "a record replayed",
        harms: false,
        list: false,
        keyed: false,
        change: |files| {
            edit(files, "gateway.jsonl", |lines| lines.push(lines[40].clone()));
        },
    },
    Attack {
        name: "a record replayed under another number",
        harms: true,
        list: false,
        keyed: false,
        change: |files| {
            edit(files, "gateway.jsonl", |lines| {
                lines[50] = rehash(&lines[40], |record| record["chain"]["seq"] = json!(51))
            });
        },
    },
    Attack {
        name: "the end of one chain cut, in every store",
        harms: true,
        list: false,
        keyed: false,
        change: |files| {
            edit(files, "gateway.jsonl", |lines| lines.truncate(300));
            edit(files, "gateway.log", |lines| lines.retain(|line| seq(line) <= 300));
        },
    },
    Attack {
        name: "every store cut at one instant",
        harms: true,
        list: false,
        keyed: false,
        change: |files| {
            for name in ["gateway.jsonl", "sidecar.jsonl"] {
                edit(files, name, |lines| lines.truncate(300));
            }
            for name in ["gateway.log", "sidecar.log"] {
                edit(files, name, |lines| lines.retain(|line| seq(line) <= 300));
            }
        },
    },
    Attack {
        name: "all records of a proxy dropped, but not its log",
        harms: true,
        list: false,
        keyed: false,
        change: |files| {
            files.retain(|(name, _)| *name != "sidecar.jsonl");
        },
    },
    Attack {
        name: "a chain dropped with its log; the list of proxies knows it",
        harms: true,
        list: true,
        keyed: false,
        change: |files| {
            files.retain(|(name, _)| !name.starts_with("sidecar"));
        },
    },
    Attack {
        name: "records of another mesh mixed in, among keyed ones",
        harms: true,
        list: false,
        keyed: true,
        change: |files| {
            files.push(("other.jsonl", Writer::new(9).complete(LENGTH).join("\n").into_bytes()));
        },
    },
    Attack {
        name: "all chains of keyed records computed anew, without the key",
        harms: true,
        list: true,
        keyed: true,
        change: |files| *files = archive(false),
    },
    Attack {
        name: "a made-up record with the hash of a true one, under an unknown key",
        harms: true,
        list: false,
        keyed: false,
        change: |files| {
            edit(files, "gateway.jsonl", |lines| {
                let mut record: Value = serde_json::from_str(&lines[40]).unwrap();
                record["outcome"]["status"] = json!(403);
                record["chain"]["key"] = json!("aaaaaaaa");
                lines.push(serde_jcs::to_string(&record).unwrap());
            });
        },
    },
    Attack {
        name: "files renamed",
        harms: false,
        list: false,
        keyed: false,
        change: |files| {
            files.iter_mut().find(|(name, _)| *name == "gateway.jsonl").unwrap().0 = "holiday.jpg";
        },
    },
    Attack {
        name: "files packed, under their old names",
        harms: false,
        list: false,
        keyed: false,
        change: |files| {
            for (_, bytes) in files {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(bytes).unwrap();
                *bytes = gzip.finish().unwrap();
            }
        },
    },
    Attack {
        name: "files written in UTF-16",
        harms: false,
        list: false,
        keyed: false,
        change: |files| {
            for (_, bytes) in files {
                let text = String::from_utf8(std::mem::take(bytes)).unwrap();
                *bytes = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            }
        },
    },
    Attack {
        name: "records parsed and written again, in other white space",
        harms: true,
        list: false,
        keyed: false,
        change: |files| {
            edit(files, "gateway.jsonl", |lines| {
                lines.iter_mut().for_each(|line| {
                    let value: Value = serde_json::from_str(line).unwrap();
                    *line = serde_json::to_string_pretty(&value).unwrap();
                })
            });
        },
    },
];

/// The row of an attack: what verify, report, search and export say.
fn row(attack: &Attack) -> [String; 5] {
    let folder = tempfile::tempdir().unwrap();
    let mut files = archive(attack.keyed);
    (attack.change)(&mut files);
    fs::create_dir(folder.path().join("archive")).unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join("archive").join(name), bytes).unwrap();
    }
    fs::write(folder.path().join("proxies"), "019b76da-0001\n019b76da-0002\n").unwrap();
    fs::write(folder.path().join("key"), KEY).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_careplane"));
        command.arg("audit").args(arguments).arg("archive").current_dir(folder.path());
        if attack.keyed {
            command.args(["--key-file", "key"]);
        }
        if attack.list {
            command.args(["--proxies", "proxies"]);
        }
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code().unwrap(), text[0].clone(), text[1].clone())
    };
    let period = ["--from", "2026-01-01", "--to", "2026-01-01T00:10:00Z"];
    let with = |arguments: &[&'static str]| [arguments, &period[..]].concat();
    let (code, out, errors) = run(if attack.keyed {
        &["verify", "--as-of", "2026-01-01T00:14:00Z", "--all", "--require-key"]
    } else {
        &["verify", "--as-of", "2026-01-01T00:14:00Z", "--all"]
    });
    let kept = |word: &&&str| out.contains(&format!("[{word}]"));
    let words = ["edit", "gap", "break", "conflict", "after-end", "key-changed", "unreadable", "reordered"];
    let found: Vec<&str> = words.iter().filter(kept).copied().collect();
    let verdicts = ["broken", "cut", "unverified", "open", "complete"];
    let verdict = verdicts.iter().find(|verdict| out.contains(&format!(": {verdict}: "))).unwrap_or(&"no chain");
    let keyless = if out.contains("without a key") { ["a chain without a key"].as_slice() } else { &[] };
    let absent = if errors.contains("should be on record") { ["a proxy is missing"].as_slice() } else { &[] };
    let more = [found.as_slice(), absent, keyless].concat().join(", ");
    let verify = format!("{code}: {verdict}{}{more}", if more.is_empty() { "" } else { "; " });
    let (_, page, errors) = run(&with(&["report"]));
    let is_complete = page.contains("<h3>The record is complete</h3>");
    assert_ne!(is_complete, page.contains("<h3>The record is not shown to be complete</h3>"), "{}", attack.name);
    let doubt = errors.lines().find_map(|line| line.strip_prefix("careplane: not shown to be complete: "));
    let doubted = doubt.map(|doubt| {
        doubt.split([';', '.']).next().unwrap().split(": ").next().unwrap().split(", though").next().unwrap().to_owned()
    });
    let report = doubted.unwrap_or_else(|| "complete".to_owned());
    assert_eq!(report == "complete", is_complete, "{}: {errors}", attack.name);
    let (code, _, errors) = run(&with(&["search", "--denied"]));
    let search = format!("{code}: {}", if errors.contains("all of them whole") { "whole" } else { "not whole" });
    let (code, ..) = run(&with(&["export", "--format", "fhir", "--output", "events"]));
    [attack.name.to_owned(), verify, report, search, format!("{code}")]
}

#[test]
fn the_table_of_attacks_is_what_is_seen() {
    let mut table = "| done | `verify` | `report` | `search` | `export` |\n|---|---|---|---|---|\n".to_owned();
    for attack in ATTACKS {
        let row = row(attack);
        let is_found = [!row[1].starts_with('0'), row[2] != "complete", !row[3].starts_with('0'), row[4] != "0"];
        assert_eq!(is_found, [attack.harms; 4], "{row:?}");
        table += &format!("| {} |\n", row.join(" | "));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/audit-attacks.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- table -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    let seen = format!("{before}<!-- table -->\n{table}<!-- end -->{after}");
    if std::env::var_os("CAREPLANE_ACCEPT").is_some() {
        fs::write(&path, seen).unwrap();
    } else {
        assert_eq!(text, seen, "CAREPLANE_ACCEPT=1 writes it");
    }
}
