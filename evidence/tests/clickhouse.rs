//! What SQL finds: the same verdicts as those of the verifier, and the same access beyond tenants as the report.

mod support;
mod tools;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use careplane_evidence::report::{Making, Scope};
use careplane_evidence::source::Source;
use careplane_evidence::synthetic::Synthetic;
use careplane_evidence::verify::{Clock, Settings, Time, Verdict, Verifier};
use jiff::Timestamp;
use serde_json::Value;
use support::{KEY, Random, Writer, hash};
use tools::{Tool, tool};

/// A change of some chains, one line a record.
type Change = fn(&mut Vec<String>, &mut Random);

fn at(lines: &[String], random: &mut Random) -> usize {
    random.below(lines.len() - 2) + 1
}

const CHANGES: [Change; 13] = [
    |_, _| {},
    |lines, random| {
        let index = at(lines, random);
        lines.remove(index);
    },
    |lines, random| {
        let index = at(lines, random);
        lines.swap(index, 0);
    },
    |lines, random| {
        let index = at(lines, random);
        lines.push(lines[index].clone());
    },
    |lines, random| {
        let index = at(lines, random);
        lines[index] = lines[index].replacen("\"time\":\"2026", "\"time\":\"2025", 1);
    },
    // An intact copy beside it.
    |lines, random| {
        let index = at(lines, random);
        lines.push(lines[index].replacen("\"time\":\"2026", "\"time\":\"2025", 1));
    },
    // With its hash.
    |lines, random| {
        let index = at(lines, random);
        let mut record: serde_json::Value = serde_json::from_str(&lines[index]).unwrap();
        record["time"] = "2026-01-01T00:00:07.000000Z".into();
        record["hash"] = hash(&record, None).into();
        lines[index] = serde_jcs::to_string(&record).unwrap();
    },
    // Beside the one that was there.
    |lines, random| {
        let index = at(lines, random);
        let mut record: serde_json::Value = serde_json::from_str(&lines[index]).unwrap();
        record["time"] = "2026-01-01T00:00:07.000000Z".into();
        record["hash"] = hash(&record, None).into();
        lines.push(serde_jcs::to_string(&record).unwrap());
    },
    |lines, random| {
        let index = at(lines, random);
        lines.truncate(index);
    },
    // Beyond the end, and a key that is dropped.
    |lines, _| {
        let mut writer = Writer::new(70);
        lines.extend([writer.checkpoint("start"), writer.checkpoint("end"), writer.request()]);
        let mut writer = Writer::new(71).key(Some(KEY));
        lines.push(writer.request());
        lines.push(writer.key(None).request());
    },
    // Under a key that is not here, with the hash of the one that was there.
    |lines, random| {
        let mut record: serde_json::Value = serde_json::from_str(&lines[random.below(80)]).unwrap();
        record["chain"]["key"] = "aaaaaaaa".into();
        lines.push(serde_jcs::to_string(&record).unwrap());
    },
    |lines, random| random.shuffle(lines),
    // As Windows ends them.
    |lines, _| lines.iter_mut().for_each(|line| line.push('\r')),
];

/// The rows that a query answers on each file; `times` are those that query.py takes of the environment.
fn ask(chdb: &Path, query: &str, files: &[PathBuf], times: &[(&str, &str)]) -> Vec<Vec<Value>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clickhouse/query.py");
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", chdb).envs(times.iter().copied());
    let output = python.arg(script).arg(query).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[test]
