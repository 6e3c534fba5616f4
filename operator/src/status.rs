//! The status of a LoadTest, from where it stands. Pure: what has not changed stays byte for byte, so that nothing is
//! written that says nothing new. Start at [`of`].

use aiotest_api::conditions::{Condition, ConditionStatus, ConditionType, State};
use aiotest_api::status::{KeptReport, Live, LoadTestStatus, Run, Runners};
use aiotest_core::message::Status as Figures;
use aiotest_core::report::Report;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::build::spec_hash;
use crate::settings::Settings;
use crate::standing::{Standing, cut};
use crate::world::{Answer, World};

/// The longest message of a condition, in characters.
const MESSAGE: usize = 4096;

/// What the status should be.
pub(crate) fn of(world: &World, settings: &Settings, standing: &Standing) -> LoadTestStatus {
    let mut status = world.status().cloned().unwrap_or_default();
    status.observed_generation = world.load_test.metadata.generation;
    status.run = Some(run(world, settings));
    if let Answer::Going(figures) = &world.answer {
        status.live = Some(live(figures));
    }
    status.runners = Some(runners(world, standing, status.runners));
    if let Standing::Over(ending) = standing {
        status.verdict = Some(ending.verdict.clone());
        if let Some(run) = &mut status.run {
            run.completion_time.get_or_insert(Time(world.now));
        }
    }
    if let Some(report) = &world.report {
        status.report = Some(kept(world, report));
    }
    for condition in conditions(world, standing) {
        put(&mut status.conditions, condition);
    }
    status
}

/// Whether two differ in more than the figures of the moment: those of the load, of the runners, and in sentences whose
/// reason is the same as before.
pub(crate) fn differ_in_substance(one: &LoadTestStatus, other: &LoadTestStatus) -> bool {
    let substance = |status: &LoadTestStatus| {
        let mut status = LoadTestStatus { live: None, runners: None, ..status.clone() };
        status.conditions.iter_mut().for_each(|condition| condition.message.clear());
        status
    };
    substance(one) != substance(other)
}

/// A transition between two: the new reason, and the sentence that says why. `None`: there is none to tell of. What a
/// run waits for says more than that it waits.
pub(crate) fn transition(
    before: Option<&LoadTestStatus>,
    after: &LoadTestStatus,
) -> Option<(String, String)> {
    let changed = |type_: ConditionType| {
        let old = before.and_then(|before| before.condition(type_));
        let new = after.condition(type_)?;
        (old.map(|old| &old.reason) != Some(&new.reason)).then_some(new)
    };
    let state = changed(ConditionType::Succeeded).filter(|new| new.reason != State::Waiting.reason());
    let told = state.or_else(|| changed(ConditionType::Reconciling))?;
    Some((told.reason.clone(), told.message.clone()))
}

fn first_run(world: &World) -> Run {
    Run {
        number: world.names.number,
        id: world.names.run_id.clone(),
        script_hash: None,
        spec_hash: None,
        image: None,
        start_time: Some(Time(world.now)),
        completion_time: None,
    }
}

/// The newest run. What it is made from is settled when its snapshot is made; until then the source may be edited.
pub(crate) fn run(world: &World, settings: &Settings) -> Run {
    let mut run = world.run().cloned().unwrap_or_else(|| first_run(world));
    if let Ok(source) = &world.source
        && !world.has_snapshot
        && world.master.is_none()
        && !world.is_over()
    {
        run.script_hash = Some(source.hash());
        run.spec_hash = Some(spec_hash(&world.load_test));
        run.image = Some(settings.runner_image.clone());
    }
    run
}

fn live(figures: &Figures) -> Live {
    let per_mille = if figures.rps > 0.0 { figures.failures_per_second / figures.rps * 1000.0 } else { 0.0 };
    let microseconds = |value: Option<u64>| value.map(u64::cast_signed);
    Live {
        users: i64::from(figures.users),
        requests_per_second: figures.rps.round() as i64,
        failures_per_mille: per_mille.clamp(0.0, 1000.0).round() as i64,
        p50_microseconds: microseconds(figures.p50_us),
        p95_microseconds: microseconds(figures.p95_us),
        p99_microseconds: microseconds(figures.p99_us),
    }
}

