//! Adding acts to the figures, and figures to figures.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::aggregate::{
    Aggregate, Attempt, Beyond, Crossing, Denial, Failure, Outside, Person, PlacementCounts, Reach, Reached,
    WouldRefuse,
};
use super::scope::Standing;
use crate::acts::{
    ACTION, Act, CONTEXT, DENIAL, FLAGS, Fact, LEVEL, Names, OTHER, POLICY, REGULATOR, SUBJECT, TENANT, USER,
};
use crate::counts::{Counts, Ending, Merge, Tally};

/// The rows that one table can have. A policy makes far fewer; a caller who tries one name after another could make
/// any number.
const ROWS_MAX: usize = 10_000;
/// The pairs of a user and a subject that are counted separately.
const PAIRS_MAX: usize = 1_000_000;
/// Seconds.
const HOUR: i64 = 3600;

impl Aggregate {
    /// Adds an act.
    pub(super) fn add(&mut self, act: &Act, names: &Names) {
        let text = |which| names.text(act.fact.name(which));
        let time = time_of(&act.fact);
        let is_request = act.kinds.acts > 0;
        let standing = self.scope.standing_of(time, text(TENANT), text(REGULATOR));
        match standing {
            Standing::Within => {}
            Standing::OtherTime => self.outside.other_time += act.kinds.acts,
            Standing::Other => self.outside.other += act.kinds.acts,
            Standing::Unattributed => self.outside.unattributed += act.kinds.acts,
        }
        let counts = is_request && standing == Standing::Within;
        if standing == Standing::Within {
            self.kinds.absorb(act.kinds);
            for member in &act.members {
                self.placements.entry(member.placement).or_default().records += 1;
            }
        }
        let mut fits = true;
        if counts {
            self.placements.entry(act.fact.placement).or_default().acts += 1;
            self.repeats += act.repeats;
            fits &= self.count(act, names, time);
        }
        let outermost = counts.then_some(Fact { ending: act.ending, ..act.fact });
        fits &= self.count_beyond(act, outermost, names);
        self.beyond.rows += u64::from(!fits);
    }

    /// Counts a request that the report is about. Whether there was room for it.
    fn count(&mut self, act: &Act, names: &Names, time: Timestamp) -> bool {
        let ending = act.ending;
        let owned = |which| names.text(act.fact.name(which)).map(str::to_owned);
        self.total += ending;
        *self.hours.entry(hour(time)).or_default() += ending;
        let context = owned(CONTEXT);
        let mut fits = context.as_ref().is_none_or(|_| self.count_context(act, names, time));
        if let Some(tenant) = owned(TENANT) {
            fits &= change(&mut self.tenants, tenant, Counts::default, |counts| *counts += ending);
        }
        let context = context.unwrap_or_default();
        match ending {
            Ending::Refused => fits &= self.count_denial(names.text(act.denial), time),
            Ending::Failed => fits &= self.count_failure(names.text(act.failure), &context, time),
            Ending::Answered | Ending::Declined => {}
        }
        for (refused, context, message) in &act.would_refuse {
            let text = |name| names.text(name).unwrap_or_default().to_owned();
            let refused = text(*refused);
            let (reason, peer) = refused.split_once('\n').unwrap_or_default();
            let (reason, peer) = (reason.to_owned(), peer.to_owned());
            let refused = WouldRefuse { reason, peer, context: text(*context), message: text(*message) };
            fits &= change(&mut self.would_refuse, refused, || Tally::starting(time), |tally| tally.add(time));
        }
        let mut headers: Vec<&str> =
            act.forged.iter().filter_map(|name| names.text(*name)).flat_map(str::lines).collect();
        headers.sort_unstable();
        headers.dedup();
        for header in headers {
            fits &= change(&mut self.forged, header.to_owned(), || 0, |count| *count += 1);
        }
        self.unreadable += u64::from(act.fact.is_unreadable);
        self.count_people(act, names);
        fits
    }

