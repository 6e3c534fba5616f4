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
    /// Minor HTTP version, 0 or 1.
    pub minor: u8,
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
    /// The reason phrase as sent, possibly empty.
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
