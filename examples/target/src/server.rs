//! Listens and feeds: accepts connections, counts each request once its head is here, reads it to its last byte, and
//! writes the answer.
//! Decides nothing about replies. Start at [`serve`].

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::count::Counts;
use crate::routes::{LARGEST_BODY, Route, Tokens, answer, comes_back};
use crate::tls;

/// Serves the target on `listener`, over TLS where there is an `acceptor`, counting in `counts`, for ever.
pub(crate) async fn serve(listener: TcpListener, acceptor: Option<TlsAcceptor>, counts: Arc<Counts>) {
    let tokens = Arc::new(Tokens::default());
    loop {
        let stream = accept(&listener).await;
        let (acceptor, counts, tokens) = (acceptor.clone(), Arc::clone(&counts), Arc::clone(&tokens));
        tokio::spawn(async move {
            let _open = counts.connection();
            let Some(acceptor) = acceptor else { return connection(stream, &counts, &tokens).await };
            // A client that gives up in its handshake has not asked for anything.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            counts.handshake(tls::kind(&stream));
            connection(stream, &counts, &tokens).await;
        });
    }
}

/// Serves `GET /count` on `listener`, for ever.
pub(crate) async fn serve_counts(listener: TcpListener, counts: Arc<Counts>) {
    loop {
        let stream = accept(&listener).await;
        let counts = Arc::clone(&counts);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let known = request.uri().path() == "/count";
                let body =
                    if known { counts.to_json().to_string() } else { r#"{"error":"Not Found"}"#.into() };
                let mut response = Response::new(Full::new(Bytes::from(body)));
                *response.status_mut() = if known { StatusCode::OK } else { StatusCode::NOT_FOUND };
                std::future::ready(Ok::<_, Infallible>(response))
            });
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = served.await; // an asker that hangs up is no fault of ours
        });
    }
}

/// The next connection. Out of file descriptors, it waits a moment rather than spin.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true); // fails only on a connection that is gone already
                return stream;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, counts: &Counts, tokens: &Tokens) {
    let requests = AtomicU64::new(0);
    let service = service_fn(|request: Request<Incoming>| {
        // Here, before anything is awaited: from here on the request may be dropped at any point.
        let route = Route::of(request.uri().path());
        counts.request(route.pattern(), route == Route::Visit && comes_back(request.headers()));
        let nth = requests.fetch_add(1, Ordering::Relaxed) + 1;
        respond(request, route, nth, tokens)
    });
    // A request that came whole is one, even if the end of the connection lies right behind it.
    let served = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let _ = served.await; // a generator that is cut off hangs up in mid-request; what arrived of it is counted
}

/// Answers the request once its last byte is here.
async fn respond(
    request: Request<Incoming>,
    route: Route,
    nth: u64,
    tokens: &Tokens,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = if body.is_end_stream() {
        Bytes::new()
    } else {
        match Limited::new(body, LARGEST_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                return match error.downcast::<hyper::Error>() {
                    Ok(cut_off) => Err(*cut_off),
                    Err(_too_long) => Ok(too_large()),
                };
            }
        }
    };
    let answer = answer(route, &head.method, &head.headers, body, nth, tokens);
    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    Ok(answer.response)
}

fn too_large() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
}
