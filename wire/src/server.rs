//! Serves a router on a port that anyone may dial: every header read, every silence and the number of connections has
//! a limit, and a peer is told why before it is cut. Never knows what is served. Start at [`serve`].

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::patience::Patient;

/// How long to wait before accepting again where the process is out of descriptors.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);
/// The most of a request's head that is kept in memory.
const HEAD_BYTES: usize = 64 * 1024;

/// What a port grants its peers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first moment of waiting for a request to the end of its head; so also the idle time of a connection.
    pub header: Duration,
    /// Without a byte read or written, in the middle of a request or reply.
    pub silence: Duration,
    /// Open at once; one more is closed as soon as it is accepted.
    pub connections: usize,
}

/// Accepts and serves until `ended` says true; then lets running requests finish, for `limits.silence` at most. What
/// goes wrong with the port itself is told to `complain`, in a line.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut ended: watch::Receiver<bool>,
    complain: fn(&str),
) {
    let free = Arc::new(Semaphore::new(limits.connections));
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = open.join_next() => continue,
            _ = ended.wait_for(|ended| *ended) => break,
        };
        match accepted {
            Ok((socket, _)) => {
                // Where there is no room the socket is dropped here: its peer sees the connection closed.
                if let Ok(room) = Arc::clone(&free).try_acquire_owned() {
                    let talk = converse(socket, router.clone(), limits, ended.clone());
                    open.spawn(async move {
                        talk.await;
                        drop(room);
                    });
                }
            }
            Err(error) => {
                complain(&format!("failed to accept a connection: {error}"));
                tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(limits.silence, async { while open.join_next().await.is_some() {} }).await;
}

/// One connection, to its end. Its faults are its peer's: none is an error of ours.
async fn converse(socket: TcpStream, router: Router, limits: Limits, mut ended: watch::Receiver<bool>) {
    let _ = socket.set_nodelay(true);
    let io = TokioIo::new(Patient::new(socket, limits.silence));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header).max_buf_size(HEAD_BYTES);
    let mut connection = pin!(builder.serve_connection(io, TowerToHyperService::new(router)));
    let finished = tokio::select! {
        _ = connection.as_mut() => true,
        _ = ended.wait_for(|ended| *ended) => false,
    };
    if !finished {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

#[cfg(test)]
mod tests;
