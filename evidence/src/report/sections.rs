//! The tables of the page: figures in the order and the words in which they are shown.

use std::collections::{BTreeMap, BTreeSet};

use super::DeliveryCounters;
use super::aggregate::{Aggregate, Attempt, Crossing, Denial, Person};
use super::completeness::Account;
use super::words::{self, as_u64, counted, number, percent, ratio, span};
use crate::acts::Placement;
use crate::counts::{Counts, Merge, Tally};
use crate::source::Sink;
use crate::verify::{ChainReport, Verdict};

/// The rows that a table shows.
const ROWS: usize = 15;
/// The compliance levels of a policy, most demanding first; others come after.
const LEVELS: [&str; 4] = ["critical", "high", "standard", "low"];

/// Requests under one name.
pub(super) struct CountRow<'a> {
    pub name: &'a str,
    pub counts: Counts,
    /// Its endings beside those of the longest row: class, beginning and width in percent.
    pub bar: Vec<(&'static str, String, String)>,
}

/// The contexts of one compliance level.
pub(super) struct Level<'a> {
    pub name: &'a str,
    pub total: u64,
    pub rows: Vec<CountRow<'a>>,
}

/// How often something happened.
pub(super) struct TallyRow {
    pub meaning: String,
    pub word: String,
    pub count: String,
    pub share: String,
    pub width: String,
    pub when: String,
}

/// What happened, the most frequent first.
pub(super) struct Tallies {
    pub rows: Vec<TallyRow>,
    pub more: usize,
}

/// Who named another tenant.
pub(super) struct Attempts<'a> {
    pub refused: u64,
    pub passed: u64,
    pub rows: Vec<(&'a Attempt, &'a Crossing)>,
    pub more: usize,
}

/// Who acted on how many subjects.
pub(super) struct People<'a> {
    pub users: u64,
    pub subjects: u64,
    pub median: u64,
    pub rows: Vec<(&'a str, String, String, u64)>,
    pub more: usize,
    /// How many users acted on so many subjects: the range, the users, the width of the bar in percent.
    pub spread: Vec<(&'static str, String, String)>,
    pub without_user: u64,
    /// Whether some were not counted, so that figures are lower bounds.
    pub capped: bool,
}

/// How the records arrived.
pub(super) struct Delivery {
    pub records: u64,
    /// Lines that repeat what was read from the same sink before.
    pub repeated: u64,
    /// The sink, the records that were read from it, and those that were read from it alone.
    pub sinks: Vec<(&'static str, String, String)>,
    /// What the proxies count, and what it is.
    pub ledger: Option<DeliverySection>,
}

/// The counters of the proxies.
pub(super) struct DeliverySection {
    pub rows: Vec<(&'static str, String)>,
    pub adds_up: bool,
    pub sentence: String,
}

/// The chains.
pub(super) struct Chains<'a> {
    pub summary: Vec<String>,
    /// How many have records without a key.
    pub unkeyed: u64,
    pub rows: Vec<ChainRow<'a>>,
    pub more: usize,
}

/// One chain.
pub(super) struct ChainRow<'a> {
    pub id: &'a str,
    pub proxy: &'a str,
    pub class: &'static str,
    pub verdict: &'static str,
    pub records: String,
    pub when: String,
    pub note: String,
}

fn rows<'a>(counts: impl IntoIterator<Item = (&'a str, Counts)>) -> Vec<CountRow<'a>> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.total()));
    counts.into_iter().map(|(name, counts)| CountRow { name, counts, bar: Vec::new() }).collect()
}

/// Gives each row its bar; the longest is as wide as there is room.
fn draw(rows: &mut [CountRow<'_>], longest: u64) {
    for row in rows {
        let counts = row.counts;
        let parts = [
            ("answered", counts.answered),
            ("declined", counts.declined),
            ("failed", counts.failed),
            ("refused", counts.refused),
        ];
        let mut before = 0;
        for (class, count) in parts.into_iter().filter(|(_, count)| *count > 0) {
            row.bar.push((class, percent_of(before, longest), percent_of(count, longest)));
            before += count;
        }
    }
}

fn percent_of(part: u64, whole: u64) -> String {
    format!("{:.3}%", ratio(part, whole) * 100.0)
}

/// Requests by a name of the records.
pub(super) fn by_name(counts: &BTreeMap<String, Counts>) -> Vec<CountRow<'_>> {
    let mut rows = rows(counts.iter().map(|(name, counts)| (name.as_str(), *counts)));
    let longest = rows.first().map_or(0, |row| row.counts.total());
    draw(&mut rows, longest);
    rows
}

