//! How an input is cut into what a target needs.

/// Separates the parts. It is a control character, which the targets also try in other ways.
const SEPARATOR: u8 = 0x1e;

/// The first `N` parts of an input. The last part is the whole rest, with its separators. Missing parts are empty.
pub(crate) fn parts<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut parts = data.splitn(N, |byte| *byte == SEPARATOR);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}
