//! Ctrl-C, SIGTERM and a closed terminal, as one stream of requests to stop. Start at [`Interrupts::listen`].

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Requests to stop, one after the other.
#[derive(Debug)]
pub(crate) struct Interrupts {
    requests: mpsc::Receiver<()>,
}

impl Interrupts {
    /// The signals of this process, which from now on do not end it. Needs a tokio runtime.
    pub(crate) fn listen() -> io::Result<Self> {
        let (mut interrupt, mut terminate, mut hang_up) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        );
        let (sender, requests) = mpsc::channel(4);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hang_up.recv() => {}
                }
                // Somebody who asks faster than that is answered by the first few.
                if let Err(mpsc::error::TrySendError::Closed(())) = sender.try_send(()) {
                    return;
                }
            }
        });
        Ok(Self { requests })
    }

    /// The next request. May be dropped and called again.
    pub(crate) async fn next(&mut self) {
        if self.requests.recv().await.is_none() {
            // Nobody can ask any more.
            std::future::pending::<()>().await;
        }
    }

    /// Requests that a test makes.
    #[cfg(test)]
    pub(crate) fn by_hand() -> (mpsc::Sender<()>, Self) {
        let (sender, requests) = mpsc::channel(4);
        (sender, Self { requests })
    }
}
