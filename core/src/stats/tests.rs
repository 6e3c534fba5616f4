//! Claims about statistics.

use proptest::prelude::*;

use super::*;

const OK: Sample<'static> = Sample {
    name: "/",
    method: "GET",
    latency: Duration::from_millis(3),
    phases: &[(Phase::Wait, Duration::from_millis(2)), (Phase::Connect, Duration::from_millis(1))],
    status: Some(200),
    bytes_received: 10,
    outcome: Outcome::Success,
    sent: 1,
    retried: 0,
    truncated: false,
    late: None,
};

fn over_the_wire(statistics: &Statistics) -> Statistics {
    serde_json::from_str(&serde_json::to_string(statistics).unwrap()).unwrap()
}

#[test]
fn an_aborted_call_counts_as_aborted_and_sent_only() {
    let mut statistics = Statistics::default();
    statistics.record(&Sample { outcome: Outcome::Aborted, ..OK });
    let total = statistics.total();
    assert_eq!((total.aborted, total.sent), (1, 1));
    assert_eq!((total.requests, total.failures, total.latency().count()), (0, 0, 0));
}

#[test]
fn a_failure_without_a_reply_enters_the_histogram() {
    let mut statistics = Statistics::default();
    statistics.record(&Sample { outcome: Outcome::Failure("refused"), status: None, ..OK });
    let total = statistics.total();
    assert_eq!((total.requests, total.failures, total.latency().count()), (1, 1, 1));
    assert_eq!(total.errors().collect::<Vec<_>>(), [("refused", 1)]);
    assert!(total.status().is_empty());
}

#[test]
fn a_generator_fault_is_in_neither_requests_nor_failures_nor_times() {
    let mut statistics = Statistics::default();
    statistics.record(&OK);
    statistics.record(&Sample { outcome: Outcome::GeneratorFault("no descriptors"), sent: 0, ..OK });
    assert_eq!(over_the_wire(&statistics), statistics);
    let total = statistics.total();
    assert_eq!((total.requests, total.failures, total.latency().count()), (1, 0, 1));
    assert_eq!((total.generator_faults, total.sent), (1, u64::from(OK.sent)));
    assert_eq!(total.faults().collect::<Vec<_>>(), [("no descriptors", 1)]);
    assert_eq!(total.errors().count(), 0);
    let mut alone = Statistics::default();
    alone.record(&Sample { outcome: Outcome::GeneratorFault("no descriptors"), sent: 0, ..OK });
    assert_eq!(alone.take().total().generator_faults, 1, "nothing but a fault is something");
}

#[test]
fn a_key_outlives_a_take() {
    let mut statistics = Statistics::default();
    let key = statistics.row("/", "GET");
    statistics.record_row(key, &OK);
    assert_eq!(statistics.take().total().requests, 1);
    assert!(statistics.is_empty());
    statistics.record_row(key, &OK);
    statistics.sent(key, 2);
    let taken = statistics.take();
    assert_eq!((taken.rows()[0].name.as_str(), taken.rows()[0].sent), ("/", 3));
}

#[test]
fn names_beyond_the_bound_share_a_row() {
    let mut statistics = Statistics::default();
    for n in 0..MAX_NAMES + 7 {
        statistics.record(&Sample { name: &format!("/{n}"), ..OK });
    }
    let rows = statistics.rows();
    assert_eq!(rows.len(), MAX_NAMES + 1);
    assert_eq!(rows.iter().find(|row| row.name == OTHER).unwrap().requests, 7);
    assert!(over_the_wire(&statistics) == statistics);
}

#[test]
fn methods_cannot_grow_without_bound_either() {
    let mut statistics = Statistics::default();
    for n in 0..MAX_ROWS + 7 {
        statistics.record(&Sample { method: &format!("M{n}"), ..OK });
    }
    assert_eq!(statistics.rows().len(), MAX_ROWS + 1);
    assert_eq!(statistics.total().requests, (MAX_ROWS + 7) as u64);
}

