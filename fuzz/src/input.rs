//! How an input is cut into what a target needs.

/// Between the parts: a control character, so that nothing is lost that is not tried in another part.
const SEPARATOR: u8 = 0x1e;

/// The first `N` parts of an input; the last is all the rest, separators included. Missing ones are empty.
pub(crate) fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut parts = data.splitn(N, |byte| *byte == SEPARATOR);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}