    fn count_context(&mut self, act: &Act, names: &Names, time: Timestamp) -> bool {
        let owned = |which| names.text(act.fact.name(which)).unwrap_or_default().to_owned();
        let ending = act.ending;
        let level = owned(LEVEL);
        let mut fits = change(&mut self.contexts, owned(CONTEXT), BTreeMap::new, |levels| {
            *levels.entry(level).or_default() += ending;
        });
        fits &= change(&mut self.actions, owned(ACTION), Counts::default, |counts| *counts += ending);
        fits &= change(&mut self.policies, owned(POLICY), || Tally::starting(time), |tally| tally.add(time));
        for flag in names.text(act.fact.name(FLAGS)).iter().flat_map(|flags| flags.lines()) {
            fits &= change(&mut self.flags, flag.to_owned(), Counts::default, |counts| *counts += ending);
        }
        fits
    }

    /// Counts what was done and tried beyond the tenants of the caller, also by calls between services: each of them
    /// can be for another tenant, another person and another purpose than the request that caused it. A call has hops
    /// of its own, so that what is the same counts once in a request. Whether there was room for it.
    fn count_beyond(&mut self, act: &Act, outermost: Option<Fact>, names: &Names) -> bool {
        let mut reaches: BTreeMap<Reach, Reached> = BTreeMap::new();
        let mut attempts: BTreeMap<Attempt, Crossing> = BTreeMap::new();
        let mut fits = true;
        for (fact, is_call) in outermost.iter().map(|it| (it, false)).chain(act.calls.iter().map(|it| (it, true))) {
            let text = |which| names.text(fact.name(which));
            let owned = |which| text(which).unwrap_or_default().to_owned();
            let (time, is_refused) = (time_of(fact), fact.ending == Ending::Refused);
            if is_call && self.scope.standing_of(time, text(TENANT), text(REGULATOR)) != Standing::Within {
                continue;
            }
            if is_call && is_refused {
                fits &= self.count_denial(names.text(fact.name(DENIAL)), time);
            }
            let grants = if is_call { fact.grant().into_iter().collect() } else { act.grants.clone() };
            for (grant, purpose) in &grants {
                // Of a refused one, the tenant can be the caller's own, and the other the one that was reached for.
                let tenant = text(OTHER).or(text(TENANT)).unwrap_or_default().to_owned();
                let [grant, purpose] = [*grant, *purpose].map(|name| names.text(name).unwrap_or_default().to_owned());
                let reach = Reach { grant, purpose, user: owned(USER), tenant, subject: owned(SUBJECT) };
                reaches.entry(reach).or_insert_with(|| Reached::starting(time)).add(fact, names);
            }
            // What a grant allows is beyond the caller's own tenants, and no attempt to get there.
            if let Some(other) = text(OTHER).filter(|_| grants.is_empty() || is_refused) {
                let (tenant, user, context) = (owned(TENANT), owned(USER), owned(CONTEXT));
                let attempt = Attempt { tenant, other: other.to_owned(), user, context };
                let crossing = attempts.entry(attempt).or_insert_with(|| Crossing::of(fact.ending, time));
                if is_refused {
                    *crossing = Crossing::of(fact.ending, crossing.first);
                }
            }
        }
        for (reach, reached) in reaches {
            let first = reached.first;
            fits &= change(&mut self.reaches, reach, || Reached::starting(first), |it| it.absorb(reached));
        }
        for (attempt, crossing) in attempts {
            let none = || Crossing { refused: 0, passed: 0, ..crossing };
            fits &= change(&mut self.attempts, attempt, none, |it| it.absorb(crossing));
        }
        fits
    }

    fn count_denial(&mut self, denial: Option<&str>, time: Timestamp) -> bool {
        let (by, reason) = denial.unwrap_or_default().split_once('\n').unwrap_or_default();
        let denial = Denial { by: by.to_owned(), reason: reason.to_owned() };
        change(&mut self.denials, denial, || Tally::starting(time), |tally| tally.add(time))
    }

    fn count_failure(&mut self, failure: Option<&str>, context: &str, time: Timestamp) -> bool {
        let mut parts = failure.unwrap_or_default().split('\n');
        let mut next = || parts.next().unwrap_or_default();
        let failure = Failure {
            status: next().parse().ok(),
            flags: next().to_owned(),
            by: next().to_owned(),
            context: context.to_owned(),
        };
        change(&mut self.failures, failure, || Tally::starting(time), |tally| tally.add(time))
    }

