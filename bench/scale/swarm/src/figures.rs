//! What the simulated runners saw of their master, put together. Start at [`Found::add`].

use aiotest_core::histogram::Histogram;
use serde::Serialize;

/// What one runner saw. Instants are microseconds since the first of all runners began.
pub(crate) struct Told {
    /// Its first answer arrived.
    pub(crate) joined: Option<u64>,
    /// It heard when the load starts.
    pub(crate) agreed: Option<u64>,
    /// Its clock showed the start.
    pub(crate) started: Option<u64>,
    /// From the call to the last byte of the answer, while the load was on, in microseconds.
    pub(crate) answers: Histogram,
    /// The longest body of a report, in bytes.
    pub(crate) report_bytes: usize,
    /// The longest answer, in bytes.
    pub(crate) answer_bytes: usize,
    /// Calls without an answer.
    pub(crate) unanswered: u64,
    /// The last thing that went wrong.
    pub(crate) error: Option<String>,
    /// Calls made up, all of them reported.
    pub(crate) sent: u64,
    /// 0 if the master ended the run.
    pub(crate) exit_code: u8,
}

/// What all of them saw.
#[derive(Default, Serialize)]
pub(crate) struct Found {
    runners: u32,
    /// Seconds until the last one had its first answer.
    joined_s: f64,
    /// Seconds until the last one had heard when the load starts.
    agreed_s: f64,
    /// Between the first and the last clock that showed the start.
    start_skew_ms: f64,
    /// Answers while the load was on.
    answers: u64,
    answer_ms: Times,
    report_bytes: usize,
    answer_bytes: usize,
    unanswered: u64,
    errors: Vec<String>,
    sent: u64,
    /// Runners that did not end as their master said, or never joined.
    astray: u32,
    #[serde(skip)]
    first_start: Option<u64>,
    #[serde(skip)]
    last_start: u64,
    #[serde(skip)]
    all: Option<Histogram>,
}

#[derive(Default, Serialize)]
struct Times {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Found {
    /// Adds a runner that has ended.
    pub(crate) fn add(&mut self, told: Told) {
        let seconds = |micros: Option<u64>| micros.unwrap_or_default() as f64 / 1e6;
        self.runners += 1;
        self.joined_s = self.joined_s.max(seconds(told.joined));
        self.agreed_s = self.agreed_s.max(seconds(told.agreed));
        if let Some(started) = told.started {
            self.first_start = Some(self.first_start.map_or(started, |first| first.min(started)));
            self.last_start = self.last_start.max(started);
            self.start_skew_ms = (self.last_start - self.first_start.unwrap_or_default()) as f64 / 1e3;
        }
        let all = self.all.get_or_insert_with(|| Histogram::new(Histogram::LATENCY));
        all.merge(&told.answers);
        let value = |quantile| all.value_at(quantile).unwrap_or_default() as f64 / 1e3;
        self.answers = all.count();
        self.answer_ms = Times { p50: value(0.5), p99: value(0.99), max: value(1.0) };
        self.report_bytes = self.report_bytes.max(told.report_bytes);
        self.answer_bytes = self.answer_bytes.max(told.answer_bytes);
        self.unanswered += told.unanswered;
        self.sent += told.sent;
        self.astray += u32::from(told.exit_code != 0 || told.started.is_none());
        if let Some(error) = told.error.filter(|error| !self.errors.contains(error)) {
            self.errors.push(error);
        }
    }
}
