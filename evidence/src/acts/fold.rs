//! From the records of one request to what was done.

use std::collections::{BTreeSet, HashMap};
use std::io;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::fact::{
    CONTEXT, DENIAL, FAILURE, FORGED, Fact, GRANT, MESSAGE, OTHER, PURPOSE, Placement, REGULATOR, SUBJECT, TENANT,
    USER, WOULD_REFUSE,
};
use super::names::Name;
use crate::counts::{Ending, Merge};

/// Records of one request id that are looked at together. Only a caller that gives one id to everything makes more; the
/// rest is then looked at apart, so that hops can be taken for acts, and no act for a hop.
const GROUP_MAX: usize = 10_000;
/// How far clocks of two machines may be apart, in microseconds.
pub(crate) const SKEW: i64 = 100_000;
/// How many records before and after one are tried as the one that it belongs to, where no span says it.
const NEAR: usize = 64;

/// What one outermost record, and those that belong to it, came to.
#[derive(Debug)]
pub(crate) struct Act {
    /// The outermost record, with what only hops further in know.
    pub fact: Fact,
    /// How it ended in the end.
    pub ending: Ending,
    /// By whom and why, where it was refused.
    pub denial: Name,
    /// Status and flags, where it failed.
    pub failure: Name,
    /// The lists of identity headers that were not true.
    pub forged: BTreeSet<Name>,
    /// What enforcement would have refused, where a policy is in shadow: reason and peer, context, method and template.
    pub would_refuse: BTreeSet<(Name, Name, Name)>,
    /// Each grant that it came under, with its purpose: hops can have policies of their own.
    pub grants: BTreeSet<(Name, Name)>,
    /// Who acted on whom, also by calls between services.
    pub pairs: BTreeSet<(Name, Name)>,
    /// The calls between services that it caused, by time, without copies, preflights and what a policy in shadow saw
    /// beside another; and passes that reached another person or tenant. One that names no user has that of the
    /// outermost record.
    pub calls: Vec<Fact>,
    /// Attempts beyond the first of each hop.
    pub repeats: u64,
    /// What its records are.
    pub kinds: Kinds,
    /// Its records.
    pub members: Vec<Member>,
}

/// A record of an act.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    pub chain: Uuid,
    pub seq: u64,
    pub placement: Placement,
    pub lineage: Lineage,
}

/// Records of requests by what they are: together, all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kinds {
    /// Outermost records of what people and programs asked for.
    pub acts: u64,
    /// The same requests, seen again further in.
    pub hops: u64,
    /// Passes after a redirect that the proxy followed itself.
    pub passes: u64,
    /// Mirrored copies, and what they caused.
    pub copies: u64,
    /// Calls between services that an act caused.
    pub calls: u64,
    /// Preflights of browsers: no use of data.
    pub preflights: u64,
}

/// What a record is to the one that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// The same request, further in.
    Hop,
    /// The same request, after an internal redirect.
    Pass,
    /// The same request at the same proxy, as a policy in shadow saw it beside the one that was enforced.
    Rehearsal,
    /// Another request that it caused.
    Call,
}

/// Hands out the acts of facts that are sorted by request.
pub(crate) fn fold(facts: impl Iterator<Item = io::Result<Fact>>, mut each: impl FnMut(&Act)) -> io::Result<()> {
    let mut group: Vec<Fact> = Vec::new();
    for fact in facts {
        let fact = fact?;
        let is_next = group.first().is_some_and(|first| first.request != fact.request);
        // Copies of one record stay together: apart, they would be two requests.
        let is_copy = group.last().is_some_and(|last| (last.chain, last.seq) == (fact.chain, fact.seq));
        if is_next || group.len() >= GROUP_MAX && !is_copy {
            acts(&mut group, &mut each);
        }
        group.push(fact);
    }
    acts(&mut group, &mut each);
    Ok(())
}

fn acts(group: &mut Vec<Fact>, each: &mut impl FnMut(&Act)) {
    group.sort_by_key(|fact| (fact.chain, fact.seq, fact.time));
    // Copies of one record, from whatever sinks.
    group.dedup_by_key(|fact| (fact.chain, fact.seq));
    group.sort_by_key(|fact| (fact.time, fact.placement, std::cmp::Reverse(fact.duration)));
    let spans: HashMap<u64, usize> =
        group.iter().enumerate().filter(|(_, fact)| fact.span != 0).map(|(index, fact)| (fact.span, index)).collect();
    let links: Vec<_> = (0..group.len()).map(|index| link(group, &spans, index)).collect();
    let mut members: Vec<Vec<(usize, Lineage)>> = vec![Vec::new(); group.len()];
    for index in 0..group.len() {
        let (root, lineage) = lineage(group, &links, index);
        members[root].push((index, lineage));
    }
    for (root, members) in members.iter().enumerate().filter(|(_, members)| !members.is_empty()) {
        each(&Act::of(group, root, members, &links));
    }
    group.clear();
}

/// What a record is to the root of its act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Lineage {
    /// The outermost record: the request itself.
    #[serde(rename = "request")]
    Root,
    /// The same request, further in.
    Hop,
    /// The same request, after an internal redirect.
    Pass,
    /// A call between services that it caused.
    Call,
    /// A mirrored copy.
    Copy,
}

