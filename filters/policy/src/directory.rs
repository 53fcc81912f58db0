//! A directory of tenants, too large for a policy document: an index, and parts that are named by their contents.
//!
//! ```text
//! index.json     {"schema": "careplane.directory/v1", "tenants": 3, "parts": [{"name": "…", "bytes": 97, …}]}
//! parts/<name>   care-home-0042⇥dedicated-a⇥scotland⇥canary⇥willow-group↵     a line for each tenant, by id
//! ```
//!
//! A tenant is in the part with the number `XXH64(id, seed = 0) mod parts`. So an entry that changes gives one part
//! another name, and that part alone is fetched again. A directory is its parts as they came: looking a tenant up is a
//! binary search over lines.

mod index;
mod pools;
#[cfg(test)]
mod tests;
mod write;

use std::fmt::{self, Display};
use std::sync::{Arc, RwLock};

use xxhash_rust::xxh64::xxh64;

pub use index::{INDEX_BYTES_MAX, Index, IndexPart, PARTS_MAX};
pub(crate) use pools::DEDICATED;
pub use pools::KnownPools;
pub use write::{Built, BuiltPart, Unwritable, build};

use crate::document::{Cohort, Jurisdiction};
use crate::id;

/// The largest part, in bytes: reading one has to be short, for requests wait meanwhile.
pub const PART_BYTES_MAX: usize = 32 * 1024;
/// The longest group, in bytes.
pub const GROUP_MAX: usize = 128;
/// How much of a bad value a message repeats, in bytes.
const SHOWN: usize = 40;
const SHAPE: &str = "an id, a pool, a jurisdiction, a cohort and a group, with a tab between them and a line end after";
const GROUP_EXPECTED: &str = "the name of a group: 1 to 128 bytes without control characters";

/// The tenants of a directory. Nothing in it needs another check.
#[derive(Debug, Default)]
pub struct Directory {
    parts: Vec<Arc<Part>>,
    tenants: u64,
}

/// One part of a directory, checked.
#[derive(Debug)]
pub struct Part {
    name: String,
    /// Lines, each with its end, in the order of their ids.
    lines: String,
    /// Where each begins: two bytes a tenant, and no search for line ends while a request waits.
    starts: Vec<u16>,
}

/// What a directory says of a tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entry<'d> {
    /// The pool that it is pinned to.
    pub pool: Option<&'d str>,
    /// The nation whose regulator inspects it.
    pub jurisdiction: Option<Jurisdiction>,
    /// The release cohort that it is pinned to.
    pub cohort: Option<Cohort>,
    /// The group of homes that it belongs to.
    pub group: Option<&'d str>,
}

/// Why an index or a part is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind, as metrics count it.
    pub kind: FaultKind,
    /// Where it is, what is there, and what is expected.
    pub message: String,
}

/// A kind of [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// It is larger than it may be, or another size than the index says.
    Size,
    /// It is not what it is named after.
    Digest,
    /// Its form is wrong, or a word in it is not known.
    Format,
}

/// The directory that requests see now. It is replaced as a whole.
#[derive(Debug, Default)]
pub struct DirectoryView(RwLock<Option<Arc<Directory>>>);

// === impl DirectoryView ===

impl DirectoryView {
    /// The directory; none until the first one has come.
    pub fn get(&self) -> Option<Arc<Directory>> {
        // In a proxy, a VM has one thread, and nothing writes meanwhile. Waiting would bring code that can abort.
        self.0.try_read().ok()?.clone()
    }

    /// Replaces the directory.
    pub fn set(&self, directory: Directory) {
        if let Ok(mut place) = self.0.try_write() {
            *place = Some(Arc::new(directory));
        }
    }
}

// === impl Directory ===

impl Directory {
    /// The directory of these parts, all of an index, in its order.
    pub fn new(parts: Vec<Arc<Part>>, tenants: u64) -> Self {
        Self { parts, tenants }
    }

    /// How many tenants it has.
    pub fn tenants(&self) -> u64 {
        self.tenants
    }

    /// Its parts.
    pub fn parts(&self) -> &[Arc<Part>] {
        &self.parts
    }

    /// What it says of a tenant; `None` when it does not have it.
    #[inline(never)]
    pub fn find(&self, tenant: &str) -> Option<Entry<'_>> {
        let part = self.parts.get(place(tenant, self.parts.len())?)?;
        Entry::read(part.find(tenant)?)
    }
}

/// The number of the part that a tenant is in, of so many.
pub(crate) fn place(tenant: &str, parts: usize) -> Option<usize> {
    let hash = xxh64(tenant.as_bytes(), 0).checked_rem(u64::try_from(parts).ok()?)?;
    usize::try_from(hash).ok()
}

// === impl Part ===

