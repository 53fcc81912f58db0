//! Writes a directory. Native tools use it; the module does not.

use std::collections::BTreeMap;

use serde::Serialize;

use super::index::{Index, IndexPart, PARTS_MAX, SCHEMA};
use super::{Entry, GROUP_EXPECTED, KnownPools, PART_BYTES_MAX, is_group, place, sha256};
use crate::id::TenantId;

/// A directory as it is served.
#[derive(Debug)]
pub struct Built {
    /// `index.json`.
    pub index: String,
    /// `parts/…`, in the order of their numbers.
    pub parts: Vec<BuiltPart>,
}

/// One part as it is served.
#[derive(Debug)]
pub struct BuiltPart {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub lines: String,
}

/// Why a directory cannot be written.
#[derive(Debug, PartialEq, Eq)]
pub struct Unwritable {
    /// The tenant that it is about; none when it is about all.
    pub tenant: Option<String>,
    /// What is wrong, and what is expected.
    pub message: String,
}

/// Writes the directory of these tenants. The same tenants make the same bytes.
///
/// The number of parts is a power of two, the smallest with which each part is small enough: it stays while tenants
/// come and go, so an edit changes the parts of the tenants that it is about.
///
/// # Errors
/// Everything that is wrong with the entries.
pub fn build(tenants: &BTreeMap<String, Entry<'_>>) -> Result<Built, Vec<Unwritable>> {
    let mut problems = Vec::new();
    if tenants.is_empty() {
        problems.push(Unwritable { tenant: None, message: "there are no tenants: expected at least one".to_owned() });
    }
    let mut lines: Vec<(&str, String)> = Vec::with_capacity(tenants.len());
    for (id, entry) in tenants {
        let mut wrong = |message: String| problems.push(Unwritable { tenant: Some(id.clone()), message });
        if TenantId::new(id.as_bytes()).is_none() {
            wrong(format!("{id:?} is not a tenant id: expected {}", TenantId::EXPECTED));
        }
        if let Some((pool, Err(expected))) = entry.pool.map(|pool| (pool, KnownPools::default().check(pool))) {
            wrong(format!("pool {pool:?}: expected {expected}"));
        }
        if let Some(group) = entry.group.filter(|group| !is_group(group)) {
            wrong(format!("group {group:?}: expected {GROUP_EXPECTED}"));
        }
        lines.push((id, self::line(id, entry)));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut count = 1_usize;
    while count <= PARTS_MAX {
        let parts = divide(&lines, count);
        if parts.iter().all(|(_, part)| part.len() <= PART_BYTES_MAX) {
            return written(parts, tenants.len()).map_err(|problem| vec![problem]);
        }
        count = count.saturating_mul(2);
    }
    let message = format!("there are too many tenants: expected at most {PARTS_MAX} parts of {PART_BYTES_MAX} bytes");
    Err(vec![Unwritable { tenant: None, message }])
}

fn line(id: &str, entry: &Entry<'_>) -> String {
    let values = [
        id,
        entry.pool.unwrap_or_default(),
        entry.jurisdiction.map_or("", |jurisdiction| jurisdiction.as_str()),
        entry.cohort.map_or("", |cohort| cohort.as_str()),
        entry.group.unwrap_or_default(),
    ];
    [&values.join("\t"), "\n"].concat()
}

/// The lines of each part, and how many.
fn divide(lines: &[(&str, String)], count: usize) -> Vec<(u64, String)> {
    let mut parts = vec![(0_u64, String::new()); count];
    for (id, line) in lines {
        if let Some((tenants, part)) = place(id, count).and_then(|number| parts.get_mut(number)) {
            *tenants = tenants.saturating_add(1);
            part.push_str(line);
        }
    }
    parts
}

fn written(parts: Vec<(u64, String)>, tenants: usize) -> Result<Built, Unwritable> {
    let mut index = Index {
        schema: SCHEMA,
        tenants: u64::try_from(tenants).unwrap_or(u64::MAX),
        parts: Vec::with_capacity(parts.len()),
    };
    let mut built = Vec::with_capacity(parts.len());
    for (tenants, lines) in parts {
        let name = sha256(lines.as_bytes());
        index.parts.push(IndexPart { name: name.clone(), bytes: lines.len(), tenants });
        built.push(BuiltPart { name, lines });
    }
    let index = json(&index)?;
    Ok(Built { index, parts: built })
}

fn json(index: &impl Serialize) -> Result<String, Unwritable> {
    let text = serde_json::to_string(index);
    text.map(|text| text + "\n").map_err(|error| Unwritable { tenant: None, message: error.to_string() })
}
