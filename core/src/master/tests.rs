//! Claims about masters, message by message. Whole runs are played in `tests/simulation`.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::message::{ClassUsers, Window};
use crate::report::Outcome;
use crate::run::{Constant, Deadlines, Desired, Load};
use crate::stats::{Outcome as Call, Sample};
use crate::wall::WallClock;

pub(super) const fn at(milliseconds: u64) -> Tick {
    Tick::from_micros(milliseconds * 1000)
}

pub(super) fn spec(load: &serde_json::Value, thresholds: &serde_json::Value) -> RunSpec {
    serde_json::from_value(json!({
        "run": {"id": "a", "name": "quickstart"}, "load": load, "runners": 1, "processes_per_runner": 1,
        "thresholds": thresholds, "aiotestfile": "aiotestfile.py",
    }))
    .unwrap()
}

pub(super) fn constant(thresholds: &serde_json::Value) -> Master {
    let load = json!({"constant": {"users": 10, "spawn_rate": 5, "duration": 20_000_000}});
    let classes = vec![ClassSpec { name: "TestShop".into(), weight: 1 }];
    Master::new(spec(&load, thresholds), classes, 7).unwrap()
}

pub(super) fn shaped() -> Master {
    let classes = vec![ClassSpec { name: "TestShop".into(), weight: 1 }];
    Master::new(spec(&json!("shape"), &json!([])), classes, 7).unwrap()
}

pub(super) fn report(incarnation: u64, sequence: u64) -> Report {
    Report {
        version: VERSION,
        from: ProcessId { runner: "runner-0".into(), process: 0, incarnation },
        sequence,
        classes: vec!["TestShop".into()],
        state: ProcessState::Running,
        users: vec![ClassUsers::default()],
        ..Report::default()
    }
}

pub(super) fn of(process: u32, sequence: u64) -> Report {
    let mut report = report(0, sequence);
    report.from.process = process;
    report
}

pub(super) fn calls(milliseconds: &[u64]) -> Statistics {
    let mut statistics = Statistics::default();
    for latency in milliseconds {
        statistics.record(&sample(*latency));
    }
    statistics
}

pub(super) fn sample(milliseconds: u64) -> Sample<'static> {
    Sample {
        name: "/",
        method: "GET",
        latency: Duration::from_millis(milliseconds),
        phases: &[],
        status: Some(200),
        bytes_received: 1,
        outcome: Call::Success,
        sent: 1,
        retried: 0,
        truncated: false,
        late: None,
    }
}

pub(super) fn with(report: Report, since: Tick, milliseconds: &[u64]) -> Report {
    let mut windows = report.windows.clone();
    windows.push(Window { since, statistics: calls(milliseconds) });
    Report { windows, ..report }
}

pub(super) fn finish(master: &mut Master) -> crate::report::Report {
    for _ in 0..9 {
        if let Some(due) = master.poll_timeout() {
            master.handle_timeout(due);
        }
    }
    master.report(WallClock::default()).expect("it has ended")
}

/// A master that goes on from what the last one wrote.
pub(super) fn restarted(master: &Master, now: Tick) -> Master {
    let written = serde_json::to_string(&master.checkpoint(now)).unwrap();
    let checkpoint = serde_json::from_str(&written).unwrap();
    let classes = vec![ClassSpec { name: "TestShop".into(), weight: 1 }];
    Master::restore(master.spec.clone(), classes, checkpoint, now).unwrap()
}

impl Master {
    pub(super) fn notes_of(&self, now: Tick) -> Vec<String> {
        self.status(now).notes
    }
}

pub(super) fn events(master: &mut Master) -> Vec<MasterEvent> {
    std::iter::from_fn(|| master.poll_event()).collect()
}

