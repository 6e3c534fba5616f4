//! What the target replies. Pure: a request, its body and its connection's count come in, a reply and how long to
//! hold it back come out. Tokens are numbers that it has issued, so nothing is stored per session.
//! Start at [`answer`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, LOCATION, SET_COOKIE};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

/// The longest `/delay/{ms}`, so that a mistyped number cannot hold a connection for days.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// The largest `/bytes/{n}` and request body, in bytes.
pub(crate) const LARGEST_BODY: usize = 64 << 20;
/// The cookie that a visitor gets, once.
const VISITOR: &str = "visitor=known";

/// Where a path leads. Every path has exactly one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Route {
    Root,
    Json,
    Visit,
    Login,
    Profile,
    Item(u64),
    Echo,
    Delay(Duration),
    Status(StatusCode),
    Redirect(u32),
    Bytes(usize),
    Unknown,
}

impl Route {
    /// The route of a path; one whose number is missing, malformed or out of bounds is [`Route::Unknown`].
    pub(crate) fn of(path: &str) -> Self {
        let (head, tail) = path.strip_prefix('/').and_then(|rest| rest.split_once('/')).unwrap_or((path, ""));
        let route = match (head, tail) {
            ("/", "") => Some(Self::Root),
            ("/json", "") => Some(Self::Json),
            ("/visit", "") => Some(Self::Visit),
            ("/login", "") => Some(Self::Login),
            ("/profile", "") => Some(Self::Profile),
            ("/echo", "") => Some(Self::Echo),
            ("item", n) => n.parse().ok().map(Self::Item),
            ("delay", ms) => ms.parse().ok().map(Duration::from_millis).map(Self::Delay),
            // Below 200 a status is not a final reply.
            ("status", code) => {
                code.parse().ok().filter(|code| (200..1000).contains(code)).and_then(status).map(Self::Status)
            }
            ("redirect", n) => n.parse().ok().map(Self::Redirect),
            ("bytes", n) => n.parse().ok().filter(|n| *n <= LARGEST_BODY).map(Self::Bytes),
            _ => None,
        };
        route.unwrap_or(Self::Unknown)
    }

    /// The name that requests of this route are counted under.
    pub(crate) fn pattern(self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Json => "/json",
            Self::Visit => "/visit",
            Self::Login => "/login",
            Self::Profile => "/profile",
            Self::Item(_) => "/item/{n}",
            Self::Echo => "/echo",
            Self::Delay(_) => "/delay/{ms}",
            Self::Status(_) => "/status/{code}",
            Self::Redirect(_) => "/redirect/{n}",
            Self::Bytes(_) => "/bytes/{n}",
            Self::Unknown => "(unknown)",
        }
    }
}

/// Whether a request brings back the cookie that [`Route::Visit`] gave.
pub(crate) fn comes_back(headers: &HeaderMap) -> bool {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|line| line.split("; ")).any(|pair| pair == VISITOR)
}

fn status(code: u16) -> Option<StatusCode> {
    StatusCode::from_u16(code).ok()
}

/// The tokens issued so far: `token-1`, `token-2`, … and no others are valid.
#[derive(Debug, Default)]
pub(crate) struct Tokens(AtomicU64);

