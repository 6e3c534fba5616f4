//! Claims about a port's limits, over real sockets on loopback.

use std::net::SocketAddr;
use std::time::Instant;

use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::refusal::{BODY_BYTES, Message, Refusal};

const LIMITS: Limits =
    Limits { header: Duration::from_secs(1), silence: Duration::from_secs(2), connections: 40 };

/// A port with an echo and a slow route. Dropping the sender leaves it running; sending true ends it.
async fn port() -> (SocketAddr, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
    let router = Router::new()
        .route("/", get(|| async { "here" }))
        .route("/echo", post(|Message(text): Message<String>| async { text }))
        .route(
            "/slow",
            get(|| async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                "late"
            }),
        )
        .route("/refused", post(|| async { Refusal::new(axum::http::StatusCode::UNAUTHORIZED, "not you") }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ended) = watch::channel(false);
    (address, end, tokio::spawn(serve(listener, router, LIMITS, ended, |_| {})))
}

/// Sends `request` and reads until the peer closes. A reset is an empty answer.
async fn talk(address: SocketAddr, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let _ = socket.write_all(request).await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_head_that_does_not_arrive_in_time_is_cut() {
    let (address, _end, _port) = port().await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let start = Instant::now();
    let drip = async {
        for byte in b"GET / HTTP/1.1\r\nHost: here\r\nX: 0123456789012345678901234567890123456789" {
            if socket.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer).await;
        answer
    };
    let answer = drip.await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(start.elapsed() < Duration::from_secs(10), "the drip itself takes 3 s");
    assert!(talk(address, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.ends_with("here"));
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let (address, _end, _port) = port().await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert!(answer.ends_with(b"here"));
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_cut() {
    let (address, _end, _port) = port().await;
    let request = b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n\"abc";
    let answer = tokio::time::timeout(Duration::from_secs(10), talk(address, request)).await.unwrap();
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered_413_whether_its_length_is_told_or_not() {
    let (address, _end, _port) = port().await;
    let size = BODY_BYTES + 5_000_000;
    let told = [
        format!("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n").into_bytes(),
        vec![b' '; size],
    ];
    let answer = talk(address, &told.concat()).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains(r#"{"error":"#), "{answer}");
    let mut chunked = b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..size / 0x10000 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.resize(chunked.len() + 0x10000, b' ');
        chunked.extend_from_slice(b"\r\n");
    }
    let answer = talk(address, &chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_refusal_reaches_a_sender_that_is_still_sending() {
    let (address, _end, _port) = port().await;
    let size = 20_000_000;
    let request = [
        format!("POST /refused HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n").into_bytes(),
        vec![b' '; size],
    ];
    let answer = talk(address, &request.concat()).await;
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("not you"), "{answer}");
}

#[tokio::test]
async fn what_is_no_message_is_a_400_that_says_why() {
    let (address, _end, _port) = port().await;
    let answer =
        talk(address, b"POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1\r\n\r\n{")
            .await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("failed to parse"), "{answer}");
}

#[tokio::test]
async fn a_flood_of_connections_is_bounded_and_the_port_recovers() {
    const FLOOD: usize = 5000;
    let (address, _end, _port) = port().await;
    let mut flood = Vec::with_capacity(FLOOD);
    for _ in 0..FLOOD {
        let socket = tokio::time::timeout(Duration::from_secs(20), TcpStream::connect(address)).await;
        flood.push(socket.unwrap().unwrap());
    }
    // Each of them, held open and silent by us, is closed by the port: at once or by the time for a head.
    for socket in &mut flood {
        let mut answer = [0; 256];
        let ended = tokio::time::timeout(Duration::from_secs(20), async {
            while socket.read(&mut answer).await.is_ok_and(|read| 0 < read) {}
        });
        ended.await.unwrap();
    }
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert!(talk(address, request).await.ends_with("here"));
}

#[tokio::test]
async fn no_more_connections_than_the_limit_are_served_at_once() {
    let (address, _end, _port) = port().await;
    let mut open = Vec::new();
    for _ in 0..LIMITS.connections {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        open.push(socket);
    }
    assert_eq!(talk(address, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await, "");
    for socket in &mut open {
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
}

#[tokio::test]
async fn the_end_lets_a_running_request_finish() {
    let (address, end, port) = port().await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket
        .write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\nGET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    // The first answer's beginning shows that the second request is being served.
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    end.send(true).unwrap();
    socket.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(b"late"), "{}", String::from_utf8_lossy(&answer));
    tokio::time::timeout(Duration::from_secs(10), port).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}
