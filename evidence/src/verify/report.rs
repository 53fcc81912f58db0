//! The result of a verification: stable, and made to be merged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::finding::{Finding, Location};
use super::shard::Shard;
use super::time::Time;
use crate::source::{self, Sink};

/// How many faults of a chain are listed, how many records out of order, and how many unreadable records. All are
/// counted.
pub(super) const FINDINGS_MAX: usize = 100;
/// A live chain says something every minute; after three it is silent.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(180);

/// What records prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Its version.
    pub schema: Schema,
    /// The part of the chains that this is about, as `0/4`; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// The time at which chains without an end are judged; none when no record has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Time>,
    /// Where that time is from.
    pub clock: ClockKind,
    /// The ids of the keys that were given.
    pub keys: Vec<String>,
    /// What was read.
    pub input: Input,
    /// How many records could not be read.
    pub unreadable_count: u64,
    /// The first of them.
    pub unreadable: Vec<Unreadable>,
    /// The chains, in the order of their ids.
    pub chains: Vec<ChainReport>,
}

/// The version of a [`Verification`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Schema {
    /// The one there is.
    #[serde(rename = "careplane.verification/v1")]
    V1,
}

/// When chains that have no end are judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Clock {
    /// At the newest time in any record: for archives of old. An archive that was cut at one instant does not show.
    #[default]
    NewestRecord,
    /// At the time of the machine that verifies.
    Wall(Time),
    /// At a time that was given.
    Given(Time),
}

/// Where the time of a [`Verification`] is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ClockKind {
    /// The newest record.
    NewestRecord,
    /// The machine that verified.
    Wall,
    /// It was given.
    Given,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// The names of the sources, in the order of reading.
    pub sources: Vec<String>,
    /// All lines.
    pub lines: u64,
    /// Lines that had nothing of a record in them.
    pub skipped: u64,
    /// Whether a shard read the files of its part alone, of an archive that is partitioned by proxy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partitioned: bool,
}

/// A record that could not be read. It is missing in its chain, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unreadable {
    /// Where.
    pub place: Location,
    /// Why.
    pub why: String,
}

/// One chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChainReport {
    /// Its id.
    pub id: String,
    /// What is to be thought of it.
    pub verdict: Verdict,
    /// What is known of its end.
    pub tail: Tail,
    /// The node id of its proxy, where records of the chain itself say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// The ids of its keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// The lowest number that is there.
    pub first: u64,
    /// The highest.
    pub last: u64,
    /// How many different numbers are there.
    pub records: u64,
    /// How many of these have a record that has its hash.
    #[serde(default)]
    pub valid: u64,
    /// Where these are from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<SinkReport>,
    /// How many copies there are beyond them.
    pub duplicates: u64,
    /// How many numbers are missing between 1 and `last`.
    pub missing: u64,
    /// How many records were changed.
    pub edited: u64,
    /// How many stand before one that they come after.
    pub reordered: u64,
    /// How many have no key.
    pub unkeyed: u64,
    /// How many have a key that was not given.
    pub unverified: u64,
    /// Whether its last record is an `end`.
    pub ended: bool,
    /// Whether it has records of the chain itself: `start`, `head`, `end`.
    #[serde(rename = "milestones")]
    pub checkpoints: bool,
    /// The earliest time in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When it was last heard of; where it never says how far it has come, the latest time in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// How many findings there are because of which it does not hold.
    pub faults: u64,
    /// The first of those, and the first that are only notes, in the order of numbers.
    pub findings: Vec<Finding>,
}

/// The records of a chain that are from one sink, of those that have their hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SinkReport {
    /// The sink.
    pub sink: Sink,
    /// How many different numbers.
    pub records: u64,
    /// How many of these are from no other sink.
    pub alone: u64,
    /// How many copies there are beyond.
    pub repeated: u64,
}

/// What is to be thought of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// From 1 to its end, nothing missing or changed.
    Complete,
    /// Nothing missing or changed as far as it goes; it has no end yet, or none can be told.
    Open,
    /// It stopped without an end: what came last can be missing.
    Cut,
    /// Nothing missing, but its key was not given, so a change would not show.
    Unverified,
    /// Something is missing or was changed.
    Broken,
}

/// What is known of the end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Tail {
    /// It ended in good order.
    Ended,
    /// It was heard of in the three minutes before the time at which it is judged.
    Live,
    /// It was not.
    Silent,
    /// It never says how far it has come: there are no `start`, `head`, `end`.
    Unknown,
}

/// What has to hold beyond what always has to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Demands {
    /// Every chain has ended.
    pub closed: bool,
    /// Every source has its records in order.
    pub ordered: bool,
    /// Every record is keyed.
    pub keyed: bool,
}

