//! Reports: what is counted, whether it is verified, and whether parts add up.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use careplane_evidence::report::{Aggregate, DeliveryCounters, Making, Scope, Unfinished, doubts, html};
use careplane_evidence::source::{Sink, Source};
use careplane_evidence::synthetic::Synthetic;
use careplane_evidence::verify::{Key, SinkReport};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Five days of four chains, all of which end.
static LINES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let from = "2026-10-01T00:00:00Z".parse().unwrap();
    Synthetic { seed: 7, from, days: 5, requests: 800, chains: 4 }.records().collect()
});

fn bound(text: &str) -> Timestamp {
    Scope::bound(text).unwrap()
}

/// The five days.
fn all() -> Scope {
    Scope { from: Some(bound("2026-10-01")), to: Some(bound("2026-10-06")), ..Scope::default() }
}

fn made() -> Timestamp {
    bound("2026-11-02")
}

fn make(scope: Scope, sources: &[Source]) -> Aggregate {
    Making::new(scope, made()).make(sources).unwrap()
}

fn of(scope: Scope, lines: &[String]) -> Aggregate {
    make(scope, &[Source::text("records", lines.join("\n"))])
}

/// As JSON, without what tells of the reading itself.
fn figures(aggregate: &Aggregate) -> Value {
    let mut value = serde_json::to_value(aggregate).unwrap();
    let object = value.as_object_mut().unwrap();
    object["verification"] = object["verification"]["chains"].as_array().unwrap().len().into();
    value
}

fn text(aggregate: &Aggregate) -> String {
    serde_json::to_string(aggregate).unwrap()
}

