//! A pod's life with shell scripts for processes and a stub for the master's port.

use std::path::PathBuf;
use std::sync::Mutex;

use aiotest_core::message::{ProcessId, Status};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use tempfile::TempDir;
use tokio::sync::mpsc::Sender;

use super::*;
use crate::parent::child::Program;
use crate::parent::child::tests::{shell, until};

/// A master whose answers the test decides.
struct Desk {
    state: Mutex<RunState>,
    /// Deaths that it was told of, those included that it was away for.
    told: Mutex<Vec<Departure>>,
    away: Mutex<u32>,
}

async fn stub(State(desk): State<Arc<Desk>>, uri: Uri, body: String) -> (StatusCode, String) {
    if uri.path() == "/v1/status" {
        let status = Status { state: *desk.state.lock().unwrap(), ..Status::default() };
        return (StatusCode::OK, serde_json::to_string(&status).unwrap());
    }
    desk.told.lock().unwrap().push(serde_json::from_str(&body).unwrap());
    let mut away = desk.away.lock().unwrap();
    let answer = if 0 < *away { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    *away = away.saturating_sub(1);
    (answer, String::new())
}

/// Shell scripts that may note in a folder that they are ready, as `PROCESS.LIFE`.
struct Scripts {
    folder: PathBuf,
    /// What a life of a process does, which finds the note's name in `$NOTE`.
    script: fn(u32, u64) -> &'static str,
}

impl Kind for Scripts {
    fn program(&self, process: &ProcessId) -> Program {
        let life = process.incarnation - FIRST;
        let note = self.folder.join(format!("{}.{life}", process.process));
        shell(&format!("NOTE={}; {}", note.display(), (self.script)(process.process, life)))
    }

    fn sent_total(&self, _: &ProcessId) -> Option<u64> {
        Some(7)
    }
}

const FIRST: u64 = 1_000;
const WORKS: &str = "trap 'exit 75' TERM; touch $NOTE; while :; do sleep 0.02; done";

/// A pod of two processes under way.
struct Pod {
    folder: TempDir,
    desk: Arc<Desk>,
    signals: Sender<()>,
    ended: tokio::task::JoinHandle<i32>,
}

async fn pod(away: u32, script: fn(u32, u64) -> &'static str) -> Pod {
    let folder = tempfile::tempdir().unwrap();
    let desk = Desk { state: Mutex::new(RunState::Running), told: Mutex::default(), away: Mutex::new(away) };
    let desk = Arc::new(desk);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = MasterClient::new(&listener.local_addr().unwrap().to_string(), "secret").unwrap();
    let router = Router::new().fallback(stub).with_state(Arc::clone(&desk));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let order = Order {
        runner: "pod-a".into(),
        processes: 2,
        incarnation: FIRST,
        hand_over: Duration::from_millis(200),
    };
    let scripts = Scripts { folder: folder.path().to_owned(), script };
    let (signals, interrupts) = Interrupts::by_hand();
    let session = Session::start(&order, scripts, client, &Output::captured());
    Pod { folder, desk, signals, ended: tokio::spawn(session.follow(interrupts)) }
}

impl Pod {
    async fn is_ready(&self, life: &str) {
        until(&format!("{life} is ready"), || self.folder.path().join(life).exists()).await;
    }

    async fn exit_code(self) -> i32 {
        timeout(Duration::from_secs(20), self.ended).await.expect("the pod does not end").unwrap()
    }
}

#[tokio::test]
async fn a_pod_ends_well_when_the_master_confirms_that_the_run_is_over() {
    let pod = pod(0, |process, _| if process == 0 { "sleep 0.2; exit 0" } else { "sleep 0.4; exit 0" }).await;
    *pod.desk.state.lock().unwrap() = RunState::Ended;
    let desk = Arc::clone(&pod.desk);
    assert_eq!(pod.exit_code().await, 0);
    assert_eq!(*desk.told.lock().unwrap(), []);
}

#[tokio::test]
async fn a_process_that_ends_well_in_mid_run_has_died_all_the_same() {
    let pod = pod(0, |process, life| if (process, life) == (0, 0) { "exit 0" } else { WORKS }).await;
    pod.is_ready("0.1").await;
    assert_eq!(pod.desk.told.lock().unwrap()[0].exit, "exit code 0");
    pod.signals.send(()).await.unwrap();
    assert_eq!(pod.exit_code().await, 75);
}

#[tokio::test]
async fn a_master_that_is_away_is_told_of_a_death_once_it_is_back() {
    let pod = pod(2, |process, life| if (process, life) == (1, 0) { "exit 9" } else { WORKS }).await;
    pod.is_ready("1.1").await;
    until("it has heard of it", || pod.desk.told.lock().unwrap().len() == 3).await;
    let process = ProcessId { runner: "pod-a".into(), process: 1, incarnation: FIRST };
    let death = Departure { process, exit: "exit code 9".into(), sent_total: Some(7) };
    assert_eq!(*pod.desk.told.lock().unwrap(), [death.clone(), death.clone(), death]);
    pod.signals.send(()).await.unwrap();
    assert_eq!(pod.exit_code().await, 75);
}

#[tokio::test]
async fn a_process_that_does_not_hand_over_in_time_is_ended_and_the_pod_makes_room() {
    let stubborn = |process, _| {
        if process == 0 { "trap '' TERM; touch $NOTE; while :; do sleep 1; done" } else { WORKS }
    };
    let pod = pod(0, stubborn).await;
    pod.is_ready("0.0").await;
    pod.is_ready("1.0").await;
    pod.signals.send(()).await.unwrap();
    let desk = Arc::clone(&pod.desk);
    assert_eq!(pod.exit_code().await, 75);
    let mut exits: Vec<_> = desk.told.lock().unwrap().iter().map(|death| death.exit.clone()).collect();
    exits.sort();
    assert_eq!(exits, ["exit code 75", "killed by signal 9"]);
}

#[tokio::test]
async fn a_pod_none_of_whose_processes_can_run_leaves_the_next_try_to_its_job() {
    assert_eq!(pod(0, |_, _| "exit 3").await.exit_code().await, NOT_RUN);
}
