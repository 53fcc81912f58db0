//! As much of the protobuf wire format as OTLP needs: <https://protobuf.dev/programming-guides/encoding/>.

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FIXED32: u8 = 5;

/// A message in the making. Members are written in the order of the calls; those with the default value are left out.
#[derive(Debug, Default, Clone)]
pub(crate) struct Message(Vec<u8>);

// === impl Message ===

impl Message {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn varint(&mut self, field: u32, value: u64) -> &mut Self {
        if value != 0 {
            self.key(field, VARINT).raw_varint(value);
        }
        self
    }

    pub(crate) fn fixed64(&mut self, field: u32, value: u64) -> &mut Self {
        if value != 0 {
            self.key(field, FIXED64).0.extend_from_slice(&value.to_le_bytes());
        }
        self
    }

    pub(crate) fn fixed32(&mut self, field: u32, value: u32) -> &mut Self {
        if value != 0 {
            self.key(field, FIXED32).0.extend_from_slice(&value.to_le_bytes());
        }
        self
    }

    pub(crate) fn bytes(&mut self, field: u32, value: &[u8]) -> &mut Self {
        if !value.is_empty() {
            self.length(field, value.len()).0.extend_from_slice(value);
        }
        self
    }

    /// A message inside this one; an empty one is written too, for repeated fields count it.
    pub(crate) fn message(&mut self, field: u32, write: impl FnOnce(&mut Message)) -> &mut Self {
        let mut inner = Message::default();
        write(&mut inner);
        self.length(field, inner.len()).0.extend_from_slice(&inner.0);
        self
    }

    /// Key and length of a member that the caller appends itself.
    pub(crate) fn length(&mut self, field: u32, length: usize) -> &mut Self {
        self.key(field, LENGTH_DELIMITED).raw_varint(u64::try_from(length).unwrap_or(u64::MAX))
    }

    /// Members that are encoded already.
    pub(crate) fn append(&mut self, encoded: &[u8]) -> &mut Self {
        self.0.extend_from_slice(encoded);
        self
    }

    fn key(&mut self, field: u32, wire_type: u8) -> &mut Self {
        self.raw_varint((u64::from(field) << 3) | u64::from(wire_type))
    }

    fn raw_varint(&mut self, mut value: u64) -> &mut Self {
        loop {
            let low = u8::try_from(value & 0x7f).unwrap_or_default();
            value >>= 7;
            if value == 0 {
                self.0.push(low);
                return self;
            }
            self.0.push(low | 0x80);
        }
    }
}

/// The first member `field` of a message, if it is a number; what follows something malformed is not read.
pub(crate) fn number(message: &[u8], field: u32) -> Option<u64> {
    members(message).find_map(|(found, value)| match value {
        Value::Number(number) if found == field => Some(number),
        _ => None,
    })
}

/// The first member `field` of a message, if it has bytes: as many of them as are here, where the message was cut off.
pub(crate) fn bytes(message: &[u8], field: u32) -> Option<&[u8]> {
    members(message).find_map(|(found, value)| match value {
        Value::Bytes(bytes) if found == field => Some(bytes),
        _ => None,
    })
}

enum Value<'m> {
    Number(u64),
    Bytes(&'m [u8]),
}

fn members(mut rest: &[u8]) -> impl Iterator<Item = (u32, Value<'_>)> {
    std::iter::from_fn(move || {
        let key = take_varint(&mut rest)?;
        let value = match u8::try_from(key & 7).ok()? {
            VARINT => Value::Number(take_varint(&mut rest)?),
            FIXED64 => Value::Bytes(take(&mut rest, 8)?),
            FIXED32 => Value::Bytes(take(&mut rest, 4)?),
            LENGTH_DELIMITED => {
                let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                // A collector's reason can be longer than what is read of its answer.
                let here = length.min(rest.len());
                Value::Bytes(take(&mut rest, here)?)
            }
            _ => return None,
        };
        Some((u32::try_from(key >> 3).ok()?, value))
    })
}

fn take<'m>(rest: &mut &'m [u8], length: usize) -> Option<&'m [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
