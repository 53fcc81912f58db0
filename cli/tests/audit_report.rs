//! `careplane audit report` and `export`, run as programs.

#[path = "../../evidence/tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use careplane_evidence::synthetic::Synthetic;
use careplane_exchange::Denial;
use serde_json::{Value, json};
use support::Writer;

struct Folder(tempfile::TempDir);

impl Folder {
    /// With `records.jsonl`.
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let from = "2026-10-01T00:00:00Z".parse().unwrap();
        let lines: Vec<_> =
            Synthetic { seed: 3, from, days: 3, requests: 200, chains: 4 }.records().map(|line| line + "\n").collect();
        folder.write("records.jsonl", &lines.concat());
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let program = Path::new(env!("CARGO_BIN_EXE_careplane"));
        Command::new(program).arg("audit").args(arguments).current_dir(self.0.path()).output().unwrap()
    }

    /// The standard output of a run that goes well.
    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The standard error of a run that does not.
    fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// The days of `records.jsonl`.
const DAYS: [&str; 4] = ["--from", "2026-10-01", "--to", "2026-10-04"];

/// A report in JSON, without the time it was made at.
fn undated(text: &str) -> Value {
    let mut report: Value = serde_json::from_str(text).unwrap();
    report["made"].take();
    report
}

#[test]
fn reports_of_shards_merge_into_that_of_the_whole() {
    let folder = Folder::new();
    let scope = ["--from", "2026-10-01", "--to", "2026-10-03", "--regulator", "CQC", "--format", "json"];
    let whole = undated(&folder.text(&[&["report", "records.jsonl"], &scope[..]].concat()));
    for shard in ["0/3", "1/3", "2/3"] {
        let report = format!("{}.json", &shard[..1]);
        folder.text(&[&["report", "records.jsonl", "--shard", shard, "--output", &report], &scope[..]].concat());
    }
    let merge = |parts: &[&str]| folder.text(&[&["report", "--format", "json", "--merge"], parts].concat());
    assert_eq!(undated(&merge(&["0.json", "1.json", "2.json"])), whole);
    assert!(whole["total"]["answered"].as_u64().unwrap() > 100);
    let error = folder.refusal(&["report", "--merge", "0.json", "2.json"]);
    assert_eq!(error, "careplane: shard 1/3 is missing\n");
    // The shards of a report carry their verification, which merges alone, too.
    let verdict = folder.run(&["merge", "0.json", "1.json", "2.json"]);
    let verdict = String::from_utf8(verdict.stdout).unwrap();
    assert!(verdict.starts_with("4 chains: 4 complete; "), "{verdict}");
    let verified = folder.run(&["merge", "--format", "json", "0.json", "1.json", "2.json"]);
    assert_eq!(serde_json::from_slice::<Value>(&verified.stdout).unwrap(), whole["verification"]);
}

#[test]
fn a_page_verifies_what_it_counts_in_one_command() {
    let folder = Folder::new();
    folder.write(
        "metrics.txt",
        "careplane_audit_records{} 10\ncareplane_audit_acknowledged{} 9\ncareplane_audit_overflow{} 1\n",
    );
    let report = |more: &[&str]| folder.text(&[&["report", "records.jsonl"], &DAYS[..], more].concat());
    let page = report(&["--metrics", "metrics.txt", "--title", "October at <home>"]);
    assert!(page.contains("<h1>October at &#60;home&#62;</h1>"));
    assert!(page.contains("<h3>The record is complete</h3>"));
    assert!(page.contains("It adds up: 10 made = 9 taken + 1 in a proxy’s log + 0 refused + 0 on the way + 0 lost"));
    folder.write("more.txt", "careplane_audit_records{} 5\n");
    let page = report(&["--metrics", "metrics.txt", "--metrics", "more.txt"]);
    assert!(page.contains("Of 5 records no account is given."));
    folder.write("proxies.txt", "\u{feff}service-1\r\n# the gateways\r\nistio-ingressgateway-*\r\n");
    let page = report(&["--proxies", "proxies.txt"]);
    assert!(page.contains("Of 1 proxy that should be on record there is no chain: istio-ingressgateway-*."));
    // Edited after whatever was said of it before: said now.
    let records = fs::read_to_string(folder.path("records.jsonl")).unwrap();
    folder.write("records.jsonl", &records.replacen("\"status\":200", "\"status\":201", 1));
    assert!(report(&[]).contains("In 1 chain, records are missing or were changed"));
    let export = folder.run(&["export", "--format", "fhir", "records.jsonl"]);
    assert_eq!(export.status.code(), Some(1));
    assert!(String::from_utf8(export.stderr).unwrap().contains("was changed: it does not have its hash"));
}

#[test]
fn a_page_has_words_for_every_reason_to_refuse() {
    for denial in Denial::ALL {
        let folder = Folder(tempfile::tempdir().unwrap());
        let mut writer = Writer::new(1);
        let decision = json!({"result": "denied", "by": "careplane", "reason": denial.code()});
        let outcome = json!({"status": denial.status()});
        let record = writer.append("request", json!({"decision": decision, "outcome": outcome}));
        folder.write("records.jsonl", &record);
        let page = folder.text(&["report", "records.jsonl"]);
        assert!(page.contains(&format!("careplane · {}", denial.code())), "{page}");
        assert!(!page.contains("that this report has no words for"), "{}", denial.code());
    }
}

