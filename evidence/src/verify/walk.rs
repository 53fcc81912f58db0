//! One pass over all links in the order of chains and numbers.

use std::collections::BTreeMap;
use std::io;

use smallvec::SmallVec;

use super::digest::{Digest, GENESIS};
use super::finding::{Finding, Location, NextRecord, RecordLocation};
use super::link::{Link, Position, Role, State};
use super::notes::Notes;
use super::report::{ChainReport, FINDINGS_MAX};
use super::time::Time;
use crate::source::Sink;

/// Different records of one number that are kept apart. The chain is broken with two already.
const CANDIDATES_MAX: usize = 8;

/// A report of each chain, in the order of ids.
pub(super) fn chains(
    links: impl Iterator<Item = io::Result<Link>>,
    sources: &[String],
    notes: &Notes,
) -> io::Result<Vec<ChainReport>> {
    let mut reports = Vec::new();
    let mut walk: Option<Walk<'_>> = None;
    for link in links {
        let link = link?;
        match &mut walk {
            Some(walk) if walk.current.first.chain == link.chain => walk.take(link),
            _ => reports.extend(walk.replace(Walk::new(link, sources, notes)).map(Walk::finish)),
        }
    }
    reports.extend(walk.map(Walk::finish));
    Ok(reports)
}

/// All records of one number.
struct Group {
    /// The first that was read.
    first: Link,
    /// The different ones that have their hash, or whose hash cannot be checked.
    valid: SmallVec<[Link; 1]>,
    /// The ones that do not.
    changed: Vec<Link>,
    /// Of those, how many there are beyond what is kept.
    more_changed: u64,
    duplicates: u64,
    /// How many that have their hash are from each sink.
    sinks: [u64; Sink::ALL.len()],
    /// Where its first copy is in each source.
    positions: SmallVec<[Position; 2]>,
}

/// A chain as far as it has been gone through. Groups are judged with the next one in view.
struct Walk<'w> {
    sources: &'w [String],
    notes: &'w Notes,
    report: ChainReport,
    /// The last record that has its place in the chain.
    last: Option<Box<Group>>,
    /// Complete, and to be judged when its successor is.
    waiting: Option<Box<Group>>,
    current: Box<Group>,
    end: Option<Link>,
    /// When the chain last said how far it has come.
    last_checkpoint: Option<Time>,
    /// Where each source was with this chain.
    positions: BTreeMap<u32, (Position, u64)>,
}

// === impl Group ===

impl Group {
    /// In a place of its own, from which it need not be moved when the next one comes.
    fn new(link: Link) -> Box<Self> {
        let mut group = Box::new(Self {
            first: link,
            valid: SmallVec::new(),
            changed: Vec::new(),
            more_changed: 0,
            duplicates: 0,
            sinks: [0; Sink::ALL.len()],
            positions: SmallVec::new(),
        });
        group.add(link);
        group
    }

    fn add(&mut self, link: Link) {
        if self.positions.last().is_none_or(|last| last.source != link.position.source) {
            self.positions.push(link.position);
        }
        if link.state == State::Valid {
            self.sinks[link.position.sink as usize] += 1;
        }
        if link.state == State::Changed {
            if self.changed.len() < CANDIDATES_MAX {
                self.changed.push(link);
            } else {
                self.more_changed += 1;
            }
        } else if self.valid.iter().any(|other| other.is_copy_of(&link)) {
            self.duplicates += 1;
        } else if self.valid.len() < CANDIDATES_MAX {
            self.valid.push(link);
        }
    }

    fn seq(&self) -> u64 {
        self.first.seq
    }

    /// The ones that can stand for the number: changed ones only where there is no other.
    fn members(&self) -> &[Link] {
        if self.valid.is_empty() { &self.changed } else { &self.valid }
    }

    fn is_before(&self, next: &Self) -> bool {
        self.seq().checked_add(1) == Some(next.seq())
    }

    /// Whether one of them says that `hash` comes before it.
    fn names(&self, hash: Option<Digest>) -> bool {
        hash.is_some() && self.members().iter().any(|link| link.prev == hash)
    }
}

// === impl Walk ===

