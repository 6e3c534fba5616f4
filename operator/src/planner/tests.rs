//! Claims about what is done and in which order, in a cluster in memory.

use std::collections::BTreeSet;

use aiotest_api::LoadTest;
use aiotest_api::conditions::ConditionType;
use aiotest_api::load::DesiredState;
use aiotest_api::status::VerdictResult;
use aiotest_core::message::Status;
use aiotest_core::report::Report;
use aiotest_core::verdict::Outcome;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::*;
use crate::build::{Names, Source};
use crate::status;
use crate::world::Memory;

/// A cluster in memory, as far as the planner sees it: what it decides happens.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) settings: Settings,
    key: Key,
    /// What was done, a word each.
    done: Vec<String>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let load_test: LoadTest = serde_json::from_value(json!({
            "apiVersion": "aiotest.dev/v1alpha1", "kind": "LoadTest",
            "metadata": {"name": "checkout", "namespace": "shop", "uid": "u-1", "generation": 1},
            "spec": {
                "aiotestfile": {"configMap": {"name": "scripts", "key": "a.py"}}, "host": "http://shop",
                "load": {"constant": {"users": 10, "spawnRate": 5, "duration": "1m"}}, "runners": 2,
                "deadlines": {"startup": "1m"}
            }
        }))
        .unwrap();
        let names = Names::of(&load_test, 1);
        let mut source = Source::default();
        source.data.insert("a.py".to_owned(), "…".to_owned());
        let world = World {
            now: "2026-11-22T12:00:00Z".parse::<Timestamp>().unwrap(),
            load_test,
            names,
            source: Ok(source),
            copies: BTreeSet::new(),
            has_snapshot: false,
            has_plan: false,
            service: None,
            master: None,
            runners: None,
            has_report: false,
            report: None,
            pods: Vec::new(),
            conflict: None,
            complaint: None,
            answer: Answer::NotAsked,
            memory: Memory::default(),
        };
        Self { world, settings: Settings::for_tests(), key: Key::of("0123456789abcdef"), done: Vec::new() }
    }

    /// One look, as the reconciler does it. False: there was nothing to do.
    pub(crate) fn look(&mut self) -> bool {
        let standing = Standing::of(&self.world, None);
        let wanted = status::of(&self.world, &self.settings, &standing);
        if self.world.run() == Some(&status::run(&self.world, &self.settings))
            && let Some(write) = next(&self.world, &self.settings, &self.key, &standing)
        {
            self.happen(write);
            return true;
        }
        if self.world.status() == Some(&wanted) {
            return false;
        }
        if let Some((reason, _)) = status::transition(self.world.status(), &wanted) {
            self.done.push(format!("event {reason}"));
        }
        self.world.load_test.status = Some(wanted);
        self.done.push("status".to_owned());
        true
    }

    /// Looks until there is nothing more to do; what was done.
    pub(crate) fn settle(&mut self) -> Vec<String> {
        for _ in 0..50 {
            if !self.look() {
                return std::mem::take(&mut self.done);
            }
        }
        panic!("there is no end to it: {:?}", self.done);
    }

    fn happen(&mut self, write: Write) {
        let word = match write {
            Write::Secret(_) => {
                self.world.memory.secret_made = true;
                "secret".to_owned()
            }
            Write::ConfigMap(map) => {
                let name = map.metadata.name.clone().unwrap();
                match name.rsplit_once('-').unwrap().1 {
                    "plan" => self.world.has_plan = true,
                    "report" => {
                        self.world.has_report = true;
                        self.world.report = crate::build::read_report(&map);
                    }
                    // The source's copy is the last one.
                    _ => {
                        self.world.has_snapshot = name.contains("-source-");
                        self.world.copies.insert(name.clone());
                    }
                }
                name
            }
            Write::Service(service) => {
                self.world.service = Some(*service);
                "service".to_owned()
            }
            Write::Job(job) => {
                let name = job.metadata.name.clone().unwrap();
                if name.ends_with("master") {
                    self.world.master = Some(*job);
                } else {
                    self.world.runners = Some(*job);
                }
                name
            }
            Write::Adjust { job, parallelism, active_deadline } => {
                let known =
                    if job.ends_with("master") { &mut self.world.master } else { &mut self.world.runners };
                let spec = known.as_mut().unwrap().spec.as_mut().unwrap();
                spec.active_deadline_seconds = Some(active_deadline);
                spec.parallelism = parallelism.or(spec.parallelism);
                format!("adjust {job}")
            }
            Write::Spec(spec) => {
                if let Answer::Going(status) = &mut self.world.answer {
                    status.generation = spec.generation;
                }
                format!("spec {}", spec.generation)
            }
            Write::Departed { uid, departure } => {
                self.world.memory.departed.insert(uid);
                format!("departed {}", departure.runner)
            }
            Write::Stop(reason) => {
                // The master obeys: the next answer is another.
                self.world.answer = Answer::NotAsked;
                format!("stop {reason:?}")
            }
            Write::Acknowledge => {
                self.world.memory.acknowledged = true;
                "acknowledge".to_owned()
            }
        };
        self.done.push(word);
    }

    pub(crate) fn answer(&mut self, state: RunState, joined: u32) {
        let generation = match &self.world.answer {
            Answer::Going(status) => status.generation,
            _ => 0,
        };
        self.world.answer =
            Answer::Going(Box::new(Status { state, joined, expected: 2, generation, ..Status::default() }));
    }

    /// Until load is sent.
    pub(crate) fn start(&mut self) {
        self.settle();
        self.answer(RunState::Waiting, 2);
        self.settle();
        self.answer(RunState::Running, 2);
        self.settle();
    }

    pub(crate) fn end(&mut self, result: Outcome) {
        let mut report = Report::default();
        report.verdict.result = result;
        report.verdict.reasons = vec!["because".to_owned()];
        report.run.start_time = Some("2026-11-22T12:00:05Z".to_owned());
        report.total.sent = 7;
        self.world.answer = Answer::Over(Box::new(report));
    }

    pub(crate) fn later(&mut self, seconds: i64) {
        self.world.now = self.world.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    }

    pub(crate) fn state(&self) -> &str {
        status::state(self.world.status())
    }

    pub(crate) fn verdict(&self) -> Option<VerdictResult> {
        self.world.status()?.verdict.as_ref().map(|verdict| verdict.result)
    }

    fn finish(&mut self, condition: &str, message: &str) {
        for job in [&mut self.world.master, &mut self.world.runners].into_iter().flatten() {
            job.status = serde_json::from_value(json!({"conditions": [
                {"type": condition, "status": "True", "reason": "R", "message": message}]}))
            .unwrap();
        }
        self.world.answer = Answer::NotAsked;
    }

    fn master_left(&mut self, message: &str) {
        self.world.pods = vec![
            serde_json::from_value(json!({
                "metadata": {"name": "m", "labels": {"app.kubernetes.io/component": "master"}},
                "status": {"phase": "Succeeded", "containerStatuses": [{"name": "master", "image": "i",
                    "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": 0, "message": message}}}]}
            }))
            .unwrap(),
        ];
    }
}

