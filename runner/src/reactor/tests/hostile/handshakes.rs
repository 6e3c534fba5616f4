//! TLS that goes wrong in each way, by a real server side where that can be had to do it, else by its bytes.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::reactor::tls;

struct Identity {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Identity {
    /// A certificate that vouches for itself.
    fn new(host: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut parameters = CertificateParams::new(vec![host.to_owned()]).unwrap();
        change(&mut parameters);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap().der().clone();
        Self { certificate, key }
    }

    fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_no_client_auth().with_single_cert(vec![self.certificate.clone()], key).unwrap())
    }
}

/// A user that trusts `identity` alone.
fn trusting(identity: &Identity) -> Bench {
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificate.clone()).unwrap();
    let bench = Bench::new();
    bench.engine.lock().tls = Some(tls::with_roots(roots).unwrap());
    bench
}

fn good() -> Identity {
    Identity::new("127.0.0.1", |_| {})
}

/// Serves with `identity` what `behave` does after the first request.
fn serve_tls(
    identity: &Identity,
    behave: impl Fn(&mut StreamOwned<ServerConnection, TcpStream>) + Send + Sync + 'static,
) -> String {
    let config = identity.server();
    serve(move |_, socket| {
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), socket);
        let (mut data, mut byte) = (Vec::new(), [0]);
        while !data.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => data.push(byte[0]),
                _ => return,
            }
        }
        behave(&mut stream);
    })
}

/// Two calls fail as `kind` and nothing was sent; a refused port afterwards shows that the user lives on.
#[track_caller]
fn fails(bench: &Bench, url: &str, kind: FailureKind, sent: u64) {
    for _ in 0..2 {
        let (_, _, error) = bench.call(bench.request("GET", &url.replace("http://", "https://")));
        assert_eq!(error.as_deref(), Some(kind.label()));
    }
    let total = bench.total();
    assert_eq!((total.failures, total.sent, total.generator_faults), (2, sent, 0));
    assert_eq!(bench.engine.lock().connections.len(), 0);
    let good = serve_always(OK);
    assert_eq!(bench.call(bench.request("GET", &good)).2, None, "the user lives on");
}

#[test]
fn each_fault_of_a_certificate_is_a_kind_of_its_own() {
    let expired = Identity::new("127.0.0.1", |parameters| parameters.not_after = date_time_ymd(2020, 1, 1));
    let early = Identity::new("127.0.0.1", |parameters| parameters.not_before = date_time_ymd(2400, 1, 1));
    let other = Identity::new("127.0.0.2", |_| {});
    for (identity, kind) in [
        (&expired, FailureKind::TlsExpired),
        (&early, FailureKind::TlsNotYetValid),
        (&other, FailureKind::TlsWrongHost),
    ] {
        fails(&trusting(identity), &serve_tls(identity, |_| {}), kind, 0);
    }
    fails(&trusting(&good()), &serve_tls(&good(), |_| {}), FailureKind::TlsUnknownIssuer, 0);
}

#[test]
fn each_way_a_handshake_breaks_is_a_kind_of_its_own() {
    const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    // A ServerHello of TLS 1.0.
    let mut old = vec![22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1];
    old.extend_from_slice(&[7; 32]);
    old.extend_from_slice(&[0, 0xc0, 0x13, 0]);
    let broken: [(&'static [u8], FailureKind); 10] = [
        (PLAIN, FailureKind::TlsNotSpoken),
        (b"SSH-2.0-x\r\n", FailureKind::TlsNotSpoken),
        (b"", FailureKind::TlsCut),
        (b"\x16\x03\x03", FailureKind::TlsCut),
        (b"\x15\x03\x03\x00\x02\x02\x50", FailureKind::TlsRefused),
        (b"\x15\x03\x03\x00\x02\x02\x31", FailureKind::TlsRefused),
        (b"\x15\x03\x01\x00\x02\x02\x46", FailureKind::TlsNothingInCommon),
        (b"\x15\x03\x03\x00\x02\x02\x28", FailureKind::TlsNothingInCommon),
        (b"\x16\x03\x03\x00\x04\x02\x00\x00\x00", FailureKind::TlsBroken),
        (old.leak(), FailureKind::TlsNothingInCommon),
    ];
    for (said, kind) in broken {
        let url = serve(move |_, mut socket| {
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(said);
        });
        fails(&trusting(&good()), &url, kind, 0);
    }
    let url = serve(|_, mut socket| {
        let _ = socket.read(&mut [0; 4096]);
        reset(&socket);
    });
    fails(&trusting(&good()), &url, FailureKind::TlsCut, 0);
}

#[test]
fn a_handshake_that_is_never_answered_ends_by_the_limits() {
    let url = serve(|_, mut socket| wait_for_close(&mut socket)).replace("http://", "https://");
    let bench = trusting(&good());
    let none = Timeouts { total: None, connect: None, sock_read: None, sock_connect: None };
    let limit = Some(Duration::from_millis(100));
    for (timeouts, kind) in [
        (Timeouts { connect: limit, ..none }, FailureKind::ConnectTimeout),
        (Timeouts { total: limit, ..none }, FailureKind::TotalTimeout),
    ] {
        let (_, _, error) = bench.call(Request { timeouts, ..bench.request("GET", &url) });
        assert_eq!(error.as_deref(), Some(kind.label()));
    }
}

#[test]
fn a_connection_lost_after_the_handshake_is_lost_as_any_other() {
    let identity = good();
    fails(&trusting(&identity), &serve_tls(&identity, |_| {}), FailureKind::ClosedBeforeReply, 2);
    let cut = serve_tls(&identity, |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        let _ = stream.flush();
    });
    fails(&trusting(&identity), &cut, FailureKind::ClosedInReply, 2);
    let plain = serve_tls(&identity, |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        let _ = stream.flush();
        let _ = stream.sock.write_all(b"and then plain text");
    });
    fails(&trusting(&identity), &plain, FailureKind::TlsBroken, 2);
}
