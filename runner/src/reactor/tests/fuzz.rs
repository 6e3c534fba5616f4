//! Replies of mutated bytes, in any pieces: to the parser alone, and over real sockets to the whole reactor, which must
//! make the same of them. An input that failed once stays in the corpus.

use std::sync::Mutex;

use bytes::BytesMut;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;

use super::*;
use crate::fuzz::{Printed, hold, mutated};
use crate::reactor::failure::Failure;
use crate::reactor::http1::{self, Body};
use crate::reactor::jar::{Jar, MAX_COOKIE_BYTES, MAX_COOKIES};
use crate::reactor::request::{Target, TargetError};

const REPLIES: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nDate: Wed, 25 Nov 2026 10:00:00 GMT\r\nContent-Type: text/html\r\nContent-Length: 12\r\nConnection: keep-alive\r\n\r\n<p>hello</p>",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: z\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the close",
    b"HTTP/1.1 200 OK\r\nX-A: over\r\n two lines\r\nContent-Length:\r\n\t5\r\n\r\nhello",
    b"HTTP/1.1 302 Found\r\nLocation: /elsewhere?a=b#c\r\nSet-Cookie: a=b; Path=/; HttpOnly\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbye",
    b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 99\r\n\r\n",
    b"HTTP/1.1 503 \xe4\xf6\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusyHTTP/1.1 200 OK\r\n\r\n",
    b"\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
];

const TOKENS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b" ",
    b":",
    b";",
    b",",
    b"0",
    b"0\r\n\r\n",
    b"-1",
    b"FFFFFFFFFFFFFFFF",
    b"18446744073709551615",
    b"HTTP/1.1 ",
    b"HTTP/1.0 ",
    b"HTTP/2 ",
    b"\r\nContent-Length: 3",
    b"\r\nContent-Length: 0",
    b"\r\nTransfer-Encoding: chunked",
    b"\r\nTransfer-Encoding: gzip",
    b"\r\nConnection: close",
    b"chunked",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"101",
    b"204",
    b"\r\nSet-Cookie: a=b",
    b"\r\nLocation: http://",
];

/// What bytes that end with the connection are, read in these pieces: status, body and how it failed.
fn read(pieces: &[&[u8]]) -> (Option<u16>, Vec<u8>, Option<FailureKind>) {
    let method = Arc::from("GET");
    let target = Arc::new(Target::parse("http://h/").unwrap());
    let mut input = Vec::new();
    let mut interim = 0;
    let mut reply: Option<(u16, Body)> = None;
    let mut out = BytesMut::new();
    let failed = |status, out: &BytesMut, failure: Failure| (status, out.to_vec(), Some(failure.kind));
    for piece in pieces {
        let known = input.len();
        input.extend_from_slice(piece);
        let looked_at = known == 0 || http1::may_say_more(&input, known);
        while reply.is_none() && looked_at {
            match http1::parse_head(&input, &method, &target) {
                Ok(Some(parsed)) => {
                    input.drain(..parsed.length);
                    match parsed.head.status {
                        101 => return (None, Vec::new(), Some(FailureKind::ProtocolSwitched)),
                        100..200 if interim == 32 => {
                            return (None, Vec::new(), Some(FailureKind::TooManyInterim));
                        }
                        100..200 => interim += 1,
                        status => reply = Some((status, Body::new(parsed.framing))),
                    }
                }
                Ok(None) => break,
                Err(failure) => return failed(None, &out, failure),
            }
        }
        if let Some((status, body)) = &mut reply {
            match body.feed(&input, &mut out) {
                Ok(used) => drop(input.drain(..used)),
                Err(failure) => return failed(Some(*status), &out, failure),
            }
            if body.ended() {
                return (Some(*status), out.to_vec(), None);
            }
        }
    }
    let begun = pieces.iter().any(|piece| !piece.is_empty());
    match reply {
        Some((status, body)) if body.may_end_with_connection() => (Some(status), out.to_vec(), None),
        Some((status, _)) => (Some(status), out.to_vec(), Some(FailureKind::ClosedInReply)),
        None => match http1::parse_head(&input, &method, &target) {
            Err(failure) => failed(None, &out, failure),
            Ok(_) if begun => (None, Vec::new(), Some(FailureKind::ClosedInReply)),
            Ok(_) => (None, Vec::new(), Some(FailureKind::ClosedBeforeReply)),
        },
    }
}

