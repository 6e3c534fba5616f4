//! A master in a process of its own, killed without a warning and started again on what it had written.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aiotest_core::master::{Hooks, MasterEvent};
use aiotest_core::message::ProcessId;
use aiotest_core::run::RunSpec;
use aiotest_runner::master::{DEFAULT_BUCKETS_MS, Master, Options};
use serde_json::{Value, json};

use super::{SECRET, classes, raw, spec, token, wait};
use crate::crowd::Crowd;

const ADDRESSES: &str = "AIOTEST_TEST_ADDRESSES";
const STATE: &str = "AIOTEST_TEST_STATE";
const SPEC: &str = "AIOTEST_TEST_SPEC";

/// No test, but what the test below starts as a process of its own; anybody else's process has nothing to do here.
#[test]
fn a_master_process() {
    let Ok(addresses) = std::env::var(ADDRESSES) else { return };
    let variable = |name| std::env::var(name).expect("started by the test of restarts");
    let (control_address, metrics_address) = addresses.split_once(' ').unwrap();
    let options = Options {
        control_address: control_address.into(),
        metrics_address: metrics_address.into(),
        token: token(),
        buckets_ms: DEFAULT_BUCKETS_MS.to_vec(),
        keep_result: true,
        linger: None,
        state_dir: Some(variable(STATE).into()),
        hooks: Hooks::default(),
    };
    let spec: RunSpec = serde_json::from_str(&variable(SPEC)).unwrap();
    let master = Master::start(spec, classes(), options).unwrap();
    wait(Duration::from_secs(60), "the end", || {
        master.events().drain().iter().any(|event| matches!(event, MasterEvent::Ended { .. }))
    });
}

/// A master process at addresses that stay the same over restarts.
struct Process {
    child: Child,
    control: SocketAddr,
    metrics: SocketAddr,
}

impl Process {
    fn start(spec: &RunSpec, (control, metrics): (SocketAddr, SocketAddr), state: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["restart::a_master_process", "--exact", "--nocapture"])
            .env(ADDRESSES, format!("{control} {metrics}"))
            .env(STATE, state)
            .env(SPEC, serde_json::to_string(spec).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let process = Self { child, control, metrics };
        wait(Duration::from_secs(10), "a master that accepts joins", || {
            std::net::TcpStream::connect(metrics).is_ok() && raw(metrics, "GET", "/readyz", None, "").0 == 200
        });
        process
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        raw(self.control, method, path, Some(SECRET), &body.to_string())
    }

    /// Requests sent, as a scrape tells them; `None` while there is nothing to be told.
    fn scraped(&self) -> Option<u64> {
        let (status, text) = raw(self.metrics, "GET", "/metrics", None, "");
        if status == 503 {
            return None;
        }
        let line = text.lines().find(|line| line.starts_with("aiotest_requests_sent_total{"));
        Some(line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap()))
    }

    fn result(&self) -> String {
        let mut result = (0, String::new());
        wait(Duration::from_secs(30), "a result", || {
            result = self.call("GET", "/v1/result", &Value::Null);
            result.0 == 200
        });
        result.1
    }
}

