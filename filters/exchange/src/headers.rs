//! The header map as the proxy serialises it, read in place.

use crate::host::HostError;

/// All headers of a message: one buffer, and where in it names and values are.
///
/// proxy-wasm ABI 0.2.1, all numbers 32-bit little-endian: count; per header, length of name and of value; per
/// header, name, NUL, value, NUL. Bytes are kept as they are: neither names nor values have to be UTF-8.
#[derive(Debug, Clone, Default)]
pub struct HeaderMap {
    buffer: Vec<u8>,
    headers: Vec<Header>,
    /// The marks that there are: most headers that are asked for are not there, which shows here.
    marks: u64,
}

/// Offsets into the buffer.
#[derive(Debug, Clone, Copy)]
struct Header {
    mark: u64,
    name: (usize, usize),
    value: (usize, usize),
}

// === impl HeaderMap ===

impl HeaderMap {
    /// Reads a serialised map. No bytes at all are an empty map.
    ///
    /// # Errors
    /// [`HostError::Malformed`] when lengths and bytes do not agree.
    pub fn new(buffer: Vec<u8>) -> Result<Self, HostError> {
        if buffer.is_empty() {
            return Ok(Self::default());
        }
        let headers = read(&buffer).ok_or(HostError::Malformed)?;
        let marks = headers.iter().fold(0, |marks, header| marks | header.mark);
        Ok(Self { buffer, headers, marks })
    }

    /// The first value of a header.
    // Inlined, so that the mark of a name that is known is computed while this is compiled.
    #[inline(always)]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mark = mark(name.as_bytes());
        if self.marks & mark == 0 { None } else { self.find(mark, name.as_bytes()) }
    }

    #[inline(never)]
    fn find(&self, mark: u64, name: &[u8]) -> Option<&[u8]> {
        for header in &self.headers {
            if header.mark == mark && self.slice(header.name) == name {
                return Some(self.slice(header.value));
            }
        }
        None
    }

    /// All values of a header, in order. `name` is in lower case, as Envoy keeps names.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let mark = mark(name.as_bytes());
        let has_name = move |header: &&Header| header.mark == mark && self.slice(header.name) == name.as_bytes();
        let headers = if self.marks & mark == 0 { &[] } else { &*self.headers };
        headers.iter().filter(has_name).map(|header| self.slice(header.value))
    }

    /// All headers in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers.iter().map(|header| (self.slice(header.name), self.slice(header.value)))
    }

    #[inline(always)]
    fn slice(&self, (start, end): (usize, usize)) -> &[u8] {
        self.buffer.get(start..end).unwrap_or_default()
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.headers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }
}

/// The kind of gRPC that a caller speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grpc {
    /// gRPC over HTTP/2, which Envoy answers in its own words (`Grpc::Common::hasGrpcContentType`).
    Native,
    /// gRPC-Web, for browsers.
    Web,
}

impl Grpc {
    /// By the content type of the request: `application/grpc`, `application/grpc+…`; `application/grpc-web…`.
    pub(crate) fn of(content_type: &[u8]) -> Option<Self> {
        match content_type.strip_prefix(b"application/grpc")? {
            b"" | [b'+', ..] => Some(Self::Native),
            rest if rest.starts_with(b"-web") => Some(Self::Web),
            _ => None,
        }
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for HeaderMap {
    /// A map with these headers; for hosts that are not a proxy.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut map = Self::default();
        for (name, value) in headers {
            let mark = mark(name.as_ref());
            let name = map.push(name.as_ref());
            let value = map.push(value.as_ref());
            map.headers.push(Header { mark, name, value });
            map.marks |= mark;
        }
        map
    }
}

impl HeaderMap {
    fn push(&mut self, bytes: &[u8]) -> (usize, usize) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        (start, self.buffer.len())
    }

    /// The serialised form that [`HeaderMap::new`] reads.
    pub fn serialise(&self) -> Vec<u8> {
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        let mut bytes = number(self.len()).to_vec();
        for (name, value) in self.iter() {
            bytes.extend_from_slice(&number(name.len()));
            bytes.extend_from_slice(&number(value.len()));
        }
        for (name, value) in self.iter() {
            for part in [name, value] {
                bytes.extend_from_slice(part);
                bytes.push(0);
            }
        }
        bytes
    }
}

/// `None` when lengths and bytes do not agree.
fn read(buffer: &[u8]) -> Option<Vec<Header>> {
    let (count, rest) = number(buffer)?;
    let (mut lengths, bytes) = rest.split_at_checked(count.checked_mul(8)?)?;
    let mut position = buffer.len().checked_sub(bytes.len())?;
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let (name_length, rest) = number(lengths)?;
        let (value_length, rest) = number(rest)?;
        lengths = rest;
        let name = (position, position.checked_add(name_length)?);
        let value_start = name.1.checked_add(1)?;
        let value = (value_start, value_start.checked_add(value_length)?);
        position = value.1.checked_add(1)?;
        if position > buffer.len() {
            return None;
        }
        headers.push(Header { mark: mark(buffer.get(name.0..name.1)?), name, value });
    }
    (position == buffer.len()).then_some(headers)
}

/// One bit of 64, by the length of a name and its last letter: few of the names of a request share one.
#[inline(always)]
fn mark(name: &[u8]) -> u64 {
    let last = u32::from(name.last().copied().unwrap_or_default());
    let length = u32::try_from(name.len()).unwrap_or_default();
    1_u64.wrapping_shl(length.wrapping_mul(7).wrapping_add(last))
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn sample() -> HeaderMap {
        [(":path", &b"/x"[..]), ("a", b""), ("b", b"1"), ("b", b"\xff\0\x80"), ("", b"nameless")].into_iter().collect()
    }

    #[test]
    fn what_is_serialised_is_read_back() {
        let map = HeaderMap::new(sample().serialise()).unwrap();
        assert_eq!(map.len(), 5);
        assert_eq!(map.get(":path"), Some(&b"/x"[..]));
        assert_eq!(map.get("a"), Some(&b""[..]));
        assert_eq!(map.all("b").collect::<Vec<_>>(), [&b"1"[..], b"\xff\0\x80"]);
        assert_eq!(map.get("c"), None);
    }

    #[test]
    fn every_truncation_and_extension_is_malformed() {
        let good = sample().serialise();
        for end in 1..good.len() {
            assert_eq!(HeaderMap::new(good[..end].to_vec()).err(), Some(HostError::Malformed), "{end}");
        }
        let longer = [good, vec![0]].concat();
        assert_eq!(HeaderMap::new(longer).err(), Some(HostError::Malformed));
    }

    #[test]
    fn grpc_is_what_envoy_takes_for_grpc() {
        for (content_type, expected) in [
            ("application/grpc", Some(Grpc::Native)),
            ("application/grpc+proto", Some(Grpc::Native)),
            ("application/grpc-web", Some(Grpc::Web)),
            ("application/grpc-web-text+proto", Some(Grpc::Web)),
            ("application/grpc;x", None),
            ("application/json", None),
            ("", None),
        ] {
            assert_eq!(Grpc::of(content_type.as_bytes()), expected, "{content_type}");
        }
    }

    #[test]
    fn lengths_that_lie_allocate_nothing() {
        for lie in [[0xff_u8; 4].to_vec(), [[0xff_u8; 4], [0xff; 4], [0xff; 4]].concat(), vec![0xff; 64]] {
            assert_eq!(HeaderMap::new(lie).err(), Some(HostError::Malformed));
        }
        assert!(HeaderMap::new(Vec::new()).unwrap().is_empty());
        assert!(HeaderMap::new(vec![0; 4]).unwrap().is_empty());
    }
}