#[test]
fn a_run_is_made_in_order_and_ends_with_its_report_kept_and_acknowledged() {
    let mut scene = Scene::new();
    let hash = scene.world.source.as_ref().unwrap().hash();
    assert_eq!(
        scene.settle(),
        [
            "event StartingMaster",
            "status",
            &format!("checkout-1-source-{}", &hash[..8]),
            "checkout-1-plan",
            "secret",
            "service",
            "checkout-1-master"
        ]
    );
    scene.answer(RunState::Waiting, 0);
    let done = scene.settle();
    assert_eq!(done[0], "checkout-1-runner", "the script is checked first");
    assert_eq!(done[1], "spec 1");
    scene.answer(RunState::Running, 2);
    assert_eq!(scene.settle(), ["event Running", "status"]);
    assert_eq!(scene.world.status().unwrap().runners.unwrap().ready, 2);
    scene.end(Outcome::Passed);
    assert_eq!(scene.settle(), ["checkout-1-report", "event Passed", "status", "acknowledge"]);
    assert_eq!(scene.state(), "Passed");
    assert_eq!(scene.world.status().unwrap().report.as_ref().unwrap().sent, 7);
    scene.finish("Complete", "");
    assert_eq!(scene.settle(), [""; 0]);
    assert_eq!(patience(&scene.world, &Standing::of(&scene.world, None)), None);
}

#[test]
fn an_operator_that_forgot_everything_makes_nothing_twice() {
    let mut scene = Scene::new();
    scene.start();
    scene.world.memory = Memory::default();
    assert_eq!(scene.settle(), [""; 0]);
    scene.end(Outcome::Passed);
    scene.settle();
    scene.finish("Complete", "");
    scene.world.memory = Memory::default();
    scene.world.has_plan = false;
    scene.world.master = None;
    assert_eq!(scene.settle(), [""; 0], "after a verdict nothing is begun");
}

