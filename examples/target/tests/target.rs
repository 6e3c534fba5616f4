//! The target as a process: what it prints, what it replies over a real socket, what it counts, when it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};

struct Target {
    child: Child,
    stdin: Option<ChildStdin>,
    address: SocketAddr,
    control: SocketAddr,
}

impl Target {
    fn start(options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_aiotest-example-target"))
            .args(["--port=0", "--control-port=0", "--while-stdin"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addresses: Value = serde_json::from_str(&line).unwrap();
        let address = |name: &str| addresses[name].as_str().unwrap().parse().unwrap();
        let stdin = child.stdin.take();
        Self { child, stdin, address: address("target"), control: address("control") }
    }

    fn connect(&self) -> Connection {
        Connection::to(self.address)
    }

    fn counts(&self) -> Value {
        serde_json::from_str(&Connection::to(self.control).send("GET /count HTTP/1.1\r\n", "").body).unwrap()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.child.wait().unwrap();
    }
}

struct Connection(BufReader<TcpStream>);

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Connection {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, head: &str, body: &str) -> Reply {
        let length = body.len();
        let stream = self.0.get_mut();
        write!(stream, "{head}Host: target\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        self.reply()
    }

    fn get(&mut self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\n"), "")
    }

    fn reply(&mut self) -> Reply {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).unwrap(), 0, "the target hung up");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let lower = head.to_lowercase();
        let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).unwrap();
        Reply { status, head, body: String::from_utf8(body).unwrap() }
    }
}

fn json_of(reply: &Reply) -> Value {
    serde_json::from_str(&reply.body).unwrap()
}

#[test]
fn a_reply_names_its_connections_request_count() {
    let target = Target::start(&[]);
    let mut first = target.connect();
    first.get("/");
    assert_eq!(json_of(&first.get("/json"))["request"], 2);
    assert_eq!(json_of(&target.connect().get("/json"))["request"], 1);
}

#[test]
fn every_request_is_counted_once_under_its_path_and_asking_is_not() {
    let target = Target::start(&["--threads=2"]);
    let mut connection = target.connect();
    for path in ["/item/1", "/item/2", "/json", "/nowhere"] {
        connection.get(path);
    }
    target.counts();
    let counts = target.counts();
    assert_eq!(counts["total"], 4);
    assert_eq!(counts["paths"], json!({"/item/{n}": 2, "/json": 1, "(unknown)": 1}));
    assert_eq!(counts["connections"]["accepted"], 1);
}

#[test]
fn a_request_that_is_hung_up_on_is_counted_if_its_head_came_whole() {
    let target = Target::start(&[]);
    for (sent, counted) in [
        ("POST /echo HTTP/1.1\r\nHost: target\r\nContent-Length: 10\r\n\r\nhalf", 1),
        ("GET /json HTTP/1.1\r\nHost: target\r\n\r\n", 2),
        ("GET /json HTTP/1.1\r\nHost: tar", 2),
    ] {
        let mut connection = target.connect();
        connection.0.get_mut().write_all(sent.as_bytes()).unwrap();
        connection.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        connection.0.read_to_end(&mut rest).unwrap(); // the target has seen the end once it hangs up too
        assert_eq!(target.counts()["total"], counted, "{sent}");
    }
}

#[test]
fn the_profile_opens_with_the_cookie_or_the_token_only() {
    let target = Target::start(&[]);
    let mut connection = target.connect();
    assert_eq!(connection.get("/profile").status, 401);
    let login = connection.send("POST /login HTTP/1.1\r\n", "{}");
    let token = json_of(&login)["token"].as_str().unwrap().to_owned();
    assert!(login.head.contains(&format!("set-cookie: session={token};")), "{}", login.head);
    let by_cookie = format!("GET /profile HTTP/1.1\r\nCookie: session={token}\r\n");
    assert_eq!(connection.send(&by_cookie, "").status, 200);
    let by_token = format!("GET /profile HTTP/1.1\r\nAuthorization: Bearer {token}\r\n");
    assert_eq!(connection.send(&by_token, "").status, 200);
}

