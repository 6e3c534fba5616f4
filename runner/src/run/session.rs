//! One run from its first process to its last: starts the master, then the runners, passes deaths and interrupts on,
//! and brings the report home.
//!
//! Only the master is asked for anything; what happens when is its decision. Whatever way a run ends, none of its
//! processes is left. Start at [`carry_out`].

use std::sync::Arc;
use std::time::Duration;

use aiotest_core::message::{RunState, StopReason};
use aiotest_core::report::Report;
use aiotest_core::run::RunSpec;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::progress::{self, News, Progress};
use super::stage::{Ready, Stage};
use crate::parent::child::{self, Child, Exit};
use crate::parent::interrupts::Interrupts;
use crate::parent::output::{Output, Stream};
use crate::parent::supervise::{self, Event, Supervisor};
use aiotest_wire::client::{self as master_client, MasterClient};

/// How often a master that has just been started is looked at.
const GLANCE: Duration = Duration::from_millis(20);
/// How long the runners have to end once the run has.
const RUNNERS_END: Duration = Duration::from_secs(10);
/// How long the master may keep `/metrics` up for a last scrape.
const LAST_SCRAPE: Duration = Duration::from_secs(80);

/// What a parent has to know of its run.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// Runners and processes in each.
    pub(crate) slots: Vec<(String, u32)>,
    /// Where the master serves `/metrics`.
    pub(crate) metrics_address: String,
    /// How long the master may take to read the scenario.
    pub(crate) startup: Duration,
    /// How long open calls may take once the run is stopped.
    pub(crate) stop: Duration,
}

impl Order {
    /// What a parent has to know of `spec`.
    pub(crate) fn of(spec: &RunSpec, metrics_address: String) -> Self {
        let runners = (0..spec.runners).map(|index| format!("runner-{index}"));
        let slots = runners
            .flat_map(|runner| (0..spec.processes_per_runner).map(move |process| (runner.clone(), process)))
            .collect();
        Self { slots, metrics_address, startup: spec.deadlines.startup, stop: spec.deadlines.stop }
    }
}

/// Why a run has no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The interpreter cannot be started.
    #[error("failed to start the master process: {0}")]
    Start(std::io::Error),
    /// The scenario cannot be run; the master has said why.
    #[error("the aiotestfile cannot be run: no request was sent")]
    Script,
    /// The master never said that it was ready.
    #[error("the master was not ready within deadlines.startup, {}: no request was sent", super::figures::span(*.0))]
    NotReady(Duration),
    /// Stopped before there was anything to report.
    #[error("interrupted before the start: no request was sent")]
    InterruptedBeforeStart,
    /// Stopped twice.
    #[error("interrupted twice: quit without a report")]
    Quit,
    /// The master died.
    #[error("the master process has ended ({exit}): {}", if *in_run { "its figures are lost, and the run is invalid" } else { "no request was sent" })]
    MasterDied {
        /// How.
        exit: Exit,
        /// Whether there was load.
        in_run: bool,
    },
    /// The master does not answer.
    #[error(
        "the master has not answered for {}: the run is invalid",
        super::figures::span(progress::SILENCE)
    )]
    MasterSilent(#[source] master_client::Error),
    /// No client for the master.
    #[error(transparent)]
    Client(#[from] master_client::Error),
}

impl Error {
    /// Whether load was on the target that nobody can judge any more.
    pub(crate) const fn is_invalid(&self) -> bool {
        matches!(self, Self::MasterDied { in_run: true, .. } | Self::MasterSilent(_))
    }
}

/// A run that has ended, with processes that still have to.
pub(crate) struct Finished {
    /// What the master reports.
    pub(crate) report: Report,
    client: MasterClient,
    supervisor: Supervisor,
    master: Child,
    interrupts: Interrupts,
}

/// Carries a run out until its report is there. The report is not acknowledged before [`Finished::leave`].
pub(crate) async fn carry_out(
    order: &Order,
    stage: &Stage,
    mut interrupts: Interrupts,
    output: &Output,
) -> Result<Finished, Error> {
    let mut master = child::spawn(&stage.master(&order.metrics_address), output).map_err(Error::Start)?;
    let control = until_ready(order, stage, &mut master, &mut interrupts, output).await?;
    let client = MasterClient::new(&control, stage.token())?;
    let supervisor = Supervisor::start(&order.slots, 0, &Arc::new(stage.runners(&control)), output);
    let mut session = Session {
        order,
        output,
        progress: Progress::new(output.clone()),
        client,
        supervisor,
        master,
        interrupts,
        errands: JoinSet::new(),
    };
    let ended = session.follow().await;
    session.progress.clear();
    let Session { client, supervisor, master, interrupts, .. } = session;
    match ended {
        Ok(report) => Ok(Finished { report, client, supervisor, master, interrupts }),
        // Whoever asks twice does not want to wait: dropping kills.
        Err(Error::Quit) => Err(Error::Quit),
        Err(error) => {
            tokio::join!(supervisor.finish(Duration::ZERO), supervise::end(master));
            Err(error)
        }
    }
}

/// Waits for the master's word that it accepts runners. Returns its control address.
async fn until_ready(
    order: &Order,
    stage: &Stage,
    master: &mut Child,
    interrupts: &mut Interrupts,
    output: &Output,
) -> Result<String, Error> {
    let deadline = Instant::now() + order.startup;
    loop {
        let exit = tokio::select! {
            exit = master.wait() => Some(exit),
            () = interrupts.next() => return Err(Error::InterruptedBeforeStart),
            () = sleep(GLANCE) => None,
        };
        match (stage.ready(), exit) {
            (Some(Ready::Listens { control, metrics }), None) => {
                output.line(Stream::Err, &format!("metrics on http://{metrics}/metrics"));
                return Ok(control);
            }
            (Some(Ready::Refused { .. }), Some(_)) => return Err(Error::Script),
            (_, Some(exit)) => return Err(Error::MasterDied { exit, in_run: false }),
            (_, None) if deadline <= Instant::now() => return Err(Error::NotReady(order.startup)),
            (_, None) => {}
        }
    }
}

struct Session<'a> {
    order: &'a Order,
    output: &'a Output,
    progress: Progress,
    client: MasterClient,
    supervisor: Supervisor,
    master: Child,
    interrupts: Interrupts,
    /// Calls to the master that nothing waits for.
    errands: JoinSet<()>,
}

