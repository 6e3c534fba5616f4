//! Connections that sessions share: the limit, the queue, and every way out of it.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use aiotest_core::stats::Phase;

use super::super::{Limits, PoolId};
use super::*;

/// A server that answers a request when it is told to, on the connection that the request came on.
struct Slow {
    url: String,
    /// What was asked, in order of arrival, and where to say that it may be answered.
    asked: Receiver<(String, u32, Sender<&'static str>)>,
}

impl Slow {
    fn new() -> Self {
        let (tell, asked) = channel();
        let tell = Mutex::new(tell);
        let url = serve(move |number, mut socket| {
            let tell = tell.lock().unwrap().clone();
            loop {
                let request = read_request(&mut socket);
                let Some(path) = request.split(' ').nth(1) else { return };
                let (answer, may) = channel();
                tell.send((path.to_owned(), number, answer)).unwrap();
                match may.recv() {
                    Ok(text) => reply(&mut socket, text),
                    Err(_) => return,
                }
            }
        });
        Self { url, asked }
    }

    /// The next request: its path, which connection it came on, and where to answer it.
    fn next(&self) -> (String, u32, Sender<&'static str>) {
        self.asked.recv_timeout(Duration::from_secs(10)).expect("a request")
    }
}

impl Bench {
    fn shared(limit: usize, force_close: bool) -> (Self, PoolId) {
        Self::limited(Limits { all: limit, force_close, ..Limits::default() })
    }

    fn limited(limits: Limits) -> (Self, PoolId) {
        let mut bench = Self::new();
        let pool = bench.engine.lock().open_pool(limits);
        bench.session = bench.engine.lock().open_session(Some(pool));
        (bench, pool)
    }

    fn start_on(&self, session: SessionId, url: &str) -> CallId {
        self.start(Request { session, ..self.request("GET", url) })
    }

    /// Drives until these calls are over.
    fn finish(&self, calls: &[CallId]) {
        for id in calls {
            self.wait(*id, Wake::Body);
            let mut reactor = self.engine.lock();
            reactor.leave(*id, Leave::Block(Verdict::ByStatus));
            reactor.release(*id);
        }
    }