#[test]
fn a_visitor_gets_a_cookie_once_and_is_counted_when_it_comes_back() {
    let target = Target::start(&[]);
    let mut connection = target.connect();
    let first = connection.get("/visit");
    assert!(first.head.contains("set-cookie: visitor=known\r\n"), "{}", first.head);
    let second = connection.send("GET /visit HTTP/1.1\r\nCookie: a=b; visitor=known\r\n", "");
    assert!(!second.head.contains("set-cookie"), "{}", second.head);
    assert_eq!(
        (json_of(&first)["request"].as_u64(), json_of(&second)["request"].as_u64()),
        (Some(1), Some(2))
    );
    let posted = connection.send("POST /visit HTTP/1.1\r\n", "{}");
    assert_eq!((posted.status, json_of(&posted)["request"].as_u64()), (200, Some(3)));
    connection.send("GET /json HTTP/1.1\r\nCookie: visitor=known\r\n", "");
    assert_eq!(target.counts()["returning"], 1);
}

/// A certificate for 127.0.0.1 as files for the target, and what trusts it.
fn certificate() -> (TempDir, Arc<ClientConfig>) {
    let pair = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("certificate.pem"), pair.cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(pair.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (folder, Arc::new(config))
}

#[test]
fn handshakes_are_counted_by_kind_and_sessions_resumed_where_they_are_offered() {
    for (options, expected) in
        [(vec![], json!({"full": 1, "resumed": 1})), (vec!["--no-resumption"], json!({"full": 2}))]
    {
        let (folder, config) = certificate();
        let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (pem, key) = (file("certificate.pem"), file("key.pem"));
        let target = Target::start(&[&["--certificate", &pem, "--key", &key], &options[..]].concat());
        for _ in 0..2 {
            let name = target.address.ip().into();
            let session = ClientConnection::new(Arc::clone(&config), name).unwrap();
            let mut stream = StreamOwned::new(session, TcpStream::connect(target.address).unwrap());
            stream.write_all(b"GET /visit HTTP/1.1\r\nHost: target\r\nConnection: close\r\n\r\n").unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).unwrap();
            assert!(reply.ends_with(r#"{"message":"hello","request":1}"#), "{reply}");
        }
        assert_eq!(target.counts()["handshakes"], expected);
    }
}

#[test]
fn a_key_that_cannot_be_used_is_named() {
    let (folder, _) = certificate();
    let pem = folder.path().join("certificate.pem");
    let output = Command::new(env!("CARGO_BIN_EXE_aiotest-example-target"))
        .args(["--port=0", "--control-port=0", "--certificate"])
        .args([pem.as_os_str(), "--key".as_ref(), pem.as_os_str()])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(pem.to_str().unwrap()), "{text}");
}

#[test]
fn each_route_does_what_its_name_says() {
    let target = Target::start(&[]);
    let mut connection = target.connect();
    let echoed = connection.send("PUT /echo HTTP/1.1\r\nContent-Type: text/plain\r\n", "hello");
    assert_eq!((echoed.status, echoed.body.as_str()), (200, "hello"));
    assert!(echoed.head.contains("content-type: text/plain"), "{}", echoed.head);
    assert_eq!(connection.get("/status/503").status, 503);
    assert_eq!(connection.get("/bytes/5").body, "xxxxx");
    assert_eq!(json_of(&connection.get("/item/7"))["next"], 8);
    let moved = connection.get("/redirect/2");
    assert_eq!(moved.status, 302);
    assert!(moved.head.contains("location: /redirect/1"), "{}", moved.head);
    assert_eq!(connection.get("/redirect/0").status, 200);
    assert_eq!(connection.get("/login").status, 405);
    let before = std::time::Instant::now();
    connection.get("/delay/30");
    assert!(Duration::from_millis(30) <= before.elapsed());
}

#[test]
fn it_ends_when_standard_input_closes() {
    let mut target = Target::start(&[]);
    drop(target.stdin.take());
    assert!(target.child.wait().unwrap().success());
}

#[test]
fn a_port_in_use_is_an_error_that_says_so() {
    let target = Target::start(&[]);
    let port = target.address.port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_aiotest-example-target"))
        .args(["--port", &port, "--control-port=0"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("in use"), "{text}");
}
