//! TLS as a scenario asks for it: whom it trusts, who it says it is, which versions and ciphers it speaks. Made outside
//! of the reactor, as it reads certificates and keys; obeyed by `tls`. Start at [`TlsSettings::new`].

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ResolvesClientCert, Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::identity::Identity;
use super::tls;

/// What a scenario asks for.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// Whose certificate is accepted.
    pub trust: Trust,
    /// What is shown to servers that ask who the client is.
    pub identity: Option<Identity>,
    /// TLS 1.2 may be spoken.
    pub tls12: bool,
    /// TLS 1.3 may be spoken.
    pub tls13: bool,
    /// The codes of the cipher suites that may be used; `None`: all that there are.
    pub ciphers: Option<Vec<u16>>,
}

/// Whose certificate is accepted.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Anybody's.
    Anybody,
    /// The one with this SHA-256 digest.
    Pinned([u8; 32]),
    /// What authorities vouch for.
    Authorities {
        /// The system's own.
        system: bool,
        /// Others, in DER.
        own: Vec<Vec<u8>>,
        /// For this host only.
        names: bool,
    },
}

/// How TLS is spoken. Two of them are the same only if they are one.
pub struct TlsSettings {
    pub(super) config: Arc<ClientConfig>,
}

impl PartialEq for TlsSettings {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Among what it holds is a private key.
        f.debug_struct("TlsSettings").finish_non_exhaustive()
    }
}

impl TlsSettings {
    /// Makes them ready to be used. The error names what cannot be done.
    pub fn new(options: TlsOptions) -> Result<Self, String> {
        let mut provider = tls::provider();
        if let Some(codes) = &options.ciphers {
            provider.cipher_suites.retain(|suite| codes.contains(&u16::from(suite.suite())));
        }
        let speaks = |version: &rustls::SupportedProtocolVersion| {
            provider.cipher_suites.iter().any(|suite| suite.version() == version)
        };
        let versions: Vec<_> = [(options.tls13, &TLS13), (options.tls12, &TLS12)]
            .into_iter()
            .filter(|(allowed, version)| *allowed && speaks(version))
            .map(|(_, version)| version)
            .collect();
        if versions.is_empty() {
            return Err("allows no version and cipher of TLS 1.2 or 1.3 that is spoken here".to_owned());
        }
        let algorithms = provider.signature_verification_algorithms;
        let trust = Checked::new(options.trust)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { trust, algorithms }));
        let mut config = match options.identity {
            Some(identity) => {
                let (chain, key) = (identity.certificates()?, identity.key()?);
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    format!("has a client certificate or key that cannot be used: {error}")
                })?
            }
            None => builder.with_client_cert_resolver(nobody()),
        };
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config) })
    }
}

/// The system's authorities, read once.
pub(super) fn system_roots() -> Result<Arc<RootCertStore>, &'static str> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this machine has no list of authorities (on Debian: ca-certificates)");
    }
    Ok(Arc::clone(ROOTS.get_or_init(|| Arc::new(roots))))
}

thread_local! {
    /// A server has asked for a certificate that there is none of.
    static ASKED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a server has asked, in vain, for a client certificate since the last time this was asked, on this thread.
pub(super) fn was_asked_for_certificate() -> bool {
    ASKED.take()
}

/// A client without a certificate, which notes when it is asked for one: the refusal that follows may say less.
pub(super) fn nobody() -> Arc<dyn ResolvesClientCert> {
    Arc::new(Nobody)
}

#[derive(Debug)]
struct Nobody;

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        ASKED.set(true);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// `Trust`, ready to be used.
#[derive(Debug)]
enum Checked {
    Anybody,
    Pinned([u8; 32]),
    Authorities { roots: Arc<RootCertStore>, own: Vec<CertificateDer<'static>>, names: bool },
}

impl Checked {
    fn new(trust: Trust) -> Result<Self, String> {
        Ok(match trust {
            Trust::Anybody => Self::Anybody,
            Trust::Pinned(digest) => Self::Pinned(digest),
            Trust::Authorities { system, own, names } => {
                let own: Vec<CertificateDer<'static>> = own.into_iter().map(CertificateDer::from).collect();
                let system = if system { Some(system_roots()?) } else { None };
                let roots = match system {
                    Some(system) if own.is_empty() => system,
                    system => {
                        let mut roots =
                            system.map_or_else(RootCertStore::empty, |roots| RootCertStore::clone(&roots));
                        roots.add_parsable_certificates(own.iter().cloned());
                        Arc::new(roots)
                    }
                };
                Self::Authorities { roots, own, names }
            }
        })
    }
}

#[derive(Debug)]
struct Verifier {
    trust: Checked,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Checked::Anybody => {}
            Checked::Pinned(pin) => {
                let found = digest(&SHA256, certificate);
                if found.as_ref() != pin {
                    let found = <[u8; 32]>::try_from(found.as_ref()).unwrap_or_default();
                    return Err(CertificateError::Other(rustls::OtherError(Arc::new(Mismatch {
                        pin: *pin,
                        found,
                    })))
                    .into());
                }
            }
            Checked::Authorities { roots, own, names } => {
                let parsed = ParsedCertificate::try_from(certificate)?;
                let vouched = verify_server_cert_signed_by_trust_anchor(
                    &parsed,
                    roots,
                    intermediates,
                    now,
                    self.algorithms.all,
                );
                match vouched {
                    // It is trusted itself, as certificates that vouch for themselves are. Its time has been looked at
                    // before its other properties.
                    Err(error) if is_of_an_authority(&error) && own.contains(certificate) => {}
                    outcome => outcome?,
                }
                if *names {
                    verify_server_name(&parsed, host)?;
                }
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.trust {
            // Whose key it is does not matter; some old certificates cannot even be parsed.
            Checked::Anybody => Ok(HandshakeSignatureValid::assertion()),
            _ => verify_tls12_signature(message, certificate, signature, &self.algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.trust {
            Checked::Anybody => Ok(HandshakeSignatureValid::assertion()),
            _ => verify_tls13_signature(message, certificate, signature, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What is known of a certificate that is not the pinned one, if that is why it was refused.
pub(super) fn other_fingerprint(error: &Error) -> Option<String> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(error)) => {
            error.0.downcast_ref::<Mismatch>().map(Mismatch::to_string)
        }
        _ => None,
    }
}

/// Whether a certificate was refused for being in form an authority's own, or vouched for by nobody.
fn is_of_an_authority(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => true,
        Error::InvalidCertificate(CertificateError::Other(error)) => {
            error.to_string().contains("CaUsedAsEndEntity")
        }
        _ => false,
    }
}

/// A certificate with another digest than the pinned one.
#[derive(Debug)]
struct Mismatch {
    pin: [u8; 32],
    found: [u8; 32],
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = |bytes: &[u8]| bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"));
        hex(&self.pin)?;
        f.write_str(" is expected, not ")?;
        let mut hex = |bytes: &[u8]| bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"));
        hex(&self.found)
    }
}

impl std::error::Error for Mismatch {}
