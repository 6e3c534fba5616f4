//! TLS on a connection: rustls between the socket and HTTP. Certificates are checked against the system's own list
//! (`SSL_CERT_FILE` and `SSL_CERT_DIR` replace it); a user resumes its own sessions (`tickets`). Decides nothing: `send`
//! and `receive` do.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{
    AlertDescription, CertificateError, CipherSuite, ClientConfig, ClientConnection, Error, InvalidMessage,
    ProtocolVersion, RootCertStore,
};

use super::failure::{Failure, FailureKind};
use super::key_exchange::X25519;
use super::stamps::{self, Stamp};
use super::trust;

/// How often a socket is read in a row without any of the reply's own bytes: tickets and the like are few.
const MAX_EMPTY_READS: u32 = 64;

/// One TLS connection's state: about 20 KB while it is open.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; no two make one state")]
pub(super) struct Tls {
    session: ClientConnection,
    /// The socket may hold bytes. Watched by edges: one that gave less than it was asked for reports when it has more.
    readable: bool,
    /// The server's close lies behind the bytes, and is not reported again.
    closing: bool,
    /// The server has asked for a certificate, and was given none.
    asked: bool,
    /// Something of a reply has been read.
    answered: bool,
    /// The kernel's stamp of what was received last.
    pub(super) arrived: Option<Stamp>,
}

/// What is offered where HTTP/2 is asked for, the better one first.
pub(super) const OFFERED: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How much plain text goes into one record.
pub(super) const RECORD: usize = 16 * 1024;

/// What of the handshake is left to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Handshake {
    /// The socket must become readable or writable first.
    Waiting,
    Done,
}

/// The client's side of TLS, but for what each user remembers: see [`super::tickets::for_user`].
pub(super) fn configure() -> Result<Arc<ClientConfig>, Failure> {
    let roots = trust::system_roots().map_err(|text| Failure::with(FailureKind::TlsUnavailable, text))?;
    with_roots(roots)
}

/// The same with these authorities.
pub(super) fn with_roots(roots: impl Into<Arc<RootCertStore>>) -> Result<Arc<ClientConfig>, Failure> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::with(FailureKind::TlsUnavailable, error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.client_auth_cert_resolver = trust::nobody();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// What rustls offers, with AES-128 and SHA-256 before AES-256 and SHA-384, as Go and the browsers have them: what a
/// server that leaves the choice to the client gets from its real users. No less safe (nobody searches 128 bits), nothing
/// is offered that was not before; and processors have instructions for SHA-256, which a handshake is full of.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    for group in &mut provider.kx_groups {
        if group.name() == X25519.name() {
            *group = X25519;
        }
    }
    // Stable: within each rank the order stays, with TLS 1.3 first.
    provider.cipher_suites.sort_by_key(|suite| match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
        CipherSuite::TLS13_AES_256_GCM_SHA384 | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => 1,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 2,
        _ => 3,
    });
    provider
}

