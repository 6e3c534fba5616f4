//! Each rule in CEL, with a manifest that it accepts and one that it refuses.

mod manifest;

use std::collections::BTreeSet;
use std::sync::Mutex;

use manifest::{good, problems, with};
use serde_json::{Value, json};

/// The messages of the rules that some manifest was refused by.
static REFUSED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn check(accepted: &Value, refused: &Value, path: &str, message: &str) {
    assert_eq!(problems(accepted), Vec::<String>::new(), "{accepted}");
    assert_eq!(problems(refused), [format!("{path}: {message}")], "{refused}");
    REFUSED.lock().unwrap().insert(message.to_owned());
}

fn names_are_short_and_fit_for_a_service() {
    let named = |name: &str| with("/metadata/name", json!(name));
    let long = "metadata.name must be at most 40 characters long: the names of pods are made from it";
    check(&named(&"a".repeat(40)), &named(&"a".repeat(41)), "metadata.name", long);
    let form = "metadata.name must be made of a-z, 0-9 and -, begin with a letter and not end with -";
    for refused in ["1st", "a.b", "Shop", "shop-", "shöp"] {
        check(&named("a-1"), &named(refused), "metadata.name", form);
    }
}

fn the_aiotestfile_has_exactly_one_source() {
    let message = "exactly one of configMap and inline must be given";
    let source = |source| with("/spec/aiotestfile", source);
    check(&source(json!({ "inline": "x = 1" })), &source(json!({})), "spec.aiotestfile", message);
    let both = json!({ "configMap": { "name": "a" }, "inline": "x = 1" });
    check(&source(json!({ "configMap": { "name": "a" } })), &source(both), "spec.aiotestfile", message);
}

fn the_load_has_exactly_one_form() {
    let message = "exactly one of constant, stages, arrivals and shape must be given";
    let load = |load| with("/spec/load", load);
    check(&load(json!({ "shape": {} })), &load(json!({})), "spec.load", message);
    check(&good(), &with("/spec/load/shape", json!({})), "spec.load", message);
}

fn a_constant_load_lasts_until_its_users_are_reached() {
    let load = |users: u32, rate: u32, duration: &str| {
        with("/spec/load/constant", json!({ "users": users, "spawnRate": rate, "duration": duration }))
    };
    let path = "spec.load.constant";
    let message =
        "duration must be at least users divided by spawnRate seconds, or the users are never reached";
    check(&load(100, 10, "10s"), &load(100, 10, "9s"), path, message);
    check(&load(1_000_000, 1_000_000, "1s"), &load(1_000_000, 1, "1h"), path, message);
    check(&load(1, 2, "1ms"), &load(1, 2, "0s"), path, "duration must be above 0s");
}

fn stages_make_some_load() {
    let load = |stages| with("/spec/load", json!({ "stages": stages }));
    let message = "stages must have one with users and a duration above 0s, or there is no load";
    let good = load(json!([{ "duration": "0s", "users": 5 }, { "duration": "1m", "users": 1 }]));
    check(
        &good,
        &load(json!([{ "duration": "0s", "users": 5 }, { "duration": "1m", "users": 0 }])),
        "spec.load",
        message,
    );
}

fn a_warm_up_leaves_something_to_measure() {
    let constant = |warm_up| with("/spec/load/warmUp", json!(warm_up));
    let message = "warmUp must be shorter than constant.duration, or nothing is measured";
    check(&constant("14s999ms"), &constant("15s"), "spec.load", message);
    let staged = |warm_up| {
        let stages = json!([{ "duration": "10s", "users": 5 }, { "duration": "5s", "users": 1 }]);
        with("/spec/load", json!({ "stages": stages, "warmUp": warm_up }))
    };
    let message = "warmUp must be shorter than the stages together, or nothing is measured";
    check(&staged("14s"), &staged("15s"), "spec.load", message);
}

fn arrivals_make_some_load_that_can_be_kept() {
    let load = |per: &str, target: u32, duration: &str| {
        let stages = json!([{ "duration": duration, "target": target }]);
        with("/spec/load", json!({ "arrivals": { "per": per, "maxUsers": 5, "stages": stages } }))
    };
    let path = "spec.load.arrivals";
    let good = load("1m", 1, "1ms");
    check(&good, &load("999ms", 1, "1s"), path, "per must be at least 1s");
    let message = "stages must have a target and a duration above 0s, or there is no load";
    check(&good, &load("1s", 0, "1s"), path, message);
    check(&good, &load("1s", 1, "0s"), path, message);
    let message = "target must be at most 1000000 a second";
    check(&load("1s", 1_000_000, "1s"), &load("1s", 1_000_001, "1s"), path, message);
    check(&load("2s", 2_000_000, "1s"), &load("2s", 2_000_001, "1s"), path, message);
    let warm = |warm_up| {
        let mut manifest = load("1s", 1, "15s");
        manifest["spec"]["load"]["warmUp"] = json!(warm_up);
        manifest
    };
    let message = "warmUp must be shorter than arrivals.stages together, or nothing is measured";
    check(&warm("14s"), &warm("15s"), "spec.load", message);
}

