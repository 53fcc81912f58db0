//! Whatever is done to a file of records shows, with its place.

mod support;

use careplane_evidence::source::Source;
use careplane_evidence::verify::{
    ChainReport, Clock, Demands, Finding, Key, Keyring, Location, NextRecord, Settings, Time, Verdict, Verification,
    Verifier,
};
use support::{KEY, Random, Writer, instant};

const LENGTH: usize = 1000;
const CLOSED: Demands = Demands { closed: true, ordered: false, keyed: false };

fn keys() -> Keyring {
    let mut keys = Keyring::default();
    keys.add(Key::new(KEY).unwrap());
    keys
}

fn verify_bytes(text: &[u8]) -> Verification {
    let mut verifier = Verifier::new(Settings { keys: keys(), ..Settings::default() });
    verifier.read(&Source::text("log", text)).unwrap();
    verifier.finish().unwrap()
}

fn verify<'l>(lines: impl IntoIterator<Item = &'l str>) -> Verification {
    let text: String = lines.into_iter().flat_map(|line| [line, "\n"]).collect();
    verify_bytes(text.as_bytes())
}

fn only(verification: &Verification) -> &ChainReport {
    assert_eq!(verification.chains.len(), 1, "{verification:#?}");
    &verification.chains[0]
}

fn at(line: usize) -> Location {
    Location { source: "log".into(), line: line as u64, record: None }
}

fn keyed_and_not() -> [Vec<String>; 2] {
    [None, Some(KEY)].map(|key| Writer::new(1).key(key).complete(LENGTH as u64))
}

#[test]
fn what_nobody_touched_is_complete() {
    for lines in keyed_and_not() {
        let verification = verify(lines.iter().map(String::as_str));
        let chain = only(&verification);
        assert_eq!((chain.verdict, chain.records, chain.faults, chain.reordered), (Verdict::Complete, 1000, 0, 0));
        assert!(verification.holds(Demands { closed: true, ordered: true, keyed: false }));
    }
}

#[test]
fn a_clock_that_was_wrong_once_does_not_make_a_chain_live() {
    let chain = |future: &[(&str, u64)]| {
        let mut writer = Writer::new(1);
        let mut lines = vec![writer.checkpoint("start")];
        for (kind, seconds) in future {
            writer.clock = *seconds;
            lines.push(if *kind == "request" { writer.request() } else { writer.checkpoint(kind) });
        }
        lines.join("\n")
    };
    let judge = |text: &str, clock: fn(Time) -> Clock, as_of: u64| {
        let clock = clock(Time::parse(&instant(as_of)).unwrap());
        let mut verifier = Verifier::new(Settings { clock, ..Settings::default() });
        verifier.read(&Source::text("log", text.as_bytes())).unwrap();
        let verification = verifier.finish().unwrap();
        (only(&verification).verdict, only(&verification).until.unwrap().to_string())
    };
    let year = 365 * 86_400;
    // By a request, and by a head before others.
    for kind in ["request", "head"] {
        let text = chain(&[("head", 60), (kind, year), ("head", 120), ("request", 130)]);
        for clock in [Clock::Wall, Clock::Given] {
            assert_eq!(judge(&text, clock, 3600), (Verdict::Cut, instant(130)), "{kind}");
            assert_eq!(judge(&text, clock, 240), (Verdict::Open, instant(130)), "{kind}");
        }
    }
    // The last of all. A time that is asked about can be long ago, but no record is of a time that is yet to come.
    let future = 100 * year;
    for clock in [Clock::Wall, Clock::Given] {
        let last = chain(&[("head", 60), ("request", future)]);
        assert_eq!(judge(&last, clock, 3600), (Verdict::Cut, instant(future)));
        assert_eq!(judge(&chain(&[("head", future)]), clock, 3600), (Verdict::Cut, instant(future)));
        assert_eq!(judge(&chain(&[("head", future)]), clock, future).0, Verdict::Open);
    }
    // Clocks differ by some seconds, and a chain goes on after the end of a month.
    assert_eq!(judge(&chain(&[("head", 3600 + 170)]), Clock::Wall, 3600).0, Verdict::Open);
    assert_eq!(judge(&chain(&[("head", 60), ("head", 7200)]), Clock::Given, 3600).0, Verdict::Open);
}

