//! What is written is read and found; what is wrong is refused, and where.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const POOLS: [&str; 3] = ["pool-a", "pool-b", "dedicated-a"];

fn pools() -> KnownPools {
    KnownPools::new(POOLS.into_iter().map(Into::into).collect(), false)
}

fn entry(number: usize) -> Entry<'static> {
    let groups = ["willow-group", "oak & elm"];
    Entry {
        pool: POOLS.get(number % 5).copied(),
        jurisdiction: Jurisdiction::ALL.get(number % 6).copied(),
        cohort: [Cohort::Canary, Cohort::Stable].get(number % 7).copied(),
        group: groups.get(number % 4).copied(),
    }
}

fn tenants(count: usize) -> BTreeMap<String, Entry<'static>> {
    (0..count).map(|number| (format!("care-home-{number:06}"), entry(number))).collect()
}

fn read(built: &Built) -> Result<Directory, Fault> {
    let index = Index::read(built.index.as_bytes())?;
    let parts = built.parts.iter().enumerate();
    let parts =
        parts.map(|(number, part)| Part::read(part.lines.clone().into_bytes(), number, &index, &pools()).map(Arc::new));
    Ok(Directory::new(parts.collect::<Result<_, _>>()?, index.tenants))
}

/// An index of one part with these lines.
fn index_of(lines: &str) -> Value {
    json!({"schema": "careplane.directory/v1", "tenants": lines.lines().count(), "parts": [{
        "name": sha256(lines.as_bytes()), "bytes": lines.len(), "tenants": lines.lines().count(),
    }]})
}

fn fault(lines: &[u8]) -> Fault {
    let text = String::from_utf8_lossy(lines);
    let mut index = index_of(&text);
    index["parts"][0]["name"] = sha256(lines).into();
    index["parts"][0]["bytes"] = lines.len().into();
    let index = Index::read(index.to_string().as_bytes()).unwrap();
    Part::read(lines.to_vec(), 0, &index, &pools()).unwrap_err()
}

#[test]
fn every_tenant_that_was_written_is_found_and_no_other() {
    for count in [1, 2, 7, 1_000, 20_000] {
        let tenants = tenants(count);
        let directory = read(&build(&tenants).unwrap()).unwrap();
        assert_eq!(directory.tenants(), count as u64);
        for (id, entry) in &tenants {
            assert_eq!(directory.find(id).as_ref(), Some(entry), "{id}");
        }
        for other in ["", "a", "care-home-", "care-home-0000000", "care-home-00000", "z", "\n", "care-home-000000\t"] {
            assert_eq!(directory.find(other), None, "{other:?}");
        }
    }
    assert_eq!(Directory::default().find("care-home-000000"), None);
}

#[test]
fn an_edit_changes_one_part_and_the_same_tenants_make_the_same_bytes() {
    let mut tenants = tenants(20_000);
    let before = build(&tenants).unwrap();
    assert_eq!(build(&tenants).unwrap().index, before.index);
    assert!(before.parts.len() > 8 && before.parts.len().is_power_of_two(), "{}", before.parts.len());
    assert!(before.parts.iter().all(|part| part.lines.len() <= PART_BYTES_MAX));
    tenants.get_mut("care-home-000017").unwrap().pool = Some("pool-b");
    let after = build(&tenants).unwrap();
    let changed = before.parts.iter().zip(&after.parts).filter(|(before, after)| before.name != after.name).count();
    assert_eq!((changed, after.parts.len()), (1, before.parts.len()));
}

#[test]
fn the_format_is_what_it_was() {
    // Other tools write directories too: if this changes, the schema has to have another version.
    let entry = Entry { pool: Some("pool-a"), jurisdiction: Some(Jurisdiction::NorthernIreland), ..Entry::default() };
    let all = Entry { cohort: Some(Cohort::Canary), group: Some("willow"), ..entry };
    let tenants = [("a".to_owned(), Entry::default()), ("b".to_owned(), entry), ("c".to_owned(), all)];
    let built = build(&tenants.into_iter().collect()).unwrap();
    let lines = "a\t\t\t\t\nb\tpool-a\tnorthern-ireland\t\t\nc\tpool-a\tnorthern-ireland\tcanary\twillow\n";
    assert_eq!(built.parts[0].lines, lines);
    assert_eq!(serde_json::from_str::<Value>(&built.index).unwrap(), index_of(lines));
    assert_eq!(place("care-home-0042", 16), Some(13));
}

