//! HTTP as a test wants it: any header, any protocol, any identity, and the answer as it came.

mod caller;
mod connection;
mod load;
mod message;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        version::{TLS12, TLS13},
    },
};

use self::connection::Stream;
pub use self::{
    caller::Caller,
    connection::Connection,
    load::{Answered, Load, LoadReport, request_id},
    message::{Request, Response},
};
use crate::pki::{self, Certified, Pki};

/// No answer of a loopback server takes longer, unless something is wrong.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

/// Which HTTP a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, by prior knowledge or, over TLS, by ALPN.
    Http2,
}

/// Knows where to connect and how; opens a connection for each request, so that no request meets a configuration that
/// an older connection still has. For many requests take [`connect`](Self::connect) or [`load`](Self::load).
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    protocol: Protocol,
    tls: Option<Arc<ClientConfig>>,
    server_name: String,
}

impl Client {
    /// A client without TLS.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, protocol: Protocol::Http1, tls: None, server_name: pki::SERVER_NAME.to_owned() }
    }

    /// A client over TLS 1.3 that trusts `pki` and shows `identity`, if any.
    ///
    /// # Errors
    ///
    /// When the certificates do not parse.
    pub fn tls(address: SocketAddr, pki: &Pki, identity: Option<&Certified>) -> Result<Self> {
        Self::over(&TLS13, address, pki, identity)
    }

    /// A client that knows no newer TLS than 1.2, for servers that should turn it away.
    ///
    /// # Errors
    ///
    /// When the certificate does not parse.
    pub fn tls_1_2(address: SocketAddr, pki: &Pki) -> Result<Self> {
        Self::over(&TLS12, address, pki, None)
    }

    fn over(
        version: &'static SupportedProtocolVersion,
        address: SocketAddr,
        pki: &Pki,
        identity: Option<&Certified>,
    ) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pki.ca().as_bytes())?)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])?
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes())?],
                PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?,
            )?,
        };
        Ok(Self { tls: Some(Arc::new(config)), ..Self::plain(address) })
    }

    /// The same client, which asks for a server of this name (SNI) and accepts no other.
    #[must_use]
    pub fn server_name(self, name: impl Into<String>) -> Self {
        Self { server_name: name.into(), ..self }
    }

    /// The same client, speaking HTTP/2.
    #[must_use]
    pub fn http2(self) -> Self {
        Self { protocol: Protocol::Http2, ..self }
    }

    /// The address it connects to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends `request` over a connection of its own.
    ///
    /// # Errors
    ///
    /// When the connection fails, ends early, or brings no complete answer within 15 s.
    pub async fn send(&self, request: Request) -> Result<Response> {
        self.connect().await?.send(request).await
    }

    /// Opens a connection for requests one after another.
    ///
    /// # Errors
    ///
    /// When it cannot be opened within 15 s.
    pub async fn connect(&self) -> Result<Connection> {
        timeout(ANSWER_DEADLINE, async { Connection::open(self.stream().await?, self).await })
            .await
            .with_context(|| format!("no connection to {} within {ANSWER_DEADLINE:?}", self.address))?
    }

    /// Writes `bytes` as they are and returns all that comes back until the peer closes or `deadline` has passed.
    ///
    /// # Errors
    ///
    /// When no connection can be made. A peer that resets is not an error: what came before is returned.
    pub async fn raw(&self, bytes: &[u8], deadline: Duration) -> Result<Vec<u8>> {
        let end = Instant::now() + deadline;
        let mut stream = self.stream().await?;
        let mut answer = Vec::new();
        // The peer may refuse before everything is written; its answer counts, not the write.
        let _ = timeout_at(end, async {
            let _ = stream.write_all(bytes).await;
            let _ = stream.flush().await;
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                answer.extend_from_slice(&buffer[..length]);
            }
        })
        .await;
        Ok(answer)
    }

    async fn stream(&self) -> Result<Box<dyn Stream>> {
        let tcp = TcpStream::connect(self.address).await.with_context(|| format!("cannot reach {}", self.address))?;
        tcp.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(tcp));
        };
        let mut config = ClientConfig::clone(tls);
        config.alpn_protocols = match self.protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
        };
        let name = ServerName::try_from(self.server_name.clone())?;
        Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, tcp).await.context("TLS handshake failed")?))
    }
}