/// In a chain that has a record of each kind; that neighbours change nothing is shown by the next test.
#[test]
fn every_changed_byte_shows() {
    for key in [None, Some(KEY)] {
        let mut writer = Writer::new(1).key(key);
        let lines = [writer.checkpoint("start"), writer.request(), writer.checkpoint("head"), writer.checkpoint("end")];
        let text: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
        let mut changed = text.clone();
        let mut line = 1;
        for (index, byte) in text.iter().enumerate() {
            for value in [byte ^ 1, byte ^ 0x20, byte ^ 0x80, b'"', b'0'].into_iter().filter(|value| value != byte) {
                changed[index] = value;
                let verification = verify_bytes(&changed);
                let about = || format!("byte {index}, {:?} → {:?}: {verification:#?}", *byte as char, value as char);
                // Behind the last record there is nothing that a line end could merge it with.
                assert!(!verification.holds(Demands::default()), "{}", about());
                let findings = verification.chains.iter().flat_map(|chain| &chain.findings);
                let places = findings.flat_map(|finding| match finding {
                    // Which of two key ids was changed does not show.
                    Finding::KeyChanged { place, previous, .. } => vec![place, previous],
                    other => vec![other.location()],
                });
                let mut places = places.chain(verification.unreadable.iter().map(|it| &it.place));
                assert!(places.any(|place| *place == at(line)), "{}", about());
            }
            changed[index] = *byte;
            line += usize::from(*byte == b'\n');
        }
    }
}

#[test]
fn a_changed_record_among_a_thousand_is_named_with_its_number_and_its_line() {
    let mut random = Random(1);
    for lines in keyed_and_not() {
        for _ in 0..50 {
            let index = random.below(LENGTH - 1);
            // In what it says, not in what it is known by.
            let time = lines[index].find("\"time\":\"").unwrap() + "\"time\":\"".len();
            let mut changed = lines.clone();
            changed[index].replace_range(time..=time, "3");
            let verification = verify(changed.iter().map(String::as_str));
            let edit = Finding::Edit {
                seq: index as u64 + 1,
                place: at(index + 1),
                placed: true,
                intact: None,
                follower: Some(NextRecord::NamesIt),
            };
            assert_eq!(only(&verification).findings, [edit]);
        }
    }
}

