//! Adding acts to the figures, and figures to figures.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::aggregate::{
    Aggregate, Attempt, Beyond, Crossing, Denial, Failure, Outside, Person, PlacementCounts, Reach, Reached,
    WouldRefuse,
};
use super::scope::Standing;
use crate::acts::{
    ACTION, Act, CONTEXT, FLAGS, GRANT, LEVEL, Names, OTHER, POLICY, PURPOSE, REGULATOR, SUBJECT, TENANT, USER,
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
        let time = Timestamp::from_microsecond(act.fact.time).unwrap_or_default();
        let text = |which| names.text(act.fact.name(which));
        let is_request = act.kinds.acts > 0;
        match self.scope.standing_of(time, text(TENANT), text(REGULATOR)) {
            Standing::Within => {}
            standing => {
                match standing {
                    Standing::OtherTime => self.outside.other_time += act.kinds.acts,
                    Standing::Other => self.outside.other += act.kinds.acts,
                    _ => self.outside.unattributed += act.kinds.acts,
                }
                return;
            }
        }
        self.kinds.absorb(act.kinds);
        for member in &act.members {
            self.placements.entry(member.placement).or_default().records += 1;
        }
        if is_request {
            self.placements.entry(act.fact.placement).or_default().acts += 1;
            self.repeats += act.repeats;
            self.count(act, names, time);
        }
    }

    /// Counts a request that the report is about.
    fn count(&mut self, act: &Act, names: &Names, time: Timestamp) {
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
        if let Some(grant) = owned(GRANT) {
            fits &= self.count_reach(grant, act, names, time);
        }
        // What a grant allows is beyond the caller's own tenants, and no attempt to get there.
        if let Some(other) = owned(OTHER).filter(|_| owned(GRANT).is_none() || ending == Ending::Refused) {
            let (tenant, user) = (owned(TENANT).unwrap_or_default(), owned(USER).unwrap_or_default());
            let attempt = Attempt { tenant, other, user, context };
            fits &= change(&mut self.attempts, attempt, || Crossing::starting(time), |it| it.add(ending, time));
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
        self.beyond.rows += u64::from(!fits);
        self.count_people(act, names);
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

    fn count_reach(&mut self, grant: String, act: &Act, names: &Names, time: Timestamp) -> bool {
        let owned = |which| names.text(act.fact.name(which)).unwrap_or_default().to_owned();
        // Of a refused one, the tenant can be the caller's own, and the other the one that was reached for.
        let tenant = if act.fact.name(OTHER).is_some() { owned(OTHER) } else { owned(TENANT) };
        let reach = Reach { grant, purpose: owned(PURPOSE), user: owned(USER), tenant, subject: owned(SUBJECT) };
        change(
            &mut self.reaches,
            reach,
            || Reached::starting(time),
            |reached| {
                let [contexts, actions] = [owned(CONTEXT), owned(ACTION)].map(|it| BTreeSet::from([it]));
                let mut counts = Counts::default();
                counts += act.ending;
                reached.absorb(Reached { counts, contexts, actions, first: time, last: time });
            },
        )
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

/// The hour that `time` is in.
fn hour(time: Timestamp) -> Timestamp {
    let begun = time.as_second().div_euclid(HOUR) * HOUR;
    // Only the first hour of all could begin before what a timestamp can say.
    Timestamp::from_second(begun).unwrap_or(Timestamp::MIN)
}

// === impl Crossing ===

impl Crossing {
    fn starting(time: Timestamp) -> Self {
        Self { refused: 0, passed: 0, first: time, last: time }
    }

    fn add(&mut self, ending: Ending, time: Timestamp) {
        let refused = u64::from(ending == Ending::Refused);
        self.absorb(Self { refused, passed: 1 - refused, ..Self::starting(time) });
    }
}

// === impl Reached ===

impl Reached {
    fn starting(time: Timestamp) -> Self {
        Self { counts: Counts::default(), contexts: BTreeSet::new(), actions: BTreeSet::new(), first: time, last: time }
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
