//! One act, once: every figure of a report equals what a simulated platform knows to be true.

mod simulation;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use careplane_evidence::report::{Aggregate, Counts, Making, Scope, doubts, html};
use careplane_evidence::source::Source;
use simulation::{Endings, Platform, Truth, instant};

fn report(seed: u64, is_older: bool) -> (Aggregate, Truth) {
    let (lines, truth, end) = Platform::new(seed, is_older).live(400);
    let scope = Scope {
        from: Some("2026-10-01T00:00:00Z".parse().unwrap()),
        to: Some(instant(end).parse().unwrap()),
        ..Scope::default()
    };
    let making = Making::new(scope, "2026-11-01T00:00:00Z".parse().unwrap());
    (making.make(&[Source::text("records", lines.join("\n"))]).unwrap(), truth)
}

fn endings(counts: Counts) -> Endings {
    [counts.answered, counts.declined, counts.failed, counts.refused]
}

fn table<K: ToString>(counts: &BTreeMap<K, Counts>) -> BTreeMap<String, Endings> {
    counts.iter().map(|(key, counts)| (key.to_string(), endings(*counts))).collect()
}

/// Every figure of the aggregate, from which the page takes all of its own.
fn compare(aggregate: &Aggregate, truth: &Truth) {
    assert_eq!(doubts(aggregate), Vec::<String>::new());
    assert_eq!(endings(aggregate.total), truth.total);
    assert_eq!(table(&aggregate.hours), truth.hours);
    let contexts = aggregate.contexts.iter().map(|(context, levels)| (context.clone(), endings(levels["high"])));
    assert_eq!(contexts.collect::<BTreeMap<_, _>>(), truth.contexts);
    assert_eq!(table(&aggregate.actions), truth.actions);
    assert_eq!(table(&aggregate.tenants), truth.tenants);
    let denials = aggregate.denials.iter().map(|(it, tally)| ((it.by.clone(), it.reason.clone()), tally.count));
    assert_eq!(denials.collect::<BTreeMap<_, _>>(), truth.denials);
    let failures =
        aggregate.failures.iter().map(|(it, tally)| ((it.context.clone(), it.status, it.flags.clone()), tally.count));
    assert_eq!(failures.collect::<BTreeMap<_, _>>(), truth.failures);
    let crossings = aggregate.attempts.iter().map(|(it, crossing)| {
        assert_eq!(crossing.passed, 0);
        ((it.tenant.clone(), it.other.clone()), crossing.refused)
    });
    assert_eq!(crossings.collect::<BTreeMap<_, _>>(), truth.crossings);
    let people = || aggregate.people.iter();
    let requests: BTreeMap<String, u64> = people().map(|(user, it)| (user.clone(), it.counts.total())).collect();
    assert_eq!(requests, truth.requests_of);
    let subjects: BTreeMap<String, BTreeSet<String>> = people()
        .filter(|(_, person)| !person.subjects.is_empty())
        .map(|(user, person)| (user.clone(), person.subjects.clone()))
        .collect();
    assert_eq!(subjects, truth.subjects_of);
    assert_eq!(aggregate.forged, truth.forged);
    assert_eq!((aggregate.without_user, aggregate.unreadable), (truth.without_user, 0));
    let kinds = aggregate.kinds;
    assert_eq!([kinds.acts, kinds.hops, kinds.passes, kinds.copies, kinds.calls, kinds.preflights], truth.kinds);
    assert_eq!(aggregate.repeats, truth.repeats);
    let placements: BTreeMap<String, [u64; 2]> = aggregate
        .placements
        .iter()
        .map(|(placement, it)| {
            (serde_json::to_value(placement).unwrap().as_str().unwrap().to_owned(), [it.acts, it.records])
        })
        .collect();
    assert_eq!(
        placements,
        truth.placements.iter().map(|(placement, counts)| ((*placement).to_owned(), *counts)).collect()
    );
    assert_eq!(aggregate.policies.values().map(|tally| tally.count).sum::<u64>(), truth.total.iter().sum::<u64>());
}

#[test]
fn every_figure_is_what_was_done() {
    for seed in 1..=20 {
        let (aggregate, truth) = report(seed, false);
        compare(&aggregate, &truth);
        assert!(truth.kinds.iter().all(|count| *count > 0) && truth.repeats > 0, "{truth:?}");
    }
}

