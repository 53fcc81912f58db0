//! Archives as they are: of several kinds, in any order, in more copies than one, verified in parts.

mod support;

use std::path::{Path, PathBuf};

use careplane_evidence::source::Source;
use careplane_evidence::verify::{
    Demands, Finding, Key, Keyring, Settings, Shard, Tail, Verdict, Verification, Verifier,
};
use support::{KEY, OTHER_KEY, Random, Writer};

fn verify(settings: Settings, sources: &[Source]) -> Verification {
    let mut verifier = Verifier::new(settings);
    sources.iter().for_each(|source| verifier.read(source).unwrap());
    verifier.finish().unwrap()
}

fn keyring(keys: &[&[u8]]) -> Keyring {
    let mut keyring = Keyring::default();
    keys.iter().for_each(|key| keyring.add(Key::new(key).unwrap()));
    keyring
}

fn verdicts(verification: &Verification) -> Vec<Verdict> {
    verification.chains.iter().map(|chain| chain.verdict).collect()
}

/// What stock Envoy 1.40.0 and an OpenTelemetry Collector 0.140.1 wrote of three runs of three requests each: the
/// proxy's log in the format of Istio, in JSON, and in Envoy's own; and Envoy's access log in a file and over OTLP.
#[test]
fn what_real_proxies_and_a_real_collector_wrote_is_complete() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let verification = verify(Settings::default(), &Source::expand(&[samples]).unwrap());
    assert_eq!(verdicts(&verification), [Verdict::Complete; 3], "{verification:#?}");
    assert!(verification.holds(Demands { closed: true, ..Demands::default() }));
    // Four copies of three requests: access log, its OTLP, careplane's OTLP, proxy's log. The start went to the
    // collector alone, the end to the log alone.
    assert!(verification.chains.iter().all(|chain| (chain.last, chain.duplicates) == (5, 9)), "{verification:#?}");
    assert_eq!((verification.input.lines, verification.input.skipped), (48, 21));
}

#[test]
fn order_mixture_and_copies_change_nothing() {
    let mut lines: Vec<String> = (0..5).flat_map(|number| Writer::new(number).complete(300)).collect();
    lines.extend_from_within(100..200);
    Random(3).shuffle(&mut lines);
    let (access, rest) = lines.split_at(500);
    let (spilled, batched) = rest.split_at(500);
    let spilled: Vec<String> = spilled
        .iter()
        .map(|line| format!("[warning] careplane-audit-record {line}\tthread=3\n[info] something else"))
        .collect();
    let batches = batched.chunks(64).map(|batch| {
        let records: Vec<_> = batch.iter().map(|line| serde_json::json!({"body": {"stringValue": line}})).collect();
        serde_json::json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string()
    });
    let sources = [
        Source::text("access", access.join("\n")),
        Source::text("proxy", spilled.join("\n")),
        Source::text("collector", batches.collect::<Vec<_>>().join("\n")),
    ];
    let whole = verify(Settings::default(), &sources);
    assert_eq!(verdicts(&whole), [Verdict::Complete; 5]);
    assert_eq!(whole.chains.iter().map(|chain| chain.duplicates).sum::<u64>(), 100);
    assert_eq!(whole.input.skipped, 500);
    // And nothing depends on what is in memory and what in the temporary file.
    for links_in_memory in [1, 7, 1599, 1600] {
        assert_eq!(verify(Settings { links_in_memory: Some(links_in_memory), ..Settings::default() }, &sources), whole);
    }
}

#[test]
fn the_reports_of_shards_merge_into_that_of_one_run() {
    let mut lines: Vec<String> = (0..40).flat_map(|number| Writer::new(number).complete(30)).collect();
    lines.remove(77);
    lines.remove(29);
    lines[100] = lines[100].replace("sampled\":true", "sampled\":null");
    lines[300].replace_range(..20, "no beginning");
    lines[400] = lines[400].replacen("\"seq\":", "\"seq\":x", 1);
    lines[500] = lines[500].replacen("{\"chain\":{", "{\"chain\": {", 1);
    lines.extend_from_within(600..610);
    Random(5).shuffle(&mut lines);
    let sources = [Source::text("a", lines[..500].join("\n")), Source::text("b", lines[500..].join("\n"))];
    let whole = verify(Settings::default(), &sources);
    assert_eq!((whole.unreadable_count, whole.count(Verdict::Broken)), (2, 5));
    for count in [1, 2, 3, 7] {
        let shard = |index: u64| {
            let shard: Shard = format!("{index}/{count}").parse().unwrap();
            verify(Settings { shard: Some(shard), ..Settings::default() }, &sources)
        };
        let mut parts: Vec<Verification> = (0..count).map(shard).collect();
        Random(count).shuffle(&mut parts);
        // Through JSON, as they travel.
        let json = serde_json::to_string(&parts).unwrap();
        let parts: Vec<Verification> = serde_json::from_str(&json).unwrap();
        assert_eq!(Verification::merge(parts).unwrap(), whole, "{count} shards");
    }
}

