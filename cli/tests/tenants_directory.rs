//! `careplane directory`: what it writes it takes, and what is wrong is said with its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("directory").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn careplane(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_careplane")).current_dir(folder).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    [&*String::from_utf8_lossy(&output.stdout), &String::from_utf8_lossy(&output.stderr)].concat()
}

const POLICY: &str = "\
version: careplane/v1
identity: {trustedPeers: any, tenant: {sources: [{header: x-tenant-id}]}}
routing: {pools: [pool-a, pool-b], canary: {percent: 0}}
tenants: {unknown: deny, directory: {cluster: directory}}
";

const TENANTS: &str = "\
care-home-0042: {pool: pool-b, jurisdiction: scotland, cohort: canary, group: willow}
care-home-0043: {jurisdiction: wales}
care-home-0044: {}
";

#[test]
fn what_is_no_text_is_not_left_out_in_silence() {
    let folder = folder("types");
    let tenants = "care-home-1: {group: 42, pool: ~}\ncare-home-2: {jurisdiction: [wales]}\ncare-home-3: wales\n";
    fs::write(folder.join("tenants.yaml"), tenants).unwrap();
    let built = careplane(&folder, &["directory", "build", "tenants.yaml", "--output", "site"]);
    assert_eq!(
        text(&built),
        "tenants.yaml:1:22: group is 42: expected a text\n\
         tenants.yaml:2:29: jurisdiction is [\"wales\"]: expected a text\n\
         tenants.yaml:3:14: \"wales\" is no entry: expected such as {pool: pool-a}\n"
    );
    assert_eq!((built.status.code(), folder.join("site").exists()), (Some(1), false));
}

#[test]
fn a_column_that_is_there_twice_is_refused() {
    let folder = folder("columns");
    fs::write(folder.join("tenants.csv"), "tenant,pool,group,pool\nhome,pool-a,willow,pool-b\n").unwrap();
    let built = careplane(&folder, &["directory", "build", "tenants.csv", "--output", "site"]);
    let expected = "careplane: tenants.csv:1: the column \"pool\" is there twice: expected each once\n";
    assert_eq!((built.status.code(), text(&built).as_str()), (Some(2), expected));
}

#[test]
fn yaml_json_and_csv_make_the_same_directory_which_a_proxy_takes() {
    let folder = folder("forms");
    fs::write(folder.join("policy.yaml"), POLICY).unwrap();
    fs::write(folder.join("tenants.yaml"), TENANTS).unwrap();
    let json = r#"{"care-home-0044": {}, "care-home-0043": {"jurisdiction": "wales"},
        "care-home-0042": {"pool": "pool-b", "jurisdiction": "scotland", "cohort": "canary", "group": "willow"}}"#;
    fs::write(folder.join("tenants.json"), json).unwrap();
    let csv = "tenant,group,jurisdiction,pool,cohort\ncare-home-0043,,wales,,\ncare-home-0044,,,,\n\
               care-home-0042,willow,scotland,pool-b,canary\n";
    fs::write(folder.join("tenants.csv"), csv).unwrap();
    let mut indexes = Vec::new();
    for form in ["yaml", "json", "csv"] {
        let built = careplane(&folder, &["directory", "build", &format!("tenants.{form}"), "--output", form]);
        assert!(built.status.success(), "{}", text(&built));
        assert!(text(&built).starts_with(&format!("{form}: 3 tenants in 1 parts of ")), "{}", text(&built));
        let checked = careplane(&folder, &["directory", "check", form, "--policy", "policy.yaml"]);
        assert!(checked.status.success(), "{}", text(&checked));
        indexes.push(fs::read_to_string(folder.join(form).join("index.json")).unwrap());
    }
    assert!(indexes.windows(2).all(|pair| pair[0] == pair[1]), "{indexes:?}");

    let explain = |more: &[&str]| {
        let request =
            ["explain", "--policy", "policy.yaml", "--header", "x-tenant-id: care-home-0042", "--request", "GET /"];
        text(&careplane(&folder, &[&request, more].concat()))
    };
    let with = explain(&["--directory", "yaml"]);
    assert!(with.contains("pinned in the directory") && with.contains("Care Inspectorate"), "{with}");
    let without = explain(&[]);
    assert!(without.contains("no directory has come (--directory)"), "{without}");
}

