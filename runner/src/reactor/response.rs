//! What came back: the head of a reply and its history. Pure; the parser is in `http1`.

use std::sync::Arc;

use bytes::Bytes;

use super::request::Target;

/// Status line and headers of one reply.
#[derive(Debug, Clone)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// The reason phrase as sent, possibly empty.
    pub reason: String,
    /// Minor HTTP version, 0 or 1.
    pub minor: u8,
    /// Header names and values in their order.
    pub headers: Vec<(Bytes, Bytes)>,
    /// What was asked to get it.
    pub target: Arc<Target>,
    /// The method that was sent.
    pub method: Arc<str>,
}

impl Head {
    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v.as_ref())
    }
}
