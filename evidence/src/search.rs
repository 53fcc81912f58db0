//! Who did what with whose data, and when: the question that an audit begins with.
//!
//! A search reads records, verifies their chains in the same reading, and keeps what its [`Query`] asks for. Its
//! [`Answer`] says over which chains it looked, and whether they are whole.

mod hit;
mod page;
mod query;

use std::collections::{HashMap, HashSet};
use std::io;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::acts::{Fact, Lineage, Names, fold};
use crate::report::words::{as_u64, counted};
use crate::report::{chain_doubts, clock, read};
use crate::sort::Sorter;
use crate::source::Source;
use crate::verify::{Found, Keyring, Settings, State, Unreadable, Verification, Verifier};

pub use hit::Hit;
pub use page::html;
pub use query::{Person, Query};

/// What a search came to.
#[derive(Debug)]
pub struct Answer {
    /// When it was made.
    pub made: Timestamp,
    /// The records, by time.
    pub hits: Vec<Hit>,
    /// The chains that it looked over.
    pub verification: Verification,
    /// Why these are not shown to be complete, a sentence each; nothing when they are.
    pub doubts: Vec<String>,
}

/// The records while they are gathered.
#[derive(Default)]
struct Gathering {
    hits: Vec<Hit>,
    facts: Vec<Fact>,
    names: Names,
    /// The digests of the hits: a record can come from several sinks.
    seen: HashSet<[u8; 32]>,
    /// Records that have their hash, and are none.
    unreadable: Vec<Unreadable>,
}

/// Searches `sources`.
///
/// # Errors
/// When a source cannot be read, or the temporary file cannot be written.
pub fn search(query: &Query, keys: Keyring, made: Timestamp, sources: &[Source]) -> io::Result<Answer> {
    search_with(query, keys, made, sources, |_| {})
}

/// As [`search`]; calls `reading` with each source before it reads that.
///
/// # Errors
/// As [`search`].
pub fn search_with(
    query: &Query,
    keys: Keyring,
    made: Timestamp,
    sources: &[Source],
    mut reading: impl FnMut(&Source),
) -> io::Result<Answer> {
    let scope = query.scope();
    let mut verifier = Verifier::new(Settings { keys, clock: clock(&scope, made), ..Settings::default() });
    let mut gathering = Gathering::default();
    let wants = |text: &[u8]| query.may_match(text);
    for source in sources {
        reading(source);
        verifier.read_with(source, &wants, |found| {
            gathering.take(query, &found);
            Ok(())
        })?;
    }
    let unreadable = std::mem::take(&mut gathering.unreadable);
    let verification = verifier.finish()?.with_unreadable(unreadable);
    let mut doubts = chain_doubts(&verification, &scope);
    let hits = gathering.hits(&verification)?;
    // A changed record can say a time at which its chain was not.
    let doubtful = hits.iter().filter(|hit| hit.state != State::Valid).count();
    if doubtful > 0 && doubts.is_empty() {
        doubts.push(format!("{} in the list cannot be relied on.", counted(as_u64(doubtful), "record")));
    }
    Ok(Answer { made, hits, verification, doubts })
}

// === impl Gathering ===

impl Gathering {
    fn take(&mut self, query: &Query, found: &Found<'_>) {
        let (record, chain, time) = match read(found.text) {
            Ok(read) => read,
            Err(why) => {
                // What does not have its hash is in the verification.
                if found.state != State::Changed {
                    self.unreadable.push(Unreadable::at(found.location, why));
                }
                return;
            }
        };
        let scope = query.scope();
        if !scope.touches(&record, time) || !query.matches_at_any_time(&record) {
            return;
        }
        // Also of a request that began before the period: it can have hops within.
        if found.state == State::Valid {
            self.facts.push(Fact::of(found.text, &record, chain, time, &mut self.names));
        }
        if scope.contains(time) && self.seen.insert(Sha256::digest(found.text).into()) {
            self.hits.push(Hit::of(&record, time, found));
        }
    }

    /// The hits by time, each with what it is to its request, and what its chain is.
    fn hits(self, verification: &Verification) -> io::Result<Vec<Hit>> {
        let Self { mut hits, facts, .. } = self;
        let mut sorter = Sorter::new(facts.len().max(1));
        facts.into_iter().try_for_each(|fact| sorter.push(fact))?;
        let mut lineages: HashMap<(String, u64), Lineage> = HashMap::new();
        fold(sorter.sorted()?, |act| {
            for member in &act.members {
                lineages.insert((member.chain.to_string(), member.seq), member.lineage);
            }
        })?;
        let chains: HashMap<&str, _> = verification.chains.iter().map(|chain| (chain.id.as_str(), chain)).collect();
        for hit in &mut hits {
            hit.part = lineages.get(&(hit.chain.clone(), hit.seq)).copied().filter(|_| hit.state == State::Valid);
            if let Some(chain) = chains.get(hit.chain.as_str()) {
                hit.chain_verdict = Some(chain.verdict);
                hit.proxy = chain.proxy.clone();
            }
        }
        hits.sort_by(|one, other| (one.time, &one.chain, one.seq).cmp(&(other.time, &other.chain, other.seq)));
        Ok(hits)
    }
}
