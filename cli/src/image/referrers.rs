//! What is said about an image, beside it: manifests whose `subject` it is
//! (<https://github.com/opencontainers/image-spec/blob/main/manifest.md>). A registry lists them under the image
//! (`/v2/<name>/referrers/<digest>`).

use anyhow::{Context, Result, ensure};
use oci_client::manifest::{ImageIndexEntry, OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use serde_json::Value;

use super::digest::sha256;
use super::layout::Layout;

/// `mediaType` of a software bill of materials.
pub const SBOM: &str = "application/vnd.cyclonedx+json";
/// The config of a manifest that needs none.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Adds `content` to `layout` as something that is said about `image`.
pub fn attach(layout: &Layout, image: &ImageIndexEntry, kind: &str, content: &[u8]) -> Result<ImageIndexEntry> {
    let manifest = OciImageManifest {
        schema_version: 2,
        media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
        config: layout.write(EMPTY, b"{}")?,
        layers: vec![layout.write(kind, content)?],
        subject: Some(OciDescriptor {
            media_type: image.media_type.clone(),
            digest: image.digest.clone(),
            size: image.size,
            ..OciDescriptor::default()
        }),
        artifact_type: Some(kind.to_owned()),
        annotations: None,
    };
    layout.write_manifest(&manifest, None)
}

/// Whether `bill` is the CycloneDX bill of this module, by its SHA-256.
pub fn check_bill(bill: &[u8], module: &[u8]) -> Result<()> {
    let bill: Value = serde_json::from_slice(bill).context("it is not JSON")?;
    ensure!(bill["bomFormat"] == "CycloneDX", "it is no CycloneDX document: its bomFormat is {}", bill["bomFormat"]);
    let hashes = bill["metadata"]["component"]["hashes"].as_array();
    let of_sha256 = |hash: &&Value| hash["alg"] == "SHA-256";
    let named = hashes.and_then(|hashes| hashes.iter().find(of_sha256)).and_then(|hash| hash["content"].as_str());
    let is = sha256(module);
    ensure!(
        named.is_some_and(|named| is == format!("sha256:{named}")),
        "it is of another module: its metadata.component has SHA-256 {}, expected {is}",
        named.unwrap_or("none")
    );
    Ok(())
}