#[test]
fn what_is_not_all_shards_of_one_run_is_not_merged() {
    let text = Writer::new(1).complete(10).join("\n");
    let part = |shard: &str, text: &str| {
        let settings = Settings { shard: Some(shard.parse().unwrap()), ..Settings::default() };
        verify(settings, &[Source::text("a", text)])
    };
    let refused = |parts: Vec<Verification>| Verification::merge(parts).unwrap_err().to_string();
    let (first, second) = (part("0/2", &text), part("1/2", &text));
    assert_eq!(refused(vec![]), "there are no reports");
    assert_eq!(refused(vec![second.clone()]), "shard 0/2 is missing");
    assert_eq!(refused(vec![first.clone(), first.clone()]), "shard 0/2 is there twice");
    assert_eq!(
        refused(vec![first.clone(), second, part("1/3", &text)]),
        "the reports are of different numbers of shards"
    );
    let grown = part("1/2", &format!("{text}\nmore"));
    assert_eq!(refused(vec![first, grown]), "shard 1/2 read something else, or more of it, than the one before it");
    let all = verify(Settings::default(), &[Source::text("a", text)]);
    assert_eq!(refused(vec![all]), "a report is of all chains, not of a shard");
    assert!("2/2".parse::<Shard>().is_err() && "0/0".parse::<Shard>().is_err() && "1".parse::<Shard>().is_err());
}

#[test]
fn keys_rotate_and_a_key_that_is_not_given_proves_nothing() {
    let mut lines = Writer::new(1).key(Some(OTHER_KEY)).complete(20);
    lines.extend(Writer::new(2).key(Some(KEY)).complete(20));
    lines.extend(Writer::new(3).complete(20));
    let source = [Source::text("a", lines.join("\n"))];
    let with = |keys: &[&[u8]]| verify(Settings { keys: keyring(keys), ..Settings::default() }, &source);
    let all = with(&[KEY, OTHER_KEY]);
    assert_eq!(verdicts(&all), [Verdict::Complete; 3]);
    assert!(all.holds(Demands::default()) && !all.holds(Demands { keyed: true, ..Demands::default() }));
    let one = with(&[KEY]);
    assert_eq!(verdicts(&one), [Verdict::Unverified, Verdict::Complete, Verdict::Complete]);
    assert!(!one.holds(Demands::default()));
    // Order and links show without a key, too.
    let gap = Source::text("a", [&lines[..5], &lines[6..]].concat().join("\n"));
    assert_eq!(verify(Settings::default(), &[gap]).chains[0].verdict, Verdict::Broken);
}

#[test]
fn a_key_can_change_within_a_chain_and_cannot_be_dropped() {
    let make = |then: Option<&[u8]>| {
        let mut writer = Writer::new(1).key(Some(KEY));
        let mut lines: Vec<String> = (0..5).map(|_| writer.request()).collect();
        let mut writer = writer.key(then);
        lines.extend((0..5).map(|_| writer.request()));
        let settings = Settings { keys: keyring(&[KEY, OTHER_KEY]), ..Settings::default() };
        verify(settings, &[Source::text("a", lines.join("\n"))])
    };
    let rotated = make(Some(OTHER_KEY));
    assert_eq!((rotated.chains[0].verdict, rotated.chains[0].keys.len()), (Verdict::Open, 2));
    let dropped = make(None);
    assert!(matches!(dropped.chains[0].findings[..], [Finding::KeyChanged { seq: 6, key: None, .. }]), "{dropped:#?}");
}

#[test]
fn short_keys_are_no_keys() {
    assert!(Key::new(b"fifteen bytes..").is_none());
}

#[test]
fn the_tail_of_a_chain_without_checkpoints_is_unknown() {
    let mut writer = Writer::new(1);
    let lines: Vec<String> = (0..9).map(|_| writer.request()).collect();
    let mut late = Writer::new(2);
    late.clock = 1_000_000;
    let verification =
        verify(Settings::default(), &[Source::text("a", [lines, vec![late.request()]].concat().join("\n"))]);
    assert!(verification.chains.iter().all(|chain| (chain.verdict, chain.tail) == (Verdict::Open, Tail::Unknown)));
}

#[test]
fn what_comes_behind_the_end_is_not_of_the_chain() {
    let mut writer = Writer::new(1);
    let lines = [writer.checkpoint("start"), writer.checkpoint("end"), writer.request(), writer.request()];
    let verification = verify(Settings::default(), &[Source::text("a", lines.join("\n"))]);
    assert!(matches!(verification.chains[0].findings[..], [Finding::AfterEnd { seq: 3, .. }]), "{verification:#?}");
}

#[test]
fn nothing_proves_nothing() {
    let empty = verify(Settings::default(), &[Source::text("a", "something else\n")]);
    assert!(!empty.holds(Demands::default()));
}

#[test]
fn findings_are_counted_where_they_are_too_many_to_list() {
    let lines: Vec<String> = Writer::new(1).complete(1000).into_iter().step_by(2).collect();
    let chain = &verify(Settings::default(), &[Source::text("a", lines.join("\n"))]).chains[0];
    assert_eq!((chain.findings.len(), chain.faults, chain.missing), (100, 499, 499));
}

#[test]
fn a_source_that_cannot_be_read_ends_the_verification() {
    let mut verifier = Verifier::new(Settings::default());
    let error = verifier.read(&Source::file(PathBuf::from("no/such/file"))).unwrap_err();
    assert!(error.to_string().starts_with("no/such/file: "), "{error}");
}