#[test]
fn every_request_is_counted_once_in_every_table() {
    let aggregate = of(all(), &LINES);
    let total = aggregate.total;
    let requests = LINES.iter().filter(|line| line.contains(r#""kind":"request""#)).count() as u64;
    assert_eq!((total.total(), aggregate.kinds.acts), (requests, requests));
    let sum = |counts: &mut dyn Iterator<Item = u64>| counts.sum::<u64>();
    assert_eq!(sum(&mut aggregate.hours.values().map(|it| it.total())), requests);
    assert_eq!(sum(&mut aggregate.contexts.values().flat_map(|it| it.values()).map(|it| it.total())), requests);
    assert_eq!(sum(&mut aggregate.actions.values().map(|it| it.total())), requests);
    assert_eq!(sum(&mut aggregate.denials.values().map(|it| it.count)), total.refused);
    assert_eq!(sum(&mut aggregate.failures.values().map(|it| it.count)), total.failed);
    assert_eq!(sum(&mut aggregate.people.values().map(|it| it.counts.total())) + aggregate.without_user, requests);
    assert!(total.refused > 0 && total.failed > 0 && total.declined > 0);
    assert_eq!(aggregate.unfinished, Unfinished::default());

    // By another way, and that twice: nothing changes but how they came.
    let spilled: Vec<String> =
        LINES.iter().rev().map(|line| format!("[warning] careplane-audit-record {line}")).collect();
    let spilled = Source::text("proxy", spilled.join("\n"));
    let thrice = make(all(), &[Source::text("records", LINES.join("\n")), spilled.clone(), spilled]);
    let every = LINES.len() as u64;
    let sinks = thrice.verification.chains.iter().flat_map(|chain| &chain.sinks);
    let mut counts = BTreeMap::<Sink, [u64; 3]>::new();
    for SinkReport { sink, records, alone, repeated } in sinks {
        let counts = counts.entry(*sink).or_default();
        counts.iter_mut().zip([records, alone, repeated]).for_each(|(sum, count)| *sum += count);
    }
    assert_eq!(counts, BTreeMap::from([(Sink::AccessLog, [every, 0, 0]), (Sink::ProxyLog, [every, 0, every])]));
    assert_eq!(thrice.verification.chains.iter().map(|chain| chain.valid).sum::<u64>(), every);
    assert_eq!(figures(&thrice), figures(&aggregate));
}

#[test]
fn neither_the_order_of_the_records_nor_what_is_in_memory_matters() {
    let sorted = figures(&of(all(), &LINES));
    let mut records = LINES.clone();
    for seed in 0..3 {
        fastrand::Rng::with_seed(seed).shuffle(&mut records);
        assert_eq!(figures(&of(all(), &records)), sorted, "seed {seed}");
    }
    for in_memory in [1, 500] {
        let mut making = Making::new(all(), made());
        making.in_memory = Some(in_memory);
        let small = making.make(&[Source::text("records", LINES.join("\n"))]).unwrap();
        assert_eq!(figures(&small), sorted, "{in_memory} in memory");
    }
}

#[test]
fn one_record_of_the_future_does_not_make_the_record_complete() {
    let mut lines: Vec<String> = LINES.iter().filter(|line| !line.contains(r#""kind":"end""#)).cloned().collect();
    let scope = Scope { from: Some(bound("2026-10-01")), ..Scope::default() };
    let before = doubts(&of(scope.clone(), &lines));
    let mut future = support::Writer::new(3);
    lines.push(future.checkpoint("start"));
    future.clock = 400 * 86_400;
    lines.extend([future.request(), future.checkpoint("head")]);
    let after = doubts(&of(scope, &lines));
    assert!(before[0].starts_with("The records stop at "), "{before:?}");
    assert_eq!(after[0], before[0]);
    assert!(after[1].starts_with("5 chains are without an end"), "{after:?}");
}

#[test]
fn shards_merge_into_the_report_of_one_run() {
    let scope = Scope {
        from: Some(bound("2026-10-02")),
        to: Some(bound("2026-10-05")),
        regulator: Some("CQC".into()),
        ..Scope::default()
    };
    let sources = [Source::text("records", LINES.join("\n"))];
    let whole = make(scope.clone(), &sources);
    for count in [1, 2, 3, 5] {
        let shard = |index: usize| {
            let mut making = Making::new(scope.clone(), made());
            making.shard = Some(format!("{index}/{count}").parse().unwrap());
            // As the command reads it.
            Aggregate::from_json(&text(&making.make(&sources).unwrap())).unwrap()
        };
        let parts: Vec<Aggregate> = (0..count).rev().map(shard).collect();
        assert_eq!(text(&Aggregate::merge(parts.clone()).unwrap()), text(&whole), "{count} shards");
        if count > 1 {
            let error = Aggregate::merge(parts[1..].to_vec()).unwrap_err().to_string();
            assert_eq!(error, format!("shard {}/{count} is missing", count - 1));
        }
    }
    assert!(whole.outside.other > 0 && whole.outside.other_time > 0 && whole.outside.unattributed > 0);
}

#[test]
fn what_does_not_add_up_is_not_merged() {
    let error = |parts: Vec<Aggregate>| Aggregate::merge(parts).unwrap_err().to_string();
    assert_eq!(error(vec![]), "there are no reports");
    assert_eq!(error(vec![of(all(), &LINES)]), "a report is of all chains, not of a shard");
    let shard = |index: u32, scope: Scope| {
        let mut making = Making::new(scope, made());
        making.shard = Some(format!("{index}/2").parse().unwrap());
        making.make(&[Source::text("records", LINES.join("\n"))]).unwrap()
    };
    let other = Scope { regulator: Some("CIW".into()), ..all() };
    let told = error(vec![shard(0, all()), shard(1, other)]);
    assert!(told.starts_with("it is about from 2026-10-01T00:00:00Z, before"), "{told}");
    let error = |text: &str| Aggregate::from_json(text).unwrap_err().to_string();
    assert!(error("{\"schema\": \"v0\"}").contains("expected \"careplane.audit-report/v3\""));
    assert!(error("{").starts_with("not a report in JSON"));
}

#[test]
fn a_page_is_complete_only_where_all_was_verified_and_reaches_to_the_end() {
    let page = |aggregate: &Aggregate| html(aggregate, None).unwrap();
    let whole = of(all(), &LINES);
    assert_eq!(doubts(&whole), Vec::<String>::new());
    assert!(page(&whole).contains("<h3>The record is complete</h3>"));
    assert!(page(&whole).contains("Of 4 chains, the fingerprints have no key."));

    let request = LINES.iter().position(|line| line.contains(r#""kind":"request""#)).unwrap();
    let tampered = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = LINES.clone();
        change(&mut lines);
        of(all(), &lines)
    };
    let edited = tampered(&|lines| lines[request] = lines[request].replacen("care-home-00", "care-home-10", 1));
    assert_eq!(edited.total.total(), whole.total.total() - 1, "what was changed is not counted");
    assert!(doubts(&edited)[0].starts_with("In 1 chain, records are missing or were changed: service-"));
    let removed = tampered(&|lines| drop(lines.remove(request)));
    assert!(doubts(&removed)[0].starts_with("In 1 chain, records are missing or were changed: "));
    let damaged = tampered(&|lines| lines[request].truncate(60));
    assert!(doubts(&damaged).contains(&"1 damaged record could not be read.".to_owned()));
    for aggregate in [edited, removed, damaged] {
        assert!(page(&aggregate).contains("The record is not shown to be complete"));
    }
    // Of a time without a record, nothing is claimed.
    let empty =
        of(Scope { from: Some(bound("2026-09-01")), to: Some(bound("2026-09-02")), ..Scope::default() }, &LINES);
    assert_eq!(doubts(&empty)[0], "No record of this period was given.");
}

#[test]
fn an_archive_that_was_cut_at_one_instant_says_so_first() {
    let cut: Vec<String> = LINES
        .iter()
        .filter(|line| !line.contains(r#""time":"2026-10-05"#) && !line.contains(r#""time":"2026-10-06"#))
        .cloned()
        .collect();
    let told = doubts(&of(all(), &cut));
    assert!(told[0].starts_with("The records stop at 4 Oct 2026, 23:"), "{told:#?}");
    assert!(told[0].ends_with("until 6 Oct 2026, 00:00 is on record, of any proxy."), "{told:#?}");
    assert!(told[1].starts_with("4 chains are without an end"), "{told:#?}");
    assert!(told[1].contains("last heard of 4 Oct 2026, 23:"), "{told:#?}");
    // The first sentence of the page, whatever else there is.
    let page = html(&of(all(), &cut), None).unwrap();
    let state = page.split("<h3>The record is not shown to be complete</h3>").nth(1).unwrap();
    assert!(state.trim_start().starts_with("<p><strong>The records stop at 4 Oct 2026, 23:"), "{state}");
    // Without a period, now is its end.
    let open = doubts(&of(Scope::default(), &LINES));
    assert!(
        open[0].starts_with("The records stop at 6 Oct 2026, 00:00: nothing that came in the 27 days"),
        "{open:#?}"
    );
    // And what begins late begins late.
    let early = Scope { from: Some(bound("2026-09-20")), ..all() };
    let told = doubts(&of(early, &LINES));
    assert_eq!(told, ["The records begin at 1 Oct 2026, 00:00, 11 days after the period does."]);
}

#[test]
fn one_chain_that_was_cut_is_named_with_its_time() {
    let chain = |line: &String| serde_json::from_str::<Value>(line).unwrap()["chain"]["id"].to_string();
    let first = chain(&LINES[0]);
    let cut = |line: &&String| {
        chain(line) != first || !line.contains(r#""time":"2026-10-0"#) || line.contains(r#""time":"2026-10-01"#)
    };
    let lines: Vec<String> = LINES.iter().filter(cut).cloned().collect();
    // Also where all that is left of it is from before the period.
    let scope = Scope { from: Some(bound("2026-10-03")), to: Some(bound("2026-10-06")), ..Scope::default() };
    let told = doubts(&of(scope, &lines));
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].starts_with("1 chain is without an end") && told[0].contains("last heard of 1 Oct 2026, 2"),
        "{told:#?}"
    );
}

#[test]
fn proxies_that_others_know_of_are_missing_by_name() {
    let mut aggregate = of(all(), &LINES);
    aggregate.expected = vec!["service-0".into(), "service-9.core-healthcare".into(), "batch-*".into()];
    let metrics = "careplane_audit_records{} 0\ncareplane_audit_chains{pod=\"service-1\"} 2\n\
                   careplane_audit_chains{pod=\"service-2\"} 5\n";
    aggregate.ledger = Some(DeliveryCounters::read(metrics).unwrap());
    assert_eq!(
        doubts(&aggregate),
        [
            "Of 2 proxies that should be on record there is no chain: service-9.core-healthcare; batch-*.",
            "Proxy service-1 counts 2 chains, and 1 on record.",
            "Proxy service-2 counts 5 chains, and 1 on record.",
            "The proxies count 7 chains, and 4 are on record.",
        ]
    );
}

#[test]
fn nothing_in_a_record_becomes_markup() {
    let hostile = r#"<script>alert(1)</script>\"'&"#;
    let mut record: Value =
        serde_json::from_str(LINES.iter().find(|line| line.contains(r#""kind":"request""#)).unwrap()).unwrap();
    let poison = |value: &mut Value| *value = hostile.into();
    for (object, members) in [
        ("context", &["name", "complianceLevel", "action", "policy", "subject"][..]),
        ("tenant", &["id", "other", "regulator"]),
        ("who", &["user", "purpose"]),
        ("decision", &["by", "reason", "grant"]),
    ] {
        for member in members {
            poison(&mut record[object][member]);
        }
    }
    record["decision"]["result"] = "denied".into();
    record["context"]["flags"] = json!([hostile]);
    record["who"]["forgedHeaders"] = json!([hostile]);
    let mut start = json!({
        "kind": "start", "proxy": {"id": hostile, "module": hostile}, "schema": "careplane.audit/v1",
        "time": record["time"]
    });
    let mut failed = record.clone();
    failed["decision"] = json!({"result": "allowed"});
    failed["outcome"] = json!({"flags": [hostile]});
    failed["request"]["id"] = "another".into();
    let mut lines = Vec::new();
    for (seq, value) in [&mut start, &mut record, &mut failed].into_iter().enumerate() {
        value["chain"] = json!({"id": "01a20673-8362-79ce-9ec9-33dc3c99eae0", "prev": "0".repeat(64), "seq": seq + 1});
        value.as_object_mut().unwrap().remove("hash");
        use sha2::Digest;
        let hash = sha2::Sha256::new().chain_update([0]).chain_update(serde_jcs::to_vec(value).unwrap()).finalize();
        value["hash"] = hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
        lines.push(serde_jcs::to_string(value).unwrap());
    }
    let scope = Scope { tenant: Some(hostile.into()), regulator: Some(hostile.into()), ..Scope::default() };
    let mut aggregate = of(scope, &lines);
    aggregate.expected = vec![hostile.to_owned()];
    assert_eq!(aggregate.total.total(), 2);
    let page = html(&aggregate, Some(hostile)).unwrap();
    assert!(!page.contains("<script"), "{page}");
    assert!(page.matches("&#60;script&#62;").count() >= 18);
}

#[test]
fn a_key_that_was_not_given_is_named_whatever_else_is_wrong_with_its_chain() {
    let chain = |number, key| support::Writer::new(number).key(Some(key)).complete(9);
    let mut lines = [chain(1, support::KEY), chain(2, support::OTHER_KEY)].concat();
    // Of the other one, a record is missing as well.
    lines.remove(12);
    let mut making = Making::new(Scope::default(), made());
    making.keys.add(Key::new(support::KEY).unwrap());
    let told = doubts(&making.make(&[Source::text("records", lines.join("\n"))]).unwrap());
    let key = Key::new(support::OTHER_KEY).unwrap();
    let wanted = format!("8 records could not be checked, because the key was not given ({});", key.id());
    assert!(told.iter().any(|doubt| doubt.starts_with(&wanted)), "{told:#?}");
}

#[test]
fn no_number_in_a_record_ends_a_report() {
    let record = |id: &str, time: &str, redirects: u32| {
        json!({
            "context": {"action": "read", "complianceLevel": "high", "name": "resident", "policy": "9f86"},
            "outcome": {"status": 200, "durationMicros": u64::MAX - 2047, "attempts": u64::MAX - 2047},
            "request": {"id": id, "method": "GET", "redirects": redirects}, "time": time
        })
    };
    let (mut one, mut other) = (support::Writer::new(1), support::Writer::new(2));
    let mut lines = Vec::new();
    for (id, time) in [("r-1", "1970-01-01T00:00:00Z"), ("r-2", "9999-12-30T22:00:00Z")] {
        lines.push(one.append("request", record(id, time, 0)));
        lines.extend([u32::MAX, u32::MAX].map(|redirects| other.append("request", record(id, time, redirects))));
    }
    let aggregate = of(Scope::default(), &lines);
    assert_eq!(aggregate.kinds.total(), 6);
    assert!(html(&aggregate, None).unwrap().contains("Requests in each month"));
}

#[test]
fn a_table_that_is_cut_says_how_much_more_there_is() {
    let mut writer = support::Writer::new(1);
    let mut lines = vec![writer.checkpoint("start")];
    for number in 0..17 {
        let denied = json!({"result": "denied", "by": "careplane", "reason": format!("reason-{number}")});
        let shadow = json!({"result": "allowed", "shadow": {"result": "denied", "reason": format!("reason-{number}")}});
        for (decision, status) in [(denied, 403), (shadow, 500 + number)] {
            let context = json!({
                "action": "read", "complianceLevel": "high", "name": "resident", "policy": "9f86", "subject": "p-s"
            });
            let record = json!({
                "context": context, "decision": decision, "outcome": {"status": status},
                "request": {"method": "GET"}, "who": {"user": format!("p-u{number}")}
            });
            lines.push(writer.append("request", record));
        }
    }
    lines.push(writer.checkpoint("end"));
    let page = html(&of(Scope::default(), &lines), None).unwrap();
    for section in ["refused", "shadow", "people", "failed"] {
        let begin = page.split(&format!("<section aria-labelledby=\"{section}\">")).nth(1).unwrap();
        let section = begin.split("</section>").next().unwrap();
        assert!(section.contains("And 2 more, in the JSON form of this report."), "{section}");
    }
}

#[test]
fn a_record_that_is_none_although_it_has_its_hash_is_unreadable() {
    let mut writer = support::Writer::new(1);
    let lines = [writer.checkpoint("start"), writer.append("request", json!({"trace": 7})), writer.checkpoint("end")];
    let aggregate = of(Scope::default(), &lines);
    assert_eq!((aggregate.verification.unreadable_count, aggregate.total.total()), (1, 0));
    assert_eq!(aggregate.verification.unreadable[0].place.to_string(), "records:2");
}

#[test]
fn what_was_done_under_a_grant_is_told_by_who_whom_why_and_when() {
    let mut writer = support::Writer::new(1);
    let mut request = |id: &str, grant: Value, purpose: Value, subject: &str, refused: Option<&str>| {
        let decision = match refused {
            Some(reason) => json!({"result": "denied", "by": "careplane", "reason": reason, "grant": grant}),
            None => json!({"result": "allowed", "grant": grant}),
        };
        writer.append(
            "request",
            json!({
                "context": {
                    "action": "read", "complianceLevel": "high", "name": "resident", "policy": "9f86",
                    "subject": subject
                },
                "decision": decision,
                "outcome": {"status": if refused.is_some() { 403 } else { 200 }},
                "request": {"id": id, "method": "GET", "pathTemplate": "/api/v1/residents/{id}"},
                "tenant": {"id": "care-home-0001", "regulator": "CQC"},
                "who": {"user": "p-nurse", "purpose": purpose},
            }),
        )
    };
    let lines = [
        request("r-1", "emergency".into(), "BTG".into(), "p-a", None),
        request("r-2", "emergency".into(), "BTG".into(), "p-a", None),
        request("r-3", "emergency".into(), "BTG".into(), "p-b", Some("grant-limit")),
        request("r-4", "emergency".into(), Value::Null, "p-a", Some("grant-purpose")),
        request("r-5", "inspector".into(), "HCOMPL".into(), "p-a", None),
        // For a purpose of emergencies, of somebody who belongs there.
        request("r-6", Value::Null, "ETREAT".into(), "p-a", None),
    ];
    let aggregate = of(Scope::default(), &lines);
    let told: Vec<_> = aggregate
        .reaches
        .iter()
        .map(|(reach, it)| (&*reach.grant, &*reach.purpose, &*reach.subject, it.counts.answered, it.counts.refused))
        .collect();
    assert_eq!(
        told,
        [
            ("emergency", "", "p-a", 0, 1),
            ("emergency", "BTG", "p-a", 2, 0),
            ("emergency", "BTG", "p-b", 0, 1),
            ("inspector", "HCOMPL", "p-a", 1, 0)
        ]
    );
    let page = html(&aggregate, None).unwrap();
    for shown in [
        "Emergency access was used or tried in 3 requests, by 1 user. Each needs an explanation.",
        "1 user did in 3 requests, and reached 1 person in care.",
        "break the glass (BTG)<small>Looked something up · resident</small>",
        "<th scope=\"row\">inspector<small class=\"word\">p-nurse</small>",
        "2 requests came under one, and 1 of these was refused",
        "Reached beyond the caller’s organisations more often than is allowed",
    ] {
        assert!(page.contains(shown), "{shown} in {page}");
    }
    let none = html(&of(Scope::default(), &lines[5..]), None).unwrap();
    assert!(none.contains("Emergency access was not used.") && none.contains("There was none, but for emergencies."));
}

#[test]
fn an_emergency_that_was_written_ahead_counts_once_and_is_told_when_its_outcome_never_came() {
    let mut writer = support::Writer::new(1);
    let about = |id: &str| {
        json!({
            "context": {
                "action": "E", "complianceLevel": "critical", "name": "dose", "policy": "9f86", "subject": "p-a"
            },
            "decision": {"grant": "emergency"},
            "request": {"id": id, "method": "POST", "pathTemplate": "/dose"},
            "tenant": {"id": "care-home-0001", "regulator": "CQC"},
            "who": {"user": "p-nurse", "purpose": "BTG"},
        })
    };
    let intent = writer.append("intent", about("r-1"));
    let mut outcome = about("r-1");
    outcome["decision"]["result"] = json!("allowed");
    outcome["outcome"] = json!({"status": 200});
    outcome["intent"] = json!(1);
    let lines = [intent, writer.append("request", outcome), writer.append("intent", about("r-2"))];
    let aggregate = of(Scope::default(), &lines);
    assert_eq!((aggregate.verification.unreadable_count, aggregate.total.total()), (0, 1));
    let told: Vec<_> = aggregate.reaches.iter().map(|(reach, it)| (&*reach.grant, it.counts.answered)).collect();
    assert_eq!(told, [("emergency", 1)]);
    let page = html(&aggregate, None).unwrap();
    for shown in ["Emergency access was used or tried in 1 request, by 1 user.", "Emergency access: 1."] {
        assert!(page.contains(shown), "{shown} in {page}");
    }
}

#[test]
fn keyed_records_count_with_their_key_alone() {
    let lines = support::Writer::new(1).key(Some(support::KEY)).complete(20);
    let without = of(Scope::default(), &lines);
    assert_eq!(without.total.total(), 0);
    assert!(
        doubts(&without)
            .iter()
            .any(|it| it.starts_with("20 records could not be checked, because the key was not given ("))
    );
    let mut making = Making::new(Scope::default(), made());
    making.keys.add(careplane_evidence::verify::Key::new(support::KEY).unwrap());
    let with = making.make(&[Source::text("records", lines.join("\n"))]).unwrap();
    assert_eq!(with.total.total(), 18);
}

/// The first of two days, or the second.
fn day(number: u64) -> Scope {
    let [from, to] = [number - 1, number].map(|days| support::instant(days * 86_400).parse().unwrap());
    Scope { from: Some(from), to: Some(to), ..Scope::default() }
}

/// A chain of two days, with a record in each hour.
fn two_days(number: u64, key: Option<&[u8]>) -> Vec<String> {
    let mut writer = support::Writer::new(number).key(key);
    let mut lines = vec![writer.checkpoint("start")];
    for hour in 0..48 {
        writer.clock = hour * 3600 + 1800;
        lines.push(writer.request());
        writer.clock = (hour + 1) * 3600 - 1;
        lines.push(writer.checkpoint("head"));
    }
    lines.push(writer.checkpoint("end"));
    lines
}

#[test]
fn what_a_chain_lost_of_a_period_is_missing_there_though_all_that_is_left_is_later() {
    let (whole, other) = (two_days(1, None), two_days(2, None));
    let is_of_day_one = |line: &String| line.contains(r#""time":"2026-01-01"#);
    let told = |lines: Vec<String>| doubts(&of(day(1), &[whole.clone(), lines].concat()));
    assert_eq!(told(other.clone()), Vec::<String>::new());
    let removed: Vec<String> = other.iter().filter(|line| !is_of_day_one(line)).cloned().collect();
    let edited =
        other.iter().map(|line| if is_of_day_one(line) { line.replace("01-01T", "01-02T") } else { line.clone() });
    for lines in [removed, edited.collect()] {
        let told = told(lines);
        assert!(told[0].starts_with("In 1 chain, records are missing or were changed: "), "{told:?}");
    }
    // One that began later lost nothing of that day.
    let mut later = support::Writer::new(3).begun(86_400);
    let lines = [later.checkpoint("start"), later.checkpoint("head"), later.checkpoint("end")];
    assert_eq!(told(lines[1..].to_vec()), Vec::<String>::new());
}

#[test]
fn an_end_that_anybody_can_have_written_does_not_take_a_chain_out_of_the_periods_behind_it() {
    let whole = two_days(1, Some(support::KEY));
    let forged = |lines: usize, key: Option<&[u8]>, from: usize| {
        let mut writer = support::Writer::new(2).key(Some(support::KEY));
        let mut all: Vec<String> = (0..lines).map(|_| writer.request()).collect();
        let mut forger = support::Writer::new(2).key(Some(support::KEY));
        (0..from).for_each(|_| drop(forger.request()));
        all.push(forger.key(key).checkpoint("end"));
        all
    };
    let mut edited = forged(5, None, 5);
    edited[4] = edited[4].replace("care-home-0042", "care-home-0001");
    for (lines, key) in [
        // Without a key, with one of somebody else, and beside the last record that there is.
        (forged(5, None, 5), Some(support::KEY)),
        (edited, Some(support::KEY)),
        (forged(5, Some(support::OTHER_KEY), 5), Some(support::KEY)),
        (forged(5, None, 4), Some(support::KEY)),
        (forged(5, None, 3), Some(support::KEY)),
        // Where the key is not here, so is any.
        (forged(5, Some(support::KEY), 5), None),
    ] {
        let mut making = Making::new(day(2), made());
        if let Some(key) = key {
            making.keys.add(Key::new(key).unwrap());
        }
        let lines = [whole.clone(), lines].concat();
        let aggregate = making.make(&[Source::text("records", lines.join("\n"))]).unwrap();
        let chains = aggregate.verification.chains.iter().map(|chain| chain.verdict).collect::<Vec<_>>();
        let told = doubts(&aggregate);
        let wanted = if key.is_some() { "In 1 chain, records" } else { "104 records could not be checked" };
        assert!(told.iter().any(|doubt| doubt.starts_with(wanted)), "{chains:?} {told:?}");
    }
}

#[test]
fn a_key_that_was_given_is_wanted_of_every_chain() {
    let mut making = Making::new(day(1), made());
    making.keys.add(Key::new(support::KEY).unwrap());
    let told = doubts(&making.make(&[Source::text("records", two_days(1, None).join("\n"))]).unwrap());
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("1 chain is without a key, though one was given; its records can be"), "{told:?}");
}

#[test]
fn shards_that_were_made_before_and_after_the_end_of_the_period_merge() {
    let sources = [Source::text("records", LINES.join("\n"))];
    let to = all().to.unwrap();
    let make = |shard: Option<&str>, made: Timestamp| {
        let mut making = Making::new(all(), made);
        making.shard = shard.map(|shard| shard.parse().unwrap());
        making.make(&sources).unwrap()
    };
    let minute = jiff::Span::new().minutes(1);
    let (before, after) = (to - minute, to + minute);
    let whole = make(None, after);
    for times in [[before, after, before], [after, before, after], [before, before, after]] {
        let parts = times.into_iter().zip(["0/3", "1/3", "2/3"]).map(|(made, shard)| make(Some(shard), made));
        assert_eq!(text(&Aggregate::merge(parts.collect()).unwrap()), text(&whole), "{times:?}");
    }
}

#[test]
fn what_is_kept_of_a_chain_does_not_grow_with_the_gaps_of_a_sink() {
    let size = |length: u64| {
        let (mut access, mut log) = (Vec::new(), Vec::new());
        for (number, line) in support::Writer::new(1).complete(length).into_iter().enumerate() {
            if number % 2 == 0 {
                access.push(line)
            } else {
                log.push(format!("[warning] careplane-audit-record {line}"))
            }
        }
        text(&make(all(), &[Source::text("access", access.join("\n")), Source::text("log", log.join("\n"))])).len()
    };
    let (few, many) = (size(100), size(1000));
    assert!(many < few + 100, "{few} {many}");
}

#[test]
fn emergency_access_is_told_also_of_users_that_no_record_names() {
    let mut writer = support::Writer::new(1);
    let mut request = |user: Value| {
        let record = json!({
            "context": {"action": "read", "complianceLevel": "high", "name": "resident", "policy": "9f86"},
            "decision": {"result": "allowed", "grant": "emergency"}, "outcome": {"status": 200},
            "request": {"method": "GET"}, "who": {"user": user, "purpose": "BTG"}
        });
        writer.append("request", record)
    };
    let lines = [request(Value::Null), request("p-nurse".into())];
    for (lines, by) in [(&lines[..1], "users who are not named"), (&lines, "1 user and others who are not named")] {
        let page = html(&of(Scope::default(), lines), None).unwrap();
        let requests = if lines.len() == 1 { "1 request" } else { "2 requests" };
        for shown in [format!("was used or tried in {requests}, by {by}."), format!("{by} did in {requests}")] {
            assert!(page.contains(&shown), "{shown}");
        }
    }
}

mod support;