#[test]
fn the_start_is_agreed_when_everybody_has_joined() {
    let mut master = constant(&json!([]));
    let assignment = master.handle_report(at(100), &report(0, 1)).unwrap();
    assert_eq!(assignment.start, Some(at(1600)));
    assert_eq!((assignment.acknowledged, assignment.epoch), (1, 7));
    assert_eq!(assignment.share.users(&assignment.plan, at(2600)), [5]);
    assert_eq!(assignment.stop.map(|stop| stop.at), Some(at(21_600)));
    assert_eq!(events(&mut master)[1], MasterEvent::TestStart);
}

#[test]
fn a_process_that_only_repeats_itself_has_heard_nothing_and_counts_as_silent() {
    let mut master = constant(&json!([]));
    master.handle_report(at(100), &report(0, 1)).unwrap();
    for milliseconds in [1100, 6100, 11_100, 16_100] {
        master.handle_report(at(milliseconds), &report(0, 2)).unwrap();
    }
    assert_eq!(master.processes().count(), 1);
    master.handle_timeout(at(17_100));
    assert_eq!(master.processes().count(), 0, "it has stopped its load by then");
    master.handle_report(at(18_000), &report(0, 2)).unwrap();
    assert_eq!(master.processes().count(), 0);
    let late = Report { users: vec![ClassUsers { live: 10, dead: 0 }], ..report(0, 3) };
    master.handle_report(at(18_500), &late).unwrap();
    assert_eq!((master.processes().count(), master.users()), (1, 0), "what was on its way is of long ago");
    master.handle_report(at(18_600), &Report { sequence: 4, ..late }).unwrap();
    assert_eq!(master.users(), 10);
}

#[test]
fn users_of_a_process_that_has_stopped_its_load_count_as_none() {
    let mut master = constant(&json!([]));
    master.handle_report(at(100), &report(0, 1)).unwrap();
    let users = vec![ClassUsers { live: 10, dead: 0 }];
    master.handle_report(at(5000), &Report { users: users.clone(), ..report(0, 2) }).unwrap();
    assert_eq!(master.users(), 10);
    let thawed = Report { users, state: ProcessState::Stopped, ..report(0, 3) };
    master.handle_report(at(30_000), &thawed).unwrap();
    assert_eq!(master.users(), 0);
}

#[test]
fn a_process_that_is_cut_off_over_the_end_is_awaited_until_the_last_moment() {
    let cut_off = |sequence: u64, state: ProcessState| Report {
        from: ProcessId { runner: "runner-1".into(), process: 0, incarnation: 1 },
        state,
        ..with(report(0, sequence), Tick::ZERO, &[5])
    };
    let mut master = constant(&json!([]));
    for milliseconds in (1..21).map(|second| second * 1000) {
        master.handle_report(at(milliseconds), &report(0, milliseconds / 1000)).unwrap();
        if milliseconds <= 10_000 {
            let report = cut_off(milliseconds / 1000, ProcessState::Running);
            master.handle_report(at(milliseconds + 100), &report).unwrap();
        }
    }
    for (milliseconds, sequence) in [(22_600, 21), (38_000, 22)] {
        let drained = Report { state: ProcessState::Drained, ..report(0, sequence) };
        master.handle_report(at(milliseconds), &drained).unwrap();
    }
    assert_eq!((master.state(), master.processes().count()), (RunState::Draining, 1));
    let mut given_up = master.clone();
    assert_eq!(finish(&mut given_up).gaps[0].lost_at_most, None, "it never came");
    master.handle_report(at(50_000), &cut_off(11, ProcessState::Drained)).unwrap();
    assert_eq!(master.state(), RunState::Ended);
    let report = finish(&mut master);
    assert_eq!((report.total.requests, report.gaps.len(), report.gaps[0].lost_at_most), (11, 1, Some(0)));
}

#[test]
fn what_one_process_measured_is_held_once_and_what_several_did_is_merged() {
    let mut master = constant(&json!([]));
    let mut times = Vec::new();
    // The second life replaces the first; a third report says anew all that the second life measured.
    for (incarnation, sequence, full, latency) in
        [(0, 1, false, 3), (0, 2, false, 5), (1, 1, false, 7), (1, 3, true, 9), (1, 4, false, 11)]
    {
        let report = Report { full, ..with(report(incarnation, sequence), Tick::ZERO, &[latency]) };
        master.handle_report(at(100 + latency), &report).unwrap();
        times.retain(|known| !full || *known != 7);
        times.push(latency);
        assert_eq!(master.merged.is_empty(), incarnation == 0);
        assert_eq!(*master.statistics(), calls(&times));
    }
}

