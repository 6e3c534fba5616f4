//! Claims about what a generator's health means, each bound from both sides.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn generator(usage: Usage) -> Generator {
    let usage = Usage { wall: 100 * SECOND, ..usage };
    Generator { runner: "runner-0".into(), usage, ..Generator::default() }
}

fn blocked(place: &str, longest: Duration) -> Vec<Blocked> {
    vec![Blocked { place: place.into(), time: 3 * longest, longest }]
}

#[track_caller]
fn check(generator: &Generator, invalid: &[&str], marks: &[&str]) {
    let weighed = weigh(std::slice::from_ref(generator));
    assert_eq!(weighed.invalid, invalid);
    assert_eq!(weighed.marks, marks);
    assert_eq!(super::marks(generator).len(), invalid.len() + marks.len());
}

#[test]
fn a_healthy_runner_has_no_mark() {
    let usage = Usage {
        late_p99: LATE_ALLOWED,
        saturated: SATURATED_MARKED,
        waited: 10 * SECOND,
        stolen: 2 * SECOND,
        blocked: blocked("a.py:1 in f", LAG_MARKED),
        ..Usage::default()
    };
    check(&Generator { lag: LAG_MARKED, late: 5 * SECOND, ..generator(usage) }, &[], &[]);
}

#[test]
fn a_blocked_loop_is_a_mark_with_its_line_and_beyond_ten_seconds_invalid() {
    let usage = Usage { blocked: blocked("a.py:7 in f", 300 * SECOND / 1000), ..Usage::default() };
    let marked = Generator { lag: 310 * SECOND / 1000, ..generator(usage) };
    check(&marked, &[], &["runner-0: its loop was blocked for up to 0.3 s, longer than 0.2 s: a.py:7 in f"]);
    assert_eq!(warnings(&marked), ["runner-0: its loop was blocked for longer than 0.2 s: a.py:7 in f"]);
    let usage = Usage { blocked: blocked("a.py:7 in f", 12 * SECOND), ..Usage::default() };
    let said = "runner-0: its loop was blocked for 12 s at one time, longer than 10 s: a.py:7 in f";
    check(&Generator { lag: 12 * SECOND, ..generator(usage) }, &[said], &[]);
}

#[test]
fn a_line_is_not_named_for_a_lag_that_it_does_not_explain() {
    let usage = Usage { blocked: blocked("a.py:7 in f", SECOND), ..Usage::default() };
    let said = "runner-0: its loop was blocked for up to 3 s, longer than 0.2 s";
    check(&Generator { lag: 3 * SECOND, ..generator(usage) }, &[], &[said]);
}

#[test]
fn users_that_come_late_make_it_invalid() {
    let usage = Usage { late_p99: 1800 * SECOND / 1000, ..Usage::default() };
    let said = "runner-0: more than 1 % of its users' steps started later than 1 s: the 99th percentile is 1.8 s, the \
                latest 4 s";
    check(&Generator { late: 4 * SECOND, ..generator(usage) }, &[said], &[]);
}

#[test]
fn a_process_that_was_ended_makes_it_invalid() {
    let stuck = blocked("a.py:9 in hang", 30 * SECOND).pop();
    let stuck = generator(Usage { stuck, ..Usage::default() });
    let said = "runner-0: a process was ended because its loop had not turned for 30 s: a.py:9 in hang";
    check(&stuck, &[said], &[]);
}

#[test]
fn a_limit_on_cpu_is_a_mark_and_beyond_one_percent_invalid() {
    let throttled = |milliseconds| Usage {
        throttled: Duration::from_millis(milliseconds),
        throttled_periods: 7,
        ..Usage::default()
    };
    let said = "runner-0: its cgroup's CPU limit throttled it for 1 s in 7 periods";
    check(&generator(throttled(1_000)), &[], &[said]);
    let said = "runner-0: its cgroup's CPU limit throttled it for 1.2 % of the time, more than 1 %: 1.2 s in 7 periods";
    check(&generator(throttled(1_200)), &[said], &[]);
}

#[test]
fn stolen_time_is_a_mark_and_beyond_ten_percent_invalid() {
    let stolen = |seconds| generator(Usage { stolen: seconds * SECOND, ..Usage::default() });
    let said = "runner-0: 5 % of its machine's CPU time was stolen by the host, more than 2 %";
    check(&stolen(5), &[], &[said]);
    let said = "runner-0: 25 % of its machine's CPU time was stolen by the host, more than 10 %";
    check(&stolen(25), &[said], &[]);
}

#[test]
fn a_busy_core_and_a_crowded_machine_are_marks() {
    let usage = Usage { saturated: 60 * SECOND, waited: 30 * SECOND, ..Usage::default() };
    check(
        &generator(usage),
        &[],
        &[
            "runner-0: its interpreter was saturated for 60 s, longer than 10 s: it may have been what limited the \
             rate",
            "runner-0: its interpreter was ready to run and had no CPU for 30 % of the time, more than 10 %",
        ],
    );
}

#[test]
fn of_many_runners_the_worst_is_named() {
    let late = |runner: u32, seconds: u32| Generator {
        runner: format!("runner-{runner}"),
        late: seconds * SECOND,
        ..generator(Usage { late_p99: seconds * SECOND, ..Usage::default() })
    };
    let generators: Vec<Generator> = (0..50).map(|runner| late(runner, 2 + (runner * 7) % 50)).collect();
    let weighed = weigh(&generators);
    assert_eq!(weighed.invalid.len(), 1);
    assert!(weighed.invalid[0].starts_with("runner-7 (and 49 other runners): "), "{:?}", weighed.invalid);
}

#[test]
fn a_verdict_has_a_bounded_number_of_faults() {
    let faults = (0..400).map(|fault| (format!("fault {fault}"), fault)).collect();
    let weighed = weigh(&[Generator { faults, ..generator(Usage::default()) }]);
    assert_eq!(weighed.invalid.len(), MOST_FAULTS);
    assert!(weighed.invalid[0].contains("399 calls"), "{:?}", weighed.invalid);
}