/// The record that the one at `index` belongs to, and how.
fn link(group: &[Fact], spans: &HashMap<u64, usize>, index: usize) -> Option<(usize, Relation)> {
    let fact = &group[index];
    // By time, these are neighbours.
    let near = index.saturating_sub(NEAR)..group.len().min(index + NEAR);
    if let Some(enforced) = near.clone().find(|other| is_rehearsal_of(fact, &group[*other])) {
        return Some((enforced, Relation::Rehearsal));
    }
    if fact.redirects > 0 {
        let is_before = |other: &Fact| {
            other.chain == fact.chain && other.redirects == fact.redirects - 1 && other.time <= fact.time
        };
        if let Some(before) = group.iter().position(is_before) {
            return Some((before, Relation::Pass));
        }
    }
    if let Some(caller) = spans.get(&fact.parent).filter(|caller| fact.parent != 0 && **caller != index) {
        let caller_fact = &group[*caller];
        // What a service asks for another person is no hop, though the context be the same.
        let is_hop = is_same(caller_fact, fact) && !contradicts(caller_fact, fact);
        let relation = if is_hop { Relation::Hop } else { Relation::Call };
        return Some((*caller, relation));
    }
    let is_twin = |other: usize| is_rehearsal_of(&group[other], fact);
    let around = near.filter(|other| *other != index && !is_twin(*other) && surrounds(group, *other, index));
    let related = around.filter_map(|other| Some((other, relation(&group[other], fact)?)));
    // A hop rather than a call, and of these the innermost.
    related.min_by_key(|(other, relation)| (*relation == Relation::Call, group[*other].duration))
}

/// Whether the one at `outer` was under way on another proxy for as long as the one at `inner` was.
fn surrounds(group: &[Fact], outer: usize, inner: usize) -> bool {
    let (o, i) = (&group[outer], &group[inner]);
    let is_outer = outer < inner || o.placement < i.placement;
    let is_around = o.time <= i.time.saturating_add(SKEW) && i.end() <= o.end().saturating_add(SKEW);
    is_outer && o.chain != i.chain && is_around && o.duration >= i.duration
}

/// Whether `fact` is of a policy in shadow, beside the one that `other` is of: both say when the proxy began and ended
/// the same stream.
fn is_rehearsal_of(fact: &Fact, other: &Fact) -> bool {
    let stream = |it: &Fact| (it.time, it.duration, it.placement, it.redirects, it.span);
    fact.is_rehearsal && !other.is_rehearsal && stream(fact) == stream(other)
}

/// What `inner` is to `outer` by what they say, where no span says it.
fn relation(outer: &Fact, inner: &Fact) -> Option<Relation> {
    let is_further_in = outer.placement < inner.placement
        || (outer.placement, inner.placement) == (Placement::Unknown, Placement::Unknown);
    // Two proxies before services, or two workers of one: that one of them was busy for longer shows nothing.
    let can_cause = outer.placement != inner.placement || inner.placement == Placement::Unknown;
    match is_same(outer, inner) {
        true if is_further_in && !contradicts(outer, inner) => Some(Relation::Hop),
        false if can_cause && inner.placement != Placement::Gateway => Some(Relation::Call),
        _ => None,
    }
}

/// Whether two records can be of the same message.
fn is_same(one: &Fact, other: &Fact) -> bool {
    one.name(MESSAGE) == other.name(MESSAGE) || one.name(CONTEXT) == other.name(CONTEXT)
}

/// Whether they name different users, tenants or people in care: then they are two messages, whatever their times are.
fn contradicts(one: &Fact, other: &Fact) -> bool {
    [USER, TENANT, SUBJECT]
        .into_iter()
        .map(|which| (one.name(which), other.name(which)))
        .any(|(name, other)| name.is_some() && other.is_some() && name != other)
}

/// The root of the record at `index`, and what it is to that.
fn lineage(group: &[Fact], links: &[Option<(usize, Relation)>], index: usize) -> (usize, Lineage) {
    let mut lineage = Lineage::Root;
    let mut at = index;
    // More steps than records are a circle, which only made-up spans have.
    for _ in 0..=group.len() {
        let is_copy = group[at].is_shadow || lineage == Lineage::Copy;
        let Some((next, relation)) = links[at] else {
            return (at, if is_copy { Lineage::Copy } else { lineage });
        };
        lineage = match (lineage, relation) {
            _ if is_copy => Lineage::Copy,
            (Lineage::Call, _) | (_, Relation::Call) => Lineage::Call,
            (Lineage::Pass | Lineage::Root, Relation::Pass) => Lineage::Pass,
            _ => Lineage::Hop,
        };
        at = next;
    }
    (index, Lineage::Root)
}

// === impl Act ===