impl<'w> Walk<'w> {
    fn new(link: Link, sources: &'w [String], notes: &'w Notes) -> Self {
        let proxy = notes.proxies.get(&link.chain).cloned();
        Self {
            sources,
            notes,
            report: ChainReport::new(link.chain.to_string(), proxy),
            last: None,
            waiting: None,
            current: Group::new(link),
            end: None,
            last_checkpoint: None,
            positions: BTreeMap::new(),
        }
    }

    fn take(&mut self, link: Link) {
        if link.seq == self.current.seq() {
            self.current.add(link);
            return;
        }
        let complete = std::mem::replace(&mut self.current, Group::new(link));
        if let Some(waiting) = self.waiting.take() {
            self.judge(waiting, Some(&complete));
        }
        self.waiting = Some(complete);
    }

    fn finish(mut self) -> ChainReport {
        let first = self.current.first;
        let current = std::mem::replace(&mut self.current, Group::new(first));
        if let Some(waiting) = self.waiting.take() {
            self.judge(waiting, Some(&current));
        }
        self.judge(current, None);
        self.report.sinks.retain(|sink| sink.records > 0);
        self.report
    }

    /// Judges the records of one number; `next` are those of the next number that there is.
    fn judge(&mut self, group: Box<Group>, next: Option<&Group>) {
        let next = next.filter(|next| group.is_before(next));
        let is_next = match &self.last {
            Some(last) => last.is_before(&group),
            None => group.seq() == 1,
        };
        // A changed record can have a changed number: it takes a place only where its neighbours say that there is one.
        let is_placed = !group.valid.is_empty()
            || is_next
            || next.is_some_and(|next| group.changed.iter().any(|it| next.names(it.hash)));
        self.edits(&group, next, is_placed);
        if !is_placed {
            return;
        }
        if is_next {
            self.link(&group)
        } else {
            self.gap(&group)
        }
        self.conflict(&group, next);
        self.end(&group);
        self.key(&group);
        self.order(&group);
        self.count(&group);
        self.last = Some(group);
    }

    fn edits(&mut self, group: &Group, next: Option<&Group>, placed: bool) {
        for link in &group.changed {
            let next_record =
                |next: &Group| if next.names(link.hash) { NextRecord::NamesIt } else { NextRecord::NamesAnother };
            self.find(Finding::Edit {
                seq: link.seq,
                place: self.location(link.position),
                placed,
                intact: group.valid.first().map(|valid| self.location(valid.position)),
                follower: next.map(next_record),
            });
        }
        self.report.edited += group.changed.len() as u64 + group.more_changed;
    }

    fn gap(&mut self, group: &Group) {
        let after = self.last.as_ref().map(|last| self.record_location(&last.first));
        let from = after.as_ref().map_or(1, |after| after.seq.saturating_add(1));
        let to = group.seq().saturating_sub(1);
        self.report.missing = self.report.missing.saturating_add(to.saturating_sub(from).saturating_add(1));
        self.find(Finding::Gap { from, to, after, before: self.record_location(&group.first) });
    }

    /// Whether the record names the one before it. Where one of them was changed, that has been said.
    fn link(&mut self, group: &Group) {
        let Some(link) = group.valid.first() else { return };
        let previous = match &self.last {
            Some(last) if last.valid.is_empty() => return,
            Some(last) if last.valid.iter().any(|last| group.names(last.hash)) => return,
            None if group.names(Some(GENESIS)) => return,
            last => last.as_ref().map(|last| self.location(last.first.position)),
        };
        self.find(Finding::Break { seq: link.seq, place: self.location(link.position), previous });
    }

    fn conflict(&mut self, group: &Group, next: Option<&Group>) {
        if group.valid.len() > 1 {
            let named = group.valid.iter().find(|link| next.is_some_and(|next| next.names(link.hash)));
            self.find(Finding::Conflict {
                seq: group.seq(),
                places: group.valid.iter().map(|link| self.location(link.position)).collect(),
                named: named.map(|link| self.location(link.position)),
            });
        }
    }