    fn drive_until(&self, what: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(10);
        while !what() {
            assert!(Instant::now() < until, "still not so");
            self.engine.drive(&mut Vec::new());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Idle connections, all connections, and calls that wait.
    fn counts(&self, pool: PoolId) -> (usize, usize, usize) {
        self.engine.lock().pool_counts(pool)
    }
}

#[test]
fn calls_wait_for_a_connection_in_the_order_in_which_they_came() {
    let server = Slow::new();
    let (bench, pool) = Bench::shared(2, false);
    let other = bench.engine.lock().open_session(Some(pool));
    let sessions = [bench.session, other];
    let calls: Vec<CallId> =
        (0..7).map(|n| bench.start_on(sessions[n % 2], &format!("{}/{n}", server.url))).collect();
    bench.drive_until(|| bench.engine.sent_total() == 2);
    assert_eq!(bench.counts(pool), (0, 2, 5));
    let (mut first, second) = (server.next(), server.next());
    let mut connections = vec![first.1, second.1];
    for n in 2..7 {
        thread::sleep(Duration::from_millis(5));
        first.2.send(OK).unwrap();
        bench
            .drive_until(|| bench.counts(pool) == (0, 2, 6 - n) && bench.engine.sent_total() == n as u64 + 1);
        first = server.next();
        assert_eq!(first.0, format!("/{n}"), "first come, first served");
        connections.push(first.1);
    }
    for left in [first, second] {
        left.2.send(OK).unwrap();
    }
    bench.finish(&calls);
    assert_eq!(bench.counts(pool), (2, 2, 0));
    connections.sort_unstable();
    connections.dedup();
    assert_eq!(connections, [0, 1], "no third connection was ever opened");
    let total = bench.total();
    assert_eq!((total.requests, total.failures, total.sent), (7, 0, 7));
    let queued = total.phase(Phase::Queue).unwrap();
    assert_eq!(queued.count(), 5);
    assert!(Some(5_000) <= queued.max(), "microseconds");
}

#[test]
fn a_call_that_waits_for_a_connection_can_time_out() {
    let server = Slow::new();
    let (bench, pool) = Bench::shared(1, false);
    let holder = bench.start(bench.request("GET", &server.url));
    let short = Some(Duration::from_millis(30));
    for (timeouts, kind) in [
        (Timeouts { total: short, ..Timeouts::default() }, FailureKind::TotalTimeout),
        (Timeouts { connect: short, ..Timeouts::default() }, FailureKind::ConnectTimeout),
    ] {
        let id = bench.start(Request { timeouts, ..bench.request("GET", &server.url) });
        bench.wait(id, Wake::Head);
        assert_eq!(bench.engine.lock().failure(id).unwrap().kind, kind);
        assert_eq!(bench.counts(pool), (0, 1, 0), "it has left the queue");
    }
    server.next().2.send(OK).unwrap();
    bench.finish(&[holder]);
    assert_eq!((bench.total().sent, bench.total().phase(Phase::Queue).unwrap().count()), (1, 2));
}

#[test]
fn a_call_that_is_cut_while_it_waits_is_never_sent_and_one_that_is_cut_later_frees_its_place() {
    let server = Slow::new();
    let (bench, pool) = Bench::shared(1, false);
    let calls: Vec<CallId> = ["holder", "cut", "next"]
        .map(|name| bench.start(bench.request("GET", &format!("{}/{name}", server.url))))
        .into();
    bench.engine.lock().abort(calls[1], Abort::Cancelled);
    assert_eq!(bench.counts(pool).2, 1);
    bench.drive_until(|| bench.engine.sent_total() == 1);
    let held = server.next();
    bench.engine.lock().abort(calls[0], Abort::Cancelled);
    assert_eq!(bench.counts(pool), (0, 0, 1), "served by the next drive");
    bench.drive_until(|| bench.engine.sent_total() == 2);
    let next = server.next();
    assert_eq!((held.0.as_str(), next.0.as_str(), next.1), ("/holder", "/next", 1));
    next.2.send(OK).unwrap();
    bench.finish(&calls[2..]);
    assert_eq!((bench.total().sent, bench.counts(pool)), (2, (1, 1, 0)));
}

#[test]
fn a_session_that_is_closed_takes_its_calls_along_and_leaves_the_others_theirs() {
    let server = Slow::new();
    let (bench, pool) = Bench::shared(1, false);
    let other = bench.engine.lock().open_session(Some(pool));
    let calls: Vec<CallId> = [(bench.session, "a"), (bench.session, "b"), (other, "c"), (bench.session, "d")]
        .map(|(session, name)| bench.start_on(session, &format!("{}/{name}", server.url)))
        .into();
    bench.drive_until(|| bench.engine.sent_total() == 1);
    bench.engine.lock().close_session(bench.session);
    bench.drive_until(|| bench.engine.sent_total() == 2);
    assert_eq!(server.next().0, "/a");
    let answered = server.next();
    assert_eq!(answered.0, "/c");
    answered.2.send(OK).unwrap();
    bench.finish(&calls[2..3]);
    bench.engine.lock().close_session(other);
    assert_eq!(bench.counts(pool), (1, 1, 0), "connections are the pool's, not a session's");
    bench.engine.lock().close_pool(pool);
    assert!(bench.engine.lock().connections.is_empty());
}

#[test]
fn a_pool_that_is_closed_cuts_whoever_waits_and_wakes_them() {
    let server = Slow::new();
    let (bench, pool) = Bench::shared(1, false);
    let calls = [0, 1].map(|_| bench.start(bench.request("GET", &server.url)));
    assert!(!bench.engine.lock().wait(calls[1], Wake::Head));
    bench.engine.lock().close_pool(pool);
    bench.wait(calls[1], Wake::Recorded);
    assert_eq!(bench.engine.lock().record_of(calls[1]).unwrap().error.as_deref(), Some("Cancelled"));
    bench.drive_until(|| bench.engine.sent_total() == 1);
    server.next().2.send(OK).unwrap();
    bench.finish(&calls[..1]);
    assert!(bench.engine.lock().connections.is_empty(), "the one in use went with its call");
}

#[test]
fn each_call_has_a_connection_of_its_own_where_that_is_asked_for() {
    let url = serve(|number, mut socket| {
        while !read_request(&mut socket).is_empty() {
            reply(&mut socket, &format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"));
        }
    });
    let (bench, pool) = Bench::shared(1, true);
    for number in 0..3 {
        assert_eq!(bench.call(bench.request("GET", &url)).1, number.to_string().into_bytes());
    }
    assert_eq!(bench.counts(pool), (0, 0, 0));
    let together: Vec<CallId> = (0..5).map(|_| bench.start(bench.request("GET", &url))).collect();
    bench.finish(&together);
    assert_eq!((bench.total().requests, bench.total().failures, bench.counts(pool)), (8, 0, (0, 0, 0)));
}

#[test]
fn an_idle_connection_makes_room_for_one_to_another_host() {
    let (one, two) = (serve_always(OK), serve_always(OK));
    let (bench, pool) = Bench::shared(2, false);
    for url in [&one, &two, &one, &two] {
        bench.call(bench.request("GET", url));
    }
    assert_eq!(bench.counts(pool), (2, 2, 0));
    let three = serve_always(OK);
    for url in [&three, &two, &one] {
        assert_eq!(bench.call(bench.request("GET", url)).2, None);
        assert_eq!(bench.counts(pool), (2, 2, 0));
    }
    let (bench, pool) = Bench::shared(1, false);
    let mixed: Vec<CallId> =
        (0..6).map(|n| bench.start(bench.request("GET", if n % 2 == 0 { &one } else { &two }))).collect();
    bench.finish(&mixed);
    assert_eq!((bench.total().failures, bench.counts(pool)), (0, (1, 1, 0)));
}

#[test]
fn a_place_is_free_again_when_the_server_closes_or_refuses() {
    let url = serve(|_, mut socket| {
        read_request(&mut socket);
        reply(&mut socket, OK);
    });
    let refused = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let (bench, pool) = Bench::shared(1, false);
    for _ in 0..20 {
        let calls = [&url, &refused, &url].map(|url| bench.start(bench.request("POST", url)));
        bench.finish(&calls);
        bench.drive_until(|| bench.counts(pool) == (0, 0, 0));
    }
    let total = bench.total();
    assert_eq!((total.requests, total.failures, total.sent), (60, 20, 40));
}

/// A server that replies, replies and closes, or closes without a reply, by the number of the request.
fn serve_unsteadily() -> String {
    let served = AtomicU32::new(0);
    serve(move |_, mut socket| {
        while !read_request(&mut socket).is_empty() {
            match served.fetch_add(1, Ordering::Relaxed) % 7 {
                0 => return,
                1 => return reply(&mut socket, OK),
                _ => reply(&mut socket, OK),
            }
        }
    })
}

#[test]
fn whatever_happens_the_limits_hold_and_nobody_is_forgotten() {
    let urls = [serve_unsteadily(), serve_unsteadily()];
    shake(Limits { all: 3, ..Limits::default() }, &urls[..1]);
    let (keep, all) = (Some(Duration::from_millis(2)), 3);
    shake(Limits { all, keep, ..Limits::default() }, &urls);
    shake(Limits { all, per_host: 2, keep, ..Limits::default() }, &urls);
    shake(Limits { per_host: 2, ..Limits::default() }, &urls);
}

fn shake(limits: Limits, urls: &[String]) {
    let (bench, pool) = Bench::limited(limits);
    let mut dice = 1_u32;
    let mut roll = |sides: u32| {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (dice >> 16) % sides
    };
    let mut open: Vec<CallId> = Vec::new();
    let mut sessions: Vec<SessionId> = Vec::new();
    for _ in 0..3_000 {
        match roll(12) {
            0..6 => {
                if sessions.len() < 5 {
                    sessions.push(bench.engine.lock().open_session(Some(pool)));
                }
                let session = sessions[roll(sessions.len() as u32) as usize];
                let timeouts = match roll(5) {
                    0 => Timeouts { total: Some(Duration::from_micros(300)), ..Timeouts::default() },
                    _ => Timeouts::default(),
                };
                let url = &urls[roll(urls.len() as u32) as usize];
                let request = Request { session, timeouts, ..bench.request("GET", url) };
                open.push(bench.start(request));
            }
            6 if !open.is_empty() => {
                let id = open.swap_remove(roll(open.len() as u32) as usize);
                bench.engine.lock().abort(id, Abort::Cancelled);
                bench.engine.lock().release(id);
            }
            7 if !sessions.is_empty() => {
                let session = sessions.swap_remove(roll(sessions.len() as u32) as usize);
                bench.engine.lock().close_session(session);
            }
            _ => {
                bench.engine.drive(&mut Vec::new());
                let (idle, all, waiting) = bench.counts(pool);
                assert!(all <= limits.all, "{all} connections");
                let most = bench.engine.lock().most_to_a_host(pool);
                assert!(most <= limits.per_host, "{most} connections to a host");
                let no_room = (idle == 0 && all == limits.all) || most == limits.per_host;
                assert!(waiting == 0 || no_room, "{waiting} wait, {idle} of {all} are idle");
            }
        }
    }
    bench.finish(&open);
    let (idle, all, waiting) = bench.counts(pool);
    assert_eq!((idle, waiting), (all, 0));
    assert!(bench.engine.lock().calls.values().all(|call| call.record.is_some()));
}

#[test]
fn a_host_that_has_its_connections_holds_up_no_other() {
    let (one, two) = (Slow::new(), Slow::new());
    let (bench, pool) = Bench::limited(Limits { per_host: 1, ..Limits::default() });
    let calls = [&one, &one, &one, &two].map(|server| bench.start(bench.request("GET", &server.url)));
    bench.drive_until(|| bench.engine.sent_total() == 2);
    assert_eq!(bench.counts(pool), (0, 2, 2));
    two.next().2.send(OK).unwrap();
    bench.finish(&calls[3..]);
    assert_eq!(bench.counts(pool), (1, 2, 2), "those of the first host still wait");
    for n in 0..3 {
        let (_, connection, answer) = one.next();
        assert_eq!(connection, 0, "always the same");
        answer.send(OK).unwrap();
        bench.finish(&calls[n..=n]);
    }
    assert_eq!((bench.total().sent, bench.counts(pool)), (4, (2, 2, 0)));
}

#[test]
fn an_idle_connection_is_closed_when_its_time_is_over_and_not_while_it_is_used() {
    let url = serve_always(OK);
    let keep = Some(Duration::from_millis(200));
    let (bench, pool) = Bench::limited(Limits { keep, ..Limits::default() });
    let together = [0; 3].map(|_| bench.start(bench.request("GET", &url)));
    bench.finish(&together);
    assert_eq!(bench.counts(pool), (3, 3, 0));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(600) {
        bench.call(bench.request("GET", &url));
    }
    assert_eq!(bench.counts(pool), (1, 1, 0), "the one that is used");
    assert_eq!(bench.engine.lock().lapses.len(), 1, "however many calls there were");
    bench.drive_until(|| bench.counts(pool) == (0, 0, 0));
    assert!(bench.engine.lock().lapses.is_empty());
}