impl Part {
    /// Reads the part with this number, and checks all of it.
    ///
    /// # Errors
    /// The first fault.
    #[inline(never)]
    pub fn read(bytes: Vec<u8>, number: usize, index: &Index, pools: &KnownPools) -> Result<Self, Fault> {
        let fault = |kind, problem, expected: &dyn Display| {
            Err(Fault::new(kind, &["part ", &number.to_string()].concat(), problem, expected))
        };
        let Some(expected) = index.parts.get(number) else {
            return fault(FaultKind::Format, "is not in the index:", &index.parts.len());
        };
        if bytes.len() != expected.bytes {
            return fault(FaultKind::Size, "has another size than in the index: expected", &expected.bytes);
        }
        let digest = sha256(&bytes);
        if digest != expected.name {
            return fault(FaultKind::Digest, "has another SHA-256 than in the index: expected", &expected.name);
        }
        let Ok(lines) = String::from_utf8(bytes) else {
            return fault(FaultKind::Format, "is not UTF-8: expected", &SHAPE);
        };
        // Not more than the bytes have room for, whatever the index says.
        let tenants = usize::try_from(expected.tenants).unwrap_or_default();
        let mut starts: Vec<u16> = Vec::with_capacity(tenants.min(lines.len()));
        let (mut count, mut last, mut start) = (0_u64, "", 0_usize);
        for line in lines.split_inclusive('\n') {
            count = count.saturating_add(1);
            // A part has fewer bytes.
            starts.push(u16::try_from(start).unwrap_or(u16::MAX));
            start = start.saturating_add(line.len());
            match check_line(line, last, number, index.parts.len(), pools) {
                Ok(id) => last = id,
                Err((problem, expected)) => {
                    return fault(FaultKind::Format, &format!("line {count}: {}", shown(problem)), &expected);
                }
            }
        }
        if count != expected.tenants {
            return fault(FaultKind::Format, "has other `tenants` than in the index: expected", &expected.tenants);
        }
        Ok(Self { name: digest, lines, starts })
    }

    /// Its name: the SHA-256 of its bytes, in hex.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the part that an index lists, of which the index says nothing false.
    pub fn is(&self, listed: &IndexPart) -> bool {
        self.name == listed.name
            && self.lines.len() == listed.bytes
            && u64::try_from(self.starts.len()) == Ok(listed.tenants)
    }

    /// Its lines.
    pub fn lines(&self) -> &str {
        &self.lines
    }

    /// What follows the id in the line of a tenant.
    fn find(&self, tenant: &str) -> Option<&str> {
        let bytes = self.lines.as_bytes();
        let id =
            |start: u16| bytes.get(usize::from(start)..).unwrap_or_default().iter().take_while(|byte| **byte != b'\t');
        let found = self.starts.binary_search_by(|start| id(*start).cmp(tenant.as_bytes())).ok()?;
        let start = usize::from(*self.starts.get(found)?).checked_add(tenant.len())?.checked_add(1)?;
        let end = self.starts.get(found.saturating_add(1)).map_or(bytes.len(), |next| usize::from(*next));
        self.lines.get(start..end)?.strip_suffix('\n')
    }
}

/// Returns the id; or what is wrong, and what is expected.
#[inline(never)]
fn check_line<'l>(
    line: &'l str,
    last: &str,
    number: usize,
    parts: usize,
    pools: &KnownPools,
) -> Result<&'l str, (&'l str, &'static str)> {
    let Some((id, rest)) = line.strip_suffix('\n').and_then(|line| line.split_once('\t')) else {
        return Err((line, SHAPE));
    };
    if !id::is_tenant_id(id.as_bytes()) {
        return Err((id, id::TenantId::EXPECTED));
    }
    if id <= last || place(id, parts) != Some(number) {
        return Err((id, "ids in the order of their bytes, each once, in the part XXH64(id, 0) mod parts"));
    }
    let Some([pool, jurisdiction, cohort, group]) = values(rest) else { return Err((line, SHAPE)) };
    if !pool.is_empty() {
        pools.check(pool).map_err(|expected| (pool, expected))?;
    }
    if !jurisdiction.is_empty() && Jurisdiction::from_word(jurisdiction.as_bytes()).is_none() {
        return Err((jurisdiction, "a jurisdiction: england, scotland, wales or northern-ireland"));
    }
    if !cohort.is_empty() && Cohort::from_word(cohort.as_bytes()).is_none() {
        return Err((cohort, "a cohort: canary or stable"));
    }
    if !group.is_empty() && !is_group(group) {
        return Err((group, GROUP_EXPECTED));
    }
    Ok(id)
}

/// What a claim can say: 1 to 128 bytes, no control characters among them.
pub(crate) fn is_group(group: &str) -> bool {
    (1..=GROUP_MAX).contains(&group.len()) && !group.contains(char::is_control)
}

// === impl Entry ===

impl<'d> Entry<'d> {
    /// Reads what follows the id.
    fn read(rest: &'d str) -> Option<Self> {
        let [pool, jurisdiction, cohort, group] = values(rest)?;
        let some = |value: &'d str| if value.is_empty() { None } else { Some(value) };
        Some(Self {
            pool: some(pool),
            jurisdiction: Jurisdiction::from_word(jurisdiction.as_bytes()),
            cohort: Cohort::from_word(cohort.as_bytes()),
            group: some(group),
        })
    }
}

/// The values after the id.
fn values(rest: &str) -> Option<[&str; 4]> {
    let mut values = rest.split('\t');
    let four = [values.next()?, values.next()?, values.next()?, values.next()?];
    if values.next().is_some() { None } else { Some(four) }
}

// === impl Fault ===

impl Fault {
    #[inline(never)]
    fn new(kind: FaultKind, place: &str, problem: &str, expected: &dyn Display) -> Self {
        Self { kind, message: format!("{place}: {problem} {expected}") }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// A value as a message repeats it.
#[inline(never)]
fn shown(value: &str) -> String {
    let short = value.get(..value.floor_char_boundary(SHOWN)).unwrap_or_default();
    format!("{short:?}: expected")
}

/// In lower-case hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    careplane_sha256::hex(&careplane_sha256::digest(bytes))
}
