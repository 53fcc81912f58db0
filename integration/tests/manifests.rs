//! The WasmPlugin resources are good, and say what is demonstrated here.

use std::path::PathBuf;

use careplane_integration::{config::Template, workspace};
use careplane_policy::Policy;
use serde_json::Value;

fn manifests() -> Vec<(PathBuf, Value)> {
    let folder = workspace::root().join("wasmplugin-manifests");
    let mut files = Vec::new();
    for folder in [folder.clone(), folder.join("one-plugin-per-filter")] {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")));
    }
    let read = |path: &PathBuf| serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    files.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

#[test]
fn there_is_one_for_the_bundle_and_one_for_each_filter() {
    let mut names: Vec<_> =
        manifests().iter().map(|(_, manifest)| manifest["spec"]["pluginName"].as_str().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["audit", "careplane", "sampling", "tenant-routing", "tracing-tags"]);
}

#[test]
fn each_says_what_istio_would_otherwise_decide_in_silence() {
    for (path, manifest) in manifests() {
        let path = path.display();
        let spec = &manifest["spec"];
        assert_eq!(manifest["kind"], "WasmPlugin", "{path}");
        assert!(spec["url"].as_str().unwrap().starts_with("oci://"), "{path}: a url without a scheme is dropped");
        assert_eq!(spec["phase"], "AUTHZ", "{path}: claims are verified before AUTHZ, and not before AUTHN");
        assert!(spec["priority"].is_i64(), "{path}: a plugin without a priority sorts last");
        assert_eq!(spec["failStrategy"], "FAIL_RELOAD", "{path}: one image, one VM, one failStrategy");
    }
}

#[test]
fn each_policy_is_good_and_all_are_the_same() {
    let policies: Vec<Value> =
        manifests().into_iter().map(|(_, manifest)| manifest["spec"]["pluginConfig"].clone()).collect();
    for policy in &policies {
        if let Err(problems) = Policy::from_json(policy.to_string().as_bytes()) {
            panic!("{problems}");
        }
        assert_eq!(policy, &policies[0]);
    }
}

#[test]
fn the_policy_is_the_one_that_is_demonstrated() {
    let demonstrated = Template::load().unwrap().policy().unwrap().clone();
    let deployed = manifests().remove(0).1["spec"]["pluginConfig"].clone();
    assert_eq!(deployed, demonstrated);
}
