//! Bodies that are cut, slow, endless, or chunked against the rules.

use super::*;
use crate::reactor::receive::MAX_BODY;

fn chunked(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

const ENDLESS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n";

#[test]
fn a_body_shorter_than_it_says_is_cut() {
    Hostile::say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").check(Err(FailureKind::ClosedInReply));
    for cut in ["", "5\r", "5\r\nhel", "5\r\nhello", "5\r\nhello\r\n", "0\r\n", "0\r\nA: b\r\n"] {
        Hostile::say(chunked(cut)).check(Err(FailureKind::ClosedInReply));
    }
}

#[test]
fn each_fault_of_a_chunk_is_a_kind_of_its_own() {
    for size in ["zz", "", "-5", "0x5", "5 5", "FFFFFFFFFFFFFFFFF", ";x"] {
        Hostile::say(chunked(&format!("{size}\r\nhello\r\n0\r\n\r\n")))
            .check(Err(FailureKind::ChunkSizeInvalid));
    }
    for end in ["X\r\n", "\r\r\n", "hello"] {
        Hostile::say(chunked(&format!("5\r\nhello{end}0\r\n\r\n"))).check(Err(FailureKind::ChunkEndMissing));
    }
    let line = Hostile::serve(|socket| {
        reply(socket, &chunked("5;"));
        flood(socket, &[b'x'; 4096], GIGABYTES);
    });
    line.check(Err(FailureKind::ChunkLineTooLong));
    let trailers = Hostile::serve(|socket| {
        reply(socket, &chunked("0\r\n"));
        flood(socket, b"A: b\r\n", GIGABYTES);
    });
    trailers.check(Err(FailureKind::TrailersTooLong));
    Hostile::say(chunked("FFFFFFFFFFFFFFFF\r\nhello")).check(Err(FailureKind::ClosedInReply));
    Hostile::say(chunked("5;a=\"b\"\r\nhello\n0\r\nA: b\r\n\r\n")).check(Ok(b"hello"));
}

#[test]
fn a_byte_at_a_time_ends_by_the_total_and_silence_by_the_read_limit() {
    let drip = || {
        Hostile::serve(|socket| {
            reply(socket, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
            while socket.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(10));
            }
        })
    };
    let total = Some(Duration::from_millis(200));
    let read = Some(Duration::from_millis(100));
    let limits = Timeouts { total, sock_read: read, ..Timeouts::default() };
    drip().check_within(limits, Err(FailureKind::TotalTimeout));
    let head = Hostile::serve(|socket| {
        for byte in "HTTP/1.1 200 OK\r\n".bytes().chain(std::iter::repeat(b'a')) {
            if socket.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    });
    head.check_within(limits, Err(FailureKind::TotalTimeout));
    let silent = Hostile::serve(|socket| {
        reply(socket, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        wait_for_close(socket);
    });
    silent.check_within(Timeouts { sock_read: read, ..Timeouts::default() }, Err(FailureKind::ReadTimeout));
}

#[test]
fn a_body_that_is_wanted_whole_is_bounded_and_its_memory_given_back() {
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&taken);
    let server = Hostile::serve(move |socket| {
        reply(socket, ENDLESS);
        counted.fetch_add(flood(socket, &vec![0; 64 * 1024], GIGABYTES), Ordering::SeqCst);
    });
    let bench = Bench::new();
    let id = bench.start(server.bad(&bench));
    bench.wait(id, Wake::Body);
    let failure = bench.engine.lock().failure(id).unwrap().clone();
    assert_eq!(failure.kind, FailureKind::BodyTooLong);
    assert!(failure.to_string().contains("64 MiB"), "{failure}");
    assert_eq!(bench.engine.lock().calls[id].body.capacity(), 0);
    bench.engine.lock().leave(id, Leave::Block(Verdict::ByStatus));
    bench.engine.lock().release(id);
    server.is_good(&bench);
    let until = Instant::now() + Duration::from_secs(10);
    while taken.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < until, "the server is let go of");
        thread::yield_now();
    }
    let most = 2 * MAX_BODY as u64;
    assert!(taken.load(Ordering::SeqCst) < most, "the rest stays with the server");
}

#[test]
fn an_endless_body_that_nobody_reads_stays_with_the_server() {
    let server = Hostile::serve(|socket| {
        reply(socket, ENDLESS);
        flood(socket, &vec![0; 64 * 1024], GIGABYTES);
    });
    let bench = Bench::new();
    let id = bench.start(server.bad(&bench));
    bench.wait(id, Wake::Head);
    while !bench.engine.lock().calls[id].paused {
        bench.drive_once(&mut Vec::new());
    }
    assert!(bench.engine.lock().calls[id].body.len() < 400_000);
    let record = bench.engine.lock().leave(id, Leave::Block(Verdict::ByStatus)).expect("it is cut here");
    assert_eq!(record.error, None);
    bench.engine.lock().release(id);
    server.is_good(&bench);
    assert_eq!((bench.total().truncated, bench.total().failures), (1, 0));
}

#[test]
fn a_flood_delays_neither_its_own_deadline_nor_another_call() {
    // Sixteen thousand bytes on the wire for each of the body: it never becomes too long, and never ends.
    let chunk = format!("1;{}\r\nx\r\n", "a".repeat(16_000));
    let server = Hostile::serve(move |socket| {
        reply(socket, &chunked(""));
        flood(socket, chunk.as_bytes(), GIGABYTES);
    });
    let bench = Bench::new();
    let timeouts = Timeouts { total: Some(Duration::from_millis(500)), ..Timeouts::default() };
    let started = Instant::now();
    let id = bench.start(Request { timeouts, ..server.bad(&bench) });
    bench.wait(id, Wake::Head);
    assert!(!bench.engine.lock().wait(id, Wake::Body));
    server.is_good(&bench);
    assert!(bench.engine.lock().failure(id).is_none(), "the other call was answered meanwhile");
    bench.wait(id, Wake::Body);
    assert_eq!(bench.engine.lock().failure(id).unwrap().kind, FailureKind::TotalTimeout);
    assert!(started.elapsed() < Duration::from_secs(5));
}
