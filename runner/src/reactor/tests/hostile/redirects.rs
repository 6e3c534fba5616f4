//! Redirects that lead in circles, nowhere, or into an endless body.

use super::*;

fn to(location: &str) -> Hostile {
    Hostile::say(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"))
}

#[test]
fn a_circle_ends_at_the_limit() {
    to("/bad").check(Err(FailureKind::TooManyRedirects));
    // To ever new places.
    let count = AtomicU32::new(0);
    let server = Hostile::serve(move |socket| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        reply(
            socket,
            &format!("HTTP/1.1 307 T\r\nLocation: /bad/{number}?{number}\r\nContent-Length: 0\r\n\r\n"),
        );
    });
    server.check(Err(FailureKind::TooManyRedirects));
}

#[test]
fn a_place_that_no_call_can_be_made_to_is_invalid() {
    for location in
        ["ftp://h/", "javascript:alert(1)", "http://", "http://[::1", "http://a b/", "http://h:99999/", "//"]
    {
        to(location).check(Err(FailureKind::RedirectInvalid));
    }
    to(&format!("gopher://{}/", "x".repeat(10_000))).check(Err(FailureKind::RedirectInvalid));
}

#[test]
fn a_place_that_is_not_there_fails_as_if_it_had_been_asked_for() {
    to("http://no-such-host.invalid/").check(Err(FailureKind::NameNotFound));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    to(&format!("http://{closed}/")).check(Err(FailureKind::Refused));
}

#[test]
fn a_redirect_without_a_place_is_a_reply() {
    Hostile::say("HTTP/1.1 302 Found\r\nContent-Length: 4\r\n\r\nhere").check(Ok(b"here"));
}

#[test]
fn the_endless_body_of_a_redirect_is_not_read() {
    let server = Hostile::serve(|socket| {
        reply(socket, "HTTP/1.1 302 Found\r\nLocation: /good\r\n\r\n");
        flood(socket, &vec![0; 64 * 1024], GIGABYTES);
    });
    let bench = Bench::new();
    assert_eq!(bench.call(server.bad(&bench)), (Some(200), b"ok".to_vec(), None));
    assert_eq!(bench.total().sent, 2);
}
