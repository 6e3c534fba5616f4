//! Why a call ended without a whole reply. Pure. The kinds are a bounded set and each has one fixed label: that is what
//! the statistics and `/metrics` count by, so that no target can make up rows. What else is known of a failure is for the
//! scenario's exception alone. Start at [`FailureKind::label`].

use std::borrow::Cow;
use std::fmt;

/// The most characters of a failure's detail: some of it comes from the target.
const MAX_DETAIL: usize = 200;

/// What kind of failure; each is one error text in the statistics, and an exception in the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The name does not resolve (the target's fault: no such name).
    NameNotFound,
    /// Nobody listens.
    Refused,
    /// No way to the host, or another error while connecting.
    Unreachable,
    /// `connect` or `sock_connect` ran out.
    ConnectTimeout,
    /// `sock_read` ran out.
    ReadTimeout,
    /// `total` ran out.
    TotalTimeout,
    /// The connection was reset before any byte of the reply.
    ResetBeforeReply,
    /// The connection was reset after the reply had begun.
    ResetInReply,
    /// The connection was closed before any byte of the reply.
    ClosedBeforeReply,
    /// The connection was closed after the reply had begun: it was cut short.
    ClosedInReply,
    /// What came does not begin as a reply of HTTP/1 does.
    NoHttp,
    /// A header line that is none.
    HeaderMalformed,
    /// More bytes of head than a reply may have.
    HeadTooLong,
    /// More header lines than a reply may have.
    TooManyHeaders,
    /// `Content-Length` is no number, or two of them differ.
    LengthInvalid,
    /// `Transfer-Encoding` does not end in `chunked`.
    CodingUnknown,
    /// The server changed to another protocol unasked.
    ProtocolSwitched,
    /// Interim replies without end.
    TooManyInterim,
    /// A chunk's size is no number, or too large for one.
    ChunkSizeInvalid,
    /// The line of a chunk's size has no end.
    ChunkLineTooLong,
    /// A chunk does not end where its size says.
    ChunkEndMissing,
    /// Trailers without end.
    TrailersTooLong,
    /// More bytes of body than are kept in memory for a scenario that wants it whole.
    BodyTooLong,
    /// What was to be sent could not be had, or cannot be sent twice.
    UploadFailed,
    /// The certificate's time is over.
    TlsExpired,
    /// The certificate's time has not come.
    TlsNotYetValid,
    /// Nobody that this machine trusts vouches for the certificate; it may vouch for itself.
    TlsUnknownIssuer,
    /// The certificate is another host's.
    TlsWrongHost,
    /// The certificate cannot be accepted for another reason.
    TlsCertificateInvalid,
    /// The server answered with something else than TLS.
    TlsNotSpoken,
    /// No version or cipher that both sides speak.
    TlsNothingInCommon,
    /// The server refused with an alert.
    TlsRefused,
    /// The server wants a client certificate, and was given none.
    TlsCertificateWanted,
    /// The certificate has another digest than the one that the scenario pins.
    TlsOtherFingerprint,
    /// The connection was closed or reset in the handshake.
    TlsCut,
    /// The server broke TLS's rules.
    TlsBroken,
    /// The proxy's name does not resolve.
    ProxyNotFound,
    /// No connection to the proxy.
    ProxyUnreachable,
    /// The proxy wants to know who asks for the tunnel, or does not know them.
    ProxyAuthorization,
    /// The proxy opens no tunnel for another reason.
    ProxyRefused,
    /// The proxy closed the connection before its reply.
    ProxyClosed,
    /// What the proxy said to `CONNECT` is no reply.
    ProxyNoHttp,
    /// HTTP/2 was spoken to a server that speaks none.
    Http2NotSpoken,
    /// The server broke the rules of HTTP/2.
    Http2Broken,
    /// The request cannot be said in HTTP/2.
    Http2Unsendable,
    /// The server reset the stream of the call.
    StreamReset,
    /// The server refused the stream, twice; it has processed nothing of it.
    StreamRefused,
    /// The server said goodbye before it took the request, twice.
    ConnectionEnded,
    /// More redirects than allowed.
    TooManyRedirects,
    /// A redirect to what is no URL that a call can be made to.
    RedirectInvalid,
    /// This machine's own fault: no open files left.
    OutOfFiles,
    /// This machine's own fault: no local ports left.
    OutOfPorts,
    /// This machine's own fault: it has no such source address.
    SourceUnavailable,
    /// This machine's own fault: no memory left for sockets.
    OutOfMemory,
    /// This machine's own fault: its resolver does not answer.
    ResolverFailed,
    /// This machine's own fault: it cannot begin with TLS at all.
    TlsUnavailable,
}

