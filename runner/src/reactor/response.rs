//! What came back: the head of a reply. Pure; the parser is in `http1`.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::request::Target;

/// Status line and headers of one reply. The header lines stay in one buffer until somebody reads them.
#[derive(Debug, Clone)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// HTTP version, as major and minor number.
    pub version: (u8, u8),
    /// What was asked to get it.
    pub target: Arc<Target>,
    /// The method that was sent.
    pub method: Arc<str>,
    pub(super) raw: Bytes,
    pub(super) reason: Range<u32>,
    pub(super) spans: Vec<HeaderSpan>,
}

/// Where a header's name and value lie in the raw head.
pub(super) type HeaderSpan = (Range<u32>, Range<u32>);

impl Head {
    /// The reason phrase as sent, possibly empty; HTTP/2 sends none, so the standard's own stands for it.
    pub fn reason(&self) -> &str {
        let bytes = &self.raw[self.reason.start as usize..self.reason.end as usize];
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Header names and values as sent, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let slice = |span: &Range<u32>| &self.raw[span.start as usize..span.end as usize];
        self.spans.iter().map(move |(name, value)| (slice(name), slice(value)))
    }

    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }
}

/// What RFC 9110 and its registry call a final status; empty for one that they do not know.
pub(super) const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}