/// Why reports cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeError(String);

/// Records that cannot be read, counted, and the first of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    count: u64,
    first: Vec<Unreadable>,
}

// === impl Unreadable ===

impl Unreadable {
    pub(crate) fn at(location: source::Location<'_>, why: String) -> Self {
        let source::Location { source, line, record } = location;
        Self { place: Location::new(source, line, record), why }
    }
}

// === impl Tally ===

impl Tally {
    pub(super) fn unreadable(&mut self, place: Location, why: &str) {
        self.count += 1;
        if self.first.len() < FINDINGS_MAX {
            self.first.push(Unreadable { place, why: why.to_owned() });
        }
    }
}

// === impl Verification ===

impl Verification {
    pub(super) fn new(
        input: Input,
        tally: Tally,
        chains: Vec<ChainReport>,
        keys: Vec<String>,
        shard: Option<String>,
        clock: Clock,
    ) -> Self {
        let (as_of, clock) = match clock {
            Clock::NewestRecord => (None, ClockKind::NewestRecord),
            Clock::Wall(time) => (Some(time), ClockKind::Wall),
            Clock::Given(time) => (Some(time), ClockKind::Given),
        };
        Self {
            schema: Schema::V1,
            shard,
            as_of,
            clock,
            keys,
            input,
            unreadable_count: tally.count,
            unreadable: tally.first,
            chains,
        }
        .judged()
    }

    /// The reports of all shards as one: what one run over all chains would have said.
    ///
    /// # Errors
    /// When they are not all the shards of one run: of other input, other keys, another time, or one is missing or
    /// there twice.
    pub fn merge(reports: impl IntoIterator<Item = Self>) -> Result<Self, MergeError> {
        let mut shards = BTreeSet::new();
        let mut merged: Option<Self> = None;
        for mut report in reports {
            let shard =
                report.shard.take().ok_or_else(|| MergeError("a report is of all chains, not of a shard".into()))?;
            let shard: Shard = shard.parse().map_err(|why| MergeError(format!("shard {shard:?}: {why}")))?;
            if !shards.insert((shard.count, shard.index)) {
                return Err(MergeError(format!("shard {shard} is there twice")));
            }
            match &mut merged {
                None => merged = Some(report),
                Some(merged) => merged.absorb(report, shard)?,
            }
        }
        let merged = merged.ok_or_else(MergeError::nothing)?;
        let count = shards.first().map_or(0, |(count, _)| *count);
        if let Some(missing) = (0..count).find(|index| !shards.contains(&(count, *index))) {
            return Err(MergeError(format!("shard {missing}/{count} is missing")));
        }
        if shards.len() as u64 != count {
            return Err(MergeError("the reports are of different numbers of shards".into()));
        }
        let mut merged = merged;
        // Together the parts have read everything.
        merged.input.partitioned = false;
        Ok(merged.judged())
    }

    fn absorb(&mut self, other: Self, shard: Shard) -> Result<(), MergeError> {
        let differ = |what| Err(MergeError(format!("shard {shard} {what} than the one before it")));
        if self.input.partitioned && other.input.partitioned && self.input.sources == other.input.sources {
            self.input.lines += other.input.lines;
            self.input.skipped += other.input.skipped;
            let ids: BTreeSet<&str> = self.chains.iter().map(|chain| chain.id.as_str()).collect();
            if let Some(chain) = other.chains.iter().find(|chain| ids.contains(chain.id.as_str())) {
                return Err(MergeError(format!(
                    "chain {} is in two parts: the archive is not partitioned by proxy; verify it without \
                     --partitioned",
                    chain.id
                )));
            }
        } else if self.input != other.input {
            return differ("read something else, or more of it,");
        }
        if self.keys != other.keys {
            return differ("was given other keys");
        }
        (self.clock, self.as_of) = match (self.clock, other.clock) {
            (ClockKind::Given, ClockKind::Given) if self.as_of != other.as_of => {
                return differ("was given another time");
            }
            // The period of a report was over when the later part was made.
            (ClockKind::Wall, ClockKind::Given) if self.as_of <= other.as_of => (other.clock, other.as_of),
            (ClockKind::Given, ClockKind::Wall) if other.as_of <= self.as_of => (self.clock, self.as_of),
            (one, another) if one != another => return differ("was given another time"),
            _ => (self.clock, self.as_of.max(other.as_of)),
        };
        self.unreadable_count += other.unreadable_count;
        self.unreadable.extend(other.unreadable);
        self.chains.extend(other.chains);
        Ok(())
    }

