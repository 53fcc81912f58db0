//! `careplane audit search`, `pseudonym` and `follow`, as an investigator runs them.

#[path = "../../evidence/tests/support/mod.rs"]
mod support;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::Writer;

const NUMBER: &str = "943 476 5919";
const KEY: (&str, &str) = ("CAREPLANE_PSEUDONYM_KEY", "a key of pseudonyms that is long enough");
const OLD_KEY: (&str, &str) = ("OLD_KEY", "the key of pseudonyms of the year before");

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_careplane"));
    command.arg("audit").args(arguments).current_dir(folder).envs([KEY, OLD_KEY]);
    command
}

fn run(folder: &Path, arguments: &[&str], stdin: &str) -> (i32, String, String) {
    let mut command = command(folder, arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may not want to read it.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn pseudonym(arguments: &[&str], stdin: &str) -> String {
    let (code, out, errors) = run(Path::new("."), &[&["pseudonym"], arguments].concat(), stdin);
    assert_eq!(code, 0, "{errors}");
    out.trim().to_owned()
}

/// What a proxy at `placement` records of a request.
fn request(id: &str, user: &str, subject: &str, placement: &str, status: u16) -> Value {
    let decision = match status {
        403 => json!({"result": "denied", "by": "careplane", "reason": "tenant-conflict"}),
        _ => json!({"result": "allowed"}),
    };
    request_with(decision, id, user, subject, placement, status)
}

fn request_with(decision: Value, id: &str, user: &str, subject: &str, placement: &str, status: u16) -> Value {
    json!({
        "context": {
            "action": "read", "complianceLevel": "high", "name": "resident", "policy": "9f86d081884c7d65",
            "resource": "Patient", "subject": subject
        },
        "decision": decision,
        "outcome": {"status": status, "durationMicros": if placement == "gateway" { 900_000 } else { 100_000 }},
        "proxy": {"placement": placement},
        "request": {"id": id, "method": "GET", "pathTemplate": "/api/v1/residents/{id}"},
        "tenant": {"id": "care-home-0042"},
        "trace": {"id": "0af7651916cd43dd8448eb211c80319c"},
        "who": {"user": user, "peer": "=spiffe://cluster.local/ns/core/sa/gateway"}
    })
}

/// A nurse reads a resident's data through gateway and sidecar, tries again elsewhere, and does something else; under
/// a key before, too.
fn archive() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let subject = pseudonym(&["--subject", "-"], NUMBER);
    let nurse = pseudonym(&["--user", "nurse-7"], "");
    let before = pseudonym(&["--user", "nurse-7", "--pseudonym-key-env", "OLD_KEY"], "");
    let mut gateway = Writer::new(1);
    let gateway = [
        gateway.checkpoint("start"),
        gateway.append("request", request("r-1", &nurse, &subject, "gateway", 200)),
        gateway.append("request", request("r-2", "p-other", &subject, "gateway", 403)),
        gateway.append("request", request("r-3", &nurse, "p-other-subject", "gateway", 200)),
        gateway.append("request", request("r-4", &before, "p-other-subject", "gateway", 200)),
        gateway.checkpoint("end"),
    ];
    let mut sidecar = Writer::new(2);
    let start = sidecar.checkpoint("start");
    let sidecar =
        [start, sidecar.append("request", request("r-1", &nurse, &subject, "inbound", 200)), sidecar.checkpoint("end")];
    fs::write(folder.path().join("gateway.jsonl"), gateway.join("\n")).unwrap();
    fs::write(folder.path().join("sidecar.jsonl"), sidecar.join("\n")).unwrap();
    folder
}

/// The period of the archive, which ended in good order.
const PERIOD: [&str; 5] = ["--from", "2026-01-01", "--to", "2026-01-01T00:00:06Z", "."];

fn search(folder: &Path, arguments: &[&str], stdin: &str) -> (i32, String, String) {
    run(folder, &[&["search"], arguments, &PERIOD].concat(), stdin)
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn who_saw_this_persons_record() {
    let folder = archive();
    let (code, table, said) = search(folder.path(), &["--subject", "-"], &format!("{NUMBER}\n"));
    assert_eq!(
        (code, said.as_str()),
        (0, "careplane: 3 records found in 2 chains, all of them whole until 2026-01-01T00:00:06.000000Z\n")
    );
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("2026-01-01T00:00:01Z  answered 200  read resident  by p-"), "{table}");
    assert!(
        lines[2].contains("refused  403  read resident") && lines[2].contains("refused by careplane: tenant-conflict"),
        "{table}"
    );
    assert_eq!(lines[4], "and 1 further records of these requests (--hops lists them)");
    assert!(!table.contains("943"), "{table}");

    let (_, text, _) = search(folder.path(), &["--subject", "-", "--format", "json"], NUMBER);
    let [first, hop, refused, searched] = &objects(&text)[..] else { panic!("{text}") };
    assert_eq!(
        (&first["part"], &hop["part"], &refused["outcome"]),
        (&json!("request"), &json!("hop"), &json!("refused"))
    );
    assert_eq!(
        (&first["place"], &first["state"], &first["chainVerdict"]),
        (&json!("./gateway.jsonl:2"), &json!("valid"), &json!("complete"))
    );
    assert_eq!(searched["searched"]["whole"], true);
    assert_eq!((&searched["searched"]["chains"], &searched["searched"]["complete"]), (&json!(2), &json!(2)));
}

#[test]
fn each_question_has_its_answer() {
    let folder = archive();
    let subject = pseudonym(&["--subject", "-"], NUMBER);
    let found = |arguments: &[&str]| -> Vec<String> {
        let (_, text, errors) = search(folder.path(), &[arguments, &["--format", "json"]].concat(), "");
        let mut objects = objects(&text);
        assert!(objects.pop().unwrap()["searched"].is_object(), "{errors}");
        objects
            .into_iter()
            .map(|it| format!("{} {}", it["requestId"].as_str().unwrap(), it["door"].as_str().unwrap()))
            .collect()
    };
    let all = ["r-1 gateway", "r-1 inbound", "r-2 gateway", "r-3 gateway", "r-4 gateway"];
    for (arguments, wanted) in [
        (&[][..], &all[..]),
        (&["--user", "nurse-7"], &["r-1 gateway", "r-1 inbound", "r-3 gateway"]),
        // Under both keys that there have been.
        (
            &["--user", "nurse-7", "--pseudonym-key-env", "OLD_KEY", "--pseudonym-key-env", "CAREPLANE_PSEUDONYM_KEY"],
            &["r-1 gateway", "r-1 inbound", "r-3 gateway", "r-4 gateway"],
        ),
        (&["--pseudonym", &subject], &all[..3]),
        (&["--denied"], &["r-2 gateway"]),
        (&["--tenant", "care-home-0042", "--context", "resident", "--action", "read"], &all),
        (&["--tenant", "care-home-0001"], &[]),
        (&["--context", "medication"], &[]),
        (&["--action", "delete"], &[]),
        (&["--grant", "emergency"], &[]),
        (&["--request-id", "r-3"], &["r-3 gateway"]),
        (
            &["--trace", "0af7651916cd43dd8448eb211c80319c", "--user", "nurse-7"],
            &["r-1 gateway", "r-1 inbound", "r-3 gateway"],
        ),
    ] {
        let mut found = found(arguments);
        found.sort();
        assert_eq!(found, wanted, "{arguments:?}");
    }
}

#[test]
fn a_user_is_found_also_where_a_policy_lets_records_know_the_id() {
    let folder = tempfile::tempdir().unwrap();
    let nurse = pseudonym(&["--user", "nurse-7"], "");
    let number = pseudonym(&["--subject", "-"], NUMBER);
    let mut writer = Writer::new(1);
    let mut lines = vec![writer.checkpoint("start")];
    let users = [nurse.as_str(), "nurse-7", "nurse-8", &format!("patient {number}")];
    for (index, user) in users.into_iter().enumerate() {
        lines.push(writer.append("request", request(&format!("r-{index}"), user, "nurse-7", "gateway", 200)));
    }
    lines.push(writer.checkpoint("end"));
    fs::write(folder.path().join("records.jsonl"), lines.join("\n")).unwrap();
    let found = |arguments: &[&str], stdin: &str| -> Vec<String> {
        let (_, text, _) = search(folder.path(), &[arguments, &["--format", "json"]].concat(), stdin);
        let objects = objects(&text);
        objects.iter().filter_map(|it| Some(it["requestId"].as_str()?.to_owned())).collect()
    };
    assert_eq!(found(&["--user", "nurse-7"], ""), ["r-0", "r-1"]);
    assert_eq!(found(&["--user", "-"], &format!("patient {NUMBER}")), ["r-3"]);
    // Subjects are pseudonyms everywhere.
    assert!(found(&["--subject", "nurse-7"], "").is_empty());
    let (_, page, _) = search(folder.path(), &["--user", "-", "--format", "html"], &format!("patient {NUMBER}"));
    assert!(!page.contains("943"), "{page}");
}

#[test]
fn what_was_done_under_a_grant_is_found_by_grant_and_purpose() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(1);
    let mut lines = vec![writer.checkpoint("start")];
    for (id, grant, purpose, status) in [
        ("r-1", Some("emergency"), Some("BTG"), 200),
        ("r-2", Some("emergency"), None, 403),
        ("r-3", Some("inspector"), Some("HCOMPL"), 200),
        ("r-4", None, Some("ETREAT"), 200),
        ("r-5", None, None, 200),
    ] {
        let decision = match status {
            403 => json!({"result": "denied", "by": "careplane", "reason": "grant-purpose", "grant": grant}),
            _ => json!({"result": "allowed", "grant": grant}),
        };
        let mut record = request_with(decision, id, "p-nurse", "p-other-subject", "gateway", status);
        record["who"]["purpose"] = json!(purpose);
        (record["tenant"]["membership"], record["tenant"]["selectedBy"]) = (json!(4), json!("header"));
        lines.push(writer.append("request", record));
    }
    lines.push(writer.checkpoint("end"));
    fs::write(folder.path().join("records.jsonl"), lines.join("\n")).unwrap();
    let found = |arguments: &[&str]| {
        let (_, text, errors) = search(folder.path(), &[arguments, &["--format", "json"]].concat(), "");
        let mut objects = objects(&text);
        assert!(objects.pop().is_some_and(|it| it["searched"].is_object()), "{errors}");
        objects.into_iter().map(|it| it["requestId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(&["--grant", "emergency"]), ["r-1", "r-2"]);
    assert_eq!(found(&["--purpose", "BTG,ETREAT"]), ["r-1", "r-4"]);
    assert_eq!(found(&["--purpose", "btg", "--grant", "emergency"]), ["r-1"]);
    assert_eq!(found(&["--purpose", "TREAT"]), Vec::<String>::new());
    let (code, _, errors) = search(folder.path(), &["--purpose", "EMERGENCY"], "");
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains("expected a code of HL7 v3 PurposeOfUse, such as TREAT, ETREAT or BTG"), "{errors}");
    let (_, table, _) = search(folder.path(), &["--grant", "emergency", "--purpose", "BTG"], "");
    assert!(table.contains("emergency access") && table.contains("grant emergency · purpose BTG"), "{table}");
    let (_, csv, _) = search(folder.path(), &["--request-id", "r-1", "--format", "csv"], "");
    let rows: Vec<&str> = csv.lines().collect();
    assert!(
        rows[0].contains(",otherTenant,membership,selectedBy,action,") && rows[1].contains(",,4,header,read,"),
        "{csv}"
    );
}

#[test]
fn an_answer_says_what_it_cannot_know() {
    let folder = archive();
    let gateway = folder.path().join("gateway.jsonl");
    let text = fs::read_to_string(&gateway).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let changed = lines[1].replacen("care-home-0042", "care-home-0001", 1);
    lines[1] = &changed;
    lines.remove(3);
    fs::write(&gateway, lines.join("\n")).unwrap();
    let (code, table, said) = search(folder.path(), &["--subject", "-"], NUMBER);
    assert_eq!(code, 1);
    assert!(table.contains("CHANGED: not what was written"), "{table}");
    assert!(
        said.contains(
            "these are not shown to be whole, so there can be more:\n\
             careplane: In 1 chain, records are missing or were changed"
        ),
        "{said}"
    );
    let (_, text, _) = search(folder.path(), &["--subject", "-", "--format", "json"], NUMBER);
    let objects = objects(&text);
    assert_eq!((&objects[0]["state"], &objects[0]["part"]), (&json!("changed"), &Value::Null));
    assert_eq!(objects.last().unwrap()["searched"]["whole"], false);
    let (_, page, _) = search(folder.path(), &["--subject", "-", "--format", "html"], NUMBER);
    assert!(
        page.contains("The record that was searched is not shown to be complete")
            && page.contains("what it says is not to be believed"),
        "{page}"
    );
}

#[test]
fn a_page_and_a_spreadsheet_hold_no_number_and_no_formula() {
    let folder = archive();
    let (_, page, _) =
        search(folder.path(), &["--subject", "-", "--format", "html", "--title", "A request of <1 March>"], NUMBER);
    assert!(
        page.contains("<h1>A request of &#60;1 March&#62;</h1>")
            && page.contains("<h3>The record that was searched is complete</h3>")
    );
    assert!(page.contains("1 further record of the same requests") && page.contains("Refused by the platform"));
    assert!(!page.contains("943") && !page.contains("<script"), "{page}");
    let (_, text, _) = search(folder.path(), &["--subject", "-", "--format", "csv"], NUMBER);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let column = |name: &str| head.iter().position(|it| it == name).unwrap();
    assert_eq!((rows.len(), &rows[0][column("outcome")], &rows[1][column("part")]), (3, "answered", "hop"));
    assert_eq!(&rows[0][column("peer")], "'=spiffe://cluster.local/ns/core/sa/gateway");
}

#[test]
fn a_preflight_is_listed_and_is_no_use_of_data() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(1);
    let mut preflight = request("r-1", "p-u", "p-s", "gateway", 403);
    preflight["request"]["preflight"] = json!(true);
    let used = request("r-2", "p-u", "p-s", "gateway", 200);
    let lines = [writer.append("request", preflight), writer.append("request", used)];
    fs::write(folder.path().join("records.jsonl"), lines.join("\n")).unwrap();
    let (_, page, _) = search(folder.path(), &["--tenant", "care-home-0042", "--format", "html"], "");
    assert!(page.contains("<b>1</b> use or attempt</li>") && page.contains("<b>0</b> refused</li>"), "{page}");
    assert!(page.contains("A browser’s question before a request: no use of data"), "{page}");
}

#[test]
fn a_number_never_comes_from_the_command_line() {
    let folder = archive();
    for number in [NUMBER, "9434765919", "nhs:943-476-5919"] {
        let (code, _, error) = search(folder.path(), &["--subject", number], "");
        assert_eq!(code, 2);
        assert!(
            error.contains("--subject: an NHS number on the command line stays in the history of the shell"),
            "{error}"
        );
        assert!(!error.contains("5919"), "{error}");
    }
    // Neither as what it is not: the page of an answer names the pseudonym that was asked for.
    for command in ["search", "follow"] {
        let (code, out, error) = run(folder.path(), &[command, "--pseudonym", NUMBER, "gateway.jsonl"], "");
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(error.contains("--pseudonym: an NHS number on the command line"), "{error}");
        assert!(error.contains("give `--subject -`, and the number on the standard input"), "{error}");
    }
    let refused = |arguments: &[&str]| {
        let (code, _, error) = run(folder.path(), arguments, "");
        assert_eq!(code, 2, "{error}");
        error
    };
    assert!(refused(&["search", "--subject", "-", "-"]).contains("both want the standard input"));
    assert!(refused(&["search", "--subject", "-", "--user", "-", "."]).contains("both want the standard input"));
    assert!(refused(&["search", "--subject", "-", "."]).contains("--subject: there is no id on the standard input"));
    assert!(refused(&["pseudonym"]).contains("whose pseudonym? --subject or --user"));
    assert!(
        refused(&["pseudonym", "--user", "a", "--pseudonym-key-env", "NO_KEY"])
            .contains("NO_KEY is not in the environment")
    );
    let without = command(folder.path(), &["pseudonym", "--user", "a"]).env_remove(KEY.0).output().unwrap();
    assert!(String::from_utf8(without.stderr).unwrap().contains("without the key there are no pseudonyms"));
}

#[test]
fn a_pseudonym_is_that_of_the_proxies() {
    let key = careplane_exchange::Key::new(KEY.1.as_bytes()).unwrap();
    let proxies = careplane_exchange::Pseudonyms::new(key);
    assert_eq!(pseudonym(&["--user", "nurse-7"], ""), proxies.of(careplane_exchange::Role::User, "nurse-7"));
    assert_eq!(pseudonym(&["--subject", "-"], "9434765919"), proxies.of(careplane_exchange::Role::Subject, NUMBER));
    // From a file of an editor that marks what it writes.
    let marked = pseudonym(&["--subject", "-"], "\u{feff}resident-12\r\n");
    assert_eq!(marked, proxies.of(careplane_exchange::Role::Subject, "resident-12"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, OLD_KEY.1).unwrap();
    let both = pseudonym(
        &["--user", "nurse-7", "--pseudonym-key-file", file.to_str().unwrap(), "--pseudonym-key-env", KEY.0],
        "",
    );
    assert_eq!(both.lines().count(), 2);
}

#[test]
fn records_are_shown_as_they_come_and_trouble_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let mut writer = Writer::new(1);
    let start = writer.checkpoint("start");
    fs::write(&file, format!("{start}\n")).unwrap();
    let mut child = command(folder.path(), &["follow", "--from-start", "--denied", "audit.jsonl"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(shown.next().unwrap().contains("begins, proxy sidecar~10.0.0.1~"));
    let append = |lines: &[&str]| {
        let mut out = OpenOptions::new().append(true).open(&file).unwrap();
        lines.iter().for_each(|line| out.write_all(line.as_bytes()).unwrap());
    };
    let answered = writer.append("request", request("r-1", "p-u", "p-s", "gateway", 200));
    let refused = writer.append("request", request("r-2", "p-u", "p-s", "gateway", 403));
    // In two parts, and with a copy.
    append(&[&answered, "\n", &refused[..40]]);
    append(&[&refused[40..], "\n", &refused, "\n"]);
    assert!(shown.next().unwrap().contains("refused  403  read resident"));
    assert!(shown.next().unwrap().contains("audit.jsonl:3"));
    // Rotated; one record is missing, and one was changed.
    let _ = writer.request();
    let after = writer.append("request", request("r-3", "p-u", "p-s", "gateway", 403));
    let changed = writer.append("request", request("r-4", "p-u", "p-s", "gateway", 403)).replace("r-4", "r-5");
    fs::rename(&file, folder.path().join("audit.jsonl.1")).unwrap();
    fs::write(&file, format!("{after}\n{changed}\n")).unwrap();
    let mut until = |wanted: &str| shown.find(|line| line.contains(wanted)).unwrap();
    assert!(until("trouble").contains("nothing between record 3 and record 5 yet"));
    assert!(until("trouble").contains("record 6 of chain"));
    assert!(until("CHANGED").contains("refused"));
    // Made anew with its hash: not for a copy of the one that was there.
    let mut forged: Value = serde_json::from_str(&after).unwrap();
    forged["who"]["user"] = json!("p-other");
    forged["hash"] = json!(support::hash(&forged, None));
    append(&[&serde_jcs::to_string(&forged).unwrap(), "\n"]);
    assert!(until("trouble").contains("another record of chain"));
    assert!(until("p-other").contains("refused"));
    child.kill().unwrap();
    child.wait().unwrap();
    let (code, once, _) = run(folder.path(), &["follow", "--once", "-"], &format!("{start}\n{answered}\n"));
    assert_eq!((code, once.lines().count()), (0, 3), "{once}");
}

#[test]
fn a_record_under_a_key_that_is_not_here_is_no_copy_of_the_one_whose_hash_it_carries() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(1);
    let lines = [writer.checkpoint("start"), writer.append("request", request("r-1", "p-u", "p-s", "gateway", 200))];
    let mut forged: Value = serde_json::from_str(&lines[1]).unwrap();
    forged["who"]["user"] = json!("p-other");
    forged["chain"]["key"] = json!("aaaaaaaa");
    let text = format!("{}\n{}\n", lines.join("\n"), serde_jcs::to_string(&forged).unwrap());
    let (_, shown, _) = run(folder.path(), &["follow", "--once", "-"], &text);
    assert!(shown.contains("another record of chain") && shown.contains("p-other"), "{shown}");
}

#[test]
fn follow_ends_when_nobody_reads_what_it_shows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let mut writer = Writer::new(1);
    fs::write(&file, writer.checkpoint("start") + "\n").unwrap();
    let mut child =
        command(folder.path(), &["follow", "--from-start", "audit.jsonl"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(child.stdout.take().unwrap());
    shown.read_line(&mut String::new()).unwrap();
    // As `| head -1` does.
    drop(shown);
    let mut out = OpenOptions::new().append(true).open(&file).unwrap();
    let ended = (0..100).find_map(|_| {
        out.write_all((writer.request() + "\n").as_bytes()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        child.try_wait().unwrap()
    });
    child.kill().unwrap();
    assert_eq!(ended.and_then(|status| status.code()), Some(0));
}

#[test]
fn lines_are_followed_whatever_they_begin_with_and_to_the_end_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(1);
    let start = writer.checkpoint("start");
    let refused: Vec<_> = ["r-1", "r-2"]
        .into_iter()
        .map(|id| writer.append("request", request(id, "p-u", "p-s", "gateway", 403)))
        .collect();
    // A line that is longer than what is read at a time, and a last one without its end.
    let long = json!({"pad": "x".repeat(5 << 20), "log": refused[0]});
    let text = format!("{start}\nORCA load report of an upstream\nBZhello\n{long}\n{}", refused[1]);
    fs::write(folder.path().join("proxy.log"), text).unwrap();
    let (code, out, errors) = run(folder.path(), &["follow", "--once", "proxy.log"], "");
    assert_eq!(code, 0, "{errors}");
    let shown: Vec<&str> = out.lines().filter(|line| line.contains("proxy.log:")).collect();
    assert!(out.contains("begins, proxy") && shown.len() == 2, "{out}");
    assert!(shown[0].contains("proxy.log:4") && shown[1].contains("proxy.log:5"), "{out}");
    assert!(!out.contains("trouble"), "{out}");
}

#[test]
fn a_record_that_has_its_hash_and_cannot_be_read_is_told_and_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(1);
    let mut odd = request("r-1", "p-u1", "p-s1", "inbound", 200);
    odd["outcome"]["status"] = json!(70_000);
    odd["decision"]["shadow"] = json!({"result": "denied", "reason": "tenant-missing"});
    let mut grpc = request("r-2", "p-u2", "p-s1", "inbound", 200);
    grpc["outcome"]["grpcStatus"] = json!(4_294_967_296_u64);
    let lines = [
        writer.checkpoint("start"),
        writer.append("request", odd),
        writer.append("request", grpc),
        writer.append("request", request("r-3", "p-u3", "p-s1", "inbound", 200)),
        writer.checkpoint("end"),
    ];
    fs::write(folder.path().join("records.jsonl"), lines.join("\n")).unwrap();
    let (code, out, errors) = search(folder.path(), &["--format", "json", "--tenant", "care-home-0042"], "");
    assert_eq!(code, 1, "{errors}");
    assert!(out.contains("p-u2") && out.contains("p-u3") && !out.contains("p-u1"), "{out}");
    assert!(errors.contains("records.jsonl:2: not an audit record: not a readable record"), "{errors}");
    assert!(errors.contains("1 damaged record could not be read."), "{errors}");
    let (_, _, errors) = run(folder.path(), &["shadow", "."], "");
    assert!(errors.contains("records.jsonl:2: not an audit record: not a readable record"), "{errors}");
    let (code, out, errors) = run(folder.path(), &["export", "--format", "fhir", "records.jsonl"], "");
    assert_eq!((code, out.lines().count()), (1, 2), "{errors}");
    assert!(errors.contains("records.jsonl:2: not a readable record"), "{errors}");
    assert!(errors.contains("1 record has its hash and is no event"), "{errors}");
}

#[test]
fn a_changed_copy_does_not_hide_the_record_that_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(1);
    let begin = writer.checkpoint("start");
    let record = writer.append("request", request("r-1", "p-mallory", "p-victim", "inbound", 200));
    let end = writer.checkpoint("end");
    fs::write(folder.path().join("a.jsonl"), record.replace("p-mallory", "p-innocent")).unwrap();
    fs::write(folder.path().join("b.jsonl"), [begin, record, end].join("\n")).unwrap();
    let (code, out, _) = search(folder.path(), &["--tenant", "care-home-0042"], "");
    assert_eq!(code, 1);
    assert!(out.contains("p-innocent") && out.contains("p-mallory"), "{out}");
}

#[test]
fn a_hop_within_the_period_of_a_request_that_began_before_it_is_a_hop() {
    let folder = tempfile::tempdir().unwrap();
    let mut writers = [Writer::new(1), Writer::new(2)];
    let mut lines = Vec::new();
    for (writer, placement, id, time) in [
        (0, "gateway", "r-1", "2026-01-01T23:59:59.500000Z"),
        (1, "inbound", "r-1", "2026-01-02T00:00:00.100000Z"),
        // Over before midnight, and another one with its id.
        (0, "gateway", "r-2", "2026-01-01T23:59:50.000000Z"),
        (1, "inbound", "r-2", "2026-01-02T00:00:00.200000Z"),
    ] {
        let mut record = request(id, "p-u", "p-s", placement, 200);
        record["time"] = time.into();
        lines.push(writers[writer].append("request", record));
    }
    fs::write(folder.path().join("records.jsonl"), lines.join("\n")).unwrap();
    let period = ["--from", "2026-01-02", "--to", "2026-01-03", "--format", "json", "records.jsonl"];
    let (_, text, _) = run(folder.path(), &[&["search", "--pseudonym", "p-u"], &period[..]].concat(), "");
    let objects = objects(&text);
    let found = objects.iter().filter(|it| it["searched"].is_null());
    let found: Vec<_> = found.map(|it| (it["requestId"].as_str().unwrap(), it["part"].as_str().unwrap())).collect();
    assert_eq!(found, [("r-1", "hop"), ("r-2", "request")]);
}

#[test]
fn an_answer_with_a_record_that_cannot_be_relied_on_is_never_whole() {
    let folder = tempfile::tempdir().unwrap();
    // The chain was over before the period that the changed record says it is of.
    let mut over = Writer::new(1);
    let old = [over.checkpoint("start"), over.append("request", request("r-1", "p-u", "p-s", "gateway", 200))];
    let changed = old[1].replace("2026-01-01T", "2026-01-02T");
    let mut new = Writer::new(2);
    new.clock = 86_400;
    let new = [new.checkpoint("start"), new.checkpoint("end")];
    let lines = [&old[..], &[over.checkpoint("end"), changed], &new].concat();
    fs::write(folder.path().join("records.jsonl"), lines.join("\n")).unwrap();
    let period = ["--from", "2026-01-02", "--to", "2026-01-02T00:01:00Z", "records.jsonl"];
    let (code, text, said) = run(folder.path(), &[&["search", "--format", "json"], &period[..]].concat(), "");
    let objects = objects(&text);
    assert_eq!((code, &objects[0]["state"], &objects[1]["searched"]["whole"]), (1, &json!("changed"), &json!(false)));
    assert!(
        said.contains("1 record in the list cannot be relied on.") && !said.contains("all of them whole"),
        "{said}"
    );
}

#[test]
fn proxies_are_asked_of_the_period_and_never_of_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let chain = |number, pod: &str, clock| {
        let mut writer = Writer::new(number);
        writer.clock = clock;
        let mut lines = Vec::new();
        for kind in ["start", "end"] {
            let proxy = json!({"proxy": {"id": format!("sidecar~10.0.0.1~{pod}.core~x"), "module": "0.1.0"}});
            lines.push(writer.append(kind, proxy));
        }
        lines
    };
    let lines = [chain(1, "old-1", 0), chain(2, "new-1", 86_400)].concat();
    fs::write(folder.path().join("records.jsonl"), lines.join("\n")).unwrap();
    fs::write(folder.path().join("proxies"), "old-1\nnew-1\n").unwrap();
    fs::write(folder.path().join("gone"), "gone-1\n").unwrap();
    let tell = |arguments: &[&str]| {
        let (code, _, errors) = run(folder.path(), arguments, "");
        (code, errors)
    };
    let period = ["--from", "2026-01-02", "--to", "2026-01-02T00:00:02Z", "--tenant", "home", "records.jsonl"];
    let (code, errors) = tell(&[&["search", "--proxies", "proxies"], &period[..]].concat());
    assert!(code == 1 && errors.contains("there is no chain: old-1."), "{errors}");
    let verify = ["verify", "--as-of", "newest-record", "--proxies", "gone", "records.jsonl"];
    assert_eq!(tell(&verify).0, 1);
    assert_eq!(tell(&[&verify[..], &["--exit-zero"]].concat()).0, 0);
    let (code, errors) = tell(&[&verify[..], &["--shard", "0/2"]].concat());
    assert!(code == 2 && errors.contains("cannot be used with '--shard"), "{errors}");
    for shard in ["0/2", "1/2"] {
        let output = format!("{}.json", &shard[..1]);
        let parts = ["verify", "--as-of", "newest-record", "--format", "json", "--shard", shard, "--output", &output];
        assert_eq!(tell(&[&parts[..], &["records.jsonl"]].concat()).0, 0);
    }
    assert_eq!(tell(&["merge", "--proxies", "proxies", "0.json", "1.json"]).0, 0);
    let (code, errors) = tell(&["merge", "--proxies", "gone", "0.json", "1.json"]);
    assert!(code == 1 && errors.contains("there is no chain: gone-1."), "{errors}");
    let (code, errors) = tell(&["verify", "-", "--proxies", "-"]);
    assert!(code == 2 && errors.contains("both want the standard input"), "{errors}");
}

#[cfg(unix)]
#[test]
fn an_export_refuses_what_it_cannot_read_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(1);
    let lines = [writer.checkpoint("start"), writer.request(), writer.checkpoint("end")].join("\n");
    let (code, out, errors) = run(folder.path(), &["export", "--format", "fhir", "/dev/stdin"], &lines);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(errors.contains("/dev/stdin cannot be read twice"), "{errors}");
}
