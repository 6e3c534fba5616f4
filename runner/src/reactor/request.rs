//! What one call sends: its target, its headers, its limits. Pure; start at [`Request`].

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use url::Url;

use super::SessionId;
use super::route::Route;

/// A parsed absolute `http` or `https` URL with all that a request needs of it. Made once per distinct URL: the client
/// keeps them in a bounded cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The URL, without its fragment.
    pub url: Url,
    /// Where to connect.
    pub authority: Arc<Authority>,
    /// The value of the `Host` header.
    pub host_header: String,
    /// The `Authorization` that the URL's user and password make; they are not in `url`.
    pub authorization: Option<Arc<str>>,
    /// Path and query as sent.
    pub path_and_query: String,
    /// The name that statistics use unless the call gives another: the URL's path.
    pub name: Arc<str>,
}

/// Where a connection leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether the connection is TLS.
    pub tls: bool,
}

/// Why a text is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a URL, or relative with nothing to be relative to.
    #[error("`{text}` is not an absolute URL: {reason}")]
    Unparsable {
        /// What was given.
        text: String,
        /// The parser's reason.
        reason: String,
    },
    /// Another scheme than `http` or `https`.
    #[error("`{text}` has the scheme `{scheme}`; http or https is needed")]
    Scheme {
        /// What was given.
        text: String,
        /// Its scheme.
        scheme: String,
    },
    /// No host.
    #[error("`{text}` names no host")]
    NoHost {
        /// What was given.
        text: String,
    },
}

impl Target {
    /// Parses `text`, an absolute URL.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let url = Url::parse(text)
            .map_err(|e| TargetError::Unparsable { text: text.to_owned(), reason: e.to_string() })?;
        Self::from_url(url)
    }

    /// Resolves `reference` (a `Location` header) against this target.
    pub fn join(&self, reference: &str) -> Result<Self, TargetError> {
        let url = self
            .url
            .join(reference)
            .map_err(|e| TargetError::Unparsable { text: reference.to_owned(), reason: e.to_string() })?;
        Self::from_url(url)
    }

    /// The target of a parsed URL.
    pub fn from_url(mut url: Url) -> Result<Self, TargetError> {
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            scheme => {
                return Err(TargetError::Scheme { text: url.to_string(), scheme: scheme.to_owned() });
            }
        };
        url.set_fragment(None);
        let authorization = basic(&url).map(Arc::from);
        if authorization.is_some() {
            // A URL with a host takes both.
            let _ = url.set_username("");
            let _ = url.set_password(None);
        }
        let bare = match url.host() {
            Some(url::Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => return Err(TargetError::NoHost { text: url.to_string() }),
        };
        let host = url.host_str().unwrap_or_default();
        let host_header = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let port = url.port_or_known_default().unwrap_or(80);
        let path_and_query = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let authority = Arc::new(Authority { host: bare, port, tls });
        let name = Arc::from(url.path());
        Ok(Self { url, authority, host_header, authorization, path_and_query, name })
    }
}

/// The value of an `Authorization` header for the user and password in a URL, if there are any.
pub(super) fn basic(url: &Url) -> Option<String> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pair = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default()));
    // As browsers and aiohttp do it: one byte for a character where that is possible.
    let bytes = pair.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>();
    Some(format!("Basic {}", BASE64_STANDARD.encode(bytes.unwrap_or_else(|| pair.into_bytes()))))
}

/// Header lines as they go on the wire, each `Name: value\r\n`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderBlock {
    bytes: Vec<u8>,
}

/// Why a header cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A name with a character outside RFC 9110's `token`.
    #[error("`{0}` is not a header name")]
    Name(String),
    /// A value with a line break or a NUL.
    #[error("the value of header `{0}` has a line break or a NUL in it")]
    Value(String),
}

