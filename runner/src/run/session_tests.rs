//! Whole sessions with shell scripts for processes and a stub for the master's port: what the parent does, without an
//! interpreter and without load.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;

use aiotest_core::message::Status;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc::Sender;

use super::*;
use crate::parent::child::tests::{is_alive, until};

/// A master that is ready at once and ends when its report is acknowledged.
const MASTER: &str = r#"
printf '{"control": "CONTROL", "metrics": "127.0.0.1:1"}' > $ready.new; mv $ready.new $ready
while [ ! -e DESK/acknowledged ]; do sleep 0.05; done"#;
/// A runner that ends when the run has.
const RUNNER: &str = "while [ ! -e DESK/ended ]; do sleep 0.05; done";

/// What the stub was asked, and the folder where the scripts note their pids and learn of the run's end.
struct Desk {
    folder: TempDir,
    asked: Mutex<VecDeque<(String, String, Value)>>,
}

impl Desk {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn end(&self) {
        fs::write(self.path("ended"), "").unwrap();
    }

    /// What was posted to `path`, in order.
    fn posted(&self, path: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(asked, _, _)| asked == path).map(|(_, _, body)| body.clone()).collect()
    }

    async fn pid(&self, name: &str) -> u32 {
        let path = self.path(name);
        until(&format!("{name} has started"), || path.exists()).await;
        fs::read_to_string(path).unwrap().trim().parse().unwrap()
    }

    /// Every process that has noted its pid.
    fn pids(&self) -> Vec<u32> {
        let notes = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        notes.filter_map(|note| fs::read_to_string(note).ok()?.trim().parse().ok()).collect()
    }
}

/// The master's port: the run goes on until it is stopped or the file `ended` is there.
async fn stub(
    State(desk): State<Arc<Desk>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> String {
    let token = headers["authorization"].to_str().unwrap().to_owned();
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    desk.asked.lock().unwrap().push_back((uri.path().to_owned(), token, json));
    let ended = desk.path("ended").exists();
    match (method.as_str(), uri.path()) {
        ("GET", "/v1/status") => {
            let state = if ended { RunState::Ended } else { RunState::Running };
            serde_json::to_string(&Status { state, expected: 2, joined: 2, ..Status::default() }).unwrap()
        }
        ("GET", "/v1/result") => {
            let mut report = Report { version: 1, ..Report::default() };
            report.run.id = "7f".to_owned();
            serde_json::to_string(&report).unwrap()
        }
        ("POST", "/v1/stop") => {
            desk.end();
            String::new()
        }
        ("POST", "/v1/result/acknowledged") => {
            fs::write(desk.path("acknowledged"), "").unwrap();
            String::new()
        }
        ("POST", "/v1/departed") => String::new(),
        other => panic!("the parent asked for {other:?}"),
    }
}

/// A session under way.
struct Scene {
    desk: Arc<Desk>,
    output: Output,
    interrupt: Sender<()>,
    order: Order,
    stage: Stage,
    interrupts: Interrupts,
}

async fn scene(master: &str, runner: &str) -> Scene {
    let desk = Arc::new(Desk { folder: tempfile::tempdir().unwrap(), asked: Mutex::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let control = listener.local_addr().unwrap().to_string();
    let router = Router::new().fallback(stub).with_state(Arc::clone(&desk));
    tokio::spawn(async move { axum::serve(listener, router).await });

    let script = format!(
        r"#!/bin/sh
role=$3
while [ $# -gt 1 ]; do case $1 in
    --ready-file) ready=$2;; --id) id=$2;; --incarnation) life=$2;;
esac; shift; done
if [ $role = master ]; then
echo $$ > DESK/master.new; mv DESK/master.new DESK/master
{master}
else
echo $$ > DESK/$id.$life.new; mv DESK/$id.$life.new DESK/$id.$life
{runner}
fi
"
    );
    let script =
        script.replace("DESK", &desk.folder.path().display().to_string()).replace("CONTROL", &control);
    let python = desk.path("python");
    fs::write(&python, script).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o700)).unwrap();
    let stage = Stage::set(&python).unwrap();
    let order = Order {
        slots: vec![("runner-0".into(), 0), ("runner-1".into(), 0)],
        metrics_address: "127.0.0.1:0".into(),
        startup: Duration::from_secs(10),
        stop: Duration::from_secs(30),
    };
    let (interrupt, interrupts) = Interrupts::by_hand();
    Scene { desk, output: Output::captured(), interrupt, order, stage, interrupts }
}

impl Scene {
    /// Carries the run out to its end while `meanwhile` does something to it.
    async fn play(self, meanwhile: impl Future<Output = ()>) -> (Result<Report, Error>, String) {
        let run = async {
            let finished = carry_out(&self.order, &self.stage, self.interrupts, &self.output).await?;
            let report = finished.report.clone();
            finished.leave(&self.output).await;
            Ok(report)
        };
        let whole = async { tokio::join!(run, meanwhile) };
        let (result, ()) = timeout(Duration::from_secs(30), whole).await.expect("the session ends");
        let pids = self.desk.pids();
        assert!(!pids.is_empty(), "something was started");
        until("no process is left", || pids.iter().all(|pid| !is_alive(*pid))).await;
        (result, self.output.taken(Stream::Err))
    }
}