impl Act {
    fn of(group: &[Fact], root: usize, members: &[(usize, Lineage)], links: &[Option<(usize, Relation)>]) -> Self {
        let of = |wanted: &'static [Lineage]| {
            members.iter().filter(|(_, lineage)| wanted.contains(lineage)).map(|(index, _)| &group[*index])
        };
        let same = || of(&[Lineage::Root, Lineage::Hop, Lineage::Pass]);
        let mut fact = group[root];
        for which in [TENANT, REGULATOR, OTHER, USER, SUBJECT] {
            fact.names[which] = same().fold(fact.name(which), |name, other| name.or(other.name(which)));
        }
        let beside = |grant: Name| {
            let purposes = same().filter(|fact| fact.name(GRANT) == grant).map(|fact| fact.name(PURPOSE));
            purposes.fold(Name::default(), Name::or)
        };
        // A purpose is that of the grant beside it, and only where there is none, one that a hop names without a grant.
        let whole = |(grant, purpose): (Name, Name)| (grant, purpose.or(beside(grant)).or(beside(Name::default())));
        let grants = same().filter_map(Fact::grant).map(whole).collect();
        let last = of(&[Lineage::Pass]).max_by_key(|fact| fact.redirects).unwrap_or(&group[root]);
        // What the outermost proxy took for an answer of the application can be a refusal further in.
        let refusal = of(&[Lineage::Hop]).filter(|hop| hop.ending == Ending::Refused).max_by_key(|hop| hop.end());
        let end = refusal.filter(|_| last.ending != Ending::Answered).unwrap_or(last);
        let mut act = Self {
            fact,
            ending: end.ending,
            denial: end.name(DENIAL),
            failure: end.name(FAILURE),
            forged: same().map(|fact| fact.name(FORGED)).filter(|name| name.is_some()).collect(),
            would_refuse: members
                .iter()
                .filter(|(_, lineage)| *lineage != Lineage::Copy)
                .map(|(index, _)| &group[*index])
                .map(|fact| (fact.name(WOULD_REFUSE), fact.name(CONTEXT), fact.name(MESSAGE)))
                .filter(|(reason, ..)| reason.is_some())
                .collect(),
            grants,
            pairs: BTreeSet::new(),
            calls: members
                .iter()
                .filter(|(index, lineage)| {
                    let is_beside = matches!(links[*index], Some((_, Relation::Rehearsal)));
                    let is_elsewhere = || contradicts(&group[root], &group[*index]);
                    let is_apart = match lineage {
                        Lineage::Call => !is_beside,
                        // Its refusal is that of the request.
                        Lineage::Pass => group[*index].ending != Ending::Refused && is_elsewhere(),
                        Lineage::Root | Lineage::Hop | Lineage::Copy => false,
                    };
                    is_apart && !group[*index].is_preflight
                })
                .map(|(index, _)| group[*index])
                .collect(),
            repeats: repeats(group, members, links),
            kinds: Kinds::default(),
            members: members
                .iter()
                .map(|(index, lineage)| Member {
                    chain: group[*index].chain,
                    seq: group[*index].seq,
                    placement: group[*index].placement,
                    lineage: *lineage,
                })
                .collect(),
        };
        // What was refused reached no data, whatever the proxies before it took the refusal for.
        let reached = same().filter(|_| act.ending != Ending::Refused).chain(of(&[Lineage::Call]));
        for used in reached.filter(|used| used.ending != Ending::Refused && !used.is_preflight) {
            act.pairs.insert((used.name(USER).or(fact.name(USER)), used.name(SUBJECT)));
        }
        for call in &mut act.calls {
            call.names[USER] = call.name(USER).or(fact.name(USER));
        }
        for (_, lineage) in members {
            let kinds = &mut act.kinds;
            *match lineage {
                Lineage::Root if fact.is_preflight => &mut kinds.preflights,
                Lineage::Root => &mut kinds.acts,
                Lineage::Hop => &mut kinds.hops,
                Lineage::Pass => &mut kinds.passes,
                Lineage::Call => &mut kinds.calls,
                Lineage::Copy => &mut kinds.copies,
            } += 1;
        }
        act
    }
}

/// Attempts beyond the first: as records say, and where they do not, as many as arrived one hop further in.
fn repeats(group: &[Fact], members: &[(usize, Lineage)], links: &[Option<(usize, Relation)>]) -> u64 {
    let is_same = |lineage: &Lineage| matches!(lineage, Lineage::Root | Lineage::Hop | Lineage::Pass);
    let same = members.iter().filter(|(_, lineage)| is_same(lineage));
    same.map(|(index, _)| match group[*index].attempts {
        0 => {
            let arrived = members
                .iter()
                .filter(|(other, lineage)| is_same(lineage) && links[*other] == Some((*index, Relation::Hop)));
            (arrived.count() as u64).saturating_sub(1)
        }
        attempts => u64::from(attempts - 1),
    })
    .sum()
}

// === impl Kinds ===

impl Kinds {
    /// All records.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.acts + self.hops + self.passes + self.copies + self.calls + self.preflights
    }
}

impl Merge for Kinds {
    fn absorb(&mut self, other: Self) {
        self.acts += other.acts;
        self.hops += other.hops;
        self.passes += other.passes;
        self.copies += other.copies;
        self.calls += other.calls;
        self.preflights += other.preflights;
    }
}
