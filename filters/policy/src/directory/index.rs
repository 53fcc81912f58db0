//! The index of a directory.

use std::fmt::Display;

use serde::Serialize;

use super::{Fault, FaultKind, PART_BYTES_MAX};
use crate::decode::Tree;

/// The largest index, in bytes.
pub const INDEX_BYTES_MAX: usize = 256 * 1024;
/// The most parts.
pub const PARTS_MAX: usize = 2048;
pub(super) const SCHEMA: &str = "careplane.directory/v1";
/// Of a SHA-256 in hex.
const NAME_LENGTH: usize = 64;

/// Which parts a directory has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Index {
    pub(super) schema: &'static str,
    /// The tenants of all parts.
    pub tenants: u64,
    /// The parts in the order of their numbers.
    pub parts: Vec<IndexPart>,
}

/// One part of an index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IndexPart {
    /// The SHA-256 of its bytes, in hex.
    pub name: String,
    /// Its size.
    pub bytes: usize,
    /// How many tenants it has.
    pub tenants: u64,
}

// === impl Index ===

impl Index {
    /// Reads an index, and checks all of it.
    ///
    /// # Errors
    /// The first fault.
    #[inline(never)]
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let tree: Tree<'_> = serde_json::from_slice(bytes).map_err(|error| fault("is not JSON", &error))?;
        if tree.get("schema").and_then(Tree::as_str) != Some(SCHEMA) {
            return Err(fault("has another `schema`: expected", &SCHEMA));
        }
        let tenants = tree.get("tenants").and_then(Tree::as_u64).unwrap_or_default();
        let written = match tree.get("parts") {
            Some(Tree::Array(parts)) => parts.as_slice(),
            _ => &[],
        };
        if written.is_empty() || written.len() > PARTS_MAX {
            return Err(fault("has no `parts`, or too many: expected at most", &PARTS_MAX));
        }
        let mut sum = 0_u64;
        let mut parts = Vec::with_capacity(written.len());
        for written in written {
            let part = part(written).ok_or_else(|| {
                fault("has no `name` of 64 hex digits, `bytes` or `tenants` in its part", &parts.len())
            })?;
            sum = sum.saturating_add(part.tenants);
            parts.push(part);
        }
        if sum != tenants || tenants == 0 {
            return Err(fault("has other `tenants` than its parts have together: expected above 0, and", &sum));
        }
        Ok(Self { schema: SCHEMA, tenants, parts })
    }
}

fn part(written: &Tree<'_>) -> Option<IndexPart> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let name = written.get("name")?.as_str()?;
    let bytes = usize::try_from(written.get("bytes")?.as_u64()?).ok()?;
    let good = name.len() == NAME_LENGTH && name.bytes().all(hex) && bytes <= PART_BYTES_MAX;
    good.then_some(IndexPart { name: name.to_owned(), bytes, tenants: written.get("tenants")?.as_u64()? })
}

fn fault(problem: &str, expected: &dyn Display) -> Fault {
    Fault::new(FaultKind::Format, "index.json", problem, expected)
}