#[test]
fn older_records_are_counted_by_what_they_have() {
    for seed in 1..=20 {
        let (aggregate, truth) = report(seed, true);
        compare(&aggregate, &truth);
        let records: u64 = truth.kinds.iter().sum();
        let page = html(&aggregate, None).unwrap();
        assert!(page.contains(&format!("{records} records do not say where the proxy stands")), "{records}");
    }
}

#[test]
fn the_page_shows_the_truth() {
    let (aggregate, truth) = report(3, false);
    let page = html(&aggregate, None).unwrap();
    let total: u64 = truth.total.iter().sum();
    let [answered, declined, failed, refused] = truth.total;
    assert!(page.contains(&format!(
        "recorded {total} requests, each counted once. {answered} the application answered, {declined} it turned \
         down, {failed} failed, and {refused} were refused."
    )));
    for (what, count) in [
        ("Requests: what people and programs asked for", truth.kinds[0]),
        ("The same requests, seen again further in", truth.kinds[1]),
        ("The same requests, sent on after a redirect inside the platform", truth.kinds[2]),
        ("Mirrored copies, whose answers no caller gets", truth.kinds[3]),
        ("Calls between services that these requests caused", truth.kinds[4]),
        ("Preflights: a browser’s question before a request; no use of data", truth.kinds[5]),
    ] {
        let row = format!("<tr><th scope=\"row\">{what}</th><td class=\"n\">{count}</td></tr>");
        assert!(page.contains(&row), "{row}");
    }
    for (placement, words) in [("gateway", "At the edge of the platform"), ("inbound", "In front of a service")] {
        let [acts, records] = truth.placements[placement];
        let row = format!("{words}</th><td class=\"n\">{acts}</td><td class=\"n\">{records}</td>");
        assert!(page.contains(&row), "{row}");
    }
    assert!(page.contains("The answer was cut off on its way"));
}

/// What a gateway records of one request under a policy that is enforced, under one in shadow, or under that alone.
fn at_the_gateway(id: &str, shadow: Option<serde_json::Value>) -> serde_json::Value {
    let mut decision = serde_json::json!({"result": "allowed"});
    if let Some(shadow) = shadow {
        decision["shadow"] = shadow;
    }
    serde_json::json!({
        "context": {"action": "read", "complianceLevel": "high", "name": "resident", "policy": "9f86d081884c7d65"},
        "decision": decision,
        "outcome": {"status": 200, "durationMicros": 5000, "answeredBy": "upstream"},
        "proxy": {"placement": "gateway"},
        "request": {"id": id, "method": "GET", "pathTemplate": "/api/v1/residents/{id}"},
        "tenant": {},
        "time": "2026-01-01T06:00:00.000000Z",
        "trace": {"spanId": "b7ad6b7169203331"},
        "who": {},
    })
}

#[test]
fn a_policy_in_shadow_beside_another_counts_no_request_twice() {
    let denied = || Some(serde_json::json!({"reason": "tenant-missing", "result": "denied"}));
    let mut chain = support::Writer::new(1);
    let lines = [
        chain.checkpoint("start"),
        // First or second in the chain of filters.
        chain.append("request", at_the_gateway("r-1", denied())),
        chain.append("request", at_the_gateway("r-1", None)),
        chain.append("request", at_the_gateway("r-2", None)),
        chain.append("request", at_the_gateway("r-2", denied())),
        // Alone.
        chain.append("request", at_the_gateway("r-3", denied())),
        chain.append("request", at_the_gateway("r-4", Some(serde_json::json!({"result": "allowed"})))),
        chain.checkpoint("end"),
    ];
    let making = Making::new(Scope::default(), "2026-01-02T00:00:00Z".parse().unwrap());
    let aggregate = making.make(&[Source::text("records", lines.join("\n"))]).unwrap();
    assert_eq!((aggregate.total.total(), aggregate.kinds.acts, aggregate.kinds.hops), (4, 4, 2));
    assert_eq!((aggregate.total.answered, aggregate.repeats), (4, 0));
    let rows: Vec<_> = aggregate.would_refuse.iter().map(|(it, tally)| (it.reason.as_str(), tally.count)).collect();
    assert_eq!(rows, [("tenant-missing", 3)]);
    let page = html(&aggregate, None).unwrap();
    assert!(page.contains("What would be refused") && page.contains("tenant-missing · resident · GET"), "{page}");
}

