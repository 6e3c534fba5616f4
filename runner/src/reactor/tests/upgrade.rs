//! Connections that become something else, and bodies that follow their request: recorded once, held back, and never left open.

use std::sync::mpsc::{Receiver, channel};

use super::*;

const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nhello";

/// Answers 101 and a greeting, then echoes; says when a connection has ended.
fn serve_echo() -> (String, Receiver<()>) {
    let (ended, ends) = channel();
    let url = serve(move |_, mut socket| {
        read_request(&mut socket);
        reply(&mut socket, SWITCHED);
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = socket.read(&mut buffer) {
            let _ = socket.write_all(&buffer[..count]);
        }
        let _ = ended.send(());
    });
    (url, ends)
}

impl Bench {
    fn upgraded(&self, url: &str) -> CallId {
        let id = self.start(Request { upgrade: true, ..self.request("GET", url) });
        self.wait(id, Wake::Head);
        let record = self.engine.lock().accept_upgrade(id).expect("it was answered with 101");
        assert_eq!(record.error, None);
        id
    }

    fn heard(&self, id: CallId, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            self.wait(id, Wake::Chunk);
            let chunk = self.engine.lock().take_chunk(id, count - all.len());
            assert!(!chunk.is_empty(), "it ended after {} bytes", all.len());
            all.extend_from_slice(&chunk);
        }
        all
    }
}

#[test]
fn an_upgraded_connection_is_recorded_at_its_101_and_goes_on() {
    let (url, ends) = serve_echo();
    let bench = Bench::new();
    let id = bench.upgraded(&url);
    assert_eq!(bench.heard(id, 5), b"hello");
    let total = bench.total();
    assert_eq!((total.requests, total.failures, total.sent), (1, 0, 1));
    for word in [&b"ping"[..], &[7; 10_000]] {
        bench.engine.lock().say(id, word).unwrap();
        assert_eq!(bench.heard(id, word.len()), word);
    }
    assert_eq!(bench.engine.lock().heard(id), 5 + 4 + 10_000);
    bench.engine.lock().release(id);
    ends.recv_timeout(Duration::from_secs(5)).expect("its connection is closed with it");
    let total = bench.total();
    assert_eq!((total.requests, total.failures, total.aborted, total.sent), (1, 0, 0, 1));
}

#[test]
fn what_ends_the_load_ends_upgraded_connections() {
    type End = fn(&Bench);
    let ways: [End; 3] = [
        |bench| bench.engine.lock().abort_all(),
        |bench| bench.engine.lock().close_session(bench.session),
        |_| {},
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let (url, ends) = serve_echo();
        let bench = Bench::new();
        let id = bench.upgraded(&url);
        if number == 2 {
            bench.engine.lock().hang_up(id);
        }
        way(&bench);
        ends.recv_timeout(Duration::from_secs(5)).expect("the connection is closed");
        assert!(bench.engine.lock().wait(id, Wake::Chunk), "who waits sees the end");
        assert!(bench.engine.lock().say(id, b"late").is_err());
        bench.engine.lock().release(id);
        assert_eq!((bench.total().requests, bench.total().aborted), (1, 0), "it had been recorded");
    }
}

#[test]
fn a_101_that_is_not_accepted_is_recorded_as_it_was_left() {
    let (url, ends) = serve_echo();
    let bench = Bench::new();
    let id = bench.start(Request { upgrade: true, ..bench.request("GET", &url) });
    bench.wait(id, Wake::Head);
    let verdict = Verdict::Failure("no WebSocket".to_owned());
    let record = bench.engine.lock().leave(id, Leave::Await(verdict)).unwrap();
    assert_eq!(record.error.as_deref(), Some("no WebSocket"));
    ends.recv_timeout(Duration::from_secs(5)).unwrap();
}

#[test]
fn a_server_that_does_not_read_holds_back_who_says_more() {
    let (go, goes) = channel::<()>();
    let goes = std::sync::Mutex::new(goes);
    let url = serve(move |_, mut socket| {
        read_request(&mut socket);
        reply(&mut socket, SWITCHED);
        goes.lock().unwrap().recv().unwrap();
        let mut all = 0;
        let mut buffer = vec![0; 1 << 20];
        while all < 50_000_000 {
            all += socket.read(&mut buffer).unwrap();
        }
        reply(&mut socket, "all of it");
    });
    let bench = Bench::new();
    let id = bench.upgraded(&url);
    assert_eq!(bench.heard(id, 5), b"hello");
    bench.engine.lock().say(id, &vec![1; 50_000_000]).unwrap();
    assert!(!bench.engine.lock().wait(id, Wake::Drained));
    go.send(()).unwrap();
    bench.wait(id, Wake::Drained);
    assert_eq!(bench.heard(id, 9), b"all of it");
}

#[test]
fn a_body_that_follows_is_sent_behind_its_head_and_its_connection_kept() {
    let url = serve(|number, mut socket| {
        while !read_request(&mut socket).is_empty() {
            reply(&mut socket, &format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"));
        }
    });
    let bench = Bench::new();
    for _ in 0..2 {
        let mut headers = HeaderBlock::default();
        headers.push("Content-Length", b"6").unwrap();
        let id =
            bench.start(Request { upload: true, headers: Arc::new(headers), ..bench.request("POST", &url) });
        bench.wait(id, Wake::Drained);
        for piece in [b"abc", b"def"] {
            bench.engine.lock().say(id, piece).unwrap();
            bench.wait(id, Wake::Drained);
        }
        bench.engine.lock().end_upload(id);
        bench.wait(id, Wake::Body);
        assert_eq!(bench.engine.lock().take_body(id), &b"0"[..], "of one connection");
        assert_eq!(bench.engine.lock().leave(id, Leave::Block(Verdict::ByStatus)).unwrap().error, None);
        bench.engine.lock().release(id);
    }
    assert_eq!((bench.total().requests, bench.total().sent), (2, 2));
}
