//! What lies between the `h2` crate and the socket: the bytes of both ways in memory, and where in them each request's
//! head and end are. `h2` reads and writes here as if it were a socket; nothing here blocks, and nothing needs a runtime.
//! Start at [`Wire`].

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that may wait for the socket; `h2` keeps what is beyond, and reads nothing meanwhile that it has to answer.
const MAX_OUTPUT: usize = 256 * 1024;
/// The client's first bytes, which are no frame.
const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A place in what we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Bytes up to there, from the first one of the connection.
    pub(super) at: u64,
    pub(super) stream: u32,
    pub(super) what: Marked,
}

/// What ends at a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marked {
    /// The request's head.
    Head,
    /// The request.
    End,
}

/// Both ways of one connection.
#[derive(Default)]
pub(super) struct Wire {
    /// Received, and not yet read by `h2`.
    pub(super) input: BytesMut,
    /// Nothing will follow `input`.
    pub(super) closed: bool,
    /// Written by `h2`, and not yet taken by the socket.
    pub(super) output: BytesMut,
    /// Bytes that the socket has taken.
    pub(super) taken: u64,
    /// Bytes of `output` that are in TLS's hands.
    pub(super) in_tls: usize,
    /// `h2` has more to write than `output` has room for.
    pub(super) blocked: bool,
    /// Heads and ends in `output`.
    pub(super) marks: VecDeque<Mark>,
    frames: Frames,
}

/// One connection's, shared with its `h2`.
#[derive(Clone, Default)]
pub(super) struct SharedWire(Arc<Mutex<Wire>>);

impl SharedWire {
    pub(super) fn lock(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire {
    /// The socket has taken so many bytes of `output`.
    pub(super) fn advance(&mut self, count: usize) {
        self.output.advance(count);
        self.taken += count as u64;
    }

    /// The next mark that the socket has taken.
    pub(super) fn next_mark(&mut self) -> Option<Mark> {
        self.marks.front().is_some_and(|mark| mark.at <= self.taken).then(|| self.marks.pop_front()).flatten()
    }

    fn write(&mut self, data: &[u8]) {
        let before = self.taken + self.output.len() as u64;
        self.output.extend_from_slice(data);
        self.frames.read(data, before, &mut self.marks);
    }
}

/// Follows the frames that we send, however they are cut.
#[derive(Default)]
struct Frames {
    preface: usize,
    head: [u8; FRAME_HEAD],
    known: usize,
    /// Bytes of the frame's payload that are still to come.
    left: usize,
    /// The head that a `CONTINUATION` ends also ends the request.
    ends: bool,
}

impl Frames {
    fn read(&mut self, data: &[u8], before: u64, marks: &mut VecDeque<Mark>) {
        let mut at = data.len().min(PREFACE - self.preface);
        self.preface += at;
        while at < data.len() {
            if self.known < FRAME_HEAD {
                let count = (FRAME_HEAD - self.known).min(data.len() - at);
                self.head[self.known..self.known + count].copy_from_slice(&data[at..at + count]);
                self.known += count;
                at += count;
                if self.known < FRAME_HEAD {
                    return;
                }
                self.left = usize::from(self.head[0]) << 16
                    | usize::from(self.head[1]) << 8
                    | usize::from(self.head[2]);
            }
            let count = self.left.min(data.len() - at);
            self.left -= count;
            at += count;
            if self.left == 0 {
                self.known = 0;
                self.end(before + at as u64, marks);
            }
        }
    }

    /// A frame ends here.
    fn end(&mut self, at: u64, marks: &mut VecDeque<Mark>) {
        let [_, _, _, kind, flags, stream @ ..] = self.head;
        let stream = u32::from_be_bytes(stream);
        let mut mark = |what| marks.push_back(Mark { at, stream, what });
        match kind {
            HEADERS | CONTINUATION => {
                if kind == HEADERS {
                    self.ends = flags & END_STREAM != 0;
                }
                if flags & END_HEADERS != 0 {
                    mark(Marked::Head);
                    if self.ends {
                        mark(Marked::End);
                    }
                }
            }
            DATA if flags & END_STREAM != 0 => mark(Marked::End),
            _ => {}
        }
    }
}

impl AsyncRead for SharedWire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = self.lock();
        if wire.input.is_empty() {
            return if wire.closed { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        let count = buffer.remaining().min(wire.input.len());
        buffer.put_slice(&wire.input[..count]);
        wire.input.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SharedWire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut wire = self.lock();
        // Of a connection that is lost nobody takes anything any more.
        wire.blocked = MAX_OUTPUT <= wire.output.len() && !wire.closed;
        if wire.blocked {
            return Poll::Pending;
        }
        wire.write(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, length: usize) -> Vec<u8> {
        let mut bytes = (length as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.resize(FRAME_HEAD + length, 0x55);
        bytes
    }

    proptest! {
        #[test]
        fn heads_and_ends_are_found_however_the_bytes_are_cut(cuts in prop::collection::vec(1_usize..30, 40)) {
            let mut sent = vec![b'P'; PREFACE];
            let mut expected = Vec::new();
            let mut add = |bytes: &[u8], marks: &[(u32, Marked)]| {
                sent.extend_from_slice(bytes);
                let at = sent.len() as u64;
                expected.extend(marks.iter().map(|(stream, what)| Mark { at, stream: *stream, what: *what }));
            };
            add(&frame(4, 0, 0, 18), &[]);
            add(&frame(HEADERS, END_HEADERS | END_STREAM, 1, 33), &[(1, Marked::Head), (1, Marked::End)]);
            add(&frame(HEADERS, END_HEADERS, 3, 20), &[(3, Marked::Head)]);
            add(&frame(DATA, 0, 3, 50), &[]);
            add(&frame(HEADERS, END_STREAM, 5, 40), &[]);
            add(&frame(CONTINUATION, 0, 5, 0), &[]);
            add(&frame(CONTINUATION, END_HEADERS, 5, 7), &[(5, Marked::Head), (5, Marked::End)]);
            add(&frame(DATA, END_STREAM, 3, 0), &[(3, Marked::End)]);
            let (mut wire, mut rest) = (Wire::default(), &sent[..]);
            let mut found = Vec::new();
            for cut in cuts.iter().cycle() {
                let (piece, others) = rest.split_at((*cut).min(rest.len()));
                wire.write(piece);
                prop_assert_eq!(wire.next_mark(), None, "the socket has taken nothing of it");
                wire.advance(piece.len());
                found.extend(std::iter::from_fn(|| wire.next_mark()));
                rest = others;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
