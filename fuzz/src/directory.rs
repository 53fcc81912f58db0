//! A directory of tenants as a web server sends it, beside a model that reads lines into a map.
//!
//! Input: a letter, an index, lines of a part. The letter says how the index misstates these lines: `s` about the size,
//! `d` about the digest, `c` about the count; any other does not. The index of the input is read by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use careplane_exchange::memory::rules;
use careplane_policy::directory::{Directory, Entry, FaultKind, Index, KnownPools, Part, build};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{claims, input};

const PART_MAX: usize = 32 * 1024;
const POOLS: [&str; 3] = ["pool-a", "pool-b", "dedicated-a"];
const JURISDICTIONS: [&str; 4] = ["england", "scotland", "wales", "northern-ireland"];
const COHORTS: [&str; 2] = ["canary", "stable"];

static KNOWN: LazyLock<KnownPools> = LazyLock::new(|| {
    let policy = json!({
        "version": "careplane/v1",
        "routing": {"pools": &POOLS[..2], "dedicated": &POOLS[2..]},
        "tenants": {"directory": {"cluster": "directory"}},
    });
    let rules = rules(&policy.to_string()).unwrap_or_else(|problems| panic!("{problems}"));
    rules.policy.routing.directory.as_ref().expect("the policy has a directory").pools.clone()
});

/// What a line says: pool, jurisdiction, cohort, group; empty when it says nothing.
type Line = [String; 4];

/// What an index says of a part: its name, its size, its tenants.
type PartOfIndex = (String, usize, u64);

pub(crate) fn run(data: &[u8]) {
    let [fault, index, lines] = input::parts(data);
    read_index(index);
    read_part(fault, lines);
}

/// The tenants of a good index, and name, size and tenants of each part.
fn model_of_index(index: &Value) -> Option<(u64, Vec<PartOfIndex>)> {
    let hex = |name: &str| name.len() == 64 && name.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    let mut parts = Vec::new();
    for part in index["parts"].as_array()? {
        let name = part["name"].as_str().filter(|name| hex(name))?;
        let bytes = part["bytes"].as_u64().filter(|bytes| *bytes <= PART_MAX as u64)?;
        parts.push((name.to_owned(), usize::try_from(bytes).ok()?, part["tenants"].as_u64()?));
    }
    // Parts cannot have as many: each is refused by its own lines later.
    let sum = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.2));
    let tenants = index["tenants"].as_u64()?;
    let good = index["schema"] == "careplane.directory/v1" && (1..=2048).contains(&parts.len()) && tenants > 0;
    (good && sum.unwrap_or(u64::MAX) == tenants).then_some((tenants, parts))
}

fn read_index(bytes: &[u8]) {
    let read = Index::read(bytes);
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let model = model_of_index(&value);
    match &read {
        Ok(index) => {
            let parts = index.parts.iter().map(|part| (part.name.clone(), part.bytes, part.tenants)).collect();
            assert_eq!(Some((index.tenants, parts)), model);
        }
        Err(fault) => {
            assert_eq!(fault.kind, FaultKind::Format);
            // What is wrong is a name that comes twice. Written again, it does not.
            assert!(model.is_none() || Index::read(value.to_string().as_bytes()).is_ok(), "{fault}");
        }
    }
}

/// The tenants of lines that are good; nothing when any is not.
fn model_of_part(lines: &[u8]) -> Option<BTreeMap<String, Line>> {
    let text = std::str::from_utf8(lines).ok()?.strip_suffix('\n')?;
    let mut tenants: BTreeMap<String, Line> = BTreeMap::new();
    for line in text.split('\n') {
        let values: Vec<&str> = line.split('\t').collect();
        let [id, pool, jurisdiction, cohort, group] = values[..] else { return None };
        let is_group = group.len() <= 128 && !group.contains(char::is_control);
        let one_of = |value: &str, known: &[&str]| value.is_empty() || known.contains(&value);
        let good = claims::is_tenant(id.as_bytes())
            && one_of(pool, &POOLS)
            && one_of(jurisdiction, &JURISDICTIONS)
            && one_of(cohort, &COHORTS)
            && is_group;
        let comes_later = tenants.last_key_value().is_none_or(|(last, _)| id > last.as_str());
        if !good || !comes_later {
            return None;
        }
        tenants.insert(id.to_owned(), [pool, jurisdiction, cohort, group].map(str::to_owned));
    }
    Some(tenants)
}

