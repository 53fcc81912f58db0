//! The two forms of an image that Istio's agent takes a module from, after the Wasm Image Specification:
//! <https://github.com/solo-io/wasm/tree/master/spec>. Nothing in them depends on when, where or by whom they were
//! made.

use std::collections::BTreeMap;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use oci_client::annotations::{
    ORG_OPENCONTAINERS_IMAGE_DESCRIPTION, ORG_OPENCONTAINERS_IMAGE_LICENSES, ORG_OPENCONTAINERS_IMAGE_TITLE,
    ORG_OPENCONTAINERS_IMAGE_VERSION,
};
use oci_client::manifest::{
    IMAGE_CONFIG_MEDIA_TYPE, IMAGE_LAYER_GZIP_MEDIA_TYPE, ImageIndexEntry, OCI_IMAGE_MEDIA_TYPE, OciDescriptor,
    OciImageManifest,
};
use serde_json::json;

use super::digest::sha256;
use super::layout::Layout;

/// Annotations of an image, by key.
pub type Annotations = BTreeMap<String, String>;

const ARTIFACT_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
const ARTIFACT_MODULE: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

/// How a module is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// An ordinary container image whose last layer holds `plugin.wasm`
    Compat,
    /// An artifact with the bare module as a layer
    Artifact,
}

impl Form {
    pub const ALL: [Self; 2] = [Self::Compat, Self::Artifact];

    /// Its name on the command line and in the index of a layout.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compat => "compat",
            Self::Artifact => "artifact",
        }
    }

    /// Adds `module` to `layout` in this form.
    pub fn write(self, layout: &Layout, module: &[u8], annotations: &Annotations) -> Result<ImageIndexEntry> {
        let (config, layers) = match self {
            Self::Compat => compat(layout, module)?,
            Self::Artifact => artifact(layout, module)?,
        };
        let manifest = OciImageManifest {
            schema_version: 2,
            media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
            config,
            layers,
            subject: None,
            artifact_type: None,
            annotations: Some(annotations.clone()),
        };
        layout.write_manifest(&manifest, Some(self.name()))
    }
}

/// What is said of every image.
pub fn annotations(title: &str) -> Annotations {
    [
        (ORG_OPENCONTAINERS_IMAGE_TITLE, title),
        (ORG_OPENCONTAINERS_IMAGE_DESCRIPTION, "careplane filters for Envoy, as a proxy-wasm module"),
        (ORG_OPENCONTAINERS_IMAGE_VERSION, env!("CARGO_PKG_VERSION")),
        (ORG_OPENCONTAINERS_IMAGE_LICENSES, env!("CARGO_PKG_LICENSE")),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

fn compat(layout: &Layout, module: &[u8]) -> Result<(OciDescriptor, Vec<OciDescriptor>)> {
    let archive = tar(module)?;
    let layer = layout.write(IMAGE_LAYER_GZIP_MEDIA_TYPE, &gzip(&archive)?)?;
    // No platform runs it; these two fields must be there, and are what others write for modules. In the order of the
    // alphabet, which serde_json keeps whatever its features.
    let config = json!({
        "architecture": "wasm",
        "os": "wasip1",
        "rootfs": {"diff_ids": [sha256(&archive)], "type": "layers"},
    });
    Ok((layout.write_json(IMAGE_CONFIG_MEDIA_TYPE, &config)?, vec![layer]))
}

fn artifact(layout: &Layout, module: &[u8]) -> Result<(OciDescriptor, Vec<OciDescriptor>)> {
    let runtime = json!({"abiVersions": ["v0-2-1"], "type": "envoy_proxy"});
    let config = layout.write_json(ARTIFACT_CONFIG, &runtime)?;
    // Istio insists on two layers, and finds the module by its type.
    Ok((config.clone(), vec![config, layout.write(ARTIFACT_MODULE, module)?]))
}

fn tar(module: &[u8]) -> Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o444);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(u64::try_from(module.len())?);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "plugin.wasm", module)?;
    Ok(archive.into_inner()?)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    /// RFC 1952: "unknown", on whichever system this runs.
    const OPERATING_SYSTEM: u8 = 255;
    let mut encoder =
        GzBuilder::new().mtime(0).operating_system(OPERATING_SYSTEM).write(Vec::new(), Compression::best());
    std::io::Write::write_all(&mut encoder, bytes)?;
    Ok(encoder.finish()?)
}

#[cfg(test)]
mod tests;