#[tokio::test]
async fn a_run_is_followed_to_its_report_and_leaves_no_process() {
    let scene = scene(MASTER, RUNNER).await;
    let desk = Arc::clone(&scene.desk);
    let token = format!("Bearer {}", scene.stage.token());
    let (report, said) = scene
        .play(async {
            desk.pid("runner-0.0").await;
            desk.pid("runner-1.0").await;
            desk.end();
        })
        .await;
    assert_eq!(report.unwrap().run.id, "7f");
    assert_eq!(desk.posted("/v1/result/acknowledged").len(), 1);
    assert_eq!((desk.posted("/v1/departed").len(), desk.posted("/v1/stop").len()), (0, 0), "{said}");
    assert!(desk.asked.lock().unwrap().iter().all(|(_, with, _)| *with == token));
}

#[tokio::test]
async fn a_killed_runner_is_told_to_the_master_and_started_again() {
    let scene = scene(MASTER, RUNNER).await;
    let desk = Arc::clone(&scene.desk);
    let (report, said) = scene
        .play(async {
            let pid = desk.pid("runner-1.0").await;
            let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            desk.pid("runner-1.1").await;
            until("the master has been told", || !desk.posted("/v1/departed").is_empty()).await;
            desk.end();
        })
        .await;
    assert!(report.is_ok());
    let process = json!({"runner": "runner-1", "process": 0, "incarnation": 0});
    let departure = json!({"process": process, "exit": "killed by signal 9", "sent_total": null});
    assert_eq!(desk.posted("/v1/departed"), [departure]);
    assert!(said.contains("runner-1/0#0 has died: killed by signal 9\n"), "{said}");
}

#[tokio::test]
async fn the_first_interrupt_asks_the_master_to_stop() {
    let scene = scene(MASTER, RUNNER).await;
    let (desk, interrupt) = (Arc::clone(&scene.desk), scene.interrupt.clone());
    let (report, said) = scene
        .play(async {
            desk.pid("runner-0.0").await;
            interrupt.send(()).await.unwrap();
        })
        .await;
    assert!(report.is_ok(), "there is a report of an interrupted run");
    assert_eq!(desk.posted("/v1/stop"), [json!({"reason": "interrupted"})]);
    assert!(said.contains("interrupted: open calls may end within 30s; once more quits at once"), "{said}");
}

#[tokio::test]
async fn the_second_interrupt_quits_though_nothing_ends() {
    let scene =
        scene(&MASTER.replace("while", "trap '' TERM; while"), "trap '' TERM; while :; do sleep 1; done")
            .await;
    let (desk, interrupt) = (Arc::clone(&scene.desk), scene.interrupt.clone());
    let started = Instant::now();
    let (report, _) = scene
        .play(async {
            desk.pid("runner-0.0").await;
            desk.pid("runner-1.0").await;
            interrupt.send(()).await.unwrap();
            interrupt.send(()).await.unwrap();
        })
        .await;
    assert!(matches!(report, Err(Error::Quit)));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_script_that_cannot_be_run_starts_no_runner() {
    let refusing = r#"echo 'aiotest: f.py:3: no' >&2; printf '{"error": "f.py:3: no"}' > $ready; exit 3"#;
    let scene = scene(refusing, RUNNER).await;
    let desk = Arc::clone(&scene.desk);
    let (report, said) = scene.play(async {}).await;
    assert!(matches!(report, Err(Error::Script)));
    assert_eq!(said, "aiotest: f.py:3: no\n", "the master's own words, once");
    assert_eq!(desk.pids().len(), 1, "the master alone");
}

#[tokio::test]
async fn a_master_that_dies_takes_the_run_with_it() {
    let scene = scene(MASTER, RUNNER).await;
    let desk = Arc::clone(&scene.desk);
    let (report, _) = scene
        .play(async {
            desk.pid("runner-0.0").await;
            let pid = rustix::process::Pid::from_raw(desk.pid("master").await.cast_signed()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        })
        .await;
    let error = report.unwrap_err();
    assert!(error.is_invalid());
    let expected =
        "the master process has ended (killed by signal 9): its figures are lost, and the run is invalid";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_master_that_is_never_ready_is_given_up() {
    let mut scene = scene("sleep 300", RUNNER).await;
    scene.order.startup = Duration::from_millis(500);
    let (report, _) = scene.play(async {}).await;
    assert!(matches!(report, Err(Error::NotReady(_))));
}

#[tokio::test]
async fn an_interrupt_before_the_start_is_no_run() {
    let scene = scene("sleep 300", RUNNER).await;
    let (desk, interrupt) = (Arc::clone(&scene.desk), scene.interrupt.clone());
    let (report, _) = scene
        .play(async {
            desk.pid("master").await;
            interrupt.send(()).await.unwrap();
        })
        .await;
    assert!(matches!(report, Err(Error::InterruptedBeforeStart)));
}
