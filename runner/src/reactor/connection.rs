//! One socket, from connecting to idle, and the system calls on it. Decides nothing: `send` and `receive` do.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sockopt};

use super::failure::{Failure, FailureKind};
use super::ports::Ports;
use super::proxy::Tunnel;
use super::request::Authority;
use super::route::{self, Route};
use super::stamps::{self, Stamp};
use super::tls::{self, Tls};
use super::{CallId, PoolId, http2, session};

/// One connection.
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    pub(super) authority: Arc<Authority>,
    pub(super) pool: PoolId,
    /// By which way it was made.
    pub(super) route: Option<Arc<Route>>,
    /// The call that uses it; `None`: idle.
    pub(super) call: Option<CallId>,
    /// The TCP handshake is under way, with the addresses left to try.
    pub(super) connecting: Option<Connecting>,
    /// The opening of a tunnel through a proxy is under way.
    pub(super) tunnel: Option<Box<Tunnel>>,
    /// TLS, from the end of the TCP handshake on.
    pub(super) tls: Option<Box<Tls>>,
    /// The TLS handshake is under way since.
    pub(super) securing: Option<Instant>,
    /// What of the request the socket has not taken yet; with TLS, its own buffer holds that.
    pub(super) unsent: VecDeque<u8>,
    /// A head that has come in part.
    pub(super) input: Vec<u8>,
    /// Bytes written since it was opened.
    pub(super) written: u64,
    /// How many bytes that will be once the head of the present request is out; with TLS, told once they are.
    pub(super) head_end: u64,
    /// Whether a reply has been read from it before.
    pub(super) reused: bool,
    pub(super) idle_since: Option<Instant>,
    /// It is among the reactor's `lapses`.
    pub(super) lapses: bool,
    /// It speaks HTTP/2; its calls are there, and not in `call`.
    pub(super) http2: Option<Box<http2::Session>>,
}

/// A handshake under way.
pub(super) struct Connecting {
    pub(super) since: Instant,
    pub(super) address: SocketAddr,
    pub(super) rest: VecDeque<SocketAddr>,
}

/// Begins a handshake with `address`; the socket becomes writable at its end.
/// `source`: from that address of this machine.
pub(super) fn connect(
    address: SocketAddr,
    source: Option<SocketAddr>,
    ports: &mut Ports,
) -> Result<OwnedFd, Failure> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))
        .map_err(|errno| connect_failure(errno, address))?;
    // A request is one write; without this its last segment may wait for an acknowledgement.
    sockopt::set_tcp_nodelay(&socket, true).map_err(|errno| connect_failure(errno, address))?;
    stamps::ask(&socket);
    let begun = match source {
        None => ports.connect(&socket, &address),
        Some(source) => {
            net::bind(&socket, &source).map_err(|errno| source_failure(errno, source))?;
            net::connect(&socket, &address)
        }
    };
    match begun {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(connect_failure(errno, address)),
    }
}

/// What an error while connecting means.
pub(super) fn connect_failure(errno: Errno, address: SocketAddr) -> Failure {
    let kind = match errno {
        Errno::CONNREFUSED => FailureKind::Refused,
        Errno::CONNRESET => FailureKind::ResetBeforeReply,
        Errno::TIMEDOUT => FailureKind::ConnectTimeout,
        errno => own_fault(errno).unwrap_or(FailureKind::Unreachable),
    };
    Failure::with(kind, format!("failed to connect to {address}: {}", describe(errno)))
}

/// What an error while a socket is given its source address means.
fn source_failure(errno: Errno, source: SocketAddr) -> Failure {
    let kind = match errno {
        Errno::ADDRINUSE => FailureKind::OutOfPorts,
        _ => FailureKind::SourceUnavailable,
    };
    Failure::with(kind, format!("{source}: {}", describe(errno)))
}

/// What an error on an open connection means.
pub(super) fn socket_failure(errno: Errno) -> Failure {
    let kind = match errno {
        Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED => FailureKind::ResetBeforeReply,
        Errno::TIMEDOUT => FailureKind::ReadTimeout,
        errno => own_fault(errno).unwrap_or(FailureKind::Unreachable),
    };
    Failure::with(kind, describe(errno))
}