#[test]
fn each_fault_of_a_part_is_said_with_its_place() {
    for (lines, message) in [
        (&b"a\t\t\t\t\nb"[..], "part 0: line 2: \"b\": expected an id, a pool"),
        (b"a\n", "part 0: line 1: \"a\\n\": expected an id"),
        (b"a\t\t\t\n", "part 0: line 1: \"a\\t\\t\\t\\n\": expected an id, a pool"),
        (b"a\t\t\t\t\t\n", "expected an id, a pool"),
        (b"a b\t\t\t\t\n", "part 0: line 1: \"a b\": expected 1 to 128"),
        (b"9434765919\t\t\t\t\n", "\"9434765919\": expected 1 to 128 characters"),
        (b"b\t\t\t\t\na\t\t\t\t\n", "part 0: line 2: \"a\": expected ids in the order"),
        (b"a\t\t\t\t\na\t\t\t\t\n", "part 0: line 2: \"a\": expected ids in the order"),
        (b"a\t\tmars\t\t\n", "\"mars\": expected a jurisdiction: england, scotland, wales or northern-ireland"),
        (b"a\t\t\tbeta\t\n", "\"beta\": expected a cohort: canary or stable"),
        (b"a\tPool\t\t\t\n", "\"Pool\": expected the name of a pool: 1 to 63"),
        (b"a\tpool-z\t\t\t\n", "\"pool-z\": expected a pool of the policy"),
        (b"a\tdedicated-z\t\t\t\n", "\"dedicated-z\": expected a pool of the policy"),
        (b"a\t\t\t\tx\x01y\n", "\"x\\u{1}y\": expected the name of a group"),
        (b"\xff\t\t\t\t\n", "part 0: is not UTF-8"),
    ] {
        let fault = fault(lines);
        assert_eq!(fault.kind, FaultKind::Format, "{fault}");
        assert!(fault.message.contains(message), "{message} is missing in {fault}");
    }
    let index = Index::read(index_of("a\t\t\t\t\n").to_string().as_bytes()).unwrap();
    let other = |bytes: &str| Part::read(bytes.as_bytes().to_vec(), 0, &index, &pools()).unwrap_err();
    assert_eq!(other("a\t\t\t\t").kind, FaultKind::Size);
    assert_eq!(other("b\t\t\t\t\n").kind, FaultKind::Digest);
    // Of two parts, this tenant is in one.
    let tenants = tenants(2_000);
    let built = build(&tenants).unwrap();
    let mut index = Index::read(built.index.as_bytes()).unwrap();
    assert!(index.parts.len() > 1, "{}", index.parts.len());
    index.parts.swap(0, 1);
    let fault = Part::read(built.parts[1].lines.clone().into_bytes(), 0, &index, &pools()).unwrap_err();
    assert!(fault.message.contains("in the part XXH64(id, 0) mod parts"), "{fault}");
}

#[test]
fn each_fault_of_an_index_is_said_with_its_place() {
    let good = index_of("a\t\t\t\t\n");
    assert!(Index::read(good.to_string().as_bytes()).is_ok());
    let with = |patch: &dyn Fn(&mut Value)| {
        let mut index = good.clone();
        patch(&mut index);
        Index::read(index.to_string().as_bytes()).unwrap_err().message
    };
    for (message, expected) in [
        (with(&|index| index["schema"] = "careplane.directory/v2".into()), "index.json: has another `schema`"),
        (with(&|index| index["tenants"] = 2.into()), "index.json: has other `tenants`"),
        (with(&|index| index["tenants"] = "one".into()), "index.json: has other `tenants`"),
        (with(&|index| index["parts"] = json!([])), "index.json: has no `parts`"),
        (
            with(&|index| index["parts"][0]["name"] = "../x".into()),
            "index.json: has no `name` of 64 hex digits, `bytes` or `tenants` in its part 0",
        ),
        (with(&|index| index["parts"][0]["bytes"] = 70_000.into()), "in its part 0"),
        (Index::read(b"<html>").unwrap_err().message, "index.json: is not JSON"),
    ] {
        assert!(message.contains(expected), "{expected} is missing in {message}");
    }
}

#[test]
fn the_largest_index_that_is_written_can_be_read() {
    let part = json!({"name": "f".repeat(64), "bytes": PART_BYTES_MAX, "tenants": 1_000});
    let index = json!({
        "schema": "careplane.directory/v1", "tenants": 1_000 * PARTS_MAX, "parts": vec![part; PARTS_MAX],
    });
    assert!(index.to_string().len() <= INDEX_BYTES_MAX, "{}", index.to_string().len());
    assert_eq!(Index::read(index.to_string().as_bytes()).unwrap().parts.len(), PARTS_MAX);
}

#[test]
fn what_cannot_be_written_is_said_for_each_tenant() {
    let bad = [
        ("a b".to_owned(), Entry::default()),
        ("b".to_owned(), Entry { pool: Some("Pool"), ..Entry::default() }),
        ("c".to_owned(), Entry { group: Some("x\ty"), ..Entry::default() }),
    ];
    let problems = build(&bad.into_iter().collect()).unwrap_err();
    let tenants: Vec<&str> = problems.iter().filter_map(|problem| problem.tenant.as_deref()).collect();
    assert_eq!(tenants, ["a b", "b", "c"]);
    assert!(build(&BTreeMap::new()).is_err());
}

#[test]
fn under_a_policy_without_pools_those_of_the_directory_mean_nothing() {
    let none = KnownPools::default();
    assert_eq!((none.check("pool-z"), none.pool("pool-z")), (Ok(()), None));
    assert!(none.check("Pool").is_err());
    // A policy that knows fewer pools than the one before: its pinned tenants are not sent to others' pools.
    assert_eq!(pools().pool("pool-z").as_deref(), Some("pool-z"));
    let any = KnownPools::new(vec!["pool-a".into()], true);
    assert_eq!(any.check("dedicated-z"), Ok(()));
}