#[test]
fn an_edit_leaves_the_parts_of_the_directory_before_and_removes_older_ones() {
    let folder = folder("edits");
    let build = |pool: &str| {
        fs::write(folder.join("tenants.yaml"), format!("home: {{pool: {pool}}}\n")).unwrap();
        let built = careplane(&folder, &["directory", "build", "tenants.yaml", "--output", "out"]);
        assert!(built.status.success(), "{}", text(&built));
        fs::read_dir(folder.join("out/parts")).unwrap().count()
    };
    assert_eq!(["pool-a", "pool-b", "pool-c", "pool-c"].map(build), [1, 2, 2, 1]);
}

#[test]
fn each_problem_has_a_place_and_says_what_instead() {
    let folder = folder("problems");
    let bad = "a b: {}\nhome-1: {pool: Pool}\nhome-2: {jurisdiction: mars}\nhome-3: {colour: red}\n";
    fs::write(folder.join("bad.yaml"), bad).unwrap();
    let built = careplane(&folder, &["directory", "build", "bad.yaml", "--output", "out"]);
    let said = text(&built);
    assert_eq!(built.status.code(), Some(1), "{said}");
    for line in [
        "bad.yaml:1:1: \"a b\" is not a tenant id: expected 1 to 128",
        "bad.yaml:2:1: pool \"Pool\": expected the name of a pool",
        "bad.yaml:3:1: \"mars\" is not a jurisdiction: expected england",
        "bad.yaml:4:10: unknown field `colour`: expected one of pool",
    ] {
        assert!(said.contains(line), "{line} is missing in {said}");
    }
    assert!(!folder.join("out").exists());
    assert_eq!(careplane(&folder, &["directory", "check", "nowhere"]).status.code(), Some(2));

    fs::write(folder.join("tenants.yaml"), "home: {pool: pool-z, cohort: canary}\n").unwrap();
    fs::write(folder.join("policy.yaml"), POLICY).unwrap();
    assert!(careplane(&folder, &["directory", "build", "tenants.yaml", "--output", "out"]).status.success());
    let checked = careplane(&folder, &["directory", "check", "out", "--policy", "policy.yaml"]);
    let said = text(&checked);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains("line 1: \"pool-z\": expected a pool of the policy"), "{said}");
    let part = fs::read_dir(folder.join("out/parts")).unwrap().next().unwrap().unwrap().path();
    fs::write(&part, "home\tpool-a\t\tcanary\t\n").unwrap();
    let said = text(&careplane(&folder, &["directory", "check", "out"]));
    assert!(said.contains("has another SHA-256 than in the index: expected "), "{said}");
}

#[test]
fn a_grant_says_what_the_directory_says_of_the_tenant() {
    let folder = folder("grants");
    fs::write(folder.join("tenants.yaml"), "york-1: {group: north}\n").unwrap();
    let built = careplane(&folder, &["directory", "build", "tenants.yaml", "--output", "out"]);
    assert!(built.status.success(), "{}", text(&built));
    let policy = "version: careplane/v1\nidentity:\n  tenant: {sources: [{claim: home}, {path: tenant}]}\n  \
                  grants:\n    - {name: head, when: {claim: roles, contains: manager}, \
                  tenants: {group: {claim: groups}}}\n\
                  tenants: {directory: {cluster: c}}\ncontexts:\n  \
                  - {name: homes, complianceLevel: high, match: [{path: '/homes/{tenant}'}]}\n";
    fs::write(folder.join("policy.yaml"), policy).unwrap();
    let request = ["explain", "--policy", "policy.yaml", "--directory", "out", "--request", "/homes/york-1"];
    let caller = ["--claims", r#"{"roles": "manager", "groups": ["south"]}"#];
    let said = text(&careplane(&folder, &[&request[..], &caller].concat()));
    assert!(said.contains("head: does not reach york-1: claim groups has no north"), "{said}");
}
