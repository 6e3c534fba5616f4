//! The reactor against real sockets: each test plays the server by hand, so that every byte and close is known.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

mod arrival;
mod fuzz;
mod hostile;
mod outbox;
mod pool;
mod tls;
mod upgrade;

use aiotest_core::stats::Row;
use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use super::engine::Engine;
use super::failure::FailureKind;
use super::request::{HeaderBlock, Request, Target, Timeouts, Version};
use super::{Abort, CallId, Leave, SessionId, Verdict, Wake};

/// A reactor with one session, driven by hand.
pub(super) struct Bench {
    pub(super) engine: Engine,
    pub(super) session: SessionId,
}

impl Bench {
    pub(super) fn new() -> Self {
        let engine = Engine::new().unwrap();
        let session = engine.lock().open_session(None);
        Self { engine, session }
    }

    pub(super) fn request(&self, method: &str, url: &str) -> Request {
        Request {
            session: self.session,
            method: Arc::from(method),
            target: Arc::new(Target::parse(url).unwrap()),
            name: None,
            headers: Arc::new(HeaderBlock::default()),
            cookies: None,
            body: Bytes::new(),
            redirects: 10,
            route: None,
            timeouts: Timeouts { total: Some(Duration::from_secs(10)), ..Timeouts::default() },
            read_ahead: 64 * 1024,
            late: None,
            upload: false,
            expects_continue: false,
            version: Version::Http11,
            upgrade: false,
            unmeasured: false,
        }
    }

    pub(super) fn start(&self, request: Request) -> CallId {
        self.engine.lock().start(request)
    }

    /// Drives until what is waited for is there.
    pub(super) fn wait(&self, id: CallId, wake: Wake) {
        let mut ready = Vec::new();
        if self.engine.lock().wait(id, wake) {
            return;
        }
        let until = Instant::now() + Duration::from_secs(20);
        while !ready.contains(&id) {
            assert!(Instant::now() < until, "nothing woke the call");
            self.drive_once(&mut ready);
        }
    }

    pub(super) fn drive_once(&self, ready: &mut Vec<CallId>) {
        let fd: BorrowedFd<'_> = self.engine.descriptor.as_fd();
        let mut watched = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        let timeout = Timespec { tv_sec: 1, tv_nsec: 0 };
        poll(&mut watched, Some(&timeout)).unwrap();
        self.engine.drive(ready);
    }

    /// A whole call: what its body was, and how it was recorded.
    pub(super) fn call(&self, request: Request) -> (Option<u16>, Vec<u8>, Option<String>) {
        let id = self.start(request);
        self.wait(id, Wake::Body);
        let mut reactor = self.engine.lock();
        let status = reactor.head(id).map(|head| head.status);
        let body = reactor.take_body(id).to_vec();
        let record = reactor.leave(id, Leave::Block(Verdict::ByStatus)).expect("the body has ended");
        reactor.release(id);
        (status, body, record.error)
    }

    pub(super) fn total(&self) -> Row {
        self.engine.lock().statistics.total()
    }
}

/// A server whose `n`-th connection is handled by `handle(n, socket)`; its address.
pub(super) fn serve(handle: impl Fn(u32, TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (handle, count) = (Arc::new(handle), AtomicU32::new(0));
        for socket in listener.incoming().flatten() {
            let (handle, number) = (Arc::clone(&handle), count.fetch_add(1, Ordering::Relaxed));
            thread::spawn(move || handle(number, socket));
        }
    });
    url
}

