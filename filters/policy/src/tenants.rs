//! The tenants of `tenants.entries`, compiled: 20 to 30 bytes each, whatever their order in the document.
//!
//! An entry is the length of the id, the id, a byte of flags, and three bytes each for the pool and the group, where it
//! has one. Entries stand one after another in one allocation. A hash table of offsets, at most half full, finds them.
//! So a policy of thousands of tenants is taken without an allocation for each.

use std::sync::Arc;

use crate::document::{Cohort, Jurisdiction};
use crate::slots::Slots;

/// The bits of the flags: the number of the jurisdiction, that of the cohort, whether there is a pool, a group. Numbers
/// begin at 1; 0 is none.
const JURISDICTION: u8 = 0b0000_0111;
const COHORT: u8 = 0b0001_1000;
const COHORT_SHIFT: u32 = 3;
const POOL: u8 = 0b0010_0000;
const GROUP: u8 = 0b0100_0000;

/// Tenants by their ids. Nothing in it needs another check.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tenants {
    arena: Vec<u8>,
    /// Offsets into the arena.
    slots: Slots,
    pools: Vec<Arc<str>>,
    groups: Vec<Arc<str>>,
}

/// What the policy says of a tenant.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tenant<'t> {
    pub(crate) pool: Option<&'t Arc<str>>,
    pub(crate) jurisdiction: Option<Jurisdiction>,
    pub(crate) cohort: Option<Cohort>,
    pub(crate) group: Option<&'t Arc<str>>,
}

/// An entry as it is written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Entry<'t> {
    pub(crate) pool: Option<&'t [u8]>,
    pub(crate) jurisdiction: Option<Jurisdiction>,
    pub(crate) cohort: Option<Cohort>,
    pub(crate) group: Option<&'t [u8]>,
}

/// Entries one after another, before they can be found.
#[derive(Debug, Default)]
pub(crate) struct TenantsBuilder {
    arena: Vec<u8>,
    count: usize,
    pins_a_cohort: bool,
    pub(crate) pools: Names,
    pub(crate) groups: Names,
}

/// Names by number, each once.
#[derive(Debug, Default)]
pub(crate) struct Names {
    list: Vec<Arc<str>>,
    slots: Slots,
    /// The number of the name that was asked for last: tenants that follow each other are often of one pool or group.
    last: u32,
}

// === impl Tenants ===

impl Tenants {
    /// What is said of a tenant.
    #[inline(never)]
    pub(crate) fn get(&self, id: &str) -> Option<Tenant<'_>> {
        let offset = self.slots.find(id.as_bytes(), &|offset| id_at(&self.arena, offset))?;
        self.tenant(entry(&self.arena, offset)?.1)
    }

    fn tenant(&self, rest: &[u8]) -> Option<Tenant<'_>> {
        let (flags, rest) = rest.split_first()?;
        let (pool, rest) = if flags & POOL == 0 { (None, rest) } else { name(&self.pools, rest)? };
        let (group, _) = if flags & GROUP == 0 { (None, rest) } else { name(&self.groups, rest)? };
        Some(Tenant {
            pool,
            jurisdiction: word(&Jurisdiction::ALL, flags & JURISDICTION),
            cohort: cohort(*flags),
            group,
        })
    }
}

fn cohort(flags: u8) -> Option<Cohort> {
    word(&Cohort::ALL, (flags & COHORT) >> COHORT_SHIFT)
}

/// The word of this number.
fn word<T: Copy>(words: &[T], number: u8) -> Option<T> {
    words.get(usize::from(number).checked_sub(1)?).copied()
}

/// The number of this word.
fn number<T: PartialEq>(words: &[T], word: Option<T>) -> u8 {
    let place = word.and_then(|word| words.iter().position(|known| *known == word));
    place.and_then(|place| u8::try_from(place).ok()).map_or(0, |place| place.wrapping_add(1))
}

/// The name whose number `rest` begins with, and what follows it.
fn name<'t, 'r>(names: &'t [Arc<str>], rest: &'r [u8]) -> Option<(Option<&'t Arc<str>>, &'r [u8])> {
    let ([low, middle, high], rest) = rest.split_first_chunk()?;
    Some((names.get(usize::try_from(u32::from_le_bytes([*low, *middle, *high, 0])).ok()?), rest))
}