#[test]
fn what_cannot_be_read_is_told_with_its_place_and_counted() {
    let folder = Folder::new();
    let records = fs::read_to_string(folder.path("records.jsonl")).unwrap();
    folder.write("damaged.jsonl", &format!("{}\n{records}", &records[..50]));
    let output = folder.run(&[&["report", "damaged.jsonl"], &DAYS[..]].concat());
    assert!(output.status.success());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.starts_with("careplane: damaged.jsonl:1: not an audit record: not a readable record: EOF while parsing"),
        "{errors}"
    );
    assert!(String::from_utf8(output.stdout).unwrap().contains("1 damaged record could not be read."));
}

#[test]
fn bad_input_says_what_is_wanted_instead() {
    let folder = Folder::new();
    folder.write("empty.txt", "");
    folder.write("other.txt", "up 1\n");
    let cases: [(&[&str], &str); 7] = [
        (&["report", "missing.jsonl"], "missing.jsonl: No such file"),
        (&["report", "empty.txt"], "no audit record in empty.txt"),
        (&["report", "records.jsonl", "--from", "October"], "\"October\" is neither a date such as 2026-10-31"),
        (&["report", "records.jsonl", "--from", "2026-10-03", "--to", "2026-10-01"], "the period would be empty"),
        (
            &["report", "records.jsonl", "--regulator", "Ofsted"],
            "possible values: CQC, \"Care Inspectorate\", CIW, RQIA",
        ),
        (&["report", "records.jsonl", "--metrics", "other.txt"], "other.txt: no sample of careplane_audit_records"),
        (&["export", "--format", "fhir", "-"], "- cannot be read twice"),
    ];
    for (arguments, wanted) in cases {
        let error = folder.refusal(arguments);
        assert!(error.contains(wanted), "{arguments:?}: {error}");
    }
}

#[test]
fn nothing_is_written_over_what_is_read() {
    let folder = Folder::new();
    let records = fs::read(folder.path("records.jsonl")).unwrap();
    for command in [
        &["export", "--format", "fhir"][..],
        &["report"],
        &["verify"],
        &["merge"],
        &["search", "--tenant", "care-home-0042"],
    ] {
        let error = folder.refusal(&[command, &["--output", "./records.jsonl", "records.jsonl"]].concat());
        assert_eq!(error, "careplane: ./records.jsonl: it is read, so it cannot be the output\n", "{command:?}");
        assert_eq!(fs::read(folder.path("records.jsonl")).unwrap(), records);
    }
    // Below a folder that is read, too, and what is read beside the records.
    fs::create_dir(folder.path("archive")).unwrap();
    fs::rename(folder.path("records.jsonl"), folder.path("archive/records.jsonl")).unwrap();
    folder.write("stats.prom", "careplane_audit_records{} 1\n");
    folder.write("key", "a chain key of more than sixteen bytes");
    folder.write("proxies", "service-1\n");
    for (command, option, file) in [
        (&["verify"][..], &[][..], "archive/records.jsonl"),
        (&["report"], &[], "archive/records.jsonl"),
        (&["export", "--format", "fhir"], &[], "archive/records.jsonl"),
        (&["search", "--denied"], &["--key-file", "key"], "key"),
        (&["report"], &["--metrics", "stats.prom"], "stats.prom"),
        (&["verify"], &["--proxies", "proxies"], "proxies"),
    ] {
        let before = fs::read(folder.path(file)).unwrap();
        let error = folder.refusal(&[command, option, &["--output", file, "archive"]].concat());
        assert_eq!(error, format!("careplane: {file}: it is read, so it cannot be the output\n"), "{command:?}");
        assert_eq!(fs::read(folder.path(file)).unwrap(), before);
    }
}

#[test]
fn a_part_of_a_report_is_no_page() {
    let folder = Folder::new();
    let error = folder.refusal(&[&["report", "records.jsonl", "--shard", "0/4"], &DAYS[..]].concat());
    assert!(error.starts_with("careplane: --shard makes a part of a report, and no page"), "{error}");
}

#[test]
fn an_export_has_the_requests_of_the_period_in_every_form() {
    let folder = Folder::new();
    let scope = ["--from", "2026-10-02", "--to", "2026-10-03", "--tenant", "care-home-0042"];
    let export =
        |more: &[&str]| folder.text(&[&["export", "--format", "fhir", "records.jsonl"], more, &scope[..]].concat());
    let lines = export(&[]);
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.len() > 10);
    assert!(events.iter().all(|event| event["recorded"].as_str().unwrap().starts_with("2026-10-02T")));
    assert_eq!(export(&[]), lines, "twice the same");
    let bundle: Value = serde_json::from_str(&export(&["--bundle", "transaction"])).unwrap();
    assert_eq!((&bundle["type"], bundle["entry"].as_array().unwrap().len()), (&"transaction".into(), events.len()));
    let first = &bundle["entry"][0];
    assert_eq!(first["resource"], events[0]);
    assert_eq!(first["request"]["url"], format!("AuditEvent/{}", events[0]["id"].as_str().unwrap()));
    let bundle: Value = serde_json::from_str(&export(&["--bundle", "collection"])).unwrap();
    assert!(
        bundle["entry"][0]["request"].is_null()
            && bundle["entry"][0]["fullUrl"].as_str().unwrap().starts_with("urn:uuid:")
    );
}