impl Session<'_> {
    /// Follows the run to its report.
    async fn follow(&mut self) -> Result<Report, Error> {
        let (sender, mut news) = mpsc::channel(1);
        self.errands.spawn(progress::watch(self.client.clone(), sender));
        let (mut processes, mut alive, mut interrupted) = (true, self.order.slots.len(), false);
        loop {
            tokio::select! {
                exit = self.master.wait() => return Err(Error::MasterDied { exit, in_run: true }),
                Some(news) = news.recv() => match news {
                    News::Status(status) => {
                        if status.state == RunState::Ended {
                            self.supervisor.expect_end();
                        }
                        self.progress.show(&status);
                    }
                    News::Report(report) => return Ok(*report),
                    News::Silent(error) => return Err(Error::MasterSilent(error)),
                },
                event = self.supervisor.next(), if processes => match event {
                    Some(Event::GivenUp { .. }) if alive == 1 => {
                        self.say("no runner process stays alive: the run is stopped");
                        self.ask_to_stop(StopReason::Stopped);
                    }
                    Some(event) => alive -= self.pass_on(event),
                    None => processes = false,
                },
                () = self.interrupts.next() => {
                    if interrupted {
                        return Err(Error::Quit);
                    }
                    interrupted = true;
                    let patience = super::figures::span(self.order.stop);
                    self.say(&format!("interrupted: open calls may end within {patience}; once more quits at once"));
                    self.ask_to_stop(StopReason::Interrupted);
                }
            }
        }
    }

    /// Passes an event of a process on. Returns the processes that are gone for good by it.
    fn pass_on(&mut self, event: Event) -> usize {
        match event {
            Event::Departed(departure) => {
                self.say(&format!("{} has died: {}", departure.process, departure.exit));
                let client = self.client.clone();
                self.errand(async move { client.departed(&departure).await });
                0
            }
            // The master is asked every second how the run goes.
            Event::EndedWell(_) => 0,
            Event::GivenUp { process, exit } => {
                self.say(&format!("{} is not started again: {exit}", process.runner));
                1
            }
        }
    }

    fn ask_to_stop(&mut self, reason: StopReason) {
        let client = self.client.clone();
        self.errand(async move { client.stop(reason).await });
    }

    /// Lets a call to the master be made beside everything else.
    fn errand(&mut self, call: impl Future<Output = Result<(), master_client::Error>> + Send + 'static) {
        let output = self.output.clone();
        self.errands.spawn(async move {
            if let Err(error) = call.await {
                output.line(Stream::Err, &format!("aiotest: {}", crate::parent::with_causes(&error)));
            }
        });
    }

    fn say(&self, text: &str) {
        self.output.line(Stream::Err, &format!("aiotest: {text}"));
    }
}

impl Finished {
    /// Says that the report is safe, and waits until every process is gone.
    pub(crate) async fn leave(mut self, output: &Output) {
        if let Err(error) = self.client.acknowledge_result().await {
            output.line(Stream::Err, &format!("aiotest: {}", crate::parent::with_causes(&error)));
        }
        self.supervisor.finish(RUNNERS_END).await;
        tokio::select! {
            _ = timeout(LAST_SCRAPE, self.master.wait()) => {}
            () = self.interrupts.next() => {}
        }
        supervise::end(self.master).await;
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
