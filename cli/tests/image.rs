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