fn runners(world: &World, standing: &Standing, known: Option<Runners>) -> Runners {
    let desired = world.load_test.spec.runners.cast_signed();
    let ready = match (&world.answer, standing) {
        (_, Standing::Over(_)) => 0,
        (Answer::Going(figures), _) => {
            let expected = figures.expected.max(1);
            (u64::from(figures.joined) * u64::from(world.load_test.spec.runners) / u64::from(expected)) as i32
        }
        _ => known.map_or(0, |known| known.ready),
    };
    Runners { desired, ready }
}

fn kept(world: &World, report: &Report) -> KeptReport {
    KeptReport {
        config_map: world.names.report(),
        requests: report.total.requests.cast_signed(),
        failures: report.total.failures.cast_signed(),
        sent: report.total.sent.cast_signed(),
    }
}

fn conditions(world: &World, standing: &Standing) -> Vec<Condition> {
    let (state, step, message) = match standing {
        Standing::Going { state, step, message } => (*state, *step, message.clone()),
        Standing::Over(ending) => {
            let state = State::Ended(ending.verdict.result);
            let reasons = ending.verdict.reasons.join("; ");
            (
                state,
                state.reason(),
                if reasons.is_empty() { "the run kept what it had to".to_owned() } else { reasons },
            )
        }
    };
    let mut all = vec![accepted(world, standing)];
    for (type_, status) in state.statuses() {
        let reason = if type_ == ConditionType::Succeeded { state.reason() } else { step };
        all.push(condition(world, type_, status, reason, &message));
    }
    all
}

fn accepted(world: &World, standing: &Standing) -> Condition {
    let known = world.status().and_then(|status| status.condition(ConditionType::Accepted));
    let (status, reason, message) = match standing {
        Standing::Over(ending) if ending.refused.is_some() => {
            (ConditionStatus::False, "ScriptRefused", ending.refused.clone().unwrap_or_default())
        }
        _ if was_checked(world) => (ConditionStatus::True, "Checked", checked(world)),
        // After the verdict nothing is checked any more: what is known stays.
        Standing::Over(_) => return known.cloned().unwrap_or_else(|| unchecked(world)),
        Standing::Going { .. } => return unchecked(world),
    };
    condition(world, ConditionType::Accepted, status, reason, &message)
}

fn unchecked(world: &World) -> Condition {
    let message = "the aiotestfile is checked once the master runs";
    condition(world, ConditionType::Accepted, ConditionStatus::Unknown, "NotChecked", message)
}

/// A master that answers has read and collected the script.
fn was_checked(world: &World) -> bool {
    matches!(world.answer, Answer::Going(_) | Answer::Over(_))
        || world.runners.is_some()
        || world.report.is_some()
}

fn checked(world: &World) -> String {
    let started_with = world.run().and_then(|run| run.spec_hash.as_deref());
    if started_with.is_some_and(|hash| hash != spec_hash(&world.load_test)) {
        return "the spec and the aiotestfile were checked; aiotestfile, data, host, args or the form of the load were \
                edited since: this run goes on with what it began with"
            .to_owned();
    }
    "the spec and the aiotestfile were checked".to_owned()
}

fn condition(
    world: &World,
    type_: ConditionType,
    status: ConditionStatus,
    reason: &str,
    message: &str,
) -> Condition {
    Condition {
        type_,
        status,
        reason: reason.to_owned(),
        message: cut(message, MESSAGE),
        observed_generation: world.load_test.metadata.generation,
        last_transition_time: Time(world.now),
    }
}

/// Puts a condition in its place; the time of its last transition stays unless its status is another.
fn put(all: &mut Vec<Condition>, mut new: Condition) {
    match all.iter_mut().find(|known| known.type_ == new.type_) {
        Some(known) => {
            if known.status == new.status {
                new.last_transition_time = known.last_transition_time.clone();
            }
            *known = new;
        }
        None => all.push(new),
    }
}

/// The state as the STATE column shows it.
pub(crate) fn state(status: Option<&LoadTestStatus>) -> &str {
    let succeeded = status.and_then(|status| status.condition(ConditionType::Succeeded));
    succeeded.map_or(State::Waiting.reason(), |condition| &condition.reason)
}

#[cfg(test)]
mod tests;
