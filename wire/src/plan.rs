//! From the LoadTest to the plan file that the master and the runners read. Pure. Start at [`run_spec`].

use std::time::Duration;

use aiotest_api::LoadTest;
use aiotest_api::data as api;
use aiotest_api::load::{DesiredState, Form, Stage as Line};
use aiotest_core::data::{AtEnd, DataSpec, Policy};
use aiotest_core::message::LiveSpec;
use aiotest_core::run::{
    ArrivalLine, Arrivals, Constant, Deadlines, Desired, Load, RunIdentity, RunSpec, Stage,
};

/// How long a runner goes on without having heard from its master.
const DEAD_MAN: Duration = Duration::from_secs(15);

/// The plan of a checked LoadTest's run, whose aiotestfile every process finds at the path `aiotestfile`, and the file
/// of each data set at `DATA_FOLDER/NAME/KEY`.
pub fn run_spec(
    load_test: &LoadTest,
    run: RunIdentity,
    processes_per_runner: u32,
    aiotestfile: String,
    data_folder: &str,
) -> RunSpec {
    let spec = &load_test.spec;
    RunSpec {
        run,
        load: load(load_test),
        warm_up: warm_up(load_test),
        desired: desired(load_test),
        runners: spec.runners,
        processes_per_runner,
        thresholds: spec.thresholds.clone(),
        deadlines: deadlines(load_test),
        dead_man: DEAD_MAN,
        host: spec.host.clone(),
        args: spec.args.clone(),
        aiotestfile,
        data: spec.data.iter().map(|set| data_set(set, data_folder)).collect(),
    }
}

/// The part of a checked LoadTest that a run follows while it goes on.
pub fn live_spec(load_test: &LoadTest) -> LiveSpec {
    LiveSpec {
        generation: load_test.metadata.generation.unwrap_or_default().unsigned_abs(),
        load: load(load_test),
        warm_up: warm_up(load_test),
        desired: desired(load_test),
        runners: load_test.spec.runners,
        thresholds: load_test.spec.thresholds.clone(),
        deadlines: deadlines(load_test),
    }
}

fn data_set(set: &api::DataSet, folder: &str) -> DataSpec {
    DataSpec {
        name: set.name.clone(),
        policy: match set.policy {
            api::Policy::Unique => Policy::Unique,
            api::Policy::Shared => Policy::Shared,
            api::Policy::Sharded => Policy::Sharded,
        },
        at_end: match set.at_end {
            api::AtEnd::Loop => AtEnd::Loop,
            api::AtEnd::Stop => AtEnd::Stop,
        },
        file: format!("{folder}/{}/{}", set.name, set.config_map.key),
        ..DataSpec::default()
    }
}

fn desired(load_test: &LoadTest) -> Desired {
    match load_test.spec.desired_state {
        DesiredState::Running => Desired::Running,
        DesiredState::Paused => Desired::Paused,
        DesiredState::Stopped => Desired::Stopped,
    }
}

fn warm_up(load_test: &LoadTest) -> Duration {
    load_test.spec.load.warm_up.as_ref().map_or(Duration::ZERO, |warm_up| warm_up.to_std())
}

fn load(load_test: &LoadTest) -> Load {
    match load_test.spec.load.form() {
        Some(Form::Constant(constant)) => Load::Constant(Constant {
            users: constant.users,
            spawn_rate: f64::from(constant.spawn_rate),
            duration: Some(constant.duration.to_std()),
        }),
        Some(Form::Stages(stages)) => {
            let stage = |stage: &Line| Stage { duration: stage.duration.to_std(), users: stage.users };
            Load::Stages(stages.iter().map(stage).collect())
        }
        Some(Form::Arrivals(arrivals)) => Load::Arrivals(Arrivals {
            per: arrivals.per.to_std(),
            max_users: arrivals.max_users,
            lines: arrivals
                .stages
                .iter()
                .map(|stage| ArrivalLine { duration: stage.duration.to_std(), target: stage.target })
                .collect(),
        }),
        // A checked LoadTest has exactly one form, so what is not constant is the file's shape.
        Some(Form::Shape(_)) | None => Load::Shape,
    }
}

fn deadlines(load_test: &LoadTest) -> Deadlines {
    let deadlines = &load_test.spec.deadlines;
    Deadlines {
        startup: deadlines.startup.to_std(),
        run: deadlines.run.to_std(),
        stop: deadlines.stop.to_std(),
        results: deadlines.results.to_std(),
    }
}