fn read_part(fault: &[u8], lines: &[u8]) {
    let count = lines.split_inclusive(|byte| *byte == b'\n').count() as u64;
    let digest = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (bytes, name, tenants) = match fault {
        b"s" => (lines.len() + 1, digest(lines), count),
        b"d" => (lines.len(), digest(b"other"), count),
        b"c" => (lines.len(), digest(lines), count + 1),
        _ => (lines.len(), digest(lines), count),
    };
    let index = json!({
        "schema": "careplane.directory/v1", "tenants": tenants,
        "parts": [{"name": name, "bytes": bytes, "tenants": tenants}],
    });
    let Ok(index) = Index::read(index.to_string().as_bytes()) else {
        assert!(tenants == 0 || bytes > PART_MAX);
        return;
    };
    let model = model_of_part(lines);
    let expected = match (fault, &model) {
        (b"s", _) => Some(FaultKind::Size),
        (b"d", _) => Some(FaultKind::Digest),
        (b"c", _) | (_, None) => Some(FaultKind::Format),
        (_, Some(_)) => None,
    };
    let part = Part::read(lines.to_vec(), 0, &index, &KNOWN);
    assert_eq!(part.as_ref().err().map(|fault| fault.kind), expected, "{:?}", part.err());
    let (Ok(part), Some(model)) = (part, model) else { return };
    assert_finds(&Directory::new(vec![Arc::new(part)], tenants), &model);

    // Written anew and divided, it says the same.
    let entries: BTreeMap<String, Entry<'_>> = model.iter().map(|(id, line)| (id.clone(), entry(line))).collect();
    let built = build(&entries).unwrap_or_else(|problems| panic!("{problems:?}"));
    let index = Index::read(built.index.as_bytes()).expect("what is written can be read");
    let parts = built.parts.iter().enumerate().map(|(number, part)| {
        Arc::new(Part::read(part.lines.clone().into_bytes(), number, &index, &KNOWN).expect("so can each part"))
    });
    assert_finds(&Directory::new(parts.collect(), index.tenants), &model);
}

fn entry(line: &Line) -> Entry<'_> {
    use careplane_policy::document::{Cohort, Jurisdiction};
    let [pool, jurisdiction, cohort, group] = line;
    let some = |value| Some(value).filter(|value: &&str| !value.is_empty());
    Entry {
        pool: some(pool),
        jurisdiction: Jurisdiction::from_word(jurisdiction.as_bytes()),
        cohort: Cohort::from_word(cohort.as_bytes()),
        group: some(group),
    }
}

/// Every tenant is found with what its line says, and nothing near it is one that is not.
fn assert_finds(directory: &Directory, model: &BTreeMap<String, Line>) {
    let said = |id: &str| {
        directory.find(id).map(|entry| {
            let jurisdiction = entry.jurisdiction.map(|known| known.as_str());
            let cohort = entry.cohort.map(|known| known.as_str());
            [entry.pool, jurisdiction, cohort, entry.group].map(|value| value.unwrap_or_default().to_owned())
        })
    };
    assert_eq!(directory.tenants(), model.len() as u64);
    for id in model.keys() {
        let mut asked = vec![id.clone(), format!("{id}x"), format!("{id}\t"), format!("{id}\n"), format!("-{id}")];
        asked.extend([id[..id.len() - 1].to_owned(), id[1..].to_owned(), id.to_uppercase()]);
        for asked in asked {
            assert_eq!(said(&asked).as_ref(), model.get(&asked), "{asked:?}");
        }
    }
    assert!(["", "\t", "\n", "\t\t\t\t"].into_iter().all(|none| said(none).is_none()));
}
