//! What a manifest with mistakes is told, and what one without becomes.

mod manifest;

use aiotest_api::check;
use aiotest_api::duration::Duration;
use aiotest_api::load::Form;
use manifest::{good, problems, with};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The good manifest without a field.
fn without(path: &str) -> Value {
    let mut manifest = good();
    let (parent, name) = path.rsplit_once('/').unwrap();
    manifest.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    manifest
}

#[test]
fn a_good_manifest_is_read_with_its_defaults() {
    let test = check(&good()).unwrap();
    assert_eq!(test.metadata.name.as_deref(), Some("checkout"));
    assert_eq!(test.spec.runners, 1);
    assert_eq!(test.spec.aiotestfile.config_map.unwrap().key, "aiotestfile.py");
    assert_eq!(test.spec.deadlines.run, Duration::from_secs(24 * 3600));
    assert!(matches!(test.spec.load.form(), Some(Form::Constant(constant)) if constant.users == 100));
}

#[test]
fn a_default_fills_what_stands_beside_a_given_value() {
    let test = check(&with("/spec/deadlines", json!({ "stop": "5s" }))).unwrap();
    assert_eq!(test.spec.deadlines.stop, Duration::from_secs(5));
    assert_eq!(test.spec.deadlines.startup, Duration::from_secs(600));
}

#[test]
fn a_null_counts_as_absent() {
    let test = check(&with("/spec/runners", Value::Null)).unwrap();
    assert_eq!(test.spec.runners, 1);
    assert_eq!(problems(&with("/spec/load", Value::Null)), ["spec.load: is required"]);
}

#[test]
fn what_a_cluster_wrote_into_a_manifest_is_left_out() {
    let mut manifest = with("/status", json!({ "anything": [1] }));
    manifest["metadata"]["managedFields"] = json!([{ "fieldsV1": { "f:spec": {} } }]);
    manifest["metadata"]["creationTimestamp"] = Value::Null;
    let test = check(&manifest).unwrap();
    assert_eq!(test.status, None);
    assert_eq!(test.metadata.managed_fields, None);
}

#[test]
fn an_unknown_field_is_named_with_the_one_that_was_meant() {
    let check = |path, expected: &str| assert_eq!(problems(&with(path, json!(1))), [expected]);
    check("/spec/runner", "spec.runner: unknown field, did you mean `runners`?");
    check(
        "/spec/load/constant/rate",
        "spec.load.constant.rate: unknown field, known are duration, spawnRate, users",
    );
    check("/metadata/lables", "metadata.lables: unknown field, did you mean `labels`?");
    check("/specs", "specs: unknown field, did you mean `spec`?");
    let shape = with("/spec/load", json!({ "shape": { "steps": 3 } }));
    assert_eq!(problems(&shape), ["spec.load.shape.steps: unknown field, nothing goes in here"]);
}

#[test]
fn a_wrong_type_says_what_was_found() {
    let check = |path, value, expected: &str| assert_eq!(problems(&with(path, value)), [expected]);
    check("/spec/runners", json!("2"), "spec.runners: must be an integer, found the string `2`");
    check("/spec/runners", json!(2.5), "spec.runners: must be an integer, found the number 2.5");
    check("/spec/args", json!("--a"), "spec.args: must be an array, found the string `--a`");
    check("/spec/args", json!(["--a", 1]), "spec.args[1]: must be a string, found the number 1");
    check("/spec/load", json!([]), "spec.load: must be an object, found a list");
    check("/metadata/labels", json!({ "a": 1 }), "metadata.labels.a: must be a string, found the number 1");
}

#[test]
fn a_bound_says_which_and_what_was_found() {
    let check = |path, value, expected: &str| assert_eq!(problems(&with(path, value)), [expected]);
    check("/spec/runners", json!(0), "spec.runners: must be at least 1, found 0");
    check("/spec/runners", json!(-1), "spec.runners: must be at least 1, found -1");
    check("/spec/runners", json!(u64::MAX), "spec.runners: must be at most 1000, found 18446744073709551615");
    check("/spec/host", json!(""), "spec.host: must be at least 1 characters long, found 0");
    check(
        "/spec/host",
        json!("a".repeat(2049)),
        "spec.host: must be at most 2048 characters long, found 2049",
    );
    check("/spec/args", json!(vec!["a"; 65]), "spec.args: must have at most 64 items, found 65");
    check("/spec/host", json!("http://a b"), "spec.host: must match ^[!-~]+$, found `http://a b`");
}

