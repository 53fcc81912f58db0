//! What to try first: lines for a shell, and the files that they read.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use careplane_integration::Lab;
use serde_json::json;

use crate::run::shown;

/// The peer that the examples have a certificate for; `trustedPeers` of the policy names it.
const PEER: &str = "spiffe://cluster.local/ns/core-healthcare/sa/api-gateway";

/// When the tokens end, seconds since 1970: 2100-01-01. A lab is left running for longer than an hour.
const TOKENS_END: u64 = 4_102_444_800;

/// Where the lab listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// For outsiders.
    pub gateway: SocketAddr,
    /// For peers.
    pub sidecar: SocketAddr,
    /// A note for the reader.
    pub admin: SocketAddr,
}

/// One line to try.
#[derive(Clone, Debug)]
pub struct Example {
    /// What it does, and what comes of it.
    pub what: &'static str,
    /// The line.
    pub command: String,
}

impl Addresses {
    /// Those of `lab`.
    pub fn of(lab: &Lab) -> Result<Self> {
        Ok(Self {
            gateway: lab.gateway().address(),
            sidecar: lab.sidecar(PEER)?.address(),
            admin: lab.envoy().admin().address(),
        })
    }
}

/// The examples, after writing tokens and certificates for them to `directory`.
///
/// # Errors
///
/// When a file cannot be written.
pub fn examples(lab: &Lab, addresses: &Addresses, directory: &Path) -> Result<Vec<Example>> {
    let nurse = token(lab, directory, "care-home-0042", "nurse")?;
    let carer = token(lab, directory, "care-home-0012", "carer")?;
    let [ca, certificate, key] = certificates(lab, directory)?;
    let api = format!("http://{}/api/v1", addresses.gateway);
    let example = |what, command| Example { what, command };
    Ok(vec![
        example("a resident, by NHS number: the record and the span have a pseudonym", {
            format!("curl -i -H @{nurse} {api}/residents/9434765919")
        }),
        example("a controlled drug: critical, and always traced", {
            format!("curl -i -H @{nurse} -d '{{}}' {api}/medications/administer")
        }),
        example("another care home: 403, and its trace is kept", {
            format!("curl -i -H @{nurse} {api}/tenants/care-home-0001/staff")
        }),
        example("a forged header: the application gets the token's tenant", {
            format!("curl -i -H @{carer} -H 'x-tenant-id: care-home-0042' {api}/care-plans")
        }),
        example("no identity: 403", format!("curl -i {api}/care-plans")),
        example("another spelling of a path: the same context", {
            format!("curl -i --path-as-is -H @{carer} -d '{{}}' {api}//residents/..\\;/medications/%61dminister")
        }),
        example("a peer in the mesh, whose header is believed", {
            format!(
                "curl -i --cacert {ca} --cert {certificate} --key {key} -H 'x-tenant-id: care-home-0233' \\\n    \
                 https://localhost:{}/api/v1/health-records",
                addresses.sidecar.port()
            )
        }),
        example("what careplane counted", format!("curl -s 'http://{}/stats?filter=careplane'", addresses.admin)),
    ])
}

/// Writes a token as a header for `curl -H @file`, and returns the file.
fn token(lab: &Lab, directory: &Path, tenant: &str, user: &str) -> Result<String> {
    let token = lab.identity().token(tenant, user, json!({"exp": TOKENS_END}))?;
    let path = write(directory, &format!("{user}-of-{tenant}"), &format!("authorization: Bearer {token}\n"))?;
    Ok(shown(&path))
}

/// Writes what a peer needs to speak mutual TLS: the authority, a certificate, its key.
fn certificates(lab: &Lab, directory: &Path) -> Result<[String; 3]> {
    let client = lab.pki().client(PEER)?;
    let files = [("ca.pem", lab.pki().ca()), ("peer.pem", client.certificate.as_str()), ("peer.key", &client.key)];
    let [ca, certificate, key] = files.map(|(name, text)| write(directory, name, text));
    Ok([shown(&ca?), shown(&certificate?), shown(&key?)])
}

fn write(directory: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
