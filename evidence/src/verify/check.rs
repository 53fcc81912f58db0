//! What one thread does: finds the records of a block of lines, and holds each against its hash.

use super::checked::{Checked, Kept, Slots};
use super::keys::Keyring;
use super::link::{Link, Position, State};
use super::pairs::{Hashing, Pairs};
use super::reading::Reading;
use super::scan::scan;
use super::shard::{Shard, claimed_chain};
use crate::record::Proxy;
use crate::source::{self, Block, Item, Source};

/// The bytes of a short record.
const LINE: usize = 1 << 10;

/// Whether the text of a record is to be handed out.
pub(super) type Wants<'w> = &'w (dyn Fn(&[u8]) -> bool + Sync);

/// What a thread needs to check a block.
#[derive(Clone, Copy)]
pub(super) struct Checker<'c> {
    pub(super) source: &'c Source,
    pub(super) number: u32,
    pub(super) keys: &'c Keyring,
    pub(super) shard: Option<Shard>,
    pub(super) wants: Wants<'c>,
    pub(super) parser_alone: bool,
}

// === impl Checker ===

impl<'c> Checker<'c> {
    /// Checks the records of a block.
    pub(super) fn check(&self, block: &Block) -> Checked {
        // More than there are in most blocks.
        let mut checked = Checked { links: Vec::with_capacity(block.size() / LINE), ..Checked::default() };
        let mut pairs = Pairs::default();
        let read = self.source.items(block, 0, |found| {
            match found {
                Ok(item) => self.take(&item, &mut pairs, &mut checked),
                Err(broken) => self.broken(broken.location, broken.why, &mut checked),
            }
            Ok(())
        });
        pairs.finish(&mut checked);
        // Nothing above is an error.
        let read = read.unwrap_or_default();
        (checked.lines, checked.skipped) = (read.read, read.skipped);
        checked
    }

    /// What does not say of which chain it is belongs to the first shard.
    fn broken(&self, location: source::Location<'_>, why: String, checked: &mut Checked) {
        if self.shard.is_none_or(Shard::is_first) {
            checked.unreadable.push((location.line, location.record, why));
        }
    }

    fn take(&self, item: &Item<'_>, pairs: &mut Pairs<'c>, checked: &mut Checked) {
        let is_wanted = (self.wants)(item.text);
        if !is_wanted
            && let Some(shard) = self.shard
            && claimed_chain(item.text).is_some_and(|chain| !shard.holds(chain))
        {
            return;
        }
        let (link, in_shard, hashing) = match self.quickly(item, is_wanted, checked) {
            Some(read) => read,
            None => match self.parse(item, is_wanted, checked) {
                Some((link, in_shard)) => (link, in_shard, None),
                None => return,
            },
        };
        let mut slots = Slots { link: None, record: None };
        if in_shard {
            slots.link = Some(checked.links.len());
            checked.links.push(link);
        }
        if is_wanted {
            slots.record = Some(checked.records.len());
            let begin = checked.texts.len();
            checked.texts.extend_from_slice(item.text);
            let Item { location, sink, .. } = *item;
            let text = begin..checked.texts.len();
            let kept = Kept { text, line: location.line, record: location.record, sink, state: link.state, in_shard };
            checked.records.push(kept);
        }
        if let Some(hashing) = hashing {
            pairs.add(item.text, hashing, slots, checked);
        }
    }

    /// The link of a record that is plainly canonical. Where its hash is still to be computed, how.
    fn quickly(
        &self,
        item: &Item<'_>,
        is_wanted: bool,
        checked: &mut Checked,
    ) -> Option<(Link, bool, Option<Hashing<'c>>)> {
        if self.parser_alone {
            return None;
        }
        let scanned = scan(item.text)?;
        let chain = scanned.chain()?;
        let in_shard = self.shard.is_none_or(|shard| shard.holds(chain));
        if !in_shard && !is_wanted {
            return None;
        }
        let key = scanned.key.map_or(0, |key| number(&mut checked.keys, key));
        let (mut link, mut hashing) = scanned.link(chain, self.position(item), key, self.keys);
        if scanned.proxy.as_ref().is_some_and(|proxy| proxy.id.is_some()) {
            // Whether it is believed decides what it says of its proxy.
            link.state = hashing.take().map_or(link.state, |hashing| hashing.state(item.text));
            self.note(scanned.proxy.as_ref(), &link, in_shard, checked);
        }
        Some((link, in_shard, hashing))
    }

    /// The link of any record; none when it is not read, which is noted, or not wanted.
    fn parse(&self, item: &Item<'_>, is_wanted: bool, checked: &mut Checked) -> Option<(Link, bool)> {
        let is_ours = |chain| self.shard.is_none_or(|shard| shard.holds(chain));
        let read = Reading::parse(item.text).and_then(|record| Ok((record.chain()?, record)));
        let (chain, record) = match read {
            Ok(read) => read,
            Err(why) => {
                match claimed_chain(item.text) {
                    Some(chain) if is_ours(chain) => {
                        checked.unreadable.push((item.location.line, item.location.record, why));
                    }
                    Some(_) => {}
                    None => self.broken(item.location, why, checked),
                }
                return None;
            }
        };
        let in_shard = is_ours(chain);
        if !in_shard && !is_wanted {
            return None;
        }
        let key = record.chain.key.as_deref().map_or(0, |key| number(&mut checked.keys, key));
        let link = record.link(item.text, chain, self.position(item), key, self.keys);
        self.note(record.proxy.as_ref(), &link, in_shard, checked);
        Some((link, in_shard))
    }

    fn position(&self, item: &Item<'_>) -> Position {
        let Item { location, sink, .. } = *item;
        Position { source: self.number, line: location.line, record: location.record, sink }
    }

    /// Notes the proxy that a record names as that of its chain.
    fn note(&self, proxy: Option<&Proxy<'_>>, link: &Link, in_shard: bool, checked: &mut Checked) {
        let proxy = proxy.and_then(|proxy| proxy.id.as_deref());
        if let Some(proxy) = proxy.filter(|_| in_shard && link.state != State::Changed) {
            checked.proxies.push((link.chain, proxy.to_owned()));
        }
    }
}

/// The number of `key` in `keys`, from 1.
fn number(keys: &mut Vec<String>, key: &str) -> u32 {
    let index = keys.iter().position(|known| known == key).unwrap_or_else(|| {
        keys.push(key.to_owned());
        keys.len() - 1
    });
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}