/// Requests by what was done.
pub(super) fn actions(aggregate: &Aggregate) -> Vec<CountRow<'_>> {
    let mut rows = by_name(&aggregate.actions);
    rows.iter_mut().for_each(|row| row.name = words::action(row.name));
    rows
}

/// Contexts by compliance level.
pub(super) fn levels(aggregate: &Aggregate) -> Vec<Level<'_>> {
    let mut levels: BTreeMap<(usize, &str), Vec<(&str, Counts)>> = BTreeMap::new();
    for (context, counts) in &aggregate.contexts {
        for (level, counts) in counts {
            let rank = LEVELS.iter().position(|known| known == level).unwrap_or(LEVELS.len());
            levels.entry((rank, level)).or_default().push((context, *counts));
        }
    }
    let longest = levels.values().flatten().map(|(_, counts)| counts.total()).max().unwrap_or(0);
    let level = |((_, name), counts)| {
        let mut rows = rows(counts);
        draw(&mut rows, longest);
        Level { name, total: rows.iter().map(|row: &CountRow<'_>| row.counts.total()).sum(), rows }
    };
    levels.into_iter().map(level).collect()
}

fn tally_rows(mut tallies: Vec<(String, String, Tally)>, total: u64) -> Tallies {
    tallies.sort_by_key(|(.., tally)| std::cmp::Reverse(tally.count));
    let longest = tallies.first().map_or(0, |(.., tally)| tally.count);
    let row = |(meaning, word, tally): (String, String, Tally)| TallyRow {
        meaning,
        word,
        count: number(tally.count),
        share: percent(tally.count, total),
        width: percent_of(tally.count, longest),
        when: span(tally.first, tally.last),
    };
    Tallies { more: tallies.len().saturating_sub(ROWS), rows: tallies.into_iter().take(ROWS).map(row).collect() }
}

/// Refusals by reason.
pub(super) fn denials(aggregate: &Aggregate) -> Tallies {
    let tallies = aggregate.denials.iter().map(|(denial, tally)| {
        (words::denial(denial).to_owned(), format!("{} · {}", denial.by, denial.reason), *tally)
    });
    tally_rows(tallies.collect(), aggregate.denials.values().map(|tally| tally.count).sum())
}

/// Calls between services that were refused: they are no requests of their own.
pub(super) fn refused_calls(aggregate: &Aggregate) -> u64 {
    let refusals: u64 = aggregate.denials.values().map(|tally| tally.count).sum();
    refusals.saturating_sub(aggregate.total.refused)
}

/// What enforcement would have refused, where a policy is in shadow.
pub(super) fn would_refuse(aggregate: &Aggregate) -> Tallies {
    let tallies = aggregate.would_refuse.iter().map(|(it, tally)| {
        let denial = Denial { by: "careplane".to_owned(), reason: it.reason.clone() };
        let peer = if it.peer.is_empty() { "a caller without a certificate" } else { &it.peer };
        let word = format!("{} · {} · {} · from {peer}", it.reason, it.context, it.message);
        (words::denial(&denial).to_owned(), word, *tally)
    });
    tally_rows(tallies.collect(), aggregate.total.total())
}

/// Failures by what happened, with the contexts in which it did.
pub(super) fn failures(aggregate: &Aggregate) -> Tallies {
    let mut kinds: BTreeMap<_, (Tally, BTreeMap<&str, u64>)> = BTreeMap::new();
    for (failure, tally) in &aggregate.failures {
        let (all, contexts) = kinds
            .entry((failure.status, failure.flags.as_str(), failure.by.as_str()))
            .or_insert((Tally::starting(tally.first), BTreeMap::new()));
        all.absorb(*tally);
        *contexts.entry(&failure.context).or_default() += tally.count;
    }
    let tallies = kinds.into_iter().map(|((status, flags, by), (tally, contexts))| {
        let mut contexts: Vec<_> = contexts.into_iter().collect();
        contexts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let contexts: Vec<_> = contexts.into_iter().map(|(name, count)| format!("{name} {}", number(count))).collect();
        let shown = status.map_or_else(|| "no status".to_owned(), |status| format!("status {status}"));
        let word = [shown.as_str(), flags].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        (words::failure(status, flags, by).to_owned(), format!("{word} · {}", contexts.join(", ")), tally)
    });
    tally_rows(tallies.collect(), aggregate.total.failed)
}

// === impl Attempts ===

impl<'a> Attempts<'a> {
    pub(super) fn of(aggregate: &'a Aggregate) -> Self {
        let mut rows: Vec<_> = aggregate.attempts.iter().collect();
        // A person has to review what was let through.
        rows.sort_by_key(|(_, crossing)| std::cmp::Reverse((crossing.passed, crossing.refused)));
        Self {
            refused: rows.iter().map(|(_, crossing)| crossing.refused).sum(),
            passed: rows.iter().map(|(_, crossing)| crossing.passed).sum(),
            more: rows.len().saturating_sub(ROWS),
            rows: rows.into_iter().take(ROWS).collect(),
        }
    }
}

// === impl People ===

impl<'a> People<'a> {
    pub(super) fn of(aggregate: &'a Aggregate) -> Self {
        const SPREAD: [(&str, usize); 7] = [
            ("none", 0),
            ("1", 1),
            ("2 to 5", 5),
            ("6 to 10", 10),
            ("11 to 20", 20),
            ("21 to 50", 50),
            ("more than 50", usize::MAX),
        ];
        let mut people: Vec<_> = aggregate.people.iter().collect();
        people.sort_by_key(|(_, person)| std::cmp::Reverse((person.subjects.len(), person.counts.total())));
        let subjects: BTreeSet<&str> =
            people.iter().flat_map(|(_, person)| &person.subjects).map(String::as_str).collect();
        let mut spread = [0; SPREAD.len()];
        for (_, person) in &people {
            let range = SPREAD.iter().position(|(_, most)| person.subjects.len() <= *most).unwrap_or_default();
            spread[range] += 1;
        }
        let longest = spread.iter().copied().max().unwrap_or(0);
        let row = |(user, person): (&'a String, &'a Person)| {
            let tenants: Vec<_> = person.tenants.iter().map(String::as_str).collect();
            let requests = number(person.counts.total());
            (user.as_str(), tenants.join(", "), requests, as_u64(person.subjects.len()))
        };
        Self {
            users: as_u64(people.len()),
            subjects: as_u64(subjects.len()),
            // Of an even number of users, the lower of the two in the middle: a number of people, not half of one.
            median: people.get(people.len() / 2).map_or(0, |(_, person)| as_u64(person.subjects.len())),
            more: people.len().saturating_sub(ROWS),
            rows: people.into_iter().take(ROWS).map(row).collect(),
            spread: SPREAD
                .iter()
                .zip(spread)
                .map(|((range, _), users)| (*range, number(users), percent_of(users, longest)))
                .collect(),
            without_user: aggregate.without_user,
            capped: aggregate.beyond.pairs > 0,
        }
    }
}

// === impl Delivery ===

impl Delivery {
    pub(super) fn of(aggregate: &Aggregate) -> Self {
        let chains = &aggregate.verification.chains;
        let sinks = || chains.iter().flat_map(|chain| &chain.sinks);
        let row = |sink: Sink| {
            let of_it = || sinks().filter(|it| it.sink == sink);
            let [all, alone]: [u64; 2] = [of_it().map(|it| it.records).sum(), of_it().map(|it| it.alone).sum()];
            (all > 0).then(|| (words::sink(sink), number(all), number(alone)))
        };
        Self {
            records: chains.iter().map(|chain| chain.valid).sum(),
            repeated: sinks().map(|it| it.repeated).sum(),
            sinks: [Sink::Collector, Sink::AccessLog, Sink::ProxyLog].into_iter().filter_map(row).collect(),
            ledger: aggregate.ledger.as_ref().map(DeliverySection::of),
        }
    }
}

impl DeliverySection {
    fn of(counters: &DeliveryCounters) -> Self {
        let missing = counters.unaccounted();
        Self {
            rows: vec![
                ("Made", number(counters.records)),
                ("Taken by the collector", number(counters.acknowledged)),
                ("Written to a proxy’s own log instead", number(counters.overflow)),
                ("Refused by the collector", number(counters.rejected)),
                ("Still on the way", number(counters.queued)),
                ("Lost", number(counters.lost)),
            ],
            adds_up: missing == 0 && counters.lost == 0,
            sentence: match missing {
                0 => format!(
                    "{} made = {} taken + {} in a proxy’s log + {} refused + {} on the way + {} lost",
                    number(counters.records),
                    number(counters.acknowledged),
                    number(counters.overflow),
                    number(counters.rejected),
                    number(counters.queued),
                    number(counters.lost)
                ),
                1.. => format!("Of {missing} records no account is given."),
                _ => format!("{} more records are accounted for than were made.", missing.unsigned_abs()),
            },
        }
    }
}

// === impl Chains ===

impl<'a> Chains<'a> {
    pub(super) fn of(account: &Account<'a>) -> Self {
        let summary = account.verdicts.iter().map(|(verdict, count)| {
            format!("{}: {}", counted(*count, "chain"), words::verdict(*verdict).to_lowercase())
        });
        Self {
            summary: summary.collect(),
            unkeyed: account.unkeyed,
            more: account.chains.len().saturating_sub(ROWS),
            rows: account.chains.iter().take(ROWS).map(|chain| ChainRow::of(chain)).collect(),
        }
    }
}

impl<'a> ChainRow<'a> {
    fn of(chain: &'a ChainReport) -> Self {
        let when = chain.since.zip(chain.until).map(|(since, until)| span(since.into(), until.into()));
        Self {
            id: &chain.id,
            proxy: chain.proxy.as_deref().unwrap_or("not named"),
            class: match chain.verdict {
                Verdict::Complete | Verdict::Open => "good",
                Verdict::Broken => "bad",
                Verdict::Cut | Verdict::Unverified => "doubtful",
            },
            verdict: words::verdict(chain.verdict),
            records: number(chain.records),
            when: when.unwrap_or_default(),
            note: note(chain),
        }
    }
}

fn note(chain: &ChainReport) -> String {
    let found = [(chain.missing, "missing"), (chain.edited, "changed"), (chain.unverified, "not checked")];
    let found = found.into_iter().filter(|(count, _)| *count > 0);
    found.map(|(count, what)| format!("{} {what}", counted(count, "record"))).collect::<Vec<_>>().join(", ")
}

// === impl Hops ===

/// What the records of requests are, and where they are from.
pub(super) struct Hops {
    /// What, and how many; those that there are.
    pub kinds: Vec<(&'static str, String)>,
    /// Attempts beyond the first.
    pub repeats: u64,
    /// The placement, the requests that it saw first, and its records.
    pub placements: Vec<(&'static str, String, String)>,
    /// Records that do not say where their proxy stands.
    pub unplaced: u64,
    pub total: u64,
}

impl Hops {
    pub(super) fn of(aggregate: &Aggregate) -> Self {
        let kinds = aggregate.kinds;
        let rows = [
            ("Requests: what people and programs asked for", kinds.acts),
            ("The same requests, seen again further in", kinds.hops),
            ("The same requests, sent on after a redirect inside the platform", kinds.passes),
            ("Calls between services that these requests caused", kinds.calls),
            ("Mirrored copies, whose answers no caller gets", kinds.copies),
            ("Preflights: a browser’s question before a request; no use of data", kinds.preflights),
        ];
        let placements = aggregate.placements.iter();
        Self {
            kinds: rows
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|(kind, count)| (kind, number(count)))
                .collect(),
            repeats: aggregate.repeats,
            unplaced: aggregate.placements.get(&Placement::Unknown).map_or(0, |placement| placement.records),
            placements: placements
                .map(|(placement, it)| (words::placement(*placement), number(it.acts), number(it.records)))
                .collect(),
            total: kinds.total(),
        }
    }
}