#[test]
fn what_a_call_between_services_reached_is_told_as_what_a_request_reached() {
    let lines = support::calls_beyond_tenants().join("\n");
    let make = |tenant: Option<&str>| {
        let scope = Scope { tenant: tenant.map(str::to_owned), ..Scope::default() };
        let making = Making::new(scope, "2026-01-02T00:00:00Z".parse().unwrap());
        making.make(&[Source::text("records", lines.clone())]).unwrap()
    };
    let reaches = |aggregate: &Aggregate| -> Vec<_> {
        let rows = aggregate.reaches.iter();
        rows.map(|(it, reached)| (it.user.clone(), it.subject.clone(), reached.counts.total())).collect()
    };
    let all = make(None);
    let subjects = ["p-asked", "p-both", "p-called", "p-of-a-worker", "p-reached", "p-redirected", "p-relative"];
    let emergencies = subjects.map(|subject| ("p-nurse".into(), subject.into(), 1));
    assert_eq!(reaches(&all), emergencies);
    let both = all.reaches.values().nth(1).unwrap();
    assert_eq!(both.contexts.iter().collect::<Vec<_>>(), ["overview", "resident"]);
    let attempts: Vec<_> = all.attempts.iter().map(|(it, crossing)| (it.other.as_str(), crossing.refused)).collect();
    assert_eq!(attempts, [("care-home-0007", 1)]);
    // The totals are of requests.
    let kinds = all.kinds;
    assert_eq!((all.total.total(), kinds.acts, kinds.calls, kinds.copies, all.total.refused), (7, 7, 5, 1, 0));
    let page = html(&all, None).unwrap();
    assert!(page.contains("Emergency access was used or tried in 7 requests, by 1 user."), "{page}");
    assert!(page.contains("1 request asked for another organisation’s data; it was refused."), "{page}");
    assert!(page.contains("Among these: 1 call between services"), "{page}");
    // Only the home whose data the call reached has it in its report.
    assert_eq!(reaches(&make(Some("care-home-0099"))), emergencies);
    assert_eq!(reaches(&make(Some("care-home-0042"))), []);
    assert_eq!(make(Some("care-home-0042")).attempts.len(), 1);
}

#[test]
fn a_hop_by_time_alone_is_of_the_same_user_person_and_tenant() {
    // A caller inside the mesh gives one id to two requests at once. No span says which is which.
    let reaches = |who: &str, tenant: &str, subject: &str| {
        let record = |placement: &str, micros: u64, who: &str, tenant: &str, subject: &str| {
            let mut record = at_the_gateway("r-1", None);
            (record["proxy"]["placement"], record["outcome"]["durationMicros"]) = (placement.into(), micros.into());
            (record["who"]["user"], record["context"]["subject"]) = (who.into(), subject.into());
            (record["tenant"]["id"], record["trace"]) = (tenant.into(), serde_json::json!({}));
            record
        };
        let mut emergency = record("inbound", 1000, who, tenant, subject);
        (emergency["decision"]["grant"], emergency["who"]["purpose"]) = ("emergency".into(), "BTG".into());
        let outer = record("gateway", 500_000, "p-alice", "care-home-0042", "p-seen");
        let lines =
            [support::Writer::new(1).append("request", outer), support::Writer::new(2).append("request", emergency)];
        let making = Making::new(Scope::default(), "2026-01-02T00:00:00Z".parse().unwrap());
        let aggregate = making.make(&[Source::text("records", lines.join("\n"))]).unwrap();
        let [(reach, _)] = aggregate.reaches.iter().collect::<Vec<_>>()[..] else { panic!("{aggregate:?}") };
        (aggregate.kinds.hops, [&reach.user, &reach.tenant, &reach.subject].map(String::clone))
    };
    for (hops, named) in [
        (1, ["p-alice", "care-home-0042", "p-seen"]),
        (0, ["p-bob", "care-home-0042", "p-seen"]),
        (0, ["p-alice", "care-home-0099", "p-seen"]),
        (0, ["p-alice", "care-home-0042", "p-other"]),
    ] {
        let [who, tenant, subject] = named;
        assert_eq!(reaches(who, tenant, subject), (hops, named.map(str::to_owned)));
    }
}

