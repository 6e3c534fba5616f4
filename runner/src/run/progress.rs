//! How a run goes, while it goes: one rewritten line on a terminal, else a line every few seconds.
//!
//! [`show_progress`] does it for a master in this very process, from a thread of its own that never attaches to the
//! interpreter; `aiotest run` uses [`Progress`] in its own loop.

use std::collections::BTreeSet;
use std::io;
use std::thread;
use std::time::Duration;

use aiotest_core::message::{RunState, Status};
use aiotest_core::report::Report;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::figures::{count, milliseconds, percent, rate, span};
use super::summary::summary;
use crate::parent::output::{Output, Stream};
use aiotest_wire::client::{self as master_client, MasterClient};

/// How often the master is asked.
const POLL: Duration = Duration::from_secs(1);
/// How often there is a line where it cannot be rewritten.
const PLAIN: Duration = Duration::from_secs(5);
/// How long a master may be silent before it is given up.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);

/// The most warnings that are shown; the report has them all.
const MOST_WARNINGS: usize = 50;

/// What a watch over a master brings.
#[derive(Debug)]
pub(crate) enum News {
    /// How the run goes.
    Status(Box<Status>),
    /// The run is over. The last news.
    Report(Box<Report>),
    /// The master has not answered for [`SILENCE`]. The last news.
    Silent(master_client::Error),
}

/// Asks a master about once a second until its run is over or nobody takes the news any more.
pub(crate) async fn watch(client: MasterClient, news: mpsc::Sender<News>) {
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        ticks.tick().await;
        let latest = match ask(&client).await {
            Ok(latest) => latest,
            Err(error) if SILENCE < heard.elapsed() => News::Silent(error),
            Err(_) => continue,
        };
        heard = Instant::now();
        let last = !matches!(latest, News::Status(_));
        if news.send(latest).await.is_err() || last {
            return;
        }
    }
}

async fn ask(client: &MasterClient) -> Result<News, master_client::Error> {
    let status = client.status().await?;
    if status.state == RunState::Ended
        && let Some(report) = client.result().await?
    {
        return Ok(News::Report(Box::new(report)));
    }
    Ok(News::Status(Box::new(status)))
}

/// Shows one status after the other.
#[derive(Debug)]
pub(crate) struct Progress {
    output: Output,
    /// When the last plain line was printed, and what the run was doing.
    printed: Option<(Instant, RunState)>,
    notes: usize,
    warnings: BTreeSet<String>,
}

impl Progress {
    pub(crate) const fn new(output: Output) -> Self {
        Self { output, printed: None, notes: 0, warnings: BTreeSet::new() }
    }

    /// Shows the newest figures, and every note and warning of the master once.
    pub(crate) fn show(&mut self, status: &Status) {
        for note in status.notes.iter().skip(self.notes) {
            self.output.line(Stream::Err, &format!("aiotest: {note}"));
        }
        self.notes = self.notes.max(status.notes.len());
        for warning in &status.warnings {
            if self.warnings.len() < MOST_WARNINGS && self.warnings.insert(warning.clone()) {
                self.output.line(Stream::Err, &format!("aiotest: {warning}"));
            }
        }
        let text = line(status);
        if self.output.has_live_line() {
            self.output.live(&text);
        } else if self.is_due(status.state) {
            self.printed = Some((Instant::now(), status.state));
            self.output.line(Stream::Err, &text);
        }
    }

    /// Takes the live line away.
    pub(crate) fn clear(&self) {
        self.output.live("");
    }

    fn is_due(&self, state: RunState) -> bool {
        self.printed.is_none_or(|(at, before)| PLAIN <= at.elapsed() || before != state)
    }
}

/// The figures in one line.
fn line(status: &Status) -> String {
    if status.state == RunState::Waiting && status.expected <= status.joined {
        return "setting up: every runner is here".to_owned();
    }
    if status.state == RunState::Waiting {
        return format!("waiting for runners: {} of {} are here", status.joined, status.expected);
    }
    let Some(elapsed) = status.elapsed else { return "starting: every runner is here".to_owned() };
    let mut parts = vec![
        span(elapsed),
        format!("users {}/{}", count(status.users.into()), count(status.target.into())),
        format!("{} req/s", rate(status.rps)),
        match status.failures {
            0 => "no failures".to_owned(),
            some => format!(
                "failures {} ({})",
                count(some),
                percent(some as f64 / status.requests.max(some) as f64)
            ),
        },
        format!("p95 {} ms", milliseconds(status.p95_us.map(|us| us as f64 / 1_000.0))),
    ];
    if let Some(iterations) = status.iterations {
        parts.insert(2, format!("{} iterations/s planned", rate(iterations.rate)));
        if 0 < iterations.shed {
            parts.push(format!("{} shed", count(iterations.shed)));
        }
    }
    if 0 < status.generator_faults {
        parts.push(format!("{} own faults", count(status.generator_faults)));
    }
    if 0 < status.dead_users {
        parts.push(format!("{} users died", count(status.dead_users)));
    }
    if status.joined < status.expected {
        parts.push(format!("{} of {} processes", status.joined, status.expected));
    }
    match (status.state, status.time_left) {
        (RunState::Running, _) if status.paused => parts.push("paused".to_owned()),
        (RunState::Running, Some(left)) => parts.push(format!("{} left", span(left))),
        (RunState::Running, None) | (RunState::Waiting, _) => {}
        (RunState::Draining | RunState::Ended, _) => parts.push("stopping".to_owned()),
    }
    parts.join("  ")
}