impl Tls {
    /// A connection to `host` whose handshake is yet to begin.
    pub(super) fn new(config: &Arc<ClientConfig>, host: &str) -> Result<Self, Failure> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            Failure::with(FailureKind::TlsCertificateInvalid, "the host's name can be in no certificate")
        })?;
        let mut session = ClientConnection::new(Arc::clone(config), name).map_err(|error| failure(&error))?;
        session.set_buffer_limit(None);
        Ok(Self { session, readable: false, closing: false, asked: false, answered: false, arrived: None })
    }

    /// Tells it what epoll reported of the socket.
    pub(super) fn notice(&mut self, flags: EventFlags) {
        self.closing |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        self.readable |= self.closing || flags.contains(EventFlags::IN);
    }

    /// Does what can be done of the handshake. Our own last message of it may be left for `flush`: the request, which is
    /// next, goes out with it.
    pub(super) fn advance(&mut self, socket: &OwnedFd, written: &mut u64) -> Result<Handshake, Failure> {
        while self.session.is_handshaking() {
            self.flush(socket, written)
                .map_err(|errno| handshake_failure(super::connection::socket_failure(errno)))?;
            match self.receive(socket).map_err(handshake_failure)? {
                Some(0) => return Err(self.refusal(FailureKind::TlsCut.into())),
                Some(_) => {}
                None => return Ok(Handshake::Waiting),
            }
        }
        Ok(Handshake::Done)
    }

    /// Whether the server has chosen HTTP/2.
    pub(super) fn speaks_http2(&self) -> bool {
        self.session.alpn_protocol() == Some(OFFERED[0])
    }

    /// Takes all of `data`; `flush` brings it to the socket.
    pub(super) fn queue(&mut self, data: &[u8]) -> Result<(), Errno> {
        self.session.writer().write_all(data).map_err(|_| Errno::PIPE)
    }

    /// Writes what the socket takes; true when nothing is left.
    pub(super) fn flush(&mut self, socket: &OwnedFd, written: &mut u64) -> Result<bool, Errno> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Sink { socket, written }) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(errno(&error)),
            }
        }
        Ok(true)
    }

    /// Reads plain bytes into `buffer`; `None` when nothing is there now, 0 at the server's close.
    pub(super) fn read(&mut self, socket: &OwnedFd, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
        for _ in 0..MAX_EMPTY_READS {
            match self.session.reader().read(buffer) {
                Ok(0) => return self.closed(),
                Ok(count) => {
                    self.answered = true;
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The connection ended without TLS's own goodbye, as many servers do.
                Err(_) => return self.closed(),
            }
            if self.receive(socket)?.is_none() {
                return Ok(None);
            }
        }
        Err(Failure::with(FailureKind::TlsBroken, "records without end and without data"))
    }

    /// Takes bytes off the socket; `None` when it holds none, 0 at the server's close.
    fn receive(&mut self, socket: &OwnedFd) -> Result<Option<usize>, Failure> {
        if !self.readable {
            return Ok(None);
        }
        let mut source = Source { socket, emptied: false, arrived: None };
        match self.session.read_tls(&mut source) {
            Ok(count) => {
                self.readable = self.closing || !source.emptied;
                self.arrived = source.arrived;
                self.process(socket)?;
                Ok(Some(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(None)
            }
            Err(error) => Err(self.refusal(socket_failure(&error))),
        }
    }

    /// The server's close.
    fn closed(&self) -> Result<Option<usize>, Failure> {
        let closed = FailureKind::ClosedBeforeReply;
        let failure = self.refusal(closed.into());
        if failure.kind == closed { Ok(Some(0)) } else { Err(failure) }
    }

    /// The same failure, but for a server that has asked for a certificate in vain and has accepted nothing since: some
    /// end the connection without a word. In TLS 1.3 the tickets tell that a server has gone on.
    fn refusal(&self, failure: Failure) -> Failure {
        let accepted = self.answered
            || self.session.tls13_tickets_received() != 0
            || (!self.session.is_handshaking()
                && self.session.protocol_version() != Some(ProtocolVersion::TLSv1_3));
        if self.asked && !accepted { FailureKind::TlsCertificateWanted.into() } else { failure }
    }

    fn process(&mut self, socket: &OwnedFd) -> Result<(), Failure> {
        let beginning = self.session.is_handshaking();
        let outcome = self.session.process_new_packets().map(drop);
        self.asked |= trust::was_asked_for_certificate();
        if outcome.is_err() {
            // The alert that tells the server why; whether it arrives changes nothing.
            let _ = self.flush(socket, &mut 0);
        }
        outcome.map_err(|error| match failure(&error) {
            // Whoever has spoken TLS before breaks its rules now.
            failure if failure.kind == FailureKind::TlsNotSpoken && !beginning => {
                Failure { kind: FailureKind::TlsBroken, ..failure }
            }
            // In TLS 1.2 the refusal does not say what is missing.
            failure if self.asked && failure.kind.may_want_certificate() => {
                Failure { kind: FailureKind::TlsCertificateWanted, ..failure }
            }
            failure => failure,
        })
    }
}

fn failure(error: &Error) -> Failure {
    match trust::other_fingerprint(error) {
        Some(detail) => Failure::with(FailureKind::TlsOtherFingerprint, detail),
        None => Failure::with(kind_of(error), error.to_string()),
    }
}

fn kind_of(error: &Error) -> FailureKind {
    match error {
        Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => FailureKind::TlsExpired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                FailureKind::TlsNotYetValid
            }
            // By the name of somebody who is trusted, but not by their key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => FailureKind::TlsUnknownIssuer,
            // What vouches for itself is often an authority's certificate in form: as `openssl req -x509` makes it.
            CertificateError::Other(error) if error.to_string().contains("CaUsedAsEndEntity") => {
                FailureKind::TlsUnknownIssuer
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                FailureKind::TlsWrongHost
            }
            _ => FailureKind::TlsCertificateInvalid,
        },
        Error::NoCertificatesPresented => FailureKind::TlsCertificateInvalid,
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => FailureKind::TlsNotSpoken,
        Error::PeerIncompatible(_)
        | Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion)
        | Error::AlertReceived(
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity,
        ) => FailureKind::TlsNothingInCommon,
        Error::AlertReceived(AlertDescription::CertificateRequired) => FailureKind::TlsCertificateWanted,
        Error::AlertReceived(_) => FailureKind::TlsRefused,
        _ => FailureKind::TlsBroken,
    }
}

fn handshake_failure(failure: Failure) -> Failure {
    Failure { kind: failure.kind.in_handshake(), ..failure }
}

fn socket_failure(error: &io::Error) -> Failure {
    super::connection::socket_failure(errno(error))
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// The socket as rustls reads it, noting whether it gave all that it held, and when that had come.
struct Source<'a> {
    socket: &'a OwnedFd,
    emptied: bool,
    arrived: Option<Stamp>,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, arrived) = stamps::receive(self.socket, buffer)?;
        self.emptied = count < buffer.len();
        self.arrived = arrived;
        Ok(count)
    }
}

/// The socket as rustls writes to it, counting what is written.
struct Sink<'a> {
    socket: &'a OwnedFd,
    written: &'a mut u64,
}

impl Write for Sink<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = send(self.socket, data, SendFlags::NOSIGNAL)?;
        *self.written += count as u64;
        Ok(count)
    }

    /// Several records in one system call, and in as few segments as hold them.
    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        if let [record] = records {
            return self.write(record);
        }
        let mut nothing = SendAncillaryBuffer::default();
        let count = sendmsg(self.socket, records, &mut nothing, SendFlags::NOSIGNAL)?;
        *self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