    /// Brings everything into order, and judges the chains at the time that is now known.
    fn judged(mut self) -> Self {
        let sources: BTreeMap<&str, usize> =
            self.input.sources.iter().enumerate().rev().map(|(index, name)| (name.as_str(), index)).collect();
        self.unreadable.sort_by_key(|it| (sources.get(it.place.source.as_str()), it.place.line, it.place.record));
        self.unreadable.truncate(FINDINGS_MAX);
        self.chains.sort_by(|a, b| a.id.cmp(&b.id));
        if self.clock == ClockKind::NewestRecord {
            self.as_of = self.chains.iter().filter_map(|chain| chain.until).chain(self.as_of).max();
        }
        self.chains.iter_mut().for_each(|chain| chain.judge(self.as_of, self.clock));
        self
    }

    /// Whether `until` is a time that counts as heard of: the clock of the machine that verifies is never three minutes
    /// behind, so that such a time is wrong, and says nothing of the end of a chain.
    pub(crate) fn can_be_heard(&self, until: Time) -> bool {
        is_believable(until, self.as_of, self.clock)
    }

    /// With records that could not be read although they have their hash.
    pub(crate) fn with_unreadable(mut self, more: Vec<Unreadable>) -> Self {
        self.unreadable_count += more.len() as u64;
        self.unreadable.extend(more);
        self.judged()
    }

    /// How many chains have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.chains.iter().filter(|chain| chain.verdict == verdict).count()
    }

    /// Whether all holds, and what is demanded beyond. Where there is no chain, nothing holds; a shard can be empty.
    pub fn holds(&self, demands: Demands) -> bool {
        let is_something = !self.chains.is_empty() || self.shard.is_some();
        is_something && self.unreadable_count == 0 && self.chains.iter().all(|chain| chain.holds(demands))
    }
}

// === impl SinkReport ===

impl SinkReport {
    fn new(sink: Sink) -> Self {
        Self { sink, records: 0, alone: 0, repeated: 0 }
    }
}

// === impl ChainReport ===

impl ChainReport {
    pub(super) fn new(id: String, proxy: Option<String>) -> Self {
        Self {
            id,
            verdict: Verdict::Open,
            tail: Tail::Unknown,
            proxy,
            keys: Vec::new(),
            first: 0,
            last: 0,
            records: 0,
            valid: 0,
            sinks: Sink::ALL.map(SinkReport::new).into(),
            duplicates: 0,
            missing: 0,
            edited: 0,
            reordered: 0,
            unkeyed: 0,
            unverified: 0,
            ended: false,
            checkpoints: false,
            since: None,
            until: None,
            faults: 0,
            findings: Vec::new(),
        }
    }

    fn judge(&mut self, as_of: Option<Time>, clock: ClockKind) {
        let until = self.until.filter(|until| is_believable(*until, as_of, clock));
        let silence = until.zip(as_of).map(|(until, as_of)| as_of.since(until));
        self.tail = match silence {
            _ if self.ended => Tail::Ended,
            _ if !self.checkpoints => Tail::Unknown,
            Some(silence) if silence <= SILENT_AFTER => Tail::Live,
            _ => Tail::Silent,
        };
        self.verdict = match self.tail {
            _ if self.faults > 0 => Verdict::Broken,
            _ if self.unverified > 0 => Verdict::Unverified,
            Tail::Ended => Verdict::Complete,
            Tail::Silent => Verdict::Cut,
            Tail::Live | Tail::Unknown => Verdict::Open,
        };
    }

    /// When it began, as its id says; none for an id that is no UUIDv7.
    pub(crate) fn begun(&self) -> Option<Time> {
        let (seconds, nanos) = Uuid::try_parse(&self.id).ok()?.get_timestamp()?.to_unix();
        let micros = seconds.checked_mul(1_000_000)?.checked_add(u64::from(nanos / 1000))?;
        Some(Time::from_micros(micros))
    }

    /// Whether it is as it has to be.
    pub fn holds(&self, demands: Demands) -> bool {
        let verdict = match self.verdict {
            Verdict::Complete => true,
            Verdict::Open => !demands.closed,
            Verdict::Cut | Verdict::Unverified | Verdict::Broken => false,
        };
        verdict && !(demands.ordered && self.reordered > 0) && !(demands.keyed && self.unkeyed > 0)
    }
}

fn is_believable(until: Time, as_of: Option<Time>, clock: ClockKind) -> bool {
    let latest = match clock {
        ClockKind::NewestRecord => return true,
        ClockKind::Wall => as_of,
        // A time that was given can be long ago, and then records go on behind it; or it is yet to come.
        ClockKind::Given => as_of.max(Some(Time::now())),
    };
    latest.is_none_or(|latest| until.since(latest) <= SILENT_AFTER)
}

impl MergeError {
    pub(crate) fn nothing() -> Self {
        Self("there are no reports".into())
    }
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MergeError {}
