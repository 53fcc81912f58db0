//! From records to figures: one reading, in which each record is held against its hash before it counts.

use std::fmt;
use std::io;

use jiff::Timestamp;
use uuid::Uuid;

use super::aggregate::{AddError, Aggregate};
use super::intents::{Mark, MarkKind, Unfinished};
use super::scope::{Scope, Standing};
use crate::acts::{Fact, Names, fold, request_key};
use crate::sort::Sorter;
use crate::source::Source;
use crate::verify::{Clock, Found, Keyring, Settings, Shard, State, Time, Unreadable, Verifier};
use crate::{Kind, Record};

/// Facts that are kept in memory before they are sorted into a file: about 40 MB.
const FACTS_IN_MEMORY: usize = 1 << 18;

/// How to make a report.
#[derive(Debug, Clone)]
pub struct Making {
    /// What it is about.
    pub scope: Scope,
    /// When it is made.
    pub made: Timestamp,
    /// The keys of keyed chains.
    pub keys: Keyring,
    /// The part of chains and requests; none for all.
    pub shard: Option<Shard>,
    /// Links and facts to keep in memory; a default unless given.
    pub in_memory: Option<usize>,
}

/// The figures while they are gathered.
struct Gathering {
    scope: Scope,
    shard: Option<Shard>,
    intents: Sorter<Mark>,
    names: Names,
    facts: Sorter<Fact>,
    /// Records that have their hash, and are none.
    unreadable: Vec<Unreadable>,
}

// === impl Making ===

impl Making {
    /// A report about `scope` as of now.
    #[must_use]
    pub fn new(scope: Scope, made: Timestamp) -> Self {
        Self { scope, made, keys: Keyring::default(), shard: None, in_memory: None }
    }

    /// Reads `sources`, verifies what they hold, and counts what verifies.
    ///
    /// # Errors
    /// When a source cannot be read, a record has a time that is none, or the temporary file cannot be written.
    pub fn make(self, sources: &[Source]) -> io::Result<Aggregate> {
        self.make_with(sources, |_| {})
    }

    /// As [`Self::make`]; calls `reading` with each source before it reads that.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub fn make_with(self, sources: &[Source], mut reading: impl FnMut(&Source)) -> io::Result<Aggregate> {
        let Self { scope, made, keys, shard, in_memory } = self;
        let clock = clock(&scope, made);
        let mut verifier =
            Verifier::new(Settings { keys, shard, clock, links_in_memory: in_memory, ..Settings::default() });
        let mut gathering = Gathering {
            scope: scope.clone(),
            shard,
            intents: Sorter::new(in_memory.unwrap_or(FACTS_IN_MEMORY)),
            names: Names::default(),
            facts: Sorter::new(in_memory.unwrap_or(FACTS_IN_MEMORY)),
            unreadable: Vec::new(),
        };
        let wants = |text: &[u8]| is_counted_in(shard, text);
        for source in sources {
            reading(source);
            verifier.read_with(source, &wants, |found| gathering.take(&found))?;
        }
        let Gathering { intents, names, facts, unreadable, .. } = gathering;
        let mut aggregate = Aggregate::new(scope, made, verifier.finish()?.with_unreadable(unreadable));
        aggregate.unfinished = Unfinished::of(intents)?;
        fold(facts.sorted()?, |act| aggregate.add(act, &names))?;
        Ok(aggregate)
    }
}

/// A chain has to be heard of until the period is over, or until now where it is not.
pub(crate) fn clock(scope: &Scope, made: Timestamp) -> Clock {
    match scope.to.filter(|to| *to < made) {
        Some(to) => Clock::Given(Time::from(to)),
        None => Clock::Wall(Time::from(made)),
    }
}

/// Whether the record of this text has a say in the figures of a shard: it holds its request, or its chain.
fn is_counted_in(shard: Option<Shard>, text: &[u8]) -> bool {
    shard.is_none_or(|shard| request_key(text).is_some_and(|key| shard.holds_request(key)) || shard.holds_text(text))
}

/// A record with what it says of itself, or why it is none.
pub(crate) fn read(text: &[u8]) -> Result<(Record<'_>, Uuid, Timestamp), String> {
    let wrong = |error: &dyn fmt::Display| format!("not a readable record: {error}");
    let record = Record::parse(text).map_err(|error| wrong(&error))?;
    let chain = Uuid::try_parse(&record.chain.id).map_err(|error| wrong(&error))?;
    let time = record.time.parse().map_err(|_| wrong(&AddError::Time(record.time.to_string())))?;
    Ok((record, chain, time))
}

// === impl Gathering ===

impl Gathering {
    fn take(&mut self, found: &Found<'_>) -> io::Result<()> {
        // What does not have its hash, or cannot be held against it, is in the verification and in no figure.
        if found.state != State::Valid {
            return Ok(());
        }
        let (record, chain, time) = match read(found.text) {
            Ok(read) => read,
            Err(why) => {
                if found.in_shard {
                    self.unreadable.push(Unreadable::at(found.location, why));
                }
                return Ok(());
            }
        };
        if found.in_shard
            && let Some((seq, kind)) = self.mark(&record, time)
        {
            self.intents.push(Mark { chain, seq, kind })?;
        }
        if record.kind == Kind::Request {
            let is_ours = match (self.shard, request_key(found.text)) {
                (None, _) => true,
                (Some(shard), Some(key)) => shard.holds_request(key),
                (Some(_), None) => found.in_shard,
            };
            if is_ours {
                self.facts.push(Fact::of(found.text, &record, chain, time, &mut self.names))?;
            }
        }
        Ok(())
    }

    /// What a record says of an intent within the scope: its number, and what.
    fn mark(&self, record: &Record<'_>, time: Timestamp) -> Option<(u64, MarkKind)> {
        match record.kind {
            Kind::Intent if self.scope.standing(record, time) == Standing::Within => {
                let kind = if record.is_emergency() { MarkKind::Emergency } else { MarkKind::Intent };
                Some((record.chain.seq, kind))
            }
            Kind::Request => Some((record.intent?, MarkKind::Answered)),
            Kind::Intent | Kind::Start | Kind::Head | Kind::End => None,
        }
    }
}
