//! Claims about the objects of a run.

use aiotest_core::report::{Report, Request};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PodSpec;

use super::*;
use crate::planner::tests::Scene;

fn pods(scene: &Scene) -> Vec<(Job, PodSpec)> {
    let blueprint =
        Blueprint { load_test: &scene.world.load_test, names: &scene.world.names, settings: &scene.settings };
    let copies = Copies::of(&scene.world.load_test, &scene.world.names, "5f");
    [blueprint.master_job(&copies, "t"), blueprint.runner_job(&copies, "t")]
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
        names.data(&"f".repeat(64), 15),
        names.token(&Key::of("k")),
    ] {
        assert!(name.len() <= 63, "{name}");
    }
}

/// A scene with two data sets, each of its own map.
fn scene_with_data() -> Scene {
    let mut scene = Scene::new();
    let data = serde_json::json!([
        {"name": "accounts", "configMap": {"name": "rows", "key": "a.csv"}},
        {"name": "terms", "policy": "Shared", "configMap": {"name": "more", "key": "b.jsonl"}},
    ]);
    scene.world.load_test.spec.data = serde_json::from_value(data).unwrap();
    scene
}

#[test]
fn every_pod_finds_the_file_of_each_data_set_where_the_plan_says() {
    let scene = scene_with_data();
    let blueprint =
        Blueprint { load_test: &scene.world.load_test, names: &scene.world.names, settings: &scene.settings };
    let spec: RunSpec = serde_json::from_str(&blueprint.plan().data.unwrap()["plan.json"]).unwrap();
    for (_, pod) in pods(&scene) {
        let mounts = pod.containers[0].volume_mounts.as_ref().unwrap();
        for (index, set) in spec.data.iter().enumerate() {
            let folder = set.file.rsplit_once('/').unwrap().0;
            let mount = mounts.iter().find(|mount| mount.mount_path == folder).unwrap();
            assert_eq!(mount.read_only, Some(true));
            let volume =
                pod.volumes.as_ref().unwrap().iter().find(|volume| volume.name == mount.name).unwrap();
            assert_eq!(volume.config_map.as_ref().unwrap().name, scene.world.names.data("5f", index));
        }
    }
    assert_eq!(spec.data[1].file, "/etc/aiotest/data/terms/b.jsonl");
}

#[test]
fn runners_read_what_the_master_has_read_whatever_the_spec_says_by_then() {
    let mut scene = scene_with_data();
    let copies = Copies::of(&scene.world.load_test, &scene.world.names, "5f");
    let master = pods(&scene)[0].0.clone();
    scene.world.load_test.spec.data.clear();
    assert_eq!(Copies::read_by(&master, &scene.world.names, "5f"), copies);
}

#[test]
fn a_source_with_other_rows_is_another_and_one_without_data_sets_is_what_it_was() {
    let with = |sets: &[&str]| {
        let sets = sets.iter().map(|text| Source::inline(text)).collect();
        Source { sets, ..Source::inline("x") }.hash()
    };
    assert_eq!(with(&[]), Source::inline("x").hash());
    let all = [with(&[]), with(&["a"]), with(&["b"]), with(&["a", "b"]), with(&["b", "a"])];
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
}
