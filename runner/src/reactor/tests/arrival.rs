//! What counts as sent where no reply says that the request has arrived.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use bytes::Bytes;

use super::super::{Abort, CallId, tls};
use super::tls::serve_tls;
use super::{Bench, OK, read_request, reply, serve};
use crate::reactor::request::Request;

/// Starts a call and cuts it off before anything more is done for it.
fn start_and_cut(bench: &Bench, request: Request) {
    let id = bench.start(request);
    bench.engine.lock().abort(id, Abort::Cancelled);
    bench.engine.lock().release(id);
}

/// What was counted as sent, in the rows and in the total, once all is known.
fn sent(bench: &Bench) -> (u64, u64) {
    bench.engine.settle();
    (bench.total().sent, bench.engine.sent_total())
}

/// Reads heads until the end; how many came.
fn count_heads(mut socket: impl Read) -> usize {
    let mut all = Vec::new();
    // A reset ends it as a close does.
    let _ = socket.read_to_end(&mut all);
    all.windows(4).filter(|end| end == b"\r\n\r\n").count()
}

/// A server that answers the first request and counts the others, with where it tells how many there were.
fn serve_first() -> (String, Receiver<usize>) {
    let (told, counts) = mpsc::channel();
    let url = serve(move |_, mut socket| {
        read_request(&mut socket);
        reply(&mut socket, OK);
        let _ = told.send(count_heads(socket));
    });
    (url, counts)
}

#[test]
fn a_request_cut_off_right_behind_its_last_byte_is_sent() {
    for _ in 0..20 {
        let (url, counts) = serve_first();
        let bench = Bench::new();
        bench.call(bench.request("GET", &url));
        start_and_cut(&bench, bench.request("GET", &url));
        assert_eq!(counts.recv().unwrap(), 1);
        assert_eq!(sent(&bench), (2, 2));
        assert_eq!((bench.total().requests, bench.total().failures), (2, 1));
    }
}

#[test]
fn a_request_cut_off_on_a_connection_that_the_server_has_closed_is_not_sent() {
    let (close, closing) = mpsc::channel::<()>();
    let closing = std::sync::Mutex::new(closing);
    let (told, closed) = mpsc::channel();
    let url = serve(move |_, mut socket| {
        read_request(&mut socket);
        reply(&mut socket, OK);
        closing.lock().unwrap().recv().unwrap();
        drop(socket);
        told.send(()).unwrap();
    });
    let bench = Bench::new();
    bench.call(bench.request("GET", &url));
    close.send(()).unwrap();
    closed.recv().unwrap();
    // The reactor is not driven in between: it cannot know yet.
    start_and_cut(&bench, bench.request("GET", &url));
    assert_eq!(sent(&bench), (1, 1));
}

#[test]
fn an_upload_cut_in_its_body_is_sent_and_the_server_sees_its_end() {
    let (told, counts) = mpsc::channel();
    let url = serve(move |_, socket| told.send(count_heads(socket)).unwrap());
    let bench = Bench::new();
    let id =
        bench.start(Request { body: Bytes::from(vec![b'x'; 30_000_000]), ..bench.request("POST", &url) });
    until_sent(&bench, 1);
    bench.engine.lock().abort(id, Abort::Stopped);
    assert_eq!(counts.recv().unwrap(), 1);
    assert_eq!(sent(&bench), (1, 1));
    assert_eq!((bench.total().requests, bench.total().aborted), (0, 1));
}

fn until_sent(bench: &Bench, count: u64) {
    while bench.engine.sent_total() < count {
        bench.drive_once(&mut Vec::new());
    }
}

#[test]
fn a_reply_before_the_end_of_an_upload_belongs_to_a_request_that_was_sent() {
    let url = serve(|_, mut socket| {
        let _ = socket.read(&mut [0; 1000]).unwrap();
        reply(&mut socket, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
        socket.shutdown(Shutdown::Write).unwrap();
        count_heads(socket);
    });
    let bench = Bench::new();
    let body = Bytes::from(vec![b'x'; 30_000_000]);
    let (status, _, _) = bench.call(Request { body, ..bench.request("POST", &url) });
    assert_eq!(status, Some(413));
    assert_eq!(sent(&bench), (1, 1));
}

#[test]
fn a_call_whose_time_is_over_was_sent_if_its_server_only_never_replied() {
    let url = serve(|_, socket| {
        count_heads(socket);
    });
    let bench = Bench::new();
    let mut request = bench.request("GET", &url);
    request.timeouts.total = Some(Duration::from_millis(30));
    assert!(bench.call(request).2.unwrap().contains("timeout"));
    assert_eq!(sent(&bench), (1, 1));
}

#[test]
fn a_request_cut_off_over_tls_is_sent_once_the_record_with_its_head_has_arrived() {
    let (told, counts) = mpsc::channel();
    let (url, roots) = serve_tls(move |mut stream| {
        let mut heads = 0;
        let mut all = Vec::new();
        let mut buffer = vec![0; 100_000];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if heads < 2 {
                all.extend_from_slice(&buffer[..count]);
                let now = all.windows(4).filter(|end| end == b"\r\n\r\n").count();
                if heads == 0 && now == 1 {
                    stream.write_all(OK.as_bytes()).unwrap();
                }
                heads = now;
            }
        }
        told.send(heads).unwrap();
    });
    for body in [0, 30_000_000] {
        let bench = Bench::new();
        bench.engine.lock().tls = Some(tls::with_roots(roots.clone()).unwrap());
        bench.call(bench.request("GET", &url));
        let id: CallId =
            bench.start(Request { body: Bytes::from(vec![b'x'; body]), ..bench.request("POST", &url) });
        bench.engine.lock().abort(id, Abort::Cancelled);
        assert_eq!(counts.recv().unwrap(), 2);
        assert_eq!(sent(&bench), (2, 2), "with a body of {body} bytes");
    }
}

#[test]
fn a_connection_in_doubt_is_forgotten_once_it_is_known() {
    let (url, _counts) = serve_first();
    let bench = Bench::new();
    bench.call(bench.request("GET", &url));
    start_and_cut(&bench, bench.request("GET", &url));
    // Nothing but driving: the timer brings the next look.
    let mut ready = Vec::new();
    while bench.engine.lock().doubts.look_at().is_some() {
        bench.drive_once(&mut ready);
    }
    assert_eq!(bench.total().sent, 2);
}
