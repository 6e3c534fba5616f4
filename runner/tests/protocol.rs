//! The control protocol over real sockets on loopback: a real master, real control threads, users without an
//! interpreter. Everything here takes a few seconds of real time; what needs no socket is tested in core.

mod crowd;
mod restart;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use aiotest_core::master::{Hooks, MasterEvent};
use aiotest_core::message::{ProcessId, Status, StopReason};
use aiotest_core::run::{ClassSpec, RunSpec};
use aiotest_runner::master::{DEFAULT_BUCKETS_MS, Master, Options, Token};
use crowd::Crowd;
use serde_json::{Value, json};

const SECRET: &str = "a-secret-of-this-test";

fn token() -> Token {
    Token::new(SECRET).unwrap()
}

fn spec(users: u32, duration_s: u64) -> RunSpec {
    serde_json::from_value(json!({
        "run": {"id": "4f1c", "name": "quickstart", "namespace": "shop", "number": 1},
        "load": {"constant": {"users": users, "spawn_rate": 1000, "duration": duration_s * 1_000_000}},
        "runners": 2, "processes_per_runner": 1, "aiotestfile": "aiotestfile.py",
    }))
    .unwrap()
}

fn classes() -> Vec<ClassSpec> {
    [("TestBuyer", 3), ("TestVisitor", 1)]
        .map(|(name, weight)| ClassSpec { name: name.into(), weight })
        .into()
}

fn options() -> Options {
    Options {
        control_address: "127.0.0.1:0".into(),
        metrics_address: "127.0.0.1:0".into(),
        token: token(),
        buckets_ms: DEFAULT_BUCKETS_MS.to_vec(),
        keep_result: true,
        linger: None,
        state_dir: None,
        hooks: Hooks::default(),
    }
}

fn master(spec: &RunSpec) -> Master {
    Master::start(spec.clone(), classes(), options()).unwrap()
}

fn join(master: &Master, spec: &RunSpec, runner: u32, incarnation: u64) -> Crowd {
    let who = ProcessId { runner: format!("runner-{runner}"), process: 0, incarnation };
    Crowd::join(who, spec, &classes(), &master.control_address().to_string(), &token())
}

/// One call of the control port: status and JSON.
fn call(master: &Master, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let (status, body) = raw(master.control_address(), method, path, Some(SECRET), &body.to_string());
    (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("no JSON: {body}")))
}