fn sql_has_the_same_verdicts_as_the_verifier() {
    let Some(chdb) = tool(Tool::Chdb) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (mut files, mut expected) = (Vec::new(), Vec::new());
    for (number, change) in CHANGES.into_iter().enumerate() {
        let mut random = Random(number as u64 + 1);
        // Complete, keyed, cut by time, and live to the end.
        let mut lines: Vec<String> = (0..4).flat_map(|number| Writer::new(number).complete(80)).collect();
        lines.extend(Writer::new(4).key(Some(KEY)).complete(20));
        lines.extend(Writer::new(5).complete(80).into_iter().take(70));
        let mut early = Writer::new(6);
        lines.extend([early.checkpoint("start"), early.request()]);
        let mut late = Writer::new(7);
        late.clock = 500;
        lines.extend([late.checkpoint("start"), late.request()]);
        let mut silent = Writer::new(8);
        lines.extend([silent.request(), silent.request()]);
        // Cut, with one record of a clock that was wrong.
        let mut wrong = Writer::new(9);
        lines.push(wrong.checkpoint("start"));
        wrong.clock = 400;
        lines.push(wrong.request());
        wrong.clock = 60;
        lines.extend([wrong.checkpoint("head"), wrong.request()]);
        change(&mut lines, &mut random);
        let file = folder.path().join(format!("{number}.jsonl"));
        fs::write(&file, lines.join("\n")).unwrap();
        let mut verifier = Verifier::new(Settings::default());
        verifier.read(&Source::file(&file)).unwrap();
        let chains = verifier.finish().unwrap().chains.into_iter();
        let verdict = |verdict| serde_json::to_value(verdict).unwrap().as_str().unwrap().to_owned();
        expected.push(chains.map(|chain| (chain.id, verdict(chain.verdict))).collect::<BTreeMap<_, _>>());
        files.push(file);
    }
    let rows = ask(&chdb, "verify.sql", &files, &[]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let told: Vec<BTreeMap<String, String>> =
        rows.iter().map(|rows| rows.iter().map(|row| (text(&row["chain"]), text(&row["verdict"]))).collect()).collect();
    assert_eq!(told.len(), expected.len());
    for (number, (told, expected)) in told.iter().zip(&expected).enumerate() {
        assert_eq!(told, expected, "change {number}");
    }
    let all: std::collections::BTreeSet<&String> = expected.iter().flat_map(BTreeMap::values).collect();
    assert_eq!(all.len(), 5, "every verdict is met: {all:?}");
}

#[test]
fn sql_takes_no_time_that_is_yet_to_come_for_the_last_word_of_a_chain() {
    let Some(chdb) = tool(Tool::Chdb) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.jsonl");
    // Of a clock that was wrong; and of a month that goes on behind the time that is asked about.
    let lines = [(1, 100 * 365 * 86_400), (2, 7200)].map(|(number, last)| {
        let mut writer = Writer::new(number);
        let start = writer.checkpoint("start");
        writer.clock = last;
        [start, writer.checkpoint("head")].join("\n")
    });
    fs::write(&file, lines.join("\n")).unwrap();
    let as_of = "2026-01-01T01:00:00Z";
    let clock = Clock::Given(Time::parse(as_of).unwrap());
    let mut verifier = Verifier::new(Settings { clock, ..Settings::default() });
    verifier.read(&Source::file(&file)).unwrap();
    let verdicts = verifier.finish().unwrap().chains.into_iter().map(|chain| chain.verdict);
    assert_eq!(verdicts.collect::<Vec<_>>(), [Verdict::Cut, Verdict::Open]);
    let rows = ask(&chdb, "verify.sql", &[file], &[("AS_OF", &as_of.replace('T', " ").replace('Z', ""))]);
    assert_eq!(rows[0].iter().map(|row| &row["verdict"]).collect::<Vec<_>>(), ["cut", "open"]);
}

#[test]
fn sql_has_the_same_access_beyond_tenants_as_the_report() {
    let Some(chdb) = tool(Tool::Chdb) else { return };
    let folder = tempfile::tempdir().unwrap();
    let from = "2026-10-01T00:00:00Z".parse().unwrap();
    let mut lines: Vec<String> = Synthetic { seed: 3, from, days: 8, requests: 900, chains: 3 }.records().collect();
    lines.extend(support::calls_beyond_tenants());
    // One that says something else than what was written, and copies.
    let granted = |line: &&mut String| line.contains(r#""grant":"emergency""#);
    let changed = lines.iter_mut().find(granted).unwrap();
    *changed = changed.replacen(r#""grant":"emergency""#, r#""grant":"group""#, 1);
    lines.extend(lines.clone());
    let file = folder.path().join("records.jsonl");
    fs::write(&file, lines.join("\n")).unwrap();
    let aggregate =
        Making::new(Scope::default(), "2026-11-01T00:00:00Z".parse().unwrap()).make(&[Source::file(&file)]).unwrap();
    let time = |time: Timestamp| time.strftime("%F %T.%6f").to_string();
    let mut expected: Vec<Value> = aggregate
        .reaches
        .iter()
        .map(|(reach, reached)| {
            serde_json::json!({
                "emergency": u8::from(reach.is_emergency()), "granted": reach.grant, "purpose": reach.purpose,
                "user": reach.user, "tenant": reach.tenant, "subject": reach.subject, "contexts": reached.contexts,
                "first": time(reached.first), "last": time(reached.last),
                "requests": reached.counts.total(), "refused": reached.counts.refused,
            })
        })
        .collect();
    let [mut told] = <[_; 1]>::try_from(ask(&chdb, "beyond.sql", &[file], &[])).unwrap();
    assert_eq!(told[0]["emergency"], 1, "emergencies come first");
    assert!(told.iter().any(|row| row["refused"] != 0) && told.len() > 20, "{told:?}");
    for rows in [&mut told, &mut expected] {
        rows.sort_by_key(Value::to_string);
    }
    assert_eq!(told, expected);
}

#[test]
fn sql_counts_a_request_over_midnight_on_the_day_it_began_as_the_report_does() {
    let Some(chdb) = tool(Tool::Chdb) else { return };
    let folder = tempfile::tempdir().unwrap();
    let record = |placement: &str, id: &str, time: &str, micros: u64| {
        serde_json::json!({
            "context": {
                "action": "read", "complianceLevel": "high", "name": "resident", "policy": "9f86", "subject": "p-s"
            },
            "decision": {"grant": "emergency", "result": "allowed"},
            "outcome": {"durationMicros": micros, "status": 200}, "proxy": {"placement": placement},
            "request": {"id": id, "method": "GET", "pathTemplate": "/api/v1/residents/{id}"},
            "tenant": {"id": "care-home-0001"}, "time": time, "who": {"purpose": "BTG", "user": "p-nurse"}
        })
    };
    let (mut gateway, mut sidecar) = (Writer::new(1), Writer::new(2));
    let lines = [
        gateway.append("request", record("gateway", "r-1", "2026-01-01T23:59:59.900000Z", 500_000)),
        sidecar.append("request", record("inbound", "r-1", "2026-01-02T00:00:00.100000Z", 200_000)),
        // A caller that gives one id to all it does: over before midnight, and behind it.
        gateway.append("request", record("gateway", "r-2", "2026-01-01T23:59:58.000000Z", 100_000)),
        gateway.append("request", record("gateway", "r-2", "2026-01-02T00:00:01.000000Z", 100_000)),
        sidecar.append("request", record("inbound", "r-2", "2026-01-02T00:00:01.010000Z", 50_000)),
    ];
    let file = folder.path().join("records.jsonl");
    fs::write(&file, lines.join("\n")).unwrap();
    for (from, to, requests) in [("2026-01-01", "2026-01-02", 2), ("2026-01-02", "2026-01-03", 1)] {
        let [from_time, to_time] = [from, to].map(|day| format!("{day} 00:00:00"));
        let told = ask(&chdb, "beyond.sql", std::slice::from_ref(&file), &[("FROM", &from_time), ("TO", &to_time)]);
        let told: Vec<_> = told[0].iter().map(|row| &row["requests"]).collect();
        let [from, to] = [from, to].map(|day| Some(Scope::bound(day).unwrap()));
        let making = Making::new(Scope { from, to, ..Scope::default() }, "2026-11-01T00:00:00Z".parse().unwrap());
        let aggregate = making.make(&[Source::file(&file)]).unwrap();
        let counted: Vec<_> = aggregate.reaches.values().map(|reached| reached.counts.total()).collect();
        assert_eq!((told, counted), (vec![&Value::from(requests)], vec![requests]), "{from:?}");
    }
}
