//! Proxies: `http` targets are asked for by their whole URL, `https` targets through a tunnel that `CONNECT` opens.
//!
//! A `CONNECT` is no request of the scenario: it is in no count, and its time is part of the phase `connect`. What the
//! proxy says to it is read by the same parser as replies, and is as little to be trusted. Start at [`Proxy`].

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use aiotest_core::stats::Phase;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use url::Url;

use super::connection::socket_failure;
use super::failure::{Failure, FailureKind};
use super::http1;
use super::receive::MAX_INTERIM;
use super::request::{Authority, HeaderBlock, Target, TargetError, basic};
use super::{ConnectionId, Reactor, stamps};

/// An `http` proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where it is.
    pub authority: Authority,
    /// The value of `Proxy-Authorization`.
    pub authorization: Option<String>,
    /// What the scenario wants to tell it when a tunnel is opened.
    pub headers: HeaderBlock,
}

/// Why a text names no proxy that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Not an absolute URL.
    #[error(transparent)]
    Url(#[from] TargetError),
    /// A proxy that TLS is spoken with, or of another kind.
    #[error("`{0}` proxies are not built; an `http` proxy is needed, which takes `https` targets as well")]
    Scheme(String),
}

impl Proxy {
    /// The proxy at `text`, a URL with or without user and password.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        if let Ok(url) = Url::parse(text)
            && url.scheme() != "http"
        {
            return Err(ProxyError::Scheme(url.scheme().to_owned()));
        }
        let target = Target::parse(text)?;
        Ok(Self {
            authority: Authority::clone(&target.authority),
            authorization: basic(&target.url).or_else(|| target.authorization.as_deref().map(str::to_owned)),
            headers: HeaderBlock::default(),
        })
    }

    /// Appends what opens a tunnel to `target`.
    fn open(&self, target: &Target, user_agent: Option<&[u8]>) -> Vec<u8> {
        let host = target.url.host_str().unwrap_or_default();
        let mut out = format!("CONNECT {host}:{} HTTP/1.1\r\n", target.authority.port).into_bytes();
        out.extend_from_slice(format!("Host: {}\r\n", target.host_header).as_bytes());
        out.extend_from_slice(self.headers.as_bytes());
        if let Some(line) = user_agent.filter(|_| !self.headers.contains("user-agent")) {
            out.extend_from_slice(line);
        }
        self.authorize(&mut out);
        out.extend_from_slice(b"\r\n");
        out
    }

    /// Appends the `Proxy-Authorization` header, if there is one.
    pub(super) fn authorize(&self, out: &mut Vec<u8>) {
        if let Some(value) = &self.authorization {
            out.extend_from_slice(b"Proxy-Authorization: ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A tunnel that is being opened.
pub(super) struct Tunnel {
    since: Instant,
    target: Arc<Target>,
    /// What of the `CONNECT` the socket has not taken yet.
    unsent: Vec<u8>,
    answer: Answer,
}

/// What has come of the proxy's reply.
#[derive(Default)]
struct Answer {
    bytes: Vec<u8>,
    interim: u32,
}

impl Answer {
    /// Takes more bytes; true once the tunnel is open.
    fn feed(&mut self, bytes: &[u8], target: &Arc<Target>) -> Result<bool, Failure> {
        let known = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        if !http1::may_say_more(&self.bytes, known) {
            return Ok(false);
        }
        loop {
            let method = Arc::from("CONNECT");
            let reply = http1::parse_head(&self.bytes, &method, target)
                .map_err(|failure| Failure { kind: FailureKind::ProxyNoHttp, ..failure })?;
            let Some(reply) = reply else { return Ok(false) };
            match reply.head.status {
                100..200 if self.interim < MAX_INTERIM && reply.head.status != 101 => {
                    self.interim += 1;
                    self.bytes.drain(..reply.length);
                }
                // Whoever speaks TLS behind the proxy waits for us to begin.
                200 if self.bytes.len() == reply.length => return Ok(true),
                status => {
                    let kind = match status {
                        407 => FailureKind::ProxyAuthorization,
                        100..=200 => FailureKind::ProxyNoHttp,
                        _ => FailureKind::ProxyRefused,
                    };
                    return Err(Failure::with(kind, format!("{status} {}", reply.head.reason())));
                }
            }
        }
    }
}

impl Tunnel {
    /// Does what can be done now; true once the tunnel is open.
    fn advance(&mut self, socket: &OwnedFd) -> Result<bool, Failure> {
        while !self.unsent.is_empty() {
            match rustix::net::send(socket, &self.unsent, rustix::net::SendFlags::NOSIGNAL) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(errno) => return Err(socket_failure(errno)),
            }
        }
        let mut buffer = [0; 4096];
        loop {
            match stamps::receive(socket, &mut buffer) {
                Ok((0, _)) => return Err(FailureKind::ProxyClosed.into()),
                Ok((count, _)) => {
                    if self.answer.feed(&buffer[..count], &self.target)? {
                        return Ok(true);
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
                Err(errno) => return Err(socket_failure(errno)),
            }
        }
    }
}

impl Reactor {
    /// TCP to the proxy is there; the tunnel to the call's target comes next, if it needs one. False: it does not.
    pub(super) fn begin_tunnel(&mut self, id: ConnectionId, now: Instant) -> bool {
        let Some(connection) = self.connections.get_mut(id).filter(|connection| connection.authority.tls)
        else {
            return false;
        };
        let Some(call) = connection.call.and_then(|call| self.calls.get(call)) else { return false };
        let Some(proxy) = connection.route.as_ref().and_then(|route| route.proxy(&call.target)) else {
            return false;
        };
        let unsent = proxy.open(&call.target, call.request.headers.line("user-agent"));
        let target = Arc::clone(&call.target);
        connection.tunnel = Some(Box::new(Tunnel { since: now, target, unsent, answer: Answer::default() }));
        self.advance_tunnel(id, EventFlags::OUT);
        true
    }

    /// Goes on with the opening of a tunnel, and with TLS at its end.
    pub(super) fn advance_tunnel(&mut self, id: ConnectionId, flags: EventFlags) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let (Some(call), Some(tunnel)) = (connection.call, connection.tunnel.as_mut()) else { return };
        let outcome = tunnel.advance(&connection.socket);
        let now = Instant::now();
        match outcome {
            Ok(false) => {}
            Ok(true) => {
                if let (Some(tunnel), Some(call)) = (connection.tunnel.take(), self.calls.get_mut(call)) {
                    call.phases.add(Phase::Connect, now - tunnel.since);
                }
                self.begin_tls(id, flags, now);
            }
            Err(failure) => {
                let kind = match failure.kind {
                    FailureKind::ResetBeforeReply => FailureKind::ProxyClosed,
                    kind => kind,
                };
                self.fail(call, Failure { kind, ..failure }, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fuzz::{Printed, hold, mutated};

    fn target() -> Arc<Target> {
        Arc::new(Target::parse("https://target.test/path").unwrap())
    }

    fn told(pieces: &[&[u8]]) -> Result<bool, FailureKind> {
        let (mut answer, target) = (Answer::default(), target());
        for piece in pieces {
            if answer.feed(piece, &target).map_err(|failure| failure.kind)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    #[test]
    fn a_proxy_is_an_http_url_with_or_without_a_user() {
        let proxy = Proxy::parse("http://us%40er:p%3Aw@127.0.0.1:3128/ignored").unwrap();
        assert_eq!(proxy.authority, Authority { host: "127.0.0.1".to_owned(), port: 3128, tls: false });
        assert_eq!(proxy.authorization.as_deref(), Some("Basic dXNAZXI6cDp3"));
        assert_eq!(Proxy::parse("http://proxy").unwrap().authorization, None);
        for (text, scheme) in [("https://proxy", "https"), ("socks5://proxy:1080", "socks5")] {
            assert_eq!(Proxy::parse(text), Err(ProxyError::Scheme(scheme.to_owned())));
        }
        assert!(matches!(Proxy::parse("proxy"), Err(ProxyError::Url(_))));
    }

    #[test]
    fn a_tunnel_is_asked_for_by_host_and_port_with_what_the_scenario_has_to_say() {
        let mut proxy = Proxy::parse("http://a:b@proxy").unwrap();
        proxy.headers.push("X-A", b"1").unwrap();
        let text = String::from_utf8(proxy.open(&target(), Some(b"User-Agent: test\r\n"))).unwrap();
        assert_eq!(
            text,
            "CONNECT target.test:443 HTTP/1.1\r\nHost: target.test\r\nX-A: 1\r\nUser-Agent: test\r\n\
             Proxy-Authorization: Basic YTpi\r\n\r\n"
        );
        let six = Target::parse("https://[::1]:8443/").unwrap();
        assert!(
            Proxy::parse("http://p")
                .unwrap()
                .open(&six, None)
                .starts_with(b"CONNECT [::1]:8443 HTTP/1.1\r\n")
        );
    }

    #[test]
    fn only_a_plain_200_opens_the_tunnel() {
        assert_eq!(told(&[b"HTTP/1.1 200 Connection established\r\n\r\n"]), Ok(true));
        assert_eq!(
            told(&[b"HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n"]),
            Ok(true),
            "a length means nothing here"
        );
        assert_eq!(told(&[b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2", b"00 OK\r\n\r", b"\n"]), Ok(true));
        assert_eq!(told(&[b"HTTP/1.1 200 OK\r\n"]), Ok(false));
        assert_eq!(told(&[b"HTTP/1.1 407 No\r\n\r\nwho?"]), Err(FailureKind::ProxyAuthorization));
        assert_eq!(told(&[b"HTTP/1.1 502 Bad Gateway\r\n\r\n"]), Err(FailureKind::ProxyRefused));
        assert_eq!(told(&[b"HTTP/1.1 204 None\r\n\r\n"]), Err(FailureKind::ProxyRefused));
        assert_eq!(told(&[b"HTTP/1.1 101 Other\r\n\r\n"]), Err(FailureKind::ProxyNoHttp));
        assert_eq!(told(&[b"HTTP/1.1 200 OK\r\n\r\nmore"]), Err(FailureKind::ProxyNoHttp));
        assert_eq!(told(&[b"SSH-2.0-x\r\n"]), Err(FailureKind::ProxyNoHttp));
        assert_eq!(told(&[&b"HTTP/1.1 100 C\r\n\r\n".repeat(40)]), Err(FailureKind::ProxyNoHttp));
    }

    const ANSWERS: &[&[u8]] = &[
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nProxy-Agent: x/1\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 4\r\n\r\nwho?",
        b"HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    const TOKENS: &[&[u8]] =
        &[b"\r\n", b"\r\n\r\n", b"HTTP/1.1 ", b"200", b"101", b"X: y\r\n", b"\0", b"\x16\x03\x01"];

    #[test]
    fn whatever_a_proxy_says_is_an_open_tunnel_a_failure_of_its_own_or_not_enough_yet() {
        hold(&(mutated(ANSWERS, TOKENS), 1_usize..3000), |(Printed(data), size)| {
            let (mut answer, target) = (Answer::default(), target());
            for piece in data.chunks(size) {
                match answer.feed(piece, &target) {
                    Ok(true) => break,
                    Ok(false) => prop_assert!(answer.bytes.len() < http1::MAX_HEAD),
                    Err(failure) => {
                        prop_assert!(failure.kind.label().starts_with("proxy: "));
                        break;
                    }
                }
            }
            Ok(())
        });
    }

    proptest! {
        #[test]
        fn a_head_without_end_is_refused(size in 1_usize..9000) {
            let (mut answer, target) = (Answer::default(), target());
            let mut failed = answer.feed(b"HTTP/1.1 200 OK\r\n", &target).is_err();
            for _ in 0..=http1::MAX_HEAD / size + 1 {
                failed |= answer.feed(&[&b"X-A: "[..], &vec![b'a'; size][..], b"\r\n"].concat(), &target).is_err();
                if failed {
                    break;
                }
            }
            prop_assert!(failed);
        }
    }
}