/// This machine ran out of something; the target has no part in it.
fn own_fault(errno: Errno) -> Option<FailureKind> {
    match errno {
        Errno::MFILE | Errno::NFILE => Some(FailureKind::OutOfFiles),
        Errno::ADDRNOTAVAIL => Some(FailureKind::OutOfPorts),
        Errno::NOBUFS | Errno::NOMEM => Some(FailureKind::OutOfMemory),
        _ => None,
    }
}

fn describe(errno: Errno) -> String {
    // The standard library's texts end in " (os error N)"; the number says nothing to the reader.
    let text = io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

impl Connection {
    /// Whether it may be used by calls to `authority` that go by `route`.
    pub(super) fn serves(&self, authority: &Authority, route: Option<&Arc<Route>>) -> bool {
        session::same(&self.authority, authority) && route::same(self.route.as_ref(), route)
    }

    /// Sends `data`, a request whose head is `head` bytes long; false when the socket did not take all of it, and
    /// `flush` has the rest to do.
    pub(super) fn submit(&mut self, data: &[u8], head: usize) -> Result<bool, Errno> {
        if let Some(tls) = &mut self.tls {
            // What the server can decrypt are whole records: the first ones end where the head does, or later.
            let first = head.next_multiple_of(tls::RECORD).min(data.len());
            self.head_end = u64::MAX;
            tls.queue(&data[..first])?;
            if tls.flush(&self.socket, &mut self.written)? {
                self.head_end = self.written;
            }
            if first < data.len() {
                tls.queue(&data[first..])?;
            }
            return self.flush();
        }
        self.head_end = self.written + head as u64;
        let written = self.write(data)?;
        self.unsent.extend(&data[written..]);
        Ok(written == data.len())
    }

    /// Sends `data` behind all that was sent before; false when something is left for `flush`.
    pub(super) fn push(&mut self, data: &[u8]) -> Result<bool, Errno> {
        if let Some(tls) = &mut self.tls {
            tls.queue(data)?;
        } else {
            let written = if self.unsent.is_empty() { self.write(data)? } else { 0 };
            self.unsent.extend(&data[written..]);
        }
        self.flush()
    }

    /// Sends what was left; true when nothing is.
    pub(super) fn flush(&mut self) -> Result<bool, Errno> {
        if let Some(tls) = &mut self.tls {
            let all = tls.flush(&self.socket, &mut self.written)?;
            if all {
                self.head_end = self.head_end.min(self.written);
            }
            return Ok(all);
        }
        while !self.unsent.is_empty() {
            let mut unsent = std::mem::take(&mut self.unsent);
            let outcome = self.write(unsent.make_contiguous());
            unsent.drain(..outcome.unwrap_or(0));
            self.unsent = unsent;
            if outcome? == 0 {
                return Ok(false);
            }
        }
        self.unsent = VecDeque::new();
        Ok(true)
    }

    pub(super) fn write(&mut self, data: &[u8]) -> Result<usize, Errno> {
        match net::send(&self.socket, data, SendFlags::NOSIGNAL) {
            Ok(count) => {
                self.written += count as u64;
                Ok(count)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(errno) => Err(errno),
        }
    }

    /// Whether the kernel has the whole head of the present request.
    pub(super) fn head_is_out(&self) -> bool {
        self.head_end <= self.written
    }

    /// Reads into `buffer`; `None` when nothing is there now, 0 at the server's close. With the kernel's stamp.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<(usize, Option<Stamp>)>, Failure> {
        if let Some(tls) = &mut self.tls {
            let count = tls.read(&self.socket, buffer)?;
            return Ok(count.map(|count| (count, tls.arrived)));
        }
        match stamps::receive(&self.socket, buffer) {
            Ok(read) => Ok(Some(read)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(socket_failure(errno)),
        }
    }

    /// The outcome of the handshake, once the socket is writable.
    pub(super) fn handshake_result(&self) -> Result<(), Errno> {
        sockopt::socket_error(&self.socket).unwrap_or_else(Err)
    }
}
