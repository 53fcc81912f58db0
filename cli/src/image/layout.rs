//! An OCI image layout: a directory of blobs named by their digests, and an index of the images among them.
//! <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>

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
const VERSION: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// An OCI image layout.
#[derive(Debug)]
pub struct Layout {
    directory: PathBuf,
}

impl Layout {
    /// An empty layout. What an earlier build left there goes; anything else stays, and is an error.
    pub fn create(directory: &Path) -> Result<Self> {
        let shown = directory.display();
        if directory.join(MARKER).exists() {
            fs::remove_dir_all(directory).with_context(|| format!("cannot empty {shown}"))?;
        } else if fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) {
            bail!("{shown} holds something else than an image layout: expected an empty or a new directory");
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
        self.directory.join("index.json")
    }

    fn blob(&self, digest: &str) -> Result<PathBuf> {
        ensure!(is_sha256(digest), "{digest:?} is not a digest: expected sha256: and 64 hexadecimal digits");
        Ok(self.directory.join("blobs").join(digest.replace(':', "/")))
    }
}
