//! Keeps the runner processes of one parent alive: starts each, starts it again when it dies, and tells of every death.
//!
//! Knows nothing of the master; its owner passes the deaths on. The same on a laptop (N runners of one process) and in
//! a pod (one runner of P processes). No process outlives the [`Supervisor`]. Start at [`Supervisor::start`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use aiotest_core::message::{Departure, ProcessId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::child::{self, Child, Exit, Program};
use super::output::Output;
use super::restarts::{Next, Restarts};

/// How long a process that ended well while nobody had heard of the run's end waits for that news before its end counts
/// as a death. A scenario that calls `sys.exit()` looks like this.
const NEWS_OF_THE_END: Duration = Duration::from_secs(2);
/// How long a process that was asked to end has for it.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Exit code by which a process says itself that no other start would help: its scenario cannot be run, its token is not
/// the master's, or no master answered until the deadline.
const CANNOT_RUN: i32 = 3;

/// What every process of the run is asked for; only ever goes further down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    /// Runs, and is started again if it dies.
    Running,
    /// Ends when its master says so, and stays ended.
    Ending,
    /// Hands its users over to other processes, and ends.
    Leaving,
    /// Ends at once.
    Gone,
}

/// How to start the processes and what they leave behind.
pub(crate) trait Kind: Send + Sync + 'static {
    /// The program of one incarnation of a process.
    fn program(&self, process: &ProcessId) -> Program;
    /// The requests that it had sent, if that is known after its death.
    fn sent_total(&self, process: &ProcessId) -> Option<u64>;
}

/// Something that happened to a process.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// It died, and is started again unless the run is ending.
    Departed(Departure),
    /// It ended with exit code 0, which a process of this package does when its master has ended the run. Unless
    /// [`Supervisor::expect_end`] confirms that soon, its departure follows.
    EndedWell(ProcessId),
    /// It died every time it was started, or says that it cannot run, and has been left.
    GivenUp {
        /// Its last incarnation.
        process: ProcessId,
        /// How that one ended.
        exit: Exit,
    },
}

/// The processes of one parent.
pub(crate) struct Supervisor {
    wanted: watch::Sender<Wanted>,
    events: mpsc::UnboundedReceiver<Event>,
    keepers: JoinSet<()>,
}

impl Supervisor {
    /// Starts every process of `slots` (runner, process within it), each as its `incarnation`, which rises from there.
    /// Needs a tokio runtime.
    pub(crate) fn start(
        slots: &[(String, u32)],
        incarnation: u64,
        kind: &Arc<impl Kind>,
        output: &Output,
    ) -> Self {
        let (wanted, _) = watch::channel(Wanted::Running);
        let (sender, events) = mpsc::unbounded_channel();
        let mut keepers = JoinSet::new();
        for (runner, process) in slots {
            let process = ProcessId { runner: runner.clone(), process: *process, incarnation };
            let keeper = Keeper {
                process,
                kind: Arc::clone(kind),
                output: output.clone(),
                wanted: wanted.subscribe(),
                events: sender.clone(),
            };
            keepers.spawn(keeper.keep());
        }
        Self { wanted, events, keepers }
    }

    /// The next event; `None` when every process is gone for good. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// From now on processes end when their master says so, and stay ended.
    pub(crate) fn expect_end(&self) {
        self.advance(Wanted::Ending);
    }

    /// From now on processes hand over and end, and stay ended.
    pub(crate) fn hand_over(&self) {
        self.advance(Wanted::Leaving);
    }

    /// Ends at once whatever still runs; its departures are told.
    pub(crate) fn end_now(&self) {
        self.advance(Wanted::Gone);
    }

    /// Waits until every process has ended by itself, for at most `patience`; then ends the rest.
    pub(crate) async fn finish(mut self, patience: Duration) {
        self.expect_end();
        let all_gone = async { while self.keepers.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all_gone).await.is_err() {
            self.end_now();
            while self.keepers.join_next().await.is_some() {}
        }
    }

    fn advance(&self, to: Wanted) {
        self.wanted.send_if_modified(|wanted| {
            let further = *wanted < to;
            *wanted = (*wanted).max(to);
            further
        });
    }
}

/// Keeps one process.
struct Keeper<K> {
    process: ProcessId,
    kind: Arc<K>,
    output: Output,
    wanted: watch::Receiver<Wanted>,
    events: mpsc::UnboundedSender<Event>,
}

