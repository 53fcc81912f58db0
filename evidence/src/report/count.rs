//! Adding records to the figures, and figures to figures.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::aggregate::{AddError, Aggregate, Attempt, Beyond, Crossing, Denial, Failure, Outside, Person};
use super::chains::{Intent, Seen, Way};
use super::counts::{Counts, Ending, Merge, Tally};
use super::scope::Standing;
use crate::{Context, Kind, Record};

/// The rows that one table can have. A policy makes far fewer; a caller who tries one name after another could make any number.
const ROWS_MAX: usize = 10_000;
/// The pairs of a user and a subject that are told apart.
const PAIRS_MAX: usize = 1_000_000;
/// Seconds.
const HOUR: i64 = 3600;

impl Aggregate {
    /// Adds a record. One that was added before, by whatever way it came, changes no figure but those of the ways.
    ///
    /// # Errors
    /// When its time is none.
    pub fn add(&mut self, record: &Record<'_>, way: Way) -> Result<(), AddError> {
        let time: Timestamp = record.time.parse().map_err(|_| AddError::Time(record.time.clone().into_owned()))?;
        let standing = self.scope.standing(record, time);
        let seen = self.chains.entry(record.chain.id.clone().into_owned()).or_insert_with(|| Seen::starting(time));
        if !seen.note(record.chain.seq, time, way) {
            return Ok(());
        }
        match record.kind {
            Kind::Start | Kind::Head | Kind::End => {
                let proxy = record.proxy.as_ref().and_then(|proxy| proxy.id.as_deref()).map(str::to_owned);
                seen.proxy = seen.proxy.take().max(proxy);
            }
            Kind::Intent => seen.hold(record.chain.seq, Intent { time, within: standing == Standing::Within }),
            Kind::Request => {
                if let Some(intent) = record.intent {
                    seen.answer(intent);
                }
                match standing {
                    Standing::Within => {
                        seen.requests += 1;
                        self.count(record, time);
                    }
                    Standing::OtherTime => self.outside.other_time += 1,
                    Standing::Other => self.outside.other += 1,
                    Standing::Unattributed => self.outside.unattributed += 1,
                }
            }
        }
        Ok(())
    }

    /// Adds the figures of another part.
    ///
    /// # Errors
    /// When it is about something else, or a record would count twice. This is then as it was.
    pub fn merge(&mut self, other: Self) -> Result<(), AddError> {
        if self.scope != other.scope {
            return Err(AddError::Scope(Box::new((self.scope.clone(), other.scope))));
        }
        for (id, seen) in &other.chains {
            if let Some(number) = self.chains.get(id).and_then(|own| own.shared(seen)) {
                return Err(AddError::Shared { chain: id.clone(), number });
            }
        }
        if let Some(id) =
            other.verdicts.iter().find(|(id, line)| self.verdicts.get(*id).is_some_and(|own| own != *line))
        {
            return Err(AddError::Verdicts(id.0.clone()));
        }
        self.total.absorb(other.total);
        self.outside.absorb(other.outside);
        self.hours.absorb(other.hours);
        self.contexts.absorb(other.contexts);
        self.actions.absorb(other.actions);
        self.flags.absorb(other.flags);
        self.tenants.absorb(other.tenants);
        self.denials.absorb(other.denials);
        self.attempts.absorb(other.attempts);
        self.failures.absorb(other.failures);
        self.people.absorb(other.people);
        self.forged.absorb(other.forged);
        self.unreadable += other.unreadable;
        self.without_user += other.without_user;
        self.policies.absorb(other.policies);
        self.chains.absorb(other.chains);
        self.verdicts.extend(other.verdicts);
        self.ledger = match (self.ledger.take(), other.ledger) {
            (Some(mut own), Some(other)) => {
                own.absorb(other);
                Some(own)
            }
            (own, other) => own.or(other),
        };
        self.beyond.absorb(other.beyond);
        Ok(())
    }

