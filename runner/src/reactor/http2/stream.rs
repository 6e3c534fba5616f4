//! One call's stream: its request as `h2` wants it, its reply as the engine keeps it, and what its errors mean. Moves no
//! call; `mod` does. Start at [`Stream::open`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Method, Uri};

use crate::reactor::call::Call;
use crate::reactor::failure::{Failure, FailureKind};
use crate::reactor::request::{Request, Target};
use crate::reactor::response::{self, Head, HeaderSpan};
use crate::reactor::{CallId, http1};

/// Headers that belong to a connection of HTTP/1 and have no place in HTTP/2; `host` has a field of its own there.
const DROPPED: [&str; 6] =
    ["host", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// Calls whose streams have something new, and whether the connection itself has.
#[derive(Default)]
pub(super) struct Woken {
    calls: Mutex<Vec<CallId>>,
    connection: AtomicBool,
}

impl Woken {
    pub(super) fn take(&self) -> Vec<CallId> {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether `h2` asks to be polled.
    pub(super) fn take_connection(&self) -> bool {
        self.connection.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.connection.store(true, Ordering::Relaxed);
    }
}

struct Waiter {
    call: CallId,
    woken: Arc<Woken>,
}

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {
        self.woken.calls.lock().unwrap_or_else(PoisonError::into_inner).push(self.call);
    }
}

/// One request and its reply. Dropped before its end it resets the stream, and the connection lives on.
pub(in crate::reactor) struct Stream {
    pub(super) id: u32,
    waker: Waker,
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    /// What is left to send is `h2`'s; it is kept so that the stream stays open.
    _request: SendStream<Bytes>,
    /// What has come of the body, with its arrival, and has not been given to the call: its window stays closed so far.
    pub(super) pieces: VecDeque<(Bytes, Instant)>,
    /// How the stream ended, and when.
    pub(super) ended: Option<(Result<(), Failure>, Instant)>,
    /// The connection has so many bytes out once the head is.
    pub(super) head_end: u64,
}

/// What a look at a stream's head finds.
pub(super) enum Progress {
    Waiting,
    Interim(u16),
    Head(http::response::Parts),
    Failed(Failure),
}

impl Stream {
    /// Opens a stream with the present hop's request. `cookies` is the whole `Cookie` value, empty for none.
    pub(super) fn open(
        id: CallId,
        call: &Call,
        cookies: &[u8],
        requests: &mut SendRequest<Bytes>,
        woken: &Arc<Woken>,
    ) -> Result<Self, Failure> {
        let body = unframed(&call.request);
        let request = request(&call.method, &call.target, &call.request, cookies, body.len())?;
        let (response, mut sending) =
            requests.send_request(request, body.is_empty()).map_err(|error| failure(&error))?;
        if !body.is_empty() {
            // Not copied: `h2` takes from it as the windows allow.
            sending.send_data(body, true).map_err(|error| failure(&error))?;
        }
        Ok(Self {
            id: response.stream_id().as_u32(),
            waker: Waker::from(Arc::new(Waiter { call: id, woken: Arc::clone(woken) })),
            response: Some(response),
            body: None,
            _request: sending,
            pieces: VecDeque::new(),
            ended: None,
            head_end: u64::MAX,
        })
    }

    /// Looks for the head of the reply, unless that is there.
    pub(super) fn poll_head(&mut self) -> Progress {
        let Some(response) = &mut self.response else { return Progress::Waiting };
        let mut context = Context::from_waker(&self.waker);
        if let Poll::Ready(Some(Ok(interim))) = response.poll_informational(&mut context) {
            return Progress::Interim(interim.status().as_u16());
        }
        match std::pin::Pin::new(response).poll(&mut context) {
            Poll::Pending => Progress::Waiting,
            Poll::Ready(outcome) => {
                self.response = None;
                match outcome {
                    Ok(reply) => {
                        let (parts, body) = reply.into_parts();
                        self.body = Some(body);
                        Progress::Head(parts)
                    }
                    Err(error) => Progress::Failed(failure(&error)),
                }
            }
        }
    }

    /// Takes what has come of the body. Trailers are dropped.
    pub(super) fn poll_body(&mut self, now: Instant) {
        let Some(body) = &mut self.body else { return };
        let mut context = Context::from_waker(&self.waker);
        while self.ended.is_none() {
            match body.poll_data(&mut context) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(piece))) => self.pieces.push_back((piece, now)),
                Poll::Ready(Some(Err(error))) => self.ended = Some((Err(failure(&error)), now)),
                Poll::Ready(None) => self.ended = Some((Ok(()), now)),
            }
        }
    }

    /// The server may send so many bytes more.
    pub(super) fn release(&mut self, count: usize) {
        if let Some(body) = &mut self.body {
            // It fails on a stream that is over, whose window nobody needs.
            let _ = body.flow_control().release_capacity(count);
        }
    }
}

