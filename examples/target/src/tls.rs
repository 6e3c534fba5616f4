//! The target's side of TLS, by rustls: which certificate it shows, and whether it lets sessions be resumed. Offers
//! HTTP/1.1 alone. Start at [`acceptor`].

use std::io::{Error, ErrorKind, Result};
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::{HandshakeKind, ServerConfig, crypto::ring};
use tokio_rustls::server::TlsStream;

/// What accepts connections over TLS with the certificate and key of these files. Fails if one cannot be read, or
/// they don't belong together.
pub(crate) fn acceptor(certificate: &Path, key: &Path, no_resumption: bool) -> Result<TlsAcceptor> {
    let unusable = |path: &Path, error: &dyn std::error::Error| {
        Error::new(ErrorKind::InvalidData, format!("failed to use {}: {error}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(certificate, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| unusable(key, &error))?;
    if no_resumption {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = ring::Ticketer::new().map_err(Error::other)?;
    }
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// How a finished handshake is counted.
pub(crate) fn kind(stream: &TlsStream<TcpStream>) -> &'static str {
    match stream.get_ref().1.handshake_kind() {
        Some(HandshakeKind::Resumed) => "resumed",
        _ => "full",
    }
}
