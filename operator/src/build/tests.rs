//! Claims about the objects of a run.

use aiotest_core::report::{Report, Request};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PodSpec;

use super::*;
use crate::planner::tests::Scene;

fn pods(scene: &Scene) -> Vec<(Job, PodSpec)> {
    let blueprint =
        Blueprint { load_test: &scene.world.load_test, names: &scene.world.names, settings: &scene.settings };
    [blueprint.master_job("s", "t"), blueprint.runner_job("s", "t")]
        .map(|job| (job.clone(), job.spec.unwrap().template.spec.unwrap()))
        .into()
}

#[test]
fn every_pod_keeps_to_the_restricted_standard_and_has_no_cpu_limit() {
    for (_, pod) in pods(&Scene::new()) {
        assert_eq!(pod.automount_service_account_token, Some(false));
        assert_eq!(pod.enable_service_links, Some(false));
        let security = pod.security_context.unwrap();
        assert_eq!(security.run_as_non_root, Some(true));
        assert_eq!(security.seccomp_profile.unwrap().type_, "RuntimeDefault");
        for container in pod.containers {
            let security = container.security_context.unwrap();
            assert_eq!(security.allow_privilege_escalation, Some(false));
            assert_eq!(security.read_only_root_filesystem, Some(true));
            assert_eq!(security.capabilities.unwrap().drop.unwrap(), ["ALL"]);
            let resources = container.resources.unwrap();
            let limits = resources.limits.unwrap();
            assert!(limits.contains_key("memory") && !limits.contains_key("cpu"));
            assert!(resources.requests.unwrap().contains_key("cpu"));
        }
        for volume in pod.volumes.unwrap() {
            if let Some(folder) = volume.empty_dir {
                assert!(folder.size_limit.is_some(), "{}", volume.name);
            }
        }
    }
}

#[test]
fn both_jobs_have_an_end_that_needs_no_operator() {
    let scene = Scene::new();
    let [(master, _), (runner, _)] = &pods(&scene)[..] else { panic!("two Jobs") };
    let deadline = |job: &Job| job.spec.as_ref().unwrap().active_deadline_seconds.unwrap();
    // startup 1m, run 24h, stop 30s; the master keeps its report for 10m.
    assert_eq!(deadline(runner), 60 + 86_400 + 30 + 60);
    assert_eq!(deadline(master), 60 + 86_400 + 30 + 600 + 300);
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let bytes = |scene: &Scene| {
        let all: Vec<_> =
            pods(scene).into_iter().map(|(job, _)| serde_json::to_string(&job).unwrap()).collect();
        all
    };
    assert_eq!(bytes(&Scene::new()), bytes(&Scene::new()));
}

#[test]
fn the_plan_is_what_a_process_reads() {
    let scene = Scene::new();
    let blueprint =
        Blueprint { load_test: &scene.world.load_test, names: &scene.world.names, settings: &scene.settings };
    let plan = blueprint.plan();
    let spec: RunSpec = serde_json::from_str(&plan.data.unwrap()["plan.json"]).unwrap();
    assert_eq!((spec.runners, spec.processes_per_runner), (2, 2), "two whole cores are two processes");
    assert_eq!(spec.aiotestfile, "/etc/aiotest/source/a.py");
    assert_eq!((spec.run.namespace.as_str(), spec.run.number), ("shop", 1));
}

#[test]
fn two_sources_share_no_hash() {
    let text = Source::inline("x");
    let mut other = Source::default();
    other.binary_data.insert("aiotestfile.py".to_owned(), ByteString(b"x".to_vec()));
    assert_ne!(text.hash(), other.hash());
    assert_ne!(text.hash(), Source::inline("y").hash());
}

#[test]
fn a_report_that_is_too_long_for_text_is_kept_compressed_and_reads_back() {
    let scene = Scene::new();
    let blueprint =
        Blueprint { load_test: &scene.world.load_test, names: &scene.world.names, settings: &scene.settings };
    let mut report = Report::default();
    let short = report_map(&blueprint, &report);
    assert_eq!(read_report(&short), Some(report.clone()));
    assert!(short.data.is_some());
    report.requests = (0..3000).map(|n| Request { name: format!("/{n}"), ..Request::default() }).collect();
    let long = report_map(&blueprint, &report);
    assert!(long.data.is_none() && long.binary_data.as_ref().unwrap()["report.json.gz"].0.len() < 900 * 1024);
    assert_eq!(read_report(&long), Some(report));
}

#[test]
fn names_stay_within_what_kubernetes_takes() {
    let mut scene = Scene::new();
    scene.world.load_test.metadata.name = Some("a".repeat(40));
    let names = Names::of(&scene.world.load_test, 99_999);
    for name in [
        names.master(),
        names.runner(),
        names.plan(),
        names.snapshot(&"f".repeat(64)),
        names.token(&Key::of("k")),
    ] {
        assert!(name.len() <= 63, "{name}");
    }
}
