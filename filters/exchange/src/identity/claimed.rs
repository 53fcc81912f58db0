//! What the sources of one part of an identity say together, and who is believed.

use careplane_policy::Source;

use super::asked::Asked;

/// What the sources of one part of an identity say together.
pub(super) struct Claimed<T> {
    pub(super) value: Option<T>,
    pub(super) source: Option<&'static str>,
    pub(super) other: Option<T>,
    pub(super) malformed: bool,
}

// === impl Claimed ===

impl<T: PartialEq> Claimed<T> {
    pub(super) fn new() -> Self {
        Self { value: None, source: None, other: None, malformed: false }
    }

    /// Asks every source. The first that answers is believed; one that answers otherwise contradicts it.
    pub(super) fn gather<'a>(sources: &'a [Source], asked: &Asked<'a>, parse: impl Fn(&[u8]) -> Option<T>) -> Self {
        let needs_claim = needs_claim(sources, asked.trusted);
        let mut claimed = Self::new();
        for source in sources {
            let Some(bytes) = asked.read(source) else { continue };
            match parse(&bytes) {
                None => claimed.malformed = true,
                Some(value) => claimed.add(value, source, !(needs_claim && only_asks(source))),
            }
        }
        claimed.finish();
        claimed
    }

    /// Takes what a source says; `is_enough` is whether that names a value on its own.
    pub(super) fn add(&mut self, value: T, source: &Source, is_enough: bool) {
        match &self.value {
            None if is_enough => {
                self.value = Some(value);
                self.source = Some(source.kind());
            }
            first if first.as_ref() != Some(&value) => {
                self.other.get_or_insert(value);
            }
            _ => {}
        }
    }

    /// What was not enough on its own was a contradiction only if it is not what another source said after all.
    pub(super) fn finish(&mut self) {
        if self.other == self.value {
            self.other = None;
        }
    }

    pub(super) fn contradicts(&self) -> bool {
        self.value.is_some() && self.other.is_some()
    }
}

/// A path and a host say what is asked for, not who asks. So where the policy also knows claims, they say no
/// tenant by themselves unless a trusted peer sent them: they can confirm a claim, and contradict it.
pub(super) fn needs_claim(sources: &[Source], trusted: bool) -> bool {
    !trusted && sources.iter().any(|source| matches!(source, Source::Claim(_)))
}

pub(super) fn only_asks(source: &Source) -> bool {
    matches!(source, Source::Path(_) | Source::Host(_))
}