/// The body without the frame of one chunk that HTTP/1 has around it where its length is not told.
fn unframed(request: &Request) -> Bytes {
    let body = &request.body;
    if !request.headers.contains("transfer-encoding") {
        return body.clone();
    }
    let start = body.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1);
    let end = body.len().saturating_sub(b"\r\n0\r\n\r\n".len());
    if start < end { body.slice(start..end) } else { Bytes::new() }
}

fn request(
    method: &str,
    target: &Target,
    request: &Request,
    cookies: &[u8],
    length: usize,
) -> Result<http::Request<()>, Failure> {
    let unsendable = |what: &str| Failure::with(FailureKind::Http2Unsendable, what.to_owned());
    let mut made = http::Request::new(());
    let lines = || request.headers.iter();
    let host = lines().find(|(name, _)| name.eq_ignore_ascii_case(b"host")).map(|(_, value)| value);
    // A URL may hold these unescaped, but not as `http` sees it.
    let path = target.path_and_query.replace('`', "%60");
    *made.uri_mut() = Uri::builder()
        .scheme(if target.authority.tls { Scheme::HTTPS } else { Scheme::HTTP })
        .authority(host.unwrap_or(target.host_header.as_bytes()))
        .path_and_query(path)
        .build()
        .map_err(|error| unsendable(&error.to_string()))?;
    *made.method_mut() =
        Method::from_bytes(method.as_bytes()).map_err(|error| unsendable(&error.to_string()))?;
    *made.version_mut() = http::Version::HTTP_2;
    let headers = made.headers_mut();
    for (name, value) in lines() {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if DROPPED.iter().any(|dropped| is(dropped)) || (is("te") && value != b"trailers") {
            continue;
        }
        let name = HeaderName::from_bytes(name).map_err(|error| unsendable(&error.to_string()))?;
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| unsendable(&format!("a control character in the header `{name}`")))?;
        headers.append(name, value);
    }
    if !cookies.is_empty() {
        let value = HeaderValue::from_bytes(cookies)
            .map_err(|_| unsendable("a control character in the header `cookie`"))?;
        headers.append(http::header::COOKIE, value);
    }
    if http1::wants_length(method, length) && !request.headers.contains("transfer-encoding") {
        headers.entry(http::header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    Ok(made)
}

/// A head as the engine keeps it.
pub(super) fn head(parts: &http::response::Parts, call: &Call) -> Head {
    let status = parts.status.as_u16();
    let reason = response::reason(status);
    let mut raw = BytesMut::new();
    let mut put = |part: &[u8]| {
        let start = raw.len() as u32;
        raw.extend_from_slice(part);
        start..raw.len() as u32
    };
    let reason = put(reason.as_bytes());
    let spans: Vec<HeaderSpan> = parts
        .headers
        .iter()
        .map(|(name, value)| (put(name.as_str().as_bytes()), put(value.as_bytes())))
        .collect();
    Head {
        status,
        version: (2, 0),
        target: Arc::clone(&call.target),
        method: Arc::clone(&call.method),
        raw: raw.freeze(),
        reason,
        spans,
    }
}

/// What an error of a stream means. Where the connection itself was lost, the reader of the socket knows more.
pub(super) fn failure(error: &h2::Error) -> Failure {
    let detail = error.reason().map_or_else(|| error.to_string(), |reason| reason.to_string());
    let kind = match error.reason() {
        _ if error.is_io() => FailureKind::ClosedBeforeReply,
        Some(Reason::REFUSED_STREAM) if error.is_reset() && error.is_remote() => FailureKind::StreamRefused,
        _ if error.is_reset() && error.is_remote() => FailureKind::StreamReset,
        _ if error.is_go_away() && error.is_remote() => FailureKind::ConnectionEnded,
        Some(_) => FailureKind::Http2Broken,
        None => FailureKind::Http2Unsendable,
    };
    Failure::with(kind, detail)
}