impl FailureKind {
    /// Every kind, in the order in which they are declared.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 56] = [
        Self::NameNotFound,
        Self::Refused,
        Self::Unreachable,
        Self::ConnectTimeout,
        Self::ReadTimeout,
        Self::TotalTimeout,
        Self::ResetBeforeReply,
        Self::ResetInReply,
        Self::ClosedBeforeReply,
        Self::ClosedInReply,
        Self::NoHttp,
        Self::HeaderMalformed,
        Self::HeadTooLong,
        Self::TooManyHeaders,
        Self::LengthInvalid,
        Self::CodingUnknown,
        Self::ProtocolSwitched,
        Self::TooManyInterim,
        Self::ChunkSizeInvalid,
        Self::ChunkLineTooLong,
        Self::ChunkEndMissing,
        Self::TrailersTooLong,
        Self::BodyTooLong,
        Self::UploadFailed,
        Self::TlsExpired,
        Self::TlsNotYetValid,
        Self::TlsUnknownIssuer,
        Self::TlsWrongHost,
        Self::TlsCertificateInvalid,
        Self::TlsNotSpoken,
        Self::TlsNothingInCommon,
        Self::TlsRefused,
        Self::TlsCertificateWanted,
        Self::TlsOtherFingerprint,
        Self::TlsCut,
        Self::TlsBroken,
        Self::ProxyNotFound,
        Self::ProxyUnreachable,
        Self::ProxyAuthorization,
        Self::ProxyRefused,
        Self::ProxyClosed,
        Self::ProxyNoHttp,
        Self::Http2NotSpoken,
        Self::Http2Broken,
        Self::Http2Unsendable,
        Self::StreamReset,
        Self::StreamRefused,
        Self::ConnectionEnded,
        Self::TooManyRedirects,
        Self::RedirectInvalid,
        Self::OutOfFiles,
        Self::OutOfPorts,
        Self::SourceUnavailable,
        Self::OutOfMemory,
        Self::ResolverFailed,
        Self::TlsUnavailable,
    ];

    /// The text that statistics count this kind by. Dashboards and thresholds know it: it never changes.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NameNotFound => "name not found",
            Self::Refused => "connection refused",
            Self::Unreachable => "host unreachable",
            Self::ConnectTimeout => "timeout: no connection in time",
            Self::ReadTimeout => "timeout: no byte in time",
            Self::TotalTimeout => "timeout: total time over",
            Self::ResetBeforeReply => "connection reset before the reply",
            Self::ResetInReply => "connection reset in the reply",
            Self::ClosedBeforeReply => "connection closed before the reply",
            Self::ClosedInReply => "connection closed in the reply",
            Self::NoHttp => "reply is no HTTP/1",
            Self::HeaderMalformed => "reply has a malformed header",
            Self::HeadTooLong => "reply head too long",
            Self::TooManyHeaders => "reply has too many headers",
            Self::LengthInvalid => "reply has an invalid Content-Length",
            Self::CodingUnknown => "reply has an unknown Transfer-Encoding",
            Self::ProtocolSwitched => "protocol switched unasked",
            Self::TooManyInterim => "too many interim replies",
            Self::ChunkSizeInvalid => "chunk size invalid",
            Self::ChunkLineTooLong => "chunk line too long",
            Self::ChunkEndMissing => "chunk does not end at its size",
            Self::TrailersTooLong => "trailers too long",
            Self::BodyTooLong => "reply body too long",
            Self::TlsExpired => "TLS: certificate expired",
            Self::TlsNotYetValid => "TLS: certificate not yet valid",
            Self::TlsUnknownIssuer => "TLS: certificate of an unknown issuer",
            Self::TlsWrongHost => "TLS: certificate of another host",
            Self::TlsCertificateInvalid => "TLS: certificate invalid",
            Self::TlsNotSpoken => "TLS: server speaks no TLS",
            Self::TlsNothingInCommon => "TLS: no version or cipher in common",
            Self::TlsRefused => "TLS: refused by the server",
            Self::TlsCertificateWanted => "TLS: client certificate wanted by the server",
            Self::TlsOtherFingerprint => "TLS: certificate of another fingerprint",
            Self::TlsCut => "TLS: connection cut in the handshake",
            Self::TlsBroken => "TLS: protocol broken by the server",
            Self::ProxyNotFound => "proxy: name not found",
            Self::ProxyUnreachable => "proxy: no connection",
            Self::ProxyAuthorization => "proxy: authentication required",
            Self::ProxyRefused => "proxy: tunnel refused",
            Self::ProxyClosed => "proxy: connection closed before its reply",
            Self::ProxyNoHttp => "proxy: reply is no HTTP/1",
            Self::Http2NotSpoken => "HTTP/2: server speaks none",
            Self::Http2Broken => "HTTP/2: protocol broken by the server",
            Self::Http2Unsendable => "HTTP/2: request cannot be sent",
            Self::StreamReset => "HTTP/2: stream reset by the server",
            Self::StreamRefused => "HTTP/2: stream refused by the server",
            Self::ConnectionEnded => "HTTP/2: connection ended by the server",
            Self::TooManyRedirects => "too many redirects",
            Self::UploadFailed => "upload failed",
            Self::RedirectInvalid => "redirect to no usable URL",
            Self::OutOfFiles => "generator: no open files left",
            Self::OutOfPorts => "generator: no local ports left",
            Self::SourceUnavailable => "generator: source address of no interface",
            Self::OutOfMemory => "generator: no memory left for sockets",
            Self::ResolverFailed => "generator: resolver does not answer",
            Self::TlsUnavailable => "generator: TLS cannot be set up",
        }
    }

    /// Whether this machine is to blame: never counted as the target's.
    pub const fn is_generators(self) -> bool {
        matches!(
            self,
            Self::OutOfFiles
                | Self::OutOfPorts
                | Self::SourceUnavailable
                | Self::OutOfMemory
                | Self::ResolverFailed
                | Self::TlsUnavailable
        )
    }

    /// Whether the server let the connection go before any byte of its reply.
    pub(super) const fn is_lost_before_reply(self) -> bool {
        matches!(self, Self::ResetBeforeReply | Self::ClosedBeforeReply)
    }

    /// Whether the server said that it has not processed the request.
    pub(super) const fn is_unprocessed(self) -> bool {
        matches!(self, Self::StreamRefused | Self::ConnectionEnded)
    }

    /// The same once the reply had begun.
    pub(super) const fn in_reply(self) -> Self {
        match self {
            Self::ResetBeforeReply => Self::ResetInReply,
            Self::ClosedBeforeReply | Self::ConnectionEnded => Self::ClosedInReply,
            Self::StreamRefused => Self::StreamReset,
            other => other,
        }
    }

    /// The same where it was a proxy that could not be reached.
    pub(super) const fn at_proxy(self) -> Self {
        match self {
            Self::NameNotFound => Self::ProxyNotFound,
            Self::Refused | Self::Unreachable | Self::ResetBeforeReply => Self::ProxyUnreachable,
            other => other,
        }
    }

    /// Whether a proxy is to blame.
    pub const fn is_proxys(self) -> bool {
        matches!(
            self,
            Self::ProxyNotFound
                | Self::ProxyUnreachable
                | Self::ProxyAuthorization
                | Self::ProxyRefused
                | Self::ProxyClosed
                | Self::ProxyNoHttp
        )
    }

    /// Whether this may be how a server says that it wants a client certificate.
    pub(super) const fn may_want_certificate(self) -> bool {
        matches!(self, Self::TlsRefused | Self::TlsNothingInCommon)
    }

    /// Whether TLS was refused by the server: in TLS 1.3 the request may be on its way by then, and is never read.
    pub(super) const fn is_refusal_of_tls(self) -> bool {
        matches!(self, Self::TlsRefused | Self::TlsNothingInCommon | Self::TlsCertificateWanted)
    }

    /// The same while the TLS handshake was under way.
    pub(super) const fn in_handshake(self) -> Self {
        match self {
            Self::ResetBeforeReply | Self::ClosedBeforeReply => Self::TlsCut,
            other => other,
        }
    }
}