/// Reads one request (head and `Content-Length` body); empty at the client's close.
fn read_request(socket: &mut TcpStream) -> String {
    let mut data = Vec::new();
    let mut byte = [0];
    while !data.ends_with(b"\r\n\r\n") {
        match socket.read(&mut byte) {
            Ok(1) => data.push(byte[0]),
            _ => return String::new(),
        }
    }
    let head = String::from_utf8(data).unwrap();
    let length =
        head.lines().find_map(|l| l.strip_prefix("Content-Length: ")).map_or(0, |v| v.parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

fn reply(socket: &mut TcpStream, text: &str) {
    socket.write_all(text.as_bytes()).unwrap();
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Answers every request with the same text.
fn serve_always(text: &'static str) -> String {
    serve(move |_, mut socket| {
        while !read_request(&mut socket).is_empty() {
            reply(&mut socket, text);
        }
    })
}

#[test]
fn a_connection_is_kept_and_used_again() {
    let url = serve(|number, mut socket| {
        while !read_request(&mut socket).is_empty() {
            reply(&mut socket, &format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"));
        }
    });
    let bench = Bench::new();
    for _ in 0..3 {
        assert_eq!(bench.call(bench.request("GET", &url)), (Some(200), b"0".to_vec(), None));
    }
    assert_eq!((bench.total().requests, bench.total().sent, bench.engine.sent_total()), (3, 3, 3));
}

#[test]
fn a_connection_that_the_server_closes_after_its_reply_is_not_used_again() {
    let url = serve(|number, mut socket| {
        read_request(&mut socket);
        reply(
            &mut socket,
            &format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n{number}"),
        );
    });
    let bench = Bench::new();
    assert_eq!(bench.call(bench.request("GET", &url)).1, b"0");
    assert_eq!(bench.call(bench.request("GET", &url)).1, b"1");
    assert_eq!(bench.total().retried, 0);
}

#[test]
fn an_idle_connection_closed_by_the_server_is_replaced_and_nothing_is_counted_twice() {
    let url = serve(|_, mut socket| {
        read_request(&mut socket);
        reply(&mut socket, OK);
    });
    let bench = Bench::new();
    for _ in 0..20 {
        assert_eq!(bench.call(bench.request("POST", &url)).2, None, "not even a POST fails");
        bench.drive_once(&mut Vec::new());
    }
    assert_eq!((bench.total().requests, bench.total().sent), (20, 20));
}

#[test]
fn a_request_lost_to_a_server_that_closes_is_tried_once_more() {
    // The second request of the first connection is read, then the connection is closed without a reply.
    let url = serve(|number, mut socket| {
        read_request(&mut socket);
        reply(&mut socket, OK);
        if number == 0 {
            read_request(&mut socket);
            return;
        }
        while !read_request(&mut socket).is_empty() {
            reply(&mut socket, OK);
        }
    });
    let bench = Bench::new();
    bench.call(bench.request("GET", &url));
    assert_eq!(bench.call(bench.request("GET", &url)).2, None);
    let total = bench.total();
    assert_eq!((total.requests, total.sent, total.retried), (2, 3, 1), "the server has read three");
}

#[test]
fn a_post_is_never_sent_twice() {
    let url = serve(|_, mut socket| {
        read_request(&mut socket);
        reply(&mut socket, OK);
        read_request(&mut socket);
    });
    let bench = Bench::new();
    bench.call(bench.request("GET", &url));
    let error = bench.call(bench.request("POST", &url)).2.unwrap();
    assert_eq!(error, FailureKind::ClosedBeforeReply.label());
    assert_eq!((bench.total().sent, bench.total().retried), (2, 0));
}

#[test]
fn a_chunked_reply_with_an_interim_one_before_it_is_read_whole() {
    let url = serve_always(
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    let bench = Bench::new();
    assert_eq!(bench.call(bench.request("GET", &url)), (Some(200), b"abcde".to_vec(), None));
}

#[test]
fn a_status_of_400_or_more_is_a_failure_with_its_text() {
    let url = serve_always("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let bench = Bench::new();
    assert_eq!(bench.call(bench.request("GET", &url)).2.as_deref(), Some("503 Service Unavailable"));
    assert_eq!((bench.total().requests, bench.total().failures), (1, 1));
}

#[test]
fn the_scenario_overrules_the_status() {
    let url = serve_always("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let bench = Bench::new();
    let id = bench.start(bench.request("GET", &url));
    bench.wait(id, Wake::Head);
    let record = bench.engine.lock().leave(id, Leave::Block(Verdict::Success)).unwrap();
    assert_eq!(record.error, None);
}

#[test]
fn redirects_are_followed_with_their_cookies_and_counted_as_sent() {
    let url = serve(|_, mut socket| {
        loop {
            let request = read_request(&mut socket);
            if request.is_empty() {
                return;
            }
            if request.starts_with("POST /a ") {
                reply(
                    &mut socket,
                    "HTTP/1.1 302 Found\r\nLocation: b\r\nSet-Cookie: k=v\r\nContent-Length: 3\r\n\r\nxyz",
                );
            } else {
                assert!(request.starts_with("GET /b "), "{request}");
                let cookie = request.contains("Cookie: k=v\r\n");
                reply(&mut socket, &format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{cookie:5}"));
            }
        }
    });
    let bench = Bench::new();
    let mut request = bench.request("POST", &format!("{url}/a"));
    request.body = Bytes::from_static(b"form");
    let id = bench.start(request);
    bench.wait(id, Wake::Body);
    let mut reactor = bench.engine.lock();
    let reply = reactor.take_reply(id).unwrap();
    assert_eq!((reply.history.len(), reply.body.as_deref()), (1, Some(&b"true "[..])));
    let record = reactor.leave(id, Leave::Block(Verdict::ByStatus)).unwrap();
    assert_eq!((&*record.name, &*record.method), ("/a", "POST"), "a call is named after its first hop");
    assert_eq!((reactor.statistics.total().requests, reactor.statistics.total().sent), (1, 2));
}

#[test]
fn endless_redirects_end_as_a_failure() {
    let url = serve_always("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n");
    let bench = Bench::new();
    let mut request = bench.request("GET", &url);
    request.redirects = 3;
    let (_, _, error) = bench.call(request);
    assert_eq!((error.as_deref(), bench.total().sent), (Some(FailureKind::TooManyRedirects.label()), 4));
}

#[test]
fn a_refused_connection_is_a_failure_of_its_kind() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bench = Bench::new();
    let id = bench.start(bench.request("GET", &format!("http://{closed}/")));
    bench.wait(id, Wake::Head);
    assert_eq!(bench.engine.lock().failure(id).unwrap().kind, FailureKind::Refused);
    assert_eq!((bench.total().failures, bench.total().sent), (1, 0));
}

#[test]
fn a_name_that_does_not_resolve_is_a_failure_of_its_kind() {
    let bench = Bench::new();
    let id = bench.start(bench.request("GET", "http://no-such-host.invalid/"));
    bench.wait(id, Wake::Head);
    assert_eq!(bench.engine.lock().failure(id).unwrap().kind, FailureKind::NameNotFound);
}

#[test]
fn what_is_no_http_is_a_failure_of_its_kind() {
    let url = serve_always("SSH-2.0-OpenSSH\r\n\r\n");
    let bench = Bench::new();
    let id = bench.start(bench.request("GET", &url));
    bench.wait(id, Wake::Head);
    assert_eq!(bench.engine.lock().failure(id).unwrap().kind, FailureKind::NoHttp);
}

#[test]
fn the_total_timeout_ends_a_call_and_counts_its_time() {
    let url = serve(|_, mut socket| while !read_request(&mut socket).is_empty() {});
    let bench = Bench::new();
    let mut request = bench.request("GET", &url);
    request.timeouts.total = Some(Duration::from_millis(80));
    let id = bench.start(request);
    bench.wait(id, Wake::Head);
    let reactor = bench.engine.lock();
    assert_eq!(reactor.failure(id).unwrap().kind, FailureKind::TotalTimeout);
    let latency = reactor.record_of(id).unwrap().latency;
    assert!(Duration::from_millis(80) <= latency && latency < Duration::from_secs(5), "{latency:?}");
}

#[test]
fn a_reply_that_arrived_before_its_deadline_is_no_timeout_however_late_the_loop_is() {
    let url = serve_always(OK);
    let bench = Bench::new();
    bench.call(bench.request("GET", &url));
    let mut request = bench.request("GET", &url);
    request.timeouts.total = Some(Duration::from_millis(50));
    let id = bench.start(request);
    thread::sleep(Duration::from_millis(150));
    bench.wait(id, Wake::Body);
    assert!(bench.engine.lock().failure(id).is_none());
}

#[test]
fn a_reply_that_is_read_late_took_until_the_kernel_had_it() {
    let url = serve_always(OK);
    let bench = Bench::new();
    bench.call(bench.request("GET", &url));
    // The kernel begins to stamp a moment after it was asked to.
    thread::sleep(Duration::from_millis(50));
    let id = bench.start(bench.request("GET", &url));
    thread::sleep(Duration::from_millis(300));
    bench.wait(id, Wake::Body);
    let record = bench.engine.lock().leave(id, Leave::Block(Verdict::ByStatus)).unwrap();
    assert!(record.latency < Duration::from_millis(200), "{:?}", record.latency);
}

#[test]
fn a_body_that_stops_coming_is_a_read_timeout() {
    let url = serve(|_, mut socket| {
        read_request(&mut socket);
        reply(&mut socket, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        read_request(&mut socket);
    });
    let bench = Bench::new();
    let mut request = bench.request("GET", &url);
    request.timeouts.sock_read = Some(Duration::from_millis(80));
    let id = bench.start(request);
    bench.wait(id, Wake::Body);
    let mut reactor = bench.engine.lock();
    assert_eq!(reactor.failure(id).unwrap().kind, FailureKind::ReadTimeout);
    assert!(reactor.leave(id, Leave::Block(Verdict::ByStatus)).unwrap().error.unwrap().contains("timeout"));
}

#[test]
fn a_reply_cut_in_its_body_is_a_failure() {
    let url = serve(|_, mut socket| {
        read_request(&mut socket);
        reply(&mut socket, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    });
    let bench = Bench::new();
    let (status, _, error) = bench.call(bench.request("GET", &url));
    assert_eq!(status, Some(200));
    assert_eq!(error.as_deref(), Some(FailureKind::ClosedInReply.label()));
}

#[test]
fn reading_waits_for_the_scenario_beyond_what_is_read_ahead() {
    let url = serve(|_, mut socket| {
        read_request(&mut socket);
        reply(&mut socket, "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n");
        let _ = socket.write_all(&vec![b'x'; 3_000_000]);
        read_request(&mut socket);
    });
    let bench = Bench::new();
    let id = bench.start(bench.request("GET", &url));
    bench.wait(id, Wake::Chunk);
    for _ in 0..5 {
        bench.drive_once(&mut Vec::new());
    }
    assert!(bench.engine.lock().calls[id].body.len() < 400_000, "a paused body is not read on");
    let mut received = 0;
    while received < 3_000_000 {
        bench.wait(id, Wake::Chunk);
        received += bench.engine.lock().take_chunk(id, 100_000).len();
    }
    bench.wait(id, Wake::Body);
    assert!(bench.engine.lock().failure(id).is_none());
}

#[test]
fn a_long_body_left_early_is_cut_and_marked() {
    let url = serve(|_, mut socket| {
        read_request(&mut socket);
        reply(&mut socket, "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n");
        let _ = socket.write_all(&vec![b'x'; 3_000_000]);
    });
    let bench = Bench::new();
    let id = bench.start(bench.request("GET", &url));
    bench.wait(id, Wake::Head);
    if bench.engine.lock().leave(id, Leave::Block(Verdict::ByStatus)).is_none() {
        bench.wait(id, Wake::Recorded);
    }
    let total = bench.total();
    assert_eq!((total.requests, total.failures, total.truncated), (1, 0, 1));
}

#[test]
fn a_short_body_is_awaited_when_the_block_is_left() {
    let url = serve(|_, mut socket| {
        read_request(&mut socket);
        reply(&mut socket, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
        thread::sleep(Duration::from_millis(60));
        reply(&mut socket, "cd");
        read_request(&mut socket);
    });
    let bench = Bench::new();
    let id = bench.start(bench.request("GET", &url));
    bench.wait(id, Wake::Head);
    assert_eq!(bench.engine.lock().leave(id, Leave::Block(Verdict::ByStatus)), None);
    bench.wait(id, Wake::Recorded);
    let reactor = bench.engine.lock();
    let record = reactor.record_of(id).unwrap();
    assert_eq!((record.bytes, &record.error), (4, &None));
    assert!(Duration::from_millis(60) <= record.latency, "the latency holds the whole body");
}

#[test]
fn an_abort_records_once_and_by_its_kind() {
    let url = serve(|_, mut socket| while !read_request(&mut socket).is_empty() {});
    let bench = Bench::new();
    for by in [Abort::Cancelled, Abort::TimedOut, Abort::Stopped, Abort::Collected] {
        let id = bench.start(bench.request("GET", &url));
        bench.drive_once(&mut Vec::new());
        let mut reactor = bench.engine.lock();
        reactor.abort(id, by);
        reactor.abort(id, by);
        reactor.leave(id, Leave::Block(Verdict::ByStatus));
        reactor.release(id);
    }
    let total = bench.total();
    assert_eq!((total.requests, total.failures, total.aborted), (3, 3, 1));
    let errors: Vec<(&str, u64)> = total.errors().collect();
    assert_eq!(errors, [("Cancelled", 2), ("TimeoutError", 1)]);
    assert_eq!(bench.engine.lock().calls.len(), 0);
}

#[test]
fn a_stale_id_is_answered_with_nothing() {
    let url = serve_always(OK);
    let bench = Bench::new();
    let id = bench.start(bench.request("GET", &url));
    bench.wait(id, Wake::Body);
    let mut reactor = bench.engine.lock();
    reactor.leave(id, Leave::Block(Verdict::ByStatus));
    reactor.release(id);
    assert!(reactor.wait(id, Wake::Body));
    assert!(
        reactor.head(id).is_none() && reactor.take_body(id).is_empty() && reactor.record_of(id).is_none()
    );
    reactor.abort(id, Abort::Cancelled);
    assert_eq!(reactor.statistics.total().requests, 1);
}

#[test]
fn closing_a_session_ends_its_calls_and_wakes_who_waits() {
    let url = serve(|_, mut socket| while !read_request(&mut socket).is_empty() {});
    let bench = Bench::new();
    let id = bench.start(bench.request("GET", &url));
    assert!(!bench.engine.lock().wait(id, Wake::Head));
    bench.engine.lock().close_session(bench.session);
    let mut ready = Vec::new();
    bench.drive_once(&mut ready);
    assert_eq!(ready, [id]);
    assert_eq!(bench.total().failures, 1);
}

#[test]
fn calls_wait_while_the_dead_man_switch_is_on() {
    let url = serve_always(OK);
    let bench = Bench::new();
    bench.engine.refuse(true);
    let id = bench.start(bench.request("GET", &url));
    assert!(bench.engine.lock().connections.is_empty());
    bench.engine.refuse(false);
    bench.wait(id, Wake::Body);
    assert_eq!(bench.engine.lock().sent_total(), 1);
}

#[test]
fn no_call_goes_out_once_the_lease_is_over_though_nobody_says_so() {
    let url = serve_always(OK);
    let bench = Bench::new();
    bench.engine.lease(Duration::ZERO);
    let [cut, waits] = [(); 2].map(|()| bench.start(bench.request("GET", &url)));
    bench.engine.lease(Duration::ZERO);
    bench.engine.lock().abort(cut, Abort::Stopped);
    assert!(bench.engine.lock().connections.is_empty());
    bench.engine.lease(Duration::from_secs(10));
    bench.wait(waits, Wake::Body);
    assert_eq!(bench.engine.lock().sent_total(), 1);
    assert_eq!(bench.total().aborted, 1);
}

#[test]
fn a_request_that_waited_for_its_connection_stays_here_once_the_lease_is_over() {
    let url = serve_always(OK);
    let bench = Bench::new();
    let id = bench.start(bench.request("GET", &url));
    bench.engine.lease(Duration::ZERO);
    bench.drive_once(&mut Vec::new());
    {
        let reactor = bench.engine.lock();
        assert!(reactor.connections.values().all(|connection| connection.connecting.is_none()));
        assert_eq!(reactor.sent_total(), 0);
    }
    bench.engine.lease(Duration::from_secs(10));
    bench.wait(id, Wake::Body);
    assert_eq!(bench.engine.lock().sent_total(), 1);
}

#[test]
fn what_a_gather_opened_goes_back_to_one_connection() {
    let url = serve_always(OK);
    let bench = Bench::new();
    let ids: Vec<CallId> = (0..5).map(|_| bench.start(bench.request("GET", &url))).collect();
    for id in ids {
        bench.wait(id, Wake::Body);
    }
    let mut reactor = bench.engine.lock();
    assert_eq!(reactor.connections.len(), 5);
    reactor.close_lapsed(Instant::now());
    assert_eq!(reactor.connections.len(), 5, "they are kept for the next gather");
    reactor.close_lapsed(Instant::now() + Duration::from_secs(6));
    assert_eq!(reactor.connections.len(), 1);
}

#[test]
fn the_stand_in_stamps_replies_while_the_loop_is_busy() {
    let url = serve_always(OK);
    let engine = super::engine::engine();
    let session = engine.lock().open_session(None);
    let bench = Bench::new();
    let request = Request { session, ..bench.request("GET", &url) };
    let id = engine.lock().start(request);
    thread::sleep(Duration::from_millis(300));
    let mut reactor = engine.lock();
    assert!(reactor.wait(id, Wake::Body), "nobody but the stand-in has driven it");
    let record = reactor.leave(id, Leave::Block(Verdict::ByStatus)).unwrap();
    assert!(record.latency < Duration::from_millis(200), "{:?}", record.latency);
}