#[test]
fn what_can_be_no_report_of_this_run_is_refused() {
    let mut master = constant(&json!([]));
    master.handle_report(at(0), &report(3, 1)).unwrap();
    let refusal =
        |master: &mut Master, report: Report| master.handle_report(at(1), &report).unwrap_err().to_string();
    assert_eq!(
        refusal(&mut master, Report { epoch: Some(6), ..report(3, 2) }),
        "the report is of epoch 6, the run is in epoch 7"
    );
    assert_eq!(refusal(&mut master, report(2, 1)), "runner-0/0#2 has been replaced by its incarnation 3");
    assert_eq!(
        refusal(&mut master, Report { classes: vec!["TestB".into()], ..report(3, 2) }),
        "the runner's user classes (TestB) are not the master's (TestShop)"
    );
    assert_eq!(
        refusal(&mut master, Report { version: 9, ..report(3, 2) }),
        "the report has version 9, the master speaks 1"
    );
    let nameless = Report { from: ProcessId::default(), ..report(3, 2) };
    assert_eq!(refusal(&mut master, nameless), "no place for process /0#0");
}

#[test]
fn a_replaced_process_is_refused_but_its_last_measurements_are_kept() {
    let mut master = constant(&json!([]));
    master.handle_report(at(0), &report(0, 1)).unwrap();
    master.handle_report(at(1), &report(1, 1)).unwrap();
    let late = with(report(0, 2), Tick::ZERO, &[5]);
    assert!(matches!(master.handle_report(at(2), &late), Err(Refusal::Superseded { by: 1, .. })));
    assert_eq!(master.statistics().sent_total(), 1);
}

#[test]
fn a_doubled_or_late_report_counts_once() {
    let mut master = constant(&json!([]));
    let (first, second) = (with(report(0, 1), Tick::ZERO, &[5]), with(report(0, 2), Tick::ZERO, &[6, 7]));
    for message in [&first, &first, &second, &first, &second] {
        assert!(!master.handle_report(at(1), message).unwrap().send_full);
    }
    assert_eq!(*master.statistics(), calls(&[5, 6, 7]));
}

#[test]
fn a_full_report_is_asked_for_when_others_are_missing_and_replaces_what_is_held() {
    let mut master = constant(&json!([]));
    master.handle_report(at(0), &with(report(0, 1), Tick::ZERO, &[5])).unwrap();
    let asked = master.handle_report(at(1), &with(report(0, 9), Tick::ZERO, &[9])).unwrap();
    assert!(asked.send_full);
    assert_eq!(asked.acknowledged, 1);
    assert_eq!(*master.statistics(), calls(&[5]));
    let full = Report { full: true, ..with(report(0, 10), Tick::ZERO, &[5, 6, 9]) };
    let answer = master.handle_report(at(2), &full).unwrap();
    assert_eq!((answer.send_full, answer.acknowledged), (false, 10));
    assert_eq!(*master.statistics(), calls(&[5, 6, 9]));
}

