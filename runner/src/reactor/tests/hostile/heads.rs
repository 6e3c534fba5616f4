//! What stands where a reply's head should be.

use super::*;
use crate::reactor::http1::MAX_HEADERS;

#[test]
fn what_does_not_begin_as_a_reply_is_no_http() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"<html>as in HTTP/0.9</html>\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        // The first frame of HTTP/2, unasked.
        b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64",
        b"\xff\xfe\xfd\xfc",
        b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n",
    ] {
        Hostile::say(bytes).check(Err(FailureKind::NoHttp));
    }
}

#[test]
fn a_line_that_is_no_header_is_malformed() {
    for line in ["X y: z", "no colon", "X\0: y", "X: a\0b", ": nameless", "X y: z\r\n folded"] {
        Hostile::say(format!("HTTP/1.1 200 OK\r\nA: b\r\n{line}\r\n\r\n"))
            .check(Err(FailureKind::HeaderMalformed));
    }
    // It goes on from no header.
    Hostile::say("HTTP/1.1 200 OK\r\n folded\r\n\r\n").check(Err(FailureKind::HeaderMalformed));
}

#[test]
fn a_header_over_several_lines_is_one() {
    for folded in ["A: b\r\n c", "A: b\r\n\tc\r\n \r\nX: y"] {
        Hostile::say(format!("HTTP/1.1 200 OK\r\n{folded}\r\nContent-Length: 5\r\n\r\nhello"))
            .check(Ok(b"hello"));
    }
}

#[test]
fn a_head_without_end_is_bounded() {
    let one = Hostile::serve(|socket| {
        reply(socket, "HTTP/1.1 200 OK\r\nX: ");
        flood(socket, &[b'a'; 4096], GIGABYTES);
    });
    one.check(Err(FailureKind::HeadTooLong));
    let many = Hostile::serve(|socket| {
        reply(socket, "HTTP/1.1 200 OK\r\n");
        flood(socket, b"X: y\r\n", GIGABYTES);
    });
    many.check(Err(FailureKind::TooManyHeaders));
}

#[test]
fn a_head_that_is_cut_is_told_from_one_that_is_wrong() {
    Hostile::say("HTTP/1.1 200 OK\r\nX: ").check(Err(FailureKind::ClosedInReply));
    Hostile::say("HTT").check(Err(FailureKind::ClosedInReply));
    Hostile::say("").check(Err(FailureKind::ClosedBeforeReply));
    // Longer than what is looked at byte by byte: the error behind it must not wait for a line's end.
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(500));
    let late = Hostile::serve(move |socket| {
        reply(socket, &long);
        thread::sleep(Duration::from_millis(30));
        let _ = socket.write_all(b"\0");
    });
    late.check(Err(FailureKind::HeaderMalformed));
}

#[test]
fn a_length_that_is_none_is_invalid() {
    for lengths in [&["5", "6"][..], &["-1"], &["+5"], &["18446744073709551616"], &["0x5"], &[""], &["5, 6"]]
    {
        let headers = lengths.join("\r\nContent-Length: ");
        Hostile::say(format!("HTTP/1.1 200 OK\r\nContent-Length: {headers}\r\n\r\nhello"))
            .check(Err(FailureKind::LengthInvalid));
    }
    Hostile::say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello")
        .check(Ok(b"hello"));
    let most = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\nhello", u64::MAX);
    Hostile::say(most).check(Err(FailureKind::ClosedInReply));
}

#[test]
fn a_coding_other_than_chunked_is_unknown() {
    for coding in ["gzip", "chunked, gzip", "identity", ""] {
        Hostile::say(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ))
        .check(Err(FailureKind::CodingUnknown));
    }
}

#[test]
fn chunks_beside_a_length_are_read_and_the_connection_is_not_used_again() {
    for doubtful in ["HTTP/1.1 200 OK\r\nContent-Length: 3", "HTTP/1.0 200 OK\r\nConnection: keep-alive"] {
        let text = format!("{doubtful}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let server = Hostile::serve(move |socket| {
            reply(socket, &text);
            assert_eq!(read_request(socket), "", "no second request comes");
        });
        server.check(Ok(b"hello"));
    }
}

#[test]
fn interim_replies_are_skipped_and_bounded() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    Hostile::say(interim.repeat(16) + OK).check(Ok(b"ok"));
    let endless = Hostile::serve(|socket| {
        flood(socket, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", GIGABYTES);
    });
    endless.check(Err(FailureKind::TooManyInterim));
    Hostile::say("HTTP/1.1 103 Early Hints\r\n\r\n").check(Err(FailureKind::ClosedInReply));
    Hostile::say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
        .check(Err(FailureKind::ProtocolSwitched));
}

#[test]
fn a_header_that_is_no_text_is_a_header_all_the_same() {
    let bench = Bench::new();
    let server = Hostile::say(&b"HTTP/1.1 200 \xff\xfe\r\nX: \xff\x80\xe4\r\nContent-Length: 0\r\n\r\n"[..]);
    let id = bench.start(server.bad(&bench));
    bench.wait(id, Wake::Body);
    let reactor = bench.engine.lock();
    assert_eq!(reactor.head(id).unwrap().header("x"), Some(&b"\xff\x80\xe4"[..]));
}

#[test]
fn a_status_has_one_label_whatever_the_server_calls_it() {
    for (said, counted) in [
        ("404 Nothing for request 81723", "404 Not Found"),
        ("503", "503 Service Unavailable"),
        ("799 \u{e4}\u{f6}", "799"),
    ] {
        let (status, _, error) = {
            let bench = Bench::new();
            let server = Hostile::say(format!("HTTP/1.1 {said}\r\nContent-Length: 0\r\n\r\n"));
            bench.call(server.bad(&bench))
        };
        assert_eq!(
            (status.map(|status| status.to_string()), error.as_deref()),
            (Some(counted[..3].to_owned()), Some(counted))
        );
    }
}

#[test]
fn cookies_without_end_are_bounded_and_the_first_ones_stay() {
    let text = {
        let mut head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: login=me; Path=/\r\n".to_owned();
        for _ in 0..MAX_HEADERS - 3 {
            head += "Set-Cookie: NUMBER=value; Path=/\r\n";
        }
        head + "Set-Cookie: long=" + &"x".repeat(10_000) + "\r\n\r\n"
    };
    let count = AtomicU32::new(0);
    let server = Hostile::serve(move |socket| {
        let parts = text.split("NUMBER").collect::<Vec<_>>();
        let number = || count.fetch_add(1, Ordering::Relaxed);
        let numbered: Vec<String> = parts.iter().map(|part| format!("{part}n{}", number())).collect();
        // The last number stands behind the end of the head, where it is no more than a superfluous byte.
        reply(socket, &numbered.concat());
    });
    let bench = Bench::new();
    for _ in 0..30 {
        assert_eq!(bench.call(server.bad(&bench)).2, None);
    }
    let target = Target::parse(&server.url).unwrap();
    let kept = bench.engine.lock().cookies(bench.session, &target);
    assert!(kept.len() <= 200 && kept.contains(&("login".to_owned(), "me".to_owned())), "{}", kept.len());
    let bytes: usize = kept.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes < 100_000);
    server.is_good(&bench);
}
