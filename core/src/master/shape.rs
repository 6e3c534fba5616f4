//! Asking the scenario's shape, and living with one that raises, hangs or says nonsense: the last plan holds.
//!
//! Never decides what a plan does; see [`super::layout`]. Start at [`Shape::answered`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::run::{MAX_USERS, is_rate};
use crate::tick::Tick;

/// Between two questions, and until an answer is late.
const INTERVAL: Duration = Duration::from_secs(1);
/// Texts of failures are cut at so many characters.
const MAX_TEXT: usize = 300;

/// What a shape answered.
#[derive(Clone, Debug, PartialEq)]
pub enum ShapeTick {
    /// Come to so many users.
    Users {
        /// In all processes together.
        users: u32,
        /// Users started or ended per second.
        rate: f64,
    },
    /// End the run.
    End,
    /// It raised, or returned what is no answer.
    Failed(String),
}

/// The state of asking.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Shape {
    #[serde(skip)]
    next: Option<Tick>,
    /// When the answer that is awaited is late; far away once that was noted.
    #[serde(skip)]
    awaited: Option<Tick>,
    last: Option<(u32, f64)>,
    failed: u64,
    failure: String,
    late: u64,
}

/// What to do about an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Answer {
    /// Nothing changes.
    Hold,
    /// A new target.
    Target { users: u32, rate: f64 },
    /// The end.
    End,
}

impl Shape {
    /// Begins to ask.
    pub(super) fn begin(&mut self, now: Tick) {
        self.next = Some(now);
    }

    /// Begins anew, with whatever the answer is.
    pub(super) fn ask_again(&mut self, now: Tick) {
        self.last = None;
        self.begin(now);
    }

    /// The deadline of a question that is due now.
    pub(super) fn due(&mut self, now: Tick, start: Tick) -> Option<Tick> {
        if self.awaited.is_some_and(|deadline| deadline <= now) {
            self.late = self.late.saturating_add(1);
            self.awaited = Some(Tick::from_micros(u64::MAX));
        }
        if self.awaited.is_some() || self.next.is_none_or(|next| now < next) {
            return None;
        }
        // Whole seconds of the run, however late this question is.
        let asked = now.since(start).as_secs();
        self.next = Some(start + INTERVAL * u32::try_from(asked.saturating_add(1)).unwrap_or(u32::MAX));
        let deadline = now + INTERVAL;
        self.awaited = Some(deadline);
        Some(deadline)
    }

    /// Takes an answer in.
    pub(super) fn answered(&mut self, tick: ShapeTick) -> Answer {
        self.awaited = None;
        match tick {
            ShapeTick::End => Answer::End,
            ShapeTick::Failed(text) => self.fail(&text),
            ShapeTick::Users { users, .. } if MAX_USERS < users => {
                self.fail(&format!("{users} users are more than {MAX_USERS}"))
            }
            ShapeTick::Users { rate, .. } if !is_rate(rate) => {
                self.fail(&format!("a rate of {rate} users a second is no finite number above 0"))
            }
            ShapeTick::Users { users, rate } => {
                let known = self.last.replace((users, rate));
                if known == Some((users, rate)) { Answer::Hold } else { Answer::Target { users, rate } }
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Tick> {
        match self.awaited {
            Some(deadline) => Some(deadline).filter(|deadline| deadline.as_micros() < u64::MAX),
            None => self.next,
        }
    }

    /// What went wrong, a sentence each.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if 0 < self.failed {
            let (failed, failure) = (self.failed, &self.failure);
            notes.push(format!(
                "the shape failed {failed} times and the last plan was held, the last time: {failure}"
            ));
        }
        if 0 < self.late {
            let (late, limit) = (self.late, INTERVAL.as_secs());
            notes.push(format!(
                "the shape did not answer within {limit} s {late} times and the last plan was held"
            ));
        }
        notes
    }

    fn fail(&mut self, text: &str) -> Answer {
        self.failed = self.failed.saturating_add(1);
        self.failure = text.chars().take(MAX_TEXT).collect();
        Answer::Hold
    }
}