#[test]
fn thresholds_look_at_the_time_from_the_end_of_the_ramp_or_from_after_on() {
    let thresholds = json!([{"expr": "max < 1s"}, {"expr": "max < 1s", "after": "0s"}, {"expr": "rps >= 1", "after": "10s"}]);
    let mut master = constant(&thresholds);
    let start = master.handle_report(at(0), &report(0, 1)).unwrap();
    assert_eq!(start.marks, [at(1500), at(3500), at(11_500)], "the start, the ramp's end, ten seconds");
    let slow = with(with(report(0, 2), at(1500), &[2000]), at(3500), &[20]);
    master.handle_report(at(4000), &slow).unwrap();
    let last = with(report(0, 3), at(11_500), &[30, 30, 30, 30, 30]);
    master.handle_report(at(21_600), &Report { state: ProcessState::Drained, ..last }).unwrap();
    let report = finish(&mut master);
    let results: Vec<_> =
        report.verdict.thresholds.iter().map(|it| (it.value, it.from_s, it.passed)).collect();
    assert_eq!(results[0], (Some(30.0), Some(2.0), true));
    assert_eq!(results[1], (Some(2000.0), Some(0.0), false));
    assert_eq!(results[2], (Some(0.5), Some(10.0), false));
    assert_eq!(report.verdict.result, Outcome::Failed);
    assert_eq!(report.total.requests, 7);
}

#[test]
fn a_window_between_no_marks_of_ours_counts_before_the_next_one() {
    let mut master = constant(&json!([{"expr": "max < 1s"}]));
    master.handle_report(at(0), &report(0, 1)).unwrap();
    master.handle_report(at(9000), &with(report(0, 2), Tick::from_micros(u64::MAX), &[20])).unwrap();
    let last = with(report(0, 3), at(3499), &[5000]);
    master.handle_report(at(21_600), &Report { state: ProcessState::Drained, ..last }).unwrap();
    assert_eq!(finish(&mut master).verdict.thresholds[0].value, Some(20.0));
}

#[test]
fn dead_users_are_counted_after_their_process_is_gone() {
    let mut master = constant(&json!([]));
    master.handle_report(at(0), &report(0, 1)).unwrap();
    let dead = Report { users: vec![ClassUsers { live: 8, dead: 2 }], ..report(0, 2) };
    master.handle_report(at(4000), &dead).unwrap();
    let departure = Departure { process: dead.from.clone(), exit: "killed".into(), sent_total: Some(9) };
    master.handle_departure(at(4100), &departure);
    assert_eq!(master.status(at(4100)).dead_users, 2);
    let report = finish(&mut master);
    assert_eq!(report.verdict.result, Outcome::Invalid);
    assert_eq!(report.verdict.reasons[0], "2 of 10 users died, more than 1 %");
    assert_eq!(report.gaps[0].lost_at_most, Some(9));
    assert_eq!(report.gaps[0].to, "1970-01-01T00:00:21.500Z", "nobody came in its place before the stop");
}

#[test]
fn everybody_completes_the_start_at_one_instant() {
    let mut master = constant(&json!([]));
    master.handle_report(at(0), &report(0, 1)).unwrap();
    let full = Report { users: vec![ClassUsers { live: 10, dead: 0 }], ..report(0, 2) };
    let answer = master.handle_report(at(3600), &full).unwrap();
    assert_eq!(answer.start_complete, Some(StartComplete { at: at(5100), users: 10 }));
    events(&mut master);
    master.handle_timeout(at(5100));
    assert_eq!(events(&mut master), [MasterEvent::StartComplete { users: 10 }]);
}

#[test]
fn a_shape_that_fails_or_hangs_leaves_the_last_plan_and_is_said() {
    let mut master = shaped();
    master.handle_report(at(0), &report(0, 1)).unwrap();
    let asked =
        |events: &[MasterEvent]| events.iter().any(|event| matches!(event, MasterEvent::AskShape { .. }));
    assert!(asked(&events(&mut master)));
    master.handle_shape(at(10), ShapeTick::Users { users: 6, rate: 1e6 });
    for (second, tick) in [
        (3000, ShapeTick::Failed("ValueError: no".into())),
        (4000, ShapeTick::Users { users: 7, rate: f64::NAN }),
        (5000, ShapeTick::Users { users: u32::MAX, rate: 1.0 }),
    ] {
        master.handle_timeout(at(second));
        assert!(asked(&events(&mut master)));
        master.handle_shape(at(second), tick);
    }
    master.handle_timeout(at(6000));
    assert!(asked(&events(&mut master)));
    for second in 7..12 {
        master.handle_timeout(at(second * 1000));
        master.handle_report(at(second * 1000), &report(0, second)).ok();
        assert!(!asked(&events(&mut master)), "one question at a time");
    }
    let status = master.status(at(12_000));
    assert_eq!(status.target, 6);
    assert_eq!(status.notes.len(), 2, "{:?}", status.notes);
    assert!(status.notes[0].starts_with("the shape failed 3 times"), "{:?}", status.notes);
    assert!(status.notes[1].starts_with("the shape did not answer within 1 s 1 times"), "{:?}", status.notes);
}

