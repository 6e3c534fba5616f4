//! What to do next, from everything that is known: at most one thing at a time. Pure.
//!
//! Each step is safe to repeat: names are determined, what is there already is left alone, and nothing is begun once
//! there is a verdict. Start at [`next`].

use std::time::Duration;

use aiotest_core::message::{LiveSpec, RunState, RunnerDeparture, StopReason};
use aiotest_wire::plan::live_spec;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};

use crate::build::{Blueprint, Copies, report_map, spec_hash};
use crate::pods;
use crate::settings::Settings;
use crate::standing::Standing;
use crate::token::Key;
use crate::world::{Answer, World, is_finished};

/// How long to let runners end by themselves after a run.
const LEAVE: Duration = Duration::from_secs(30);
/// How often a run that goes on is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// One change of the world.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    /// Make it, unless it is there.
    Secret(Box<Secret>),
    /// As above.
    ConfigMap(Box<ConfigMap>),
    /// As above.
    Service(Box<Service>),
    /// As above.
    Job(Box<Job>),
    /// Change what may change of a Job.
    Adjust {
        /// Its name.
        job: String,
        /// Pods at a time, and in all.
        parallelism: Option<i32>,
        /// Seconds after which the cluster ends it.
        active_deadline: i64,
    },
    /// Tell the master what the spec says now.
    Spec(LiveSpec),
    /// Tell the master that a pod has ended.
    Departed {
        /// The pod's UID.
        uid: String,
        /// Which runner it was.
        departure: RunnerDeparture,
    },
    /// Tell the master to end the load.
    Stop(StopReason),
    /// Tell the master that its report is kept.
    Acknowledge,
}

/// The next thing to do, if there is one.
pub(crate) fn next(world: &World, settings: &Settings, key: &Key, standing: &Standing) -> Option<Write> {
    if world.is_deleted() {
        return stop(world);
    }
    let blueprint = Blueprint { load_test: &world.load_test, names: &world.names, settings };
    if world.is_over() {
        return wind_up(world, &blueprint);
    }
    // The run is written down before anything of it is made.
    let hash = world.run()?.script_hash.as_deref();
    if let Standing::Over(_) = standing {
        return keep_report(world, &blueprint);
    }
    if world.conflict.is_some() {
        return None;
    }
    if world.master.is_none() {
        return begin(world, &blueprint, key, hash?);
    }
    if world.is_overdue() && matches!(world.answer, Answer::Going(_)) {
        return Some(Write::Stop(StopReason::NotStarted));
    }
    carry_on(world, &blueprint, key, hash?)
}

/// When to look again; `None`: not before something changes.
pub(crate) fn patience(world: &World, standing: &Standing) -> Option<Duration> {
    if let Standing::Over(_) = standing {
        let busy = [&world.master, &world.runners].into_iter().flatten().any(|job| !is_finished(job));
        return (busy || !world.is_over()).then_some(Duration::from_secs(2));
    }
    let wait = match &world.answer {
        Answer::Going(status) => match (status.state, status.time_left) {
            (RunState::Running, Some(left)) => LOOK.min(left + Duration::from_millis(300)),
            (RunState::Running, None) => LOOK,
            _ => Duration::from_secs(1),
        },
        Answer::Over(_) => Duration::ZERO,
        Answer::NotAsked | Answer::Silent(_) => Duration::from_secs(2),
    };
    Some(wait)
}

/// The objects of a run up to its master, in the order in which they need each other.
fn begin(world: &World, blueprint: &Blueprint<'_>, key: &Key, hash: &str) -> Option<Write> {
    if !world.has_snapshot {
        // Where the source was edited since it was looked at, the status follows first.
        let source = world.source.as_ref().ok().filter(|source| source.hash() == hash)?;
        let is_missing =
            |copy: &ConfigMap| copy.metadata.name.iter().all(|name| !world.copies.contains(name));
        let missing = blueprint.snapshots(source).into_iter().find(is_missing)?;
        return Some(Write::ConfigMap(Box::new(missing)));
    }
    if !world.has_plan {
        return Some(Write::ConfigMap(Box::new(blueprint.plan())));
    }
    if !world.memory.secret_made {
        return Some(Write::Secret(Box::new(blueprint.token(key))));
    }
    if world.service.is_none() {
        return Some(Write::Service(Box::new(blueprint.service())));
    }
    let copies = Copies::of(&world.load_test, blueprint.names, hash);
    let token = blueprint.names.token(key);
    Some(Write::Job(Box::new(blueprint.master_job(&copies, &token))))
}

