//! From the LoadTest to the plan file that the master and the runners read. Pure. Start at [`run_spec`].

use std::path::Path;

use aiotest_api::LoadTest;
use aiotest_api::load::Form;
use aiotest_core::run::{Constant, Deadlines, Load, RunIdentity, RunSpec};

/// Processes of each runner on a laptop: there the runners themselves are the processes.
const PROCESSES_PER_RUNNER: u32 = 1;
/// How long a runner goes on without having heard from its master.
const DEAD_MAN: std::time::Duration = std::time::Duration::from_secs(15);

/// The plan of a run called `id` of a checked LoadTest whose aiotestfile lies at `aiotestfile`.
pub(crate) fn run_spec(load_test: &LoadTest, id: &str, aiotestfile: &Path) -> RunSpec {
    let spec = &load_test.spec;
    let load = match spec.load.form() {
        Some(Form::Constant(constant)) => Load::Constant(Constant {
            users: constant.users,
            spawn_rate: f64::from(constant.spawn_rate),
            duration: Some(constant.duration.to_std()),
        }),
        // A checked LoadTest has exactly one form, so what is not constant is the file's shape.
        Some(Form::Shape(_)) | None => Load::Shape,
    };
    RunSpec {
        run: RunIdentity {
            id: id.to_owned(),
            name: load_test.metadata.name.clone().unwrap_or_default(),
            namespace: String::new(),
            number: 1,
        },
        load,
        runners: spec.runners,
        processes_per_runner: PROCESSES_PER_RUNNER,
        thresholds: spec.thresholds.clone(),
        deadlines: Deadlines {
            startup: spec.deadlines.startup.to_std(),
            run: spec.deadlines.run.to_std(),
            stop: spec.deadlines.stop.to_std(),
            results: spec.deadlines.results.to_std(),
        },
        dead_man: DEAD_MAN,
        host: spec.host.clone(),
        args: spec.args.clone(),
        aiotestfile: aiotestfile.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aiotest_api::check::check;
    use serde_json::{Value, json};

    use super::*;

    fn planned(spec: &Value) -> RunSpec {
        let manifest = json!({
            "apiVersion": "aiotest.dev/v1alpha1", "kind": "LoadTest",
            "metadata": {"name": "checkout", "namespace": "shop"}, "spec": spec,
        });
        run_spec(&check(&manifest).unwrap(), "7f", Path::new("/run/aiotestfile.py"))
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
    fn a_shape_is_left_to_the_file() {
        let spec = planned(&json!({"aiotestfile": {"inline": "x"}, "load": {"shape": {}}}));
        assert_eq!((spec.load, spec.runners, spec.host), (Load::Shape, 1, None));
    }
}