impl Tokens {
    fn issue(&self) -> String {
        format!("token-{}", self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The number of a valid token, taken from the `Authorization` header or the `session` cookie.
    fn number_in(&self, headers: &HeaderMap) -> Option<u64> {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        bearer
            .and_then(|value| value.strip_prefix("Bearer "))
            .into_iter()
            .chain(cookies.flat_map(|line| line.split("; ")).filter_map(|pair| pair.strip_prefix("session=")))
            .filter_map(|token| token.strip_prefix("token-")?.parse().ok())
            .find(|number| (1..=self.0.load(Ordering::Relaxed)).contains(number))
    }
}

/// A reply, and how long to hold it back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response<Full<Bytes>>,
    pub(crate) delay: Duration,
}

/// The reply to a request on `route`; `nth` is the request's number on its own connection, from 1.
pub(crate) fn answer(
    route: Route,
    method: &Method,
    headers: &HeaderMap,
    body: Bytes,
    nth: u64,
    tokens: &Tokens,
) -> Answer {
    let response = match (method, route) {
        (&Method::GET | &Method::HEAD, route) => read(route, headers, nth, tokens),
        (&Method::POST, Route::Login) => login(tokens),
        (&Method::POST, Route::Visit) => visit(headers, nth),
        (_, Route::Echo) => echo(headers, body),
        (_, Route::Unknown) => refusal(StatusCode::NOT_FOUND),
        (_, Route::Status(code)) => reply(code, &json!({"status": code.as_u16()})),
        _ => refusal(StatusCode::METHOD_NOT_ALLOWED),
    };
    let delay = if let Route::Delay(wanted) = route { wanted.min(LONGEST_DELAY) } else { Duration::ZERO };
    Answer { response, delay }
}

fn read(route: Route, headers: &HeaderMap, nth: u64, tokens: &Tokens) -> Response<Full<Bytes>> {
    match route {
        Route::Root | Route::Json => hello(nth),
        Route::Visit => visit(headers, nth),
        Route::Profile => match tokens.number_in(headers) {
            Some(number) => reply(StatusCode::OK, &json!({"user": number})),
            None => refusal(StatusCode::UNAUTHORIZED),
        },
        Route::Item(number) => reply(
            StatusCode::OK,
            &json!({"item": number, "price": number % 100, "next": number.wrapping_add(1)}),
        ),
        Route::Delay(_) => reply(StatusCode::OK, &json!({"message": "sorry to keep you waiting"})),
        Route::Status(code) => reply(code, &json!({"status": code.as_u16()})),
        Route::Redirect(0) => reply(StatusCode::OK, &json!({"message": "arrived"})),
        Route::Redirect(hops) => redirect(hops - 1),
        Route::Bytes(length) => of_type("application/octet-stream", Bytes::from(vec![b'x'; length])),
        Route::Login | Route::Echo => refusal(StatusCode::METHOD_NOT_ALLOWED),
        Route::Unknown => refusal(StatusCode::NOT_FOUND),
    }
}

fn visit(headers: &HeaderMap, nth: u64) -> Response<Full<Bytes>> {
    let mut response = hello(nth);
    if !comes_back(headers) {
        response.headers_mut().insert(SET_COOKIE, HeaderValue::from_static(VISITOR));
    }
    response
}

/// Written out by hand: this is the benchmark's reply, and its cost is the server's.
fn hello(nth: u64) -> Response<Full<Bytes>> {
    of_type("application/json", Bytes::from(format!(r#"{{"message":"hello","request":{nth}}}"#)))
}

fn login(tokens: &Tokens) -> Response<Full<Bytes>> {
    let token = tokens.issue();
    let mut response = reply(StatusCode::OK, &json!({"token": token}));
    let cookie = HeaderValue::from_str(&format!("session={token}; Path=/; HttpOnly"));
    response.headers_mut().insert(SET_COOKIE, cookie.expect("a token is plain ASCII"));
    response
}

fn echo(headers: &HeaderMap, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        response.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    response
}

fn redirect(hops: u32) -> Response<Full<Bytes>> {
    let mut response = reply(StatusCode::FOUND, &json!({"hops": hops}));
    let location = HeaderValue::from_str(&format!("/redirect/{hops}")).expect("a number is plain ASCII");
    response.headers_mut().insert(LOCATION, location);
    response
}

fn refusal(code: StatusCode) -> Response<Full<Bytes>> {
    reply(code, &json!({"error": code.canonical_reason()}))
}

fn reply(code: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = of_type("application/json", Bytes::from(body.to_string()));
    *response.status_mut() = code;
    response
}

fn of_type(content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_one_route() {
        for (path, route) in [
            ("/", Route::Root),
            ("/json", Route::Json),
            ("/visit", Route::Visit),
            ("/item/7", Route::Item(7)),
            ("/delay/20", Route::Delay(Duration::from_millis(20))),
            ("/status/503", Route::Status(StatusCode::SERVICE_UNAVAILABLE)),
            ("/redirect/2", Route::Redirect(2)),
            ("/bytes/1024", Route::Bytes(1024)),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn a_number_out_of_bounds_is_an_unknown_path() {
        for path in
            ["/item/-1", "/item/", "/status/99", "/status/150", "/bytes/99999999999", "/json/x", "json", ""]
        {
            assert_eq!(Route::of(path), Route::Unknown, "{path}");
        }
    }

    #[test]
    fn only_an_issued_token_opens_the_profile() {
        let tokens = Tokens::default();
        let issued = tokens.issue();
        for (name, value, opens) in [
            (AUTHORIZATION, format!("Bearer {issued}"), true),
            (COOKIE, format!("theme=dark; session={issued}"), true),
            (AUTHORIZATION, "Bearer token-2".to_owned(), false),
            (COOKIE, "session=token-0".to_owned(), false),
            (COOKIE, format!("other={issued}"), false),
        ] {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_str(&value).unwrap())]);
            assert_eq!(tokens.number_in(&headers).is_some(), opens, "{value}");
        }
    }

    #[test]
    fn the_longest_delay_is_bounded() {
        let route = Route::of("/delay/999999999");
        let answer = answer(route, &Method::GET, &HeaderMap::new(), Bytes::new(), 1, &Tokens::default());
        assert_eq!(answer.delay, LONGEST_DELAY);
    }
}