/// What a run needs once its master has checked the script.
fn carry_on(world: &World, blueprint: &Blueprint<'_>, key: &Key, hash: &str) -> Option<Write> {
    let Answer::Going(status) = &world.answer else { return None };
    let Some(runners) = &world.runners else {
        let copies = Copies::read_by(world.master.as_ref()?, blueprint.names, hash);
        let token = blueprint.names.token(key);
        let job = blueprint.runner_job(&copies, &token);
        return (status.state == RunState::Waiting).then(|| Write::Job(Box::new(job)));
    };
    let same_run = world.run()?.spec_hash.as_deref() == Some(&spec_hash(&world.load_test));
    let spec = live_spec(&world.load_test);
    if same_run && status.generation < spec.generation {
        return Some(Write::Spec(spec));
    }
    tell_departed(world).or_else(|| adjust(world, blueprint, runners))
}

/// A pod that the master may still count on.
fn tell_departed(world: &World) -> Option<Write> {
    let ended = world.pods_of("runner").filter(|pod| pods::has_ended(pod));
    ended
        .filter_map(|pod| Some((pod, pod.metadata.uid.clone()?)))
        .find(|(_, uid)| !world.memory.departed.contains(uid))
        .map(|(pod, uid)| {
            let departure = RunnerDeparture { runner: pods::name(pod).to_owned(), exit: pods::end(pod) };
            Write::Departed { uid, departure }
        })
}

/// The Jobs follow the spec in the little that may change of them.
fn adjust(world: &World, blueprint: &Blueprint<'_>, runners: &Job) -> Option<Write> {
    let wanted = world.load_test.spec.runners.cast_signed();
    let has = |job: &Job| job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    let parallelism = runners.spec.as_ref().and_then(|spec| spec.parallelism);
    let deadline = blueprint.runner_deadline();
    if parallelism != Some(wanted) || has(runners) != Some(deadline) {
        return Some(Write::Adjust {
            job: blueprint.names.runner(),
            parallelism: Some(wanted),
            active_deadline: deadline,
        });
    }
    let (master, deadline) = (world.master.as_ref()?, blueprint.master_deadline());
    (has(master) != Some(deadline)).then(|| Write::Adjust {
        job: blueprint.names.master(),
        parallelism: None,
        active_deadline: deadline,
    })
}

fn keep_report(world: &World, blueprint: &Blueprint<'_>) -> Option<Write> {
    match &world.answer {
        Answer::Over(report) if !world.has_report && world.conflict.is_none() => {
            Some(Write::ConfigMap(Box::new(report_map(blueprint, report))))
        }
        _ => None,
    }
}

/// After the verdict: the master may go, and nothing is left behind that could still start.
fn wind_up(world: &World, blueprint: &Blueprint<'_>) -> Option<Write> {
    if let Some(write) = keep_report(world, blueprint) {
        return Some(write);
    }
    if matches!(world.answer, Answer::Over(_)) && world.has_report && !world.memory.acknowledged {
        return Some(Write::Acknowledge);
    }
    if let Some(stop) = stop(world) {
        return Some(stop);
    }
    let left_long_ago = world.run()?.completion_time.as_ref().is_some_and(|end| {
        u64::try_from(world.now.duration_since(end.0).as_secs()).is_ok_and(|since| LEAVE.as_secs() <= since)
    });
    // A master that holds a report goes once it is kept, or at its own deadline; without one it has nothing to say.
    let end_master = !world.has_report && !matches!(world.answer, Answer::Over(_));
    let end_runners = left_long_ago || !world.has_report || !ran(world);
    end(world.runners.as_ref().filter(|_| end_runners))
        .or_else(|| end(world.master.as_ref().filter(|_| end_master)))
}

/// Ends a load that nobody wants any more, once.
fn stop(world: &World) -> Option<Write> {
    let Answer::Going(status) = &world.answer else { return None };
    matches!(status.state, RunState::Waiting | RunState::Running).then_some(Write::Stop(StopReason::Stopped))
}

/// Whether load was sent: runners that joined hear of the end themselves.
fn ran(world: &World) -> bool {
    world.report.as_ref().is_some_and(|report| report.run.start_time.is_some())
}

/// Lets the cluster end a Job now.
fn end(job: Option<&Job>) -> Option<Write> {
    let job = job.filter(|job| !is_finished(job))?;
    let deadline = job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    (deadline != Some(1)).then(|| Write::Adjust {
        job: job.metadata.name.clone().unwrap_or_default(),
        parallelism: None,
        active_deadline: 1,
    })
}

#[cfg(test)]
pub(crate) mod tests;