fn a_run_is_not_cut_by_its_own_deadline() {
    let run = |run| with("/spec/deadlines", json!({ "run": run }));
    let staged = |run| {
        let stages = json!([{ "duration": "10s", "users": 5 }, { "duration": "5s", "users": 1 }]);
        let mut manifest = with("/spec/load", json!({ "stages": stages }));
        manifest["spec"]["deadlines"] = json!({ "run": run });
        manifest
    };
    let message =
        "deadlines.run must be at least the durations of load.stages together, or it would cut the run";
    check(&staged("15s"), &staged("14s"), "spec", message);
    let arriving = |run| {
        let lines = json!([{ "duration": "15s", "target": 5 }]);
        let mut manifest = with("/spec/load", json!({ "arrivals": { "maxUsers": 5, "stages": lines } }));
        manifest["spec"]["deadlines"] = json!({ "run": run });
        manifest
    };
    let of_arrivals = "deadlines.run must be at least the durations of load.arrivals.stages together, or it would cut the run";
    check(&arriving("15s"), &arriving("14s"), "spec", of_arrivals);
    let message = "deadlines.run must be at least load.constant.duration, or it would cut the run";
    check(&run("15s"), &run("14s"), "spec", message);
}

fn nothing_lasts_for_more_than_a_year() {
    let results = |results| with("/spec/deadlines", json!({ "results": results }));
    check(&results("8760h"), &results("8760h1ms"), "spec.deadlines.results", "must be at most 8760h");
}

fn a_start_and_a_run_have_time() {
    let shape = |deadlines| {
        let mut manifest = with("/spec/load", json!({ "shape": {} }));
        manifest["spec"]["deadlines"] = deadlines;
        manifest
    };
    check(
        &shape(json!({ "run": "1ms" })),
        &shape(json!({ "run": "0s" })),
        "spec.deadlines",
        "run must be above 0s",
    );
    let message = "startup must be above 0s";
    check(&shape(json!({ "startup": "1ms" })), &shape(json!({ "startup": "0h" })), "spec.deadlines", message);
}

fn data_sets_have_names_of_their_own() {
    let set = |name: &str| json!({ "name": name, "configMap": { "name": "rows", "key": "a.csv" } });
    let data = |names: [&str; 2]| with("/spec/data", json!(names.map(set)));
    let message = "data must have no two sets of one name";
    check(&data(["accounts", "terms"]), &data(["accounts", "accounts"]), "spec", message);
}

fn a_threshold_by_request_names_one() {
    let request = |request| with("/spec/thresholds", json!([{ "expr": "p95 < 1s", "request": request }]));
    let message = "at least one of method and name must be given";
    check(&request(json!({ "name": "/" })), &request(json!({})), "spec.thresholds[0].request", message);
}

/// The messages of all rules in a schema.
fn messages(schema: &Value, found: &mut BTreeSet<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        found.insert(rule["message"].as_str().expect("a rule has a message").to_owned());
    }
    match schema {
        Value::Object(fields) => fields.values().for_each(|value| messages(value, found)),
        Value::Array(items) => items.iter().for_each(|value| messages(value, found)),
        _ => {}
    }
}

#[test]
fn every_rule_accepts_the_good_and_refuses_the_bad() {
    names_are_short_and_fit_for_a_service();
    the_aiotestfile_has_exactly_one_source();
    the_load_has_exactly_one_form();
    a_constant_load_lasts_until_its_users_are_reached();
    stages_make_some_load();
    a_warm_up_leaves_something_to_measure();
    arrivals_make_some_load_that_can_be_kept();
    a_run_is_not_cut_by_its_own_deadline();
    nothing_lasts_for_more_than_a_year();
    a_start_and_a_run_have_time();
    data_sets_have_names_of_their_own();
    a_threshold_by_request_names_one();
    let mut all = BTreeSet::new();
    messages(&serde_json::to_value(aiotest_api::crd()).unwrap(), &mut all);
    assert_eq!(*REFUSED.lock().unwrap(), all, "a rule without a case, or a case without a rule");
}
