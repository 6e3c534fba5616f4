//! Requests that are held while the loop resumes a batch: none is lost, none is late by more than it must.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::*;

/// A bench with one open connection to `url`, on which a reply has been read.
fn connected(url: &str) -> Bench {
    let bench = Bench::new();
    assert_eq!(bench.call(bench.request("GET", url)).0, Some(200));
    bench
}

#[test]
fn a_held_request_goes_out_at_the_end_of_the_batch_and_its_time_begins_there() {
    let url = serve_always(OK);
    let bench = connected(&url);
    bench.engine.lock().cork();
    let id = bench.start(bench.request("GET", &url));
    assert_eq!(bench.engine.sent_total(), 1, "it is held");
    thread::sleep(Duration::from_millis(100));
    bench.engine.lock().uncork();
    assert_eq!(bench.engine.sent_total(), 2);
    bench.wait(id, Wake::Body);
    let record = bench.engine.lock().leave(id, Leave::Block(Verdict::ByStatus)).unwrap();
    assert!(record.latency < Duration::from_millis(100), "{:?}", record.latency);
}

#[test]
fn a_batch_that_takes_long_lets_go_of_what_is_held() {
    let url = serve_always(OK);
    let bench = Bench::new();
    let opened = [bench.request("GET", &url), bench.request("GET", &url)].map(|request| bench.start(request));
    for id in opened {
        bench.wait(id, Wake::Body);
        bench.engine.lock().release(id);
    }
    bench.engine.lock().cork();
    bench.start(bench.request("GET", &url));
    thread::sleep(Duration::from_millis(1));
    bench.start(bench.request("GET", &url));
    assert_eq!(bench.engine.sent_total(), 4);
}

#[test]
fn a_request_that_the_loop_left_held_is_written_by_the_stand_in() {
    let url = serve_always(OK);
    let bench = connected(&url);
    bench.engine.lock().cork();
    let id = bench.start(bench.request("GET", &url));
    bench.engine.drive_in_steps();
    assert_eq!(bench.engine.sent_total(), 2);
    bench.wait(id, Wake::Body);
}

#[test]
fn a_call_that_is_cut_while_it_is_held_is_never_sent() {
    let url = serve_always(OK);
    let bench = connected(&url);
    bench.engine.lock().cork();
    let id = bench.start(bench.request("GET", &url));
    bench.engine.lock().abort(id, Abort::Cancelled);
    bench.engine.lock().uncork();
    assert_eq!(bench.engine.sent_total(), 1);
    assert_eq!((bench.total().sent, bench.total().failures), (1, 1));
}

#[test]
fn a_request_whose_connection_closed_while_it_was_held_goes_out_on_another_whatever_its_method() {
    let (close, closing) = channel::<()>();
    let closing = Mutex::new(closing);
    let url = serve(move |number, mut socket| {
        assert!(!read_request(&mut socket).is_empty());
        reply(&mut socket, OK);
        if number == 0 {
            closing.lock().unwrap().recv().unwrap();
        }
    });
    let bench = connected(&url);
    bench.engine.lock().cork();
    let id = bench.start(bench.request("POST", &url));
    close.send(()).unwrap();
    // On its way on another connection, once the close has come.
    while bench.engine.lock().calls[id].exchange.reused {
        bench.drive_once(&mut Vec::new());
    }
    bench.engine.lock().uncork();
    bench.wait(id, Wake::Body);
    let record = bench.engine.lock().leave(id, Leave::Block(Verdict::ByStatus)).unwrap();
    assert_eq!(record.error, None);
    assert_eq!((bench.total().sent, bench.total().retried), (2, 0));
}