#[test]
fn copies_count_once_however_many_requests_have_one_id() {
    let mut chain = support::Writer::new(1);
    let requests = 6000;
    let mut lines = vec![chain.checkpoint("start")];
    for number in 0..requests {
        let mut record = at_the_gateway("r-1", None);
        record["time"] = format!("2026-01-01T06:{:02}:{:02}.000000Z", number / 60 % 60, number % 60).into();
        record["trace"] = serde_json::json!({});
        lines.push(chain.append("request", record));
    }
    lines.push(chain.checkpoint("end"));
    // All but one came by two ways: wherever records are looked at apart, it is between copies somewhere.
    for without in 1..3 {
        let twice = [lines.clone(), lines[without..].to_vec()].concat();
        let making = Making::new(Scope::default(), "2026-01-02T00:00:00Z".parse().unwrap());
        let aggregate = making.make(&[Source::text("records", twice.join("\n"))]).unwrap();
        assert_eq!(aggregate.total.total(), requests);
    }
}

#[test]
fn requests_without_an_id_have_nothing_in_common() {
    let record = |user: &str, placement: &str, micros: u64, more: serde_json::Value| {
        let mut record = at_the_gateway("", None);
        record["request"] = serde_json::json!({"method": "GET", "pathTemplate": "/api/v1/residents/{id}"});
        record["tenant"] = serde_json::json!({"id": "care-home-0042"});
        record["who"] = serde_json::json!({"user": user});
        record["proxy"]["placement"] = placement.into();
        record["outcome"]["durationMicros"] = micros.into();
        record["trace"] = serde_json::json!({});
        for (object, member, text) in more.as_array().unwrap().iter().map(|it| (&it[0], &it[1], &it[2])) {
            record[object.as_str().unwrap()][member.as_str().unwrap()] = text.clone();
        }
        record
    };
    let mut gateway = support::Writer::new(1);
    let mut sidecar = support::Writer::new(2);
    let emergency = serde_json::json!([["decision", "grant", "emergency"], ["who", "purpose", "BTG"]]);
    let lines = [
        gateway.append("request", record("p-alice", "gateway", 500_000, serde_json::json!([]))),
        sidecar.append("request", record("p-bob", "inbound", 1000, emergency)),
    ];
    let making = Making::new(Scope::default(), "2026-01-02T00:00:00Z".parse().unwrap());
    let aggregate = making.make(&[Source::text("records", lines.join("\n"))]).unwrap();
    assert_eq!((aggregate.kinds.acts, aggregate.kinds.hops), (2, 0));
    let users: Vec<_> = aggregate.reaches.keys().map(|reach| reach.user.as_str()).collect();
    assert_eq!(users, ["p-bob"]);
}

#[test]
fn each_grant_of_a_request_is_told_with_its_own_purpose() {
    let reaches = |hops: [(Option<&str>, Option<&str>); 2]| {
        let mut lines = Vec::new();
        for (number, (placement, (grant, purpose))) in ["gateway", "inbound"].into_iter().zip(hops).enumerate() {
            let mut record = at_the_gateway("r-1", None);
            record["proxy"]["placement"] = placement.into();
            record["outcome"]["durationMicros"] = (5000 - number).into();
            record["trace"] = serde_json::json!({});
            record["decision"]["grant"] = grant.into();
            record["who"] = serde_json::json!({"user": "p-nurse", "purpose": purpose});
            lines.push(support::Writer::new(number as u64 + 1).append("request", record));
        }
        let making = Making::new(Scope::default(), "2026-01-02T00:00:00Z".parse().unwrap());
        let aggregate = making.make(&[Source::text("records", lines.join("\n"))]).unwrap();
        assert_eq!((aggregate.kinds.acts, aggregate.kinds.hops), (1, 1));
        let rows = aggregate.reaches.into_iter();
        rows.map(|(reach, it)| format!("{} {} {}", reach.grant, reach.purpose, it.counts.total())).collect::<Vec<_>>()
    };
    let [group, emergency] = [(Some("group"), None), (Some("emergency"), Some("BTG"))];
    assert_eq!(reaches([group, emergency]), ["emergency BTG 1", "group  1"]);
    assert_eq!(reaches([emergency, group]), ["emergency BTG 1", "group  1"]);
    // What one hop knows of the same grant, or of the same request without a grant, is so of all.
    assert_eq!(reaches([group, (Some("group"), Some("HOPERAT"))]), ["group HOPERAT 1"]);
    assert_eq!(reaches([(None, Some("HOPERAT")), group]), ["group HOPERAT 1"]);
    assert_eq!(reaches([group, (None, None)]), ["group  1"]);
}
