//! Accepts connections and answers their requests, each connection on a thread of its own; stamps both ends of each
//! request. Decides nothing about delays and bodies: [`Ask`] does. Start at [`serve`].

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::sys::prctl::set_timerslack;
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimestampns};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::ask::Ask;
use crate::clock::{self, Nanoseconds};
use crate::socket::Socket;
use crate::stamps::{Stamp, Stamps};

/// The longest head that is read.
const LONGEST_HEAD: usize = 16 * 1024;
const STACK: usize = 256 * 1024;

/// A listener whose connections are stamped by the kernel, from their first byte on.
pub(crate) fn listen(address: IpAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((address, 0))?;
    setsockopt(&listener, ReceiveTimestampns, &true)?;
    Ok(listener)
}

/// A connection, and when it was accepted.
type Accepted = (TcpStream, Nanoseconds);

/// Accepts for ever. It only stamps and hands over, so that a burst of connections is stamped as it comes; threads
/// that have done with a connection wait for another.
pub(crate) fn serve(listener: &TcpListener, config: Option<&Arc<ServerConfig>>, stamps: &Arc<Stamps>) {
    let (hand_over, accepted) = mpsc::channel::<Accepted>();
    let accepted = Arc::new(Mutex::new(accepted));
    let idle = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                eprintln!("failed to accept a connection: {error}");
                thread::sleep(std::time::Duration::from_millis(10));
                continue;
            }
        };
        let at = clock::now();
        stamps.connected();
        let _ = stream.set_nodelay(true); // fails only on a connection that is gone already
        let waits = idle.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |idle| idle.checked_sub(1));
        if waits.is_err() {
            let (accepted, idle) = (Arc::clone(&accepted), Arc::clone(&idle));
            let (config, stamps) = (config.cloned(), Arc::clone(stamps));
            let worker = move || work(&accepted, &idle, config.as_ref(), &stamps);
            if let Err(error) = thread::Builder::new().stack_size(STACK).spawn(worker) {
                eprintln!("failed to start a thread for a connection: {error}");
                continue;
            }
        }
        let _ = hand_over.send((stream, at)); // the receiver lives as long as this function
    }
}

/// Serves one connection after the other.
fn work(
    accepted: &Mutex<Receiver<Accepted>>,
    idle: &AtomicUsize,
    config: Option<&Arc<ServerConfig>>,
    stamps: &Stamps,
) {
    // A delay ends when it is over, not up to 50 µs later.
    let _ = set_timerslack(1);
    loop {
        let next = accepted.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((stream, at)) = next else { return };
        // A generator that is cut off hangs up in the middle; what it sent in full has its stamp.
        let _ = Connection::new(stream, config).and_then(|connection| connection.serve(at, stamps));
        idle.fetch_add(1, Ordering::Relaxed);
    }
}

enum Stream {
    Plain(Socket),
    Tls(Box<StreamOwned<ServerConnection, Socket>>),
}

impl Stream {
    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

struct Connection {
    stream: Stream,
    /// What was read beyond the last request.
    input: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream, config: Option<&Arc<ServerConfig>>) -> io::Result<Self> {
        let socket = Socket::new(stream);
        let stream = match config {
            None => Stream::Plain(socket),
            Some(config) => {
                let session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                Stream::Tls(Box::new(StreamOwned::new(session, socket)))
            }
        };
        Ok(Self { stream, input: Vec::new() })
    }

    fn serve(mut self, accepted: Nanoseconds, stamps: &Stamps) -> io::Result<()> {
        for nth in 1.. {
            let Some((target, close)) = self.next_request()? else { break };
            let ask = match Ask::of(&target) {
                Ok(ask) => ask,
                Err(text) => return self.write(&reply("400 Bad Request", "", text.as_bytes(), true)),
            };
            let socket = self.stream.socket();
            let (received, first) = (socket.arrived, socket.first.unwrap_or(accepted));
            let delay = ask.delay().as_nanos() as Nanoseconds;
            let opened = accepted.min(first);
            let (id, hop) = (ask.id, ask.redirect.is_some());
            let place = stamps.received(Stamp { id, hop, nth, opened, received, written: None, delay });
            let body = vec![b'x'; ask.size];
            let reply = match &ask.redirect {
                Some(next) => reply("302 Found", &format!("Location: {next}\r\n"), b"", close),
                None => reply("200 OK", "", &body, close),
            };
            clock::sleep_until(received + delay);
            self.write(&reply)?;
            stamps.written(place, clock::now());
            if close {
                break;
            }
        }
        Ok(())
    }

    /// The target of the next request, and whether the connection ends with it; `None` at the generator's close.
    fn next_request(&mut self) -> io::Result<Option<(String, bool)>> {
        let mut buffer = [0; 4096];
        loop {
            if let Some((length, target, close)) = parse(&self.input)? {
                self.input.drain(..length);
                return Ok(Some((target, close)));
            }
            if LONGEST_HEAD < self.input.len() {
                return Err(io::Error::other("the head is too long"));
            }
            let count = match &mut self.stream {
                Stream::Plain(socket) => socket.read(&mut buffer)?,
                Stream::Tls(stream) => stream.read(&mut buffer)?,
            };
            if count == 0 {
                return Ok(None);
            }
            self.input.extend_from_slice(&buffer[..count]);
        }
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(data),
            Stream::Tls(stream) => stream.write_all(data).and_then(|()| stream.flush()),
        }
    }
}

/// Length of the head, target, and whether the connection ends with it; `None` while it is incomplete.
fn parse(input: &[u8]) -> io::Result<Option<(usize, String, bool)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(input).map_err(io::Error::other)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let target = request.path.unwrap_or_default().to_owned();
    let header = |name: &str| request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    if header("content-length").is_some_and(|header| header.value != b"0")
        || header("transfer-encoding").is_some()
    {
        return Err(io::Error::other("the witness reads no bodies"));
    }
    let close = header("connection").is_some_and(|header| header.value.eq_ignore_ascii_case(b"close"));
    Ok(Some((length, target, close)))
}

fn reply(status: &str, header: &str, body: &[u8], close: bool) -> Vec<u8> {
    let close = if close { "Connection: close\r\n" } else { "" };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{header}{close}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_when_its_head_is() {
        let head = b"GET /fixed/1/1?id=1 HTTP/1.1\r\nHost: a\r\nconnection: Close\r\n\r\nrest";
        assert_eq!(parse(&head[..20]).unwrap(), None);
        assert_eq!(parse(head).unwrap(), Some((head.len() - 4, "/fixed/1/1?id=1".to_owned(), true)));
        assert!(parse(b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").is_err());
        assert!(parse(b"\0\0\0").is_err());
    }

    #[test]
    fn a_reply_says_how_long_it_is_and_whether_it_is_the_last() {
        let text = String::from_utf8(reply("302 Found", "Location: /a\r\n", b"xy", true)).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 302 Found\r\nLocation: /a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nxy"
        );
    }
}