/// Nobody listens there.
fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_killed_master_goes_on_with_its_run_and_ends_with_exact_counts() {
    let spec = spec(40, 9);
    let (addresses, state) = ((free(), free()), tempfile::tempdir().unwrap());
    let start = || Process::start(&spec, addresses, state.path());
    let join = |runner: u32, incarnation: u64| {
        let who = ProcessId { runner: format!("runner-{runner}"), process: 0, incarnation };
        Crowd::join(who, &spec, &classes(), &addresses.0.to_string(), &token())
    };
    let users = |crowd: &Crowd| crowd.seen.users.load(Ordering::Relaxed);
    let master = start();
    let (stays, dies) = (join(0, 1), join(1, 1));
    wait(Duration::from_secs(10), "20 users on each", || users(&stays) == 20 && users(&dies) == 20);

    // One dies, and only the master knows what it had measured.
    wait(Duration::from_secs(5), "some measurements", || master.scraped() > Some(100));
    let by_the_dead = dies.kill();
    let departure = json!({
        "process": {"runner": "runner-1", "process": 0, "incarnation": 1},
        "exit": "killed by signal 9", "sent_total": by_the_dead,
    });
    assert_eq!(master.call("POST", "/v1/departed", &departure).0, 200);
    let back = join(1, 2);
    wait(Duration::from_secs(8), "20 users on each again", || users(&stays) == 20 && users(&back) == 20);
    let told = master.scraped().unwrap();

    master.kill();
    let away = std::time::Instant::now();
    while away.elapsed() < Duration::from_millis(700) {
        assert_eq!((users(&stays), users(&back)), (20, 20), "the load goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    let master = start();
    let mut learned = None;
    wait(Duration::from_secs(5), "every process to be heard again", || {
        learned = master.scraped();
        learned.is_some()
    });
    assert!(Some(told) <= learned, "a counter fell from {told} to {learned:?}");
    assert_eq!((users(&stays), users(&back)), (20, 20));

    let seen = [&stays, &back].map(|crowd| Arc::clone(&crowd.seen));
    assert_eq!([stays.finish(), back.finish()], [0, 0]);
    let bytes = master.result();
    let report: Value = serde_json::from_str(&bytes).unwrap();
    let sent = by_the_dead + seen.iter().map(|seen| seen.sent.load(Ordering::Relaxed)).sum::<u64>();
    let lost = report["gaps"][0]["lost_at_most"].as_u64().unwrap();
    assert_eq!(report["total"]["sent"].as_u64().unwrap() + lost, sent, "{report:#}");
    assert_eq!(report["gaps"].as_array().unwrap().len(), 1, "{report:#}");
    assert_eq!((&report["verdict"]["result"], &report["run"]["duration_s"]), (&json!("Passed"), &json!(9.0)));

    // Killed once more, before anybody has said that the report is in his hands.
    master.kill();
    let mut master = start();
    assert_eq!(master.result(), bytes, "the same report, to the byte");
    assert_eq!(master.scraped(), report["total"]["sent"].as_u64());
    assert_eq!(master.call("POST", "/v1/result/acknowledged", &json!({})).0, 200);
    assert!(master.child.wait().unwrap().success(), "it ends of itself");
}

#[test]
fn a_master_that_is_lost_with_its_checkpoint_is_replaced_and_its_run_goes_on() {
    let spec = spec(40, 8);
    let addresses = (free(), free());
    let states = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let crowds = [0, 1].map(|runner| {
        let who = ProcessId { runner: format!("runner-{runner}"), process: 0, incarnation: 1 };
        Crowd::join(who, &spec, &classes(), &addresses.0.to_string(), &token())
    });
    let seen = crowds.each_ref().map(|crowd| Arc::clone(&crowd.seen));
    let users = || seen.each_ref().map(|seen| seen.users.load(Ordering::Relaxed));
    let master = Process::start(&spec, addresses, states[0].path());
    wait(Duration::from_secs(10), "20 users on each", || users() == [20, 20]);
    wait(Duration::from_secs(5), "some measurements", || master.scraped() > Some(100));
    master.kill();
    // Long enough that everybody has called in vain.
    let lost = std::time::Instant::now();
    while lost.elapsed() < Duration::from_millis(1500) {
        assert_eq!(users(), [20, 20], "the load goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut master = Process::start(&spec, addresses, states[1].path());
    wait(Duration::from_secs(5), "every process to be heard", || master.scraped().is_some());
    assert_eq!(users(), [20, 20]);
    assert_eq!(crowds.map(Crowd::finish), [0, 0]);
    let report: Value = serde_json::from_str(&master.result()).unwrap();
    let sent: u64 = seen.iter().map(|seen| seen.sent.load(Ordering::Relaxed)).sum();
    assert_eq!(report["total"]["sent"], sent, "{report:#}");
    assert_eq!((&report["run"]["duration_s"], &report["gaps"]), (&json!(8.0), &json!([])));
    assert_eq!(report["verdict"]["result"], "Passed");
    let reason = report["verdict"]["reasons"][0].as_str().unwrap();
    assert!(reason.starts_with("the master was replaced"), "{reason}");
    assert_eq!(master.call("POST", "/v1/result/acknowledged", &json!({})).0, 200);
    assert!(master.child.wait().unwrap().success());
}