impl<K: Kind> Keeper<K> {
    async fn keep(mut self) {
        let mut restarts = Restarts::default();
        loop {
            let started = Instant::now();
            let exit = self.live().await;
            if exit == Exit::Code(0) {
                let _ = self.events.send(Event::EndedWell(self.process.clone()));
                if self.hears_of_the_end().await {
                    return;
                }
            }
            self.tell_departure(&exit);
            if *self.wanted.borrow() != Wanted::Running {
                return;
            }
            let next =
                if exit == Exit::Code(CANNOT_RUN) { Next::GiveUp } else { restarts.next(started.elapsed()) };
            match next {
                Next::StartAfter(wait) => {
                    let ending = self.wanted.wait_for(|wanted| *wanted != Wanted::Running);
                    if tokio::time::timeout(wait, ending).await.is_ok() {
                        return;
                    }
                }
                Next::GiveUp => {
                    let _ = self.events.send(Event::GivenUp { process: self.process, exit });
                    return;
                }
            }
            self.process.incarnation += 1;
        }
    }

    /// One incarnation from its start to its end.
    async fn live(&mut self) -> Exit {
        let mut child = match child::spawn(&self.kind.program(&self.process), &self.output) {
            Ok(child) => child,
            Err(error) => return Exit::NotStarted(error.to_string()),
        };
        for (stage, ask) in [(Wanted::Leaving, Child::terminate as fn(&Child)), (Wanted::Gone, |_| {})] {
            tokio::select! {
                exit = child.wait() => return exit,
                _ = self.wanted.wait_for(|wanted| stage <= *wanted) => ask(&child),
            }
        }
        end(child).await
    }

    async fn hears_of_the_end(&mut self) -> bool {
        let news = self.wanted.wait_for(|wanted| *wanted != Wanted::Running);
        tokio::time::timeout(NEWS_OF_THE_END, news).await.is_ok()
    }

    fn tell_departure(&self, exit: &Exit) {
        let departure = Departure {
            process: self.process.clone(),
            exit: exit.to_string(),
            sent_total: self.kind.sent_total(&self.process),
        };
        // Nobody listens any more only when the supervisor itself is going.
        let _ = self.events.send(Event::Departed(departure));
    }
}