    fn count_people(&mut self, act: &Act, names: &Names) {
        let ending = act.ending;
        match names.text(act.fact.name(USER)) {
            None => self.without_user += 1,
            Some(user) => {
                if let Some(person) = self.person(user) {
                    person.counts += ending;
                    if let Some(tenant) = names.text(act.fact.name(TENANT))
                        && !person.tenants.contains(tenant)
                    {
                        person.tenants.insert(tenant.to_owned());
                    }
                }
            }
        }
        for (user, subject) in &act.pairs {
            let (Some(user), Some(subject)) = (names.text(*user), names.text(*subject)) else { continue };
            if self.people.get(user).is_some_and(|person| person.subjects.contains(subject)) {
                continue;
            }
            if self.pairs >= PAIRS_MAX {
                self.beyond.pairs += 1;
            } else if let Some(person) = self.person(user) {
                person.subjects.insert(subject.to_owned());
                self.pairs += 1;
            }
        }
    }

    /// The row of a user; none when there is no room for another one.
    fn person(&mut self, user: &str) -> Option<&mut Person> {
        if !self.people.contains_key(user) {
            if self.people.len() >= PAIRS_MAX {
                self.beyond.pairs += 1;
                return None;
            }
            self.people.insert(user.to_owned(), Person::default());
        }
        self.people.get_mut(user)
    }
}

/// Changes the row of `key`, which is made when it is not there. Whether there is room for it.
fn change<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, make: impl FnOnce() -> V, change: impl FnOnce(&mut V)) -> bool {
    if map.len() >= ROWS_MAX && !map.contains_key(&key) {
        return false;
    }
    change(map.entry(key).or_insert_with(make));
    true
}

/// When a request came in.
fn time_of(fact: &Fact) -> Timestamp {
    Timestamp::from_microsecond(fact.time).unwrap_or_default()
}

/// The hour that `time` is in.
fn hour(time: Timestamp) -> Timestamp {
    let begun = time.as_second().div_euclid(HOUR) * HOUR;
    // Only the first hour of all could begin before what a timestamp can say.
    Timestamp::from_second(begun).unwrap_or(Timestamp::MIN)
}

// === impl Crossing ===

impl Crossing {
    /// One that ended so.
    fn of(ending: Ending, time: Timestamp) -> Self {
        let refused = u64::from(ending == Ending::Refused);
        Self { refused, passed: 1 - refused, first: time, last: time }
    }
}

// === impl Reached ===

impl Reached {
    fn starting(time: Timestamp) -> Self {
        Self { counts: Counts::default(), contexts: BTreeSet::new(), actions: BTreeSet::new(), first: time, last: time }
    }

    /// Adds a part of one request: the request counts once, and as refused where a part was.
    fn add(&mut self, part: &Fact, names: &Names) {
        let owned = |which| names.text(part.name(which)).unwrap_or_default().to_owned();
        if self.counts.total() == 0 || part.ending == Ending::Refused {
            self.counts = Counts::default();
            self.counts += part.ending;
        }
        self.contexts.insert(owned(CONTEXT));
        self.actions.insert(owned(ACTION));
    }
}

// === impl Merge ===

impl Merge for Reached {
    fn absorb(&mut self, other: Self) {
        self.counts.absorb(other.counts);
        self.contexts.absorb(other.contexts);
        self.actions.absorb(other.actions);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

impl Merge for Crossing {
    fn absorb(&mut self, other: Self) {
        self.refused += other.refused;
        self.passed += other.passed;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

impl Merge for Outside {
    fn absorb(&mut self, other: Self) {
        self.other_time += other.other_time;
        self.other += other.other;
        self.unattributed += other.unattributed;
    }
}

impl Merge for PlacementCounts {
    fn absorb(&mut self, other: Self) {
        self.acts += other.acts;
        self.records += other.records;
    }
}

impl Merge for Beyond {
    fn absorb(&mut self, other: Self) {
        self.rows += other.rows;
        self.pairs += other.pairs;
    }
}

impl Merge for Person {
    fn absorb(&mut self, other: Self) {
        self.counts.absorb(other.counts);
        self.tenants.absorb(other.tenants);
        self.subjects.absorb(other.subjects);
    }
}
