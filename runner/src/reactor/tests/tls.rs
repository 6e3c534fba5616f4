//! TLS against a real server side of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{
    CipherSuite, HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
};

use super::super::failure::FailureKind;
use super::super::request::Request;
use super::super::{Wake, tls};
use super::{Bench, OK, reply, serve};

/// A server for `127.0.0.1` and a client's configuration that trusts it.
pub(super) fn serve_tls(
    handle: impl Fn(StreamOwned<ServerConnection, TcpStream>) + Send + Sync + 'static,
) -> (String, RootCertStore) {
    serve_versions(rustls::ALL_VERSIONS, handle)
}

/// The same, speaking these versions of TLS. Its sessions can be resumed.
fn serve_versions(
    versions: &[&'static SupportedProtocolVersion],
    handle: impl Fn(StreamOwned<ServerConnection, TcpStream>) + Send + Sync + 'static,
) -> (String, RootCertStore) {
    let (config, roots) = server_config(versions);
    let url = serve(move |_, socket| {
        handle(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), socket));
    });
    (url.replace("http://", "https://"), roots)
}

fn server_config(versions: &[&'static SupportedProtocolVersion]) -> (Arc<ServerConfig>, RootCertStore) {
    let pair = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    config.ticketer = ring::Ticketer::new().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(pair.cert.der().clone()).unwrap();
    (Arc::new(config), roots)
}

/// Reads a request's head; false at the client's close.
fn read_head(stream: &mut impl Read) -> bool {
    let (mut data, mut byte) = (Vec::new(), [0]);
    while !data.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => data.push(byte[0]),
            _ => return false,
        }
    }
    true
}

#[test]
fn a_call_over_tls_is_a_call_like_any_other_and_its_connection_is_kept() {
    let (url, roots) = serve_tls(|mut stream| {
        while read_head(&mut stream) {
            stream.write_all(OK.as_bytes()).unwrap();
        }
    });
    let bench = Bench::new();
    bench.engine.lock().tls = Some(tls::with_roots(roots).unwrap());
    for _ in 0..3 {
        assert_eq!(bench.call(bench.request("GET", &url)), (Some(200), b"ok".to_vec(), None));
    }
    let total = bench.total();
    assert_eq!((total.requests, total.sent), (3, 3));
    let handshakes = total.phase(aiotest_core::stats::Phase::Tls).unwrap();
    assert_eq!(handshakes.count(), 1, "one handshake for three calls");
}