#[test]
fn whoever_makes_the_hash_anew_is_betrayed_by_the_next_record() {
    let [lines, keyed] = keyed_and_not();
    for (lines, is_keyed) in [(lines, false), (keyed, true)] {
        let mut record: serde_json::Value = serde_json::from_str(&lines[411]).unwrap();
        record["outcome"]["status"] = 403.into();
        record["hash"] = support::hash(&record, None).into();
        let mut changed = lines;
        changed[411] = serde_jcs::to_string(&record).unwrap();
        let verification = verify(changed.iter().map(String::as_str));
        let [finding] = &only(&verification).findings[..] else { panic!("{verification:#?}") };
        match finding {
            // Without the key the hash is as good as any.
            Finding::Edit { seq: 412, follower: Some(NextRecord::NamesAnother), .. } => assert!(is_keyed),
            Finding::Break { seq: 413, place, previous } => {
                assert_eq!((is_keyed, place, previous), (false, &at(413), &Some(at(412))));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_deletion_shows() {
    for (deleted, lines) in keyed_and_not().iter().flat_map(|lines| (0..LENGTH).map(move |deleted| (deleted, lines))) {
        // Every one of one chain, some of the other: what is done does not depend on the key.
        if lines[0].contains("\"key\"") && deleted % 97 > 0 {
            continue;
        }
        let verification =
            verify(lines.iter().enumerate().filter(|(index, _)| *index != deleted).map(|(_, line)| line.as_str()));
        let chain = only(&verification);
        assert!(!verification.holds(CLOSED));
        if deleted + 1 == LENGTH {
            assert_eq!((chain.verdict, chain.last, chain.ended), (Verdict::Open, 999, false));
            continue;
        }
        let [Finding::Gap { from, to, after, before }] = &chain.findings[..] else { panic!("{chain:#?}") };
        let seq = deleted as u64 + 1;
        let after = after.as_ref().map(|after| (after.seq, after.place.line));
        assert_eq!((*from, *to, after), (seq, seq, Some((seq - 1, seq - 1)).filter(|_| seq > 1)));
        assert_eq!((before.seq, before.place.line, chain.missing), (seq + 1, seq, 1));
    }
}

#[test]
fn every_swap_of_neighbours_shows_and_harms_nothing() {
    let lines = Writer::new(1).complete(LENGTH as u64);
    let mut order: Vec<&str> = lines.iter().map(String::as_str).collect();
    for first in 0..LENGTH - 1 {
        order.swap(first, first + 1);
        let verification = verify(order.iter().copied());
        order.swap(first, first + 1);
        let chain = only(&verification);
        let [Finding::Reordered { seq, place, before }] = &chain.findings[..] else { panic!("{chain:#?}") };
        assert_eq!((*seq, place.line, before.seq, before.place.line), {
            let first = first as u64;
            (first + 2, first + 1, first + 1, first + 2)
        });
        assert_eq!(chain.verdict, Verdict::Complete);
        assert!(verification.holds(CLOSED) && !verification.holds(Demands { ordered: true, ..CLOSED }));
    }
}

#[test]
fn swaps_of_any_two_show_with_both_places() {
    let lines = Writer::new(1).complete(LENGTH as u64);
    let mut random = Random(7);
    for _ in 0..200 {
        let (one, other) = (random.below(LENGTH), random.below(LENGTH));
        if one == other {
            continue;
        }
        let mut order: Vec<&str> = lines.iter().map(String::as_str).collect();
        order.swap(one, other);
        let verification = verify(order);
        let told: Vec<u64> = only(&verification)
            .findings
            .iter()
            .flat_map(|finding| match finding {
                Finding::Reordered { place, before, .. } => [place.line, before.place.line],
                other => panic!("{other:?}"),
            })
            .collect();
        assert!([one, other].iter().all(|index| told.contains(&(*index as u64 + 1))), "{one} {other}: {told:?}");
    }
}

#[test]
fn a_tail_that_is_missing_shows_when_time_has_passed() {
    let lines = Writer::new(1).complete(500);
    let cut = |as_of: u64| {
        let mut verifier = Verifier::new(Settings {
            clock: Clock::Given(Time::parse(&instant(as_of)).unwrap()),
            ..Settings::default()
        });
        verifier.read(&Source::text("log", lines[..413].join("\n"))).unwrap();
        let verification = verifier.finish().unwrap();
        (only(&verification).verdict, only(&verification).last, verification.holds(Demands::default()))
    };
    assert_eq!(cut(412 + 180), (Verdict::Open, 413, true));
    assert_eq!(cut(412 + 181), (Verdict::Cut, 413, false));
}

#[test]
fn the_head_in_another_store_betrays_a_chain_that_was_made_anew() {
    let truth = Writer::new(1).complete(61);
    let witness = format!("[2026-01-01][warning][wasm] wasm log: careplane-audit-record {}\n", truth[59]);
    let mut forger = Writer::new(1);
    forger.clock = 1;
    let forged = &forger.complete(61)[..60];
    let mut verifier = Verifier::new(Settings::default());
    verifier.read(&Source::text("archive", forged.join("\n"))).unwrap();
    verifier.read(&Source::text("proxy", witness)).unwrap();
    let verification = verifier.finish().unwrap();
    let [Finding::Conflict { seq: 60, places, named: None }] = &only(&verification).findings[..] else {
        panic!("{verification:#?}")
    };
    assert_eq!(places.iter().map(ToString::to_string).collect::<Vec<_>>(), ["archive:60", "proxy:1"]);
}

#[test]
fn a_record_under_a_key_that_is_not_here_is_no_copy_of_the_one_whose_hash_it_carries() {
    let lines = Writer::new(1).complete(10);
    let mut forged: serde_json::Value = serde_json::from_str(&lines[5]).unwrap();
    forged["outcome"]["status"] = 403.into();
    forged["chain"]["key"] = "aaaaaaaa".into();
    let forged = serde_jcs::to_string(&forged).unwrap();
    for at in [0, 10] {
        let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        lines.insert(at, &forged);
        let verification = verify(lines);
        let conflict = only(&verification).findings.iter().find(|finding| matches!(finding, Finding::Conflict { .. }));
        assert!(matches!(conflict, Some(Finding::Conflict { seq: 6, .. })), "{verification:#?}");
        assert!(!verification.holds(Demands::default()));
    }
}
