//! Servers of HTTP/2 that say anything at all: no panic, no hang, one record, and memory that is bounded.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::fuzz::{Printed, hold, mutated};
use crate::reactor::request::{Request, Timeouts};
use crate::reactor::tests::{Bench, serve};

/// What a real server says to the first request: a reply, interim ones and trailers, a redirect and a goodbye, a refusal,
/// and a goodbye to all.
const CONNECTIONS: &[&[u8]] = &[
    b"\0\0*\x04\0\0\0\0\0\0\x01\0\0\x10\0\0\x02\0\0\0\0\0\x04\0\0\xff\xff\0\x05\0\0@\0\0\x08\0\0\0\0\0\x03\0\0\0d\0\x06\0\x01\0\0\0\0\0\x04\x01\0\0\0\0\0\0\x0d\x01\x04\0\0\0\x01\x88\x5c\x81o_\x87I|\xa5\x89\xd3M\x1f\0\0\x05\0\x01\0\0\0\x01hello",
    b"\0\0*\x04\0\0\0\0\0\0\x01\0\0\x10\0\0\x02\0\0\0\0\0\x04\0\0\xff\xff\0\x05\0\0@\0\0\x08\0\0\0\0\0\x03\0\0\0d\0\x06\0\x01\0\0\0\0\0\x04\x01\0\0\0\0\0\0\x0b\x01\x04\0\0\0\x01H\x82\x08\x19m\x85\xff\xf8\xc0\xff\xef\0\0\x02\x01\x04\0\0\0\x01\xbf\xbe\0\0\x08\x06\0\0\0\0\x0012345678\0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x04\0\0\0\0\0\x01some\0\0\x04\0\x08\0\0\0\x01\x03\0\0\0\0\0\x0b\x01\x05\0\0\0\x01@\x87\xf2\xb2l\x19\xa8-\x9f\x81O",
    b"\0\0*\x04\0\0\0\0\0\0\x01\0\0\x10\0\0\x02\0\0\0\0\0\x04\0\0\xff\xff\0\x05\0\0@\0\0\x08\0\0\0\0\0\x03\0\0\0d\0\x06\0\x01\0\0\0\0\0\x04\x01\0\0\0\0\0\0\x12\x01\x05\0\0\0\x01H\x82d\x02n\x87`\xb4 \xbe'-\x85w\x83\x1c\x11\xff\0\0\x08\x07\0\0\0\0\0\0\0\0\x01\0\0\0\0",
    b"\0\0*\x04\0\0\0\0\0\0\x01\0\0\x10\0\0\x02\0\0\0\0\0\x04\0\0\xff\xff\0\x05\0\0@\0\0\x08\0\0\0\0\0\x03\0\0\0d\0\x06\0\x01\0\0\0\0\0\x04\x01\0\0\0\0\0\0\x04\x03\0\0\0\0\x01\0\0\0\x07",
    b"\0\0*\x04\0\0\0\0\0\0\x01\0\0\x10\0\0\x02\0\0\0\0\0\x04\0\0\xff\xff\0\x05\0\0@\0\0\x08\0\0\0\0\0\x03\0\0\0d\0\x06\0\x01\0\0\0\0\0\x04\x01\0\0\0\0\0\0\x12\x04\0\0\0\0\0\0\x04\0\0\0\0\0\x03\0\0\0\0\0\x01\0\0\0\0\0\0\x04\x08\0\0\0\0\0\0\0\x03\xe8\0\0\x04\x08\0\0\0\0\x01\0\0\0c\0\0\x0c\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0bcalm",
];

/// Whole frames, heads of frames, and what header fields are made of.
const TOKENS: &[&[u8]] = &[
    b"\0\0\x04\x08\0\0\0\0\0\x7f\xff\xff\xff",
    b"\0\0\x04\x08\0\0\0\0\x01\x7f\xff\xff\xff",
    b"\0\0\x08\x06\0\0\0\0\0pingpong",
    b"\0\0\0\x04\0\0\0\0\0",
    b"\0\0\x06\x04\0\0\0\0\0\0\x04\xff\xff\xff\xff",
    b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\0",
    b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08",
    b"\0\0\x08\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\0",
    b"\0\0\x01\x01\x04\0\0\0\x01\x88",
    b"\0\0\x01\x01\0\0\0\0\x01\x88",
    b"\0\0\x01\x01\x05\0\0\0\x03\x88",
    b"\0\0\0\x09\x04\0\0\0\x01",
    b"\0\0\x05\x02\0\0\0\0\x01\0\0\0\x03\x10",
    b"\0\0\x05\x05\x04\0\0\0\x01\0\0\0\x02\x82",
    b"\0\0\0\0\x01\0\0\0\x01",
    b"\0\0\x03\0\0\0\0\0\x01abc",
    b"\0\0\x02\xee\0\0\0\0\x01ab",
    b"\xff\xff\xff\0\0\0\0\0\x01",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"\x88",
    b"\xbe",
    b"\x3f\xe1\xff\xff\x0f",
    b"\x20",
    b"\x5c\x011",
];