#[test]
fn a_text_with_a_grammar_is_told_by_the_grammar() {
    assert_eq!(
        problems(&with("/spec/load/constant/duration", json!("15 s"))),
        [
            "spec.load.constant.duration: `15 s` is no duration: at character 3: found a space, allowed is a unit: h, m, s or ms"
        ]
    );
    assert_eq!(
        problems(&with("/spec/thresholds", json!([{ "expr": "p95 < 300" }]))),
        [
            "spec.thresholds[0].expr: `p95 < 300` is no threshold: at character 7: found `300`, allowed is a time with its \
          unit s, ms or us, such as `300ms` or `1.5s`"
        ]
    );
}

#[test]
fn a_missing_field_is_named() {
    assert_eq!(problems(&without("/spec/aiotestfile")), ["spec.aiotestfile: is required"]);
    assert_eq!(
        problems(&without("/spec/load/constant/duration")),
        ["spec.load.constant.duration: is required"]
    );
    assert_eq!(problems(&without("/metadata/name")), ["metadata.name: is required"]);
    assert_eq!(problems(&without("/spec")), ["spec: is required"]);
}

#[test]
fn all_problems_are_told_at_once() {
    let mut manifest = with("/spec/load/shape", json!({}));
    manifest["spec"]["runnners"] = json!(2);
    manifest["spec"]["load"]["constant"]["users"] = json!("many");
    assert_eq!(
        problems(&manifest),
        [
            "spec.load.constant.users: must be an integer, found the string `many`",
            "spec.runnners: unknown field, did you mean `runners`?",
            "spec.load: exactly one of constant, stages, arrivals and shape must be given",
        ]
    );
}

#[test]
fn of_what_is_no_load_test_only_that_is_said() {
    let check = |manifest: Value, expected: &[&str]| assert_eq!(problems(&manifest), expected);
    check(json!(null), &["manifest: must be an object, found null"]);
    check(json!([good()]), &["manifest: must be an object, found a list"]);
    check(json!({}), &["apiVersion: is required", "kind: is required"]);
    check(with("/kind", json!("Deployment")), &["kind: must be LoadTest, found `Deployment`"]);
    check(
        with("/apiVersion", json!("aiotest.dev/v1")),
        &["apiVersion: must be aiotest.dev/v1alpha1, found `aiotest.dev/v1`"],
    );
}

#[test]
fn a_deep_value_or_a_long_name_is_refused_and_cut_short() {
    let deep = (0..2000).fold(json!(1), |inner, _| Value::Array(vec![inner]));
    assert_eq!(problems(&with("/spec/host", deep)), ["spec.host: must be a string, found a list"]);
    let long = "x".repeat(100_000);
    let told = problems(&with(&format!("/spec/{long}"), json!(1)));
    assert_eq!(told.len(), 1);
    assert!(told[0].len() < 300, "{}", told[0].len());
}

/// Every place of the good manifest, and some that it has not.
const PLACES: [&str; 17] = [
    "/kind",
    "/metadata",
    "/metadata/name",
    "/metadata/annotations",
    "/spec",
    "/spec/aiotestfile",
    "/spec/aiotestfile/inline",
    "/spec/args",
    "/spec/deadlines",
    "/spec/host",
    "/spec/load",
    "/spec/load/constant",
    "/spec/load/constant/duration",
    "/spec/load/constant/users",
    "/spec/load/shape",
    "/spec/load/stages",
    "/spec/thresholds",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "([0-9]{1,5}(h|m|s|ms)){1,5}".prop_map(Value::from),
        "9{1,8}e9{0,4}h|inf|-?[0-9]{0,30}h".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = "users|duration|expr|request|name|configMap|key|constant|run|[a-z]{0,5}";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(name, inner, 0..4).prop_map(|fields| json!(fields)),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_in_a_manifest_makes_it_panic(
        changes in prop::collection::vec((prop::sample::select(&PLACES), any_json()), 1..4)
    ) {
        let mut manifest = good();
        for (place, value) in changes {
            let (parent, name) = place.rsplit_once('/').unwrap();
            if let Some(Value::Object(fields)) = manifest.pointer_mut(parent) {
                fields.insert(name.to_owned(), value);
            }
        }
        match check(&manifest) {
            Ok(test) => prop_assert!(test.spec.load.form().is_some()),
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }
}