#[test]
fn error_texts_are_bounded_over_takes() {
    let mut statistics = Statistics::default();
    let mut texts = std::collections::BTreeSet::new();
    for n in 0..MAX_ERRORS + 7 {
        statistics.record(&Sample { outcome: Outcome::Failure(&format!("{n}")), ..OK });
        statistics.user_error(&format!("{n}"));
        texts.extend(statistics.take().total().errors().map(|(text, _)| text.to_owned()));
    }
    assert_eq!(texts.len(), MAX_ERRORS + 1);
    assert!(texts.contains(OTHER));
}

#[test]
fn long_texts_are_cut_between_characters() {
    let mut statistics = Statistics::default();
    statistics.record(&Sample { outcome: Outcome::Failure(&"ö".repeat(MAX_TEXT + 1)), ..OK });
    assert_eq!(statistics.total().errors().next().unwrap().0, "ö".repeat(MAX_TEXT));
}

#[test]
fn a_key_of_other_statistics_is_no_danger() {
    let mut other = Statistics::default();
    other.row("/", "GET");
    let key = other.row("/b", "GET");
    let mut statistics = Statistics::default();
    statistics.record_row(key, &OK);
    statistics.sent(key, 1);
    assert_eq!(statistics.rows()[0].name, "/");
}

#[test]
fn times_since_the_intended_start_count_every_call_of_their_row() {
    let milliseconds = Duration::from_millis;
    let mut statistics = Statistics::default();
    statistics.record(&OK);
    assert!(statistics.total().since_intended().is_none());
    statistics.record(&Sample { late: Some(milliseconds(40)), ..OK });
    statistics.record(&Sample { late: Some(Duration::ZERO), ..OK });
    statistics.record(&Sample { outcome: Outcome::Aborted, late: Some(milliseconds(90)), ..OK });
    statistics.record(&Sample { name: "/unmarked", latency: milliseconds(7), ..OK });
    let total = over_the_wire(&statistics).total();
    let (latency, since) = (total.latency(), total.since_intended().unwrap().clone());
    assert_eq!((latency.count(), since.count()), (4, 4));
    let ok = OK.latency.as_micros() as u64;
    assert_eq!(since.sum(), latency.sum() + 40_000);
    assert_eq!(since.max(), Some(ok + 40_000));
    assert!(statistics.rows()[1].since_intended().is_none());
}

/// Name, method, latency, status, outcome, requests sent, and how late its iteration began.
type Drawn = (u8, u8, u64, Option<u16>, u8, u32, Option<u64>);

fn any_sample() -> impl Strategy<Value = Drawn> {
    let late = prop::option::weighted(0.3, any::<u64>());
    (0..5_u8, 0..2_u8, any::<u64>(), prop::option::of(any::<u16>()), 0..5_u8, any::<u32>(), late)
}

fn record(statistics: &mut Statistics, parts: &[Drawn]) {
    for (name, method, micros, status, outcome, sent, late) in parts {
        let latency = Duration::from_micros(*micros);
        statistics.record(&Sample {
            name: &format!("/{name}"),
            method: ["GET", "POST"][usize::from(*method)],
            latency,
            phases: &[(Phase::Receive, latency), (Phase::Queue, latency)],
            status: *status,
            outcome: match outcome {
                0 => Outcome::Aborted,
                1 => Outcome::Failure("refused"),
                2 => Outcome::GeneratorFault("no ports"),
                _ => Outcome::Success,
            },
            sent: *sent,
            late: late.map(Duration::from_micros),
            ..OK
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_split_over_the_wire_merges_to_the_same(
        samples in prop::collection::vec(any_sample(), 0..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        turn in any::<prop::sample::Index>(),
    ) {
        let mut whole = Statistics::default();
        record(&mut whole, &samples);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(samples.len() + 1)).collect();
        cuts.extend([0, samples.len()]);
        cuts.sort_unstable();
        let mut source = Statistics::default();
        let mut parts: Vec<Statistics> = cuts
            .windows(2)
            .map(|ends| {
                record(&mut source, &samples[ends[0]..ends[1]]);
                over_the_wire(&source.take())
            })
            .collect();
        let turn = turn.index(parts.len());
        parts.rotate_left(turn);
        let mut merged = Statistics::default();
        for part in &parts {
            merged.merge(part);
        }
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(&over_the_wire(&merged), &whole);
        let total = merged.total();
        prop_assert_eq!(total.requests, total.latency().count());
        prop_assert!(total.since_intended().is_none_or(|since| since.count() == total.requests));
    }
}