#[test]
fn a_long_body_over_tls_is_read_to_its_end() {
    let (url, roots) = serve_tls(|mut stream| {
        while read_head(&mut stream) {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").unwrap();
            stream.write_all(&vec![b'x'; 1_000_000]).unwrap();
        }
    });
    let bench = Bench::new();
    bench.engine.lock().tls = Some(tls::with_roots(roots).unwrap());
    let (_, body, error) = bench.call(bench.request("GET", &url));
    assert_eq!((body.len(), error), (1_000_000, None));
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_a_failure_of_its_kind() {
    let (url, _) = serve_tls(|mut stream| {
        read_head(&mut stream);
    });
    let (_, other_roots) = serve_tls(|_| {});
    let bench = Bench::new();
    bench.engine.lock().tls = Some(tls::with_roots(other_roots).unwrap());
    let id = bench.start(bench.request("GET", &url));
    bench.wait(id, Wake::Head);
    assert_eq!(bench.engine.lock().failure(id).unwrap().kind, FailureKind::TlsUnknownIssuer);
    assert_eq!(bench.total().sent, 0);
}

#[test]
fn a_server_without_tls_is_a_failure_of_its_kind() {
    let url = serve(|_, mut socket| {
        let _ = socket.read(&mut [0; 64]);
        let _ = socket.write_all(OK.as_bytes());
    });
    let (_, roots) = serve_tls(|_| {});
    let bench = Bench::new();
    bench.engine.lock().tls = Some(tls::with_roots(roots).unwrap());
    let id = bench.start(bench.request("GET", &url.replace("http://", "https://")));
    bench.wait(id, Wake::Head);
    assert_eq!(bench.engine.lock().failure(id).unwrap().kind, FailureKind::TlsNotSpoken);
}

/// Many users in turn, each with a connection for each call: the number of full handshakes, and of all.
fn handshakes(version: &'static SupportedProtocolVersion, users: u32, calls: u32) -> (u32, u32) {
    let counts = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
    let counted = Arc::clone(&counts);
    let (url, roots) = serve_versions(&[version], move |mut stream| {
        assert!(read_head(&mut stream));
        counted.1.fetch_add(1, Ordering::Relaxed);
        if stream.conn.handshake_kind() != Some(HandshakeKind::Resumed) {
            counted.0.fetch_add(1, Ordering::Relaxed);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").unwrap();
    });
    let bench = Bench::new();
    bench.engine.lock().tls = Some(tls::with_roots(roots).unwrap());
    let sessions: Vec<_> = (0..users).map(|_| bench.engine.lock().open_session(None)).collect();
    for _ in 0..calls {
        for session in &sessions {
            let request = Request { session: *session, ..bench.request("GET", &url) };
            assert_eq!(bench.call(request), (Some(200), b"ok".to_vec(), None));
        }
    }
    (counts.0.load(Ordering::Relaxed), counts.1.load(Ordering::Relaxed))
}

#[test]
fn each_user_begins_one_session_and_resumes_it_with_every_later_connection() {
    assert_eq!(handshakes(&rustls::version::TLS13, 50, 6), (50, 300), "TLS 1.3");
    assert_eq!(handshakes(&rustls::version::TLS12, 50, 4), (50, 200), "TLS 1.2");
}

#[test]
fn a_user_that_is_gone_leaves_no_session_to_the_next() {
    let (kinds, seen) = mpsc::channel();
    let (url, roots) = serve_tls(move |mut stream| {
        assert!(read_head(&mut stream));
        kinds.send(stream.conn.handshake_kind()).unwrap();
        stream.write_all(OK.as_bytes()).unwrap();
    });
    let mut bench = Bench::new();
    bench.engine.lock().tls = Some(tls::with_roots(roots).unwrap());
    for _ in 0..3 {
        assert_eq!(bench.call(bench.request("GET", &url)).2, None);
        bench.engine.lock().close_session(bench.session);
        bench.session = bench.engine.lock().open_session(None);
    }
    assert!(seen.try_iter().all(|kind| kind == Some(HandshakeKind::Full)));
}

#[test]
fn aes_128_is_offered_first_and_nothing_that_rustls_does_not_offer() {
    let (suites, seen) = mpsc::channel();
    for (version, chosen) in [
        (&rustls::version::TLS13, CipherSuite::TLS13_AES_128_GCM_SHA256),
        (&rustls::version::TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ] {
        let suites = suites.clone();
        // rustls' server takes the first that the client offers.
        let (url, roots) = serve_versions(&[version], move |mut stream| {
            assert!(read_head(&mut stream));
            suites.send(stream.conn.negotiated_cipher_suite().unwrap().suite()).unwrap();
            stream.write_all(OK.as_bytes()).unwrap();
        });
        let bench = Bench::new();
        let config = tls::with_roots(roots).unwrap();
        let sorted = |provider: &rustls::crypto::CryptoProvider| {
            let mut suites: Vec<u16> =
                provider.cipher_suites.iter().map(|suite| suite.suite().into()).collect();
            suites.sort_unstable();
            suites
        };
        assert_eq!(sorted(config.crypto_provider()), sorted(&ring::default_provider()));
        bench.engine.lock().tls = Some(config);
        assert_eq!(bench.call(bench.request("GET", &url)).2, None);
        assert_eq!(seen.recv().unwrap(), chosen);
    }
}

#[test]
fn the_request_goes_out_with_the_end_of_the_handshake() {
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
    let (config, roots) = server_config(&[&rustls::version::TLS13]);
    // Its writes stay apart, as those to TCP don't.
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::NONBLOCK, None).unwrap();
    let mut server = ServerConnection::new(config).unwrap();
    let hear = |server: &mut ServerConnection| {
        let mut packet = [0; 4096];
        let (count, _) = recv(&theirs, &mut packet, RecvFlags::empty()).unwrap();
        server.read_tls(&mut &packet[..count]).unwrap();
        server.process_new_packets().unwrap();
    };
    let mut client = tls::Tls::new(&tls::with_roots(roots).unwrap(), "127.0.0.1").unwrap();
    assert_eq!(client.advance(&ours, &mut 0), Ok(tls::Handshake::Waiting));
    hear(&mut server);
    let mut answer = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut answer).unwrap();
    }
    send(&theirs, &answer, SendFlags::empty()).unwrap();
    client.notice(rustix::event::epoll::EventFlags::IN);
    assert_eq!(client.advance(&ours, &mut 0), Ok(tls::Handshake::Done));
    client.queue(b"GET / HTTP/1.1").unwrap();
    assert_eq!(client.flush(&ours, &mut 0), Ok(true));
    hear(&mut server);
    assert!(!server.is_handshaking());
    let mut request = [0; 32];
    assert_eq!(server.reader().read(&mut request).unwrap(), 14);
}

#[test]
fn a_server_that_speaks_first_and_not_tls_is_found_out_at_once() {
    let url = serve(|_, mut socket| {
        reply(&mut socket, "SSH-2.0-server\r\n");
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let (_, roots) = serve_tls(|_| {});
    let bench = Bench::new();
    bench.engine.lock().tls = Some(tls::with_roots(roots).unwrap());
    let began = Instant::now();
    let id = bench.start(bench.request("GET", &url.replace("http://", "https://")));
    // What it said is there before the connection is first looked at: no later edge reports it.
    thread::sleep(Duration::from_millis(100));
    bench.wait(id, Wake::Head);
    assert_eq!(bench.engine.lock().failure(id).unwrap().kind, FailureKind::TlsNotSpoken);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_body_over_tls_that_ends_with_the_connection_is_whole_whenever_the_close_comes() {
    for pause in [0, 50] {
        let (url, roots) = serve_tls(move |mut stream| {
            assert!(read_head(&mut stream));
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            for _ in 0..20 {
                stream.write_all(&[b'x'; 5_000]).unwrap();
            }
            thread::sleep(Duration::from_millis(pause));
        });
        let bench = Bench::new();
        bench.engine.lock().tls = Some(tls::with_roots(roots).unwrap());
        let (status, body, error) = bench.call(bench.request("GET", &url));
        assert_eq!((status, body.len(), error), (Some(200), 100_000, None));
    }
}
