//! A hash table of numbers that stand for texts, which are elsewhere.
//!
//! It takes eight bytes a text, and no copy of the text. The texts are the operator's, so no one chooses some that
//! collide.

use xxhash_rust::xxh64::xxh64;

/// No number is in this slot.
const EMPTY: u32 = u32::MAX;

/// Numbers by their texts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slots(Vec<u32>);

/// The text that a number stands for.
type TextOf<'f, 't> = &'f dyn Fn(u32) -> &'t [u8];

impl Slots {
    /// For so many texts: half of the slots stay empty, so each text is found after a look or two.
    pub(crate) fn for_texts(count: usize) -> Self {
        Self(vec![EMPTY; count.saturating_mul(2)])
    }

    /// How many texts it is for.
    pub(crate) fn room(&self) -> usize {
        self.0.len() / 2
    }

    /// The number of a text.
    pub(crate) fn find(&self, text: &[u8], text_of: TextOf<'_, '_>) -> Option<u32> {
        self.0.get(self.place(text, text_of)?).copied().filter(|number| *number != EMPTY)
    }

    /// Puts a number in, and returns the one that stood for the text before.
    pub(crate) fn put(&mut self, number: u32, text: &[u8], text_of: TextOf<'_, '_>) -> Option<u32> {
        let place = self.place(text, text_of)?;
        let before = std::mem::replace(self.0.get_mut(place)?, number);
        (before != EMPTY).then_some(before)
    }

    /// The slot of a text, or the empty one where it belongs. None when all slots are taken.
    #[inline(never)]
    fn place(&self, text: &[u8], text_of: TextOf<'_, '_>) -> Option<usize> {
        let slots = u64::try_from(self.0.len()).ok()?;
        let begin = usize::try_from((xxh64(text, 0) >> 32).wrapping_mul(slots) >> 32).ok()?;
        let (before, after) = self.0.split_at_checked(begin)?;
        let is_it = |number: &u32| *number == EMPTY || same(text_of(*number), text);
        match after.iter().position(is_it) {
            Some(place) => begin.checked_add(place),
            None => before.iter().position(is_it),
        }
    }
}

/// Whether two texts are the same. They differ at their ends: `care-home-0001`, `care-home-0002`.
fn same(one: &[u8], other: &[u8]) -> bool {
    match (one.split_last_chunk::<8>(), other.split_last_chunk::<8>()) {
        (Some((one, end)), Some((other, other_end))) => end == other_end && one == other,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_text_is_found_by_its_last_number() {
        let texts: Vec<String> = (0..1_000).map(|number| format!("text-{number}")).collect();
        let text_of = |number: u32| texts[usize::try_from(number).unwrap()].as_bytes();
        let mut slots = Slots::for_texts(texts.len());
        for (number, text) in (0..).zip(&texts) {
            assert_eq!(slots.find(text.as_bytes(), &text_of), None);
            assert_eq!(slots.put(number, text.as_bytes(), &text_of), None);
            assert_eq!(slots.put(number, text.as_bytes(), &text_of), Some(number));
        }
        for (number, text) in (0..).zip(&texts) {
            assert_eq!(slots.find(text.as_bytes(), &text_of), Some(number));
        }
        assert_eq!(slots.room(), 1_000);
    }

    #[test]
    fn without_room_there_is_nothing() {
        let mut slots = Slots::default();
        assert_eq!((slots.find(b"a", &|_| b"a"), slots.put(0, b"a", &|_| b"a"), slots.room()), (None, None, 0));
    }
}
