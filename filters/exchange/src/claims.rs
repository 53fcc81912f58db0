//! The claims of a token that jwt_authn verified, as Envoy hands them over.
//!
//! | claim | bytes |
//! |---|---|
//! | text | itself |
//! | number | eight bytes of IEEE 754, little-endian |
//! | boolean | one byte, 0 or 1 |
//! | list | a serialised map ([`crate::HeaderMap`]) whose names are the items and whose values are empty |
//! | object | the same, with values |
//! | what has a null in it | nothing: Envoy cannot serialise it |

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};

use careplane_policy::{Claim, Test};

use crate::host::Host;

/// Where jwt_authn leaves the claims that it verified (`payload_in_metadata: payload`, as Istio sets it).
pub(crate) const CLAIMS: &str = "metadata\0filter_metadata\0envoy.filters.http.jwt_authn\0payload";
/// Enough for nearly every claim.
const PATH_CAPACITY: usize = 128;
/// Who made the token (RFC 7519 §4.1.1).
const ISSUER: &str = "iss";
/// Items of a list. One that is longer is none: whoever is in more homes than that has a grant for their group.
pub(crate) const ITEMS_MAX: usize = 1000;

/// The claims of one request.
pub(crate) struct Claims<'c> {
    host: &'c dyn Host,
    issuer: OnceCell<Option<Vec<u8>>>,
    /// What has been read, by the way to it. None are kept where no claim is asked for twice.
    known: Option<RefCell<Vec<Known<'c>>>>,
}

type Known<'c> = (&'c [String], Option<Vec<u8>>);

/// A claim that is a list.
#[derive(Clone, Copy)]
pub(crate) struct List<'b> {
    /// Eight bytes for each item: how long it is, and zero.
    lengths: &'b [u8],
    /// Each item, and the ends of its two texts.
    items: &'b [u8],
}

// === impl Claims ===

impl<'c> Claims<'c> {
    /// `repeats` says whether a claim can be asked for more than once.
    pub(crate) fn new(host: &'c dyn Host, repeats: bool) -> Self {
        Self { host, issuer: OnceCell::new(), known: repeats.then(RefCell::default) }
    }

    /// A claim as it is, if the token has it, it is not empty, and the right issuer made it.
    pub(crate) fn read(&self, claim: &'c Claim) -> Option<Vec<u8>> {
        if let Some(issuer) = &claim.issuer
            && self.issuer.get_or_init(|| self.ask([ISSUER].into_iter())).as_deref() != Some(issuer.as_bytes())
        {
            return None;
        }
        let Some(known) = &self.known else { return self.fetch(claim) };
        let mut known = known.borrow_mut();
        if let Some((_, value)) = known.iter().find(|(path, _)| *path == claim.path) {
            return value.clone();
        }
        let value = self.fetch(claim);
        known.push((&claim.path, value.clone()));
        value
    }

    /// Whether a claim passes a test.
    pub(crate) fn pass(&self, claim: &'c Claim, test: &Test) -> bool {
        self.read(claim).is_some_and(|value| match List::new(&value) {
            Some(list) => test.passes(list.items().map(word)),
            None => test.passes(std::iter::once(word(&value))),
        })
    }

    /// Whether a claim is a text, or a list that has it.
    pub(crate) fn name(&self, claim: &'c Claim, text: &str) -> bool {
        self.read(claim).is_some_and(|value| match List::new(&value) {
            Some(list) => list.items().any(|item| *word(item) == *text.as_bytes()),
            None => *word(&value) == *text.as_bytes(),
        })
    }

    fn fetch(&self, claim: &Claim) -> Option<Vec<u8>> {
        self.ask(claim.path.iter().map(String::as_str))
    }

    fn ask<'n>(&self, names: impl Iterator<Item = &'n str>) -> Option<Vec<u8>> {
        let mut path = String::with_capacity(PATH_CAPACITY);
        path.push_str(CLAIMS);
        for name in names {
            path.push('\0');
            path.push_str(name);
        }
        // An empty value is how some issuers say "none".
        self.host.property(&path).ok().flatten().filter(|value| !value.is_empty())
    }
}

// === impl List ===

