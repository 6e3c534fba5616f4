//! TLS: a certificate of this process' own, for the address it listens on. Never outlives the process.

use std::fmt::Display;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

/// The server's side; the authority that signed its certificate is written to `path` as PEM.
pub(crate) fn configure(address: IpAddr, path: &Path) -> Result<Arc<ServerConfig>, String> {
    let authority_key = KeyPair::generate().map_err(said("make a key"))?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key).map_err(said("make an authority"))?.pem();
    std::fs::write(path, authority_pem).map_err(said("write the authority"))?;
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate().map_err(said("make a key"))?;
    let certificate = CertificateParams::new(vec![address.to_string()])
        .and_then(|parameters| parameters.signed_by(&key, &issuer))
        .map_err(said("make a certificate"))?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(said("use the key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(said("set up TLS"))?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .map_err(said("use the certificate"))?;
    Ok(Arc::new(config))
}

fn said<E: Display>(what: &str) -> impl Fn(E) -> String {
    move |error| format!("failed to {what}: {error}")
}