#[test]
fn the_run_deadline_ends_a_run_that_has_no_other_end() {
    let mut master = shaped();
    master.handle_report(at(0), &report(0, 1)).unwrap();
    let report = finish(&mut master);
    assert_eq!(report.verdict.result, Outcome::Cancelled);
    assert!(
        report.verdict.reasons[0].starts_with("stopped at the run's deadline"),
        "{:?}",
        report.verdict.reasons
    );
}

#[test]
fn a_shell_is_never_asked_to_wake_up_in_the_past() {
    let mut master = constant(&json!([]));
    let mut now = at(0);
    for sequence in 1..40 {
        master.handle_report(now, &report(0, sequence)).unwrap();
        assert!(master.poll_timeout().is_none_or(|due| now < due), "{now:?} {:?}", master.poll_timeout());
        now = now + Duration::from_millis(900);
    }
}

#[test]
fn once_over_nothing_changes_and_everybody_is_told() {
    let mut master = constant(&json!([]));
    master.handle_report(at(0), &report(0, 1)).unwrap();
    master.handle_stop(at(5000), StopReason::Interrupted);
    assert!(!master.everybody_told());
    let drained = Report { state: ProcessState::Drained, ..with(report(0, 2), Tick::ZERO, &[4]) };
    let answer = master.handle_report(at(5100), &drained).unwrap();
    assert_eq!(answer.state, RunState::Ended);
    assert!(master.everybody_told());
    let before = master.report(WallClock::default());
    master.handle_report(at(5200), &with(report(0, 3), Tick::ZERO, &[4])).unwrap();
    master.handle_stop(at(5300), StopReason::Stopped);
    assert_eq!(master.report(WallClock::default()), before);
    assert_eq!(master.poll_timeout(), None);
    assert_eq!(events(&mut master).last(), Some(&MasterEvent::Ended { exit_code: 3 }));
}

#[test]
fn the_report_has_every_field_of_version_one() {
    let mut master = constant(&json!([{"expr": "p95 < 300ms"}]));
    master.handle_report(at(0), &report(0, 1)).unwrap();
    let last = with(report(0, 2), at(3500), &[20]);
    master.handle_report(at(21_600), &Report { state: ProcessState::Drained, ..last }).unwrap();
    let json = serde_json::to_value(finish(&mut master)).unwrap();
    let keys =
        |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<String>>();
    let set = |names: &str| names.split_whitespace().map(str::to_owned).collect::<BTreeSet<String>>();
    let total = "requests failures sent aborted generator_faults retried truncated failure_ratio rps bytes_received latency_ms";
    assert_eq!(
        keys(&json),
        set("version run users verdict total requests errors generator_faults user_errors gaps runners")
    );
    assert_eq!(keys(&json["run"]), set("id startTime completionTime duration_s"));
    assert_eq!(keys(&json["users"]), set("target peak"));
    assert_eq!(keys(&json["verdict"]), set("result reasons thresholds"));
    assert_eq!(keys(&json["verdict"]["thresholds"][0]), set("expr from_s value passed"));
    assert_eq!(keys(&json["total"]), set(total));
    assert_eq!(keys(&json["total"]["latency_ms"]), set("min mean p50 p90 p95 p98 p99 p999 max"));
    assert_eq!(keys(&json["requests"][0]), set(&format!("{total} name method status phases_ms")));
    assert_eq!(json["requests"][0]["status"], json!({"200": 1}));
    assert_eq!(
        keys(&json["runners"][0]),
        set("id processes users_peak cpu_percent_max cpu_percent_mean saturated_s waited_percent_mean \
             steal_percent_max steal_percent_mean throttled_ms throttled_periods loop_lag_ms_max loop_lag_ms_mean \
             lateness_ms lateness_ms_mean lateness_ms_p99 open_files_max open_files_limit blocked marks")
    );
    assert_eq!(json["run"]["startTime"], "1970-01-01T00:00:01.500Z");
    assert_eq!((&json["version"], &json["verdict"]["result"]), (&json!(1), &json!("Passed")));
}

