//! HTTP/1.1 on the wire: what a request looks like, where a reply's head and body end. Pure and bounded: every byte
//! that comes from outside passes here and can only become a reply or an error text. Framing follows RFC 9112.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::failure::{Failure, FailureKind};
use super::request::{Request, Target, Version};
use super::response::{Head, HeaderSpan};

/// Longest head of a reply, in bytes.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// The most header lines of a reply.
pub(super) const MAX_HEADERS: usize = 128;
/// The most line ends before a reply, which some servers leave behind the one before.
const MAX_BLANK: usize = 16;
/// A head of fewer bytes is looked at whenever some more have come.
const SHORT_HEAD: usize = 256;
/// Longest line of a chunk's size, and of all trailers together.
const MAX_CHUNK_LINE: usize = 16 * 1024;

/// How a reply's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// A parsed head and what follows from it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) head: Head,
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
    /// Bytes of the head on the wire.
    pub(super) length: usize,
}

/// Appends the request as it goes on the wire to `out`. `cookies` is the whole `Cookie` value, empty for none.
pub(super) fn encode(out: &mut Vec<u8>, method: &str, target: &Target, request: &Request, cookies: &str) {
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    // Through a tunnel it goes as without a proxy.
    let proxy =
        request.route.as_ref().filter(|_| !target.authority.tls).and_then(|route| route.proxy(target));
    if proxy.is_some() {
        out.extend_from_slice(b"http://");
        out.extend_from_slice(target.host_header.as_bytes());
    }
    out.extend_from_slice(target.path_and_query.as_bytes());
    out.extend_from_slice(match request.version {
        Version::Http11 => b" HTTP/1.1\r\n",
        Version::Http10 => b" HTTP/1.0\r\n",
    });
    if !request.headers.contains("host") {
        out.extend_from_slice(b"Host: ");
        out.extend_from_slice(target.host_header.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(request.headers.as_bytes());
    if let Some(proxy) = proxy {
        proxy.authorize(out);
    }
    if !cookies.is_empty() {
        out.extend_from_slice(b"Cookie: ");
        out.extend_from_slice(cookies.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let has_length =
        request.headers.contains("content-length") || request.headers.contains("transfer-encoding");
    if wants_length(method, request.body.len()) && !has_length {
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(request.body.len().to_string().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&request.body);
}

/// Whether a request with a body of so many bytes tells its length.
pub(super) fn wants_length(method: &str, length: usize) -> bool {
    // Of the others nobody expects a body.
    0 < length || !matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// Whether `data`, of which the first `known` bytes were an incomplete head, is worth another look. Without the question
/// a head that comes byte by byte would be read through once for every byte.
pub(super) fn may_say_more(data: &[u8], known: usize) -> bool {
    data.len() < SHORT_HEAD || MAX_HEAD <= data.len() || data[known..].contains(&b'\n')
}

/// Parses the head of a reply to `method`. `None`: more bytes are needed. Interim replies (1xx) are returned like any
/// other; the caller skips them.
pub(super) fn parse_head(
    data: &[u8],
    method: &Arc<str>,
    target: &Arc<Target>,
) -> Result<Option<Reply>, Failure> {
    let blank = data.iter().take(MAX_BLANK + 1).take_while(|b| matches!(b, b'\r' | b'\n')).count();
    if MAX_BLANK < blank {
        return Err(Failure::with(FailureKind::NoHttp, "nothing but line ends"));
    }
    // What is beyond is not looked at, so that the outcome is the same in however many pieces it came.
    let data = &data[blank..data.len().min(MAX_HEAD)];
    // Filled by the parser as far as there are headers: to clear all of it would take longer than to parse a usual head.
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let outcome =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, data, &mut headers);
    let length = match outcome {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if MAX_HEAD <= blank + data.len() => {
            return Err(head_too_long());
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => {
            let Some(unfolded) = unfold(data).filter(|_| error == httparse::Error::HeaderName) else {
                return Err(head_failure(error));
            };
            let folds = data.len() - unfolded.len();
            return match parse_head(&unfolded, method, target)? {
                Some(reply) => Ok(Some(Reply { length: blank + folds + reply.length, ..reply })),
                None if MAX_HEAD <= blank + data.len() => Err(head_too_long()),
                None => Ok(None),
            };
        }
    };
    let status = parsed.code.unwrap_or_default();
    let minor = parsed.version.unwrap_or_default();
    let framing = framing(method, status, parsed.headers)?;
    // Where a length or the version speaks against the chunks, nobody knows where the next reply would begin.
    let doubtful = framing == Framing::Chunked && (minor == 0 || has(parsed.headers, "content-length"));
    let keep_alive = !doubtful && keep_alive(minor, parsed.headers);
    let base = data.as_ptr() as usize;
    let range = |part: &[u8]| -> Range<u32> {
        let start = (part.as_ptr() as usize - base) as u32;
        start..start + part.len() as u32
    };
    let spans: Vec<HeaderSpan> =
        parsed.headers.iter().map(|h| (range(h.name.as_bytes()), range(h.value))).collect();
    let head = Head {
        status,
        reason: parsed.reason.filter(|text| !text.is_empty()).map_or(0..0, |text| range(text.as_bytes())),
        version: (1, minor),
        target: Arc::clone(target),
        method: Arc::clone(method),
        raw: Bytes::copy_from_slice(&data[..length]),
        spans,
    };
    Ok(Some(Reply { head, framing, keep_alive, length: blank + length }))
}

fn head_too_long() -> Failure {
    Failure::with(FailureKind::HeadTooLong, format!("more than {MAX_HEAD} bytes"))
}

/// A head whose headers go over several lines, which RFC 9112 has not allowed since 2014 and old servers send, with each on one;
/// behind the head, all is as it was. `None`: there is no such header.
fn unfold(data: &[u8]) -> Option<Vec<u8>> {
    let mut unfolded = Vec::with_capacity(data.len());
    let mut rest = data;
    let mut lines = 0;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = rest.split_at(end + 1);
        let text = line.strip_suffix(b"\r\n").unwrap_or(&line[..end]);
        if text.is_empty() {
            break;
        }
        // The line of the status is no header.
        let goes_on = 0 < lines && matches!(after.first(), Some(b' ' | b'\t'));
        unfolded.extend_from_slice(if goes_on { text } else { line });
        (rest, lines) = (after, lines + 1);
    }
    unfolded.extend_from_slice(rest);
    (unfolded.len() < data.len()).then_some(unfolded)
}

fn head_failure(error: httparse::Error) -> Failure {
    use httparse::Error;
    match error {
        Error::TooManyHeaders => {
            Failure::with(FailureKind::TooManyHeaders, format!("more than {MAX_HEADERS}"))
        }
        Error::HeaderName | Error::HeaderValue | Error::NewLine => {
            Failure::with(FailureKind::HeaderMalformed, error.to_string())
        }
        Error::Status | Error::Token | Error::Version => {
            Failure::with(FailureKind::NoHttp, error.to_string())
        }
    }
}

fn framing(method: &str, status: u16, headers: &[httparse::Header<'_>]) -> Result<Framing, Failure> {
    if method == "HEAD" || status < 200 || status == 204 || status == 304 {
        return Ok(Framing::Length(0));
    }
    let mut length: Option<u64> = None;
    let mut chunked = false;
    for header in headers {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = tokens(header.value).last().is_some_and(|t| t.eq_ignore_ascii_case(b"chunked"));
            if !chunked {
                return Err(Failure::with(FailureKind::CodingUnknown, "the last one is not `chunked`"));
            }
        } else if header.name.eq_ignore_ascii_case("content-length") {
            let invalid = |detail: &'static str| Failure::with(FailureKind::LengthInvalid, detail);
            let value = parse_length(header.value).ok_or_else(|| invalid("no number, or too large"))?;
            if length.is_some_and(|first| first != value) {
                return Err(invalid("two that differ"));
            }
            length = Some(value);
        }
    }
    Ok(match (chunked, length) {
        (true, _) => Framing::Chunked,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilClose,
    })
}

fn has(headers: &[httparse::Header<'_>], name: &str) -> bool {
    headers.iter().any(|header| header.name.eq_ignore_ascii_case(name))
}

fn keep_alive(minor: u8, headers: &[httparse::Header<'_>]) -> bool {
    let mut keep = minor >= 1;
    for header in headers.iter().filter(|h| h.name.eq_ignore_ascii_case("connection")) {
        for token in tokens(header.value) {
            if token.eq_ignore_ascii_case(b"close") {
                return false;
            }
            keep |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    keep
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

fn parse_length(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Takes a body out of what is read.
#[derive(Debug)]
pub(super) struct Body {
    state: BodyState,
    /// Line of a chunk's size or of the trailers, as far as it has come.
    line: Vec<u8>,
    trailer_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyState {
    Length(u64),
    UntilClose,
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    Ended,
}

impl Body {
    pub(super) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => BodyState::Ended,
            Framing::Length(length) => BodyState::Length(length),
            Framing::Chunked => BodyState::ChunkSize,
            Framing::UntilClose => BodyState::UntilClose,
        };
        Self { state, line: Vec::new(), trailer_bytes: 0 }
    }

    pub(super) fn ended(&self) -> bool {
        self.state == BodyState::Ended
    }

    /// The connection was closed by the server: is that the body's end, rather than a cut?
    pub(super) fn may_end_with_connection(&self) -> bool {
        matches!(self.state, BodyState::UntilClose | BodyState::Ended)
    }

    /// Moves body bytes from `input` to `out`; returns how many bytes of `input` are used.
    pub(super) fn feed(&mut self, input: &[u8], out: &mut BytesMut) -> Result<usize, Failure> {
        let mut used = 0;
        while used < input.len() && self.state != BodyState::Ended {
            let rest = &input[used..];
            match self.state {
                BodyState::Ended => break,
                BodyState::UntilClose => {
                    out.extend_from_slice(rest);
                    used += rest.len();
                }
                BodyState::Length(left) | BodyState::ChunkData(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    out.extend_from_slice(&rest[..take]);
                    used += take;
                    self.state = self.after_data(left - take as u64);
                }
                BodyState::ChunkSize | BodyState::ChunkEnd | BodyState::Trailers => {
                    let (line_bytes, complete) = self.take_line(rest)?;
                    used += line_bytes;
                    if complete {
                        self.state = self.after_line()?;
                        self.line.clear();
                    }
                }
            }
        }
        Ok(used)
    }

    fn after_data(&self, left: u64) -> BodyState {
        match (self.state, left) {
            (BodyState::Length(_), 0) => BodyState::Ended,
            (BodyState::Length(_), left) => BodyState::Length(left),
            (_, 0) => BodyState::ChunkEnd,
            (_, left) => BodyState::ChunkData(left),
        }
    }

    fn take_line(&mut self, rest: &[u8]) -> Result<(usize, bool), Failure> {
        let end = rest.iter().position(|b| *b == b'\n');
        let bytes = end.map_or(rest.len(), |at| at + 1);
        self.line.extend_from_slice(&rest[..bytes]);
        if self.state == BodyState::Trailers {
            self.trailer_bytes += bytes;
        }
        let kind = match self.state {
            BodyState::ChunkEnd if !b"\r\n".starts_with(&self.line) && self.line != b"\n" => {
                FailureKind::ChunkEndMissing
            }
            BodyState::Trailers if MAX_CHUNK_LINE < self.trailer_bytes => FailureKind::TrailersTooLong,
            BodyState::ChunkSize if MAX_CHUNK_LINE < self.line.len() => FailureKind::ChunkLineTooLong,
            _ => return Ok((bytes, end.is_some())),
        };
        Err(Failure::new(kind))
    }

    fn after_line(&self) -> Result<BodyState, Failure> {
        let line = self.line.trim_ascii();
        match self.state {
            BodyState::ChunkSize => {
                let size = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
                let valid = !size.is_empty() && size.len() <= 16 && size.iter().all(u8::is_ascii_hexdigit);
                let size = std::str::from_utf8(size).ok().filter(|_| valid);
                match size.and_then(|text| u64::from_str_radix(text, 16).ok()) {
                    Some(0) => Ok(BodyState::Trailers),
                    Some(size) => Ok(BodyState::ChunkData(size)),
                    None => Err(Failure::new(FailureKind::ChunkSizeInvalid)),
                }
            }
            BodyState::ChunkEnd => Ok(BodyState::ChunkSize),
            _ if line.is_empty() => Ok(BodyState::Ended),
            _ => Ok(BodyState::Trailers),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(data: &[u8], method: &str) -> Result<Option<Reply>, Failure> {
        parse_head(data, &Arc::from(method), &Arc::new(Target::parse("http://h/").unwrap()))
    }

    fn body(framing: Framing, parts: &[&[u8]]) -> Result<(Vec<u8>, bool, usize), Failure> {
        let (mut body, mut out, mut left) = (Body::new(framing), BytesMut::new(), 0);
        for part in parts {
            left += part.len() - body.feed(part, &mut out)?;
        }
        Ok((out.to_vec(), body.ended(), left))
    }

    #[test]
    fn a_head_is_parsed_with_its_framing() {
        let data = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello";
        let reply = parse(data, "GET").unwrap().unwrap();
        assert_eq!((reply.head.status, reply.framing, reply.keep_alive), (200, Framing::Length(5), true));
        assert_eq!(reply.head.header("x-a"), Some(&b"b"[..]));
        assert_eq!(&data[reply.length..], b"hello");
    }

    #[test]
    fn replies_to_head_and_204_and_304_have_no_body() {
        let head = |status| format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n").into_bytes();
        assert_eq!(parse(&head(200), "HEAD").unwrap().unwrap().framing, Framing::Length(0));
        assert_eq!(parse(&head(204), "GET").unwrap().unwrap().framing, Framing::Length(0));
        assert_eq!(parse(&head(304), "GET").unwrap().unwrap().framing, Framing::Length(0));
    }

    #[test]
    fn a_reply_without_a_length_ends_with_its_connection() {
        let reply = parse(b"HTTP/1.0 200 OK\r\n\r\n", "GET").unwrap().unwrap();
        assert_eq!((reply.framing, reply.keep_alive), (Framing::UntilClose, false));
    }

    #[test]
    fn contradicting_framing_is_an_error() {
        for headers in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: -1\r\n",
            "Transfer-Encoding: gzip\r\n",
        ] {
            let data = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
            assert!(parse(data.as_bytes(), "GET").is_err(), "{headers}");
        }
    }

    #[test]
    fn an_endless_head_is_an_error() {
        let mut data = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
        data.resize(MAX_HEAD + 1, b'a');
        assert_eq!(parse(&data, "GET").unwrap_err().kind, FailureKind::HeadTooLong);
    }

    #[test]
    fn a_header_over_several_lines_is_one() {
        let data = b"HTTP/1.1 200 OK\r\nX-A: one\r\n two \n\tthree\r\nContent-Length:\r\n 5\r\n\r\na\r\n b";
        for end in 0..data.len() - 5 {
            assert!(parse(&data[..end], "GET").unwrap().is_none(), "{end}");
        }
        let reply = parse(data, "GET").unwrap().unwrap();
        assert_eq!(reply.head.header("x-a"), Some(&b"one two \tthree"[..]));
        assert_eq!((reply.framing, &data[reply.length..]), (Framing::Length(5), &b"a\r\n b"[..]));
        let line = |headers: &str| parse(format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes(), "GET");
        assert_eq!(line(" X-A: b\r\n").unwrap_err().kind, FailureKind::HeaderMalformed);
        assert_eq!(line("X-A: b\r\n c\r\nX B: d\r\n").unwrap_err().kind, FailureKind::HeaderMalformed);
        let endless = format!("X-A: b\r\n{}", " c\r\n".repeat(MAX_HEAD / 4));
        assert_eq!(line(&endless).unwrap_err().kind, FailureKind::HeadTooLong);
    }

    #[test]
    fn chunks_are_joined_however_they_are_cut() {
        let wire = b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: z\r\n\r\nNEXT";
        let whole = body(Framing::Chunked, &[wire]).unwrap();
        assert_eq!(whole, (b"hello world".to_vec(), true, 4));
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(body(Framing::Chunked, &bytes).unwrap(), whole);
    }

    #[test]
    fn a_bad_chunk_is_an_error() {
        for wire in [&b"zz\r\n"[..], b"5\r\nhelloX\r\n", b"\r\n", b"FFFFFFFFFFFFFFFFF\r\n"] {
            assert!(body(Framing::Chunked, &[wire]).is_err(), "{wire:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&data, "GET");
            let _ = body(Framing::Chunked, &[&data]);
        }

        #[test]
        fn any_body_survives_chunking(data in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..50) {
            let mut wire = Vec::new();
            for chunk in data.chunks(size) {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let (out, ended, left) = body(Framing::Chunked, &[&wire]).unwrap();
            prop_assert_eq!((out, ended, left), (data, true, 0));
        }
    }
}
