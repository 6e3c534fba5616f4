//! Histograms merge to the same whatever way they took, and nothing that another process writes breaks one.

use proptest::prelude::*;

use super::*;

fn of(values: &[u64]) -> Histogram {
    let mut histogram = Histogram::new(Histogram::LATENCY);
    for value in values {
        histogram.record(*value);
    }
    histogram
}

fn over_the_wire(histogram: &Histogram) -> Histogram {
    serde_json::from_str(&serde_json::to_string(histogram).unwrap()).unwrap()
}

#[test]
fn an_empty_histogram_has_no_figures() {
    let empty = Histogram::new(Histogram::PHASE);
    assert_eq!((empty.value_at(0.5), empty.min(), empty.max(), empty.count()), (None, None, None, 0));
    assert_eq!(over_the_wire(&empty), empty);
}

#[test]
fn figures_beside_the_buckets_are_exact() {
    let histogram = of(&[0, 123_457, 7_200_000_000]);
    assert_eq!((histogram.min(), histogram.max()), (Some(0), Some(7_200_000_000)));
    assert_eq!(histogram.sum(), 7_200_123_457);
    assert_eq!(
        histogram.value_at(1.0),
        Some(histogram.value_at(0.999).unwrap()),
        "an hour is the last bucket"
    );
}

#[test]
fn whatever_form_they_are_in_they_merge_to_the_same() {
    let values: Vec<u64> = (0..3072).map(|each| each * each % 100_003).collect();
    let whole = of(&values);
    let mut packed = Histogram::new(Histogram::LATENCY);
    for part in values.chunks(100) {
        packed.merge(&over_the_wire(&of(part)));
    }
    assert!(matches!(packed.buckets, Buckets::Dense(_)), "so many are added to in place");
    assert_eq!(packed, whole);

    let mut idle = over_the_wire(&of(&values[..2 * DENSE_ABOVE]));
    for value in &values[2 * DENSE_ABOVE..] {
        idle.merge(&over_the_wire(&of(&[*value])));
    }
    assert!(matches!(idle.buckets, Buckets::Packed(_)), "one at a time is not worth the room");
    assert_eq!(idle, whole);

    let mut held = Histogram::new(Histogram::LATENCY);
    for part in values.chunks(100) {
        held.hold(&over_the_wire(&of(part)));
    }
    assert!(matches!(held.buckets, Buckets::Packed(_)), "however much is added");
    assert_eq!(held, whole);

    let few = over_the_wire(&of(&values[..1000]));
    assert!(matches!(few.buckets, Buckets::Packed(_)));
    let (mut phase, mut recorded) = (Histogram::new(Histogram::PHASE), Histogram::new(Histogram::PHASE));
    phase.merge(&few);
    values[..1000].iter().for_each(|value| recorded.record(*value));
    assert_eq!((phase.count(), phase.sum()), (recorded.count(), recorded.sum()));
    assert!(phase.pairs().count() < few.pairs().count(), "a phase has fewer digits");
}

#[test]
fn few_recorded_times_are_a_list_and_many_are_not() {
    let values: Vec<u64> = (0..2 * LISTED as u64).map(|each| each * 7919 % 50_021).collect();
    for digits in [Histogram::PHASE, Histogram::LATENCY] {
        for count in [1, LISTED - 1, LISTED, LISTED + 1, 2 * LISTED] {
            let mut recorded = Histogram::new(digits);
            values[..count].iter().for_each(|value| recorded.record(*value));
            assert_eq!(matches!(recorded.buckets, Buckets::Listed(_)), count <= LISTED, "{count}");
            let mut dense = empty_hdr(digits);
            values[..count].iter().for_each(|value| add(&mut dense, *value, 1));
            let pairs = dense.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()));
            assert_eq!(recorded.pairs().collect::<Vec<_>>(), pairs.collect::<Vec<_>>(), "{count}");
            for q in [0.0, 0.5, 0.99, 1.0] {
                let within = dense.value_at_quantile(q).min(dense.max()).max(recorded.min().unwrap());
                assert_eq!(recorded.value_at(q), Some(within.min(recorded.max().unwrap())), "{count} {q}");
            }
        }
    }
}

#[test]
fn pairs_from_elsewhere_become_buckets_of_ours() {
    let text = r#"{"digits": 2, "sum": 0, "min": 5, "max": 9, "pairs": [[0, 2], [100000, 1], [100001, 1]]}"#;
    let histogram: Histogram = serde_json::from_str(text).unwrap();
    assert_eq!(histogram.count(), 4);
    assert_eq!(histogram.pairs().count(), 2);
}

#[test]
fn what_is_no_histogram_is_refused() {
    for (text, said) in [
        (r#"{"digits": 9, "sum": 0, "min": 0, "max": 0, "pairs": []}"#, "1 to 3 digits"),
        (r#"{"digits": 3, "sum": 0, "min": 0, "max": 9, "pairs": [[9, 1], [2, 1]]}"#, "must rise"),
        (r#"{"digits": 3, "sum": 0, "min": 3, "max": 2, "pairs": [[3, 1]]}"#, "below its `min`"),
    ] {
        let error = serde_json::from_str::<Histogram>(text).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

proptest! {
    #[test]
    fn any_split_over_the_wire_merges_to_the_same(
        parts in prop::collection::vec(prop::collection::vec(0..10_000_000_u64, 0..2 * LISTED), 1..6),
        order in any::<prop::sample::Index>(),
    ) {
        let whole = of(&parts.concat());
        let mut merged = Histogram::new(Histogram::LATENCY);
        let first = order.index(parts.len());
        for part in parts[first..].iter().chain(&parts[..first]) {
            merged.merge(&over_the_wire(&of(part)));
        }
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(over_the_wire(&merged), merged);
    }

    #[test]
    fn quantiles_are_within_a_thousandth(mut values in prop::collection::vec(1..MAX_MICROS, 1..2 * LISTED), q in 0.0..1.0_f64) {
        let (recorded, sparse) = (of(&values), over_the_wire(&of(&values)));
        values.sort_unstable();
        let rank = ((q * values.len() as f64).ceil() as usize).max(1);
        let exact = values[rank - 1] as f64;
        for histogram in [recorded, sparse] {
            let got = histogram.value_at(q).unwrap() as f64;
            prop_assert!((got - exact).abs() <= exact / 1000.0 + 1.0, "{got} for {exact}");
        }
    }

    #[test]
    fn absurd_numbers_break_nothing(
        pairs in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20), sum: u64, min: u64, max: u64, digits in 0..5_u8,
    ) {
        let text = serde_json::json!({"digits": digits, "sum": sum, "min": min, "max": max, "pairs": pairs});
        if let Ok(mut histogram) = serde_json::from_value::<Histogram>(text) {
            histogram.merge(&histogram.clone());
            histogram.record(u64::MAX);
            histogram.value_at(0.5);
            histogram.mean();
        }
    }
}
