//! A socket that gives up on a peer that neither sends nor takes anything for too long, and that on closing first reads
//! what is still under way: closing with unread bytes makes the kernel reset the connection, and the peer loses the
//! reply that told it why (413, 401). Never looks at the bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How long a closing connection waits for its peer's end, and how much it reads meanwhile.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// `S`, failing with `TimedOut` once a read or write has waited for `limit` without any progress of either.
pub(crate) struct Patient<S> {
    socket: S,
    limit: Duration,
    deadline: Pin<Box<Sleep>>,
    /// Bytes that may still be read and thrown away; there from when our own direction is shut.
    lingering: Option<usize>,
}

impl<S> Patient<S> {
    pub(crate) fn new(socket: S, limit: Duration) -> Self {
        Self { socket, limit, deadline: Box::pin(sleep(limit)), lingering: None }
    }

    /// Moves the deadline on progress; turns waiting beyond it into an error.
    fn judge<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.deadline.as_mut().reset(Instant::now() + self.limit);
            return outcome;
        }
        self.deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> Patient<S> {
    /// Reads and forgets until the peer ends, the time or the amount is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>, mut left: usize) -> Poll<io::Result<()>> {
        let mut scratch = [0; 16 * 1024];
        while self.deadline.as_mut().poll(cx).is_pending() {
            let mut into = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.socket).poll_read(cx, &mut into) {
                Poll::Pending => {
                    self.lingering = Some(left);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) if (1..=left).contains(&into.filled().len()) => {
                    left -= into.filled().len();
                }
                Poll::Ready(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_read(cx, into);
        self.judge(cx, outcome)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.judge(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let left = if let Some(left) = self.lingering {
            left
        } else {
            std::task::ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            self.deadline.as_mut().reset(Instant::now() + LINGER);
            LINGER_BYTES
        };
        self.poll_linger(cx, left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    const LIMIT: Duration = Duration::from_secs(30);
    const NEARLY: Duration = Duration::from_secs(29);

    #[tokio::test(start_paused = true)]
    async fn silence_beyond_the_limit_is_an_error_and_progress_starts_it_anew() {
        let (mut near, far) = duplex(64);
        let mut far = Patient::new(far, LIMIT);
        let start = Instant::now();
        tokio::time::sleep(NEARLY).await;
        near.write_all(b"x").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'x');
        assert_eq!(far.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), (NEARLY + LIMIT).as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (_near, far) = duplex(4);
        let mut far = Patient::new(far, LIMIT);
        let error = far.write_all(b"more than fits").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