    /// Counts a request that the report is about.
    fn count(&mut self, record: &Record<'_>, time: Timestamp) {
        let ending = Ending::of(record);
        self.total += ending;
        *self.hours.entry(hour(time)).or_default() += ending;
        let context = record.context.as_ref();
        let mut fits = context.is_none_or(|context| self.count_context(context, ending, time));

        let tenant = record.tenant.as_ref().and_then(|tenant| tenant.id.as_deref());
        if let Some(tenant) = tenant {
            fits &= change(&mut self.tenants, tenant.to_owned(), Counts::default, |counts| *counts += ending);
        }
        let context = context.map(|context| &*context.name).unwrap_or_default();
        match ending {
            Ending::Refused => fits &= self.count_denial(record, time),
            Ending::Failed => fits &= self.count_failure(record, context, time),
            Ending::Answered | Ending::Declined => {}
        }
        if let Some(other) = record.tenant.as_ref().and_then(|tenant| tenant.other.as_deref()) {
            let user = record.who.as_ref().and_then(|who| who.user.as_deref());
            let attempt = Attempt {
                tenant: tenant.unwrap_or_default().to_owned(),
                other: other.to_owned(),
                user: user.unwrap_or_default().to_owned(),
                context: context.to_owned(),
            };
            fits &= change(&mut self.attempts, attempt, || Crossing::starting(time), |it| it.add(ending, time));
        }
        for header in record.who.iter().flat_map(|who| &who.forged_headers) {
            fits &= change(&mut self.forged, header.to_string(), || 0, |count| *count += 1);
        }
        self.unreadable += u64::from(record.request.as_ref().is_some_and(|request| request.readable == Some(false)));
        self.beyond.rows += u64::from(!fits);
        self.count_person(record, ending);
    }

    fn count_context(&mut self, context: &Context<'_>, ending: Ending, time: Timestamp) -> bool {
        let level = context.compliance_level.to_string();
        let mut fits = change(&mut self.contexts, context.name.to_string(), BTreeMap::new, |levels| {
            *levels.entry(level).or_default() += ending;
        });
        fits &= change(&mut self.actions, context.action.to_string(), Counts::default, |counts| *counts += ending);
        let digest = context.policy.to_string();
        fits &= change(&mut self.policies, digest, || Tally::starting(time), |tally| tally.add(time));
        for flag in &context.flags {
            fits &= change(&mut self.flags, flag.to_string(), Counts::default, |counts| *counts += ending);
        }
        fits
    }

    fn count_denial(&mut self, record: &Record<'_>, time: Timestamp) -> bool {
        let decision = record.decision.as_ref();
        let by = decision.and_then(|decision| decision.by.as_deref()).unwrap_or_default().to_owned();
        let reason = decision.and_then(|decision| decision.reason.as_deref()).unwrap_or_default().to_owned();
        change(&mut self.denials, Denial { by, reason }, || Tally::starting(time), |tally| tally.add(time))
    }

    fn count_failure(&mut self, record: &Record<'_>, context: &str, time: Timestamp) -> bool {
        let outcome = record.outcome.as_ref();
        let failure = Failure {
            context: context.to_owned(),
            status: outcome.and_then(|outcome| outcome.status),
            flags: outcome.map(|outcome| outcome.flags.join(",")).unwrap_or_default(),
        };
        change(&mut self.failures, failure, || Tally::starting(time), |tally| tally.add(time))
    }

    fn count_person(&mut self, record: &Record<'_>, ending: Ending) {
        let Some(user) = record.who.as_ref().and_then(|who| who.user.as_deref()) else {
            self.without_user += 1;
            return;
        };
        let subject = record.context.as_ref().and_then(|context| context.subject.as_deref());
        let subject = subject.filter(|_| ending != Ending::Refused);
        let known = self.people.get(user);
        let is_new = known.is_none()
            || subject.is_some_and(|subject| known.is_some_and(|person| !person.subjects.contains(subject)));
        if is_new && self.pairs >= PAIRS_MAX {
            self.beyond.pairs += 1;
            if let Some(person) = self.people.get_mut(user) {
                person.counts += ending;
            }
            return;
        }
        self.pairs += usize::from(is_new);
        let person = self.people.entry(user.to_owned()).or_default();
        person.counts += ending;
        if let Some(tenant) = record.tenant.as_ref().and_then(|tenant| tenant.id.as_deref())
            && !person.tenants.contains(tenant)
        {
            person.tenants.insert(tenant.to_owned());
        }
        if let Some(subject) = subject
            && !person.subjects.contains(subject)
        {
            person.subjects.insert(subject.to_owned());
        }
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

// === impl Merge ===

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
        self.broken += other.broken;
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
