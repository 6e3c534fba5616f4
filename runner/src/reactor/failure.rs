//! Why a call ended without a whole reply. Pure. The kinds are a bounded set: they are labels in the statistics.

use std::fmt;

/// What kind of failure; each is one error text in the statistics and one exception in the client.
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
    /// The connection was reset.
    Reset,
    /// The connection was closed before the end of the reply.
    Closed,
    /// What came is no HTTP.
    NoHttp,
    /// TLS failed.
    Tls,
    /// More redirects than allowed, or one that leads nowhere.
    Redirects,
    /// This machine's own fault: no open files, local ports or resolver left. Never the target's.
    Generator,
}

/// A failure with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    /// A sentence, with no addresses of ephemeral ports in it, so that equal failures have equal texts.
    pub text: String,
}

impl Failure {
    /// A failure of that kind with that text.
    pub fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