/// The bytes in pieces, cut at these places.
fn cut<'a>(data: &'a [u8], places: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(data.len() + 1)).collect();
    places.extend([0, data.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &data[pair[0]..pair[1]]).collect()
}

fn replies_and_cuts() -> impl Strategy<Value = (Printed, Vec<Index>)> {
    (mutated(REPLIES, TOKENS), prop::collection::vec(any::<Index>(), 0..8))
}

#[test]
fn a_reply_is_the_same_in_however_many_pieces_it_comes() {
    hold(&replies_and_cuts(), |(Printed(data), cuts)| {
        let whole = read(&[&data]);
        prop_assert_eq!(&read(&cut(&data, &cuts)), &whole);
        if data.len() < 4_000 {
            let bytes: Vec<&[u8]> = data.chunks(1).collect();
            prop_assert_eq!(&read(&bytes), &whole);
        }
        Ok(())
    });
}

#[test]
fn a_head_that_comes_byte_by_byte_is_looked_at_a_bounded_number_of_times() {
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    for _ in 0..100 {
        head.extend_from_slice(b"Name: ");
        head.resize(head.len() + 500, b'v');
        head.extend_from_slice(b"\r\n");
    }
    let looks = (1..=head.len()).filter(|end| http1::may_say_more(&head[..*end], end - 1)).count();
    assert!(looks < 500, "{looks} of {}", head.len());
}

/// What a server replies with, piece by piece; changed for each call.
type Given = Arc<Mutex<Vec<Vec<u8>>>>;

/// A server that answers every request with the pieces it was last given, and closes.
fn serve_given() -> (String, Given, Arc<AtomicU32>) {
    let given = Arc::new(Mutex::new(Vec::new()));
    let requests = Arc::new(AtomicU32::new(0));
    let (pieces, count) = (Arc::clone(&given), Arc::clone(&requests));
    let url = serve(move |_, mut socket| {
        socket.set_nodelay(true).unwrap();
        if read_request(&mut socket).is_empty() {
            return;
        }
        count.fetch_add(1, Ordering::SeqCst);
        let pieces: Vec<Vec<u8>> = pieces.lock().unwrap().clone();
        for piece in pieces {
            // The client may have heard enough.
            if socket.write_all(&piece).is_err() {
                return;
            }
            thread::yield_now();
        }
    });
    (url, given, requests)
}

#[test]
fn the_reactor_makes_of_a_reply_what_the_parser_does() {
    let (url, given, requests) = serve_given();
    let bench = Bench::new();
    hold(&replies_and_cuts(), |(Printed(data), cuts)| {
        let pieces = cut(&data, &cuts);
        *given.lock().unwrap() = pieces.iter().map(|piece| piece.to_vec()).collect();
        let (sent, seen) = (bench.engine.sent_total(), requests.load(Ordering::SeqCst));
        let request = Request { redirects: 0, read_ahead: 1 << 30, ..bench.request("POST", &url) };
        let (status, body, error) = bench.call(request);
        let expected = read(&[&data]);
        let label = expected.2.map(|kind| kind.label().to_owned());
        let by_status = status.filter(|status| 400 <= *status).map(|status| status.to_string());
        match (&label, &by_status, &error) {
            (Some(label), _, Some(error)) => prop_assert_eq!(label, error),
            (None, Some(status), Some(error)) => prop_assert!(error.starts_with(status), "{}", error),
            (None, None, None) => {}
            _ => return Err(TestCaseError::fail(format!("{label:?} {by_status:?} {error:?}"))),
        }
        prop_assert_eq!(status, expected.0);
        if label.is_none() {
            prop_assert_eq!(body, expected.1);
        }
        prop_assert_eq!(bench.engine.sent_total() - sent, 1);
        prop_assert_eq!(requests.load(Ordering::SeqCst) - seen, 1);
        let mut reactor = bench.engine.lock();
        prop_assert_eq!(reactor.calls.len(), 0);
        let idle: Vec<_> = reactor.connections.keys().collect();
        prop_assert!(idle.len() <= 1);
        // Whatever is left would be the next call's; each shall begin anew.
        for id in idle {
            reactor.close_idle(id);
        }
        Ok(())
    });
}