prop_compose! {
    fn any_heard()(
        now in 0..90_000_000_000_u64, start: Option<u64>, version: u64, generation in 0..9_u64,
        ramps in prop::collection::vec((any::<u64>(), any::<u64>(), 0..=10_000_000_u32, 0..=10_000_000_u32, any::<f64>()), 0..3),
        row in (0..9_u32, 0..9_u32, any::<bool>(), 0..=10_000_000_u32, 0..=10_000_000_u32), mark: Option<u64>,
    ) -> Assignment {
        let tick = Tick::from_micros;
        let row = crate::share::ShareRow { position: row.0, of: row.1, held: row.2, from: vec![row.3], to: vec![row.4] };
        Assignment {
            version: VERSION, run: "a".into(), now: tick(now), start: start.map(tick), generation,
            share: crate::share::Share { rows: vec![row; ramps.len()] },
            plan: crate::plan::Plan {
                version,
                ramps: ramps.into_iter().map(|(at, since, from, to, rate)| crate::plan::Ramp {
                    version: at, at: tick(at), since: tick(since), from, to, rate: rate.abs().max(0.001),
                }).collect(),
                arrivals: None,
            },
            marks: mark.into_iter().map(tick).collect(),
            ..Assignment::default()
        }
    }
}

prop_compose! {
    fn any_report()(
        version in prop_oneof![9 => Just(VERSION), 1 => any::<u32>()],
        epoch in prop_oneof![4 => Just(None), 4 => Just(Some(7)), 1 => any::<Option<u64>>()],
        runner in "[a-b]{0,2}", process in prop_oneof![0..3_u32, any::<u32>()],
        incarnation in prop_oneof![0..3_u64, any::<u64>()], sequence in prop_oneof![0..9_u64, any::<u64>()],
        full: bool, state in 0..6_usize, plan_version: u64, sent_total: u64,
        users in prop::collection::vec((any::<u32>(), any::<u32>()), 0..4),
        windows in prop::collection::vec((any::<u64>(), prop::collection::vec(0..9000_u64, 0..3)), 0..3),
        cpu_percent: f64, stopped_at in prop::option::weighted(0.1, any::<u64>()),
        heard in prop::option::weighted(0.5, any_heard()),
    ) -> Report {
        use ProcessState::{Drained, Draining, Left, Running, Stopped, Waiting};
        Report {
            version, epoch, from: ProcessId { runner, process, incarnation }, sequence, full,
            classes: vec!["TestShop".into()],
            state: [Waiting, Running, Draining, Drained, Left, Stopped][state],
            plan_version, sent_total,
            users: users.into_iter().map(|(live, dead)| ClassUsers { live, dead }).collect(),
            windows: windows.into_iter().map(|(since, latencies)| Window {
                since: Tick::from_micros(since), statistics: calls(&latencies),
            }).collect(),
            health: Health { cpu_percent, ..Health::default() },
            stopped_at: stopped_at.map(Tick::from_micros),
            heard: heard.map(|heard| Box::new(Assignment { epoch: epoch.unwrap_or(7), ..heard })),
            ..Report::default()
        }
    }
}

#[derive(Clone, Debug)]
enum Input {
    Report(Box<Report>),
    Departure(ProcessId, Option<u64>),
    RunnerDeparture(String),
    Spec(Box<LiveSpec>),
    Restart,
    Shape(ShapeTick),
    Stop,
    Timeout,
}

