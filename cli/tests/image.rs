//! `careplane image` as an operator runs it: build, push to a registry that wants a password, pin.

mod registry;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use registry::Registry;

const MODULE: &[u8] = b"\0asm\x01\0\0\0 and what follows";

/// A folder with a module, credentials for `registry` in `docker/`, and a manifest.
fn folder(registry: &Registry) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write("careplane.wasm", MODULE);
    // "nurse:round", as `docker login` keeps it.
    let credentials = format!(r#"{{"auths": {{"{}": {{"auth": "bnVyc2U6cm91bmQ="}}}}}}"#, registry.address());
    write("docker/config.json", credentials.as_bytes());
    write("manifests/image.yaml", b"spec:\n  url: oci://registry.example/careplane/careplane:0.1.0\n");
    folder
}

fn careplane(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_careplane"))
        .arg("image")
        .args(arguments)
        .current_dir(folder)
        .env("DOCKER_CONFIG", folder.join("docker"))
        .output()
        .unwrap()
}

fn succeeds(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn fails(output: Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_is_built_is_what_is_pushed_and_what_is_pinned() {
    let registry = Registry::start(Some("Basic bnVyc2U6cm91bmQ="));
    let folder = folder(&registry);
    let built = succeeds(careplane(folder.path(), &["build", "--module", "careplane.wasm", "--output", "image"]));
    let digests: Vec<&str> = built.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();

    for (form, digest) in ["compat", "artifact"].into_iter().zip(digests) {
        let address = format!("oci://{}/care/careplane:{form}", registry.address());
        let push = ["push", "--layout", "image", "--form", form, "--plain-http", &address];
        let pinned = succeeds(careplane(folder.path(), &push));
        assert_eq!(pinned.trim(), format!("{address}@{digest}"));
        assert_eq!(succeeds(careplane(folder.path(), &push)), pinned, "again: nothing to upload");

        let manifest: serde_json::Value = serde_json::from_slice(&registry.manifest(form).unwrap()).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        assert!(layers.iter().all(|layer| registry.blob(layer["digest"].as_str().unwrap()).is_some()));
        let module = registry.blob(layers.last().unwrap()["digest"].as_str().unwrap()).unwrap();
        assert_eq!(module == MODULE, form == "artifact");

        succeeds(careplane(folder.path(), &["pin", "--manifests", "manifests", pinned.trim()]));
        let manifest = fs::read_to_string(folder.path().join("manifests/image.yaml")).unwrap();
        assert_eq!(manifest, format!("spec:\n  url: {pinned}"));
    }
}

#[test]
fn without_the_password_nothing_is_pushed() {
    let registry = Registry::start(Some("Basic c29tZWJvZHk6ZWxzZQ=="));
    let folder = folder(&registry);
    succeeds(careplane(folder.path(), &["build", "--module", "careplane.wasm", "--output", "image"]));
    let address = format!("oci://{}/care/careplane:1", registry.address());
    let error = fails(careplane(folder.path(), &["push", "--layout", "image", "--plain-http", &address]));
    assert!(error.contains(&format!("cannot push to {address}")), "{error}");
    assert!(registry.manifest("1").is_none());
}

#[test]
fn a_file_that_is_no_module_is_refused() {
    let registry = Registry::start(None);
    let folder = folder(&registry);
    let module = ["build", "--module", "manifests/image.yaml", "--output", "image"];
    let error = fails(careplane(folder.path(), &module));
    assert!(error.contains("manifests/image.yaml is not a WebAssembly module"), "{error}");
    assert!(!folder.path().join("image").exists());
}

#[test]
fn a_folder_with_anything_beside_a_layout_is_not_emptied() {
    let registry = Registry::start(None);
    let folder = folder(&registry);
    let build = || careplane(folder.path(), &["build", "--module", "careplane.wasm", "--output", "image"]);
    let again = succeeds(build());
    assert_eq!(succeeds(build()), again, "a layout takes the place of a layout");
    for name in ["image/notes.txt", "image/blobs/mine", "image/blobs/sha256/mine"] {
        let file = folder.path().join(name);
        fs::write(&file, "mine").unwrap();
        let error = fails(build());
        assert!(error.contains(&format!("something else than an image layout, {name}")), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        fs::remove_file(file).unwrap();
    }
}

/// Runs a program of the machine, which has to succeed.
fn runs(program: &str, arguments: &[&str], folder: &Path) -> Vec<u8> {
    let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn where_a_module_comes_from_and_what_is_in_it_goes_with_the_image() {
    let registry = Registry::start(None);
    let folder = folder(&registry);
    let source = folder.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("Cargo.lock"), "version = 4\n").unwrap();
    runs("git", &["init", "--quiet"], &source);
    let commit =
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "--message", "all"];
    runs("git", &["add", "--all"], &source);
    runs("git", &commit, &source);
    let head = String::from_utf8(runs("git", &["rev-parse", "HEAD"], &source)).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let module = folder.path().join("careplane.wasm");
    let bill = runs("python3", &["supply-chain/sbom.py", module.to_str().unwrap()], root);
    let parsed = cyclonedx_bom::prelude::Bom::parse_from_json(&*bill).unwrap();
    let checked = cyclonedx_bom::prelude::Validate::validate(&parsed);
    assert!(checked.passed(), "{checked:?}");
    fs::write(folder.path().join("bill.json"), bill).unwrap();

    let build =
        ["build", "--module", "careplane.wasm", "--output", "image", "--source", "source", "--sbom", "bill.json"];
    let plain = ["build", "--module", "careplane.wasm", "--output", "plain"];
    let built = succeeds(careplane(folder.path(), &build));
    assert_eq!(succeeds(careplane(folder.path(), &plain)), built, "the images are those without");
    let address = format!("oci://{}/care/careplane:1", registry.address());
    let pinned = succeeds(careplane(folder.path(), &["push", "--layout", "image", "--plain-http", &address]));
    let digest = pinned.trim().split_once('@').unwrap().1;

    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("image/index.json")).unwrap()).unwrap();
    let pushed = |kind: &str| -> serde_json::Value {
        let entries = index["manifests"].as_array().unwrap().iter().filter(|entry| entry["artifactType"] == kind);
        let manifests = entries.filter_map(|entry| registry.manifest(entry["digest"].as_str().unwrap()));
        let manifests: Vec<serde_json::Value> = manifests.map(|text| serde_json::from_slice(&text).unwrap()).collect();
        assert_eq!(manifests.len(), 1, "{kind}: of the form that was pushed, and of no other");
        assert_eq!(manifests[0]["subject"]["digest"], digest);
        let layer = manifests[0]["layers"][0]["digest"].as_str().unwrap();
        serde_json::from_slice(&registry.blob(layer).unwrap()).unwrap()
    };
    assert_eq!(pushed("application/vnd.cyclonedx+json")["metadata"]["component"]["name"], "careplane");
    let statement = pushed("application/vnd.in-toto+json");
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    let from = &statement["predicate"]["buildDefinition"]["resolvedDependencies"][0];
    assert_eq!(
        (&from["digest"]["gitCommit"], &from["annotations"]["uncommittedChanges"]),
        (&head.trim().into(), &false.into())
    );
}

#[test]
fn a_bill_of_another_module_and_a_folder_that_is_no_checkout_are_refused() {
    let registry = Registry::start(None);
    let folder = folder(&registry);
    let build = ["build", "--module", "careplane.wasm", "--output", "image"];
    fs::write(folder.path().join("bill.json"), r#"{"bomFormat": "CycloneDX"}"#).unwrap();
    let error = fails(careplane(folder.path(), &[&build[..], &["--sbom", "bill.json"]].concat()));
    assert!(error.contains("bill.json: it is of another module"), "{error}");
    let error = fails(careplane(folder.path(), &[&build[..], &["--source", "docker"]].concat()));
    assert!(error.contains("cannot read docker/Cargo.lock"), "{error}");
    assert!(!folder.path().join("image").exists());
}