impl<'b> List<'b> {
    /// The list that `bytes` is, if it is one: not an object, and not longer than [`ITEMS_MAX`].
    pub(crate) fn new(bytes: &'b [u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok().filter(|count| *count <= ITEMS_MAX)?;
        let (lengths, items) = rest.split_at_checked(count.checked_mul(8)?)?;
        let list = Self { lengths, items };
        let mut all = 0_usize;
        for length in list.lengths() {
            all = all.checked_add(length?)?.checked_add(2)?;
        }
        (all == items.len()).then_some(list)
    }

    /// The length of each item; `None` for a member of an object.
    fn lengths(self) -> impl Iterator<Item = Option<usize>> + use<'b> {
        self.lengths.chunks_exact(8).map(|pair| match pair {
            [a, b, c, d, 0, 0, 0, 0] => usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).ok(),
            _ => None,
        })
    }

    /// How many items there are.
    pub(crate) fn len(self) -> usize {
        self.lengths.len() / 8
    }

    /// The items as Envoy hands them over.
    pub(crate) fn items(self) -> impl Iterator<Item = &'b [u8]> {
        let mut rest = self.items;
        self.lengths().map_while(move |length| {
            let (item, after) = rest.split_at_checked(length?)?;
            rest = after.get(2..)?;
            Some(item)
        })
    }

    /// The first item, if all are the same.
    pub(crate) fn only(self) -> Option<&'b [u8]> {
        let mut items = self.items();
        let first = items.next()?;
        items.all(|item| item == first).then_some(first)
    }

    /// Whether a name is among the items.
    pub(crate) fn has(self, name: &str, fold: bool) -> bool {
        let name = name.as_bytes();
        let is_name = |item: &[u8]| match fold {
            true => item.eq_ignore_ascii_case(name),
            false => item == name,
        };
        self.items().any(|item| is_name(item) || (item.len() == 8 && is_name(&text(item))))
    }
}

/// A claim, or an item of one, as text. Envoy hands strings over as they are.
///
/// Eight printable bytes are read as text: as a number they would be above 2^52, where identifiers do not live.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, [u8]> {
    let is_printable = || bytes.iter().all(|byte| !byte.is_ascii_control()) && std::str::from_utf8(bytes).is_ok();
    match <[u8; 8]>::try_from(bytes) {
        Ok(number) if !is_printable() => {
            integer(f64::from_le_bytes(number)).map_or(Cow::Borrowed(bytes), |text| Cow::Owned(text.into_bytes()))
        }
        _ => Cow::Borrowed(bytes),
    }
}

/// The same for what is compared with words of the policy: `true` and `false` are words there.
fn word(bytes: &[u8]) -> Cow<'_, [u8]> {
    match bytes {
        [0] => Cow::Borrowed(b"false"),
        [1] => Cow::Borrowed(b"true"),
        _ => text(bytes),
    }
}

fn integer(number: f64) -> Option<String> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if number.fract() != 0.0 || !(0.0..EXACT).contains(&number) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number below 2^53, checked above"
    )]
    Some((number as u64).to_string())
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::HeaderMap;
    use crate::memory::list;

    #[test]
    fn a_list_is_read_item_by_item() {
        let number = 42_f64.to_le_bytes();
        let several: [&[u8]; 4] = [b"care-home-1", b"", b"b\0c", &number];
        for items in [&[][..], &[&b"a"[..]], &several, &vec![&b"a"[..]; ITEMS_MAX]] {
            let bytes = list(items);
            let read = List::new(&bytes).unwrap();
            assert_eq!(read.items().collect::<Vec<_>>(), items);
            assert_eq!(read.len(), items.len());
        }
        let bytes = list([&b"a"[..], &number]);
        let read = List::new(&bytes).unwrap();
        assert!(read.has("a", false) && read.has("42", false) && read.has("A", true) && !read.has("A", false));
    }

    #[test]
    fn what_is_not_a_list_is_none() {
        let good = list(["care-home-1", "care-home-2"]);
        let object = [("a", "b")].into_iter().collect::<HeaderMap>().serialise();
        let long = list(vec![&b"a"[..]; ITEMS_MAX + 1]);
        for bytes in [b"", &b"text"[..], b"\0\0\0\0\0", &[1; 8], &[255; 64], &object, &long, &good[..good.len() - 1]] {
            assert!(List::new(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn equal_items_are_one() {
        for (items, only) in
            [(&[][..], None), (&[&b"a"[..]], Some(&b"a"[..])), (&[b"a", b"a"], Some(b"a")), (&[b"a", b"b"], None)]
        {
            assert_eq!(List::new(&list(items)).unwrap().only(), only);
        }
    }
}
