//! The page of a report in a real browser: what it shows, how wide it is, what it asks for, and whether everybody can
//! read it.

mod tools;

use std::fs;
use std::sync::LazyLock;

use careplane_evidence::report::{Aggregate, DeliveryCounters, Making, Placement, PlacementCounts, Reach, Scope, html};
use careplane_evidence::search::{self, Person, Query};
use careplane_evidence::source::Source;
use careplane_evidence::synthetic::Synthetic;
use careplane_evidence::verify::Verdict;
use serde_json::json;

use tools::browser::Shown;
use tools::{Tool, tool};

/// A telephone, a tablet, a screen.
const WIDTHS: [u32; 3] = [390, 820, 1280];

/// A month of four regulators.
static MONTH: LazyLock<Vec<String>> = LazyLock::new(|| {
    let from = "2026-10-01T00:00:00Z".parse().unwrap();
    Synthetic { seed: 7, from, days: 31, requests: 160, chains: 8 }.records().collect()
});

fn aggregate(scope: Scope) -> Aggregate {
    let making = Making::new(scope, "2026-11-02T09:00:00Z".parse().unwrap());
    making.make(&[Source::text("records", MONTH.join("\n"))]).unwrap()
}

/// With verdicts of every kind, and a ledger that does not add up.
fn troubled() -> Aggregate {
    let mut aggregate = aggregate(Scope { regulator: Some("Care Inspectorate".into()), ..Scope::default() });
    let verdicts = [Verdict::Broken, Verdict::Cut, Verdict::Unverified, Verdict::Open, Verdict::Complete];
    for (chain, verdict) in aggregate.verification.chains.iter_mut().zip(verdicts) {
        (chain.verdict, chain.missing, chain.edited, chain.unkeyed) = (verdict, 3, 1, 9);
    }
    aggregate.ledger =
        Some(DeliveryCounters { records: 5000, acknowledged: 4900, lost: 7, ..DeliveryCounters::default() });
    aggregate.expected =
        vec!["a-proxy-with-a-name-that-is-as-long-as-names-of-pods-are-allowed-to-be-7d9f6c5b8-x2x4z".into()];
    (aggregate.kinds.hops, aggregate.kinds.copies, aggregate.kinds.calls) = (1234, 56, 789);
    (aggregate.kinds.passes, aggregate.kinds.preflights, aggregate.repeats) = (1, 99, 12);
    aggregate.placements.insert(Placement::Gateway, PlacementCounts { acts: 12, records: 12 });
    // Names as long as they can be.
    let long = "an-organisation-with-a-name-that-is-as-long-as-names-of-organisations-are-allowed-to-be".to_owned();
    let counts = aggregate.tenants.values().next().copied().unwrap();
    aggregate.tenants.insert(long.clone(), counts);
    let reached = aggregate.reaches.values().next().unwrap().clone();
    for purpose in ["BTG", "CLINTRCHNPC"] {
        let (grant, purpose) = (long.clone(), purpose.to_owned());
        let reach = Reach { grant, purpose, user: String::new(), tenant: long.clone(), subject: String::new() };
        aggregate.reaches.insert(reach, reached.clone());
    }
    aggregate
}

#[test]
fn the_page_shows_the_figures_and_asks_for_nothing() {
    let Some(browser) = tool(Tool::Chromium) else { return };
    let aggregate = aggregate(Scope::default());
    let mut shown = Shown::new(&browser, &html(&aggregate, None).unwrap());
    let tiles =
        shown.ask("[...document.querySelectorAll('.figures b')].map(it => Number(it.innerText.replace(/,/g, '')))");
    let crossings: u64 = aggregate.attempts.values().map(|it| it.refused + it.passed).sum();
    let total = aggregate.total;
    let emergencies = aggregate.reaches.iter().filter(|(reach, _)| reach.is_emergency());
    let emergencies: u64 = emergencies.map(|(_, reached)| reached.counts.total()).sum();
    assert!(emergencies > 0);
    assert_eq!(tiles, json!([total.total(), total.refused, crossings, emergencies, total.failed]));
    // Each emergency has its line, by time.
    let lines = shown.ask("document.querySelectorAll('section[aria-labelledby=emergency] tbody tr').length");
    assert_eq!(lines, aggregate.reaches.keys().filter(|reach| reach.is_emergency()).count());
    // Every context has its row, and the rows add up.
    let rows = shown.ask(
        "[...document.querySelectorAll('section[aria-labelledby=contexts] table:first-of-type')][0]\
         .querySelectorAll('td.n:nth-child(2)').values().map(it => Number(it.innerText.replace(/,/g, ''))).toArray()",
    );
    let sum: u64 = rows.as_array().unwrap().iter().map(|row| row.as_u64().unwrap()).sum();
    assert_eq!((rows.as_array().unwrap().len(), sum), (aggregate.contexts.len(), total.total()));
    // As many columns as days, and as high as there were requests: the pixels are in proportion to the figures.
    let columns = shown.ask(
        "[...document.querySelectorAll('.columns svg[role=img]')[0].querySelectorAll('rect')]\
         .map(it => it.getBoundingClientRect().height)",
    );
    let days: Vec<u64> = (0..31)
        .map(|day| {
            let hours = aggregate.hours.iter().filter(|(hour, _)| (hour.as_second() - 1_790_812_800) / 86_400 == day);
            hours.map(|(_, counts)| counts.total()).sum()
        })
        .collect();
    let heights: Vec<f64> = columns.as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
    assert_eq!(heights.len(), 31);
    for (height, requests) in heights.iter().zip(&days) {
        let expected = heights[0] * *requests as f64 / days[0] as f64;
        assert!((height - expected).abs() < 1.0, "{height} px for {requests} requests, expected {expected} px");
    }
    assert_eq!(shown.trouble, Vec::<String>::new());
}

