//! The mesh's certificate authority: a CA, the server's certificate, and client certificates with SPIFFE ids.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// The SPIFFE id of the workload whose sidecar Envoy stands for.
pub const SERVER_ID: &str = "spiffe://cluster.local/ns/core-healthcare/sa/medication-service";

/// A name that clients verify when they connect without knowing a SPIFFE id.
pub(crate) const SERVER_NAME: &str = "localhost";

/// A certificate with its private key, both PEM.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The certificate, followed by nothing: the CA signs directly.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
}

/// A certificate authority that lives as long as this value.
#[derive(Debug)]
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    ca: String,
    server: Certified,
}

impl Pki {
    /// Makes a CA and, signed by it, the server's certificate for [`SERVER_ID`] and `localhost`.
    ///
    /// # Errors
    ///
    /// When keys cannot be generated.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "cluster.local");
        params.distinguished_name.push(DnType::CommonName, "careplane lab CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let ca = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        let server = issue(&issuer, Some(SERVER_ID), &[SERVER_NAME], ExtendedKeyUsagePurpose::ServerAuth)?;
        Ok(Self { issuer, ca, server })
    }

    /// The CA's certificate, PEM.
    #[must_use]
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The server's certificate and key.
    #[must_use]
    pub fn server(&self) -> &Certified {
        &self.server
    }

    /// A client certificate whose only identity is `spiffe_id`, such as
    /// `spiffe://cluster.local/ns/core-healthcare/sa/api-gateway`.
    ///
    /// # Errors
    ///
    /// When `spiffe_id` is not ASCII.
    pub fn client(&self, spiffe_id: &str) -> Result<Certified> {
        issue(&self.issuer, Some(spiffe_id), &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A certificate for servers of these DNS names.
    ///
    /// # Errors
    ///
    /// When a name is not one.
    pub fn server_of(&self, names: &[&str]) -> Result<Certified> {
        issue(&self.issuer, None, names, ExtendedKeyUsagePurpose::ServerAuth)
    }
}

fn issue(
    issuer: &Issuer<'static, KeyPair>,
    spiffe_id: Option<&str>,
    dns_names: &[&str],
    usage: ExtendedKeyUsagePurpose,
) -> Result<Certified> {
    let mut params = CertificateParams::default();
    // A SPIFFE certificate has an empty subject; the identity is the URI.
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(id) = spiffe_id {
        let uri = id.try_into().with_context(|| format!("{id:?} is not a URI in ASCII"))?;
        params.subject_alt_names.push(SanType::URI(uri));
    }
    for &name in dns_names {
        params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?.pem();
    Ok(Certified { certificate, key: key.serialize_pem() })
}
