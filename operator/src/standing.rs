//! Where a LoadTest stands, from everything that is known. Pure. Start at [`Standing::of`].

use aiotest_api::conditions::State;
use aiotest_api::status::{ThresholdResult, Verdict, VerdictResult};
use aiotest_core::message::{RunState, Status, Termination};
use aiotest_core::report::Report;
use aiotest_core::verdict::Outcome;

use crate::world::{Answer, World, job_end};

/// The most reasons, and characters of each, that a status holds.
const REASONS: usize = 32;
const REASON_LENGTH: usize = 1024;

/// Why the cluster did not make what it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    /// For programs, such as `QuotaExceeded`.
    pub(crate) reason: &'static str,
    /// The cluster's own words.
    pub(crate) words: String,
}

/// Where it stands.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    /// There is still something to do.
    Going {
        /// Waiting, running or draining.
        state: State,
        /// What it waits for or does, for programs.
        step: &'static str,
        /// The same for people.
        message: String,
    },
    /// The run has its verdict.
    Over(Ending),
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) verdict: Verdict,
    /// What is wrong with the script, if that is why.
    pub(crate) refused: Option<String>,
}

impl Standing {
    /// Of this world; `refused` is what the cluster said to the last try.
    pub(crate) fn of(world: &World, refused: Option<&Refused>) -> Self {
        if let Some(verdict) = world.status().and_then(|status| status.verdict.clone()) {
            return Self::Over(Ending { verdict, refused: None });
        }
        if let Some(ending) = ending(world, refused) {
            return Self::Over(ending);
        }
        match &world.answer {
            Answer::Going(status) => going(world, status, refused),
            Answer::NotAsked | Answer::Silent(_) | Answer::Over(_) => out_of_reach(world, refused),
        }
    }
}

/// The end of the run, if it has come.
fn ending(world: &World, refused: Option<&Refused>) -> Option<Ending> {
    world.run()?;
    if let Some(report) = &world.report {
        return Some(reported(world, report));
    }
    if let Answer::Over(report) = &world.answer {
        return Some(reported(world, report));
    }
    if let Answer::Going(_) = world.answer {
        return None;
    }
    let job = world.master.as_ref().and_then(job_end);
    match world.termination() {
        Some(Termination::Refused { error }) => {
            let mut ending = ended(VerdictResult::NotStarted, [error.clone()]);
            ending.refused = Some(error);
            return Some(ending);
        }
        Some(Termination::Ended { result, reasons, .. }) if job.is_some() => {
            let lost = "the report was not collected before the master ended".to_owned();
            return Some(ended(result_of(result), reasons.into_iter().chain([lost])));
        }
        _ => {}
    }
    if let Some((_, words)) = job {
        let began = world.has_begun();
        let result = if began { VerdictResult::Invalid } else { VerdictResult::NotStarted };
        return Some(ended(result, [format!("the master's Job ended without a result: {words}")]));
    }
    if world.is_overdue() {
        let startup = world.load_test.spec.deadlines.startup;
        let (step, words) = hindrance(world, refused);
        return Some(ended(
            VerdictResult::NotStarted,
            [format!("not started within deadlines.startup ({startup}): {step}: {words}")],
        ));
    }
    None
}

fn going(world: &World, status: &Status, refused: Option<&Refused>) -> Standing {
    match status.state {
        RunState::Waiting => {
            let (step, words) = hindrance(world, refused);
            let joined = format!("{} of {} runner processes have joined", status.joined, status.expected);
            let (step, message) = match step {
                "StartingMaster" => ("WaitingForRunners", joined),
                _ => (step, format!("{joined}; {words}")),
            };
            Standing::Going { state: State::Waiting, step, message }
        }
        RunState::Running => {
            let mut message = if status.paused {
                "paused by desiredState: no user lives, and none comes until it is Running again".to_owned()
            } else {
                format!("load is sent to {}", aim(world))
            };
            if let Some((_, words)) = world.pod_trouble() {
                message = format!("{message}; {words}");
            }
            for note in &status.notes {
                message = format!("{message}; {note}");
            }
            let state = if status.paused { State::Paused } else { State::Running };
            Standing::Going { state, step: state.reason(), message }
        }
        RunState::Draining | RunState::Ended => Standing::Going {
            state: State::Draining,
            step: "Draining",
            message: "the load is over; open calls end and the last figures come in".to_owned(),
        },
    }
}