#[test]
fn nothing_is_wider_than_the_page_on_a_telephone_or_a_screen() {
    let Some(browser) = tool(Tool::Chromium) else { return };
    for (name, page) in pages() {
        let mut shown = Shown::new(&browser, &page);
        fits(&mut shown, name);
    }
}

fn fits(shown: &mut Shown, name: &str) {
    for width in WIDTHS {
        shown.resize(width);
        shown.picture(&format!("{name}-{width}"));
        let wide = shown.ask(
            "[...document.querySelectorAll('body *')]\
             .filter(it => it.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)\
             .map(it => it.outerHTML.slice(0, 120))",
        );
        assert_eq!(wide, json!([]), "at {width} px");
        let fits = shown.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth");
        assert_eq!(fits, true, "at {width} px");
        let clipped = shown.ask(
            "[...document.querySelectorAll('.table, pre')].filter(it => it.scrollWidth > it.clientWidth + 1)\
             .map(it => it.innerText.slice(0, 80))",
        );
        assert_eq!(clipped, json!([]), "at {width} px");
    }
    assert_eq!(shown.trouble, Vec::<String>::new());
}

#[test]
fn everybody_can_read_it_by_day_and_by_night() {
    let (Some(browser), Some(axe)) = (tool(Tool::Chromium), tool(Tool::Axe)) else { return };
    for (name, page) in pages() {
        let mut shown = Shown::new(&browser, &page);
        shown.ask(&format!("{}; 0", fs::read_to_string(&axe).unwrap()));
        for scheme in ["light", "dark"] {
            shown.prefer(scheme);
            shown.picture(&format!("{name}-{scheme}"));
            let violations = shown.ask(
                "axe.run(document, \
                 {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}\
                 ).then(it => it.violations.map(it => \
                 [it.id, it.nodes.map(it => it.html.slice(0, 200) + ' ' + it.failureSummary)]))",
            );
            assert_eq!(violations, json!([]), "{name}, {scheme}");
        }
    }
}

/// A report, and answers to searches: with and without trouble, and an empty one.
fn pages() -> Vec<(&'static str, String)> {
    let made = "2026-11-01T00:00:00Z".parse().unwrap();
    let bounds = ["2026-10-01", "2026-11-01"].map(|text| Some(Scope::bound(text).unwrap()));
    let subject =
        MONTH.iter().find_map(|line| Some(line.split_once("\"subject\":\"")?.1.split('"').next()?.to_owned())).unwrap();
    let query = |subject: String| Query {
        people: vec![Person::Subject(vec![subject])],
        from: bounds[0],
        to: bounds[1],
        ..Query::default()
    };
    let answer = |query: &Query, lines: &[String]| {
        let answer =
            search::search(query, Default::default(), made, &[Source::text("records", lines.join("\n"))]).unwrap();
        search::html(&answer, query, vec!["person in care p-abcdefgh-abcdefghijklmnopabcdefghijklmnop".into()], None)
            .unwrap()
    };
    let emergencies = Query { purposes: vec!["BTG".into(), "ETREAT".into()], ..query(subject.clone()) };
    let emergencies = Query { people: Vec::new(), ..emergencies };
    let (asked, nobody) = (query(subject.clone()), query("p-nobody".into()));
    let mut damaged = MONTH.clone();
    damaged.retain(|line| !line.contains(r#""time":"2026-10-31"#));
    let line =
        damaged.iter_mut().find(|line| line.contains(&subject) && line.contains("\"kind\":\"request\"")).unwrap();
    *line = line.replacen("care-home-00", "care-home-10", 1);
    vec![
        ("report", html(&troubled(), Some("A heading")).unwrap()),
        ("search", answer(&asked, &MONTH)),
        ("search-troubled", answer(&asked, &damaged)),
        ("search-emergency", answer(&emergencies, &MONTH)),
        ("search-empty", answer(&nobody, &MONTH)),
    ]
}