    fn end(&mut self, group: &Group) {
        let is_after = self.last.as_ref().is_some_and(|last| self.end.is_some_and(|end| end.seq == last.seq()));
        if let Some(end) = self.end.filter(|_| is_after) {
            self.find(Finding::AfterEnd {
                seq: group.seq(),
                place: self.location(group.first.position),
                end: self.record_location(&end),
            });
        }
        // An `end` does not count when another record has its number, or when it lacks the key of its chain: it can be
        // forged.
        if let [link] = group.valid[..]
            && link.role == Role::End
            && (link.key > 0 || self.report.keys.is_empty())
        {
            self.end = Some(link);
        }
        self.report.ended = self.end.is_some_and(|end| end.seq == group.seq());
        self.report.checkpoints |= group.valid.iter().any(|link| link.role != Role::Plain);
    }

    /// A chain that was keyed stays keyed: else a forger without the key would only have to leave the key out. Another
    /// key is as good where both are here, for then both records have their hashes.
    fn key(&mut self, group: &Group) {
        let Some(link) = group.valid.first() else { return };
        let key = self.notes.key_id(link.key);
        if let Some(last) = self.last.as_ref().and_then(|last| last.valid.first())
            && let Some(previous_key) = self.notes.key_id(last.key)
            && key != Some(previous_key)
            && (key.is_none() || [last.state, link.state].contains(&State::Unverified))
        {
            self.find(Finding::KeyChanged {
                seq: link.seq,
                place: self.location(link.position),
                key: key.map(str::to_owned),
                previous: self.location(last.position),
                previous_key: previous_key.to_owned(),
            });
        }
        if let Some(key) = key
            && !self.report.keys.iter().any(|known| known == key)
            && self.report.keys.len() < CANDIDATES_MAX
        {
            self.report.keys.push(key.to_owned());
        }
        self.report.unkeyed += u64::from(link.key == 0);
        self.report.unverified += u64::from(link.state == State::Unverified);
    }

    /// Within one source, records of a chain stand in its order.
    fn order(&mut self, group: &Group) {
        for position in &group.positions {
            let before = self.positions.insert(position.source, (*position, group.seq()));
            if let Some((before, seq)) = before.filter(|(before, _)| before > position) {
                self.report.reordered += 1;
                let before = RecordLocation { seq, place: self.location(before) };
                self.find(Finding::Reordered { seq: group.seq(), place: self.location(*position), before });
            }
        }
    }

    fn count(&mut self, group: &Group) {
        let report = &mut self.report;
        if self.last.is_none() {
            report.first = group.seq();
        }
        report.last = group.seq();
        report.records += 1;
        report.duplicates += group.duplicates;
        report.valid += u64::from(group.sinks != [0; Sink::ALL.len()]);
        let is_alone = group.sinks.iter().filter(|count| **count > 0).count() == 1;
        for (sink, count) in report.sinks.iter_mut().zip(group.sinks).filter(|(_, count)| *count > 0) {
            sink.records += 1;
            sink.alone += u64::from(is_alone);
            sink.repeated += count - 1;
        }
        let times = || group.valid.iter().filter_map(|link| link.time);
        report.since = times().chain(report.since).min();
        let is_checkpoint = group.valid.iter().any(|link| link.role != Role::Plain);
        match (times().max(), self.last_checkpoint) {
            (None, _) => {}
            // What was heard last, and not the greatest time: a clock that was wrong once shows nothing of the end.
            (Some(time), _) if is_checkpoint => {
                self.last_checkpoint = Some(time);
                report.until = Some(time);
            }
            // A request has the time at which it began, which can be long before the checkpoint.
            (Some(time), Some(last)) => report.until = Some(time.max(last)),
            (time, _) => report.until = report.until.max(time),
        }
    }

    /// Keeps a finding, unless there are enough of its sort.
    fn find(&mut self, finding: Finding) {
        let is_fault = finding.is_fault();
        self.report.faults += u64::from(is_fault);
        let kept = self.report.findings.iter().filter(|other| other.is_fault() == is_fault).count();
        if kept < FINDINGS_MAX {
            self.report.findings.push(finding);
        }
    }

    fn location(&self, position: Position) -> Location {
        let source = self.sources.get(position.source as usize).map_or("", String::as_str);
        Location::new(source, position.line, position.record)
    }

    fn record_location(&self, link: &Link) -> RecordLocation {
        RecordLocation { seq: link.seq, place: self.location(link.position) }
    }
}
