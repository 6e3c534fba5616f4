//! Servers that refuse, fall silent, reset, and close one half or both.

use std::net::Shutdown;
use std::os::fd::OwnedFd;

use super::*;

fn soon() -> Timeouts {
    Timeouts { total: Some(Duration::from_millis(150)), ..Timeouts::default() }
}

/// A listener that completes no more handshakes: its backlog is full. It lasts as long as what is returned.
fn blackhole() -> (String, Vec<OwnedFd>) {
    use rustix::net::{
        AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with,
    };
    let socket = |flags| socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    let listener = socket(SocketFlags::CLOEXEC);
    bind(&listener, &"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap()).unwrap();
    listen(&listener, 0).unwrap();
    let address: std::net::SocketAddr = getsockname(&listener).unwrap().try_into().unwrap();
    let mut held = vec![listener];
    for _ in 0..4 {
        let filler = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
        let _ = connect(&filler, &address);
        held.push(filler);
    }
    thread::sleep(Duration::from_millis(30));
    (format!("http://{address}/"), held)
}

#[test]
fn a_host_that_answers_no_handshake_ends_by_each_limit() {
    let (url, _held) = blackhole();
    let limit = Some(Duration::from_millis(100));
    let none = Timeouts { total: None, connect: None, sock_read: None, sock_connect: None };
    for (timeouts, kind) in [
        (Timeouts { connect: limit, ..none }, FailureKind::ConnectTimeout),
        (Timeouts { sock_connect: limit, ..none }, FailureKind::ConnectTimeout),
        (Timeouts { total: limit, ..none }, FailureKind::TotalTimeout),
    ] {
        let bench = Bench::new();
        let started = Instant::now();
        let (_, _, error) = bench.call(Request { timeouts, ..bench.request("GET", &url) });
        assert_eq!(error.as_deref(), Some(kind.label()));
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!((bench.total().sent, bench.engine.lock().connections.len()), (0, 0));
    }
}

#[test]
fn a_port_that_nobody_listens_on_refuses_every_time() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bench = Bench::new();
    for _ in 0..50 {
        let (_, _, error) = bench.call(bench.request("GET", &format!("http://{closed}/")));
        assert_eq!(error.as_deref(), Some("connection refused"));
    }
    let total = bench.total();
    assert_eq!(total.errors().collect::<Vec<_>>(), [("connection refused", 50)], "one label, no port in it");
    assert_eq!((total.sent, total.generator_faults), (0, 0));
}

#[test]
fn a_server_that_accepts_and_never_answers_ends_by_the_limits() {
    let silent = || Hostile::serve(wait_for_close);
    silent().check_within(soon(), Err(FailureKind::TotalTimeout));
    let read = Timeouts { sock_read: Some(Duration::from_millis(80)), ..Timeouts::default() };
    silent().check_within(read, Err(FailureKind::ReadTimeout));
}

#[test]
fn a_reset_before_the_reply_and_one_in_it_are_kinds_of_their_own() {
    Hostile::serve(|socket| reset(socket)).check(Err(FailureKind::ResetBeforeReply));
    for begun in ["HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"] {
        let server = Hostile::serve(move |socket| {
            reply(socket, begun);
            // What was said must have been read, or the reset takes it away.
            thread::sleep(Duration::from_millis(30));
            reset(socket);
        });
        server.check(Err(FailureKind::ResetInReply));
    }
}

#[test]
fn a_server_that_closes_its_sending_side_first_has_closed() {
    let server = Hostile::serve(|socket| {
        socket.shutdown(Shutdown::Write).unwrap();
        wait_for_close(socket);
    });
    server.check(Err(FailureKind::ClosedBeforeReply));
    let halfway = Hostile::serve(|socket| {
        reply(socket, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        socket.shutdown(Shutdown::Write).unwrap();
        wait_for_close(socket);
    });
    halfway.check(Err(FailureKind::ClosedInReply));
}

#[test]
fn a_server_that_stops_reading_still_replies() {
    let server = Hostile::serve(|socket| {
        socket.shutdown(Shutdown::Read).unwrap();
        reply(socket, OK);
    });
    server.check(Ok(b"ok"));
}

#[test]
fn a_server_that_closes_after_each_reply_loses_nobody_a_request() {
    for said in ["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", OK] {
        Hostile::say(said).check(Ok(b"ok"));
    }
    Hostile::say("HTTP/1.1 200 OK\r\n\r\nuntil the close").check(Ok(b"until the close"));
}

#[test]
fn a_stale_connection_is_tried_again_on_a_fresh_one_at_every_hop() {
    // Each reply is the last one of its connection, though none says so.
    let server = Hostile::serve(|socket| {
        reply(socket, "HTTP/1.1 302 Found\r\nLocation: /bad\r\nContent-Length: 0\r\n\r\n");
    });
    server.check(Err(FailureKind::TooManyRedirects));
    let url = serve(|_, mut socket| {
        read_request(&mut socket);
        thread::sleep(Duration::from_millis(50));
        reply(&mut socket, OK);
    });
    let bench = Bench::new();
    let several: Vec<CallId> = (0..4).map(|_| bench.start(bench.request("GET", &url))).collect();
    for id in several {
        bench.wait(id, Wake::Body);
    }
    // All four idle connections are closed by now, and nobody has looked at them.
    thread::sleep(Duration::from_millis(30));
    assert_eq!(bench.call(bench.request("GET", &url)).2, None);
}

#[test]
fn a_reply_before_the_whole_request_is_a_reply() {
    let url = serve(|_, mut socket| {
        let _ = socket.read(&mut [0; 1000]);
        reply(&mut socket, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
        wait_for_close(&mut socket);
    });
    let bench = Bench::new();
    let mut request = bench.request("POST", &url);
    request.body = Bytes::from(vec![0; 20_000_000]);
    let (status, body, error) = bench.call(request);
    assert_eq!((status, &body[..]), (Some(413), &b"no"[..]));
    assert_eq!(error.as_deref(), Some("413 Content Too Large"));
    assert_eq!(
        bench.engine.lock().connections.len(),
        0,
        "a request cut in its middle leaves no usable connection"
    );
}

#[test]
fn a_server_that_takes_no_byte_of_a_long_request_ends_by_the_total() {
    let url = serve(|_, socket| {
        thread::sleep(Duration::from_secs(2));
        drop(socket);
    });
    let bench = Bench::new();
    let mut request = bench.request("POST", &url);
    request.body = Bytes::from(vec![0; 20_000_000]);
    request.timeouts = soon();
    assert_eq!(bench.call(request).2.as_deref(), Some(FailureKind::TotalTimeout.label()));
    assert_eq!(bench.total().sent, 1, "the server has its head");
}

#[test]
fn what_comes_behind_a_reply_costs_its_connection_and_no_call() {
    Hostile::say(OK.to_owned() + "and more").check(Ok(b"ok"));
    Hostile::say(OK.to_owned() + OK).check(Ok(b"ok"));
    Hostile::say("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello").check(Ok(b""));
    let late = Hostile::serve(|socket| {
        reply(socket, OK);
        thread::sleep(Duration::from_millis(30));
        reply(socket, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong");
        wait_for_close(socket);
    });
    let bench = Bench::new();
    assert_eq!(bench.call(late.bad(&bench)).1, b"ok");
    thread::sleep(Duration::from_millis(100));
    for _ in 0..3 {
        bench.drive_once(&mut Vec::new());
    }
    late.is_good(&bench);
}
