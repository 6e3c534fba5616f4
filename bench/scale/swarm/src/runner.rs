//! One simulated runner process: the real state machine, a clock and a connection of its own. Its users are there as
//! soon as they are ordered. Start at [`Simulated::run`].

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::time::{Duration, Instant};

use aiotest_core::histogram::Histogram;
use aiotest_core::message::{Assignment, ProcessState, Report};
use aiotest_core::runner::{Action, Measurement, Runner};
use aiotest_core::stats::Statistics;
use aiotest_core::tick::{Tick, micros_of};
use reqwest::Client;

use crate::figures::Told;
use crate::work::Turn;

/// As a runner's own: how long a call may take, and how long its connection is kept between two.
const TOTAL: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(3);

/// The way to the master.
pub(crate) struct Dial {
    client: Client,
    url: String,
    token: String,
}

/// An answer with its length, or why there was none.
type Answer = Result<(Assignment, usize), String>;
/// A report on its way: when it was sent, how long it was, and what comes of it.
type Call = Pin<Box<dyn Future<Output = (Instant, usize, Answer)> + Send>>;

impl Dial {
    pub(crate) fn new(master: &str, token: &str) -> reqwest::Result<Self> {
        let client = Client::builder().no_proxy().timeout(TOTAL).pool_idle_timeout(IDLE).build()?;
        Ok(Self { client, url: format!("http://{master}/v1/report"), token: token.to_owned() })
    }

    fn post(&self, report: &Report) -> Call {
        let body = serde_json::to_vec(report).unwrap_or_default();
        let length = body.len();
        let call = self.client.post(&self.url).bearer_auth(&self.token);
        let call = call.header("content-type", "application/json").body(body);
        Box::pin(async move {
            let sent_at = Instant::now();
            (sent_at, length, answer(call).await)
        })
    }
}

async fn answer(call: reqwest::RequestBuilder) -> Answer {
    let told = |error: reqwest::Error| format!("{:?}", error.without_url());
    let response = call.send().await.map_err(told)?;
    let (status, body) = (response.status(), response.bytes().await.map_err(told)?);
    if !status.is_success() {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body)));
    }
    let assignment = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    Ok((assignment, body.len()))
}

/// A runner process without an interpreter.
pub(crate) struct Simulated {
    core: Runner,
    dial: Dial,
    work: Turn,
    began: Instant,
    /// What its clock read then.
    ahead: Duration,
    timed: Range<Duration>,
    users: u32,
    ended: bool,
    told: Told,
}

impl Simulated {
    /// Its clock read `ahead` when all of them began. Answers are timed while it is `timed` since the start.
    pub(crate) fn new(
        core: Runner,
        dial: Dial,
        work: Turn,
        (began, ahead): (Instant, Duration),
        timed: Range<Duration>,
    ) -> Self {
        let told = Told {
            joined: None,
            agreed: None,
            started: None,
            answers: Histogram::new(Histogram::LATENCY),
            report_bytes: 0,
            answer_bytes: 0,
            unanswered: 0,
            error: None,
            sent: 0,
            exit_code: 0,
        };
        Self { core, dial, work, began, ahead, timed, users: 0, ended: false, told }
    }

    /// Until it is told to end.
    pub(crate) async fn run(mut self) -> Told {
        let mut call: Option<Call> = None;
        loop {
            let now = self.now();
            self.wake(now, call.is_none());
            if self.ended {
                return self.told;
            }
            if call.is_none() {
                call = self.core.poll_report(now).map(|report| self.dial.post(&report));
            }
            let due = self.core.poll_timeout(now);
            tokio::select! {
                (sent_at, length, answer) = answered(&mut call) => {
                    call = None;
                    self.take_in(sent_at, length, answer);
                }
                () = self.sleep_until(due) => {}
            }
        }
    }

    /// Brings the state machine up to date. Nothing is measured while a report is on its way, which may be for long.
    fn wake(&mut self, now: Tick, measures: bool) {
        if measures && self.core.measurement_due(now) {
            let statistics = if self.is_loading() { self.work.take() } else { Statistics::default() };
            self.told.sent += statistics.sent_total();
            let sent_total = self.told.sent;
            self.core
                .handle_measurement(now, Measurement { statistics, sent_total, ..Measurement::default() });
        }
        self.core.handle_timeout(now);
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Start { users, .. } => self.users += users,
                Action::Retire { users, .. } => self.users -= users.min(self.users),
                Action::Drain { .. } | Action::StopNow => self.users = 0,
                Action::End { exit_code } => {
                    self.ended = true;
                    self.told.exit_code = exit_code;
                }
                _ => {}
            }
        }
        self.core.handle_users(0, self.users, 0);
        self.core.handle_timeout(now);
    }

    fn take_in(&mut self, sent_at: Instant, length: usize, answer: Answer) {
        let now = self.now();
        let (assignment, answer_bytes) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.told.unanswered += 1;
                self.told.error = Some(error);
                return self.core.handle_no_answer(now);
            }
        };
        let timed = self.core.starts_at().is_some_and(|start| self.timed.contains(&now.since(start)));
        if timed && self.is_loading() {
            self.told.answers.record(micros_of(sent_at.elapsed()));
            self.told.report_bytes = self.told.report_bytes.max(length);
            self.told.answer_bytes = self.told.answer_bytes.max(answer_bytes);
        }
        let sent_at = Tick::ZERO + self.ahead + sent_at.duration_since(self.began);
        self.core.handle_assignment(sent_at, now, assignment);
        let since_began = |own: Tick| micros_of(own.since(Tick::ZERO + self.ahead));
        self.told.joined = self.told.joined.or(Some(since_began(now)));
        if let Some(start) = self.core.starts_at() {
            self.told.agreed = self.told.agreed.or(Some(since_began(now)));
            // As it is known until then: later answers only tell what would have been better.
            if now < start || self.told.started.is_none() {
                self.told.started = Some(since_began(start));
            }
        }
    }

    fn is_loading(&self) -> bool {
        0 < self.users && self.core.state() == ProcessState::Running
    }

    fn now(&self) -> Tick {
        Tick::ZERO + self.ahead + self.began.elapsed()
    }

    async fn sleep_until(&self, due: Option<Tick>) {
        match due {
            // What is due and cannot be done while a call is open is looked at again soon.
            Some(due) => {
                let wait = due.since(self.now()).max(Duration::from_millis(1));
                tokio::time::sleep(wait).await;
            }
            None => std::future::pending().await,
        }
    }
}

/// The open call's answer; never, where there is no call.
async fn answered(call: &mut Option<Call>) -> (Instant, usize, Answer) {
    match call {
        Some(call) => call.await,
        None => std::future::pending().await,
    }
}
