//! Where an image lives, and how it gets there.

use std::fmt;
use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{ImageIndexEntry, OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};

use super::digest::is_sha256;
use super::forms::Form;
use super::layout::Layout;

const SCHEME: &str = "oci://";

/// An image as a WasmPlugin names it: `oci://registry/repository:tag@digest`, tag and digest being optional.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Reference);

impl Address {
    /// The last part of the repository, which distinguishes images.
    pub fn image(&self) -> &str {
        let repository = self.0.repository();
        repository.rsplit_once('/').map_or(repository, |(_, image)| image)
    }

    /// Its digest, if it has one.
    pub fn digest(&self) -> Option<&str> {
        self.0.digest()
    }

    /// Another image with its tag, from beside it.
    pub fn beside(&self, image: &str) -> Self {
        let repository = match self.0.repository().rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{image}"),
            None => image.to_owned(),
        };
        Self(Reference::with_tag(self.0.registry().into(), repository, self.0.tag().unwrap_or("latest").into()))
    }

    fn with_digest(&self, digest: &str) -> Self {
        let [registry, repository, tag] = [self.0.registry(), self.0.repository(), self.0.tag().unwrap_or_default()];
        // The tag stays for people to read. With a digest beside it, clients do not resolve it.
        Self(Reference::with_tag_and_digest(registry.into(), repository.into(), tag.into(), digest.into()))
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected oci://registry/repository:tag, with @sha256:digest where it is pinned";
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| format!("it does not begin with {SCHEME}: {EXPECTED}"))?;
        // Without a registry it would become one of Docker Hub, silently.
        if !rest.split_once('/').is_some_and(|(registry, _)| registry.contains(['.', ':']) || registry == "localhost") {
            return Err(format!("it names no registry: {EXPECTED}"));
        }
        let reference: Reference = rest.parse().map_err(|error| format!("{error}: {EXPECTED}"))?;
        if reference.digest().is_some_and(|digest| !is_sha256(digest)) {
            return Err(format!("its digest is not of SHA-256: {EXPECTED}"));
        }
        Ok(Self(reference))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}", self.0)
    }
}

/// Pushes the image of `form`, and returns where it is, with its digest.
pub fn push(layout: &Layout, form: Form, address: &Address, plain_http: bool) -> Result<Address> {
    ensure!(address.0.tag().is_some() && address.digest().is_none(), "{address}: expected an address with a tag alone");
    // Without one named, the TLS library would not know which cryptography to use.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(upload(layout, form, address, plain_http)).with_context(|| format!("cannot push to {address}"))
}

async fn upload(layout: &Layout, form: Form, address: &Address, plain_http: bool) -> Result<Address> {
    let image = layout.image(form.name())?;
    let protocol = if plain_http { ClientProtocol::Http } else { ClientProtocol::Https };
    // In one piece: a module is small, and not every registry takes chunks.
    let client = Client::new(ClientConfig { protocol, use_monolithic_push: true, ..ClientConfig::default() });
    let reference = &address.0;
    let credentials = credentials(reference.resolve_registry())?;
    client.auth(reference, &credentials, RegistryOperation::Push).await?;
    upload_manifest(&client, layout, &image, reference).await?;

    let found = client.fetch_manifest_digest(reference, &credentials).await?;
    ensure!(found == image.digest, "the registry has {found} under that tag, and not {}", image.digest);
    for said in layout.referrers(&found)? {
        // No tag: it is found by the image that it is about.
        let [registry, repository] = [reference.registry(), reference.repository()].map(str::to_owned);
        let place = Reference::with_digest(registry, repository, said.digest.clone());
        upload_manifest(&client, layout, &said, &place).await?;
    }
    Ok(address.with_digest(&found))
}

/// Pushes a manifest, and before it what it names.
async fn upload_manifest(client: &Client, layout: &Layout, entry: &ImageIndexEntry, place: &Reference) -> Result<()> {
    let bytes = layout.read(&entry.digest)?;
    let manifest: OciImageManifest = serde_json::from_slice(&bytes).context("the manifest is none")?;
    for OciDescriptor { digest, .. } in std::iter::once(&manifest.config).chain(&manifest.layers) {
        if client.blob_exists(place, digest).await? {
            continue;
        }
        match client.push_blob(place, layout.read(digest)?, digest).await {
            // Some registries do not say where they put it. What counts is that it is there.
            Err(OciDistributionError::RegistryNoLocationError) if client.blob_exists(place, digest).await? => {}
            pushed => {
                pushed?;
            }
        }
    }
    client.push_manifest_raw(place, bytes, entry.media_type.parse()?).await?;
    Ok(())
}

/// The credentials that `docker login` stored for `registry`; anonymous if it stored none.
fn credentials(registry: &str) -> Result<RegistryAuth> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let Some(folder) = folder.or_else(|| Some(std::env::home_dir()?.join(".docker"))) else {
        return Ok(RegistryAuth::Anonymous);
    };
    let path = folder.join("config.json");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(RegistryAuth::Anonymous),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    match docker_credential::get_credential_from_reader(file, registry) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(RegistryAuth::Basic(user, password)),
        Ok(DockerCredential::IdentityToken(_)) => bail!(
            "{} has an identity token for {registry}: expected a user name with a password or an access token",
            path.display()
        ),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(RegistryAuth::Anonymous),
        Err(error) => Err(error).with_context(|| format!("no credentials for {registry} from {}", path.display())),
    }
}

#[cfg(test)]
mod tests;