prop_compose! {
    fn any_live_spec()(
        generation in 0..9_u64, shape in 0..9_u32, users: u32, spawn_rate: f64, duration: Option<u64>,
        runners in 0..4_u32, afters in prop::collection::vec(0..99_u32, 0..3), run: u64, stop: u64,
    ) -> LiveSpec {
        let [run, stop] = [run, stop].map(Duration::from_micros);
        let duration = duration.map(Duration::from_micros);
        let threshold = |after: u32| serde_json::from_value(json!({"expr": "p95 < 1s", "after": format!("{after}s")})).unwrap();
        LiveSpec {
            generation,
            load: if shape == 0 { Load::Shape } else { Load::Constant(Constant { users, spawn_rate, duration }) },
            warm_up: stop / 3,
            desired: [Desired::Running, Desired::Paused, Desired::Stopped][runners as usize % 3],
            runners,
            thresholds: afters.into_iter().map(threshold).collect(),
            deadlines: Deadlines { run, stop, ..Deadlines::default() },
        }
    }
}

fn any_input() -> impl Strategy<Value = (u64, Input)> {
    let pause = prop_oneof![9 => 0..5_000_000_u64, 1 => any::<u64>()];
    let departure =
        (any_report(), any::<Option<u64>>()).prop_map(|(it, sent)| Input::Departure(it.from, sent));
    let shape =
        (any::<u32>(), any::<f64>()).prop_map(|(users, rate)| Input::Shape(ShapeTick::Users { users, rate }));
    let input = prop_oneof![
        20 => any_report().prop_map(|report| Input::Report(Box::new(report))),
        4 => departure,
        4 => shape,
        1 => Just(Input::Shape(ShapeTick::End)),
        1 => Just(Input::Stop),
        1 => "[a-b]{0,2}".prop_map(Input::RunnerDeparture),
        1 => Just(Input::Restart),
        3 => any_live_spec().prop_map(|live| Input::Spec(Box::new(live))),
        6 => Just(Input::Timeout),
    ];
    (pause, input)
}

proptest! {
    #[test]
    fn no_input_whatever_breaks_a_master(
        inputs in prop::collection::vec(any_input(), 0..40), shape: bool, startup: u64, run: u64, stop: u64, dead_man: u64,
    ) {
        let mut master = if shape { shaped() } else { constant(&json!([{"expr": "p95 < 1s"}, {"expr": "rps > 1", "after": "1h"}])) };
        let [startup, run, stop, dead_man] = [startup, run, stop, dead_man].map(Duration::from_micros);
        master.spec.deadlines = crate::run::Deadlines { startup, run, stop, ..Default::default() };
        master.spec.dead_man = dead_man;
        let mut now = Tick::ZERO;
        for (pause, input) in inputs {
            now = now + Duration::from_micros(pause);
            match input {
                Input::Report(report) => {
                    if let Some(reads) = master.clock_of(&report) {
                        now = now.max(reads);
                    }
                    if let Ok(answer) = master.handle_report(now, &report) {
                        answer.share.users(&answer.plan, now);
                    }
                }
                Input::Departure(process, sent_total) => {
                    master.handle_departure(now, &Departure { process, exit: String::new(), sent_total });
                }
                Input::RunnerDeparture(runner) => {
                    master.handle_runner_departure(now, &RunnerDeparture { runner, exit: String::new() });
                }
                Input::Spec(live) => {
                    let known = master.status(now).generation;
                    if let Ok(generation) = master.handle_spec(now, &live) {
                        prop_assert!(generation == known || (known < generation && generation == live.generation));
                    } else {
                        prop_assert_eq!(master.status(now).generation, known);
                    }
                }
                Input::Restart => master = restarted(&master, now),
                Input::Shape(tick) => master.handle_shape(now, tick),
                Input::Stop => master.handle_stop(now, StopReason::Stopped),
                Input::Timeout => master.handle_timeout(now),
            }
            events(&mut master);
            master.status(now);
        }
        master.report(WallClock { zero: u64::MAX });
    }
}
