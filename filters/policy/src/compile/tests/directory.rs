//! `tenants.directory`.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use serde_json::{Value, json};

use crate::document::{Cohort, Jurisdiction};
use crate::id::TenantId;
use crate::{Policy, UnknownTenant};

#[test]
fn a_directory_needs_a_cluster_and_a_folder() {
    let with = |directory: Value| {
        Policy::from_json(
            json!({"version": "careplane/v1", "tenants": {"unknown": "deny", "directory": directory}})
                .to_string()
                .as_bytes(),
        )
    };
    let source = with(json!({"cluster": "c"})).unwrap().routing.directory.unwrap();
    assert_eq!((&*source.authority, &*source.path, source.interval.as_secs()), ("c", "/directory", 60));
    assert_eq!(with(json!({"cluster": "c", "path": "/a/b/"})).unwrap().routing.directory.unwrap().path, "/a/b");
    assert_eq!(with(json!({"cluster": "c", "path": "/"})).unwrap().routing.directory.unwrap().path, "");
    for (bad, path) in [
        (json!({}), "tenants.directory.cluster: missing"),
        (json!({"cluster": "c", "path": "x"}), "tenants.directory.path: \"x\" is not the path of a folder"),
        (json!({"cluster": "c", "path": "/x?y"}), "tenants.directory.path: "),
        (
            json!({"cluster": "c", "interval": "10ms"}),
            "tenants.directory.interval: is too short: expected at least \"1s\"",
        ),
        (json!({"cluster": "c", "timeout": "0s"}), "tenants.directory.timeout: "),
        (json!({"cluster": "c", "shrink": "maybe"}), "tenants.directory.shrink: "),
    ] {
        let problems = with(bad).unwrap_err().to_string();
        assert!(problems.contains(path), "{path} is missing in {problems}");
    }
}

#[test]
fn what_the_policy_says_of_a_tenant_comes_before_the_directory() {
    use crate::directory::{Directory, Entry, Index, KnownPools, Part, build};

    let policy = json!({
        "version": "careplane/v1",
        "routing": {"pools": ["pool-a", "pool-b"], "dedicated": ["dedicated-a"], "canary": {"percent": 0}},
        "tenants": {
            "unknown": "deny",
            "entries": {"both": {"pool": "dedicated-a"}, "own": {"jurisdiction": "wales"}},
            "directory": {"cluster": "c"},
        },
    });
    let policy = Policy::from_json(policy.to_string().as_bytes()).unwrap();
    let listed = Entry {
        pool: Some("pool-b"),
        jurisdiction: Some(Jurisdiction::Scotland),
        cohort: Some(Cohort::Canary),
        group: None,
    };
    let built = build(&["both", "listed"].map(|id| (id.to_owned(), listed)).into_iter().collect()).unwrap();
    let index = Index::read(built.index.as_bytes()).unwrap();
    let part = Part::read(built.parts[0].lines.clone().into_bytes(), 0, &index, &KnownPools::default()).unwrap();
    let directory = Directory::new(vec![part.into()], index.tenants);
    let place = |id: &str, directory| {
        let placement = policy.routing.place(&TenantId::new(id.as_bytes()).unwrap(), directory)?;
        Ok((placement.pool.as_deref().map(str::to_owned), placement.pinned, placement.jurisdiction, placement.cohort))
    };
    let scotland = Some(Jurisdiction::Scotland);
    for (id, expected) in [
        ("listed", Ok((Some("pool-b".to_owned()), true, scotland, Some(Cohort::Canary)))),
        ("both", Ok((Some("dedicated-a".to_owned()), true, scotland, Some(Cohort::Canary)))),
        ("nowhere", Err(UnknownTenant)),
    ] {
        assert_eq!(place(id, Some(&directory)), expected, "{id}");
    }
    let own = place("own", Some(&directory)).unwrap();
    assert_eq!((own.1, own.2, own.3), (false, Some(Jurisdiction::Wales), Some(Cohort::Stable)));
    // Before the first directory has come.
    assert_eq!(place("listed", None), Err(UnknownTenant));
    assert!(place("both", None).is_ok());
}