#[test]
fn a_missing_source_is_waited_for_and_named_until_the_startup_deadline() {
    let mut scene = Scene::new();
    let source =
        std::mem::replace(&mut scene.world.source, Err("there is no ConfigMap `scripts`".to_owned()));
    assert_eq!(scene.settle(), ["event SourceMissing", "status"]);
    scene.later(59);
    assert_eq!(scene.settle(), [""; 0]);
    let mut appeared = Scene { world: scene.world.clone(), settings: scene.settings.clone(), ..Scene::new() };
    appeared.world.source = source;
    assert!(appeared.settle().contains(&"checkout-1-master".to_owned()));
    scene.later(1);
    assert_eq!(scene.settle(), ["event NotStarted", "status"]);
    let reasons = &scene.world.status().unwrap().verdict.as_ref().unwrap().reasons;
    assert!(reasons[0].contains("deadlines.startup (1m)") && reasons[0].contains("`scripts`"), "{reasons:?}");
    scene.world.source = Ok(Source::inline("late"));
    assert_eq!(scene.settle(), [""; 0]);
}

#[test]
fn a_source_edited_before_its_snapshot_is_the_one_that_runs() {
    let mut scene = Scene::new();
    scene.look();
    scene.world.source = Ok(Source::inline("edited"));
    let hash = Source::inline("edited").hash();
    assert!(scene.settle().contains(&format!("checkout-1-source-{}", &hash[..8])));
    assert_eq!(scene.world.run().unwrap().script_hash, Some(hash));
}

#[test]
fn a_refused_script_ends_the_run_before_any_runner_exists() {
    let mut scene = Scene::new();
    scene.settle();
    scene.finish("Complete", "");
    scene.master_left(r#"{"refused": {"error": "a.py:3: SyntaxError: invalid syntax"}}"#);
    assert_eq!(scene.settle(), ["event NotStarted", "status"]);
    assert!(scene.world.runners.is_none());
    let accepted = &scene.world.status().unwrap().conditions[0];
    assert_eq!(
        (accepted.reason.as_str(), accepted.message.as_str()),
        ("ScriptRefused", "a.py:3: SyntaxError: invalid syntax")
    );
    assert_eq!(scene.settle(), [""; 0]);
}

#[test]
fn runners_that_do_not_come_in_time_stop_the_run_through_its_master() {
    let mut scene = Scene::new();
    scene.settle();
    scene.answer(RunState::Waiting, 1);
    scene.settle();
    scene.later(60);
    assert_eq!(scene.settle()[0], "stop NotStarted");
}

#[test]
fn a_run_whose_master_cannot_start_is_ended_by_the_cluster() {
    let mut scene = Scene::new();
    scene.settle();
    scene.later(60);
    assert_eq!(scene.settle(), ["event NotStarted", "status", "adjust checkout-1-master"]);
    assert_eq!(scene.world.master.as_ref().unwrap().spec.as_ref().unwrap().active_deadline_seconds, Some(1));
}

#[test]
fn a_report_that_nobody_collected_is_told_by_what_the_master_left() {
    let mut scene = Scene::new();
    scene.start();
    scene.finish("Complete", "");
    scene.master_left(r#"{"ended": {"result": "Failed", "exit_code": 1, "reasons": ["p95 was 2 s"]}}"#);
    scene.settle();
    assert_eq!(scene.verdict(), Some(VerdictResult::Failed));
    let reasons = &scene.world.status().unwrap().verdict.as_ref().unwrap().reasons;
    assert_eq!(reasons[0], "p95 was 2 s");
}

#[test]
fn a_master_that_died_for_good_makes_the_run_invalid() {
    let mut scene = Scene::new();
    scene.start();
    scene.world.master.as_mut().unwrap().status = serde_json::from_value(
        json!({"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded",
            "message": "was active too long"}]}),
    )
    .unwrap();
    scene.world.answer = Answer::NotAsked;
    let done = scene.settle();
    assert_eq!(done, ["event Invalid", "status", "adjust checkout-1-runner"], "no load is left behind");
    assert!(scene.world.status().unwrap().verdict.as_ref().unwrap().reasons[0].contains("DeadlineExceeded"));
}

#[test]
fn a_master_that_is_away_leaves_the_run_running() {
    let mut scene = Scene::new();
    scene.start();
    scene.world.answer = Answer::Silent("connection refused".to_owned());
    scene.settle();
    assert_eq!(scene.state(), "Running");
    scene.later(3600);
    assert_eq!(scene.settle(), [""; 0]);
    assert_eq!(scene.verdict(), None);
}

