//! `careplane audit`, the completions and the manual, as an operator runs them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// Real records: see `evidence/tests/archives.rs`.
const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../evidence/tests/samples");

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_careplane"));
    command.args(arguments).current_dir(folder);
    command
}

fn careplane(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

/// The exit code, and what was printed on both outputs.
fn outcome(output: &Output) -> (i32, String) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// The samples in a folder of their own, with `change` made to the lines of the access log.
fn archive(change: impl FnOnce(&mut Vec<String>)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(Path::new(SAMPLES).join("access.jsonl")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(folder.path().join("access.jsonl"), lines.join("\n")).unwrap();
    folder
}

#[test]
fn a_whole_archive_holds() {
    let (code, text) = outcome(&careplane(Path::new(SAMPLES), &["audit", "verify", ".", "--closed"]));
    let summary = "3 chains: 3 complete; 15 records in 48 lines, 27 copies, 21 lines of other things\n";
    assert_eq!((code, text.as_str()), (0, summary));
    let (code, text) = outcome(&careplane(Path::new(SAMPLES), &["audit", "verify", ".", "--all"]));
    assert_eq!(code, 0);
    assert!(
        text.starts_with("chain 01a207ab-7d75-74cf-9c92-e1cd91f5d6b7: complete: records 1 to 5, 9 copies; ended 2026-"),
        "{text}"
    );
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let folder = archive(|lines| {
        lines[1] = lines[1].replace("\"status\":200", "\"status\":403");
        lines.remove(4);
        lines.truncate(5);
        lines.push("{\"chain\":{\"id\":\"0".to_owned());
    });
    let (code, text) = outcome(&careplane(folder.path(), &["audit", "verify", "access.jsonl"]));
    assert_eq!(code, 1, "{text}");
    let first = "01a207ab-7d75-74cf-9c92-e1cd91f5d6b7";
    let second = "01a207ab-8f56-7d6a-84d0-77c056129aa3";
    for line in [
        "access.jsonl:6: error: not a readable record: EOF while parsing a string at line 1 column 17 [unreadable]"
            .to_owned(),
        format!(
            "access.jsonl:1: error: chain {first}: record 1 is missing: the first that is there is 2, access.jsonl:1 \
             [gap]"
        ),
        format!(
            "access.jsonl:2: error: chain {first}: record 3 was changed: it does not have its hash; \
             record 4 names the hash that it carries [edit]"
        ),
        format!(
            "access.jsonl:5: error: chain {second}: record 3 is missing, between access.jsonl:4 and access.jsonl:5 \
             [gap]"
        ),
        "2 chains: 2 broken; 5 records in 6 lines, 3 missing, 1 changed, 1 unreadable".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert_eq!(outcome(&careplane(folder.path(), &["audit", "verify", ".", "--exit-zero"])).0, 0);
}

#[cfg(unix)]
#[test]
fn the_name_of_a_file_is_no_line_of_the_output() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a\nchain x: complete"), "{\"chain\":{\"id\":\"0").unwrap();
    for command in ["verify", "report"] {
        let (code, text) = outcome(&careplane(folder.path(), &["audit", command, "."]));
        assert!(code < 2 && text.contains("./a\\nchain x: complete:1: "), "{text}");
        assert!(!text.contains("\nchain x"), "{text}");
    }
}

#[test]
fn an_archive_that_was_cut_at_one_instant_does_not_hold_now() {
    // Without the ends, which only proxies' logs have.
    let samples = Path::new(SAMPLES);
    let verify = |more: &[&str]| {
        outcome(&careplane(samples, &[&["audit", "verify", "access.jsonl", "collector.jsonl"], more].concat()))
    };
    let (code, text) = verify(&[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("; no end, and silent since 2026-"), "{text}");
    // What was there at the time of the newest record is what an archive of old is asked about.
    let (_, text) = verify(&["--as-of", "newest-record"]);
    assert!(text.contains("no end yet, last heard of 2026-"), "{text}");
}

#[test]
fn the_standard_input_is_read() {
    let mut child =
        command(Path::new(SAMPLES), &["audit", "verify", "-", "collector.jsonl", "proxy-json.log", "proxy-istio.log"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&fs::read(Path::new(SAMPLES).join("proxy-plain.log")).unwrap()).unwrap();
    drop(input);
    let (code, text) = outcome(&child.wait_with_output().unwrap());
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("3 chains: 3 complete; "), "{text}");
}

#[test]
fn shards_merge_into_the_report_of_one_run() {
    let samples = Path::new(SAMPLES);
    let folder = tempfile::tempdir().unwrap();
    let whole = careplane(samples, &["audit", "verify", ".", "--format", "json", "--as-of", "newest-record"]);
    let mut parts = Vec::new();
    for index in 0..3 {
        let (shard, report) = (format!("{index}/3"), folder.path().join(format!("{index}.json")));
        let report = report.to_str().unwrap().to_owned();
        let arguments = [
            ["audit", "verify", ".", "--format", "json", "--as-of", "newest-record"].as_slice(),
            &["--exit-zero", "--shard", &shard, "--output", &report],
        ]
        .concat();
        assert_eq!(outcome(&careplane(samples, &arguments)), (0, String::new()));
        parts.push(report);
    }
    let arguments: Vec<&str> =
        ["audit", "merge", "--format", "json"].into_iter().chain(parts.iter().map(String::as_str)).collect();
    let merged = careplane(samples, &arguments);
    assert_eq!(outcome(&merged), outcome(&whole));
    let report: Value = serde_json::from_slice(&merged.stdout).unwrap();
    assert_eq!(
        (&report["schema"], &report["chains"][0]["verdict"]),
        (&"careplane.verification/v1".into(), &"complete".into())
    );

    let (code, text) = outcome(&careplane(samples, &["audit", "merge", &parts[0]]));
    assert_eq!((code, text.as_str()), (2, "careplane: shard 1/3 is missing\n"));

    // By another hand.
    let mut report: Value = serde_json::from_str(&fs::read_to_string(&parts[0]).unwrap()).unwrap();
    report["chains"][0]["findings"] = json!([{"kind": "conflict", "seq": 1, "places": []}]);
    fs::write(&parts[0], report.to_string()).unwrap();
    let (code, text) = outcome(&careplane(samples, &["audit", "merge", &parts[0], &parts[1], &parts[2]]));
    assert!(code == 2 && text.contains("a conflict has 0 places: expected two or more"), "{code} {text}");
}

#[test]
fn a_shard_of_a_partitioned_archive_reads_its_files_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(Path::new(SAMPLES).join("access.jsonl")).unwrap();
    for (number, chain) in ["01a207ab-7d75", "01a207ab-8f56", "01a207ab-a1eb"].into_iter().enumerate() {
        let lines: String = text.lines().filter(|line| line.contains(chain)).map(|line| format!("{line}\n")).collect();
        let proxy = folder.path().join(format!("archive/proxy-{number}"));
        fs::create_dir_all(&proxy).unwrap();
        fs::write(proxy.join("2026-10.jsonl"), lines).unwrap();
    }
    let run = |more: &[&str]| {
        let common = ["audit", "verify", "--format", "json", "--as-of", "newest-record", "--exit-zero", "archive"];
        serde_json::from_slice::<Value>(&careplane(folder.path(), &[&common, more].concat()).stdout).unwrap()
    };
    let whole = run(&[]);
    let mut lines = 0;
    for shard in ["0/3", "1/3", "2/3"] {
        let part = run(&["--partitioned", "--shard", shard]);
        assert_eq!(part["input"]["sources"], whole["input"]["sources"]);
        lines += part["input"]["lines"].as_u64().unwrap();
        fs::write(folder.path().join(format!("{}.json", &shard[..1])), part.to_string()).unwrap();
    }
    // Each line was read once.
    assert_eq!(lines, whole["input"]["lines"].as_u64().unwrap());
    let merged = careplane(folder.path(), &["audit", "merge", "--format", "json", "0.json", "1.json", "2.json"]);
    assert_eq!(serde_json::from_slice::<Value>(&merged.stdout).unwrap(), whole);
    // A chain in the files of two proxies: that archive is not partitioned.
    fs::copy(folder.path().join("archive/proxy-0/2026-10.jsonl"), folder.path().join("archive/proxy-2/copy.jsonl"))
        .unwrap();
    fs::copy(folder.path().join("archive/proxy-0/2026-10.jsonl"), folder.path().join("archive/proxy-1/copy.jsonl"))
        .unwrap();
    for shard in ["0/3", "1/3", "2/3"] {
        let part = run(&["--partitioned", "--shard", shard]);
        fs::write(folder.path().join(format!("{}.json", &shard[..1])), part.to_string()).unwrap();
    }
    let (code, text) = outcome(&careplane(folder.path(), &["audit", "merge", "0.json", "1.json", "2.json"]));
    assert!(code == 2 && text.contains("is in two parts: the archive is not partitioned by proxy"), "{code} {text}");
}

#[test]
fn what_cannot_be_done_is_exit_code_2_and_says_why() {
    for (arguments, why) in [
        (&["verify", "no-such-file"][..], "careplane: no-such-file: No such file or directory"),
        (&["verify", ".", "--key-env", "NO_SUCH_KEY"], "careplane: NO_SUCH_KEY is not in the environment"),
        (&["verify", ".", "--key-env", "SHORT"], "careplane: SHORT: the key has 5 bytes, and has to have 16 or more"),
        (&["verify", ".", "--key-file", "no-such-key"], "careplane: no-such-key: No such file"),
        (&["verify", ".", "--shard", "4/4"], "the last of 4 shards is 3/4"),
        (&["verify", ".", "--as-of", "yesterday"], "\"yesterday\" is not a time of RFC 3339 in UTC"),
        (&["merge", "access.jsonl"], "careplane: access.jsonl: not a report in JSON"),
    ] {
        let arguments: Vec<&str> = ["audit"].into_iter().chain(arguments.iter().copied()).collect();
        let (code, text) = outcome(&command(Path::new(SAMPLES), &arguments).env("SHORT", "short").output().unwrap());
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn a_published_schema_is_that_of_the_report() {
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verification.schema.json");
    let (code, text) = outcome(&careplane(Path::new(SAMPLES), &["schema", "verification"]));
    assert_eq!((code, text), (0, fs::read_to_string(published).unwrap()), "make schema");
}

#[test]
fn there_are_completions_and_a_manual() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (code, text) = outcome(&careplane(folder.path(), &["completions", shell]));
        assert_eq!(code, 0);
        assert!(text.contains("require-key"), "{shell}: {text}");
    }
    let (_, page) = outcome(&careplane(folder.path(), &["man"]));
    assert!(page.contains(".TH careplane 1") && page.contains("careplane\\-audit(1)"), "{page}");
    assert_eq!(outcome(&careplane(folder.path(), &["man", "--out", "man1"])), (0, String::new()));
    let page = fs::read_to_string(folder.path().join("man1/careplane-audit-verify.1")).unwrap();
    assert!(page.contains("\\-\\-shard"), "{page}");
}
