//! Servers that do everything wrong, over real sockets: what each becomes, and that the user lives on, that nothing is
//! counted that no server saw, and that no memory is kept. One module for each family; start at [`Hostile::check`].

mod bodies;
mod connections;
mod handshakes;
mod heads;
mod redirects;

use std::sync::atomic::AtomicU64;

use super::*;
use crate::reactor::request::Timeouts;

/// A server that is good at `/good` and hostile elsewhere.
struct Hostile {
    url: String,
    /// Requests that have been read to their end.
    requests: Arc<AtomicU64>,
}

impl Hostile {
    /// `behave` is given the socket of each hostile request after that has been read; the connection is closed after it.
    fn serve(behave: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        let requests = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&requests);
        let url = serve(move |_, mut socket| {
            loop {
                let request = read_request(&mut socket);
                if request.is_empty() {
                    return;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                if !request.starts_with("GET /good ") {
                    return behave(&mut socket);
                }
                reply(&mut socket, OK);
            }
        });
        Self { url, requests }
    }

    /// Says these bytes in answer to a hostile request, and closes the connection.
    fn say(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::serve(move |socket| {
            // Whoever has heard enough may be gone.
            let _ = socket.write_all(&bytes);
        })
    }

    fn bad(&self, bench: &Bench) -> Request {
        bench.request("GET", &format!("{}/bad", self.url))
    }

    fn is_good(&self, bench: &Bench) {
        let good = bench.request("GET", &format!("{}/good", self.url));
        assert_eq!(bench.call(good), (Some(200), b"ok".to_vec(), None), "the user lives on");
    }

    /// Two hostile calls and a good one of the same user: the hostile ones fail as `kind`, or succeed with `body`.
    fn check(&self, expected: Result<&[u8], FailureKind>) {
        self.check_within(Timeouts { total: Some(Duration::from_secs(10)), ..Timeouts::default() }, expected);
    }

    fn check_within(&self, timeouts: Timeouts, expected: Result<&[u8], FailureKind>) {
        let bench = Bench::new();
        for _ in 0..2 {
            let (_, body, error) = bench.call(Request { timeouts, ..self.bad(&bench) });
            match expected {
                Ok(expected) => assert_eq!((&body[..], error.as_deref()), (expected, None)),
                Err(kind) => assert_eq!(error.as_deref(), Some(kind.label())),
            }
        }
        self.is_good(&bench);
        let total = bench.total();
        assert_eq!((total.requests, total.failures), (3, if expected.is_ok() { 0 } else { 2 }));
        // One that lay unread in the server's kernel when it closed has been sent, and is tried again.
        let seen = self.requests.load(Ordering::SeqCst);
        assert!(total.sent - total.retried <= seen && seen <= total.sent, "{} sent, {seen} seen", total.sent);
        assert_eq!(bench.engine.lock().calls.len(), 0);
        assert!(bench.engine.lock().connections.len() <= 1, "no connection of a failed call is kept");
    }
}

/// Closes the socket so that the other side sees a reset.
fn reset(socket: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO)).unwrap();
}

/// Writes these bytes again and again until the other side has had enough; how many it took.
fn flood(socket: &mut TcpStream, bytes: &[u8], at_most: u64) -> u64 {
    let mut written = 0;
    while written < at_most && socket.write_all(bytes).is_ok() {
        written += bytes.len() as u64;
    }
    written
}

/// Until the other side closes.
fn wait_for_close(socket: &mut TcpStream) {
    while matches!(socket.read(&mut [0; 1024]), Ok(count) if 0 < count) {}
}

/// As far as a flood goes in these tests.
const GIGABYTES: u64 = 10_000_000_000;