/// Ends a child: asks first, and does not ask long.
pub(crate) async fn end(mut child: Child) -> Exit {
    child.close_stdin();
    child.terminate();
    if let Ok(exit) = tokio::time::timeout(LAST_WORDS, child.wait()).await {
        return exit;
    }
    child.kill();
    child.wait().await
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::super::child::tests::{is_alive, shell, until};
    use super::*;

    /// Shell scripts that note their pids in a folder: `NAME.INCARNATION`.
    struct Scripts {
        folder: PathBuf,
        /// What an incarnation does after the note.
        script: fn(&ProcessId) -> &'static str,
    }

    impl Kind for Scripts {
        fn program(&self, process: &ProcessId) -> Program {
            let note =
                self.folder.join(format!("{}.{}", process.runner, process.incarnation)).display().to_string();
            let script = (self.script)(process);
            shell(&format!("echo $$ > {note}.new; mv {note}.new {note}; {script}"))
        }

        fn sent_total(&self, process: &ProcessId) -> Option<u64> {
            Some(100 + process.incarnation)
        }
    }

    struct Crew {
        folder: TempDir,
        supervisor: Supervisor,
    }

    fn crew(names: &[&str], script: fn(&ProcessId) -> &'static str) -> Crew {
        let folder = tempfile::tempdir().unwrap();
        let kind = Arc::new(Scripts { folder: folder.path().to_owned(), script });
        let slots: Vec<_> = names.iter().map(|name| ((*name).to_owned(), 0)).collect();
        let supervisor = Supervisor::start(&slots, 0, &kind, &Output::captured());
        Crew { folder, supervisor }
    }

    impl Crew {
        async fn pid(&self, note: &str) -> u32 {
            let path = self.folder.path().join(note);
            until(&format!("{note} has started"), || path.exists()).await;
            fs::read_to_string(path).unwrap().trim().parse().unwrap()
        }

        async fn departure(&mut self) -> Departure {
            match tokio::time::timeout(Duration::from_secs(10), self.supervisor.next()).await {
                Ok(Some(Event::Departed(departure))) => departure,
                other => panic!("no departure: {other:?}"),
            }
        }
    }

    impl Crew {
        async fn ended_well(&mut self) -> ProcessId {
            match tokio::time::timeout(Duration::from_secs(10), self.supervisor.next()).await {
                Ok(Some(Event::EndedWell(process))) => process,
                other => panic!("no good end: {other:?}"),
            }
        }
    }

    fn kill(pid: u32) {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn a_killed_process_is_told_of_and_started_again_at_once_beside_the_others() {
        let mut crew = crew(&["runner-0", "runner-1"], |_| "sleep 300");
        let (first, other) = (crew.pid("runner-0.0").await, crew.pid("runner-1.0").await);
        kill(first);
        let departure = crew.departure().await;
        let process = ProcessId { runner: "runner-0".into(), process: 0, incarnation: 0 };
        assert_eq!(
            departure,
            Departure { process, exit: "killed by signal 9".into(), sent_total: Some(100) }
        );
        let second = crew.pid("runner-0.1").await;
        assert!(is_alive(second) && is_alive(other) && !is_alive(first));

        crew.supervisor.finish(Duration::ZERO).await;
        assert!(!is_alive(second) && !is_alive(other), "finish leaves nothing behind");
    }

    #[tokio::test]
    async fn a_dropped_supervisor_leaves_no_process_behind() {
        let crew = crew(&["runner-0"], |_| "trap '' TERM; while :; do sleep 1; done");
        let pid = crew.pid("runner-0.0").await;
        drop(crew.supervisor);
        until("it is gone", || !is_alive(pid)).await;
    }

    #[tokio::test]
    async fn one_that_will_not_end_is_killed() {
        let crew = crew(&["runner-0"], |_| "trap '' TERM; while :; do sleep 1; done");
        let pid = crew.pid("runner-0.0").await;
        let started = Instant::now();
        crew.supervisor.finish(Duration::from_millis(10)).await;
        assert!(!is_alive(pid));
        assert!(LAST_WORDS <= started.elapsed() && started.elapsed() < 2 * LAST_WORDS);
    }

    #[tokio::test]
    async fn at_the_end_nothing_is_started_again() {
        let mut crew = crew(&["runner-0", "runner-1"], |process| {
            if process.runner == "runner-0" { "read line; exit 0" } else { "sleep 300" }
        });
        let (_, other) = (crew.pid("runner-0.0").await, crew.pid("runner-1.0").await);
        crew.supervisor.expect_end();
        kill(other);
        assert_eq!(crew.departure().await.process.runner, "runner-1");
        crew.supervisor.finish(Duration::from_millis(10)).await;
        assert!(!crew.folder.path().join("runner-1.1").exists());
    }

    #[tokio::test]
    async fn a_clean_exit_in_mid_run_counts_as_a_death() {
        let mut crew =
            crew(&["runner-0"], |process| if process.incarnation == 0 { "exit 0" } else { "sleep 300" });
        assert_eq!(crew.ended_well().await.incarnation, 0);
        assert_eq!(crew.departure().await.exit, "exit code 0");
        assert!(is_alive(crew.pid("runner-0.1").await));
    }

    #[tokio::test]
    async fn a_clean_exit_after_the_end_is_no_death() {
        let mut crew = crew(&["runner-0"], |_| "exit 0");
        crew.pid("runner-0.0").await;
        crew.ended_well().await;
        crew.supervisor.expect_end();
        assert_eq!(crew.supervisor.next().await, None);
    }

    #[tokio::test]
    async fn a_hand_over_is_asked_for_once_and_waited_for() {
        let mut crew =
            crew(&["runner-0"], |_| "trap 'sleep 0.2; exit 75' TERM; while :; do sleep 0.02; done");
        crew.pid("runner-0.0").await;
        crew.supervisor.hand_over();
        assert_eq!(crew.departure().await.exit, "exit code 75");
        assert_eq!(crew.supervisor.next().await, None, "and it is not started again");
    }

    #[tokio::test]
    async fn a_hand_over_that_does_not_end_is_ended_and_told() {
        let mut crew = crew(&["runner-0"], |_| "trap '' TERM; while :; do sleep 1; done");
        crew.pid("runner-0.0").await;
        crew.supervisor.hand_over();
        crew.supervisor.end_now();
        assert_eq!(crew.departure().await.exit, "killed by signal 9");
    }

    #[tokio::test]
    async fn one_that_says_that_it_cannot_run_is_not_started_again() {
        let mut crew = crew(&["runner-0"], |_| "exit 3");
        assert_eq!(crew.departure().await.exit, "exit code 3");
        let given_up = crew.supervisor.next().await;
        assert!(matches!(given_up, Some(Event::GivenUp { exit: Exit::Code(3), .. })), "{given_up:?}");
        assert_eq!(crew.supervisor.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_can_never_be_started_is_given_up() {
        struct Absent;
        impl Kind for Absent {
            fn program(&self, _: &ProcessId) -> Program {
                Program { executable: "/nowhere/python".into(), args: Vec::new() }
            }

            fn sent_total(&self, _: &ProcessId) -> Option<u64> {
                None
            }
        }
        let mut supervisor =
            Supervisor::start(&[("runner-0".into(), 0)], 0, &Arc::new(Absent), &Output::captured());
        let mut departures = 0;
        loop {
            match supervisor.next().await {
                Some(Event::Departed(departure)) => {
                    assert!(departure.exit.starts_with("not started: No such file"), "{}", departure.exit);
                    departures += 1;
                }
                Some(Event::GivenUp { process, .. }) => {
                    assert_eq!((departures, process.incarnation), (20, 19));
                    break;
                }
                other => panic!("ended without giving up: {other:?}"),
            }
        }
        assert_eq!(supervisor.next().await, None);
    }
}