/// The id of the entry at an offset, and what follows it.
fn entry(arena: &[u8], offset: u32) -> Option<(&[u8], &[u8])> {
    let (length, rest) = arena.get(usize::try_from(offset).ok()?..)?.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// How long an entry is that has these flags, after its id.
fn packed(flags: u8) -> usize {
    let names = u32::from(flags & POOL != 0).wrapping_add(u32::from(flags & GROUP != 0));
    usize::try_from(names.wrapping_mul(3).wrapping_add(1)).unwrap_or_default()
}

/// The id of the entry at an offset.
fn id_at(arena: &[u8], offset: u32) -> &[u8] {
    entry(arena, offset).unwrap_or_default().0
}

// === impl TenantsBuilder ===

impl TenantsBuilder {
    /// For entries whose text takes so many bytes: a third of that is what most need.
    pub(crate) fn for_text(bytes: usize) -> Self {
        Self { arena: Vec::with_capacity(bytes / 3), ..Self::default() }
    }

    /// Adds a tenant, whose id is one. `None` when a name is not UTF-8, or one too many.
    pub(crate) fn push(&mut self, id: &[u8], entry: Entry<'_>) -> Option<()> {
        let mut flags =
            number(&Jurisdiction::ALL, entry.jurisdiction) | number(&Cohort::ALL, entry.cohort) << COHORT_SHIFT;
        let mut names = [None, None];
        if let Some(pool) = entry.pool {
            flags |= POOL;
            names[0] = Some(self.pools.number(pool)?);
        }
        if let Some(group) = entry.group {
            flags |= GROUP;
            names[1] = Some(self.groups.number(group)?);
        }
        self.arena.push(u8::try_from(id.len()).ok()?);
        self.arena.extend_from_slice(id);
        self.arena.push(flags);
        for number in names.into_iter().flatten() {
            // The names that three bytes can tell apart are enough.
            let [low, middle, high, 0] = number.to_le_bytes() else { return None };
            self.arena.extend_from_slice(&[low, middle, high]);
        }
        self.pins_a_cohort |= entry.cohort.is_some();
        self.count = self.count.saturating_add(1);
        Some(())
    }

    /// Gives back what no entry took.
    pub(crate) fn shrink(&mut self) {
        self.arena.shrink_to_fit();
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether one of them has a cohort of its own.
    pub(crate) fn pins_a_cohort(&self) -> bool {
        self.pins_a_cohort
    }

    /// Makes all ids lower case.
    pub(crate) fn fold(&mut self) {
        let mut rest = self.arena.as_mut_slice();
        while let Some((length, after)) = std::mem::take(&mut rest).split_first_mut() {
            let Some((id, after)) = after.split_at_mut_checked(usize::from(*length)) else { return };
            id.make_ascii_lowercase();
            let flags = after.first().copied().unwrap_or_default();
            rest = after.get_mut(packed(flags)..).unwrap_or_default();
        }
    }

    /// The tenants; `None` when an id is there twice.
    #[inline(never)]
    pub(crate) fn build(mut self) -> Option<Tenants> {
        self.shrink();
        let mut slots = Slots::for_texts(self.count);
        let mut offset = 0_u32;
        while let Some((id, rest)) = entry(&self.arena, offset) {
            if slots.put(offset, id, &|offset| id_at(&self.arena, offset)).is_some() {
                return None;
            }
            let length = id.len().saturating_add(1).saturating_add(packed(*rest.first()?));
            offset = offset.checked_add(u32::try_from(length).ok()?)?;
        }
        Some(Tenants { arena: self.arena, slots, pools: self.pools.list, groups: self.groups.list })
    }
}

// === impl Names ===

fn text(list: &[Arc<str>], number: u32) -> &[u8] {
    usize::try_from(number).ok().and_then(|number| list.get(number)).map_or(&[], |name| name.as_bytes())
}

impl Names {
    /// The number of a name, which is new if it has none. `None` when it is not UTF-8.
    fn number(&mut self, name: &[u8]) -> Option<u32> {
        let last = self.list.get(usize::try_from(self.last).ok()?);
        if last.is_none_or(|last| last.as_bytes() != name) {
            self.last = self.find(str::from_utf8(name).ok()?)?;
        }
        Some(self.last)
    }

    #[inline(never)]
    fn find(&mut self, name: &str) -> Option<u32> {
        if let Some(number) = self.slots.find(name.as_bytes(), &|number| text(&self.list, number)) {
            return Some(number);
        }
        let number = u32::try_from(self.list.len()).ok()?;
        self.list.push(name.into());
        let full = self.list.len() > self.slots.room();
        if full {
            self.slots = Slots::for_texts(self.list.len().saturating_mul(2));
        }
        let added = if full { 0 } else { number };
        for number in added..=number {
            self.slots.put(number, text(&self.list, number), &|number| text(&self.list, number));
        }
        Some(number)
    }

    /// All names.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Arc<str>> {
        self.list.iter()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn what_is_put_in_is_found() {
        const TENANTS: usize = 5_000;
        let names: Vec<String> = (0..300).map(|number| format!("name-{number}")).collect();
        let some = |number: usize, of: usize| (!number.is_multiple_of(of)).then(|| names[number % 300].as_bytes());
        let expected = |number: usize| Entry {
            pool: some(number, 2),
            jurisdiction: (number % 5).checked_sub(1).map(|index| Jurisdiction::ALL[index]),
            cohort: (number % 3).checked_sub(1).map(|index| Cohort::ALL[index]),
            group: some(number, 3),
        };
        let mut builder = TenantsBuilder::for_text(10);
        assert!(builder.is_empty() && !builder.pins_a_cohort());
        for number in 0..TENANTS {
            builder.push(format!("Home-{number}").as_bytes(), expected(number)).unwrap();
        }
        assert!(!builder.is_empty() && builder.pins_a_cohort());
        builder.fold();
        let tenants = builder.build().unwrap();
        for number in 0..TENANTS {
            let (found, expected) = (tenants.get(&format!("home-{number}")).unwrap(), expected(number));
            assert_eq!(found.pool.map(|pool| pool.as_bytes()), expected.pool);
            assert_eq!(found.group.map(|group| group.as_bytes()), expected.group);
            assert_eq!((found.jurisdiction, found.cohort), (expected.jurisdiction, expected.cohort));
            assert!(tenants.get(&format!("Home-{number}")).is_none());
        }
        assert_eq!(tenants.pools.len() + tenants.groups.len(), 150 + 200);
        assert!(tenants.get("").is_none() && tenants.get("home").is_none());
        assert!(Tenants::default().get("home-1").is_none());
    }

    #[test]
    fn an_id_that_comes_twice_is_refused() {
        let mut builder = TenantsBuilder::default();
        for id in ["a", "b", "A"] {
            builder.push(id.as_bytes(), Entry::default()).unwrap();
        }
        builder.fold();
        assert!(builder.build().is_none());
    }
}