#[test]
fn what_may_be_edited_in_a_running_run_follows_and_the_rest_waits() {
    let mut scene = Scene::new();
    scene.start();
    scene.world.load_test.spec.runners = 3;
    scene.world.load_test.metadata.generation = Some(2);
    let done = scene.settle();
    assert_eq!(done[..2], ["spec 2", "adjust checkout-1-runner"]);
    scene.world.load_test.spec.host = Some("http://other".to_owned());
    scene.world.load_test.metadata.generation = Some(3);
    assert_eq!(scene.settle(), ["status"], "the run goes on with what it began with");
    assert!(scene.world.status().unwrap().conditions[0].message.contains("edited since"));
}

#[test]
fn a_pod_that_ended_is_told_to_the_master_once() {
    let mut scene = Scene::new();
    scene.start();
    scene.world.pods = vec![
        serde_json::from_value(json!({
            "metadata": {"name": "r-0", "uid": "p", "labels": {"app.kubernetes.io/component": "runner"}},
            "status": {"phase": "Failed", "containerStatuses": [{"name": "runner", "image": "i", "imageID": "",
                "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}
        }))
        .unwrap(),
    ];
    assert_eq!(scene.settle()[0], "departed r-0");
    assert_eq!(scene.settle(), [""; 0]);
}

#[test]
fn a_name_that_is_somebody_elses_is_a_condition_and_nothing_is_made() {
    let mut scene = Scene::new();
    scene.world.conflict = Some("Job `checkout-1-master` is there already and is nobody's".to_owned());
    assert_eq!(scene.settle(), ["event NameConflict", "status"]);
    let reconciling = &scene.world.status().unwrap().conditions[1];
    assert_eq!(reconciling.reason, "NameConflict");
    scene.later(61);
    scene.settle();
    assert_eq!(scene.verdict(), Some(VerdictResult::NotStarted));
}

#[test]
fn a_load_test_that_is_being_deleted_is_stopped_and_nothing_is_made() {
    let mut scene = Scene::new();
    scene.world.load_test.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(scene.world.now));
    let standing = Standing::of(&scene.world, None);
    assert!(next(&scene.world, &scene.settings, &scene.key, &standing).is_none());
    scene.answer(RunState::Running, 2);
    let write = next(&scene.world, &scene.settings, &scene.key, &standing);
    assert!(matches!(write, Some(Write::Stop(StopReason::Stopped))));
    scene.answer(RunState::Draining, 2);
    let write = next(&scene.world, &scene.settings, &scene.key, &standing);
    assert!(write.is_none(), "once is enough");
}

#[test]
fn a_load_that_is_paused_is_told_so_and_is_no_end() {
    let mut scene = Scene::new();
    scene.start();
    scene.world.load_test.spec.desired_state = DesiredState::Paused;
    scene.world.load_test.metadata.generation = Some(2);
    assert_eq!(scene.settle()[0], "spec 2");
    let Answer::Going(status) = &mut scene.world.answer else { panic!("it is going") };
    status.paused = true;
    scene.settle();
    assert_eq!(scene.state(), "Paused");
    let message = &scene.world.status().unwrap().condition(ConditionType::Reconciling).unwrap().message;
    assert!(message.starts_with("paused by desiredState: no user lives, and none comes until"), "{message}");
    scene.world.answer = Answer::Silent("connection refused".to_owned());
    scene.settle();
    assert_eq!((scene.state(), scene.verdict()), ("Paused", None));
    scene.answer(RunState::Running, 2);
    scene.settle();
    assert_eq!(scene.state(), "Running");
}

#[test]
fn the_rows_of_data_sets_are_copied_as_they_were_when_the_run_was_written_down() {
    let mut scene = Scene::new();
    let set = |name: &str| json!({"name": name, "configMap": {"name": "rows", "key": "a.csv"}});
    scene.world.load_test.spec.data = serde_json::from_value(json!([set("one"), set("other")])).unwrap();
    scene.world.source.as_mut().unwrap().sets = ["a", "b"].map(Source::inline).into();
    let before = scene.world.source.as_ref().unwrap().hash();
    while scene.world.copies.is_empty() {
        assert!(scene.look());
    }
    // Somebody edits a map in mid-copy: the run is written down anew, and nothing of the old one is used.
    scene.world.source.as_mut().unwrap().sets[1] = Source::inline("c");
    let hash = scene.world.source.as_ref().unwrap().hash();
    let name = |what: &str, hash: &str| format!("checkout-1-{what}-{}", &hash[..8]);
    assert_eq!(
        scene.settle(),
        [
            "event StartingMaster",
            "status",
            &format!("{}-0", name("data", &before)),
            "status",
            &format!("{}-0", name("data", &hash)),
            &format!("{}-1", name("data", &hash)),
            &name("source", &hash),
            "checkout-1-plan",
            "secret",
            "service",
            "checkout-1-master"
        ]
    );
}
