//! `careplane audit report` and `export`, as somebody runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use careplane_evidence::synthetic::Synthetic;
use serde_json::Value;

struct Folder(tempfile::TempDir);

impl Folder {
    /// With `records.jsonl`, and `odd.jsonl` and `even.jsonl`, which are its chains apart.
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let from = "2026-10-01T00:00:00Z".parse().unwrap();
        let lines: Vec<_> =
            Synthetic { seed: 3, from, days: 3, requests: 200, chains: 4 }.records().map(|line| line + "\n").collect();
        let chain = |line: &String| serde_json::from_str::<Value>(line).unwrap()["chain"]["id"].to_string();
        let (odd, even): (Vec<_>, Vec<_>) = lines.iter().cloned().partition(|line| chain(line).as_bytes()[1] % 2 == 1);
        folder.write("records.jsonl", &lines.concat());
        folder.write("odd.jsonl", &odd.concat());
        folder.write("even.jsonl", &even.concat());
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

#[test]
fn reports_of_parts_merge_into_that_of_the_whole() {
    let folder = Folder::new();
    let scope = ["--from", "2026-10-01", "--to", "2026-10-02", "--regulator", "CQC", "--format", "json"];
    for name in ["records", "odd", "even"] {
        let (records, report) = (format!("{name}.jsonl"), format!("{name}.json"));
        folder.text(&[&["report", &records, "--output", &report], &scope[..]].concat());
    }
    for shard in ["0/3", "1/3", "2/3"] {
        let report = format!("{}.json", &shard[..1]);
        folder.text(&[&["report", "records.jsonl", "--shard", shard, "--output", &report], &scope[..]].concat());
    }
    let whole = fs::read_to_string(folder.path("records.json")).unwrap();
    let merge = |parts: &[&str]| folder.text(&[&["report", "--format", "json", "--merge"], parts].concat());
    assert_eq!(merge(&["0.json", "1.json", "2.json"]), whole);
    let merged = merge(&["odd.json", "even.json"]);
    assert_eq!(merged, whole);
    assert!(serde_json::from_str::<Value>(&merged).unwrap()["total"]["answered"].as_u64().unwrap() > 100);
    let error = folder.refusal(&["report", "--merge", "odd.json", "records.json"]);
    assert!(
        error.starts_with("careplane: records.json: record 1 of chain ") && error.contains("would count twice"),
        "{error}"
    );
}

#[test]
fn a_page_has_the_verdicts_and_the_ledger_that_it_is_given() {
    let folder = Folder::new();
    folder.write("verdicts.json", &folder.text(&["verify", "records.jsonl", "--format", "json"]));
    folder.write(
        "metrics.txt",
        "careplane_audit_records{} 10\ncareplane_audit_acknowledged{} 9\ncareplane_audit_spilled{} 1\n",
    );
    let page = folder.text(&[
        "report",
        "records.jsonl",
        "--verification",
        "verdicts.json",
        "--metrics",
        "metrics.txt",
        "--title",
        "October at <home>",
    ]);
    assert!(page.contains("<h1>October at &#60;home&#62;</h1>"));
    assert!(page.contains("<h3>The record is complete</h3>"));
    assert!(page.contains("It adds up: 10 made = 9 taken + 1 written down + 0 refused + 0 on the way + 0 lost"));
    folder.write("more.txt", "careplane_audit_records{} 5\n");
    let page = folder.text(&["report", "records.jsonl", "--metrics", "metrics.txt", "--metrics", "more.txt"]);
    assert!(page.contains("Of 5 records no account is given."));
}

#[test]
fn what_cannot_be_read_is_told_with_its_place_and_counted() {
    let folder = Folder::new();
    let records = fs::read_to_string(folder.path("records.jsonl")).unwrap();
    folder.write("damaged.jsonl", &format!("{}\n{records}", &records[..50]));
    let output = folder.run(&["report", "damaged.jsonl"]);
    assert!(output.status.success());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.starts_with("careplane: damaged.jsonl:1: not an audit record: EOF while parsing"), "{errors}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("1 damaged line could not be read."));
}

#[test]
fn bad_input_says_what_is_wanted_instead() {
    let folder = Folder::new();
    folder.write("empty.txt", "");
    folder.write("other.txt", "up 1\n");
    let cases: [(&[&str], &str); 8] = [
        (&["report", "missing.jsonl"], "missing.jsonl: No such file"),
        (&["report", "empty.txt"], "no audit record in empty.txt"),
        (&["report", "records.jsonl", "--from", "October"], "\"October\" is neither a date such as 2026-10-31"),
        (&["report", "records.jsonl", "--from", "2026-10-03", "--to", "2026-10-01"], "the period would be empty"),
        (
            &["report", "records.jsonl", "--regulator", "Ofsted"],
            "possible values: CQC, \"Care Inspectorate\", CIW, RQIA",
        ),
        (&["report", "records.jsonl", "--metrics", "other.txt"], "other.txt: no sample of careplane_audit_records"),
        (
            &["report", "records.jsonl", "--verification", "other.txt"],
            "other.txt: expected what `careplane audit verify",
        ),
        (&["export", "--format", "fhir", "-"], "- cannot be read twice"),
    ];
    for (arguments, wanted) in cases {
        let error = folder.refusal(arguments);
        assert!(error.contains(wanted), "{arguments:?}: {error}");
    }
}

#[test]
fn an_export_has_the_requests_of_the_period_in_every_form() {
    let folder = Folder::new();
    let scope = ["--from", "2026-10-02", "--to", "2026-10-02", "--tenant", "care-home-0042"];
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