fn pieces(data: &[u8], places: &[Index]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(data.len() + 1)).collect();
    places.extend([0, data.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| data[pair[0]..pair[1]].to_vec()).collect()
}

#[test]
fn whatever_a_server_says_a_call_ends_in_one_record_and_leaves_nothing_behind() {
    let given: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let said = Arc::clone(&given);
    let url = serve(move |_, mut socket| {
        socket.set_nodelay(true).unwrap();
        // The preface, the settings, the window and the request come in one write.
        let mut buffer = [0; 4096];
        if socket.read(&mut buffer).unwrap_or(0) == 0 {
            return;
        }
        let pieces = said.lock().unwrap().clone();
        for piece in pieces {
            if socket.write_all(&piece).is_err() {
                return;
            }
            std::thread::yield_now();
        }
        let _ = socket.shutdown(Shutdown::Write);
        while socket.read(&mut buffer).is_ok_and(|count| 0 < count) {}
    });
    let bench = Bench::new();
    bench.engine.lock().speak_http2(bench.session, Http2::PriorKnowledge);
    let inputs = (mutated(CONNECTIONS, TOKENS), prop::collection::vec(any::<Index>(), 0..8));
    hold(&inputs, |(Printed(data), cuts)| {
        *given.lock().unwrap() = pieces(&data, &cuts);
        let before = bench.total();
        let timeouts = Timeouts { total: Some(Duration::from_secs(10)), ..Timeouts::default() };
        let body = Bytes::from_static(b"some body");
        let (status, _, error) =
            bench.call(Request { redirects: 0, timeouts, body, ..bench.request("POST", &url) });
        prop_assert!(status.is_some() || error.is_some());
        prop_assert!(!error.is_some_and(|error| error.starts_with("timeout")), "it hangs");
        let after = bench.total();
        prop_assert_eq!(after.requests - before.requests, 1);
        prop_assert!(after.sent - before.sent <= 1 + after.retried - before.retried);
        let mut reactor = bench.engine.lock();
        prop_assert_eq!(reactor.calls.len(), 0);
        // An idle one has not heard of the close yet, and a refused call is made on others, five at most.
        let left: Vec<_> = reactor.connections.keys().collect();
        prop_assert!(left.len() <= 6);
        prop_assert!(
            left.iter().all(|id| reactor.connections[*id].http2.as_ref().is_some_and(|h| h.calls.is_empty()))
        );
        for id in left {
            reactor.close_idle(id);
        }
        Ok(())
    });
}

/// A session with one stream of a request for nothing in particular; what it has written so far is taken.
fn begun() -> Session {
    let mut session = Session::new().unwrap();
    assert!(session.poll().is_none());
    let taken = session.wire.lock().output.len();
    session.wire.lock().advance(taken);
    session
}

#[test]
fn a_server_that_asks_faster_than_it_listens_is_read_no_further() {
    let mut session = begun();
    session.receive(b"\0\0\0\x04\0\0\0\0\0").unwrap();
    let pings = b"\0\0\x08\x06\0\0\0\0\0pingpong".repeat(7_000);
    for _ in 0..5 {
        session.receive(&pings).unwrap();
        assert!(session.poll().is_none());
        if session.stalled {
            break;
        }
    }
    assert!(session.stalled, "the answers have no place to go");
    let output = session.wire.lock().output.len();
    assert!(output < 512 * 1024, "{output} bytes wait");
    // The reader takes it up again once they have been taken.
    session.wire.lock().advance(output);
    assert!(session.poll().is_none());
    assert!(session.wire.lock().input.len() < pings.len());
}

#[test]
fn what_does_not_begin_with_settings_is_no_http2() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"HTTP",
        b"\0\0\0\x04\x01\0\0\0\0",
        b"\0\0\x01\0\0\0\0\0\x01x",
    ] {
        let failure = begun().receive(bytes).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Http2NotSpoken, "{bytes:?}");
    }
    let mut session = begun();
    for byte in b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x02" {
        assert!(!session.settled);
        assert_eq!(session.room(), 1, "until the server has said how many");
        session.receive(&[*byte]).unwrap();
        assert!(session.poll().is_none());
    }
    assert!(session.settled);
    assert_eq!(session.room(), 2);
}
