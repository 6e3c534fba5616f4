//! What a scenario does once in a run: its setup before the start is agreed, its teardown when the load has ended.
//!
//! Carries nothing out: the shell is told that it is time, and tells how it went. What was begun, and of whose end a
//! restarted master knows nothing, is begun again, and said to be. Start at [`Master::is_set_up`] and
//! [`Master::is_torn_down`].

use serde::{Deserialize, Serialize};

use super::{Master, MasterEvent};
use crate::message::{RunState, Stop, StopReason};
use crate::tick::Tick;

/// Texts of failures are cut at so many characters.
const MAX_TEXT: usize = 1000;

/// Which of them the scenario has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Something that is done before the start.
    pub setup: bool,
    /// Something that is done after the end of the load.
    pub teardown: bool,
}

/// Both, as far as they have come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Once {
    setup: Hook,
    teardown: Hook,
    /// When the teardown is given up.
    #[serde(skip)]
    given_up_at: Option<Tick>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Hook {
    step: Step,
    /// It was begun by a master that did not live to its end, too.
    again: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// The scenario has none.
    #[default]
    Absent,
    Due,
    Begun,
    Done,
    Failed(String),
}

impl Hook {
    fn expect(&mut self, there: bool) {
        if there && self.step == Step::Absent {
            self.step = Step::Due;
        }
    }

    fn end(&mut self, outcome: Result<(), String>) {
        if self.step == Step::Begun {
            self.step = match outcome {
                Ok(()) => Step::Done,
                Err(text) => Step::Failed(text.chars().take(MAX_TEXT).collect()),
            };
        }
    }

    fn note(&self, name: &str) -> Option<String> {
        let again = format!(
            "the {name} of the run had begun and not ended when the master was killed, and was carried out again"
        );
        self.again.then_some(again)
    }
}

impl Master {
    /// What the scenario has to do once. Call it before anything else is handled, after a restart too.
    pub fn expect_hooks(&mut self, hooks: Hooks) {
        self.once.setup.expect(hooks.setup);
        self.once.teardown.expect(hooks.teardown);
    }

    /// The setup has ended, or has failed with this text. Poll for events and the timeout next.
    pub fn handle_setup(&mut self, now: Tick, outcome: Result<(), String>) {
        self.once.setup.end(outcome);
        if self.state == RunState::Waiting && self.stop.is_none() && self.why_not_set_up().is_some() {
            self.refuse_to_start(now);
        }
        self.handle_timeout(now);
    }

    /// The teardown has ended, or has failed with this text. Poll for events and the timeout next.
    pub fn handle_teardown(&mut self, now: Tick, outcome: Result<(), String>) {
        self.once.teardown.end(outcome);
        self.handle_timeout(now);
    }

    /// Whether the run may start. Everybody is here: what has to be done before begins, if it has not.
    pub(super) fn is_set_up(&mut self) -> bool {
        if self.once.setup.step == Step::Due {
            self.once.setup.step = Step::Begun;
            self.events.push_back(MasterEvent::Setup);
        }
        matches!(self.once.setup.step, Step::Absent | Step::Done)
    }

    /// A run that is taken over has been set up by whoever started it.
    pub(super) fn take_setup_for_done(&mut self) {
        if self.once.setup.step != Step::Absent {
            self.once.setup.step = Step::Done;
        }
    }

    pub(super) fn refuse_to_start(&mut self, now: Tick) {
        let deadline = now + self.spec.deadlines.stop;
        self.stop = Some(Stop { at: now, deadline, reason: StopReason::NotStarted });
    }

    /// What went wrong with the setup, as the reason of a run that did not start.
    pub(super) fn why_not_set_up(&self) -> Option<String> {
        match &self.once.setup.step {
            Step::Failed(text) => Some(format!("the setup of the run failed: {text}")),
            Step::Begun => Some(format!(
                "the setup of the run did not end within the startup deadline of {} s",
                self.spec.deadlines.startup.as_secs()
            )),
            Step::Absent | Step::Due | Step::Done => None,
        }
    }

    /// Whether the run may end. Its load has ended: what has to be done then begins, if it has not. Nothing has where the
    /// setup did not come to its end, or there never was a load to prepare.
    pub(super) fn is_torn_down(&mut self, now: Tick) -> bool {
        let prepared = match self.once.setup.step {
            Step::Done => true,
            Step::Absent => self.start.is_some(),
            Step::Due | Step::Begun | Step::Failed(_) => false,
        };
        if prepared && self.once.teardown.step == Step::Due {
            self.once.teardown.step = Step::Begun;
            self.once.given_up_at = Some(now + self.spec.deadlines.stop);
            self.events.push_back(MasterEvent::Teardown);
        }
        self.once.teardown.step != Step::Begun
    }

    /// Gives a teardown up that takes too long.
    pub(super) fn check_teardown(&mut self, now: Tick) {
        if self.torn_down_by().is_some_and(|at| at <= now) {
            let limit = self.spec.deadlines.stop.as_secs();
            self.once.teardown.end(Err(format!("it did not end within {limit} s")));
        }
    }

    /// Until when the end waits for the teardown, if that is all it waits for.
    pub(super) fn torn_down_by(&self) -> Option<Tick> {
        self.once.given_up_at.filter(|_| self.once.teardown.step == Step::Begun)
    }

    /// After a restart: what was begun, and may have ended unheard, is carried out again.
    pub(super) fn go_on_with_hooks(&mut self) {
        if self.state == RunState::Waiting && self.once.setup.step == Step::Begun {
            self.once.setup.again = true;
            self.events.push_back(MasterEvent::Setup);
        }
        if self.once.teardown.step == Step::Begun {
            self.once.teardown.again = true;
            self.once.teardown.step = Step::Due;
        }
    }

    /// What the report says of them.
    pub(super) fn hook_notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.once.setup.note("setup").into_iter().collect();
        notes.extend(self.once.teardown.note("teardown"));
        if let Step::Failed(text) = &self.once.teardown.step {
            notes.push(format!("the teardown of the run failed: {text}"));
        }
        notes
    }
}

#[cfg(test)]
mod tests;