#[test]
fn redirects_and_cookies_of_any_bytes_end_in_one_record() {
    let (url, given, requests) = serve_given();
    let here = Target::parse(&url).unwrap();
    let bench = Bench::new();
    hold(&mutated(REPLIES, TOKENS), |Printed(data)| {
        // Names that the bytes make up are not to be looked up: that would load somebody's resolver.
        let leads_away = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_default();
            name.eq_ignore_ascii_case("location")
                && here.join(value).is_ok_and(|there| there.authority != here.authority)
        };
        if String::from_utf8_lossy(&data).split(['\n', '\r']).any(leads_away) {
            return Ok(());
        }
        *given.lock().unwrap() = vec![data];
        let before = bench.total();
        bench.call(Request { redirects: 2, ..bench.request("GET", &url) });
        let after = bench.total();
        prop_assert_eq!(after.requests - before.requests, 1);
        // One that lay unread in the server's kernel when it closed has been sent, and is tried again.
        let seen = u64::from(requests.load(Ordering::SeqCst));
        prop_assert!(after.sent - after.retried <= seen && seen <= after.sent, "{} and {seen}", after.sent);
        prop_assert_eq!(bench.engine.lock().calls.len(), 0);
        Ok(())
    });
    assert!(bench.engine.lock().cookies(bench.session, &here).len() <= MAX_COOKIES);
}

const LOCATIONS: &[&[u8]] = &[
    b"/path?query#fragment",
    b"//host/p",
    b"http://user:word@host:81/p?q",
    b"https://[::1]:443/",
    b"../..",
    b"HTTP://EXAMPLE.org",
    b"?q=1",
    b"#f",
    b"http://xn--fa-hia.de/",
    "http://\u{fc}ber.example/\u{e4}".as_bytes(),
];
const URL_TOKENS: &[&[u8]] = &[
    b"://",
    b"//",
    b"..",
    b"\\",
    b"@",
    b":",
    b"[",
    b"]",
    b"%",
    b"%0d%0a",
    b"%2f",
    b"\t",
    b" ",
    b"\xc3\xa9",
    b"?",
    b"#",
    b":99999",
    b"file:",
    b"http:",
];

#[test]
fn a_place_of_any_bytes_adds_no_line_to_a_request() {
    let base = Target::parse("http://base.example/a/b?c").unwrap();
    hold(&mutated(LOCATIONS, URL_TOKENS), |Printed(data)| {
        let place = String::from_utf8_lossy(&data);
        match base.join(&place) {
            Ok(target) => {
                let plain = |text: &str| text.bytes().all(|b| (0x21..0x7f).contains(&b));
                prop_assert!(plain(&target.path_and_query) && plain(&target.host_header), "{target:?}");
                prop_assert!(target.path_and_query.starts_with('/'));
                prop_assert!(["http", "https"].contains(&target.url.scheme()));
                prop_assert!(target.url.fragment().is_none() && !target.authority.host.is_empty());
            }
            Err(TargetError::Unparsable { .. } | TargetError::Scheme { .. } | TargetError::NoHost { .. }) => {
            }
        }
        Ok(())
    });
}

const COOKIES: &[&[u8]] = &[
    b"a=b",
    b"session=0123456789; Path=/; HttpOnly; Secure; SameSite=Lax",
    b"n=\"v\"; Max-Age=60; Domain=base.example",
    b"gone=; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    b"p=q; Path=/deep/er; Max-Age=0",
    b"=x",
    b"x",
    b";;;",
];
const COOKIE_TOKENS: &[&[u8]] = &[
    b"; ",
    b"=",
    b"\"",
    b"Path=",
    b"Domain=",
    b"Domain=.example",
    b"Max-Age=-1",
    b"Max-Age=9999999999999999999999",
    b"Expires=Fri, 31 Dec 9999 23:59:59 GMT",
    b"Expires=0",
    b"\xc3\xa9",
    b"\t",
    b"Secure",
];

#[test]
fn a_jar_is_bounded_whatever_it_is_given() {
    let target = Arc::new(Target::parse("http://base.example/deep/er/x").unwrap());
    let jar = std::cell::RefCell::new(Jar::default());
    hold(&mutated(COOKIES, COOKIE_TOKENS), |Printed(data)| {
        let mut jar = jar.borrow_mut();
        jar.set(&target, &String::from_utf8_lossy(&data));
        let kept: Vec<(&str, &str)> = jar.cookies(&target).collect();
        prop_assert!(kept.len() <= MAX_COOKIES);
        prop_assert!(
            kept.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= MAX_COOKIE_BYTES
        );
        let header = jar.header(&target, Instant::now());
        prop_assert!(!header.contains(['\r', '\n', '\0']), "a line of its own");
        Ok(())
    });
}
