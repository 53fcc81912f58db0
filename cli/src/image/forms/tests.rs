use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use super::*;

const MODULE: &[u8] = b"\0asm\x01\0\0\0 and what follows";

fn built(directory: &Path) -> (Layout, Vec<ImageIndexEntry>) {
    let layout = Layout::create(directory).unwrap();
    let annotations = annotations("careplane");
    let images: Vec<_> = Form::ALL.iter().map(|form| form.write(&layout, MODULE, &annotations).unwrap()).collect();
    layout.finish(images.clone()).unwrap();
    (layout, images)
}

fn manifest(layout: &Layout, image: &ImageIndexEntry) -> OciImageManifest {
    serde_json::from_slice(&layout.read(&image.digest).unwrap()).unwrap()
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            let relative = path.file_name().unwrap().to_str().unwrap().to_owned();
            all.insert(relative, fs::read(path).unwrap());
        }
    }
    all
}

#[test]
fn two_builds_are_the_same_to_the_last_byte() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    built(first.path());
    std::thread::sleep(std::time::Duration::from_millis(1100));
    built(second.path());
    assert_eq!(files(first.path()), files(second.path()));
}

#[test]
fn a_second_build_leaves_nothing_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let (_, images) = built(directory.path());
    let before = files(directory.path());
    let layout = Layout::create(directory.path()).unwrap();
    Form::Compat.write(&layout, b"\0asm another", &annotations("careplane")).unwrap();
    assert!(layout.read(&images[0].digest).is_err());
    built(directory.path());
    assert_eq!(files(directory.path()), before);
}

#[test]
fn a_directory_with_something_else_in_it_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("thesis.txt"), "years of work").unwrap();
    let error = Layout::create(directory.path()).unwrap_err().to_string();
    assert!(error.contains("holds something else"), "{error}");
    assert!(directory.path().join("thesis.txt").exists());
}

#[test]
fn the_compat_form_has_plugin_wasm_in_its_last_layer() {
    let directory = tempfile::tempdir().unwrap();
    let (layout, images) = built(directory.path());
    let manifest = manifest(&layout, &images[0]);
    let layer = manifest.layers.last().unwrap();
    assert_eq!(layer.media_type, "application/vnd.oci.image.layer.v1.tar+gzip");
    let mut archive =
        tar::Archive::new(flate2::read::GzDecoder::new(std::io::Cursor::new(layout.read(&layer.digest).unwrap())));
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.path().unwrap().to_str(), Some("plugin.wasm"));
    let mut content = Vec::new();
    entry.read_to_end(&mut content).unwrap();
    assert_eq!(content, MODULE);
}

#[test]
fn the_artifact_form_has_the_two_layers_that_istio_insists_on() {
    let directory = tempfile::tempdir().unwrap();
    let (layout, images) = built(directory.path());
    let manifest = manifest(&layout, &images[1]);
    let types: Vec<_> = manifest.layers.iter().map(|layer| layer.media_type.as_str()).collect();
    assert_eq!(types, [ARTIFACT_CONFIG, ARTIFACT_MODULE]);
    assert_eq!(layout.read(&manifest.layers[1].digest).unwrap(), MODULE);
}

#[test]
fn a_blob_that_was_changed_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let (layout, images) = built(directory.path());
    let path = directory.path().join("blobs").join(images[0].digest.replace(':', "/"));
    fs::write(path, "{}").unwrap();
    assert!(layout.read(&images[0].digest).unwrap_err().to_string().contains("was changed"));
}

#[test]
fn a_digest_is_no_way_out_of_the_layout() {
    let directory = tempfile::tempdir().unwrap();
    let (layout, _) = built(directory.path());
    for digest in ["sha256:../../index.json", "../index.json", "sha512:00", ""] {
        assert!(layout.read(digest).unwrap_err().to_string().contains("is not a digest"), "{digest}");
    }
}