#[cfg(test)]
mod tests {
    use aiotest_api::check::check;
    use serde_json::{Value, json};

    use super::*;

    fn planned(spec: &Value) -> RunSpec {
        let manifest = json!({
            "apiVersion": "aiotest.dev/v1alpha1", "kind": "LoadTest",
            "metadata": {"name": "checkout", "namespace": "shop"}, "spec": spec,
        });
        let run = RunIdentity {
            id: "7f".to_owned(),
            name: "checkout".to_owned(),
            number: 1,
            ..RunIdentity::default()
        };
        run_spec(&check(&manifest).unwrap(), run, 1, "/run/aiotestfile.py".to_owned(), "/run/data")
    }

    #[test]
    fn a_constant_load_is_planned_in_users_seconds_and_microseconds() {
        let spec = planned(&json!({
            "aiotestfile": {"inline": "x"}, "host": "http://127.0.0.1:1", "args": ["--tenant=blue"], "runners": 3,
            "load": {"constant": {"users": 100, "spawnRate": 50, "duration": "1m30s"}},
            "thresholds": [{"expr": "p95 < 300ms", "after": "10s"}],
            "deadlines": {"startup": "20s", "run": "2m", "stop": "5s"},
        }));
        let constant = Constant { users: 100, spawn_rate: 50.0, duration: Some(Duration::from_secs(90)) };
        assert_eq!(spec.load, Load::Constant(constant));
        assert_eq!((spec.runners, spec.processes_per_runner), (3, 1));
        assert_eq!((spec.run.id.as_str(), spec.run.name.as_str(), spec.run.number), ("7f", "checkout", 1));
        assert_eq!(
            (spec.host.as_deref(), &spec.args[..]),
            (Some("http://127.0.0.1:1"), &["--tenant=blue".to_owned()][..])
        );
        assert_eq!(spec.aiotestfile, "/run/aiotestfile.py");
        assert_eq!(spec.thresholds.len(), 1);
        let deadlines = Deadlines {
            startup: Duration::from_secs(20),
            run: Duration::from_secs(120),
            stop: Duration::from_secs(5),
            results: Duration::from_secs(600),
        };
        assert_eq!(spec.deadlines, deadlines);
    }

    #[test]
    fn stages_are_planned_in_their_order() {
        let stages = json!([{"duration": "1m30s", "users": 5}, {"duration": "0s", "users": 0}]);
        let spec = planned(&json!({"aiotestfile": {"inline": "x"}, "load": {"stages": stages}}));
        let stage = |seconds, users| Stage { duration: Duration::from_secs(seconds), users };
        assert_eq!(spec.load, Load::Stages(vec![stage(90, 5), stage(0, 0)]));
    }

    #[test]
    fn arrivals_are_planned_per_their_time() {
        let load =
            json!({"arrivals": {"per": "1m", "maxUsers": 7, "stages": [{"duration": "5s", "target": 30}]}});
        let spec = planned(&json!({"aiotestfile": {"inline": "x"}, "load": load}));
        let lines = vec![ArrivalLine { duration: Duration::from_secs(5), target: 30 }];
        assert_eq!(spec.load, Load::Arrivals(Arrivals { per: Duration::from_secs(60), max_users: 7, lines }));
    }

    #[test]
    fn data_sets_are_planned_with_the_place_of_their_files() {
        let key = json!({"name": "rows", "key": "a.csv"});
        let spec = planned(&json!({
            "aiotestfile": {"inline": "x"}, "load": {"shape": {}},
            "data": [{"name": "accounts", "configMap": key},
                     {"name": "terms", "policy": "Sharded", "atEnd": "Stop", "configMap": key}],
        }));
        let [accounts, terms] = &spec.data[..] else { panic!("{:?}", spec.data) };
        assert_eq!((accounts.policy, accounts.at_end), (Policy::Unique, AtEnd::Loop));
        assert_eq!((terms.policy, terms.at_end), (Policy::Sharded, AtEnd::Stop));
        assert_eq!(
            (accounts.file.as_str(), terms.file.as_str()),
            ("/run/data/accounts/a.csv", "/run/data/terms/a.csv")
        );
    }

    #[test]
    fn a_shape_is_left_to_the_file() {
        let spec = planned(&json!({"aiotestfile": {"inline": "x"}, "load": {"shape": {}}}));
        assert_eq!((spec.load, spec.runners, spec.host), (Load::Shape, 1, None));
    }
}