/// No word from a master: either it is not there yet, or it is away for a moment.
fn out_of_reach(world: &World, refused: Option<&Refused>) -> Standing {
    let why = match &world.answer {
        Answer::Silent(why) => why.as_str(),
        _ => "its pod is not ready",
    };
    if world.has_begun() {
        let state = match world.last_state() {
            Some("Draining") => State::Draining,
            Some("Paused") => State::Paused,
            _ => State::Running,
        };
        let message = format!("the run goes on, but its master does not answer: {why}");
        return Standing::Going { state, step: "MasterUnreachable", message };
    }
    let (step, message) = match (hindrance(world, refused), &world.answer) {
        // Its Service may take a moment longer than its readiness.
        ((step @ "StartingMaster", _), Answer::Silent(why)) => {
            (step, format!("the master is ready, but does not answer: {why}"))
        }
        ((step, words), _) => (step, words),
    };
    Standing::Going { state: State::Waiting, step, message }
}

/// What keeps the run from starting, weightiest first.
fn hindrance(world: &World, refused: Option<&Refused>) -> (&'static str, String) {
    if let Some(conflict) = &world.conflict {
        return ("NameConflict", conflict.clone());
    }
    if let Some(Refused { reason, words }) = refused {
        return (reason, words.clone());
    }
    if let (None, Err(missing)) = (&world.master, &world.source)
        && !world.has_snapshot
    {
        return ("SourceMissing", missing.clone());
    }
    if let Some(trouble) = world.pod_trouble() {
        return trouble;
    }
    if let Some(words) = &world.complaint {
        return ("PodsNotCreated", words.clone());
    }
    ("StartingMaster", "the master starts and checks the aiotestfile".to_owned())
}

fn aim(world: &World) -> &str {
    world.load_test.spec.host.as_deref().unwrap_or("the host in the aiotestfile")
}

fn ended(result: VerdictResult, reasons: impl IntoIterator<Item = String>) -> Ending {
    let reasons = reasons.into_iter().take(REASONS).map(|reason| cut(&reason, REASON_LENGTH)).collect();
    Ending { verdict: Verdict { result, reasons, thresholds: Vec::new() }, refused: None }
}

fn reported(world: &World, report: &Report) -> Ending {
    let verdict = &report.verdict;
    let mut ending = ended(result_of(verdict.result), verdict.reasons.iter().cloned());
    ending.verdict.thresholds =
        verdict.thresholds.iter().map(|threshold| measured(world, threshold)).collect();
    ending
}

/// A threshold as the status has it: its request as the spec wrote it, its value with the unit.
fn measured(world: &World, result: &aiotest_core::report::ThresholdResult) -> ThresholdResult {
    let spec = &world.load_test.spec.thresholds;
    let own = spec.iter().find(|threshold| {
        threshold.expr.as_str() == result.expr
            && threshold.request.as_ref().map(ToString::to_string) == result.request
    });
    ThresholdResult {
        expr: cut(&result.expr, 64),
        request: own.and_then(|threshold| threshold.request.clone()),
        value: cut(&result.measured(), 64),
        passed: result.passed,
    }
}

fn result_of(outcome: Outcome) -> VerdictResult {
    match outcome {
        Outcome::Passed => VerdictResult::Passed,
        Outcome::Failed => VerdictResult::Failed,
        Outcome::Invalid => VerdictResult::Invalid,
        Outcome::Cancelled => VerdictResult::Cancelled,
        Outcome::NotStarted => VerdictResult::NotStarted,
    }
}

/// The other way, for what the reports know of a verdict.
pub(crate) fn outcome_of(result: VerdictResult) -> Outcome {
    match result {
        VerdictResult::Passed => Outcome::Passed,
        VerdictResult::Failed => Outcome::Failed,
        VerdictResult::Invalid => Outcome::Invalid,
        VerdictResult::Cancelled => Outcome::Cancelled,
        VerdictResult::NotStarted => Outcome::NotStarted,
    }
}

/// So many characters at most.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}