/// Shows the run of the master that listens at `control_address` in this process: a line every few seconds, since the
/// scenario prints to the same terminal, and the table at the end. With `acknowledge`, only then is the master told that
/// its report has been taken, so whoever waits for the master's end has waited for the table; without, somebody else
/// takes it. The thread ends with the run. Errors: no thread or no socket is to be had.
pub fn show_progress(control_address: &str, token: &str, acknowledge: bool) -> io::Result<()> {
    let client = MasterClient::new(control_address, token).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let body = move || runtime.block_on(show(client, acknowledge, Output::of_process().without_live_line()));
    thread::Builder::new().name("aiotest-progress".to_owned()).spawn(body).map(drop)
}

async fn show(client: MasterClient, acknowledge: bool, output: Output) {
    let (sender, mut news) = mpsc::channel(1);
    let watching = tokio::spawn(watch(client.clone(), sender));
    let mut progress = Progress::new(output.clone());
    while let Some(latest) = news.recv().await {
        match latest {
            News::Status(status) => progress.show(&status),
            News::Report(report) => {
                output.line(Stream::Out, &summary(&report, output.has_colour()));
                if acknowledge {
                    // The master keeps its report until then, or until its own deadline.
                    let _ = client.acknowledge_result().await;
                }
            }
            News::Silent(error) => {
                output.line(Stream::Err, &format!("aiotest: {}", crate::parent::with_causes(&error)));
            }
        }
    }
    watching.abort();
}

#[cfg(test)]
mod tests {
    use aiotest_core::message::IterationStatus;

    use super::*;

    fn running() -> Status {
        Status {
            state: RunState::Running,
            users: 100,
            target: 100,
            requests: 1_000,
            rps: 196.66,
            p95_us: Some(12_340),
            elapsed: Some(Duration::from_secs(5)),
            time_left: Some(Duration::from_secs(10)),
            expected: 2,
            joined: 2,
            ..Status::default()
        }
    }

    #[test]
    fn a_line_says_users_rate_failures_p95_and_time_left() {
        assert_eq!(line(&running()), "5s  users 100/100  196.7 req/s  no failures  p95 12.3 ms  10s left");
        let worse = Status {
            failures: 3,
            dead_users: 2,
            joined: 1,
            p95_us: None,
            state: RunState::Draining,
            ..running()
        };
        let expected = "5s  users 100/100  196.7 req/s  failures 3 (0.3 %)  p95 - ms  2 users died  1 of 2 processes  stopping";
        assert_eq!(line(&worse), expected);
        let waiting = Status { state: RunState::Waiting, joined: 1, ..running() };
        assert_eq!(line(&waiting), "waiting for runners: 1 of 2 are here");
        let iterations = IterationStatus { rate: 50.0, started: 240, shed: 1200, late: 0 };
        let open = Status { iterations: Some(iterations), ..running() };
        assert_eq!(
            line(&open),
            "5s  users 100/100  50.0 iterations/s planned  196.7 req/s  no failures  p95 12.3 ms  1,200 shed  10s left"
        );
        let complete = Status { joined: 2, ..waiting };
        assert_eq!(line(&complete), "setting up: every runner is here");
        let paused = Status { paused: true, users: 0, target: 0, time_left: None, ..running() };
        assert_eq!(line(&paused), "5s  users 0/0  196.7 req/s  no failures  p95 12.3 ms  paused");
        let agreed = Status { elapsed: None, ..running() };
        assert_eq!(line(&agreed), "starting: every runner is here");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_terminal_there_is_a_line_every_five_seconds_and_at_every_change() {
        let output = Output::captured();
        let mut progress = Progress::new(output.clone());
        for second in 0..12 {
            let state = if second < 2 { RunState::Waiting } else { RunState::Running };
            progress.show(&Status { state, ..running() });
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let printed = output.taken(Stream::Err);
        assert_eq!(printed.lines().count(), 3, "at 0, 2 and 7 s:\n{printed}");
    }

    #[test]
    fn a_note_of_the_master_is_shown_once() {
        let output = Output::captured();
        let mut progress = Progress::new(output.clone());
        for notes in [vec![], vec!["one".to_owned()], vec!["one".to_owned(), "two".to_owned()]] {
            progress.show(&Status { notes, ..running() });
        }
        let printed = output.taken(Stream::Err);
        assert_eq!(printed.matches("aiotest: one\n").count(), 1, "{printed}");
        assert_eq!(printed.matches("aiotest: two\n").count(), 1, "{printed}");
    }

    #[test]
    fn a_warning_is_shown_once_wherever_it_stands() {
        let output = Output::captured();
        let mut progress = Progress::new(output.clone());
        for warnings in [vec!["one".to_owned()], vec!["zero".to_owned(), "one".to_owned()]] {
            progress.show(&Status { warnings, ..running() });
        }
        let printed = output.taken(Stream::Err);
        assert_eq!(printed.matches("aiotest: one\n").count(), 1, "{printed}");
        assert_eq!(printed.matches("aiotest: zero\n").count(), 1, "{printed}");
    }
}
