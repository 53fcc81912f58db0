//! Chains while they are written: each record against its hash and the record before it, as they come.

use std::collections::HashMap;

use uuid::Uuid;

use super::keys::Keyring;
use super::link::{Link, Position, State};
use super::reading::Reading;
use crate::source::Sink;

/// Chains as far as they have been followed. What began before is taken as it is; what is written later than it
/// happened shows as a gap.
#[derive(Debug)]
pub struct Live {
    keys: Keyring,
    heads: HashMap<Uuid, Link>,
}

/// What a record is in its chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its chain.
    pub chain: Uuid,
    /// Its number.
    pub seq: u64,
    /// Whether it is what was written.
    pub state: State,
    /// Whether it, or a later one, came before: a copy.
    pub is_repeated: bool,
    /// What is wrong.
    pub trouble: Vec<String>,
}

impl Live {
    /// Nothing yet, with the keys of keyed chains.
    #[must_use]
    pub fn new(keys: Keyring) -> Self {
        Self { keys, heads: HashMap::new() }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn take(&mut self, text: &[u8]) -> Result<Step, String> {
        let reading = Reading::parse(text)?;
        let chain = reading.chain()?;
        // No record is kept with its place.
        let position = Position { source: 0, line: 0, record: 0, sink: Sink::AccessLog };
        let link = reading.link(text, chain, position, 0, &self.keys);
        let mut step = Step { chain, seq: link.seq, state: link.state, is_repeated: false, trouble: Vec::new() };
        if link.state == State::Changed {
            step.trouble.push(format!("record {} of chain {chain} was changed: it does not have its hash", link.seq));
            return Ok(step);
        }
        match self.heads.get(&chain) {
            // Of those before the last one, the hashes are not kept.
            Some(last) if link.seq == last.seq && !link.is_copy_of(last) => {
                step.trouble.push(format!("another record of chain {chain} has the number {}", last.seq));
                return Ok(step);
            }
            Some(last) if link.seq <= last.seq => {
                step.is_repeated = true;
                return Ok(step);
            }
            Some(Link { seq: last, .. }) if last + 1 < link.seq => {
                step.trouble.push(format!("chain {chain}: nothing between record {last} and record {} yet", link.seq));
            }
            Some(last) if last.hash != link.prev => {
                step.trouble.push(format!("record {} of chain {chain} does not follow the one before it", link.seq));
            }
            _ => {}
        }
        self.heads.insert(chain, link);
        Ok(step)
    }
}