fn raw(
    address: std::net::SocketAddr,
    method: &str,
    path: &str,
    secret: Option<&str>,
    body: &str,
) -> (u16, String) {
    let mut socket = TcpStream::connect(address).unwrap();
    let authorization =
        secret.map(|secret| format!("Authorization: Bearer {secret}\r\n")).unwrap_or_default();
    let length = body.len();
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nHost: h\r\n{authorization}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn status(master: &Master) -> Status {
    serde_json::from_value(call(master, "GET", "/v1/status", &Value::Null).1).unwrap()
}

/// Waits until `done`, for `limit` at most. Returns how long it took.
fn wait(limit: Duration, what: &str, mut done: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    start.elapsed()
}

fn result(master: &Master) -> Value {
    let mut result = (0, Value::Null);
    wait(Duration::from_secs(30), "a result", || {
        result = call(master, "GET", "/v1/result", &Value::Null);
        result.0 == 200
    });
    result.1
}

fn events(master: &Master) -> Vec<MasterEvent> {
    let mut events = Vec::new();
    wait(Duration::from_secs(30), "the last event", || {
        events.extend(master.events().drain());
        matches!(events.last(), Some(MasterEvent::Ended { .. }))
    });
    events
}

#[test]
fn two_runners_carry_out_a_plan_and_every_request_is_counted() {
    let spec = spec(40, 6);
    let master = master(&spec);
    let crowds = [join(&master, &spec, 0, 1), join(&master, &spec, 1, 1)];
    wait(Duration::from_secs(10), "20 users on each", || {
        crowds.iter().all(|crowd| crowd.seen.users.load(Ordering::Relaxed) == 20)
    });
    let sent: u64 = {
        let seen = crowds.each_ref().map(|crowd| std::sync::Arc::clone(&crowd.seen));
        assert_eq!(crowds.map(Crowd::finish), [0, 0]);
        seen.iter().map(|seen| seen.sent.load(Ordering::Relaxed)).sum()
    };
    let report = result(&master);
    assert!(100 < sent, "{sent}");
    assert_eq!(report["total"]["sent"], sent);
    assert_eq!(report["total"]["requests"], sent);
    assert_eq!(report["verdict"]["result"], "Passed", "{report:#}");
    assert_eq!(report["users"], json!({"target": 40, "peak": 40}));
    assert_eq!(report["gaps"], json!([]));
    let (code, metrics) = raw(master.metrics_address(), "GET", "/metrics", None, "");
    assert_eq!(code, 200);
    let labels = r#"{loadtest="quickstart",namespace="shop",run="4f1c",name="/",method="GET"}"#;
    assert!(metrics.contains(&format!("\naiotest_requests_sent_total{labels} {sent}\n")), "{metrics}");
    assert!(metrics.contains(r#"run="4f1c",result="Passed"} 1"#), "{metrics}");

    assert_eq!(call(&master, "POST", "/v1/result/acknowledged", &json!({})).0, 200);
    let mut events = events(&master);
    events.retain(|event| !matches!(event, MasterEvent::WorkerReport(_)));
    let wanted = [
        MasterEvent::TestStart,
        MasterEvent::StartComplete { users: 40 },
        MasterEvent::TestStop,
        MasterEvent::Ended { exit_code: 0 },
    ];
    assert_eq!(events, wanted);
    master.close();
    assert!(TcpStream::connect(master.control_address()).is_err(), "the ports are free");
}

#[test]
fn a_proven_death_moves_the_share_within_five_seconds_and_the_gap_is_exact() {
    let spec = spec(30, 60);
    let master = master(&spec);
    let stays = join(&master, &spec, 0, 1);
    let dies = join(&master, &spec, 1, 1);
    wait(Duration::from_secs(10), "15 users on each", || {
        [&stays, &dies].iter().all(|crowd| crowd.seen.users.load(Ordering::Relaxed) == 15)
    });
    let merged = |report: &Value| report["total"]["sent"].as_u64().unwrap();
    let kept = std::sync::Arc::clone(&stays.seen);
    let lost_sent = dies.kill();
    let departure = json!({
        "process": {"runner": "runner-1", "process": 0, "incarnation": 1},
        "exit": "killed by signal 9", "sent_total": lost_sent,
    });
    assert_eq!(call(&master, "POST", "/v1/departed", &departure).0, 200);
    let moved = wait(Duration::from_secs(5), "30 users on the one that is left", || {
        kept.users.load(Ordering::Relaxed) == 30
    });
    assert!(moved < Duration::from_secs(5));
    assert!(status(&master).users <= 30);

    // The process is back: the load is even again, and never more than it should be.
    let back = join(&master, &spec, 1, 2);
    wait(Duration::from_secs(15), "15 users on each again", || {
        let users = [&stays, &back].map(|crowd| crowd.seen.users.load(Ordering::Relaxed));
        assert!(users.iter().sum::<u32>() <= 30, "{users:?}");
        users == [15, 15]
    });
    master.stop(StopReason::Stopped);
    let back_seen = std::sync::Arc::clone(&back.seen);
    assert_eq!([stays.finish(), back.finish()], [0, 0]);
    let report = result(&master);
    assert_eq!(report["verdict"]["result"], "Cancelled", "{report:#}");
    let lost = report["gaps"][0]["lost_at_most"].as_u64().unwrap();
    let sent = kept.sent.load(Ordering::Relaxed) + back_seen.sent.load(Ordering::Relaxed) + lost_sent;
    assert_eq!(report["gaps"][0]["runner"], "runner-1", "{report:#}");
    assert_eq!(merged(&report) + lost, sent, "what is missing is what the gap says");
}

#[test]
fn only_the_token_opens_the_control_port_and_the_master_goes_on() {
    let spec = spec(1, 1);
    let master = master(&spec);
    for secret in [None, Some("wrong"), Some("")] {
        for (method, path) in [("GET", "/v1/status"), ("POST", "/v1/report"), ("GET", "/nowhere")] {
            let (code, body) = raw(master.control_address(), method, path, secret, "");
            assert_eq!(code, 401, "{secret:?} {path}");
            assert!(body.contains(r#"{"error":"#) && !body.contains(SECRET), "{body}");
        }
    }
    assert_eq!(status(&master).joined, 0);
    let (code, body) = call(&master, "GET", "/v2/report", &Value::Null);
    assert_eq!((code, body["error"].as_str().unwrap().contains("/v2/report")), (404, true));
    assert_eq!(call(&master, "GET", "/v1/stop", &Value::Null).0, 405);
    assert_eq!(call(&master, "POST", "/v1/stop", &json!({"reason": "boredom"})).0, 400);
    assert_eq!(call(&master, "POST", "/v1/report", &json!({"half": "a report"})).0, 400);
    assert_eq!(call(&master, "GET", "/v1/result", &Value::Null).0, 202);
    assert_eq!(call(&master, "POST", "/v1/result/acknowledged", &json!({})).0, 409);
    let body = " ".repeat(9 * 1024 * 1024);
    assert_eq!(raw(master.control_address(), "POST", "/v1/report", Some(SECRET), &body).0, 413);
    assert_eq!(raw(master.metrics_address(), "GET", "/healthz", None, "").0, 200);
    assert_eq!(raw(master.metrics_address(), "GET", "/readyz", None, "").0, 200);
    assert_eq!(raw(master.metrics_address(), "GET", "/v1/status", None, "").0, 404);
    assert_eq!(status(&master).joined, 0, "it goes on");
}

#[test]
fn a_wrong_token_ends_the_runner_and_not_the_master() {
    let spec = spec(1, 1);
    let master = master(&spec);
    let who = ProcessId { runner: "runner-0".into(), process: 0, incarnation: 1 };
    let address = master.control_address().to_string();
    let crowd = Crowd::join(who, &spec, &classes(), &address, &Token::new("wrong").unwrap());
    assert_eq!(crowd.finish(), 3);
    assert_eq!(status(&master).joined, 0);
}

#[test]
fn a_runner_waits_for_its_master_until_the_deadline_of_the_start() {
    let mut spec = spec(1, 1);
    spec.deadlines.startup = Duration::from_millis(700);
    // Bound and closed again: nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let who = ProcessId { runner: "runner-0".into(), process: 0, incarnation: 1 };
    let start = Instant::now();
    let crowd = Crowd::join(who, &spec, &classes(), &address, &token());
    assert_eq!(crowd.finish(), 3);
    assert!(Duration::from_millis(700) <= start.elapsed());
}

#[test]
fn a_runner_that_started_first_joins_when_its_master_comes() {
    let spec = spec(2, 1);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let who = |runner: u32| ProcessId { runner: format!("runner-{runner}"), process: 0, incarnation: 1 };
    let early = [0, 1].map(|runner| Crowd::join(who(runner), &spec, &classes(), &port.to_string(), &token()));
    std::thread::sleep(Duration::from_millis(600));
    let options = Options { control_address: port.to_string(), ..options() };
    let master = Master::start(spec, classes(), options).unwrap();
    assert_eq!(early.map(Crowd::finish), [0, 0]);
    assert_eq!(result(&master)["verdict"]["result"], "Passed");
}

#[test]
fn an_edit_reaches_every_runner_and_moves_the_stop() {
    let spec = spec(20, 60);
    let master = master(&spec);
    let crowds = [join(&master, &spec, 0, 1), join(&master, &spec, 1, 1)];
    let all = |users: u32| {
        wait(Duration::from_secs(10), "as many users on each", || {
            crowds.iter().all(|crowd| crowd.seen.users.load(Ordering::Relaxed) == users)
        });
    };
    all(10);
    let edited = |generation: u64, users: u32, duration_s: u64| {
        json!({
            "generation": generation, "runners": 2,
            "load": {"constant": {"users": users, "spawn_rate": 1000, "duration": duration_s * 1_000_000}},
        })
    };
    assert_eq!(call(&master, "PUT", "/v1/spec", &edited(2, 30, 60)), (200, json!({"generation": 2})));
    all(15);
    assert_eq!(call(&master, "PUT", "/v1/spec", &edited(1, 4, 60)), (200, json!({"generation": 2})));
    let (code, body) = call(&master, "PUT", "/v1/spec", &edited(3, 0, 60));
    assert_eq!((code, &body["error"]), (400, &json!("0 users: must be 1 to 10000000")));
    let shape = json!({"generation": 3, "runners": 2, "load": "shape"});
    assert_eq!(call(&master, "PUT", "/v1/spec", &shape).0, 400);
    assert_eq!(status(&master).generation, 2);
    // The pod of one is deleted: its users go to the other.
    let gone = json!({"runner": "runner-1", "exit": "the pod was deleted"});
    let [stays, deleted] = crowds;
    deleted.kill();
    assert_eq!(call(&master, "POST", "/v1/departed-runner", &gone).0, 200);
    wait(Duration::from_secs(5), "30 users on the one that is left", || {
        stays.seen.users.load(Ordering::Relaxed) == 30
    });
    assert_eq!(call(&master, "PUT", "/v1/spec", &edited(4, 30, 1)), (200, json!({"generation": 4})));
    assert_eq!(stays.finish(), 0, "its time was over, so it has ended");
    let report = result(&master);
    assert_eq!((&report["verdict"]["result"], &report["users"]["target"]), (&json!("Passed"), &json!(30)));
    assert_eq!(report["gaps"][0]["lost_at_most"], Value::Null, "nobody knows");
}

#[test]
fn metrics_and_the_result_stay_up_until_two_scrapes_after_the_end() {
    let spec = spec(2, 1);
    let options = Options { linger: Some(Duration::from_secs(60)), ..options() };
    let master = Master::start(spec.clone(), classes(), options).unwrap();
    let crowds = [join(&master, &spec, 0, 1), join(&master, &spec, 1, 1)];
    assert_eq!(crowds.map(Crowd::finish), [0, 0]);
    let report = result(&master);
    assert_eq!(report["verdict"]["result"], "Passed", "the verdict waits for no scrape");
    let termination = master.termination().unwrap().to_json();
    assert_eq!(termination, r#"{"ended":{"result":"Passed","exit_code":0,"reasons":[]}}"#);
    assert_eq!(call(&master, "POST", "/v1/result/acknowledged", &json!({})).0, 200);
    let ended = || master.events().drain().iter().any(|event| matches!(event, MasterEvent::Ended { .. }));
    for _ in 0..2 {
        assert!(!ended(), "two scrapes are waited for");
        assert_eq!(call(&master, "GET", "/v1/result", &Value::Null), (200, report.clone()));
        let (_, metrics) = raw(master.metrics_address(), "GET", "/metrics", None, "");
        assert!(metrics.contains(r#"result="Passed"} 1"#), "{metrics}");
    }
    wait(Duration::from_secs(5), "the end", ended);
}

#[test]
fn a_runner_that_hands_over_leaves_nothing_behind() {
    let spec = spec(20, 60);
    let master = master(&spec);
    let (stays, leaves) = (join(&master, &spec, 0, 1), join(&master, &spec, 1, 1));
    wait(Duration::from_secs(10), "10 users on each", || {
        [&stays, &leaves].iter().all(|crowd| crowd.seen.users.load(Ordering::Relaxed) == 10)
    });
    let seen = [&stays, &leaves].map(|crowd| std::sync::Arc::clone(&crowd.seen));
    leaves.hand_over();
    assert_eq!(leaves.finish(), 75);
    wait(Duration::from_secs(8), "20 users on the one that is left", || {
        seen[0].users.load(Ordering::Relaxed) == 20
    });
    master.stop(StopReason::Stopped);
    assert_eq!(stays.finish(), 0);
    let sent: u64 = seen.iter().map(|seen| seen.sent.load(Ordering::Relaxed)).sum();
    assert_eq!(result(&master)["total"]["sent"], sent);
}

/// CPU time of all control threads of this process, in the kernel's hundredths of a second.
fn control_threads_ticks() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let ticks = |stat: String| -> Option<u64> {
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let used: Vec<&str> = rest.split_whitespace().skip(11).take(2).collect();
        (name == "aiotest-control").then_some(used[0].parse::<u64>().ok()? + used[1].parse::<u64>().ok()?)
    };
    stats.filter_map(ticks).sum()
}

#[test]
fn a_runner_whose_master_falls_silent_stops_its_load_and_ends_what_does_not() {
    let mut spec = spec(20, 60);
    spec.dead_man = Duration::from_secs(2);
    let master = master(&spec);
    let crowds = [join(&master, &spec, 0, 1), join(&master, &spec, 1, 1)];
    wait(Duration::from_secs(10), "10 users on each", || {
        crowds.iter().all(|crowd| crowd.seen.users.load(Ordering::Relaxed) == 10)
    });
    let [stops, stubborn] = crowds.each_ref().map(|crowd| &crowd.seen);
    stubborn.stubborn.store(true, Ordering::Relaxed);
    drop(master);
    let silent = wait(Duration::from_secs(8), "no users where they end", || {
        stops.users.load(Ordering::Relaxed) == 0
            && [stops, stubborn].iter().all(|seen| seen.refused.load(Ordering::Relaxed))
    });
    assert!(
        Duration::from_millis(900) < silent,
        "not before the dead-man time, counted from the last report sent"
    );
    let stubborn_for = wait(Duration::from_secs(8), "the end of the stubborn process", || {
        stubborn.process_ended.load(Ordering::Relaxed)
    });
    assert!(Duration::from_secs(4) < stubborn_for, "{stubborn_for:?}");
    assert!(!stops.process_ended.load(Ordering::Relaxed), "this one keeps what it measured and dials on");
    let before = control_threads_ticks();
    std::thread::sleep(Duration::from_secs(1));
    let used = control_threads_ticks() - before;
    assert!(used < 30, "waiting for a master took {used} hundredths of a second of CPU in a second");
    for crowd in crowds {
        crowd.kill();
    }
}

#[test]
fn a_runner_that_dials_no_master_ends_and_does_not_try_for_ever() {
    let spec = spec(1, 1);
    let master = master(&spec);
    let who = ProcessId { runner: "runner-0".into(), process: 0, incarnation: 1 };
    let address = master.metrics_address().to_string();
    assert_eq!(Crowd::join(who, &spec, &classes(), &address, &token()).finish(), 3);
}

#[test]
fn a_replaced_process_is_refused_and_no_series_appears_twice() {
    let spec = spec(2, 60);
    let master = master(&spec);
    let first = join(&master, &spec, 0, 1);
    wait(Duration::from_secs(10), "the first process", || status(&master).joined == 1);
    let second = join(&master, &spec, 0, 2);
    let mut names = Vec::new();
    wait(Duration::from_secs(10), "the first process to be refused", || {
        let (_, metrics) = raw(master.metrics_address(), "GET", "/metrics", None, "");
        names = metrics.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        let series = |line: &String| line.rsplit_once(' ').map(|(series, _)| series.to_owned());
        let distinct: std::collections::BTreeSet<_> = names.iter().map(series).collect();
        assert_eq!(distinct.len(), names.len(), "{metrics}");
        first.seen.exit_code.lock().unwrap().is_some()
    });
    assert!(names.iter().any(|line| line.contains(r#"node="runner-0/0""#)), "{names:?}");
    assert_ne!(first.finish(), 0);
    second.kill();
}

/// Reads one request off a connection.
fn read_request(socket: &TcpStream) {
    let (mut reader, mut length) = (BufReader::new(socket), 0);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    reader.take(length).read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_ramp_is_followed_step_by_step_also_while_an_answer_is_awaited() {
    let spec = spec(40, 60);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (over, waits) = mpsc::channel::<()>();
    // Says once what there is to do, and takes every other report without a word.
    let master = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        read_request(&socket);
        let start = 1_000_000 + 600_000;
        let ramp = json!({"version": 1, "at": start, "since": start, "from": 0, "to": 40, "rate": 100.0});
        let answer = json!({
            "version": 1, "epoch": 1, "now": 1_000_000, "acknowledged": 1, "state": "running", "start": start,
            "plan": {"version": 1, "ramps": [ramp]},
            "share": {"rows": [{"position": 0, "of": 1, "from": [0, 0], "to": [30, 10]}]},
        })
        .to_string();
        write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()).unwrap();
        let _ = waits.recv();
    });
    let who = ProcessId { runner: "runner-0".into(), process: 0, incarnation: 1 };
    let crowd = Crowd::join(who, &spec, &classes(), &address, &token());
    wait(Duration::from_secs(10), "40 users", || crowd.seen.users.load(Ordering::Relaxed) == 40);
    let orders = crowd.seen.orders.load(Ordering::Relaxed);
    assert!(10 < orders, "40 users in {orders} orders: they were started in heaps");
    crowd.kill();
    drop(over);
    master.join().unwrap();
}