impl HeaderBlock {
    /// Appends one header; `value` is sent as it is.
    pub fn push(&mut self, name: &str, value: &[u8]) -> Result<(), HeaderError> {
        if !is_token(name) {
            return Err(HeaderError::Name(name.to_owned()));
        }
        if value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(HeaderError::Value(name.to_owned()));
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Appends all of `other`.
    pub fn extend(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
    }

    /// Whether a header of that name is there, in any case.
    pub fn contains(&self, name: &str) -> bool {
        self.lines().any(|line| is_named(line, name))
    }

    /// The first line of that name.
    pub(super) fn line(&self, name: &str) -> Option<&[u8]> {
        self.lines().find(|line| is_named(line, name))
    }

    /// A copy without the headers of these names.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for line in self.lines().filter(|line| !names.iter().any(|name| is_named(line, name))) {
            bytes.extend_from_slice(line);
        }
        Self { bytes }
    }

    /// A copy without the headers of these names that are as in `defaults`.
    #[must_use]
    pub fn without_defaults(&self, names: &[String], defaults: &Self) -> Self {
        let is_skipped = |line: &&[u8]| {
            names.iter().any(|name| is_named(line, name)) && defaults.lines().any(|default| default == *line)
        };
        Self { bytes: self.lines().filter(|line| !is_skipped(line)).flatten().copied().collect() }
    }

    /// The lines as they go on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Names and values, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines().filter_map(|line| {
            let colon = line.iter().position(|b| *b == b':')?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split_inclusive(|b| *b == b'\n')
    }
}

/// Whether a text is RFC 9110's `token`, as names of headers and methods are.
pub fn is_token(text: &str) -> bool {
    let may_be = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(may_be)
}

fn is_named(line: &[u8], name: &str) -> bool {
    line.len() > name.len()
        && line[name.len()] == b':'
        && line[..name.len()].eq_ignore_ascii_case(name.as_bytes())
}

/// The version that a request names; over HTTP/2 none is named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// For servers that are to be treated as old ones.
    Http10,
    /// As usual.
    #[default]
    Http11,
}

/// How long a call may take; `None` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the start of the call to the last byte of its body.
    pub total: Option<Duration>,
    /// Until a connection is there (waiting, DNS, TCP, TLS).
    pub connect: Option<Duration>,
    /// Between two reads.
    pub sock_read: Option<Duration>,
    /// For the TCP handshake of one address.
    pub sock_connect: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { total: Some(Duration::from_secs(300)), connect: None, sock_read: None, sock_connect: None }
    }
}

/// One call, ready to be sent. `Host`, `Content-Length` (where there is a body or the method wants one) and the
/// session's cookies are added by the reactor unless `headers` has them.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; no two make one state")]
pub struct Request {
    /// Whose connections and cookies.
    pub session: SessionId,
    /// `GET`, `POST`, …: a token, in capitals.
    pub method: Arc<str>,
    /// Where to.
    pub target: Arc<Target>,
    /// The name that statistics use; `None`: the URL's path.
    pub name: Option<Arc<str>>,
    /// The session's headers and the call's.
    pub headers: Arc<HeaderBlock>,
    /// Cookies of this call alone, `a=b; c=d`.
    pub cookies: Option<String>,
    /// The body; empty for none.
    pub body: Bytes,
    /// How many redirects to follow; 0 for none.
    pub redirects: u32,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Bytes of the body that are read ahead of the scenario.
    pub read_ahead: usize,
    /// By which way it gets there; `None`: the usual one.
    pub route: Option<Arc<Route>>,
    /// How late the iteration that the call belongs to began, if that had an intended start.
    pub late: Option<Duration>,
    /// The body is not in `body`: it follows piece by piece, by `say`. The headers tell how it is framed.
    pub upload: bool,
    /// It follows once the server says 100, and not at all if that replies something else before.
    pub expects_continue: bool,
    /// As it stands in the request line.
    pub version: Version,
    /// A reply of 101 is what is asked for: from then on the connection is the scenario's. See `upgrade`.
    pub upgrade: bool,
    /// It is none of the load: in no figure.
    pub unmeasured: bool,
}
