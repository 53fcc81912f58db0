//! Reports of made-up months.

use std::sync::LazyLock;

use careplane_evidence::Record;
use careplane_evidence::report::{Aggregate, ChainLine, Scope, Way, html};
use careplane_evidence::synthetic::Synthetic;
use jiff::Timestamp;
use serde_json::json;

/// Five days of about 800 requests.
static LINES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let from = "2026-10-01T00:00:00Z".parse().unwrap();
    Synthetic { seed: 7, from, days: 5, requests: 800, chains: 4 }.records().collect()
});

fn add(aggregate: &mut Aggregate, lines: impl IntoIterator<Item = impl AsRef<str>>, way: Way) {
    for line in lines {
        let record: Record<'_> = serde_json::from_str(line.as_ref()).unwrap();
        aggregate.add(&record, way).unwrap();
    }
}

fn text(aggregate: &Aggregate) -> String {
    serde_json::to_string(aggregate).unwrap()
}

#[test]
fn every_request_is_counted_once_in_every_table() {
    let mut aggregate = Aggregate::new(Scope::default());
    add(&mut aggregate, &*LINES, Way::Collector);
    let total = aggregate.total;
    let requests = LINES.iter().filter(|line| line.contains(r#""kind":"request""#)).count() as u64;
    assert_eq!(total.total(), requests);
    let sum = |counts: &mut dyn Iterator<Item = u64>| counts.sum::<u64>();
    assert_eq!(sum(&mut aggregate.hours.values().map(|it| it.total())), requests);
    assert_eq!(sum(&mut aggregate.contexts.values().flat_map(|it| it.values()).map(|it| it.total())), requests);
    assert_eq!(sum(&mut aggregate.actions.values().map(|it| it.total())), requests);
    assert_eq!(sum(&mut aggregate.denials.values().map(|it| it.count)), total.refused);
    assert_eq!(sum(&mut aggregate.failures.values().map(|it| it.count)), total.failed);
    assert_eq!(sum(&mut aggregate.people.values().map(|it| it.counts.total())) + aggregate.without_user, requests);
    assert!(total.refused > 0 && total.failed > 0 && total.declined > 0);
    assert!(aggregate.chains.values().all(|chain| chain.held.is_empty() && chain.answered.is_empty()));

    // By another way, backwards, and once more: nothing changes but how they came.
    let before = aggregate.clone();
    let mut backwards = LINES.clone();
    backwards.reverse();
    add(&mut aggregate, &backwards, Way::ProxyLog);
    add(&mut aggregate, &backwards, Way::ProxyLog);
    let repeated: u64 = aggregate.chains.values().map(|chain| chain.repeated).sum();
    assert_eq!(usize::try_from(repeated).unwrap(), backwards.len());
    aggregate.chains = before.chains.clone();
    assert_eq!(text(&aggregate), text(&before));
}

#[test]
fn the_order_of_the_records_does_not_matter() {
    let mut records = LINES.clone();
    let mut sorted = Aggregate::new(Scope::default());
    add(&mut sorted, &records, Way::Collector);
    for seed in 0..5 {
        fastrand::Rng::with_seed(seed).shuffle(&mut records);
        let mut shuffled = Aggregate::new(Scope::default());
        add(&mut shuffled, &records, Way::Collector);
        assert_eq!(text(&shuffled), text(&sorted), "seed {seed}");
    }
}

#[test]
fn parts_that_share_no_chain_add_up_to_the_whole() {
    let scope = Scope {
        from: Some(Scope::beginning("2026-10-02").unwrap()),
        to: Some(Scope::end("2026-10-04").unwrap()),
        regulator: Some("CQC".into()),
        ..Scope::default()
    };
    let mut whole = Aggregate::new(scope.clone());
    add(&mut whole, &*LINES, Way::Collector);
    for parts in 1..=5 {
        let mut shards = vec![Aggregate::new(scope.clone()); parts];
        for line in LINES.iter() {
            let record: Record<'_> = serde_json::from_str(line).unwrap();
            let shard = record.chain.id.bytes().map(usize::from).sum::<usize>() % parts;
            shards[shard].add(&record, Way::Collector).unwrap();
        }
        let mut merged = Aggregate::new(scope.clone());
        for shard in shards.into_iter().rev() {
            // As the command reads it.
            merged.merge(Aggregate::from_json(&text(&shard)).unwrap()).unwrap();
        }
        assert_eq!(text(&merged), text(&whole), "{parts} parts");
    }
    assert!(whole.outside.other > 0 && whole.outside.other_time > 0 && whole.outside.unattributed > 0);
}

#[test]
fn what_does_not_add_up_is_not_merged() {
    let aggregate = |scope: Scope| {
        let mut aggregate = Aggregate::new(scope);
        add(&mut aggregate, &LINES[..50], Way::Collector);
        aggregate
    };
    let mut own = aggregate(Scope::default());
    let error = own.merge(aggregate(Scope::default())).unwrap_err().to_string();
    assert!(error.starts_with("record 1 of chain "), "{error}");
    let other = Scope { regulator: Some("CIW".into()), ..Scope::default() };
    let error = own.merge(Aggregate::new(other)).unwrap_err().to_string();
    assert!(error.starts_with("it is about regulator CIW, the ones before about everything"), "{error}");
    let error = Aggregate::from_json("{\"schema\": \"v0\"}").unwrap_err().to_string();
    assert!(error.contains("expected \"careplane.audit-report/v1\""), "{error}");
    let error = Aggregate::from_json("{").unwrap_err().to_string();
    assert!(error.starts_with("not a report in JSON"), "{error}");
}

#[test]
fn the_page_says_whether_the_record_is_complete_and_why_not() {
    let page = |aggregate: &Aggregate| html(aggregate, None, Timestamp::UNIX_EPOCH).unwrap();
    let mut aggregate = Aggregate::new(Scope::default());
    add(&mut aggregate, &*LINES, Way::Collector);
    assert!(page(&aggregate).contains("It was not checked whether the record is complete"));

    let line = |id: &String, verdict: &str, records| -> ChainLine {
        serde_json::from_value(json!({"id": id, "verdict": verdict, "records": records, "tail": "ended", "unkeyed": 1}))
            .unwrap()
    };
    let chains: Vec<_> = aggregate.chains.iter().map(|(id, seen)| (id.clone(), seen.all())).collect();
    let mut complete = aggregate.clone();
    for (id, numbers) in &chains {
        let records = numbers.iter().map(|range| range.end() - range.start() + 1).sum();
        complete.add_verdict(line(id, "complete", records)).unwrap();
    }
    assert!(page(&complete).contains("<h3>The record is complete</h3>"));
    assert!(page(&complete).contains("Of 4 chains, the fingerprints have no key."));
    // Of a time without a record, nothing is claimed.
    complete.scope.to = Some(Timestamp::UNIX_EPOCH);
    assert!(page(&complete).contains("No record of this period was given."));

    let mut cut = aggregate.clone();
    cut.add_verdict(line(&chains[0].0, "cut", 5)).unwrap();
    cut.add_verdict(line(&chains[1].0, "complete", 5)).unwrap();
    let page = page(&cut);
    for said in [
        "The record is not shown to be complete",
        "2 chains of the record were not checked",
        "1 chain was without an end",
        "Of 1 chain, this report was given other records than the check.",
    ] {
        assert!(page.contains(said), "{said}");
    }
    let error = cut.add_verdict(line(&chains[0].0, "open", 5)).unwrap_err().to_string();
    assert!(error.contains("two different verdicts"), "{error}");
}

#[test]
fn nothing_in_a_record_becomes_markup() {
    let hostile = r#"<script>alert(1)</script>\"'&"#;
    let mut record: serde_json::Value =
        serde_json::from_str(LINES.iter().find(|line| line.contains(r#""kind":"request""#)).unwrap()).unwrap();
    let poison = |value: &mut serde_json::Value| *value = hostile.into();
    for (object, members) in [
        ("chain", &["id"][..]),
        ("context", &["name", "complianceLevel", "action", "policy", "subject"]),
        ("tenant", &["id", "other", "regulator"]),
        ("who", &["user"]),
        ("decision", &["by", "reason"]),
    ] {
        for member in members {
            poison(&mut record[object][member]);
        }
    }
    record["decision"]["result"] = "denied".into();
    record["context"]["flags"] = json!([hostile]);
    record["who"]["forgedHeaders"] = json!([hostile]);
    let scope = Scope { tenant: Some(hostile.into()), regulator: Some(hostile.into()), ..Scope::default() };
    let mut aggregate = Aggregate::new(scope);
    add(&mut aggregate, [record.to_string()], Way::Collector);
    record["decision"] = json!({"result": "allowed"});
    record["outcome"] = json!({"flags": [hostile]});
    record["chain"]["seq"] = 99.into();
    add(&mut aggregate, [record.to_string()], Way::Collector);
    aggregate
        .add_verdict(
            serde_json::from_value(
                json!({"id": hostile, "proxy": hostile, "verdict": "broken", "records": 2, "missing": 3}),
            )
            .unwrap(),
        )
        .unwrap();
    assert_eq!(aggregate.total.total(), 2);
    let page = html(&aggregate, Some(hostile), Timestamp::UNIX_EPOCH).unwrap();
    assert!(!page.contains("<script"), "{page}");
    assert!(page.matches("&#60;script&#62;").count() >= 20);
}

#[test]
fn a_time_that_is_none_is_an_error() {
    let line = LINES[0].replace("2026-10-01T00:00:00.000000Z", "yesterday");
    let record: Record<'_> = serde_json::from_str(&line).unwrap();
    let error = Aggregate::new(Scope::default()).add(&record, Way::Collector).unwrap_err().to_string();
    assert!(error.starts_with("time \"yesterday\" is not an RFC 3339 time"), "{error}");
}