/// A failure with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    /// What is known beside the label; empty where that says it all. Never counted by: it may hold what the target said.
    pub detail: Cow<'static, str>,
}

impl Failure {
    /// A failure of that kind.
    pub const fn new(kind: FailureKind) -> Self {
        Self { kind, detail: Cow::Borrowed("") }
    }

    /// The same with a detail, of which the beginning is kept.
    pub fn with(kind: FailureKind, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut detail = detail.into();
        if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL) {
            detail = Cow::Owned(format!("{}…", &detail[..end]));
        }
        Self { kind, detail }
    }
}

impl From<FailureKind> for Failure {
    fn from(kind: FailureKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.label())?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_has_a_label_of_its_own_that_holds_nothing_of_one_call() {
        assert!(FailureKind::ALL.iter().enumerate().all(|(place, kind)| *kind as usize == place));
        assert_eq!(
            FailureKind::TlsUnavailable as usize + 1,
            FailureKind::ALL.len(),
            "the last one is listed too"
        );
        let labels: HashSet<&str> = FailureKind::ALL.iter().map(|kind| kind.label()).collect();
        assert_eq!(labels.len(), FailureKind::ALL.len());
        let ours = FailureKind::ALL.iter().filter(|kind| kind.label().starts_with("generator: "));
        assert!(ours.clone().all(|kind| kind.is_generators()));
        assert_eq!(ours.count(), FailureKind::ALL.iter().filter(|kind| kind.is_generators()).count());
    }

    #[test]
    fn a_detail_is_bounded_and_the_label_comes_first() {
        let failure = Failure::with(FailureKind::RedirectInvalid, "ä".repeat(100_000));
        assert!(failure.detail.chars().count() <= MAX_DETAIL + 1);
        assert!(failure.to_string().starts_with("redirect to no usable URL: ä"));
        assert_eq!(Failure::new(FailureKind::Refused).to_string(), "connection refused");
    }
}
