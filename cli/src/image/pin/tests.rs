use super::*;

const PINNED: &str = "oci://registry.internal:5000/care/careplane:1.2.3\
                      @sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

#[test]
fn every_url_of_the_image_is_replaced_and_nothing_else() {
    let before = "\
# url: oci://registry.example/careplane/careplane:0.1.0
spec:
  url: oci://registry.example/careplane/careplane:0.1.0   # the image
  other: {url: \"oci://elsewhere.example/careplane@sha256:\
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}
  third: {url: oci://registry.example/careplane/careplane-audit:0.1.0, a: 1}
";
    let folder =
        folder(&[("base/image.yaml", before), ("README.md", "url: oci://registry.example/careplane/careplane:0.1.0")]);
    let changes = pin(folder.path(), &PINNED.parse().unwrap()).unwrap();
    assert_eq!(changes.iter().map(|change| change.line).collect::<Vec<_>>(), [3, 4]);
    let after = fs::read_to_string(folder.path().join("base/image.yaml")).unwrap();
    let expected = format!(
        "\
# url: oci://registry.example/careplane/careplane:0.1.0
spec:
  url: {PINNED}   # the image
  other: {{url: \"{PINNED}\"}}
  third: {{url: oci://registry.example/careplane/careplane-audit:0.1.0, a: 1}}
"
    );
    assert_eq!(after, expected);
    assert!(fs::read_to_string(folder.path().join("README.md")).unwrap().ends_with(":0.1.0"));
}

/// The kustomization of docs/existing-mesh.md has one, which comes after the url of the manifest.
#[test]
fn the_url_in_a_json_patch_is_one() {
    let patch = "  - {op: replace, path: /spec/url, value: \"oci://registry.example/careplane/careplane:0.1.0\"}\n";
    let long = "  - op: replace\n    path: /spec/url\n    value: oci://registry.example/careplane/careplane:0.1.0\n";
    let folder = folder(&[("kustomization.yaml", &format!("{patch}{long}"))]);
    let changes = pin(folder.path(), &PINNED.parse().unwrap()).unwrap();
    assert_eq!(changes.iter().map(|change| change.line).collect::<Vec<_>>(), [1, 4]);
}

#[test]
fn pinning_again_changes_nothing_and_says_so() {
    let folder = folder(&[("a.yml", "url: oci://registry.example/careplane:1\n")]);
    pin(folder.path(), &PINNED.parse().unwrap()).unwrap();
    let again = pin(folder.path(), &PINNED.parse().unwrap()).unwrap();
    assert!(again[0].to_string().ends_with(", as before"), "{}", again[0]);
}

#[test]
fn a_pin_without_a_digest_or_without_a_place_is_refused() {
    let folder = folder(&[("a.yaml", "url: oci://registry.example/careplane/careplane-audit:1\n")]);
    let error = pin(folder.path(), &"oci://registry.example/careplane:1".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("has no digest"), "{error}");
    let error = pin(folder.path(), &PINNED.parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("images there: careplane-audit"), "{error}");
}
