//! The life of one pod's processes, from their start to the pod's exit code.
//!
//! Only the master is asked for anything. Whatever way the pod ends, none of its processes is left.
//! Start at [`Session::follow`].

use std::sync::Arc;
use std::time::Duration;

use aiotest_core::message::{Departure, RunState};
use aiotest_core::runner::EXIT_HANDED_OVER;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::parent::interrupts::Interrupts;
use crate::parent::output::{Output, Stream};
use crate::parent::supervise::{Event, Kind, Supervisor};
use crate::parent::with_causes;
use aiotest_wire::client::{self as master_client, MasterClient};

/// Exit code of a pod none of whose processes can run.
pub(super) const NOT_RUN: i32 = 3;
/// How long the master may take to confirm that the run is over; less than a supervisor waits for it.
const CONFIRMATION: Duration = Duration::from_millis(1500);
/// How long processes may take once the run is over: their handlers of `test_stop` and `quitting` have 10 s each.
const LAST_HANDLERS: Duration = Duration::from_secs(25);
/// Between two tries to tell the master of a death; doubles, up to the last one.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// How long a master that is away is told of a death: by then it has noticed it by itself, or is gone for good.
const TELLING: Duration = Duration::from_secs(300);
/// The same, once no process is left.
const LAST_WORD: Duration = Duration::from_secs(4);

/// What a pod has to run.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// The runner's name.
    pub(super) runner: String,
    /// Processes of it.
    pub(super) processes: u32,
    /// The first incarnation of each.
    pub(super) incarnation: u64,
    /// How long they may take to hand over.
    pub(super) hand_over: Duration,
}

/// The processes of a pod under way.
pub(super) struct Session {
    output: Output,
    client: MasterClient,
    supervisor: Supervisor,
    hand_over: Duration,
    /// The run is, as far as the master or a process of its has said.
    over: bool,
    /// Somebody needs the pod's place.
    asked_to_leave: bool,
    /// Deaths that the master is being told of.
    errands: JoinSet<()>,
    /// Questions to the master whether the run is over.
    questions: JoinSet<bool>,
    /// When what still runs is ended.
    deadline: Option<Instant>,
}

impl Session {
    /// Starts every process. Needs a tokio runtime.
    pub(super) fn start(order: &Order, kind: impl Kind, client: MasterClient, output: &Output) -> Self {
        let slots: Vec<_> = (0..order.processes).map(|process| (order.runner.clone(), process)).collect();
        Self {
            output: output.clone(),
            client,
            supervisor: Supervisor::start(&slots, order.incarnation, &Arc::new(kind), output),
            hand_over: order.hand_over,
            over: false,
            asked_to_leave: false,
            errands: JoinSet::new(),
            questions: JoinSet::new(),
            deadline: None,
        }
    }

    /// Follows the processes until none is left. Returns the pod's exit code.
    pub(super) async fn follow(mut self, mut interrupts: Interrupts) -> i32 {
        loop {
            let deadline = self.deadline;
            tokio::select! {
                event = self.supervisor.next() => match event {
                    Some(event) => self.take_in(event),
                    None => break,
                },
                Some(answer) = self.questions.join_next() => self.learn(answer.unwrap_or_default()),
                () = interrupts.next() => self.leave(),
                () = until(deadline) => {
                    self.deadline = None;
                    self.supervisor.end_now();
                }
            }
        }
        while let Some(answer) = self.questions.join_next().await {
            self.learn(answer.unwrap_or_default());
        }
        let _ = timeout(LAST_WORD, async { while self.errands.join_next().await.is_some() {} }).await;
        exit_code(self.over, self.asked_to_leave)
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Departed(departure) => {
                self.say(&format!("{} has ended: {}", departure.process, departure.exit));
                let (client, output) = (self.client.clone(), self.output.clone());
                self.errands.spawn(async move {
                    if let Err(error) = tell(&client, &departure).await {
                        output.line(Stream::Err, &format!("aiotest: {}", with_causes(&error)));
                    }
                });
            }
            Event::EndedWell(_) => {
                let client = self.client.clone();
                self.questions.spawn(async move { is_over(&client).await });
            }
            Event::GivenUp { process, exit } => {
                self.say(&format!("{process} is not started again: {exit}"));
            }
        }
    }

    /// Takes in whether the run is over.
    fn learn(&mut self, over: bool) {
        if over && !std::mem::replace(&mut self.over, true) {
            self.supervisor.expect_end();
            self.end_by(LAST_HANDLERS);
        }
    }

    /// Somebody needs the pod's place. Whoever asks twice does not want to wait.
    fn leave(&mut self) {
        if std::mem::replace(&mut self.asked_to_leave, true) {
            return self.supervisor.end_now();
        }
        self.say("asked to leave: the users go to other runners");
        self.supervisor.hand_over();
        self.end_by(self.hand_over);
    }

    fn end_by(&mut self, patience: Duration) {
        let latest = Instant::now() + patience;
        self.deadline = Some(self.deadline.map_or(latest, |known| known.min(latest)));
    }

    fn say(&self, text: &str) {
        self.output.line(Stream::Err, &format!("aiotest: {text}"));
    }
}

/// The exit code of a pod that has no process any more. 0 is the last word on its place in the Job, so it says that the
/// run is over and nothing else; after all others the Job makes another pod.
fn exit_code(over: bool, asked_to_leave: bool) -> i32 {
    match (over, asked_to_leave) {
        (true, _) => 0,
        (false, true) => i32::from(EXIT_HANDED_OVER),
        (false, false) => NOT_RUN,
    }
}

/// Whether the run is over, as its master says. One that is gone has ended it.
async fn is_over(client: &MasterClient) -> bool {
    match timeout(CONFIRMATION, client.status()).await {
        Ok(Ok(status)) => status.state == RunState::Ended,
        Ok(Err(_)) | Err(_) => true,
    }
}

/// Tells the master of a death, again and again while it is away.
async fn tell(client: &MasterClient, departure: &Departure) -> Result<(), master_client::Error> {
    let (limit, mut wait) = (Instant::now() + TELLING, FIRST_RETRY);
    loop {
        match client.departed(departure).await {
            Err(error) if error.is_passing() && Instant::now() < limit => {}
            done => return done,
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_RETRY);
    }
}

/// Never, where there is no deadline.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
