//! An OCI image layout: a directory of blobs named by their digests, and an index of the images among them.
//! <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use oci_client::annotations::ORG_OPENCONTAINERS_IMAGE_REF_NAME;
use oci_client::manifest::{
    ImageIndexEntry, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageIndex, OciImageManifest,
};
use serde::Serialize;

use super::digest::{is_sha256, sha256};

const MARKER: &str = "oci-layout";
const INDEX: &str = "index.json";
const VERSION: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// An OCI image layout.
#[derive(Debug)]
pub struct Layout {
    directory: PathBuf,
}

/// What a directory holds that no layout does. A marker alone is not enough to remove what lies beside it.
fn foreign(directory: &Path) -> std::io::Result<Option<PathBuf>> {
    let blobs = directory.join("blobs");
    let sha256 = blobs.join("sha256");
    let of_layout = |path: &Path| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        match path.parent() {
            Some(parent) if parent == directory => matches!(name, MARKER | INDEX | "blobs"),
            Some(parent) if parent == blobs => name == "sha256",
            _ => is_sha256(&format!("sha256:{name}")),
        }
    };
    let is_layout = directory.join(MARKER).exists();
    for folder in [directory, &blobs, &sha256] {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if !is_layout || !of_layout(&path) {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

impl Layout {
    /// An empty layout. What an earlier build left there goes; anything else stays, and is an error.
    pub fn create(directory: &Path) -> Result<Self> {
        let shown = directory.display();
        if directory.exists() {
            if let Some(other) = foreign(directory).with_context(|| format!("cannot read {shown}"))? {
                bail!(
                    "{shown} holds something else than an image layout, {}: expected an empty or a new directory",
                    other.display()
                );
            }
            // Not one that is empty already: it may be where a volume is mounted.
            if directory.join(MARKER).exists() {
                fs::remove_dir_all(directory).with_context(|| format!("cannot empty {shown}"))?;
            }
        }
        fs::create_dir_all(directory.join("blobs/sha256")).with_context(|| format!("cannot create {shown}"))?;
        fs::write(directory.join(MARKER), VERSION).with_context(|| format!("cannot write to {shown}"))?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// The layout in `directory`.
    pub fn open(directory: &Path) -> Result<Self> {
        ensure!(
            directory.join(MARKER).exists(),
            "{} is no image layout: expected the output of `careplane image build`",
            directory.display()
        );
        Ok(Self { directory: directory.to_owned() })
    }

    /// Adds a blob.
    pub fn write(&self, media_type: &str, bytes: &[u8]) -> Result<OciDescriptor> {
        let digest = sha256(bytes);
        let path = self.blob(&digest)?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(OciDescriptor {
            media_type: media_type.to_owned(),
            digest,
            size: i64::try_from(bytes.len())?,
            ..OciDescriptor::default()
        })
    }

    /// Adds a blob of JSON.
    pub fn write_json(&self, media_type: &str, value: &impl Serialize) -> Result<OciDescriptor> {
        self.write(media_type, &serde_json::to_vec(value)?)
    }

    /// Adds a manifest, and returns the entry of the index that leads to it.
    pub fn write_manifest(&self, manifest: &OciImageManifest, name: Option<&str>) -> Result<ImageIndexEntry> {
        let OciDescriptor { media_type, digest, size, .. } = self.write_json(OCI_IMAGE_MEDIA_TYPE, manifest)?;
        Ok(ImageIndexEntry {
            media_type,
            digest,
            size,
            platform: None,
            annotations: name.map(|name| [(ORG_OPENCONTAINERS_IMAGE_REF_NAME.to_owned(), name.to_owned())].into()),
            artifact_type: manifest.artifact_type.clone(),
        })
    }

    /// The blob with this digest: what is read is what was named.
    pub fn read(&self, digest: &str) -> Result<Vec<u8>> {
        let path = self.blob(digest)?;
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(sha256(&bytes) == digest, "{} was changed: its digest is {}", path.display(), sha256(&bytes));
        Ok(bytes)
    }

    /// Names the images of the layout: from here on, it is complete.
    pub fn finish(&self, manifests: Vec<ImageIndexEntry>) -> Result<()> {
        let index = OciImageIndex {
            schema_version: 2,
            media_type: Some(OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned()),
            manifests,
            artifact_type: None,
            annotations: None,
        };
        let path = self.index();
        fs::write(&path, serde_json::to_vec(&index)?).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The image with this name.
    pub fn image(&self, name: &str) -> Result<ImageIndexEntry> {
        let path = self.index();
        let index = self.manifests()?;
        let is_named = |image: &ImageIndexEntry| {
            let annotations = image.annotations.as_ref();
            annotations.and_then(|all| all.get(ORG_OPENCONTAINERS_IMAGE_REF_NAME)).is_some_and(|found| found == name)
        };
        index.into_iter().find(is_named).with_context(|| {
            format!("{} has no image {name:?}: expected the output of `careplane image build`", path.display())
        })
    }

    /// What is said about the image with this digest.
    pub fn referrers(&self, digest: &str) -> Result<Vec<ImageIndexEntry>> {
        let mut found = Vec::new();
        for entry in self.manifests()? {
            let manifest: OciImageManifest = serde_json::from_slice(&self.read(&entry.digest)?)
                .with_context(|| format!("{} is not a manifest", entry.digest))?;
            if manifest.subject.is_some_and(|subject| subject.digest == digest) {
                found.push(entry);
            }
        }
        Ok(found)
    }

    fn manifests(&self) -> Result<Vec<ImageIndexEntry>> {
        let path = self.index();
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let index: OciImageIndex =
            serde_json::from_slice(&bytes).with_context(|| format!("{} is not an image index", path.display()))?;
        Ok(index.manifests)
    }

    fn index(&self) -> PathBuf {
        self.directory.join(INDEX)
    }

    fn blob(&self, digest: &str) -> Result<PathBuf> {
        ensure!(is_sha256(digest), "{digest:?} is not a digest: expected sha256: and 64 hexadecimal digits");
        Ok(self.directory.join("blobs").join(digest.replace(':', "/")))
    }
}
